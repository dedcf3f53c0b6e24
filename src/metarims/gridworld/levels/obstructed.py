"""MiniGrid's ObstructedMaze: a blue ball behind locked doors, with keys in boxes and balls in the way."""

from functools import partial
from typing import Any

import jax.numpy as jnp

from metarims.gridworld.levels.babyai import A_BALL, A_BOX, A_KEY, BLUE, room_level
from metarims.gridworld.levels.base import MakeLevel
from metarims.gridworld.levels.placing import distinct
from metarims.gridworld.levels.rooms import RIGHT, RoomGrid
from metarims.gridworld.tiles import COLORS, KEY, object_code

GREY = COLORS.index("grey")
BLOCKING_BALL = object_code("ball", "green")
AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""The step through a door on each side of a room."""
SIDE_ROOMS = ((2, 1), (1, 2), (0, 1), (1, 0))
CORNERS = ((2, 0), (2, 2), (0, 2), (0, 0))


def one_locked_door(rooms: RoomGrid, hidden: bool, blocked: bool) -> None:
    """A blue ball behind a locked door."""
    colors = distinct(rooms.stream.take(6), len(COLORS))
    lock(rooms, 0, 0, RIGHT, colors[0], blocked)
    add_key(rooms, 0, 0, colors[0], hidden)
    rooms.add_object(1, 0, A_BALL, BLUE)
    rooms.place_agent(0, 0)
    rooms.mark(A_BALL, BLUE)


def maze(
    rooms: RoomGrid,
    quarters: int,
    start: tuple[int, int] = (1, 1),
    hidden: bool = True,
    blocked: bool = True,
    keys_last: bool = False,
) -> None:
    """A blue ball in one of ``quarters`` corners, whose doors are locked from the rooms beside the middle one.

    Unless ``keys_last``, the first key of such a room may lie where the ball before its second door is put: the key is
    then gone, and with it the way to that corner.
    """
    colors = distinct(rooms.stream.take(6), len(COLORS))
    for side in range(quarters):
        i, j = SIDE_ROOMS[side]
        rooms.add_door(1, 1, side, colors[side], locked=False)
        ways = [((side + turn) % 4, colors[(side + turn) % len(COLORS)]) for turn in (-1, 1)]
        for way, color in ways:
            lock(rooms, i, j, way, color, blocked)
            if not keys_last:
                add_key(rooms, i, j, color, hidden)
        if keys_last:
            for _, color in ways:
                add_key(rooms, i, j, color, hidden)
    corner = jnp.asarray(CORNERS)[rooms.stream.randint(quarters)]
    rooms.add_object(corner[0], corner[1], A_BALL, BLUE)
    rooms.place_agent(*start)
    rooms.mark(A_BALL, BLUE)


def lock(rooms: RoomGrid, i: int, j: int, side: int, color: Any, blocked: bool) -> None:
    """A locked door, perhaps with a ball before it."""
    door = rooms.add_door(i, j, side, color, locked=True)
    if blocked:
        dx, dy = AHEAD[side]
        rooms.put(door.x - dx, door.y - dy, BLOCKING_BALL)


def add_key(rooms: RoomGrid, i: int, j: int, color: Any, hidden: bool) -> None:
    """A key, perhaps hidden in a grey box."""
    if hidden:
        rooms.fill_box(rooms.add_object(i, j, A_BOX, GREY), KEY + color)
    else:
        rooms.add_object(i, j, A_KEY, color)


_blue_ball = partial(room_level, missions=("pick up the blue ball",), size=6, pick_up=True)


def _maze(quarters: int, num_rooms: int, **how: Any) -> MakeLevel:
    return _blue_ball(partial(maze, quarters=quarters, **how), max_steps=4 * num_rooms * 6**2)


_WAYS = {
    "l": {"hidden": False, "blocked": False},
    "lh": {"hidden": True, "blocked": False},
    "lhb": {"hidden": True, "blocked": True},
}

LEVELS: dict[str, MakeLevel] = {
    **{
        f"MiniGrid-ObstructedMaze-1D{kind}-v0": _blue_ball(
            partial(one_locked_door, **how), columns=2, rows=1, max_steps=4 * 2 * 6**2
        )
        for kind, how in _WAYS.items()
    },
    **{f"MiniGrid-ObstructedMaze-2D{kind}-v0": _maze(1, 4, start=(2, 1), **how) for kind, how in _WAYS.items()},
    "MiniGrid-ObstructedMaze-2Dlhb-v1": _maze(1, 4, start=(2, 1), keys_last=True),
    **{
        f"MiniGrid-ObstructedMaze-{name}-{version}": _maze(quarters, num_rooms, start=start, keys_last=version == "v1")
        for name, quarters, num_rooms, start in (("1Q", 1, 5, (1, 1)), ("2Q", 2, 11, (2, 1)), ("Full", 4, 25, (1, 1)))
        for version in ("v0", "v1")
    },
}
