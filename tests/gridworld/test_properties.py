"""Whatever is done, an environment keeps its laws."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarims.gridworld import make, task_rules, tiles
from metarims.gridworld import observation as obs
from metarims.gridworld.physics import TOGGLE

pytestmark = pytest.mark.usefixtures("quick_module")

LENGTH = 40
IDS = (  # Doors and keys, boxes, obstacles, the task that toggles instead of picking up, and instructions.
    "MiniGrid-DoorKey-6x6-v0",
    "BabyAI-PickupLoc-v0",
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0",
    "MiniGrid-MemoryS13Random-v0",
    "BabyAI-MiniBossLevel-v0",
)


@cache
def player(id: str):
    """States [LENGTH + 1] and outcomes [LENGTH] of a sequence of actions; the episode's end does not stop it."""
    level = make(id)

    def one(carry, action):
        state, key = carry
        key, key_step = jax.random.split(key)
        result = task_rules.step(level, state, action, jax.random.bits(key_step, (level.num_obstacles,)))
        return (result.state, key), (result, obs.observe(level, result.state).codes)

    @jax.jit
    def play(seed, actions):
        key_level, key_steps = jax.random.split(jax.random.key(seed))
        start = level.reset(key_level)
        _, (outcomes, codes) = jax.lax.scan(one, (start, key_steps), actions)
        return start, outcomes, codes

    return level, play


def census(states) -> np.ndarray:
    """[LENGTH + 1, 18] how many of each object there are, on the floor and in the hand."""
    codes = np.concatenate([states.grid.reshape(LENGTH + 1, -1), states.carrying[:, None]], 1) & tiles.CODE
    return (codes[..., None] == np.arange(tiles.KEY, tiles.DOOR)).sum(1)


def bare(grids: np.ndarray) -> np.ndarray:
    """The building itself: walls, goals, lava and the colours of doors; not what lies about, nor what is open."""
    codes = grids & tiles.CODE
    codes = np.where((codes >= tiles.KEY) & (codes < tiles.DOOR), tiles.EMPTY, codes)
    return np.where(codes >= tiles.DOOR, codes - (codes - tiles.DOOR) % 3, codes)


@pytest.mark.parametrize("id", IDS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), actions=st.lists(st.integers(0, 7), min_size=LENGTH, max_size=LENGTH))
def test_any_actions_keep_the_laws(id: str, seed: int, actions: list[int]) -> None:
    level, play = player(id)
    start, outcomes, codes = jax.tree.map(np.asarray, play(seed, jnp.array(actions)))
    states = jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), start, outcomes.state)
    x, y = states.x.astype(int), states.y.astype(int)
    # The agent is one, inside, on a cell where it may stand; it moves at most one cell, straight.
    under = states.grid[np.arange(LENGTH + 1), x, y] & tiles.CODE
    on_open_door = (under >= tiles.DOOR) & ((under - tiles.DOOR) % 3 == 0)
    assert (np.isin(under, (tiles.EMPTY, tiles.GOAL, tiles.LAVA)) | on_open_door).all()
    assert ((x > 0) & (x < level.width - 1) & (y > 0) & (y < level.height - 1)).all()
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y)) <= 1).all()
    # Walls, goals, lava and doors stay what and where they are.
    np.testing.assert_array_equal(bare(states.grid), np.broadcast_to(bare(start.grid), states.grid.shape))
    # Objects are conserved; a toggle deletes at most one box.
    lost = -np.diff(census(states), axis=0)
    assert (lost >= 0).all()
    assert (lost.sum(1) <= 1).all()
    assert (lost[:, : 2 * 6] == 0).all()
    assert (np.array(actions)[lost.any(1)] == TOGGLE).all() or level.rules.memory
    # An action that does not exist only passes the time (or turns left, among obstacles).
    if not level.num_obstacles:
        for index in np.flatnonzero(np.array(actions) == 7):
            for leaf in jax.tree.leaves(states._replace(step_count=None)):
                np.testing.assert_array_equal(leaf[index], leaf[index + 1])
    # The clock starts at zero and advances by one; time runs out exactly at the limit.
    np.testing.assert_array_equal(states.step_count, np.arange(LENGTH + 1))
    np.testing.assert_array_equal(outcomes.truncated, states.step_count[1:] >= level.max_steps)
    # What is paid is between -1 and 1, and only at the end.
    assert (np.abs(outcomes.reward) <= 1).all()
    assert (outcomes.reward[~outcomes.terminated] == 0).all()
    # The agent sees its own cell as itself, nothing else as itself, and only tiles that exist.
    assert codes.max() < tiles.NUM_TILES
    np.testing.assert_array_equal((codes >= tiles.AGENT).sum((1, 2)), 1)
    assert (codes[:, 3, 6] >= tiles.AGENT).all()
