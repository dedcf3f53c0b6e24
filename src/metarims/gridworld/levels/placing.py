"""Exact uniform placement without rejection, and the reachability check."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from metarims.gridworld.prng import multiply_high

Number = Any


def nth_free(rank: Number, taken: Int32[Array, " n"], exists: Any = True) -> Int32[Array, ""]:
    """The ``rank``-th index that is not ``taken`` (ascending; entries that do not exist are passed over).

    It is rank + #{k: taken_k - (how many are taken before it) <= rank}.
    """
    exists = jnp.broadcast_to(exists, taken.shape)
    before = jnp.cumsum(exists) - exists
    return rank + (exists & (taken - before <= rank)).sum(dtype=jnp.int32)


def distinct(bits: UInt32[Array, " n"], bound: Any, kinds: int = 1) -> Any:
    """Different integers below ``bound``, one per random number, every order equally likely.

    Draw k is a rank r_k among those left; it is counted back through the earlier draws, latest first: those at or above
    r_j move up by one (a Lehmer code). With ``kinds`` also an independent integer below ``kinds`` from each.
    """
    order = jnp.arange(bits.shape[0])
    both = multiply_high(bits, (bound - order) * kinds).astype(jnp.uint32)
    ranks, kind = (both // kinds).astype(jnp.int32), (both % kinds).astype(jnp.int32)

    def count_back(item):
        index, value = item
        for earlier in reversed(range(bits.shape[0] - 1)):
            value += (index > earlier) & (value >= ranks[earlier])
        return value

    # A loop, so that the numbers lie in memory: XLA would otherwise count them anew for every use.
    values = jax.lax.map(count_back, (order, ranks))
    return values if kinds == 1 else (values, kind)


def around(cell: Number, side: int) -> tuple[Int32[Array, "5"], Bool[Array, "5"]]:
    """A cell of a side x side room and its four neighbours, ascending; and which of them are inside the room."""
    x, y = cell // side, cell % side
    cells = cell + jnp.array([-side, -1, 0, 1, side])
    return cells, jnp.stack([x > 0, y > 0, x >= 0, y < side - 1, x < side - 1])


def spread_out(bits: UInt32[Array, " n"], agent: Number, side: int, kinds: int = 1) -> Any:
    """Different cells of a side x side room, one by one and uniform, none of them the agent's or beside it.

    With ``kinds`` also an independent integer below ``kinds`` for each.
    """
    near, inside = around(agent, side)
    drawn = distinct(bits, side * side - inside.sum(dtype=jnp.int32), kinds)
    ranks = drawn if kinds == 1 else drawn[0]
    cells = jax.lax.map(lambda rank: nth_free(rank, near, inside), ranks)
    return cells if kinds == 1 else (cells, drawn[1])


STRIDES = 4
"""Steps of the flood in each of its rounds."""


def all_reachable(cells: Int32[Array, " n"], agent: Int32[Array, ""], side: int) -> Bool[Array, ""]:
    """Can every object be touched from the agent by walking through empty cells of a side x side room (side <= 6)?

    BabyAI's ``check_objs_reachable``. The room is a bit board in two words, the upper and the lower half of its rows,
    with a spare bit after each row; it is flooded from the agent.
    """
    stride, half = side + 1, (side + 1) // 2
    seam = stride * (half - 1)

    def board(cells):
        row, column = cells // side, cells % side
        bits = jnp.uint32(1) << (row % half * stride + column).astype(jnp.uint32)
        return [jnp.where(row // half == word, bits, 0).sum(dtype=jnp.uint32) for word in (0, 1)]

    def spread(upper, lower):
        wider = [word << 1 | word >> 1 | word << stride | word >> stride for word in (upper, lower)]
        return wider[0] | lower << seam, wider[1] | upper >> seam

    def flood(_, carry):
        more = carry
        for _ in range(STRIDES):
            wider = spread(*more)
            more = more[0] | (wider[0] & free[0]), more[1] | (wider[1] & free[1])
        return more

    blocked = board(cells)
    free = [~blocked[word] & jnp.uint32(sum(1 << bit for bit in _bits(side, half, word))) for word in (0, 1)]
    start = board(agent[None])
    # No path is longer than there are cells; a fixed number of rounds is cheaper under vmap than asking each time.
    upper, lower = jax.lax.fori_loop(0, -(-side * side // STRIDES), flood, (start[0], start[1]))
    touched = spread(upper, lower)
    return ((blocked[0] & ~touched[0]) | (blocked[1] & ~touched[1])) == 0


def _bits(side: int, half: int, word: int) -> list[int]:
    """The bits of a word of the board that stand for cells."""
    rows = range(half) if word == 0 else range(side - half)
    return [row * (side + 1) + column for row in rows for column in range(side)]


def inside(cell: Number, rows: Number) -> tuple[Number, Number]:
    """Column and row of a cell that is counted inside the walls of a room of so many inner ``rows``."""
    return cell // rows + 1, cell % rows + 1


def nth(mask: Bool[Array, " n"], rank: Number) -> Int32[Array, ""]:
    """Index of the ``rank``-th true entry."""
    return (jnp.cumsum(mask, dtype=jnp.int32) <= rank).sum(dtype=jnp.int32)


def place(grid: UInt8[Array, "W H"], x: Number, y: Number, cell: Number) -> UInt8[Array, "W H"]:
    """The grid with one cell set."""
    at_x = jnp.arange(grid.shape[0], dtype=jnp.int8) == jnp.asarray(x).astype(jnp.int8)
    at_y = jnp.arange(grid.shape[1], dtype=jnp.int8) == jnp.asarray(y).astype(jnp.int8)
    return jnp.where(at_x[:, None] & at_y, jnp.asarray(cell).astype(jnp.uint8), grid)


def place_all(
    grid: UInt8[Array, "W H"], x: Int32[Array, " n"], y: Int32[Array, " n"], cells: Int32[Array, " n"]
) -> UInt8[Array, "W H"]:
    """The grid with several cells set, one after the other."""
    return jax.lax.scan(lambda grid, item: (place(grid, *item), None), grid, (x, y, cells))[0]
