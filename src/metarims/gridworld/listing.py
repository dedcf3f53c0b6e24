"""All tasks as data for the command line: our levels, and Gymnasium's others on the host."""

import math
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from metarims.errors import UserError
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.host_env import time_limit
from metarims.gridworld.registry import ids, make, registered_ids

EXAMPLE_WIDTH = 60
"""Characters of a mission in the table."""


class Entry(NamedTuple):
    """One id. Facts that only playing would show are None."""

    id: str
    native: bool
    """A level of ours; otherwise it is stepped on the host."""
    size: str | None
    """Cells, width x height, walls included."""
    max_steps: int | None
    """Time limit."""
    max_steps_varies: bool
    """``max_steps`` is the shortest: the limit grows with the mission."""
    num_actions: int | None
    num_missions: int | None
    num_words: int | None
    """Different words in the missions."""
    example: str | None
    """One mission."""


def entries() -> list[Entry]:
    """Every id: our own levels, then the other MiniGrid and BabyAI ids of Farama's registry."""
    return [*map(_native, ids()), *map(_host, sorted(set(registered_ids()) - set(ids())))]


def table_lines(found: Sequence[Entry]) -> list[str]:
    """The entries as lines of one aligned table, with a heading."""
    rows = [["id", "size", "steps", "missions", "words", "runs", "a mission"]]
    for entry in found:
        limit = entry.max_steps and f"{entry.max_steps}{'+' if entry.max_steps_varies else ''}"
        known = entry.size, limit, entry.num_missions, entry.num_words
        cells = ("-" if value is None else str(value) for value in known)
        mission = "-" if entry.example is None else textwrap.shorten(entry.example, EXAMPLE_WIDTH, placeholder=" ...")
        rows.append([entry.id, *cells, "native" if entry.native else "host", mission])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *facts, place, mission in rows:
        aligned = (fact.rjust(width) for fact, width in zip(facts, widths[1:], strict=False))
        lines.append("  ".join((name.ljust(widths[0]), *aligned, place.ljust(widths[-2]), mission)).rstrip())
    return lines


def _native(id: str) -> Entry:
    level = make(id)
    listed = not level.drawn_words
    return Entry(
        id=id,
        native=True,
        size=f"{level.width}x{level.height}",
        max_steps=level.max_steps,
        max_steps_varies=level.rules.per_nav,
        num_actions=level.num_actions,
        num_missions=len(level.missions) if listed else None,
        num_words=_count_words(level.missions) if listed else None,
        example=level.missions[0] if listed else _drawn_mission(id),
    )


def _drawn_mission(id: str) -> str:
    """A mission of a level of Farama's: there is no list of them."""
    return str(quiet_reset(make_farama(id), 0)["mission"])


def _host(id: str) -> Entry:
    """Of an environment that is made, but not reset: some take long to draw a level."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Older versions of an id are listed, too.
            env = make_farama(id)
    except UserError:  # It needs packages that are not here.
        return Entry(id, False, None, None, False, None, None, None, None)
    base: Any = env.unwrapped
    missions = _missions(env.observation_space)
    return Entry(
        id=id,
        native=False,
        size=f"{base.width}x{base.height}",
        max_steps=time_limit(env),
        max_steps_varies=not getattr(base, "fixed_max_steps", True),
        num_actions=int(base.action_space.n),
        num_missions=missions and missions[0],
        num_words=missions and missions[1],
        example=missions and missions[2],
    )


def _missions(space: Any) -> tuple[int, int, str] | None:
    """Number of missions, number of words, and an example, where MiniGrid's mission space lists them."""
    mission = space["mission"]
    function = getattr(mission, "mission_func", None)
    blanks = getattr(mission, "ordered_placeholders", None) or []
    if function is None or type(mission).__name__ == "BabyAIMissionSpace":
        return None
    longest = max((len(choices) for choices in blanks), default=1)
    # Each round fills every blank with its next choice, so that each choice occurs.
    said = [function(*(choices[index % len(choices)] for choices in blanks)) for index in range(longest)]
    return math.prod(len(choices) for choices in blanks), _count_words(said), said[0]


def _count_words(missions: Any) -> int:
    return len({word for mission in missions for word in mission.replace(",", " ").split()})
