"""Whatever is done, the world keeps its laws."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gridworld.selection import FAMILIES

from metarims.gridworld import VecEnv, make, task_rules, tiles
from metarims.gridworld import observation as obs
from metarims.gridworld.physics import TOGGLE

pytestmark = pytest.mark.usefixtures("quick_module")

LENGTH = 40


@cache
def player(id: str):
    """Worlds [LENGTH + 1] and outcomes [LENGTH] of a sequence of actions; the episode's end does not stop it."""
    level = make(id)

    def one(carry, action):
        world, key = carry
        key, key_step = jax.random.split(key)
        result = task_rules.step(level, world, action, key_step)
        return (result.world, key), (result, obs.observe(level, result.world).codes)

    @jax.jit
    def play(seed, actions):
        key_level, key_steps = jax.random.split(jax.random.key(seed))
        start = level.reset(key_level)
        _, (outcomes, codes) = jax.lax.scan(one, (start, key_steps), actions)
        return start, outcomes, codes

    return level, play


def census(worlds) -> np.ndarray:
    """[LENGTH + 1, 18] how many of each object there are, on the floor and in the hand."""
    codes = np.concatenate([worlds.grid.reshape(LENGTH + 1, -1), worlds.carrying[:, None]], 1) & tiles.CODE
    return (codes[..., None] == np.arange(tiles.KEY, tiles.DOOR)).sum(1)


def bare(grids: np.ndarray) -> np.ndarray:
    """The building itself: walls, goals, lava and the colours of doors; not what lies about, nor what is open."""
    codes = grids & tiles.CODE
    codes = np.where((codes >= tiles.KEY) & (codes < tiles.DOOR), tiles.EMPTY, codes)
    return np.where(codes >= tiles.DOOR, codes - (codes - tiles.DOOR) % 3, codes)


# One id of every file in ``levels``, and of every kind of rule.
@pytest.mark.parametrize("id", [*FAMILIES, "MiniGrid-DoorKey-6x6-v0"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), actions=st.lists(st.integers(0, 6), min_size=LENGTH, max_size=LENGTH))
def test_any_actions_keep_the_laws(id: str, seed: int, actions: list[int]) -> None:
    level, play = player(id)
    start, outcomes, codes = jax.tree.map(np.asarray, play(seed, jnp.array(actions)))
    worlds = jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), start, outcomes.world)
    x, y = worlds.x.astype(int), worlds.y.astype(int)
    # The agent is one, inside, on a cell where it may stand; it moves at most one cell, straight.
    under = worlds.grid[np.arange(LENGTH + 1), x, y] & tiles.CODE
    on_open_door = (under >= tiles.DOOR) & ((under - tiles.DOOR) % 3 == 0)
    assert (np.isin(under, (tiles.EMPTY, tiles.GOAL, tiles.LAVA)) | on_open_door).all()
    assert ((x > 0) & (x < level.width - 1) & (y > 0) & (y < level.height - 1)).all()
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y)) <= 1).all()
    # Walls, goals, lava and doors stay what and where they are.
    np.testing.assert_array_equal(bare(worlds.grid), np.broadcast_to(bare(start.grid), worlds.grid.shape))
    # Objects are conserved; a toggle deletes at most one box.
    lost = -np.diff(census(worlds), axis=0)
    assert (lost >= 0).all()
    assert (lost.sum(1) <= 1).all()
    assert (lost[:, : 2 * 6] == 0).all()
    assert (np.array(actions)[lost.any(1)] == TOGGLE).all() or level.rule.recall
    # The clock starts at zero and advances by one; time runs out exactly at the limit.
    np.testing.assert_array_equal(worlds.step_count, np.arange(LENGTH + 1))
    np.testing.assert_array_equal(outcomes.truncated, worlds.step_count[1:] >= level.max_steps)
    # What is paid is between -1 and 1, and only at the end.
    assert (np.abs(outcomes.reward) <= 1).all()
    assert (outcomes.reward[~outcomes.terminated] == 0).all()
    # The agent sees its own cell as itself, nothing else as itself, and only tiles that exist.
    assert codes.max() < tiles.NUM_TILES
    np.testing.assert_array_equal((codes >= tiles.AGENT).sum((1, 2)), 1)
    assert (codes[:, 3, 6] >= tiles.AGENT).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), action=st.integers(0, 6))
def test_with_automatic_resets_the_clock_stays_within_the_limit(seed: int, action: int) -> None:
    """An episode that reaches its limit is over: the next one's clock is at zero."""
    vector, play = automatic("MiniGrid-PutNear-6x6-N2-v0")
    clocks = np.asarray(play(seed, action))
    assert clocks.min() == 0
    assert clocks.max() < vector.max_steps
    went_on, began = clocks[1:] == clocks[:-1] + 1, clocks[1:] == 0
    assert (went_on | began).all()


@cache
def automatic(id: str):
    """A batch, and its clocks [LENGTH, B] under one action for ever."""
    vector = VecEnv(make(id), 4)

    @jax.jit
    def play(seed, action):
        def one(state, _):
            state, _ = vector.step(state, jnp.full(4, action))
            return state, state.env.step_count

        return jax.lax.scan(one, vector.reset(jax.random.key(seed))[0], None, LENGTH)[1]

    return vector, play


@pytest.mark.parametrize("id", [id for id in FAMILIES if "Obstacles" not in id])  # there they turn left
def test_actions_that_do_not_exist_only_pass_the_time(id: str) -> None:
    level = make(id)
    world = jax.jit(level.reset)(jax.random.key(0))
    result = jax.jit(lambda world, action: task_rules.step(level, world, action))(world, jnp.int32(7))
    for name, old, new in zip(world._fields, world, result.world, strict=True):
        if name == "step_count":
            assert int(new) == int(old) + 1
        else:
            np.testing.assert_array_equal(old, new)
