"""Score tables of several agents, on the seeds and conditions that all of them have."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metarims.studies.plans import Asked, Score

BySeed = dict[int, dict[str, float]]
"""The scores of each seed by condition."""


class ScoreTables(NamedTuple):
    """Aligned tables: equal rows are of equal seed, equal columns of equal task."""

    scores: dict[str, Float[np.ndarray, "S N"]]
    """By name; an empty table where nothing was measured."""
    left_out: str
    """What some agents lack, so that it is not in the tables, in words; often empty."""
    conditions: Sequence[str] = ()
    """The columns, where they are the same in all tables."""


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
    same = len(set(map(tuple, columns.values()))) == 1
    shared = next(iter(columns.values())) if same else ()
    return ScoreTables(scores, _without(list(lost_conditions), lost_seeds), shared)


def score_table(
    rows: Sequence[tuple[str, Score]], label: str, name: str, conditions: Sequence[str] | None
) -> Float[np.ndarray, "S N"]:
    """The scores of one label: a row per seed that has all conditions, a column per condition."""
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
    """The intersection, in the order of the first."""
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
