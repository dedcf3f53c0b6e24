"""The figures of a study's report, from its collected results."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metarims.evaluation.curves import whole_curves
from metarims.evaluation.statistics import (
    describe_intervals,
    mean_interval,
    profile_band,
    stratified_interval,
)
from metarims.studies.results import Results
from metarims.studies.scores import score_tables
from metarims.views.plots import PLAIN, SMALL, THEMES, curves, describe_curves, learning_curves, short_steps, style_axes
from metarims.views.styles import Style, assign_styles

Styles = Mapping[str, Style]


class Drawn(NamedTuple):
    """A figure and its caption."""

    caption: str
    figure: Figure
    note: str = ""
    """What its legend says beside the agents' names."""

    @property
    def needs_legend(self) -> bool:
        return bool(self.figure.axes[0].get_legend_handles_labels()[1])


@matplotlib.rc_context(PLAIN)
def draw(results: Results, theme: str = "light") -> list[Drawn]:
    """All figures that the study asks for and the results allow, without legends."""
    styles = agent_styles(results)
    return [drawn for kind in results.study.figures for drawn in _KINDS[kind](results, theme, styles)]


def agent_styles(results: Results) -> dict[str, Style]:
    """Of every label of the study, also of those that have no result yet, and of what claims compare."""
    claimed = [name for hypothesis in results.study.hypotheses for name in hypothesis.tables]
    return assign_styles([*(plan["label"] for plan in results.plans), *claimed])


def _curves(results: Results, theme: str, styles: Styles) -> Iterator[Drawn]:
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
                figure = learning_curves(rows, measure, theme=theme, styles=styles)
                yield Drawn(f"{task}: {measure} in training", figure, describe_curves(curves(rows, measure)))


def _points(results: Results, theme: str, styles: Styles) -> Iterator[Drawn]:
    """A figure for each score that claims are about, of all labels, and of the scores that it is compared with: every
    seed a point, the mean with its 95 % interval, and the paper's value.

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
        every = [values for group in groups.values() for values in group.values()]
        reached = all(np.isfinite(values).all() for values in every)
        shown = "mean" if reached else "median"
        if kinds := describe_intervals(map(len, every)):
            # A median has no interval but the bootstrap's.
            shown += f" with its {kinds if reached else '95 % interval (bootstrap, from 5 seeds)'}"
        paper = {
            (where, label): value for (label, of, where), value in results.study.paper_values.items() if of == name
        }
        notes = ["each seed", shown, *["right edge: never"] * (not reached)]
        notes += ["diamond: the paper's value"] * any((w, label) in paper for w in groups for label in groups[w])
        yield Drawn(f"{name}: {', '.join(notes)}", _point_figure(groups, name, theme, reached, styles, paper))


def _point_figure(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    name: str,
    theme: str,
    reached: bool,
    styles: Styles,
    paper: Mapping[tuple[str, str], float],
) -> Figure:
    """A row per agent, named on the axis; the rows of a condition stand under its name."""
    labels = [label for group in groups.values() for label in group]
    height = 0.8 + 0.24 * (len(labels) + 1.6 * len(groups))
    figure, axes, ink = _begin(theme, height=max(1.6, height))
    finite = [value for group in groups.values() for values in group.values() for value in values if np.isfinite(value)]
    edge = 1.15 * max(finite, default=1.0)
    rows, heads, place = [], [], 0.0
    for where, group in groups.items():
        heads.append((place, where))
        for label, values in group.items():
            place += 1
            color, table = styles[label].color(theme), np.array(values)[:, None]
            interval = mean_interval(table) if reached else stratified_interval(_middle, table)
            value, low, high = interval if reached else np.minimum(interval, edge)
            points = values if reached else np.minimum(values, edge)
            axes.plot(points, [place] * len(values), "o", color=color, alpha=0.4, markersize=3.5, markeredgewidth=0)
            axes.plot([low, high], [place, place], color=color, linewidth=2)
            axes.plot([value], [place], "o", color=color, markersize=7)
            if (where, label) in paper:
                at = paper[where, label]
                axes.plot([at], [place], "D", markersize=7, markerfacecolor="none", markeredgecolor=ink["ink"])
            rows.append((place, textwrap.fill(label, 24)))
        place += 1.6
    axes.set_yticks([at for at, _ in rows], [label for _, label in rows], fontsize=9, linespacing=0.85)
    axes.set_ylim(place - 0.9, -0.6)
    for at, where in heads:
        axes.text(
            0, at, where, transform=axes.get_yaxis_transform(), fontsize=9, weight="bold", color=ink["ink"], va="center"
        )
    axes.set_xlabel(name, color=ink["ink"])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if max(map(abs, finite), default=0) >= 1000:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_steps(value)))
    if not reached:
        axes.axvline(edge, color=ink["muted"], linewidth=0.8, linestyle=":")
        axes.annotate("never", (edge, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
    style_axes(axes, ink, "x")
    return figure


def _middle(scores: np.ndarray) -> float:
    """The median; of an even number of scores the larger one in the middle."""
    return float(np.sort(scores, axis=None)[scores.size // 2])


def _profile(results: Results, theme: str, styles: Styles) -> Iterator[Drawn]:
    """Fraction of runs above each threshold, over all tasks."""
    name = "area of success"
    labels = dict.fromkeys(label for label, row in results.rows if row.name == name)
    tables = score_tables(results.rows, {label: (label, name, None) for label in labels}).scores
    if not any(table.size for table in tables.values()):
        return
    figure, axes, ink = _begin(theme)
    thresholds = np.linspace(0, 1, 101)
    for label, table in tables.items():
        band, style = profile_band(table, thresholds), styles[label]
        axes.plot(thresholds, band.fraction, color=style.color(theme), linestyle=style.line, label=label)
        axes.fill_between(thresholds, band.low, band.high, color=style.color(theme), alpha=0.18, linewidth=0)
    axes.set_xlabel(f"{name}, tau", color=ink["ink"])
    axes.set_ylabel("fraction of runs above tau", color=ink["ink"])
    style_axes(axes, ink, "y")
    yield Drawn("Performance profile over tasks, with a 95 % bootstrap band", figure)


def _raster(results: Results, theme: str, styles: Styles) -> Iterator[Drawn]:
    """Active modules at each step of six episodes, one row per module."""
    for plan in results.plans:
        raster = plan["records"].get("raster")
        if not raster:
            continue
        active = np.concatenate([np.array(episode) for episode in raster["active"]])
        figure, axes, ink = _begin(theme, height=2.2)
        modules = range(1, active.shape[1] + 1)
        for module in modules:
            steps = np.flatnonzero(active[:, module - 1])
            color = styles[plan["label"]].color(theme)
            axes.plot(steps, [module] * len(steps), "|", color=color, markersize=11, markeredgewidth=1.2)
        _mark_ends(axes, [len(episode) for episode in raster["active"]], ink)
        axes.set_yticks(modules)
        axes.set_ylim(len(modules) + 0.6, 0.4)
        axes.set_ylabel("module", color=ink["ink"])
        axes.set_xlabel("step (dotted: start of an episode)", color=ink["ink"])
        style_axes(axes, ink, "")
        yield Drawn(f"{plan['label']} on {raster['env']}, seed {raster['seed']}: active modules", figure)


def _values(results: Results, theme: str, styles: Styles) -> Iterator[Drawn]:
    """The predicted value over nine episodes."""
    for plan in results.plans:
        record = plan["records"].get("values")
        if not record:
            continue
        figure, axes, ink = _begin(theme, height=2.6)
        axes.plot(np.concatenate(record["values"]), color=styles[plan["label"]].color(theme), linewidth=1.4)
        _mark_ends(axes, [len(values) for values in record["values"]], ink)
        axes.set_ylabel("value", color=ink["ink"])
        axes.set_xlabel("step (dotted: start of an episode)", color=ink["ink"])
        style_axes(axes, ink, "y")
        yield Drawn(f"{plan['label']} on {record['env']}, seed {record['seed']}: value over nine episodes", figure)


_KINDS = {"curves": _curves, "points": _points, "profile": _profile, "raster": _raster, "values": _values}


def _begin(theme: str, height: float = SMALL[1]) -> tuple[Figure, Axes, Mapping[str, str]]:
    figure = Figure(figsize=(SMALL[0], height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure, figure.add_subplot(), THEMES[theme]


def _mark_ends(axes: Axes, lengths: Sequence[int], ink: Mapping[str, str]) -> None:
    for begin in np.cumsum([0, *lengths[:-1]]):
        axes.axvline(begin - 0.5, color=ink["muted"], linewidth=0.8, linestyle=":")
