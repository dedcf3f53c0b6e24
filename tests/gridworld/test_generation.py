"""Our levels are distributed as Farama's: chi-square tests over 20,000 levels of each."""

import dataclasses
from collections import Counter
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import kstest
from tests.gridworld.make_reference import NUM_LEVELS, SEED, load
from tests.gridworld.selection import ALL, GENERATED, KINDS, ROOMS
from tests.gridworld.statistics import count, farama_levels, our_levels, p_value, worst
from tests.gridworld.toys import numbered

from metarims.errors import UserError
from metarims.gridworld import make, task_rules, tiles
from metarims.gridworld.levels import mazes
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.registry import LEVELS

pytestmark = pytest.mark.usefixtures("quick_module")

# Every id runs some 30 tests (corrected inside ``worst``); over all ids, Bonferroni again.
SMALLEST = 0.001 / len(ALL)
NUM_NEW = 2_000
"""Levels that Farama draws anew for each id, which takes most of the time."""
GO_TO = "BabyAI-GoToLocalS5N2-v0"
MEMORY = "MiniGrid-MemoryS13Random-v0"


@cache
def drawn(id: str):
    return our_levels(make(id), NUM_LEVELS, seed=1)


@pytest.mark.parametrize("id", [*KINDS, "BabyAI-PickupDist-v0"])
def test_levels_are_distributed_as_faramas(id: str) -> None:
    p, statistic = worst(count(drawn(id)), load(id))
    assert p > SMALLEST, statistic


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", GENERATED)
def test_new_levels_of_both_are_distributed_alike(id: str) -> None:
    """Our levels drawn anew against 20,000 of Farama's that were counted once; and those counts hold for the levels
    that it draws today."""
    level = make(id)
    committed = load(id) or count(farama_levels(level, NUM_LEVELS, SEED))
    for other in count(our_levels(level, NUM_LEVELS, seed=2)), count(farama_levels(level, NUM_NEW, SEED + 1)):
        p, statistic = worst(other, committed)
        assert p > SMALLEST, statistic


@pytest.mark.parametrize("id", ROOMS)
def test_levels_of_rooms_are_distributed_as_faramas(id: str) -> None:
    level = make(id)
    p, statistic = worst(count(our_levels(level, 4000, seed=1)), count(farama_levels(level, 400, SEED)))
    assert p > SMALLEST, statistic


@pytest.mark.parametrize("id", mazes.IDS)
def test_every_maze_of_the_file_is_played_from_every_cell(id: str) -> None:
    """Farama draws start and goal uniformly among the free cells, which are connected."""
    level = make(id)
    assert str(len(level.walls)) in level.note
    for walls in level.walls:
        assert walls[[0, -1]].all()
        assert walls[:, [0, -1]].all()
        assert ndimage.label(~walls)[1] == 1
    number = 60 * len(level.walls)
    drawn = our_levels(level, number, seed=1)
    free = np.packbits(drawn.grid.reshape(number, -1) == tiles.WALL, axis=1)
    same, which = np.unique(free, axis=0, return_inverse=True)
    assert len(same) == len(np.unique(level.walls, axis=0))
    assert np.bincount(which).min() > 20
    assert (drawn.grid[np.arange(number), drawn.x, drawn.y] == tiles.EMPTY).all()
    assert ((drawn.grid == tiles.GOAL).sum((1, 2)) == 1).all()
    # The rank of start and of goal among the free cells of their maze, from 0 to 1.
    cells = 25 * drawn.x.astype(int) + drawn.y, (drawn.grid == tiles.GOAL).reshape(number, -1).argmax(1)
    order = np.cumsum(drawn.grid.reshape(number, -1) != tiles.WALL, 1)
    for cell in cells:
        ranks = (order[np.arange(number), cell] - 0.5) / order[:, -1]
        assert kstest(ranks, "uniform").pvalue > 1e-4
    assert np.bincount(drawn.direction, minlength=4).min() > number / 5


def test_a_biased_generator_is_found_out() -> None:
    """The same test rejects levels whose missions are a little off (one in fifty turned into another)."""
    counts = count(drawn(GO_TO))
    moved = round(0.02 * NUM_LEVELS)
    counts["mission"] = counts["mission"] + Counter({0: moved}) - Counter(dict.fromkeys(range(36), moved // 36))
    p, statistic = worst(counts, load(GO_TO))
    assert p < SMALLEST
    assert statistic == "mission"


def test_the_chi_square_is_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    ps = [p_value(*(Counter(rng.integers(0, 20, 1000).tolist()) for _ in range(2))) for _ in range(200)]
    assert 0.4 < np.mean(ps) < 0.6
    assert np.mean(np.array(ps) < 0.05) < 0.12


def distinct(states) -> int:
    """How many levels differ, but for the mission."""
    pose = np.stack([states.x, states.y, states.direction], 1).astype(np.uint8)
    return len(np.unique(np.concatenate([states.grid.reshape(len(pose), -1), pose], 1), axis=0))


def test_every_level_of_a_small_task_occurs() -> None:
    assert distinct(drawn(MEMORY)) == 196


@pytest.mark.parity
@pytest.mark.parametrize(("id", "number"), [("MiniGrid-LavaCrossingS9N1-v0", 42), ("MiniGrid-DoorKey-5x5-v0", 48)])
def test_every_level_of_other_small_tasks_occurs(id: str, number: int) -> None:
    assert distinct(our_levels(make(id), 8000, seed=3)) == number


def test_pickup_dist_keeps_faramas_oddities() -> None:
    """No "the grey object", which in Farama matches the walls as well; and the middle of the room stays free."""
    level = make("BabyAI-PickupDist-v0")
    states = drawn(level.id)
    said = {level.missions[row] for row in states.mission}
    assert {"pick up a grey object", "pick up the red object", "pick up a red object"} <= said
    assert "pick up the grey object" not in level.missions
    codes, middle = states.grid & 0x3F, level.width // 2
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        assert (codes[:, middle + dx, middle + dy] == 1).all()
    assert (codes[:, middle + 1, middle + 1] != 1).any()


def test_reset_draws_until_a_level_is_kept_and_is_a_function_of_its_key() -> None:
    level = numbered(kept=4)
    keys = lambda: jax.random.split(jax.random.key(5), 64)  # noqa: E731
    reset = jax.jit(jax.vmap(level.reset))
    first, again = reset(keys()), reset(keys())
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), first, again)))
    assert len(np.unique(first.mission)) > 60


@pytest.mark.parametrize("id", [*KINDS, *ROOMS, "MiniGrid-Empty-5x5-v0", "MiniGrid-MemoryS7-v0"])
def test_an_attempt_reads_as_many_random_numbers_as_were_counted(id: str) -> None:
    level = make(id)
    bits = lambda number: jax.ShapeDtypeStruct((number,), jnp.uint32)  # noqa: E731
    state, _ = jax.eval_shape(level.draw, bits(level.num_draws))
    assert (state.grid.shape, state.grid.dtype) == ((level.width, level.height), np.uint8)
    if level.num_draws:
        with pytest.raises(IndexError):
            jax.eval_shape(level.draw, bits(level.num_draws - 1))


def test_a_time_limit_holds_as_long_as_a_state_can_count() -> None:
    level = make("MiniGrid-Empty-5x5-v0")
    limited = dataclasses.replace(level, rules=level.rules._replace(max_steps=2**15 - 1))
    state = limited.reset(jax.random.key(0))
    for steps, over in ((0, False), (2**15 - 3, False), (2**15 - 2, True)):
        result = task_rules.step(limited, state._replace(step_count=jnp.int16(steps)), jnp.int32(0))
        assert bool(result.truncated) == over
    with pytest.raises(UserError) as error:
        dataclasses.replace(level, rules=level.rules._replace(max_steps=2**15))
    assert error.value.field == "max_steps"


def test_a_users_level_that_is_never_accepted_is_refused(monkeypatch) -> None:
    for kept, id in ((0, "Never-v0"), (1, "Seldom-v0")):
        monkeypatch.setitem(LEVELS, id, lambda id, kept=kept: numbered(kept=kept, id=id))
    assert make("Seldom-v0").id == "Seldom-v0"
    with pytest.raises(UserError, match=r"env is .Never-v0."):
        make("BabyAI-GoToObj-v0+Never-v0")


def test_reading_too_many_random_numbers_is_an_error() -> None:
    stream = RandomStream(jax.random.bits(jax.random.key(0), (1,)))
    stream.randint(3)
    with pytest.raises(IndexError):
        stream.randint(3)
