"""Observations: a 7x7 egocentric view with occlusion, as tile codes or as pixels."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, UInt8

from metarims.gridworld.physics import door_parts
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.state import EnvState, heading
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import AGENT, CODE, DOOR, EMPTY, TILE_ATLAS, UNSEEN, WALL
from metarims.gridworld.types import TILE, VIEW, Observation

HALF = VIEW // 2
_FULL = (1 << VIEW) - 1


@in_32_bits
def observe(level: Any, state: EnvState) -> Observation:
    """The observation of one environment of ``level``, or of a batch of them."""
    return Observation(observe_codes(level.rules_of(state), state), state.direction, mission_of(state))


def mission_of(state: EnvState) -> Any:
    """The mission as observations have it: the row of a table, or the words."""
    return state.mission if state.tokens is None else state.tokens


@in_32_bits
def observe_codes(rules: TaskRules, state: EnvState) -> UInt8[Array, "*B 7 7"]:
    """Tile codes [i, j] of the window: the agent is at (3, 6) and looks towards j = 0."""
    codes = window(state, rules.walled)
    if rules.see_through is not True:
        seen = visible(codes, rules.doors)
        if rules.see_through is not False:
            seen |= jnp.asarray(rules.see_through)[..., None, None]
        codes = jnp.where(seen, codes, jnp.uint8(UNSEEN))
    carried = state.carrying & CODE
    own = jnp.where(carried == EMPTY, jnp.uint8(AGENT), carried + (AGENT - 4))
    return codes.at[..., HALF, VIEW - 1].set(own)


@in_32_bits
def window(state: EnvState, walled: bool) -> UInt8[Array, "*B 7 7"]:
    """Codes of the grid's cells under the window, whatever hides them; outside the grid is wall."""
    look = partial(_window, walled=walled)
    for _ in state.x.shape:
        look = jax.vmap(look)
    return look(state)


def _window(state: EnvState, walled: bool) -> UInt8[Array, "7 7"]:
    """Grid cell of view cell (i, j): position + d (6 - j) + r (i - 3), d the heading and r = (-d_y, d_x)."""
    width, height = state.grid.shape
    dx, dy = heading(state.direction)
    ahead = (VIEW - 1 - jnp.arange(VIEW, dtype=jnp.int8))[None, :]
    aside = (jnp.arange(VIEW, dtype=jnp.int8) - HALF)[:, None]
    x = state.x + dx * ahead - dy * aside
    y = state.y + dy * ahead + dx * aside
    # A negative coordinate wraps to a large unsigned one, so one minimum clips both sides.
    cx = jnp.minimum(x.astype(jnp.uint8), width - 1).astype(jnp.int32)
    cy = jnp.minimum(y.astype(jnp.uint8), height - 1).astype(jnp.int32)
    codes = state.grid.reshape(-1).at[cx * height + cy].get(mode="promise_in_bounds") & CODE
    if walled:  # what lies outside is then the same as the border that the clipping hit
        return codes
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return jnp.where(inside, codes, jnp.uint8(WALL))


def opaque(codes: UInt8[Array, "*n"], doors: bool = True) -> Bool[Array, "*n"]:
    """Walls, and doors that are not open, hide what is behind them."""
    walls = codes == WALL
    if not doors:
        return walls
    _, state = door_parts(codes)
    return walls | ((codes >= DOOR) & (codes < AGENT) & (state != 0))


@in_32_bits
def visible(codes: UInt8[Array, "*B 7 7"], doors: bool = True) -> Bool[Array, "*B 7 7"]:
    """minigrid's ``Grid.process_vis``: light spreads sideways along each row, then one row up, nearest row first.

    Each row is a 7-bit number. Rightward, adding the sources to the transparent cells lets the carry run through each
    unbroken stretch and stop in the first opaque cell; leftward it takes six shifts. The loop over rows is a ``scan``
    because XLA would otherwise recompute all rows for each of the 49 cells (300 times slower on CPU).
    """
    clear = (~opaque(codes, doors)).astype(jnp.uint8)
    transparent = sum(clear[..., i, :] << i for i in range(VIEW))  # [*B, j]

    def row_up(reached, see):
        row = (reached | (((reached & see) + see) ^ see)) & _FULL
        rightward = row & see & (_FULL >> 1)
        for _ in range(VIEW - 1):
            row |= (row & see) >> 1
        leftward = row & see & (_FULL - 1)
        return (rightward | rightward << 1 | leftward | leftward >> 1) & _FULL, row

    rows = jnp.moveaxis(jnp.asarray(transparent), -1, 0)
    _, rows = jax.lax.scan(row_up, jnp.full_like(rows[0], 1 << HALF), rows, reverse=True)
    seen = jnp.moveaxis(rows, 0, -1)[..., None, :] >> jnp.arange(VIEW, dtype=jnp.uint8)[:, None]
    return (seen & 1) != 0


@in_32_bits
def render(codes: UInt8[Array, "*B 7 7"]) -> UInt8[Array, "*B 56 56 3"]:
    """Farama's RGB image of the view [row, column, channel], from minigrid's own pictures of the tiles.

    On CPU one frame after another: the shape of the result is then only a name for bytes that are already in memory.
    All at once, XLA would work out place and tile anew for every single byte, at four times the cost.
    """
    one_by_one = partial(jax.lax.map, _strips)
    strips = jax.lax.platform_dependent(codes.reshape(-1, VIEW, VIEW), cpu=one_by_one, default=_strips)
    return strips.reshape(*codes.shape[:-2], VIEW * TILE, VIEW * TILE, 3)


def _strips(codes: UInt8[Array, "*n 7 7"]) -> UInt8[Array, "*n 7 8 7 24"]:
    """The 24 bytes of each row of each tile, in the order of the image: [j, row, i, byte]."""
    strips = jnp.asarray(TILE_ATLAS.reshape(len(TILE_ATLAS) * TILE, TILE * 3))
    tile = jnp.swapaxes(codes, -1, -2)[..., None, :].astype(jnp.int32)
    return strips.at[tile * TILE + jnp.arange(TILE)[:, None]].get(mode="promise_in_bounds")


def render_host(codes: np.ndarray) -> np.ndarray:
    """``render`` for arrays on the host."""
    tiles = TILE_ATLAS[np.swapaxes(codes, -1, -2)]
    return np.moveaxis(tiles, -3, -4).reshape(*codes.shape[:-2], VIEW * TILE, VIEW * TILE, 3)
