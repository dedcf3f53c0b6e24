"""What each id names: our own levels, mixtures of them, and Gymnasium's other tasks, which are stepped on the host."""

import contextlib
import importlib
import io
import os
import sys
from functools import cache
from typing import Any, Literal

from metarims.errors import UserError, invalid, unknown_name
from metarims.gridworld.levels import babyai, goals, language, local, mazes, multiroom, objects, obstructed
from metarims.gridworld.levels.base import Level, MakeLevel
from metarims.gridworld.mixture import mix
from metarims.gridworld.restricted import restrict
from metarims.gridworld.types import VectorEnv
from metarims.gridworld.vector import VecEnv

LEVELS: dict[str, MakeLevel] = {
    **local.LEVELS,
    **babyai.LEVELS,
    **language.LEVELS,
    **goals.LEVELS,
    **objects.LEVELS,
    **multiroom.LEVELS,
    **obstructed.LEVELS,
    **mazes.LEVELS,
}
"""What makes the level of each id; users add theirs."""

_OURS = frozenset(LEVELS)
"""Those without levels that users add."""

Kind = Literal["level", "mixture", "host"]


def resolve(id: str) -> Kind:
    """What an id names: a level of ours, a mixture of levels, or another task of Gymnasium's, stepped on the host.

    An unknown id is a ``UserError`` with the nearest names. Gymnasium is imported only for ids that are not ours.
    """
    if is_native(id):
        return "mixture" if _is_mixture(id) else "level"
    check_registered(id)
    return "host"


def make(id: str, otherwise: str = "name it as the env of a run, or make it with Gymnasium") -> Level:
    """The level of a Farama id; one with some of its missions, ``ID?without=red_key`` (``restricted``); or a mixture:
    ``ID+ID`` or, by weight, ``ID*3+ID*1``.

    An id that is unknown or only Gymnasium's is a ``UserError``; ``otherwise``: the advice for the latter.
    """
    kind = resolve(id)
    if kind == "host":
        raise invalid("env", id, f"it is not native and can only be stepped on the host; {otherwise}")
    return _make_mixture(id) if kind == "mixture" else _make_level(id)


def make_envs(id: str, num_envs: int, *, words: tuple[str, ...] = (), **host: Any) -> VectorEnv:
    """``num_envs`` environments of any id: native ones are compiled, all others are stepped on the host.

    ``words`` and ``host`` are for the host alone (see ``HostVecEnv``).
    """
    if resolve(id) != "host":
        if words:
            raise invalid("words", words, f"they are for tasks on the host, and {id} is not one; leave them out")
        return VecEnv(make(id), num_envs)
    from metarims.gridworld.host_env import HostVecEnv

    return HostVecEnv(id, num_envs, words=words, **host)


def time_limit(id: str) -> int | None:
    """Steps of an id's time limit, of the longest in a mixture; None where there is none. A limit that grows with the
    mission counts as its shortest."""
    if resolve(id) != "host":
        return max(level.max_steps for level in make(id).sources)
    from metarims.gridworld.farama import make_farama, quiet_reset
    from metarims.gridworld.host_env import time_limit

    with contextlib.closing(make_farama(id)) as env:
        quiet_reset(env, 0)
        limit = time_limit(env)
    return limit if limit > 1 else None


def ids() -> tuple[str, ...]:
    """The ids of all our levels."""
    return tuple(LEVELS)


def is_native(id: str) -> bool:
    """Whether ``id`` is a level of ours, or a mixture (of which nothing else can be a part)."""
    return id.partition("?")[0] in LEVELS or _is_mixture(id)


def is_ours(id: str) -> bool:
    """Whether it names one level of the package, not one that a user added."""
    return id in _OURS


def _is_mixture(id: str) -> bool:
    return "+" in id or "*" in id


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
    name, option, _ = id.partition("?")
    level = restrict(_make_level(name), id) if option else LEVELS[name](name)
    if id not in _OURS:
        level.check_accepted()
    return level


@cache
def _make_mixture(id: str) -> Level:
    parts = [part.strip().partition("*") for part in id.split("+")]
    if not all(name for name, _, _ in parts):
        raise invalid("env", id, "a part of this mixture has no name; write ID+ID, or ID*3+ID")
    return mix(
        [make(name, "leave it out of the mixture") for name, _, _ in parts], [_weight(part) for part in parts], id
    )


def _weight(part: tuple[str, str, str]) -> float:
    name, star, weight = part
    try:
        return float(weight) if star else 1.0
    except ValueError:
        raise invalid("env", "".join(part), f"the weight of {name} must be a number") from None


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
        remedy = "put what it runs, such as parsing arguments, behind: if __name__ == '__main__'"
        problem = f"this module ends the program when it is imported ({said}), as a script does"
        raise invalid("env", module, f"{problem}; {remedy}") from error
    except Exception as error:
        raise invalid("env", module, f"this module cannot be imported ({describe_failure(error)})") from error
    finally:
        sys.argv = arguments
        if not isinstance(sys.exception(), UserError):
            sys.stderr.write(printed.getvalue())
