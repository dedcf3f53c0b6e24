"""MiniGrid's levels on one grid whose missions are about objects and doors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarims.gridworld.levels.base import Drawn, MakeLevel, grid_level, walled_room
from metarims.gridworld.levels.placing import distinct, inside, nth, place, place_all
from metarims.gridworld.missions import FETCH, GO_TO, OBJECTS, PUT_NEAR, pair_row
from metarims.gridworld.prng import RandomStream, multiply_high
from metarims.gridworld.state import new_state
from metarims.gridworld.tiles import COLORS, DOOR, EMPTY, KEY, LANDMARK, TARGET, WALL, door_code, object_code


def fetch(stream: RandomStream, size: int, number: int) -> Drawn:
    """Objects (repeats allowed) and the agent on different cells; objects equal to the wanted one do as well."""
    side = size - 2
    places = distinct(stream.take(number + 1), side * side)
    things = stream.randints(number, 12)
    wanted = things[stream.randint(number)]
    values = (KEY + things) | jnp.where(things == wanted, TARGET, 0)
    grid = place_all(jnp.asarray(walled_room(size, size)), *inside(places[:-1], side), values)
    mission = 12 * stream.randint(5) + wanted
    return new_state(grid, *inside(places[-1], side), stream.randint(4), mission), True


def go_to_object(stream: RandomStream, size: int, number: int) -> Drawn:
    """Different objects and the agent on different cells; the mission's place is where one of them was at first."""
    side = size - 2
    things = distinct(stream.take(number), len(OBJECTS))
    places = distinct(stream.take(number + 1), side * side)
    wanted = stream.randint(number)
    values = (KEY + things) | jnp.where(jnp.arange(number) == wanted, LANDMARK, 0)
    grid = place_all(jnp.asarray(walled_room(size, size)), *inside(places[:-1], side), values)
    return new_state(grid, *inside(places[-1], side), stream.randint(4), things[wanted]), True


def choose_pair(stream: RandomStream, number: int) -> tuple[Any, Any, Any, Any]:
    """Different things (0 ... 17), their cell values, which to move, and which other to put it near."""
    things, (move, fixed) = distinct(stream.take(number), len(OBJECTS)), distinct(stream.take(2), number)
    order = jnp.arange(number)
    values = (KEY + things) | jnp.where(order == move, TARGET, jnp.where(order == fixed, LANDMARK, 0))
    return things, values, move, fixed


def put_near(stream: RandomStream, size: int, number: int) -> Drawn:
    """Different objects, no two of them touching; then the agent."""
    things, values, move, fixed = choose_pair(stream, number)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]

    def put(carry, item):
        grid, free = carry
        bits, value = item
        cell = nth(free.reshape(-1), multiply_high(bits, free.sum(dtype=jnp.int32)))
        cx, cy = cell // size, cell % size
        free &= (jnp.abs(x - cx) > 1) | (jnp.abs(y - cy) > 1)
        return (place(grid, cx, cy, value), free), None

    room = jnp.asarray(walled_room(size, size))
    (grid, _), _ = jax.lax.scan(put, (room, room == EMPTY), (stream.take(number), values))
    cell = nth((grid == EMPTY).reshape(-1), stream.randint((size - 2) ** 2 - number))
    mission = pair_row(things[move], things[fixed], len(OBJECTS))
    return new_state(grid, cell // size, cell % size, stream.randint(4), mission), True


def go_to_door(stream: RandomStream, size: int) -> Drawn:
    """A room of random width and height at the top left, a door of another colour in each of its walls; what lies
    outside of the room is empty."""
    width, height = 5 + stream.randint(size - 4), 5 + stream.randint(size - 4)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    edge = (x == 0) | (x == width - 1) | (y == 0) | (y == height - 1)
    grid = jnp.where(edge & (x < width) & (y < height), jnp.uint8(WALL), jnp.uint8(EMPTY))
    door_x = [2 + stream.randint(width - 4), 2 + stream.randint(width - 4), 0, width - 1]
    door_y = [0, height - 1, 2 + stream.randint(height - 4), 2 + stream.randint(height - 4)]
    colors, wanted = distinct(stream.take(4), len(COLORS)), stream.randint(4)
    for index in range(4):
        flag = jnp.where(index == wanted, LANDMARK, 0)
        grid = place(grid, door_x[index], door_y[index], (DOOR + 3 * colors[index] + 1) | flag)
    agent = stream.randint((width - 2) * (height - 2))
    return new_state(grid, *inside(agent, height - 2), stream.randint(4), colors[wanted]), True


def red_blue_doors(stream: RandomStream, size: int) -> Drawn:
    """A square room in the middle of a hall twice as wide, a red door in its left wall, a blue one in its right."""
    side, left = size - 2, size // 2
    hall = walled_room(2 * size, size)
    hall[[left, left + size - 1], :] = WALL
    agent, direction = stream.randint(side * side), stream.randint(4)
    red, blue = door_code("red", "closed") | LANDMARK, door_code("blue", "closed") | TARGET
    grid = place(jnp.asarray(hall), left, 1 + stream.randint(side), red)
    grid = place(grid, left + size - 1, 1 + stream.randint(side), blue)
    return new_state(grid, left + 1 + agent // side, 1 + agent % side, direction), True


def memory(stream: RandomStream, size: int, random_length: bool = False) -> Drawn:
    """An object in the first room decides which end of the hallway, of fixed or random length, to go to."""
    middle = size // 2
    end = 4 + stream.randint(size - 6) if random_length else jnp.int32(size - 3)
    agent_x = 1 + stream.randint(end)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    beside = (y == middle - 1) | (y == middle + 1)
    room = ((x >= 1) & (x <= 4) & ((y == middle - 2) | (y == middle + 2))) | ((x == 4) & beside)
    hallway = (x >= 5) & (x < end) & beside
    crossway = ((x == end) & (y != middle)) | (x == end + 2)
    grid = jnp.where(room | hallway | crossway, jnp.uint8(WALL), jnp.asarray(walled_room(size, size)))

    cue, top = stream.randint(2), stream.randint(2)
    objects = jnp.array([object_code("key", "green"), object_code("ball", "green")])
    grid = place(grid, 1, middle - 1, objects[cue])
    grid = place(grid, end + 1, middle - 2, objects[top])
    grid = place(grid, end + 1, middle + 2, objects[1 - top])
    right, wrong = EMPTY | TARGET, EMPTY | LANDMARK
    grid = place(grid, end + 1, middle - 1, jnp.where(cue == top, right, wrong))
    grid = place(grid, end + 1, middle + 1, jnp.where(cue == top, wrong, right))
    return new_state(grid, agent_x, middle, 0), True


ROOM, NUM_OBJECTS = 6, 12
"""Of Playground: cells from one wall to the next, and objects."""


def playground(stream: RandomStream, size: int) -> Drawn:
    """Nine rooms, a closed door between any two side by side; the agent, then objects, on any free cells."""
    rooms = walled_room(size, size)
    rooms[ROOM : size - 1 : ROOM, :] = WALL
    rooms[:, ROOM : size - 1 : ROOM] = WALL
    free = np.flatnonzero(rooms == EMPTY)

    first, second = np.meshgrid(np.arange(2), np.arange(3), indexing="ij")
    wall, start = ROOM * (first.reshape(-1) + 1), ROOM * second.reshape(-1) + 1
    along = start + stream.randints(12, ROOM - 2).reshape(2, 6)
    door_x, door_y = jnp.stack([wall, along[1]]).reshape(-1), jnp.stack([along[0], wall]).reshape(-1)
    grid = place_all(jnp.asarray(rooms), door_x, door_y, DOOR + 3 * stream.randints(12, 6) + 1)

    cells = jnp.asarray(free)[distinct(stream.take(1 + NUM_OBJECTS), len(free))]
    x, y = cells // size, cells % size
    grid = place_all(grid, x[1:], y[1:], KEY + stream.randints(NUM_OBJECTS, len(OBJECTS)))
    return new_state(grid, x[0], y[0], stream.randint(4)), True


def _fetch(size: int, number: int) -> MakeLevel:
    return grid_level(partial(fetch, number=number), size, FETCH, 5 * size**2, see_through=True, fetch=True)


def _go_to_object(size: int) -> MakeLevel:
    rules = {"see_through": True, "done_beside": True}
    return grid_level(partial(go_to_object, number=2), size, GO_TO[: len(OBJECTS)], 5 * size**2, **rules)


def _put_near(size: int, number: int) -> MakeLevel:
    """Its time limit is five times the side, not its square."""
    return grid_level(partial(put_near, number=number), size, PUT_NEAR, 5 * size, see_through=True, put_near=True)


def _go_to_door(size: int) -> MakeLevel:
    missions = tuple(f"go to the {color} door" for color in COLORS)
    rules = {"see_through": True, "doors": True, "walled": False, "done_beside": True}
    return grid_level(go_to_door, size, missions, 4 * size**2, **rules)


def _red_blue_doors(size: int) -> MakeLevel:
    missions = ("open the red door then the blue door",)
    return grid_level(red_blue_doors, size, missions, 20 * size**2, width=2 * size, doors=True, open_after=True)


def _memory(size: int, random_length: bool = False) -> MakeLevel:
    missions = ("go to the matching object at the end of the hallway",)
    return grid_level(partial(memory, random_length=random_length), size, missions, 5 * size**2, memory=True)


LEVELS: dict[str, MakeLevel] = {
    "MiniGrid-PutNear-6x6-N2-v0": _put_near(6, 2),
    "MiniGrid-PutNear-8x8-N3-v0": _put_near(8, 3),
    **{f"MiniGrid-Fetch-{size}x{size}-N{number}-v0": _fetch(size, number) for size, number in ((5, 2), (6, 2), (8, 3))},
    **{f"MiniGrid-MemoryS{size}-v0": _memory(size) for size in (7, 9, 11, 13)},
    **{f"MiniGrid-MemoryS{size}Random-v0": _memory(size, random_length=True) for size in (13, 17)},
    **{f"MiniGrid-GoToDoor-{size}x{size}-v0": _go_to_door(size) for size in (5, 6, 8)},
    **{f"MiniGrid-GoToObject-{size}x{size}-N2-v0": _go_to_object(size) for size in (6, 8)},
    **{f"MiniGrid-RedBlueDoors-{size}x{size}-v0": _red_blue_doors(size) for size in (6, 8)},
    "MiniGrid-Playground-v0": grid_level(playground, 19, ("",), 100, doors=True),
}
