"""MultiRoom: a chain of rooms joined by doors, the goal in the last."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from metarims.gridworld.levels.base import Drawn, MakeLevel, grid_level
from metarims.gridworld.levels.placing import place
from metarims.gridworld.prng import RandomStream, multiply_high
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.tiles import DOOR, EMPTY, GOAL, WALL

MIN_SIZE = 4
TRIES = 8
"""Rooms tried after each room; the first that fits is kept, and there is no way back."""
DRAWS = 2


class Room(NamedTuple):
    """A room with its walls, and the door by which one enters it."""

    left: Int32[Array, "*n"]
    top: Int32[Array, "*n"]
    width: Int32[Array, "*n"]
    height: Int32[Array, "*n"]
    wall: Int32[Array, "*n"]
    """The wall with the entry door: 0 right, 1 bottom, 2 left, 3 top."""
    door_x: Int32[Array, "*n"]
    door_y: Int32[Array, "*n"]


def multi_room(stream: RandomStream, size: int, num_rooms: int, max_size: int) -> Drawn:
    """``num_rooms`` rooms, at most ``max_size`` wide and high; kept if the chain reaches its full length."""
    left, top = stream.randint(size - 2), stream.randint(size - 2)
    sizes = MIN_SIZE + stream.randint(max_size - 3), MIN_SIZE + stream.randint(max_size - 3)
    first = Room(left, top, *sizes, jnp.int32(2), left, top)
    order = jnp.arange(num_rooms)

    def extend(carry, item):
        rooms, complete = carry
        index, draws = item
        last = Room(*(leaf[index - 1] for leaf in rooms))
        options = jax.vmap(partial(_next_room, last, max_size))(draws)
        fits = _is_within(options, size)
        clash = _overlap(Room(*(leaf[:, None] for leaf in options)), rooms)
        fits &= ~(clash & (order < index - 1)).any(1)
        chosen = Room(*(leaf[jnp.argmax(fits)] for leaf in options))
        rooms = jax.tree.map(lambda held, new: jnp.where(order == index, new, held), rooms, chosen)
        return (rooms, complete & fits.any()), None

    rooms = jax.tree.map(lambda leaf: jnp.full(num_rooms, leaf), first)
    draws = stream.take((num_rooms - 1) * TRIES * DRAWS).reshape(num_rooms - 1, TRIES, DRAWS)
    (rooms, complete), _ = jax.lax.scan(extend, (rooms, _is_within(first, size)), (order[1:], draws))
    return _furnish(stream, size, rooms), complete


def _is_within(room: Room, size: int) -> Bool[Array, "*n"]:
    """Within the grid; Farama keeps one row more free at the bottom than it must."""
    within = (room.left >= 0) & (room.top >= 0)
    return within & (room.left + room.width <= size) & (room.top + room.height < size)


def _next_room(room: Room, max_size: int, draws: UInt32[Array, "2"]) -> Room:
    """A random room behind a random door of ``room``, not in the wall by which one came."""
    stream = RandomStream(draws)
    choice, size = stream.randint_pair(3, (max_size - 3) ** 2)
    leave = choice + (choice >= room.wall)
    width, height = MIN_SIZE + size // (max_size - 3), MIN_SIZE + size % (max_size - 3)
    sideways = (leave == 0) | (leave == 2)
    along, back = stream.randint_pair(
        jnp.where(sideways, room.height, room.width) - 2, jnp.where(sideways, height, width) - 2
    )
    along, back = along + 1, back + 2
    door_x = jnp.where(leave == 0, room.left + room.width - 1, room.left + jnp.where(sideways, 0, along))
    door_y = jnp.where(leave == 1, room.top + room.height - 1, room.top + jnp.where(sideways, along, 0))
    left = jnp.where(sideways, door_x - jnp.where(leave == 2, width - 1, 0), door_x - width + back)
    top = jnp.where(sideways, door_y - height + back, door_y - jnp.where(leave == 3, height - 1, 0))
    return Room(left, top, width, height, (leave + 2) % 4, door_x, door_y)


def _furnish(stream: RandomStream, size: int, rooms: Room) -> EnvState:
    """Walls, doors (each of another colour than the last), the agent in the first room, the goal in the last."""

    def build(carry, item):
        grid, color = carry
        room, index, bits = item
        other = multiply_high(bits, jnp.where(index == 1, 6, 5))
        color = jnp.where(index == 1, other, other + (other >= color))
        grid = _walls(grid, room)
        door_x = jnp.where(index > 0, room.door_x, -1)  # the first room has no entry
        return (place(grid, door_x, room.door_y, DOOR + 3 * color + 1), color), None

    number = len(rooms.left)
    items = rooms, jnp.arange(number), stream.take(number)
    grid = jnp.full((size, size), EMPTY, jnp.uint8)
    (grid, _), _ = jax.lax.scan(build, (grid, jnp.int32(0)), items)
    x, y = _cell(stream, Room(*(leaf[0] for leaf in rooms)))
    goal_x, goal_y = _cell(stream, Room(*(leaf[-1] for leaf in rooms)))
    return new_state(place(grid, goal_x, goal_y, GOAL), x, y, stream.randint(4))


def _cell(stream: RandomStream, room: Room):
    """A uniform cell inside the walls of a room."""
    cell = stream.randint((room.width - 2) * (room.height - 2))
    inner = room.height - 2
    return room.left + 1 + cell // inner, room.top + 1 + cell % inner


def _walls(grid: UInt8[Array, "W H"], room: Room) -> UInt8[Array, "W H"]:
    room = Room(*(leaf.astype(jnp.int8) for leaf in room))
    x = jnp.arange(grid.shape[0], dtype=jnp.int8)[:, None] - room.left
    y = jnp.arange(grid.shape[1], dtype=jnp.int8)[None, :] - room.top
    in_x, in_y = (x >= 0) & (x < room.width), (y >= 0) & (y < room.height)
    edge_x, edge_y = (x == 0) | (x == room.width - 1), (y == 0) | (y == room.height - 1)
    return jnp.where((in_x & in_y) & (edge_x | edge_y), jnp.uint8(WALL), grid)


def _overlap(a: Room, b: Room) -> Bool[Array, "*n"]:
    """Farama's test, which also keeps one column and one row free to the right of and below ``a``."""
    apart_x = (a.left + a.width < b.left) | (b.left + b.width <= a.left)
    apart_y = (a.top + a.height < b.top) | (b.top + b.height <= a.top)
    return ~(apart_x | apart_y)


def _multi_room(num_rooms: int, max_size: int = 10) -> MakeLevel:
    draw, missions = (
        partial(multi_room, num_rooms=num_rooms, max_size=max_size),
        ("traverse the rooms to get to the goal",),
    )
    return grid_level(draw, 25, missions, 20 * num_rooms, doors=True, walled=False, reach_goal=True)


LEVELS: dict[str, MakeLevel] = {
    "MiniGrid-MultiRoom-N2-S4-v0": _multi_room(2, 4),
    "MiniGrid-MultiRoom-N4-S5-v0": _multi_room(6, 5),  # six rooms, upstream too
    "MiniGrid-MultiRoom-N4-S5-v1": _multi_room(4, 5),
    "MiniGrid-MultiRoom-N6-v0": _multi_room(6),
}
