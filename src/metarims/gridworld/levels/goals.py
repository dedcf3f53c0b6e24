"""MiniGrid's levels on one grid where a goal square is to be reached."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from metarims.gridworld.levels.base import Drawn, MakeLevel, grid_level, walled_room
from metarims.gridworld.levels.placing import distinct, inside, nth, place, place_all
from metarims.gridworld.missions import pair_row, pairs
from metarims.gridworld.obstacles import OBSTACLE
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import new_state
from metarims.gridworld.tiles import COLORS, DOOR, EMPTY, GOAL, KEY, LAVA, WALL, door_code, object_code

GOAL_SQUARE = ("get to the green goal square",)
AVOID_LAVA = ("avoid the lava and get to the green goal square",)


def room_with_goal(size: int) -> np.ndarray:
    """A square room with the goal bottom right."""
    room = walled_room(size, size)
    room[size - 2, size - 2] = GOAL
    return room


def empty(stream: RandomStream, size: int, random_start: bool = False, num_obstacles: int = 0) -> Drawn:
    """The agent top left facing right, or anywhere; obstacles on other cells."""
    side = size - 2
    num_free = side * side - 1  # the goal is the last cell
    agent, direction = (stream.randint(num_free), stream.randint(4)) if random_start else (0, 0)
    cells = distinct(stream.take(num_obstacles), num_free - 1)
    cells += cells >= agent
    x, y = inside(cells, side)
    grid = place_all(jnp.asarray(room_with_goal(size)), x, y, jnp.full_like(x, OBSTACLE))
    return new_state(grid, *inside(agent, side), direction, obstacles=x * size + y), True


def crossing(stream: RandomStream, size: int, number: int, material: int) -> Drawn:
    """Rivers on even coordinates, each with one opening; these follow a random path of crossings between corners."""
    half = (size - 3) // 2  # rivers per orientation
    rivers = jnp.sort(distinct(stream.take(number), 2 * half))
    upright = (rivers < half).sum(dtype=jnp.int32)
    at = 2 + 2 * (rivers % half)

    room = room_with_goal(size)
    x, y = jnp.arange(size)[:, None, None], jnp.arange(size)[None, :, None]
    wet = jnp.where(rivers < half, x == at, y == at).any(-1)
    grid = jnp.where(wet & (room != WALL), jnp.uint8(material), jnp.asarray(room))

    # Borders between which the openings lie: 0, the rivers in order, and the far wall.
    places = jnp.append(at, size - 1)
    order = jnp.arange(number + 1)
    columns = jnp.append(0, jnp.where(order < upright, places, size - 1))
    shifted = places[jnp.minimum(order + upright, number)]
    rows = jnp.append(0, jnp.where(order < number - upright, shifted, size - 1))

    column, row = jnp.int32(0), jnp.int32(0)
    for done in range(number):
        eastward = stream.randint(number - done) < upright - column  # a uniformly shuffled path
        free_x = columns[column] + 1 + stream.randint(columns[column + 1] - columns[column] - 1)
        free_y = rows[row] + 1 + stream.randint(rows[row + 1] - rows[row] - 1)
        open_x = jnp.where(eastward, columns[column + 1], free_x)
        open_y = jnp.where(eastward, free_y, rows[row + 1])
        grid = place(grid, open_x, open_y, EMPTY)
        column, row = column + eastward, row + ~eastward
    return new_state(grid, 1, 1, 0), True


def lava_gap(stream: RandomStream, size: int) -> Drawn:
    """A column of lava with one gap; the agent top left."""
    gap_x, gap_y = 2 + stream.randint(size - 4), 1 + stream.randint(size - 2)
    room = room_with_goal(size)
    lava = (jnp.arange(size)[:, None] == gap_x) & (room != WALL)
    grid = jnp.where(lava, jnp.uint8(LAVA), jnp.asarray(room))
    return new_state(place(grid, gap_x, gap_y, EMPTY), 1, 1, 0), True


DIST_SHIFT_HEIGHT = 7


def dist_shift(stream: RandomStream, size: int, strip_row: int) -> Drawn:
    """Always the same: two strips of three lava cells, the second in row ``strip_row``; the goal top right."""
    del stream
    room = walled_room(size, DIST_SHIFT_HEIGHT)
    room[size - 2, 1] = GOAL
    room[3 : size - 3, [1, strip_row]] = LAVA
    return new_state(jnp.asarray(room), 1, 1, 0), True


def four_rooms(stream: RandomStream, size: int) -> Drawn:
    """One gap in each half of the two middle walls; agent and goal anywhere, the agent perhaps in a gap."""
    middle = size // 2
    room = walled_room(size, size)
    room[middle, :] = WALL
    room[:, middle] = WALL
    grid = jnp.asarray(room)
    near, far = middle - 1, size - 2 - middle
    grid = place(grid, middle, 1 + stream.randint(near), EMPTY)
    grid = place(grid, 1 + stream.randint(near), middle, EMPTY)
    grid = place(grid, middle + 1 + stream.randint(far), middle, EMPTY)
    grid = place(grid, middle, middle + 1 + stream.randint(far), EMPTY)
    num_free = int((room == EMPTY).sum()) + 4
    agent = stream.randint(num_free)
    goal = stream.randint(num_free - 1)
    goal += goal >= agent
    free = (grid == EMPTY).reshape(-1)
    agent, goal = nth(free, agent), nth(free, goal)
    grid = place(grid, goal // size, goal % size, GOAL)
    return new_state(grid, agent // size, agent % size, stream.randint(4)), True


def door_key(stream: RandomStream, size: int) -> Drawn:
    """A wall with a locked door, never in the bottom row, splits the room; agent and yellow key are left of it."""
    split = 2 + stream.randint(size - 4)
    rows = size - 2
    agent, key = distinct(stream.take(2), (split - 1) * rows)
    direction = stream.randint(4)
    door_y = 1 + stream.randint(size - 3)
    room = jnp.asarray(room_with_goal(size))
    grid = jnp.where(jnp.arange(size)[:, None] == split, jnp.uint8(WALL), room)
    grid = place(grid, split, door_y, door_code("yellow", "locked"))
    grid = place(grid, *inside(key, rows), object_code("key", "yellow"))
    return new_state(grid, *inside(agent, rows), direction), True


HALLWAY = 7, 11
"""Columns of LockedRoom's walls between the rooms and the hallway."""
NUM_ROOMS = 6
ROWS = 5
"""Of cells inside of a room."""


def locked_room(stream: RandomStream, size: int) -> Drawn:
    """Six rooms beside a hallway. The goal is in the locked one, whose door alone has the colour of the key; the key
    lies in another."""
    left, right = HALLWAY
    house = walled_room(size, size)
    house[[left, right], :] = WALL
    for y in (ROWS + 1, 2 * (ROWS + 1)):
        house[:left, y] = house[right:, y] = WALL
    rooms = np.arange(NUM_ROOMS)
    locked, key_room = distinct(stream.take(2), NUM_ROOMS)
    colors = distinct(stream.take(NUM_ROOMS), NUM_ROOMS)
    door_x, door_y = np.where(rooms % 2 == 0, left, right), (ROWS + 1) * (rooms // 2) + 3
    doors = DOOR + 3 * colors + jnp.where(rooms == locked, 2, 1)
    grid = place_all(jnp.asarray(house), jnp.asarray(door_x), jnp.asarray(door_y), doors)
    grid = place(grid, *_cell_of(stream, locked), GOAL)
    grid = place(grid, *_cell_of(stream, key_room), KEY + colors[locked])
    agent, rows = stream.randint((right - left - 1) * (size - 2)), size - 2
    mission = pair_row(colors[locked], colors[key_room], len(COLORS))
    return new_state(grid, left + 1 + agent // rows, 1 + agent % rows, stream.randint(4), mission), True


def _cell_of(stream: RandomStream, room: Any) -> tuple[Any, Any]:
    """A uniform cell inside of one of LockedRoom's rooms."""
    cell = stream.randint((HALLWAY[0] - 1) * ROWS)
    return jnp.where(room % 2 == 0, 1, HALLWAY[1] + 1) + cell // ROWS, (ROWS + 1) * (room // 2) + 1 + cell % ROWS


def _empty(size: int, random_start: bool = False) -> MakeLevel:
    draw = partial(empty, random_start=random_start)
    return grid_level(draw, size, GOAL_SQUARE, 4 * size**2, see_through=True, reach_goal=True)


def _dynamic_obstacles(size: int, number: int, random_start: bool = False) -> MakeLevel:
    draw = partial(empty, random_start=random_start, num_obstacles=number)
    rules = {"see_through": True, "reach_goal": True, "collision_ends": True}
    return grid_level(draw, size, GOAL_SQUARE, 4 * size**2, num_actions=3, num_obstacles=number, **rules)


def _crossing(size: int, number: int, material: int) -> MakeLevel:
    missions = AVOID_LAVA if material == LAVA else ("find the opening and get to the green goal square",)
    draw = partial(crossing, number=number, material=material)
    return grid_level(draw, size, missions, 4 * size**2, reach_goal=True)


def _lava_gap(size: int) -> MakeLevel:
    return grid_level(lava_gap, size, AVOID_LAVA, 4 * size**2, reach_goal=True)


def _dist_shift(strip_row: int) -> MakeLevel:
    draw, height = partial(dist_shift, strip_row=strip_row), DIST_SHIFT_HEIGHT
    return grid_level(draw, 9, GOAL_SQUARE, 4 * 9 * height, height=height, see_through=True, reach_goal=True)


def _four_rooms(size: int) -> MakeLevel:
    return grid_level(four_rooms, size, ("reach the goal",), 100, reach_goal=True)  # 100 whatever the size


def _door_key(size: int) -> MakeLevel:
    missions = ("use the key to open the door and then get to the goal",)
    return grid_level(door_key, size, missions, 10 * size**2, doors=True, reach_goal=True)


_LOCKED_ROOM = pairs("get the {0} key from the {1} room, unlock the {0} door and go to the goal", COLORS)

LEVELS: dict[str, MakeLevel] = {
    **{f"MiniGrid-DoorKey-{size}x{size}-v0": _door_key(size) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-{size}x{size}-v0": _empty(size) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-Random-{size}x{size}-v0": _empty(size, random_start=True) for size in (5, 6)},
    **{
        f"MiniGrid-Dynamic-Obstacles-{start}{size}x{size}-v0": _dynamic_obstacles(size, number, bool(start))
        for size, number, starts in ((5, 2, ("", "Random-")), (6, 3, ("", "Random-")), (8, 4, ("",)), (16, 8, ("",)))
        for start in starts
    },
    **{
        f"MiniGrid-{kind}CrossingS{size}N{number}-v0": _crossing(size, number, material)
        for kind, material in (("Lava", LAVA), ("Simple", WALL))
        for size, number in ((9, 1), (9, 2), (9, 3), (11, 5))
    },
    "MiniGrid-FourRooms-v0": _four_rooms(19),
    "MiniGrid-FourRoomsS13-v0": _four_rooms(13),
    "MiniGrid-DistShift1-v0": _dist_shift(2),
    "MiniGrid-DistShift2-v0": _dist_shift(5),
    **{f"MiniGrid-LavaGapS{size}-v0": _lava_gap(size) for size in (5, 6, 7)},
    "MiniGrid-LockedRoom-v0": grid_level(locked_room, 19, _LOCKED_ROOM, 190, doors=True, reach_goal=True),
}
