"""Dynamic-Obstacles: blue balls that move by themselves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int16, UInt32

from metarims.gridworld.prng import multiply_high
from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import EMPTY, object_code

OBSTACLE = object_code("ball", "blue")

STAYS_WITH_ONE_WAY_OUT = round((8 / 9) ** 101 * 2**32)
"""Farama draws among the nine cells around until one is free, at most 101 times; with one free cell it may find none
(probability 6.8e-6). With two free cells that chance is below 2**-32."""


def move_obstacles(state: EnvState, bits: UInt32[Array, " N"]) -> EnvState:
    """Each obstacle in turn moves to a free cell around it, uniformly; where there is none, it stays.

    Only positions change from one obstacle to the next, so the grid is read once before and written once after them.
    """
    around, bare = surroundings(state)

    def move(cells, turn):
        index, around, bare, bits = turn
        chosen = choose(around, bare & (around[:, None] != cells).all(1), bits)
        mine = jnp.arange(cells.shape[0]) == index
        return jnp.where(mine & (chosen >= 0), chosen, cells), None

    # A loop, so that each choice is made once: XLA would otherwise make it anew for each of the nine cells of the next.
    order = jnp.arange(state.obstacles.shape[0])
    cells, _ = jax.lax.scan(move, state.obstacles, (order, around, bare, bits))
    return set_obstacles(state, cells)


def surroundings(state: EnvState) -> tuple[Int16[Array, "N 9"], Bool[Array, "N 9"]]:
    """The nine cells around each obstacle; and which of them would be free if there were no other obstacles."""
    height = state.grid.shape[1]
    steps = jnp.array([dx * height + dy for dx in (-1, 0, 1) for dy in (-1, 0, 1)], jnp.int16)
    around = state.obstacles[:, None] + steps
    there = state.grid.reshape(-1).at[around.astype(jnp.int32)].get(mode="clip")
    agent = state.x.astype(jnp.int16) * height + state.y
    bare = (there == EMPTY) | (there == OBSTACLE)
    return around, bare & (around != agent) & (state.obstacles[:, None] >= 0)


def choose(around: Int16[Array, "9"], free: Bool[Array, "9"], bits: UInt32[Array, ""]) -> Int16[Array, ""]:
    """A free one of nine cells, uniformly; -1 where the obstacle stays."""
    ways = free.sum(dtype=jnp.int32)
    stuck = (ways == 0) | ((ways == 1) & (bits < STAYS_WITH_ONE_WAY_OUT))
    chosen = around[jnp.argmax(jnp.cumsum(free) > multiply_high(bits, ways))]
    return jnp.where(stuck, jnp.int16(-1), chosen)


def set_obstacles(state: EnvState, cells: Int16[Array, " N"]) -> EnvState:
    """The state with its obstacles moved to ``cells``; absent ones (-1) leave no trace."""
    place = jnp.arange(state.grid.size, dtype=jnp.int16).reshape(state.grid.shape)[..., None]
    left = (place == state.obstacles).any(-1)
    grid = jnp.where(left, jnp.uint8(EMPTY), state.grid)
    grid = jnp.where((place == cells).any(-1), jnp.uint8(OBSTACLE), grid)
    return state._replace(grid=grid, obstacles=cells)
