"""The claims of a study as markup: each with its verdict and a forest plot of its intervals, also of each task.

The plot is markup rather than a picture, so that its letters are as large on a telephone as elsewhere.
"""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from metarims.evaluation.statistics import Interval
from metarims.studies.results import Judged
from metarims.studies.verdicts import Claim, Comparison, format_interval, format_number


class Row(NamedTuple):
    """A line of a forest plot."""

    name: str
    interval: Interval
    whole: bool
    """Of all tasks together."""


def claims(judged: Sequence[Judged]) -> str:
    """All claims, in order, but those of one task that is a row of another claim's plot; empty without any."""
    rows = {f"{claim.statement} on {task}" for claim in judged for task in claim.by_task}
    items = "".join(_item(claim) for claim in judged if claim.statement not in rows)
    return f'<h2>Claims</h2>\n<ul class="claims panel">{items}</ul>' if items else ""


def _item(judged: Judged) -> str:
    outcome = judged.verdict.outcome if judged.verdict else "not measured"
    head = f'<span class="verdict {outcome.replace(" ", "-")}">{outcome}</span> {_text(judged.statement)}.'
    if judged.verdict is None:
        return f"<li>{head}</li>"
    claim, by_task = judged.verdict.claim, judged.by_task
    plots = []
    for index, comparison in enumerate(judged.verdict.comparisons):
        rows = [Row("all tasks" if by_task else "", comparison.interval, True)]
        rows += [Row(task, verdict.comparisons[index].interval, False) for task, verdict in by_task.items()]
        plots.append(_forest(claim, comparison, rows))
    said = f'<p class="found">{_text(judged.text)}</p>'
    return f'<li>{head}<div class="forests">{"".join(plots)}</div>{said}</li>'


def _forest(claim: Claim, comparison: Comparison, rows: Sequence[Row]) -> str:
    """The rows on one scale, with a line at one half or at the goal."""
    if claim.test == "improvement":
        low, high, goal = 0.0, 1.0, 0.5
        title = f"{claim.agent} vs. {comparison.baseline}"
        ends = f"← {comparison.baseline}", "½", f"{claim.agent} →"
    else:
        goal = claim.goal or 0.0
        low, high = _range([goal, *(end for row in rows for end in row.interval)])
        title = f"mean of {claim.agent}"
        ends = format_number(low), f"goal {format_number(goal)}", format_number(high)
    lines = "".join(_line(row, low, high, goal, title) for row in rows)
    axis = "".join(f"<span>{_text(end)}</span>" for end in ends)
    at = _place(goal, low, high)
    head = f'<div class="forest-axis" style="--goal:{at:.4f}">{axis}</div>'
    return f'<div class="forest" role="group" aria-label="{_text(title)}">{head}{lines}</div>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From 0 to 1 where all are there; else as far as they reach, and a little more."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _line(row: Row, low: float, high: float, goal: float, title: str) -> str:
    name = _text(row.name or title)
    places = {"at": row.interval.value, "goal": goal, "low": row.interval.low, "high": row.interval.high}
    style = ";".join(f"--{name}:{_place(at, low, high):.4f}" for name, at in places.items())
    bar = "" if math.isnan(row.interval.low) else "<i></i>"
    return (
        f'<div class="forest-row{" whole" * row.whole}"><span class="forest-name">{name}</span>'
        f'<span class="forest-scale" style="{style}"><em></em>{bar}<b></b></span>'
        f'<span class="forest-number">{_text(format_interval(row.interval))}</span></div>'
    )


def _place(value: float, low: float, high: float) -> float:
    """As a fraction of the scale; what lies beyond is at its end."""
    if math.isnan(value):
        return 0.0
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _text(value: str) -> str:
    return html.escape(value)
