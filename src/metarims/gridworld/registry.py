"""The levels by Farama's ids."""

from collections.abc import Callable
from functools import cache, partial

from metarims.errors import UserError, unknown_name
from metarims.gridworld.levels.base import Level
from metarims.gridworld.levels.crossing import crossing
from metarims.gridworld.levels.doorkey import door_key
from metarims.gridworld.levels.empty import dynamic_obstacles, empty
from metarims.gridworld.levels.fetch import fetch
from metarims.gridworld.levels.fourrooms import four_rooms
from metarims.gridworld.levels.goto import go_to_local, go_to_red_ball
from metarims.gridworld.levels.memory import memory
from metarims.gridworld.levels.multiroom import multi_room
from metarims.gridworld.levels.pickup import pickup_dist, pickup_loc
from metarims.gridworld.levels.putting import put_near, put_next_local
from metarims.gridworld.mixture import mix

_LOCAL = ((5, 2), (6, 2), (6, 3), (6, 4), (7, 4), (7, 5), (8, 2), (8, 3), (8, 4), (8, 5), (8, 6), (8, 7))

LEVELS: dict[str, Callable[[str], Level]] = {
    "BabyAI-GoToObj-v0": partial(go_to_local, num_dists=1),
    "BabyAI-GoToObjS4-v0": partial(go_to_local, room_size=4, num_dists=1),
    "BabyAI-GoToObjS6-v1": partial(go_to_local, room_size=6, num_dists=1),
    "BabyAI-GoToLocal-v0": go_to_local,
    **{
        f"BabyAI-GoToLocalS{size}N{number}-v0": partial(go_to_local, room_size=size, num_dists=number)
        for size, number in _LOCAL
    },
    "BabyAI-GoToRedBall-v0": go_to_red_ball,
    "BabyAI-GoToRedBallGrey-v0": partial(go_to_red_ball, grey=True),
    "BabyAI-GoToRedBallNoDists-v0": partial(go_to_red_ball, num_dists=0),
    "BabyAI-PickupDist-v0": pickup_dist,
    "BabyAI-PickupLoc-v0": pickup_loc,
    "BabyAI-PutNextLocal-v0": put_next_local,
    "BabyAI-PutNextLocalS5N3-v0": partial(put_next_local, room_size=5, num_objects=3),
    "BabyAI-PutNextLocalS6N4-v0": partial(put_next_local, room_size=6, num_objects=4),
    **{f"MiniGrid-DoorKey-{size}x{size}-v0": partial(door_key, size=size) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-{size}x{size}-v0": partial(empty, size=size) for size in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-Random-{size}x{size}-v0": partial(empty, size=size, random_start=True) for size in (5, 6)},
    **{
        f"MiniGrid-Dynamic-Obstacles-{start}{size}x{size}-v0": partial(
            dynamic_obstacles, size=size, num_obstacles=number, random_start=bool(start)
        )
        for size, number, starts in ((5, 2, ("", "Random-")), (6, 3, ("", "Random-")), (8, 4, ("",)), (16, 8, ("",)))
        for start in starts
    },
    "MiniGrid-PutNear-6x6-N2-v0": partial(put_near, size=6, num_objects=2),
    "MiniGrid-PutNear-8x8-N3-v0": partial(put_near, size=8, num_objects=3),
    **{
        f"MiniGrid-Fetch-{size}x{size}-N{number}-v0": partial(fetch, size=size, num_objects=number)
        for size, number in ((5, 2), (6, 2), (8, 3))
    },
    "MiniGrid-MultiRoom-N2-S4-v0": partial(multi_room, num_rooms=2, max_size=4),
    "MiniGrid-MultiRoom-N4-S5-v0": partial(multi_room, num_rooms=6, max_size=5),  # six rooms, upstream too
    "MiniGrid-MultiRoom-N4-S5-v1": partial(multi_room, num_rooms=4, max_size=5),
    "MiniGrid-MultiRoom-N6-v0": partial(multi_room, num_rooms=6),
    **{
        f"MiniGrid-{kind}CrossingS{size}N{number}-v0": partial(
            crossing, size=size, num_rivers=number, lava=kind == "Lava"
        )
        for kind in ("Lava", "Simple")
        for size, number in ((9, 1), (9, 2), (9, 3), (11, 5))
    },
    "MiniGrid-FourRooms-v0": four_rooms,
    "MiniGrid-FourRoomsS13-v0": partial(four_rooms, size=13),
    **{f"MiniGrid-MemoryS{size}-v0": partial(memory, size=size) for size in (7, 9, 11, 13)},
    **{f"MiniGrid-MemoryS{size}Random-v0": partial(memory, size=size, random_length=True) for size in (13, 17)},
}


@cache
def make(id: str) -> Level:
    """The level of a Farama id, or a mixture: ``ID+ID`` or, by weight, ``ID*3+ID*1``.

    An unknown id is a ``UserError`` with the nearest names.
    """
    if "+" in id or "*" in id:
        parts = [part.strip().partition("*") for part in id.split("+")]
        for name, _, _ in parts:
            if not name:
                raise UserError(f"The mixture {id} has a part without a name: write ID+ID, or ID*3+ID.")
            check_native(name, "leave it out of the mixture")
        return mix([make(name) for name, _, _ in parts], [_weight(part) for part in parts], id)
    if id not in LEVELS:
        check_native(id, "name it as the env of a run, or make it with Gymnasium")
        raise unknown_name("environment", id, LEVELS, "metarims envs")
    return LEVELS[id](id)


def _weight(part: tuple[str, str, str]) -> float:
    name, star, weight = part
    try:
        return float(weight) if star else 1.0
    except ValueError:
        raise UserError(f"The weight of {name} is '{weight}': it must be a number.") from None


def is_native(id: str) -> bool:
    """Whether ``id`` is a level of ours, or a mixture (of which nothing else can be a part)."""
    return id in LEVELS or "+" in id or "*" in id


def tasks(id: str) -> tuple[str, ...]:
    """The ids in a mixture; of any other id, itself."""
    return tuple(part.partition("*")[0].strip() for part in id.split("+"))


def check_native(id: str, instead: str) -> None:
    """Raise ``UserError`` where ``id`` is a task that only Gymnasium has; ``instead`` is what to do then."""
    if not is_native(id) and _looks_registered(id):
        raise UserError(f"{id} is none of our own levels, it can only be stepped on the host: {instead}.")


def _looks_registered(id: str) -> bool:
    from metarims.gridworld.farama import known_ids

    return id in known_ids(id)


def ids() -> tuple[str, ...]:
    """The ids of all levels."""
    return tuple(LEVELS)
