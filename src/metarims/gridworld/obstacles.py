"""Dynamic-Obstacles: blue balls that wander by themselves."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from metarims.gridworld.dice import multiply_high
from metarims.gridworld.tiles import EMPTY, object_code
from metarims.gridworld.world import World

OBSTACLE = object_code("ball", "blue")

STAYS_WITH_ONE_WAY_OUT = round((8 / 9) ** 101 * 2**32)
"""Farama draws among the nine cells around until one is free, at most 101 times; with one free cell it may find none
(probability 6.8e-6). With two free cells that chance is below 2**-32."""


def wander(world: World, words: UInt32[Array, "N"]) -> World:
    """Each obstacle in turn moves to a free cell around it, uniformly; where there is none, it stays."""
    for index in range(world.obstacles.shape[0]):
        around, free = ways_out(world, world.obstacles[index])
        ways = free.sum(dtype=jnp.int32)
        rank = multiply_high(words[index], ways)
        stuck = (ways == 0) | ((ways == 1) & (words[index] < STAYS_WITH_ONE_WAY_OUT))
        chosen = around[jnp.argmax(jnp.cumsum(free) > rank)]
        world = relocate(world, index, jnp.where(stuck, world.obstacles[index], chosen))
    return world


def ways_out(world: World, cell: Int[Array, ""]) -> tuple[Int[Array, "9"], Bool[Array, "9"]]:
    """The nine cells around ``cell``, and which of them an obstacle there can move to."""
    height = world.grid.shape[1]
    around = cell.astype(jnp.int32) + jnp.array([dx * height + dy for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
    agent = world.x.astype(jnp.int32) * height + world.y
    free = world.grid.reshape(-1).at[around].get(mode="clip") == EMPTY
    return around, free & (around != agent) & (cell >= 0)


def relocate(world: World, index: int, cell: Int[Array, ""]) -> World:
    """The world with obstacle ``index`` at ``cell``; an absent one (-1) leaves no trace."""
    place = jnp.arange(world.grid.size, dtype=jnp.int16).reshape(world.grid.shape)
    grid = jnp.where(place == world.obstacles[index], jnp.uint8(EMPTY), world.grid)
    grid = jnp.where(place == cell, jnp.uint8(OBSTACLE), grid)
    return world._replace(grid=grid, obstacles=world.obstacles.at[index].set(cell.astype(jnp.int16)))
