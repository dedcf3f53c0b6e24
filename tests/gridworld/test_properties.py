"""Whatever is done, the world keeps its laws."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gridworld.selection import FAMILIES

from metarims.gridworld import make, rules, sight, tiles
from metarims.gridworld.physics import TOGGLE

LENGTH = 40
IDS = (
    "BabyAI-PickupLoc-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
)


@cache
def player(id: str):
    """Worlds [LENGTH + 1] and outcomes [LENGTH] of a sequence of actions; the episode's end does not stop it."""
    level = make(id)

    def one(carry, action):
        world, key = carry
        key, key_step = jax.random.split(key)
        outcome = rules.step(level, world, action, key_step)
        return (outcome.world, key), (outcome, sight.observe(level, outcome.world).codes)

    @jax.jit
    def play(seed, actions):
        key_level, key_steps = jax.random.split(jax.random.key(seed))
        start = level.reset(key_level)
        _, (outcomes, codes) = jax.lax.scan(one, (start, key_steps), actions)
        return start, outcomes, codes

    return level, play


def census(world) -> np.ndarray:
    """How many of each object there are, on the floor and in the hand."""
    codes = np.append(np.asarray(world.grid).reshape(-1), np.asarray(world.carrying)) & tiles.CODE
    return np.bincount(codes, minlength=64)[tiles.KEY : tiles.DOOR]


@pytest.mark.parametrize("id", IDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), actions=st.lists(st.integers(0, 6), min_size=LENGTH, max_size=LENGTH))
def test_any_actions_keep_the_laws(id: str, seed: int, actions: list[int]) -> None:
    level, play = player(id)
    start, outcomes, codes = jax.tree.map(np.asarray, play(seed, jnp.array(actions)))
    worlds = outcomes.world
    fixed = lambda grid: np.isin(grid & tiles.CODE, (tiles.WALL, tiles.GOAL, tiles.LAVA))  # noqa: E731
    before = start
    for t in range(LENGTH):
        now = jax.tree.map(lambda leaf, t=t: leaf[t], worlds)
        # The agent is one, inside, on a cell where it may stand.
        under = now.grid[now.x, now.y] & tiles.CODE
        assert 0 < now.x < level.width - 1
        assert 0 < now.y < level.height - 1
        assert under in (tiles.EMPTY, tiles.GOAL, tiles.LAVA) or (under - tiles.DOOR) % 3 == 0
        assert abs(int(now.x) - int(before.x)) + abs(int(now.y) - int(before.y)) <= 1
        # Walls, goals and lava stay what they are.
        np.testing.assert_array_equal(fixed(now.grid), fixed(start.grid))
        # Objects are conserved; a toggle deletes at most one box.
        lost = census(before) - census(now)
        assert (lost >= 0).all()
        if lost.any():
            assert actions[t] == TOGGLE
            assert lost.sum() == 1
            assert lost[2 * 6 :].sum() == 1
        # The clock advances by one; time runs out exactly at the limit.
        assert now.step_count == start.step_count + t + 1
        assert outcomes.truncated[t] == (now.step_count >= level.max_steps)
        assert -1 <= outcomes.reward[t] <= 1
        assert outcomes.terminated[t] or outcomes.reward[t] == 0
        # The agent sees its own cell as itself, and only tiles that exist.
        assert codes[t].max() < tiles.NUM_TILES
        assert codes[t, 3, 6] >= tiles.AGENT
        assert (codes[t] >= tiles.AGENT).sum() == 1
        before = now


@pytest.mark.parametrize("id", [id for id in FAMILIES if "Obstacles" not in id])  # there they turn left
def test_actions_that_do_not_exist_only_pass_the_time(id: str) -> None:
    level = make(id)
    world = jax.jit(level.reset)(jax.random.key(0))
    outcome = jax.jit(lambda world, action: rules.step(level, world, action))(world, jnp.int32(7))
    for name, old, new in zip(world._fields, world, outcome.world, strict=True):
        if name == "step_count":
            assert int(new) == int(old) + 1
        else:
            np.testing.assert_array_equal(old, new)
