"""BabyAI's levels of one instruction on a grid of rooms, and MiniGrid's that are like them.

A function for each of Farama's, to be held beside it: it furnishes the rooms and gives the row of the mission, if there
are several; what is meant gets the flag ``TARGET``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from metarims.gridworld.descriptions import A_DOOR, ANY, PLACES
from metarims.gridworld.levels.base import MakeLevel
from metarims.gridworld.levels.placing import distinct
from metarims.gridworld.levels.rooms import LEFT, RIGHT, UP, RoomGrid, RoomLevel, Thing, together
from metarims.gridworld.missions import OBJECTS, PUT_NEXT, THINGS, naming, pair_row
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import COLORS, EMPTY, KEY, KINDS, LANDMARK, TARGET

A_KEY, A_BALL, A_BOX = range(3)
RED, BLUE = COLORS.index("red"), COLORS.index("blue")


def one(things: Thing, index: Any) -> Thing:
    """One of several things."""
    return Thing(*(leaf[index] for leaf in things[:4]))


def any_of(rooms: RoomGrid, things: Thing) -> Thing:
    """One of several things, uniformly."""
    return one(things, rooms.stream.randint(things.x.shape[0]))


def wanted(rooms: RoomGrid, thing: Thing, count: int = len(THINGS), first: int = 0) -> Any:
    """Mark all that is like ``thing``; the row of its mission among ``count`` things from ``first`` on."""
    several = rooms.mark(thing.kind, thing.color) > 1
    return count * several + len(COLORS) * thing.kind + thing.color - first


def go_to(rooms: RoomGrid, number: int = 18, open_doors: bool = False) -> Any:
    """Go to any of many objects in connected rooms, or pick it up."""
    rooms.place_agent()
    rooms.connect_all()
    things = rooms.add_distractors(number, unique=False)
    rooms.accepted &= rooms.objects_reachable()
    mission = wanted(rooms, any_of(rooms, things), len(OBJECTS))
    if open_doors:
        rooms.open_doors()
    return mission


def go_to_red_blue_ball(rooms: RoomGrid) -> Any:
    """The only red or blue ball."""
    rooms.place_agent()
    things = rooms.add_distractors(7, unique=False)
    rooms.accepted &= ~((things.kind == A_BALL) & ((things.color == BLUE) | (things.color == RED))).any()
    blue = rooms.stream.randint(2)
    ball = rooms.add_object(0, 0, A_BALL, jnp.where(blue == 1, BLUE, RED))
    rooms.accepted &= rooms.objects_reachable()
    rooms.mark(ball.kind, ball.color)
    return blue


def go_to_door(rooms: RoomGrid) -> Any:
    """One of the middle room's four doors."""
    doors = [rooms.add_door(1, 1) for _ in range(4)]
    rooms.place_agent(1, 1)
    return wanted(rooms, any_of(rooms, together(*doors)), len(COLORS), len(OBJECTS))


def go_to_object_or_door(rooms: RoomGrid) -> Any:
    """One of the middle room's objects or doors; the agent is placed before the doors and may face one."""
    rooms.place_agent(1, 1)
    things = rooms.add_distractors(8, 1, 1, unique=False)
    doors = [rooms.add_door(1, 1) for _ in range(4)]
    rooms.accepted &= rooms.objects_reachable()
    return wanted(rooms, any_of(rooms, together(things, *doors)))


def locked_room(rooms: RoomGrid) -> tuple[Any, Any, Thing]:
    """Lock a random room, and put the key anywhere; column and row of the room, and its door.

    Farama means to keep the key and the other objects out of the locked room, but compares numbers by identity, which
    never holds: they may lie in it.
    """
    i, j = rooms.stream.randint(rooms.columns), rooms.stream.randint(rooms.rows)
    door = rooms.add_door(i, j, locked=True)
    rooms.add_object(rooms.stream.randint(rooms.columns), rooms.stream.randint(rooms.rows), A_KEY, door.color)
    return i, j, door


def fill_all(rooms: RoomGrid, number: int) -> None:
    """So many objects in every room."""
    for i in range(rooms.columns):
        for j in range(rooms.rows):
            rooms.add_distractors(number, i, j, unique=False)


def go_to_implicit_unlock(rooms: RoomGrid) -> Any:
    """An object in the locked room, or one like it."""
    i, j, _ = locked_room(rooms)
    rooms.connect_all()
    fill_all(rooms, 2)
    rooms.place_agent(barred=i * rooms.rows + j)
    rooms.accepted &= rooms.objects_reachable()
    things = rooms.add_distractors(1, i, j, unique=False)
    return wanted(rooms, one(things, 0), len(OBJECTS))


def open_any(rooms: RoomGrid) -> Any:
    """Open a door of some colour."""
    rooms.place_agent()
    rooms.connect_all()
    rooms.add_distractors(18, unique=False)
    rooms.accepted &= rooms.objects_reachable()
    return wanted(rooms, rooms.random_door(), len(COLORS), len(OBJECTS))


def open_red_door(rooms: RoomGrid) -> None:
    """Open the only door."""
    rooms.add_door(0, 0, RIGHT, RED, locked=False)
    rooms.place_agent(0, 0)
    rooms.mark(A_DOOR, RED)


def open_door(rooms: RoomGrid, select_by: str = "") -> Any:
    """Open one of four doors, named by its colour or by where it is."""
    colors = distinct(rooms.stream.take(4), len(COLORS))
    for side in range(4):
        rooms.add_door(1, 1, side, colors[side], locked=False)
    place = {"color": 0, "loc": 1 + rooms.stream.randint(4)}.get(select_by)
    if place is None:
        place = jnp.where(rooms.stream.randint(2) == 0, 0, 1 + rooms.stream.randint(4))
    rooms.place_agent(1, 1)
    several = rooms.mark(A_DOOR, jnp.where(place == 0, colors[0], ANY), place) > 1
    by_place = 4 * several + place - 1
    if select_by:
        return colors[0] if select_by == "color" else by_place
    return jnp.where(place == 0, colors[0], len(COLORS) + by_place)


def unblock_pick_up(rooms: RoomGrid) -> Any:
    """Pick up one of many objects, where something is out of reach until something else is moved."""
    rooms.place_agent()
    rooms.connect_all()
    things = rooms.add_distractors(20, unique=False)
    rooms.accepted &= ~rooms.objects_reachable()
    return wanted(rooms, any_of(rooms, things), len(OBJECTS))


def pick_up_above(rooms: RoomGrid) -> Any:
    """Pick up the object in the room above."""
    thing = rooms.add_object(1, 0)
    rooms.add_door(1, 1, UP, locked=False)
    rooms.place_agent(1, 1)
    rooms.connect_all()
    return wanted(rooms, thing, len(OBJECTS))


def put_next(rooms: RoomGrid, number: int, carrying: bool = False) -> Any:
    """Put an object of one half of the room next to one of the other half."""
    rooms.place_agent(0, 0)
    left, right = (rooms.add_distractors(number, i, 0) for i in range(2))
    rooms.remove_wall(0, 0, RIGHT)
    a, b = any_of(rooms, left), any_of(rooms, right)
    flip = rooms.stream.randint(2) == 0
    move, fixed = (Thing(*(jnp.where(flip, *pair) for pair in zip(*two, strict=True))) for two in ((b, a), (a, b)))
    rooms.mark(move.kind, move.color)
    rooms.mark(fixed.kind, fixed.color, flag=LANDMARK)
    first, second = (len(COLORS) * thing.kind + thing.color for thing in (move, fixed))
    if carrying:
        rooms.carrying = (KEY + first).astype(jnp.uint8) | jnp.uint8(TARGET)
        rooms.put(move.x, move.y, EMPTY)
    return pair_row(first, second, len(OBJECTS))


def unlock(rooms: RoomGrid) -> Any:
    """Open a locked door, half of the time the only one of its colour."""
    i, j, door = locked_room(rooms)
    rooms.connect_all(without=jnp.where(rooms.stream.randint(2) == 0, door.color, -1))
    fill_all(rooms, 3)
    rooms.place_agent(barred=i * rooms.rows + j)
    rooms.accepted &= rooms.objects_reachable()
    return wanted(rooms, door, len(COLORS), len(OBJECTS))


def unlock_local(rooms: RoomGrid, i: int = 1, j: int = 1, side: int | None = None, distractors: bool = False) -> None:
    """Open a locked door of room (i, j), where the key lies."""
    door = rooms.add_door(i, j, side, locked=True)
    rooms.add_object(i, j, A_KEY, door.color)
    if distractors:
        rooms.add_distractors(3, i, j)
    rooms.place_agent(i, j)
    rooms.mark(A_DOOR)


def key_in_box(rooms: RoomGrid) -> None:
    """The key lies in a box."""
    door = rooms.add_door(1, 1, locked=True)
    box = rooms.add_object(1, 1, A_BOX)
    rooms.fill_box(box, KEY + door.color)
    rooms.place_agent(1, 1)
    rooms.mark(A_DOOR)


def unlock_pick_up(rooms: RoomGrid, distractors: bool = False) -> Any:
    """Pick up the box behind the locked door."""
    box = rooms.add_object(1, 0, A_BOX)
    door = rooms.add_door(0, 0, RIGHT, locked=True)
    rooms.add_object(0, 0, A_KEY, door.color)
    if distractors:
        rooms.add_distractors(4)
    rooms.place_agent(0, 0)
    rooms.mark(A_BOX, box.color)
    return box.color


def blocked_unlock_pick_up(rooms: RoomGrid, by_color: bool = False) -> Any:
    """The same with a ball before the door; ``by_color``: the mission names the box's colour."""
    box = rooms.add_object(1, 0, A_BOX)
    door = rooms.add_door(0, 0, RIGHT, locked=True)
    rooms.put(door.x - 1, door.y, KEY + len(COLORS) * A_BALL + rooms.stream.randint(len(COLORS)))
    rooms.add_object(0, 0, A_KEY, door.color)
    rooms.place_agent(0, 0)
    rooms.mark(A_BOX)
    return box.color if by_color else 0


def unlock_to_unlock(rooms: RoomGrid) -> None:
    """A key behind a door whose key is behind another door."""
    first, second = distinct(rooms.stream.take(2), len(COLORS))
    rooms.add_door(0, 0, RIGHT, first, locked=True)
    rooms.add_object(2, 0, A_KEY, first)
    rooms.add_door(1, 0, RIGHT, second, locked=True)
    rooms.add_object(1, 0, A_KEY, second)
    rooms.add_object(0, 0, A_BALL)
    rooms.place_agent(1, 0)
    rooms.mark(A_BALL)


def find_object(rooms: RoomGrid) -> Any:
    """The only object, in any room."""
    thing = rooms.add_object(rooms.stream.randint(rooms.rows), rooms.stream.randint(rooms.columns))
    rooms.place_agent(1, 1)
    rooms.connect_all()
    rooms.mark(thing.kind)
    return thing.kind


def key_corridor(rooms: RoomGrid, by_color: bool = False) -> Any:
    """A ball behind a locked door on the right of a corridor, the key in a room on its left; ``by_color``: the mission
    names the ball's colour."""
    for j in range(1, rooms.rows):
        rooms.remove_wall(1, j, UP)
    row = rooms.stream.randint(rooms.rows)
    door = rooms.add_door(2, row, LEFT, locked=True)
    ball = rooms.add_object(2, row, A_BALL)
    rooms.add_object(0, rooms.stream.randint(rooms.rows), A_KEY, door.color)
    rooms.place_agent(1, rooms.rows // 2)
    rooms.connect_all()
    rooms.mark(A_BALL)
    return ball.color if by_color else 0


def one_room(rooms: RoomGrid) -> None:
    """A ball in a room."""
    rooms.add_object(0, 0, A_BALL)
    rooms.place_agent()
    rooms.mark(A_BALL)


def room_level(
    furnish: Callable[[RoomGrid], Any],
    missions: Sequence[str],
    size: int = 8,
    columns: int = 3,
    rows: int = 3,
    max_steps: int | None = None,
    drawn_words: int = 0,
    **rules: Any,
) -> MakeLevel:
    """What makes a level on a grid of rooms that ``furnish`` fills; by default its time limit is one step for each cell
    of each room, walls included. ``rules``: fields of ``TaskRules``."""
    limit = max_steps or size**2 * columns * rows
    return lambda id: RoomLevel(
        *(id, (size - 1) * columns + 1, (size - 1) * rows + 1),
        TaskRules(max_steps=limit, doors=True, **rules),
        tuple(missions),
        drawn_words=drawn_words,
        furnish=furnish,
        room_size=size,
        columns=columns,
        rows=rows,
    )


DOORS, BALLS, BOXES = THINGS[len(OBJECTS) :], OBJECTS[6:12], OBJECTS[12:]
THE = ("the",)

_go_to = partial(room_level, missions=naming("go to", OBJECTS), go_to=True)
_go_to_one = partial(room_level, partial(go_to, number=1), naming("go to", OBJECTS, THE), go_to=True)
_open = partial(room_level, missions=naming("open", DOORS), open=True)
_the_door = partial(room_level, missions=("open the door",), open=True)
_pick_up = partial(room_level, missions=naming("pick up", OBJECTS), pick_up=True)
_the_ball = partial(room_level, missions=("pick up the ball",), pick_up=True)
_the_kind = partial(room_level, missions=tuple(f"pick up the {kind}" for kind in KINDS), pick_up=True)
_a_box = partial(room_level, missions=naming("pick up", BOXES, THE), columns=2, rows=1, size=6, pick_up=True)
_BY_COLOR = naming("open", DOORS, THE)
_BY_PLACE = tuple(f"open {article} door{place}" for article in ("the", "a") for place in PLACES[1:])
_open_door = partial(room_level, open_door, _BY_COLOR + _BY_PLACE, open=True)


def _put_next(size: int, number: int, carrying: bool = False) -> MakeLevel:
    furnish, limit = partial(put_next, number=number, carrying=carrying), 8 * size**2
    return room_level(furnish, PUT_NEXT, size, columns=2, rows=1, max_steps=limit, put_next=True)


def _key_corridor(size: int, rows: int = 3, by_color: bool = False) -> MakeLevel:
    furnish, missions = partial(key_corridor, by_color=by_color), naming("pick up", BALLS, THE)
    missions = missions if by_color else ("pick up the ball",)
    return room_level(furnish, missions, size, rows=rows, max_steps=30 * size**2, pick_up=True)


LEVELS: dict[str, MakeLevel] = {
    "BabyAI-GoTo-v0": _go_to(go_to),
    "BabyAI-GoToOpen-v0": _go_to(partial(go_to, open_doors=True)),
    "BabyAI-GoToObjMaze-v0": _go_to_one(),
    "BabyAI-GoToObjMazeOpen-v0": _go_to(
        partial(go_to, number=1, open_doors=True), missions=naming("go to", OBJECTS, THE)
    ),
    "BabyAI-GoToObjMazeS4R2-v0": _go_to_one(size=4, columns=2, rows=2),
    **{f"BabyAI-GoToObjMazeS{size}-v0": _go_to_one(size=size) for size in (4, 5, 6, 7)},
    "BabyAI-GoToImpUnlock-v0": _go_to(go_to_implicit_unlock),
    "BabyAI-GoToRedBlueBall-v0": _go_to(
        go_to_red_blue_ball, missions=("go to the red ball", "go to the blue ball"), columns=1, rows=1
    ),
    "BabyAI-GoToDoor-v0": _go_to(go_to_door, missions=naming("go to", DOORS), size=7),
    "BabyAI-GoToObjDoor-v0": _go_to(go_to_object_or_door, missions=naming("go to")),
    "BabyAI-Open-v0": _open(open_any),
    "BabyAI-OpenRedDoor-v0": _open(open_red_door, missions=("open the red door",), size=5, columns=2, rows=1),
    "BabyAI-OpenDoor-v0": _open_door(),
    "BabyAI-OpenDoorDebug-v0": _open_door(open_no_other=True),
    "BabyAI-OpenDoorColor-v0": _open(partial(open_door, select_by="color"), missions=_BY_COLOR),
    "BabyAI-OpenDoorLoc-v0": _open(partial(open_door, select_by="loc"), missions=_BY_PLACE),
    "BabyAI-Pickup-v0": _pick_up(go_to),
    "BabyAI-UnblockPickup-v0": _pick_up(unblock_pick_up),
    "BabyAI-PickupAbove-v0": _pick_up(pick_up_above, missions=naming("pick up", OBJECTS, THE), size=6, max_steps=288),
    **{
        f"BabyAI-PutNextS{size}N{number}-v0": _put_next(size, number)
        for size, number in ((4, 1), (5, 1), (5, 2), (6, 3), (7, 4))
    },
    **{
        f"BabyAI-PutNextS{size}N{number}Carrying-v0": _put_next(size, number, carrying=True)
        for size, number in ((5, 2), (6, 3), (7, 4))
    },
    "BabyAI-Unlock-v0": _open(unlock),
    "BabyAI-UnlockLocal-v0": _the_door(unlock_local),
    "BabyAI-UnlockLocalDist-v0": _the_door(partial(unlock_local, distractors=True)),
    "MiniGrid-Unlock-v0": _the_door(
        partial(unlock_local, i=0, j=0, side=RIGHT), size=6, columns=2, rows=1, max_steps=288
    ),
    "BabyAI-KeyInBox-v0": _the_door(key_in_box),
    "BabyAI-UnlockPickup-v0": _a_box(unlock_pick_up),
    "BabyAI-UnlockPickupDist-v0": _a_box(partial(unlock_pick_up, distractors=True)),
    "MiniGrid-UnlockPickup-v0": _a_box(unlock_pick_up, max_steps=288),
    "BabyAI-BlockedUnlockPickup-v0": _a_box(blocked_unlock_pick_up, missions=("pick up the box",), max_steps=576),
    "MiniGrid-BlockedUnlockPickup-v0": _a_box(partial(blocked_unlock_pick_up, by_color=True), max_steps=576),
    "BabyAI-UnlockToUnlock-v0": _the_ball(unlock_to_unlock, size=6, columns=3, rows=1, max_steps=1080),
    **{f"BabyAI-FindObjS{size}-v0": _the_kind(find_object, size=size, max_steps=20 * size**2) for size in (5, 6, 7)},
    "BabyAI-KeyCorridor-v0": _key_corridor(6),
    **{
        f"{suite}-KeyCorridorS{size}R{rows}-v0": _key_corridor(size, rows, by_color=suite == "MiniGrid")
        for suite in ("BabyAI", "MiniGrid")
        for size, rows in ((3, 1), (3, 2), (3, 3), (4, 3), (5, 3), (6, 3))
    },
    **{f"BabyAI-OneRoomS{size}-v0": _the_ball(one_room, size=size, columns=1, rows=1) for size in (8, 12, 16, 20)},
}
