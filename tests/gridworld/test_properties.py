"""Whatever is done, an environment keeps its laws."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gridworld.selection import ALL

from metarims.gridworld import make, task_rules, tiles
from metarims.gridworld import observation as obs
from metarims.gridworld.physics import TOGGLE

pytestmark = pytest.mark.usefixtures("quick_module")

LENGTH = 40
FAST = (  # Doors and keys, boxes, obstacles, the task that toggles instead of picking up, and instructions.
    "MiniGrid-DoorKey-6x6-v0",
    "BabyAI-PickupLoc-v0",
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0",
    "MiniGrid-MemoryS13Random-v0",
    "BabyAI-MiniBossLevel-v0",
    "BabyAI-KeyInBox-v0",
)
"""``make parity`` looks at all."""
IDS = [
    pytest.param(id, marks=() if id in FAST else (pytest.mark.slow, pytest.mark.parity))
    for id in {**dict.fromkeys(FAST), **dict.fromkeys(ALL)}
]

FIXED = ("MiniGrid-Empty-5x5-v0", "MiniGrid-Empty-6x6-v0", "MiniGrid-Empty-8x8-v0", "MiniGrid-Empty-16x16-v0")
FIXED += ("MiniGrid-DistShift1-v0", "MiniGrid-DistShift2-v0")
"""One level each."""


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
    """[LENGTH + 1, 18] how many of each object there are, on the floor, in the hand and in boxes."""
    places = [states.grid.reshape(LENGTH + 1, -1), states.carrying[:, None]]
    if states.contents is not None:
        places.append(states.contents)
    codes = np.concatenate(places, 1) & tiles.CODE
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
    # The agent is one, on a cell where it may stand; it moves at most one cell, straight.
    under = states.grid[np.arange(LENGTH + 1), x, y] & tiles.CODE
    on_open_door = (under >= tiles.DOOR) & ((under - tiles.DOOR) % 3 == 0)
    assert (np.isin(under, (tiles.EMPTY, tiles.GOAL, tiles.LAVA)) | on_open_door).all()
    # The outer wall has doors in MiniGrid's GoToDoor alone.
    within = (x > 0) & (x < level.width - 1) & (y > 0) & (y < level.height - 1)
    assert ((x >= 0) & (x < level.width) & (y >= 0) & (y < level.height)).all()
    assert (within | (on_open_door & id.startswith("MiniGrid-GoToDoor"))).all()
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
    # What is paid is between -1 and 1 while there is time, and only at the end.
    assert (np.abs(outcomes.reward[: level.max_steps]) <= 1).all()
    assert (outcomes.reward[~outcomes.terminated] == 0).all()
    # The agent sees its own cell as itself, nothing else as itself, and only tiles that exist.
    assert codes.max() < tiles.NUM_TILES
    np.testing.assert_array_equal((codes >= tiles.AGENT).sum((1, 2)), 1)
    assert (codes[:, 3, 6] >= tiles.AGENT).all()


@pytest.mark.parametrize("id", IDS)
def test_a_level_depends_on_its_key_alone(id: str) -> None:
    """Not on how many are drawn beside it; other keys give others."""
    level, _ = player(id)
    draw = jax.jit(jax.vmap(level.reset))
    six, one = (draw(jax.random.split(jax.random.key(5), 6)[:number]) for number in (6, 1))
    for leaf, other in zip(jax.tree.leaves(six), jax.tree.leaves(one), strict=True):
        np.testing.assert_array_equal(leaf[:1], other)
    assert any((leaf != leaf[0]).any() for leaf in map(np.asarray, jax.tree.leaves(six))) != (id in FIXED)
