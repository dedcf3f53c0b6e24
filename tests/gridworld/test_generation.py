"""Our levels are distributed as Farama's: chi-square tests over 20,000 levels of each."""

from collections import Counter

import jax
import numpy as np
import pytest
from tests.gridworld.make_reference import NUM_LEVELS, SEED, load
from tests.gridworld.selection import ALL, FEW
from tests.gridworld.statistics import count, farama_levels, our_levels, p_value, worst

from metarims.gridworld import make
from metarims.gridworld.prng import RandomStream

pytestmark = pytest.mark.usefixtures("quick_module")

# Every id runs some 30 tests (corrected inside ``worst``); over all ids, Bonferroni again.
SMALLEST = 0.001 / len(ALL)


@pytest.mark.parametrize("id", FEW)
def test_levels_are_distributed_as_faramas(id: str) -> None:
    p, statistic = worst(count(our_levels(make(id), NUM_LEVELS, seed=1)), load(id))
    assert p > SMALLEST, statistic


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", ALL)
def test_new_levels_of_both_are_distributed_alike(id: str) -> None:
    """Both sides drawn anew, with other seeds than the committed counts; and those counts still hold."""
    level = make(id)
    theirs = count(farama_levels(level, NUM_LEVELS, SEED + 1))
    for other in (count(our_levels(level, NUM_LEVELS, seed=2)), load(id)):
        p, statistic = worst(other, theirs)
        assert p > SMALLEST, statistic


def test_a_biased_generator_is_found_out() -> None:
    """The same test rejects levels whose missions are a little off (one in fifty turned into another)."""
    counts = count(our_levels(make("BabyAI-GoToLocal-v0"), NUM_LEVELS, seed=1))
    moved = round(0.02 * NUM_LEVELS)
    counts["mission"] = counts["mission"] + Counter({0: moved}) - Counter(dict.fromkeys(range(36), moved // 36))
    p, statistic = worst(counts, load("BabyAI-GoToLocal-v0"))
    assert p < SMALLEST
    assert statistic == "mission"


def test_the_chi_square_is_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    ps = [p_value(*(Counter(rng.integers(0, 20, 1000).tolist()) for _ in range(2))) for _ in range(200)]
    assert 0.4 < np.mean(ps) < 0.6
    assert np.mean(np.array(ps) < 0.05) < 0.12


@pytest.mark.parametrize(("id", "number"), [("MiniGrid-LavaCrossingS9N1-v0", 42), ("MiniGrid-MemoryS13Random-v0", 196)])
def test_every_level_of_a_small_task_occurs(id: str, number: int) -> None:
    worlds = our_levels(make(id), 8000, seed=3)
    rows = np.concatenate([worlds.grid.reshape(len(worlds.x), -1), worlds.x[:, None].astype(np.uint8)], 1)
    assert len(np.unique(rows, axis=0)) == number


def test_door_key_5x5_has_48_levels() -> None:
    worlds = our_levels(make("MiniGrid-DoorKey-5x5-v0"), 4000, seed=3)
    pose = np.stack([worlds.x, worlds.y, worlds.direction], 1).astype(np.uint8)
    assert len(np.unique(np.concatenate([worlds.grid.reshape(len(pose), -1), pose], 1), axis=0)) == 48


@pytest.mark.parametrize("id", FEW)
def test_reset_is_a_function_of_its_key(id: str) -> None:
    level = make(id)
    keys = jax.random.split(jax.random.key(5), 3)
    reset = jax.jit(level.reset)
    first, again, other = reset(keys[0]), reset(jax.random.split(jax.random.key(5), 3)[0]), reset(keys[1])
    same = jax.tree.map(lambda a, b: bool((a == b).all()), first, again)
    assert all(jax.tree.leaves(same))
    assert (first.grid.shape, first.grid.dtype) == ((level.width, level.height), np.uint8)
    assert int(other.mission) < len(level.missions)


def test_drawing_too_many_words_is_an_error() -> None:
    stream = RandomStream(jax.random.bits(jax.random.key(0), (1,)))
    stream.below(3)
    with pytest.raises(IndexError, match="1 random words"):
        stream.below(3)
