"""Score tables: what was measured of several agents, where all of them were measured."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metarims.studies.plans import Score

Asked = tuple[str, str, Sequence[str] | None]
"""Where numbers are found: a plan's label, a row's name, and conditions (None: all that everyone has)."""
BySeed = dict[int, dict[str, float]]
"""Of each seed the number under each condition."""


class ScoreTables(NamedTuple):
    """Numbers that belong together: rows of equal number are of equal seed, columns of equal number of equal task."""

    scores: dict[str, Float[np.ndarray, "S N"]]
    """Of each name that was asked for; an empty table where nothing was measured."""
    left_out: str
    """A part sentence on what was measured of some and not of all, and so is not in the tables; often empty."""


def score_tables(
    rows: Sequence[tuple[str, Score]], asked: Mapping[str, Asked], trained: Mapping[str, Collection[int]] | None = None
) -> ScoreTables:
    """ScoreTables of the seeds and conditions that all have in common; ``asked`` as in ``Hypothesis.tables``.

    ``trained``: of each label its seeds, so that those are named too of which nothing was measured at all.
    """
    found = {name: _find(rows, label, measured) for name, (label, measured, _) in asked.items()}
    free = {name: _conditions(found[name]) for name, (_, _, conditions) in asked.items() if conditions is None}
    common = _in_all(list(free.values()))
    columns = {name: common if conditions is None else list(conditions) for name, (_, _, conditions) in asked.items()}
    seeds = sorted(set.intersection(*(_whole_seeds(found[name], columns[name]) for name in asked)))
    scores = {name: _table(found[name], seeds, columns[name]) for name in asked}
    lost_conditions = dict.fromkeys(where for others in free.values() for where in others if where not in common)
    labels = {label for label, _, _ in asked.values()}
    known = {row.seed for label, row in rows if label in labels}
    known |= {seed for label in labels for seed in (trained or {}).get(label, ())}
    lost_seeds = sorted(known - set(seeds)) if seeds else []
    return ScoreTables(scores, _without(list(lost_conditions), lost_seeds))


def score_table(
    rows: Sequence[tuple[str, Score]], label: str, name: str, conditions: Sequence[str] | None
) -> Float[np.ndarray, "S N"]:
    """The numbers of one label: a row per seed, a column per condition; an empty one where nothing was measured.

    Seeds that lack a condition are left out, so that those left are whole.
    """
    return score_tables(rows, {label: (label, name, conditions)}).scores[label]


def _find(rows: Sequence[tuple[str, Score]], label: str, name: str) -> BySeed:
    found: BySeed = {}
    for owner, row in rows:
        if owner == label and row.name == name:
            found.setdefault(row.seed, {})[row.condition] = float(row.value)
    return found


def _conditions(measured: BySeed) -> list[str]:
    return list(dict.fromkeys(where for values in measured.values() for where in values))


def _in_all(lists: Sequence[list[str]]) -> list[str]:
    """What all lists have, in the order of the first."""
    return [where for where in lists[0] if all(where in others for others in lists)] if lists else []


def _whole_seeds(measured: BySeed, columns: Sequence[str]) -> set[int]:
    return {seed for seed, values in measured.items() if columns and set(columns) <= values.keys()}


def _table(measured: BySeed, seeds: Sequence[int], columns: Sequence[str]) -> Float[np.ndarray, "S N"]:
    numbers = [[measured[seed][where] for where in columns] for seed in seeds]
    return np.array(numbers, float).reshape(len(seeds), len(columns))


def _without(conditions: Sequence[str], seeds: Sequence[int]) -> str:
    parts = [f"without {', '.join(conditions)}"] * bool(conditions)
    parts += [f"without seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"] * bool(seeds)
    return " and ".join(parts)
