"""Which things of a grid a description by kind and colour means."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt8

from metarims.gridworld.physics import door_parts
from metarims.gridworld.state import heading
from metarims.gridworld.tiles import AGENT, CODE, DOOR, KEY

ANY = -1
"""Any kind, or any colour."""
A_DOOR = 3
"""The kind of a door, after those of key, ball and box."""


def kind_and_color(grid: UInt8[Array, "*n"]) -> tuple[UInt8[Array, "*n"], UInt8[Array, "*n"]]:
    """Kind (0 key, 1 ball, 2 box, 3 door) and colour of what stands on each cell; kind 255 where that is nothing."""
    codes = grid & CODE
    thing = (codes - jnp.uint8(KEY)).astype(jnp.uint16)
    kind = (thing * 43) >> 8  # the quotient by 6, exact below 43
    color, _ = door_parts(codes)
    is_door = (codes >= DOOR) & (codes < AGENT)
    kinds = jnp.where(is_door, A_DOOR, jnp.where((codes >= KEY) & (codes < DOOR), kind, 255))
    return kinds.astype(jnp.uint8), jnp.where(is_door, color, (thing - 6 * kind)).astype(jnp.uint8)


def matching(grid: UInt8[Array, "*n"], kind: Any = ANY, color: Any = ANY) -> Bool[Array, "*n"]:
    """The cells whose object is of this kind and this colour (red 0 ... grey 5)."""
    kinds, colors = kind_and_color(grid)
    known = kinds <= A_DOOR
    right_kind = known & ((jnp.asarray(kind) == ANY) | (kinds == jnp.asarray(kind).astype(jnp.uint8)))
    return right_kind & ((jnp.asarray(color) == ANY) | (colors == jnp.asarray(color).astype(jnp.uint8)))


PLACES = ("", " on your left", " on your right", " in front of you", " behind you")
"""Where something is as seen from the agent; the first is anywhere."""


def on_sides(away_x: Any, away_y: Any, direction: Any) -> tuple[Any, Any, Any, Any]:
    """Whether something so far from the agent is on its left, on its right, in front of it, behind it (``PLACES``)."""
    dx, dy = (step.astype(jnp.int32) for step in heading(jnp.asarray(direction)))
    ahead, aside = away_x * dx + away_y * dy, away_y * dx - away_x * dy
    return aside < 0, aside > 0, ahead > 0, ahead < 0
