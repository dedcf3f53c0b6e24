"""The figures of a study's report, from its collected results."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarims.evaluation.curves import whole_curves
from metarims.evaluation.statistics import mean, profile_band, stratified_interval
from metarims.studies.results import Results
from metarims.studies.scores import score_tables
from metarims.views.plots import COLORS, FEW, LINE_STYLES, PLAIN, THEMES, draw_legend, learning_curves, style_axes

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Distinguish labels without colour."""


class Drawn(NamedTuple):
    """A figure and its caption."""

    caption: str
    figure: Figure


@matplotlib.rc_context(PLAIN)
def draw(results: Results, theme: str = "light") -> list[Drawn]:
    """All figures that the study asks for and the results allow."""
    return [drawn for kind in results.study.figures for drawn in _KINDS[kind](results, theme)]


def _curves(results: Results, theme: str) -> Iterator[Drawn]:
    """Success and return in training of the last stage, a figure per task."""
    tasks: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
    for plan in results.plans:
        tasks.setdefault(plan["stages"][-1], {})[plan["label"]] = plan["curves"][-1]
    for task, agents in tasks.items():
        for measure in ("success", "return"):
            rows = [
                {"agent": label, "seed": seed, "env_steps": frames, measure: value}
                for label, points in agents.items()
                for seed, curve in whole_curves(points, measure).items()
                for frames, value in zip(curve.frames, curve.values, strict=True)
            ]
            if rows:
                yield Drawn(f"{task}: {measure} in training", learning_curves(rows, measure, theme=theme))


def _points(results: Results, theme: str) -> Iterator[Drawn]:
    """A figure for each score that claims are about, of all labels, and of the scores that it is compared with: every
    seed a point, and the mean with its 95 % bootstrap interval.

    Where some seeds have no finite score (frames to recover), the median replaces the mean, and these seeds are drawn
    at the right edge.
    """
    named: dict[str, dict[tuple[str, str], str]] = {}
    for hypothesis in results.study.hypotheses:
        measured = hypothesis.claim.measurement
        others = {(label, name): key for key, (label, name, _) in hypothesis.tables.items() if name != measured}
        named.setdefault(measured, {}).update(others)
    for name, known in named.items():
        groups: dict[str, dict[str, list[float]]] = {}
        for label, row in results.rows:
            drawn_label = label if row.name == name else known.get((label, row.name))
            if drawn_label:
                groups.setdefault(row.condition, {}).setdefault(drawn_label, []).append(row.value)
        if not groups:
            continue
        order = dict.fromkeys([*(plan["label"] for plan in results.plans), *known.values()])
        groups = {where: {label: group[label] for label in order if label in group} for where, group in groups.items()}
        reached = all(np.isfinite(values).all() for group in groups.values() for values in group.values())
        middle = "mean" if reached else "median; right edge: never"
        yield Drawn(f"{name}: each seed, and the {middle}", _point_figure(groups, name, theme, reached))


def _point_figure(groups: Mapping[str, Mapping[str, Sequence[float]]], name: str, theme: str, reached: bool) -> Figure:
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    height = max(2.4, 0.5 + 0.22 * len(labels) * len(groups) + 0.5 * len(groups))
    figure, axes, ink = _begin(theme, height=height)
    finite = [value for group in groups.values() for values in group.values() for value in values if np.isfinite(value)]
    edge = 1.15 * max(finite, default=1.0)
    ticks, place, seen = [], 0.0, set()
    for where, group in groups.items():
        first = place
        for label, values in group.items():
            index = labels.index(label)
            color = COLORS[theme][index % len(COLORS[theme])]
            interval = stratified_interval(mean if reached else _middle, np.array(values)[:, None])
            value, low, high = interval if reached else np.minimum(interval, edge)
            points = values if reached else np.minimum(values, edge)
            axes.plot(points, [place] * len(values), MARKS[index % len(MARKS)], color=color, alpha=0.45, markersize=4)
            axes.plot([low, high], [place, place], color=color, linewidth=2)
            mark = {"marker": MARKS[index % len(MARKS)], "color": color, "markersize": 8, "linestyle": ""}
            axes.plot([value], [place], label=None if label in seen else label, **mark)
            seen.add(label)
            place += 1
        ticks.append(((first + place - 1) / 2, where))
        place += 0.8
    axes.set_yticks([tick for tick, _ in ticks], [where for _, where in ticks])
    axes.invert_yaxis()
    axes.set_xlabel(name, color=ink["ink"])
    if not reached:
        axes.axvline(edge, color=ink["muted"], linewidth=0.8, linestyle=":")
        axes.annotate("never", (edge, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
    _finish(axes, ink, "x")
    return figure


def _middle(scores: np.ndarray) -> float:
    """The median; of an even number of scores the larger one in the middle."""
    return float(np.sort(scores, axis=None)[scores.size // 2])


def _profile(results: Results, theme: str) -> Iterator[Drawn]:
    """Fraction of runs above each threshold, over all tasks."""
    name = "area of success"
    labels = dict.fromkeys(label for label, row in results.rows if row.name == name)
    tables = score_tables(results.rows, {label: (label, name, None) for label in labels}).scores
    if not any(table.size for table in tables.values()):
        return
    figure, axes, ink = _begin(theme)
    thresholds = np.linspace(0, 1, 101)
    for index, (label, table) in enumerate(tables.items()):
        band = profile_band(table, thresholds)
        color = COLORS[theme][index % len(COLORS[theme])]
        axes.plot(thresholds, band.fraction, color=color, linestyle=LINE_STYLES[index % len(LINE_STYLES)], label=label)
        axes.fill_between(thresholds, band.low, band.high, color=color, alpha=0.18, linewidth=0)
    axes.set_xlabel(f"{name}, tau", color=ink["ink"])
    axes.set_ylabel("fraction of runs above tau", color=ink["ink"])
    _finish(axes, ink, "y")
    yield Drawn("Performance profile over tasks, with a 95 % bootstrap band", figure)


def _raster(results: Results, theme: str) -> Iterator[Drawn]:
    """Active modules at each step of six episodes, one row per module."""
    for plan in results.plans:
        raster = plan["records"].get("raster")
        if not raster:
            continue
        active = np.concatenate([np.array(episode) for episode in raster["active"]])
        figure, axes, ink = _begin(theme, height=2.2)
        for module in range(active.shape[1]):
            steps = np.flatnonzero(active[:, module])
            color = COLORS[theme][module % len(COLORS[theme])]
            axes.plot(steps, [module] * len(steps), "|", color=color, markersize=11, markeredgewidth=1.4)
        _mark_ends(axes, [len(episode) for episode in raster["active"]], ink)
        axes.set_yticks(range(active.shape[1]))
        axes.set_ylim(active.shape[1] - 0.4, -0.6)
        axes.set_ylabel("module", color=ink["ink"])
        axes.set_xlabel("step (dotted: start of an episode)", color=ink["ink"])
        _finish(axes, ink, "", legend=False)
        yield Drawn(f"{plan['label']} on {raster['env']}, seed {raster['seed']}: active modules", figure)


def _values(results: Results, theme: str) -> Iterator[Drawn]:
    """The predicted value over nine episodes."""
    for plan in results.plans:
        record = plan["records"].get("values")
        if not record:
            continue
        figure, axes, ink = _begin(theme, height=2.6)
        axes.plot(np.concatenate(record["values"]), color=COLORS[theme][0], linewidth=1.4)
        _mark_ends(axes, [len(values) for values in record["values"]], ink)
        axes.set_ylabel("value", color=ink["ink"])
        axes.set_xlabel("step (dotted: start of an episode)", color=ink["ink"])
        _finish(axes, ink, "y", legend=False)
        yield Drawn(f"{plan['label']} on {record['env']}, seed {record['seed']}: value over nine episodes", figure)


_KINDS = {"curves": _curves, "points": _points, "profile": _profile, "raster": _raster, "values": _values}


def _begin(theme: str, height: float = 4.0) -> tuple[Figure, Axes, Mapping[str, str]]:
    figure = Figure(figsize=(6.4, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure, figure.add_subplot(), THEMES[theme]


def _mark_ends(axes: Axes, lengths: Sequence[int], ink: Mapping[str, str]) -> None:
    for begin in np.cumsum([0, *lengths[:-1]]):
        axes.axvline(begin - 0.5, color=ink["muted"], linewidth=0.8, linestyle=":")


def _finish(axes: Axes, ink: Mapping[str, str], grid: Literal["x", "y", ""], legend: bool = True) -> None:
    style_axes(axes, ink, grid)
    if legend:
        crowded = len(axes.get_legend_handles_labels()[1]) > FEW
        if crowded and isinstance(axes.figure, Figure):
            axes.figure.set_figwidth(1.4 * axes.figure.get_figwidth())
        draw_legend(axes, ink, beside=crowded)
