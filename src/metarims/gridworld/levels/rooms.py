"""A grid of rooms with doors between them, filled step by step as Farama's ``RoomGrid`` is.

Where Farama draws until something fits, the choice here is uniform among all that fits: the same distribution, without
a loop. Two bounds of Farama's are not kept: it gives up after 1,001 cells drawn for one object (where a single cell of
64 is free that happens once in seven million objects), and after 5,001 doors drawn (below 1e-50).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from metarims.gridworld.descriptions import A_DOOR, ANY, matching, on_sides
from metarims.gridworld.levels.base import Drawn, Level
from metarims.gridworld.levels.placing import distinct, nth, place
from metarims.gridworld.prng import RandomStream, multiply_high
from metarims.gridworld.state import EnvState, Instruction, new_state
from metarims.gridworld.tiles import AGENT, COLORS, DOOR, EMPTY, KEY, KINDS, TARGET, WALL

RIGHT, DOWN, LEFT, UP = range(4)
"""The sides of a room."""
CLOSED, LOCKED = 1, 2
NUM_COLORS = len(COLORS)
NUM_THINGS = len(KINDS) * NUM_COLORS

Number = Any
"""A Python integer, or one that is computed."""


class Thing(NamedTuple):
    """Something that was placed, or several (every field then has an axis)."""

    x: Int32[Array, "*n"]
    y: Int32[Array, "*n"]
    kind: Int32[Array, "*n"]
    """0 key, 1 ball, 2 box, 3 door."""
    color: Int32[Array, "*n"]
    exists: Any = True


class RoomGrid:
    """``columns`` x ``rows`` rooms of ``size`` x ``size`` cells, walls included (which neighbours share).

    Room (i, j) is in column i and row j. Until it is placed, the agent stands in the middle of the middle room, where
    it keeps objects away. ``accepted`` becomes False where Farama would begin anew.
    """

    def __init__(self, stream: RandomStream, size: int, columns: int = 3, rows: int = 3):
        self.stream, self.size, self.columns, self.rows = stream, size, columns, rows
        self.width, self.height = (size - 1) * columns + 1, (size - 1) * rows + 1
        grid = np.full((self.width, self.height), EMPTY, np.uint8)
        grid[:: size - 1, :] = WALL
        grid[:, :: size - 1] = WALL
        self.grid: Any = jnp.asarray(grid)
        self.x: Any = columns // 2 * (size - 1) + size // 2
        self.y: Any = rows // 2 * (size - 1) + size // 2
        self.direction: Any = 0
        self.carrying: Any = None
        """The cell value of what the agent holds from the start, if it does."""
        self.instruction: Instruction | None = None
        self.tokens: Any = None
        self.accepted: Any = jnp.bool_(True)
        self._contents: Any = None
        self._objects: list[Thing] = []
        self._used: Any = jnp.zeros(NUM_THINGS, bool)
        """Which things (6 x kind + colour) lie in a room."""
        self._edges = _Edges(size, columns, rows)
        along = stream.randints(self._edges.number, size - 2) if size > 3 else jnp.zeros(self._edges.number, jnp.int32)
        self._door_x = jnp.asarray(self._edges.x) + jnp.where(self._edges.across, 0, along)
        self._door_y = jnp.asarray(self._edges.y) + jnp.where(self._edges.across, along, 0)
        self._open: Any = jnp.zeros(self._edges.number, bool)
        """Edges with a door, or without a wall."""
        self._doors: Any = jnp.zeros(self._edges.number, bool)
        self._colors: Any = jnp.zeros(self._edges.number, jnp.int32)
        self._locked: Any = jnp.zeros(columns * rows, bool)
        """Rooms that ``connect_all`` leaves alone."""

    @property
    def sides(self) -> np.ndarray:
        """[columns, rows, 4] not negative where a door may be."""
        return self._edges.of_room

    # Doors and walls

    def add_door(
        self,
        i: Number,
        j: Number,
        side: Number = None,
        color: Number = None,
        locked: Number = None,
        *,
        exists: Any = True,
    ) -> Thing:
        """A door of room (i, j) on ``side``, of ``color``; what is None is drawn. A room is locked by its last door."""
        edges = jnp.asarray(self._edges.of_room)[i, j]
        if side is None:
            valid = (edges >= 0) & ~self._open[edges]
            side = nth(valid, self.stream.randint(valid.sum(dtype=jnp.int32)))
        edge = edges[side]
        color = self.stream.randint(NUM_COLORS) if color is None else jnp.asarray(color, jnp.int32)
        locked = self.stream.randint(2) == 0 if locked is None else jnp.asarray(locked)
        here = (jnp.arange(self._edges.number) == edge) & exists
        self._open, self._doors = self._open | here, self._doors | here
        self._colors = jnp.where(here, color, self._colors)
        room = (jnp.arange(len(self._locked)) == i * self.rows + j) & exists
        self._locked = jnp.where(room, locked, self._locked)
        x, y = self._door_x[edge], self._door_y[edge]
        self.put(
            x if exists is True else jnp.where(exists, x, -1), y, DOOR + 3 * color + jnp.where(locked, LOCKED, CLOSED)
        )
        return Thing(x, y, jnp.int32(A_DOOR), color, exists)

    def remove_wall(self, i: int, j: int, side: int) -> None:
        """Make two rooms one."""
        edge = self._edges.of_room[i, j, side]
        x, y = int(self._edges.x[edge]), int(self._edges.y[edge])
        along = np.arange(self.size - 2)
        cells = (x, y + along) if self._edges.across[edge] else (x + along, y)
        self.grid = self.grid.at[cells].set(jnp.uint8(EMPTY))
        self._open = self._open.at[edge].set(True)

    def connect_all(self, without: Any = None) -> None:
        """Add closed doors at random until every room can be reached; ``without``: a colour that they do not have, -1
        for none."""
        number = self._edges.number
        order, drawn = distinct(self.stream.take(number), number, kinds=NUM_COLORS * (NUM_COLORS - 1))
        colors = drawn % NUM_COLORS
        if without is not None:
            others = drawn // NUM_COLORS
            colors = jnp.where(without >= 0, others + (others >= without), colors)
        ends = jnp.asarray(self._edges.ends)

        def join(labels, edge, on):
            first, second = labels[ends[edge, 0]], labels[ends[edge, 1]]
            return jnp.where(on & (labels == second), first, labels)

        def add(carry, item):
            labels, opened = carry
            edge = item
            allowed = ~self._locked[ends[edge, 0]] & ~self._locked[ends[edge, 1]] & ~opened[edge]
            adds = allowed & (labels != labels[0]).any()
            return (join(labels, edge, adds), opened | ((jnp.arange(number) == edge) & adds)), None

        apart = jnp.arange(self.columns * self.rows)
        labels, _ = jax.lax.scan(lambda labels, e: (join(labels, e, self._open[e]), None), apart, jnp.arange(number))
        (labels, opened), _ = jax.lax.scan(add, (labels, self._open), order)
        self.accepted = self.accepted & (labels == labels[0]).all()
        new = opened & ~self._open
        by_edge = jnp.zeros(number, jnp.int32).at[order].set(colors)
        self._colors = jnp.where(new, by_edge, self._colors)
        self._open, self._doors = opened, self._doors | new
        x = jnp.where(new, self._door_x, -1)  # beyond the grid: not placed
        codes = DOOR + CLOSED + 3 * by_edge
        self.grid, _ = jax.lax.scan(lambda grid, door: (place(grid, *door), None), self.grid, (x, self._door_y, codes))

    def random_door(self) -> Thing:
        """One of the doors, uniformly."""
        edge = nth(self._doors, self.stream.randint(self._doors.sum(dtype=jnp.int32)))
        return Thing(self._door_x[edge], self._door_y[edge], jnp.int32(A_DOOR), self._colors[edge])

    def open_doors(self) -> None:
        """Open all doors, locked ones too."""
        is_door = (self.grid >= DOOR) & (self.grid < AGENT)
        self.grid = jnp.where(is_door, self.grid - (self.grid - DOOR) % 3, self.grid)

    # Objects

    def put(self, x: Number, y: Number, code: Number) -> None:
        """Set a cell, whatever stands there."""
        self.grid = place(self.grid, x, y, jnp.asarray(code))
        if self._contents is not None:  # A box that stood there is gone with what it held.
            self._contents = self._contents.at[x * self.height + y].set(EMPTY)

    def add_object(
        self, i: Number, j: Number, kind: Number = None, color: Number = None, *, exists: Any = True
    ) -> Thing:
        """A key (0), ball (1) or box (2) somewhere in room (i, j), not beside the agent; what is None is drawn."""
        kind = self.stream.randint(len(KINDS)) if kind is None else jnp.asarray(kind, jnp.int32)
        color = self.stream.randint(NUM_COLORS) if color is None else jnp.asarray(color, jnp.int32)
        grid, fits, x, y = self._add(self.grid, i, j, self.stream.take(1)[0], KEY + NUM_COLORS * kind + color)
        self.grid = grid if exists is True else jnp.where(exists, grid, self.grid)
        self.accepted = self.accepted & (fits | ~jnp.asarray(exists))
        self._used = self._used | ((jnp.arange(NUM_THINGS) == NUM_COLORS * kind + color) & exists)
        self._objects.append(Thing(x, y, kind, color, exists))
        return self._objects[-1]

    def fill_box(self, box: Thing, code: Number) -> None:
        """Put an object into a box."""
        if self._contents is None:
            self._contents = jnp.full(self.width * self.height + 1, EMPTY, jnp.uint8)
        self._contents = self._contents.at[box.x * self.height + box.y].set(jnp.asarray(code).astype(jnp.uint8))

    def add_distractors(self, number: int, i: Number = None, j: Number = None, *, unique: bool = True) -> Thing:
        """Random objects in room (i, j), or each in a random room; ``unique``: of kind and colour that no other has."""
        num_rooms = self.columns * self.rows if i is None else 1
        draws = self.stream.take(2 * number).reshape(number, 2)

        def add(carry, bits):
            grid, used, accepted = carry
            left = NUM_THINGS - used.sum(dtype=jnp.int32) if unique else NUM_THINGS
            drawn = multiply_high(bits[0], left * num_rooms)
            thing, room = (drawn // num_rooms, drawn % num_rooms) if num_rooms > 1 else (drawn, 0)
            thing = nth(~used, thing) if unique else thing
            column, row = (room // self.rows, room % self.rows) if i is None else (i, j)
            grid, fits, x, y = self._add(grid, column, row, bits[1], KEY + thing)
            used |= jnp.arange(NUM_THINGS) == thing
            return (grid, used, accepted & fits), (x, y, thing)

        start = self.grid, self._used, self.accepted
        (self.grid, self._used, self.accepted), (x, y, things) = jax.lax.scan(add, start, draws)
        self._objects.append(Thing(x, y, things // NUM_COLORS, things % NUM_COLORS, jnp.ones(number, bool)))
        return self._objects[-1]

    def things(self) -> Thing:
        """All objects and doors."""
        kinds = jnp.full(self._edges.number, A_DOOR)
        return together(*self._objects, Thing(self._door_x, self._door_y, kinds, self._colors, self._doors))

    def _add(self, grid: UInt8[Array, "W H"], i: Number, j: Number, bits: UInt32[Array, ""], code: Number):
        """The grid with an object in room (i, j), uniformly among empty cells not within one step of the agent;
        whether there was one; and where it is."""
        size = self.size
        left, top = jnp.asarray(i) * (size - 1), jnp.asarray(j) * (size - 1)
        away_x = jnp.abs(left + jnp.arange(size) - self.x)[:, None]
        away_y = jnp.abs(top + jnp.arange(size) - self.y)
        free = (jax.lax.dynamic_slice(grid, (left, top), (size, size)) == EMPTY) & (away_x + away_y >= 2)
        number = free.sum(dtype=jnp.int32)
        cell = nth(free.reshape(-1), multiply_high(bits, number))
        x, y = left + cell // size, top + cell % size
        return place(grid, jnp.where(number > 0, x, -1), y, code), number > 0, x, y

    def objects_reachable(self) -> Bool[Array, ""]:
        """Can the agent touch every object and every door, walking through empty cells and (even locked) doors?"""
        empty = self.grid == EMPTY
        doors = (self.grid >= DOOR) & (self.grid < AGENT)
        bit = jnp.uint32(1) << jnp.arange(self.height, dtype=jnp.uint32)

        def board(cells):
            return jnp.where(cells, bit, 0).sum(1, dtype=jnp.uint32)

        free, things = board(empty | doors), board(~empty & (self.grid != WALL))
        start = jnp.where(jnp.arange(self.width) == self.x, jnp.uint32(1) << jnp.asarray(self.y).astype(jnp.uint32), 0)

        def spread(reached):
            aside = jnp.pad(reached, 1)
            return reached | reached << 1 | reached >> 1 | aside[2:] | aside[:-2]

        def flood(carry):
            reached, _ = carry
            wider = reached
            for _ in range(FLOOD_STEPS):
                wider = spread(wider) & free | wider
            return wider, (wider != reached).any()

        reached, _ = jax.lax.while_loop(lambda carry: carry[1], flood, (start, jnp.bool_(True)))
        return ((things & ~spread(reached)) == 0).all()

    def find(self, kind: Number = ANY, color: Number = ANY, place: Number = 0) -> Bool[Array, "W H"]:
        """The cells with something of this kind and colour, perhaps at a place (number in ``PLACES``) in the room where
        the agent is."""
        found = matching(self.grid, kind, color)
        if isinstance(place, int) and place == 0:
            return found
        return found & self.at_places(jnp.arange(self.width)[:, None], jnp.arange(self.height))[place]

    def at_places(self, x: Any, y: Any) -> Bool[Array, "5 ..."]:
        """Which cells (x, y) are at each of the ``PLACES`` as seen by the agent: anywhere; or in its room, walls
        included, and on its left, on its right, before or behind it."""
        side = self.size - 1
        left, top = self.x // side * side, self.y // side * side
        in_room = (x >= left) & (x <= left + side) & (y >= top) & (y <= top + side)
        sides = on_sides(x - self.x, y - self.y, self.direction)
        return jnp.stack([jnp.ones_like(in_room), *(in_room & side for side in sides)])

    def mark(
        self, kind: Number = ANY, color: Number = ANY, place: Number = 0, *, flag: int = TARGET
    ) -> Int32[Array, ""]:
        """Flag all that ``find`` finds; how many they are."""
        found = self.find(kind, color, place)
        self.grid = jnp.where(found, self.grid | flag, self.grid)
        return found.sum(dtype=jnp.int32)

    # The agent

    def place_agent(self, i: Number = None, j: Number = None, *, barred: Number = -1) -> None:
        """Put the agent into room (i, j), or any room but ``barred`` (rows x i + j; -1: any); uniform among empty cells
        and directions that face nothing, or a wall."""
        if self.columns * self.rows == 1:
            i, j = 0, 0
        elif i is None:
            number = self.columns * self.rows
            bars = jnp.asarray(barred) >= 0
            room = self.stream.randint(number - bars.astype(jnp.int32))
            room = room + (bars & (room >= barred))
            i, j = room // self.rows, room % self.rows
        size = self.size
        left, top = jnp.asarray(i) * (size - 1), jnp.asarray(j) * (size - 1)
        around = jnp.pad(self.grid, 1, constant_values=WALL)
        seen = jax.lax.dynamic_slice(around, (left, top), (size + 2, size + 2))
        bare = (seen == EMPTY) | (seen == WALL)
        ahead = jnp.stack([bare[2:, 1:-1], bare[1:-1, 2:], bare[:-2, 1:-1], bare[1:-1, :-2]], -1)
        valid = (ahead & (seen[1:-1, 1:-1] == EMPTY)[..., None]).reshape(-1)
        number = valid.sum(dtype=jnp.int32)
        pose = nth(valid, self.stream.randint(number))
        self.accepted = self.accepted & (number > 0)
        self.direction = pose % 4
        self.x, self.y = left + pose // (4 * size), top + pose // 4 % size

    def start(self, mission: Any = 0) -> EnvState:
        """The state in which an episode begins."""
        state = new_state(self.grid, self.x, self.y, self.direction, mission, contents=self._contents)
        state = state._replace(instruction=self.instruction, tokens=self.tokens)
        return state if self.carrying is None else state._replace(carrying=self.carrying)


@dataclasses.dataclass(frozen=True)
class RoomLevel(Level):
    """A level on a grid of rooms; ``furnish`` fills them, and gives the row of the mission (None: 0)."""

    furnish: Callable[[RoomGrid], Any] = dataclasses.field(kw_only=True, repr=False)
    room_size: int = dataclasses.field(kw_only=True)
    columns: int = dataclasses.field(kw_only=True)
    rows: int = dataclasses.field(kw_only=True)

    def attempt(self, stream: RandomStream) -> Drawn:
        rooms = RoomGrid(stream, self.room_size, self.columns, self.rows)
        mission = self.furnish(rooms)
        return rooms.start(0 if mission is None else mission), rooms.accepted


def together(*things: Thing) -> Thing:
    """Several things as one, along an axis."""
    return Thing(*(jnp.concatenate([jnp.ravel(leaf) for leaf in leaves]) for leaves in zip(*things, strict=True)))


FLOOD_STEPS = 4
"""Steps of a flood between two questions whether it is over."""


class _Edges:
    """The walls between neighbouring rooms."""

    def __init__(self, size: int, columns: int, rows: int):
        ends, x, y, across = [], [], [], []
        self.of_room = np.full((columns, rows, 4), -1)
        """Number of the edge on each side of each room; -1 for the outer walls."""
        for i in range(columns):
            for j in range(rows):
                for side, (di, dj) in ((RIGHT, (1, 0)), (DOWN, (0, 1))):
                    if i + di < columns and j + dj < rows:
                        self.of_room[i, j, side] = self.of_room[i + di, j + dj, side + 2] = len(ends)
                        ends.append((i * rows + j, (i + di) * rows + j + dj))
                        x.append((i + di) * (size - 1) + (0 if di else 1))
                        y.append((j + dj) * (size - 1) + (0 if dj else 1))
                        across.append(bool(di))
        self.number = len(ends)
        self.ends = np.array(ends).reshape(-1, 2)
        """The two rooms (numbered rows x i + j)."""
        self.x, self.y = np.array(x, int), np.array(y, int)
        """The first cell where a door may be."""
        self.across = np.array(across, bool)
        """Whether the rooms lie side by side: the door then varies in y."""
