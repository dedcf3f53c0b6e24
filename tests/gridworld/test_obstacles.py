"""How obstacles wander: the distribution of one step against Farama's."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
from tests.gridworld.statistics import p_value

from metarims.gridworld import obstacles
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.obstacles import STAYS_WITH_ONE_WAY_OUT
from metarims.gridworld.physics import LEFT
from metarims.gridworld.state import new_state
from metarims.gridworld.tiles import WALL

NUM = 2000


def faramas_moves(env, start) -> Counter:
    """Where all obstacles are after one turn to the left, from one start, many times over."""
    outcomes = []
    for _ in range(NUM):
        env.grid.grid = list(start["grid"])
        for ball, cell in zip(env.obstacles, start["cells"], strict=True):
            ball.cur_pos = cell
        env.step_count = 0
        env.step(LEFT)
        outcomes.append(tuple(int(x) * env.height + int(y) for x, y in (ball.cur_pos for ball in env.obstacles)))
    return Counter(outcomes)


def test_one_step_of_the_obstacles_is_distributed_as_faramas() -> None:
    env = make_farama("MiniGrid-Dynamic-Obstacles-5x5-v0").unwrapped
    wander = jax.jit(jax.vmap(obstacles.move_obstacles, in_axes=(None, 0)))
    for seed in range(2):
        quiet_reset(env, seed)
        start = {"grid": list(env.grid.grid), "cells": [ball.cur_pos for ball in env.obstacles]}
        world = jax.tree.map(jnp.asarray, state_from_farama(env))
        moved = wander(world, jax.random.bits(jax.random.key(seed), (NUM, 2))).obstacles
        ours = Counter(map(tuple, np.asarray(moved, int).tolist()))
        theirs = faramas_moves(env, start)
        number = {result: index for index, result in enumerate(sorted(set(ours) | set(theirs)))}
        relabel = lambda counts: Counter({number[result]: n for result, n in counts.items()})  # noqa: B023, E731
        assert p_value(relabel(ours), relabel(theirs)) > 0.001


def test_with_one_way_out_an_obstacle_almost_always_takes_it() -> None:
    """Farama gives up after 101 draws among nine cells, one of them free."""
    np.testing.assert_allclose(STAYS_WITH_ONE_WAY_OUT / 2**32, (8 / 9) ** 101, rtol=1e-4)
    assert (7 / 9) ** 101 < 2**-32  # with two ways out it cannot be told from never


def test_an_obstacle_with_no_way_out_stays() -> None:
    grid = jnp.full((5, 5), WALL, jnp.uint8).at[2, 2].set(obstacles.OBSTACLE)
    world = new_state(grid, 1, 1, 0, 0, (12,))
    moved = jax.jit(obstacles.move_obstacles)(world, jnp.array([123456789], jnp.uint32))
    assert int(moved.obstacles[0]) == 12
    assert int(moved.grid[2, 2]) == obstacles.OBSTACLE
