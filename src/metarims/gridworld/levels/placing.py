"""Exact uniform placement without rejection, and the reachability check."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from metarims.gridworld.dice import multiply_high

Number = Any

NOWHERE = 2**30
"""An index beyond every grid."""


def nth_free(rank: Number, taken: Int32[Array, "n"], exists: Any = True) -> Int32[Array, ""]:
    """The ``rank``-th index that is not ``taken`` (ascending; entries that do not exist are passed over).

    It is rank + #{k: taken_k - (how many are taken before it) <= rank}.
    """
    exists = jnp.broadcast_to(exists, taken.shape)
    before = jnp.cumsum(exists) - exists
    return rank + (exists & (taken - before <= rank)).sum(dtype=jnp.int32)


def distinct(words: UInt32[Array, "n"], bound: Any, kinds: int = 1) -> Any:
    """Different integers below ``bound``, one per word, every order equally likely.

    With ``kinds`` also an independent integer below ``kinds`` from each word.
    """
    number = words.shape[0]
    order = jnp.arange(number)

    def draw(taken, item):
        index, word = item
        both = multiply_high(word, (bound - index) * kinds)
        value = nth_free(both // kinds, taken)
        place = (taken < value).sum()
        shifted = jnp.concatenate([taken[:1], taken[:-1]])
        taken = jnp.where(order < place, taken, jnp.where(order == place, value, shifted))
        return taken, (value, both % kinds)

    _, (values, kind) = jax.lax.scan(draw, jnp.full(number, NOWHERE, jnp.int32), (order, words))
    return values if kinds == 1 else (values, kind)


def around(cell: Number, side: int) -> tuple[Int32[Array, "5"], Bool[Array, "5"]]:
    """A cell of a side x side room and its four neighbours, ascending; and which of them are inside the room."""
    x, y = cell // side, cell % side
    cells = cell + jnp.array([-side, -1, 0, 1, side])
    return cells, jnp.stack([x > 0, y > 0, x >= 0, y < side - 1, x < side - 1])


def spread_out(words: UInt32[Array, "n"], agent: Number, side: int, kinds: int = 1) -> Any:
    """Different cells of a side x side room, one by one and uniform, none of them the agent's or beside it.

    With ``kinds`` also an independent integer below ``kinds`` for each.
    """
    near, inside = around(agent, side)
    drawn = distinct(words, side * side - inside.sum(dtype=jnp.int32), kinds)
    ranks = drawn if kinds == 1 else drawn[0]
    cells = jax.vmap(lambda rank: nth_free(rank, near, inside))(ranks)
    return cells if kinds == 1 else (cells, drawn[1])


def all_reachable(cells: Int32[Array, "n"], agent: Int32[Array, ""], side: int) -> Bool[Array, ""]:
    """Can every object be touched from the agent by walking through empty cells of a side x side room?

    BabyAI's ``check_objs_reachable``. Rows of the room are bit sets, flooded until nothing changes.
    """
    blocked = _rows(cells, side)
    free = ~blocked & jnp.uint8((1 << side) - 1)

    def spread(rows):
        above, below = jnp.pad(rows[1:], (0, 1)), jnp.pad(rows[:-1], (1, 0))
        return rows << 1 | rows >> 1 | above | below

    def flood(carry):
        _, rows = carry
        wider = rows
        for _ in range(3):
            wider = wider | (spread(wider) & free)
        return (wider != rows).any(), wider

    start = jnp.bool_(True), _rows(agent[None], side)
    _, reached = jax.lax.while_loop(lambda carry: carry[0], flood, start)
    return ((blocked & ~spread(reached)) == 0).all()


def _rows(cells: Int32[Array, "n"], side: int) -> UInt8[Array, "side"]:
    """A set of different cells as one bit set per row."""
    bits = (jnp.uint32(1) << (cells % side).astype(jnp.uint32)).astype(jnp.uint8)
    return jnp.where(jnp.arange(side)[:, None] == cells // side, bits, jnp.uint8(0)).sum(1, dtype=jnp.uint8)


def nth(mask: Bool[Array, "n"], rank: Number) -> Int32[Array, ""]:
    """Index of the ``rank``-th true entry."""
    return (jnp.cumsum(mask, dtype=jnp.int32) <= rank).sum(dtype=jnp.int32)


def place(grid: UInt8[Array, "W H"], x: Number, y: Number, cell: Number) -> UInt8[Array, "W H"]:
    """The grid with one cell set."""
    at_x = jnp.arange(grid.shape[0], dtype=jnp.int8) == jnp.asarray(x).astype(jnp.int8)
    at_y = jnp.arange(grid.shape[1], dtype=jnp.int8) == jnp.asarray(y).astype(jnp.int8)
    return jnp.where(at_x[:, None] & at_y, jnp.asarray(cell).astype(jnp.uint8), grid)


def place_all(
    grid: UInt8[Array, "W H"], x: Int32[Array, "n"], y: Int32[Array, "n"], cells: Int32[Array, "n"]
) -> UInt8[Array, "W H"]:
    """The grid with several cells set, one after the other."""
    return jax.lax.scan(lambda grid, item: (place(grid, *item), None), grid, (x, y, cells))[0]
