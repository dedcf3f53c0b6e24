"""Exact uniform placement without rejection, and the reachability check."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8

from metarims.gridworld.dice import Dice

Number = Any


def skip(rank: Number, holes: Sequence[tuple[Number, Number]]) -> Number:
    """The index of the ``rank``-th free place: ``holes`` are (index, is it one?) in ascending order of index."""
    for index, exists in holes:
        rank = rank + ((rank >= index) & exists)
    return rank


def insert(ordered: list, value: Number) -> list:
    """``ordered`` (ascending) with ``value`` in its place, by compare and exchange."""
    out = []
    for other in ordered:
        out.append(jnp.minimum(other, value))
        value = jnp.maximum(other, value)
    return [*out, value]


def around(cell: Number, side: int) -> list[tuple[Number, Bool[Array, ""]]]:
    """A cell of a side x side room and its four neighbours inside the room, as holes for ``skip``."""
    x, y = cell // side, cell % side
    yes = jnp.bool_(True)
    return [
        (cell - side, x > 0),
        (cell - 1, y > 0),
        (cell, yes),
        (cell + 1, y < side - 1),
        (cell + side, x < side - 1),
    ]


def all_reachable(cells: Sequence[Int32[Array, ""]], agent: Int32[Array, ""], side: int) -> Bool[Array, ""]:
    """Can every object be touched from the agent by walking through empty cells of a side x side room?

    Rows of the room are bit sets; a sweep fills each row sideways and passes it on, down and then up, until nothing
    changes (BabyAI's ``check_objs_reachable``).
    """
    full = (1 << side) - 1
    row_of, bit_of = lambda c: c // side, lambda c: (jnp.uint32(1) << (c % side).astype(jnp.uint32)).astype(jnp.uint8)
    blocked = []
    for x in range(side):
        row = jnp.uint8(0)
        for cell in cells:
            row |= jnp.where(row_of(cell) == x, bit_of(cell), jnp.uint8(0))
        blocked.append(row)
    free = [~row & jnp.uint8(full) for row in blocked]

    def fill(row, passable):
        for _ in range(side - 1):
            row |= ((row << 1) | (row >> 1)) & passable
        return row

    def sweep(carry):
        _, rows = carry
        new = list(rows)
        for order in (range(1, side), reversed(range(side - 1))):
            step = -1 if isinstance(order, range) else 1
            for x in order:
                new[x] = fill(new[x] | (new[x + step] & free[x]), free[x])
        changed = jnp.bool_(False)
        for old, now in zip(rows, new, strict=True):
            changed |= old != now
        return changed, tuple(new)

    start = tuple(fill(jnp.where(row_of(agent) == x, bit_of(agent), jnp.uint8(0)), free[x]) for x in range(side))
    _, reached = jax.lax.while_loop(lambda carry: carry[0], sweep, sweep((None, start)))
    touched = jnp.bool_(True)
    for x in range(side):
        near = (reached[x] << 1) | (reached[x] >> 1)
        for other in (x - 1, x + 1):
            near = near | reached[other] if 0 <= other < side else near
        touched &= (blocked[x] & ~near) == 0
    return touched


def nth(mask: Bool[Array, "n"], rank: Number) -> Int32[Array, ""]:
    """Index of the ``rank``-th true entry."""
    return (jnp.cumsum(mask, dtype=jnp.int32) <= rank).sum(dtype=jnp.int32)


def distinct(dice: Dice, number: int, bound: int) -> list[Int32[Array, ""]]:
    """``number`` different integers below ``bound``, every order equally likely."""
    taken, drawn = [], []
    for index in range(number):
        value = skip(dice.below(bound - index), [(other, True) for other in taken])
        taken = insert(taken, value)
        drawn.append(value)
    return drawn


def place(grid: UInt8[Array, "W H"], x: Number, y: Number, cell: Number) -> UInt8[Array, "W H"]:
    """The grid with one cell set."""
    here = (jnp.arange(grid.shape[0])[:, None] == x) & (jnp.arange(grid.shape[1])[None, :] == y)
    return jnp.where(here, jnp.asarray(cell).astype(jnp.uint8), grid)
