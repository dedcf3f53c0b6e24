"""What each id names: our own levels, mixtures of them, and Gymnasium's other tasks, which are stepped on the host."""

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

from metarims.errors import UserError, unknown_name
from metarims.gridworld.levels import babyai, language, obstructed
from metarims.gridworld.levels.base import Level
from metarims.gridworld.levels.crossing import crossing
from metarims.gridworld.levels.doorkey import door_key
from metarims.gridworld.levels.doors import go_to_door, red_blue_doors
from metarims.gridworld.levels.empty import dynamic_obstacles, empty
from metarims.gridworld.levels.fetch import fetch, go_to_object
from metarims.gridworld.levels.fourrooms import four_rooms
from metarims.gridworld.levels.goto import go_to_local, go_to_red_ball
from metarims.gridworld.levels.lava import dist_shift, lava_gap
from metarims.gridworld.levels.lockedroom import locked_room
from metarims.gridworld.levels.mazes import IDS, maze
from metarims.gridworld.levels.memory import memory
from metarims.gridworld.levels.multiroom import multi_room
from metarims.gridworld.levels.pickup import pickup_dist, pickup_loc
from metarims.gridworld.levels.playground import playground
from metarims.gridworld.levels.putting import put_near, put_next_local
from metarims.gridworld.mixture import mix
from metarims.gridworld.types import VectorEnv
from metarims.gridworld.vector import VecEnv

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
    "MiniGrid-DistShift1-v0": partial(dist_shift, strip_row=2),
    "MiniGrid-DistShift2-v0": partial(dist_shift, strip_row=5),
    **{f"MiniGrid-LavaGapS{size}-v0": partial(lava_gap, size=size) for size in (5, 6, 7)},
    **{f"MiniGrid-GoToDoor-{size}x{size}-v0": partial(go_to_door, size=size) for size in (5, 6, 8)},
    **{f"MiniGrid-GoToObject-{size}x{size}-N2-v0": partial(go_to_object, size=size) for size in (6, 8)},
    **{f"MiniGrid-RedBlueDoors-{size}x{size}-v0": partial(red_blue_doors, size=size) for size in (6, 8)},
    "MiniGrid-LockedRoom-v0": locked_room,
    "MiniGrid-Playground-v0": playground,
    **dict.fromkeys(IDS, maze),
    **babyai.LEVELS,
    **obstructed.MINIGRID_ROOMS,
    **language.LEVELS,
    "BabyAI-PickupDistDebug-v0": partial(pickup_dist, strict=True),
}


_OURS = frozenset(LEVELS)
"""Those without levels that users add."""

Kind = Literal["level", "mixture", "host"]


def resolve(id: str) -> Kind:
    """What an id names: a level of ours, a mixture of levels, or another task of Gymnasium's, stepped on the host.

    An unknown id is a ``UserError`` with the nearest names. Gymnasium is imported only for ids that are not ours.
    """
    if is_native(id):
        return "level" if id in LEVELS else "mixture"
    check_registered(id)
    return "host"


def make(id: str, otherwise: str = "name it as the env of a run, or make it with Gymnasium") -> Level:
    """The level of a Farama id, or a mixture: ``ID+ID`` or, by weight, ``ID*3+ID*1``.

    An id that is unknown or only Gymnasium's is a ``UserError``; ``otherwise``: the advice for the latter.
    """
    kind = resolve(id)
    if kind == "host":
        raise UserError(f"{id} is not native, it can only be stepped on the host: {otherwise}.", field="env", value=id)
    return _make_mixture(id) if kind == "mixture" else _make_level(id)


def make_envs(id: str, num_envs: int, *, words: tuple[str, ...] = (), **host: Any) -> VectorEnv:
    """``num_envs`` environments of any id: native ones are compiled, all others are stepped on the host.

    ``words`` and ``host`` are for the host alone (see ``HostVecEnv``).
    """
    if resolve(id) != "host":
        if words:
            raise UserError(
                f"words are for tasks that are stepped on the host, and {id} is not one: leave them out.",
                field="words",
                value=words,
            )
        return VecEnv(make(id), num_envs)
    from metarims.gridworld.host_env import HostVecEnv

    return HostVecEnv(id, num_envs, words=words, **host)


def ids() -> tuple[str, ...]:
    """The ids of all our levels."""
    return tuple(LEVELS)


def is_native(id: str) -> bool:
    """Whether ``id`` is a level of ours, or a mixture (of which nothing else can be a part)."""
    return id in LEVELS or "+" in id or "*" in id


def tasks(id: str) -> tuple[str, ...]:
    """The ids in a mixture; of any other id, itself."""
    return tuple(part.partition("*")[0].strip() for part in id.split("+"))


def registered_ids() -> tuple[str, ...]:
    """The MiniGrid and BabyAI ids of Farama's that Gymnasium has."""
    return tuple(id for id in _gymnasium_registry() if id.startswith(("BabyAI-", "MiniGrid-")))


def check_registered(id: str) -> None:
    """Raise ``UserError`` unless Gymnasium has ``id``.

    For ``module:id`` (Gymnasium's syntax) the module, which registers the id, is imported; one in the current folder is
    found, too.
    """
    registry = _gymnasium_registry()
    module, colon, name = id.rpartition(":")
    if colon:
        _import_module(module)
    if name in registry:
        return
    farama = registered_ids()
    if colon:
        raise unknown_name(f"environment in the module {module}", name, [i for i in registry if i not in farama])
    raise unknown_name("environment", id, dict.fromkeys([*LEVELS, *farama]), "metarims envs")


def describe_failure(error: BaseException) -> str:
    """The type of an error, and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0].rstrip('.')}"


@cache
def _make_level(id: str) -> Level:
    level = LEVELS[id](id)
    if id not in _OURS:
        level.check_accepted()
    return level


@cache
def _make_mixture(id: str) -> Level:
    parts = [part.strip().partition("*") for part in id.split("+")]
    if not all(name for name, _, _ in parts):
        raise UserError(f"The mixture {id} has a part without a name: write ID+ID, or ID*3+ID.", field="env", value=id)
    return mix(
        [make(name, "leave it out of the mixture") for name, _, _ in parts], [_weight(part) for part in parts], id
    )


def _weight(part: tuple[str, str, str]) -> float:
    name, star, weight = part
    try:
        return float(weight) if star else 1.0
    except ValueError:
        raise UserError(
            f"The weight of {name} is '{weight}': it must be a number.", field="env", value="".join(part)
        ) from None


def _gymnasium_registry() -> dict[str, Any]:
    import gymnasium

    import metarims.gridworld.farama  # Registers Farama's ids.  # noqa: F401

    return gymnasium.registry


def _import_module(module: str) -> None:
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    # One that parses arguments shall not read ours, nor speak in our name.
    arguments, sys.argv, printed = sys.argv, [module], io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            importlib.import_module(module)
    except SystemExit as error:
        said = (printed.getvalue().strip().splitlines() or [f"status {error.code}"])[-1]
        raise UserError(
            f"The module {module} ends the program when it is imported ({said}), as a script does: put what it runs, "
            "such as parsing arguments, behind: if __name__ == '__main__'.",
            field="env",
            value=module,
        ) from error
    except Exception as error:
        raise UserError(
            f"The module {module} cannot be imported: {describe_failure(error)}.", field="env", value=module
        ) from error
    finally:
        sys.argv = arguments
        if not isinstance(sys.exception(), UserError):
            sys.stderr.write(printed.getvalue())
