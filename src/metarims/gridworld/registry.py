"""The levels by Farama's ids."""

from collections.abc import Callable
from functools import cache, partial

from metarims.errors import unknown_name
from metarims.gridworld.levels.base import Level
from metarims.gridworld.levels.doorkey import door_key
from metarims.gridworld.levels.goto import go_to_local, go_to_red_ball

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
    **{f"MiniGrid-DoorKey-{size}x{size}-v0": partial(door_key, size=size) for size in (5, 6, 8, 16)},
}


@cache
def make(id: str) -> Level:
    """The level of a Farama id; an unknown one is a ``UserError`` with the nearest names."""
    if id not in LEVELS:
        raise unknown_name("environment", id, LEVELS)
    return LEVELS[id](id)


def ids() -> tuple[str, ...]:
    """The ids of all levels."""
    return tuple(LEVELS)
