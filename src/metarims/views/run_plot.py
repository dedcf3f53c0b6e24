"""Learning curves of several runs: a panel per task and measure, a colour per agent or run."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from metarims.errors import UserError, one_line, unknown_name
from metarims.runs.folder import read_config
from metarims.runs.grouping import label_runs
from metarims.runs.metrics_log import read_metrics
from metarims.views.plots import PANEL, PLAIN, SeedCurves, curves, draw_panel
from metarims.views.styles import assign_styles

MEASURES = ("success", "return")
"""Drawn by default."""
_COUNTERS = ("agent", "seed", "chunk", "env_steps")
"""Columns that are not metrics."""


class Run(NamedTuple):
    """A run's metrics and its label."""

    path: Path
    label: str
    """The agent, with the folder's name where runs of this agent and task differ in settings or share seeds. Runs of
    one experiment (equal settings, other seeds) have one label."""
    env: str
    rows: list[dict[str, Any]]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in these folders; ``UserError`` if a folder is not a run, or none has metrics."""
    paths = list({path.resolve(): path for path in paths}.values())
    if not paths:
        raise UserError("No run: name at least one run's folder, as in metarims plot runs/x.")
    configs = {path: read_config(path) for path in paths}
    runs = []
    for path, label in label_runs(configs, by_task=True).items():
        rows = read_metrics(path, label) if (path / "metrics.jsonl").exists() else []
        runs.append(Run(path, label, configs[path].env, rows))
    if not any(run.rows for run in runs):
        path = paths[0]
        if (path / "events.jsonl").exists():
            raise UserError(
                f"{path} has no metrics: see {path / 'events.jsonl'} for what stopped it. Name another run."
            )
        raise UserError(f"{path} has no metrics yet: they come with the first chunk of its training.")
    return runs


@matplotlib.rc_context(PLAIN)
def plot_runs(runs: Sequence[Run], metric: str = "") -> Figure:
    """Figure of ``metric``, or of success and return, against environment steps.

    One row of panels per task; an agent has one colour in all. Runs without ``metric`` are left out; ``UserError`` if
    no run has it.
    """
    known = metric_names(runs)
    if metric and metric not in known:
        raise unknown_name("metric", metric, known)
    measures = (metric,) if metric else MEASURES
    drawn = _panels(runs, measures)
    if not drawn:
        raise UserError(
            f"No values of {' or '.join(measures)} yet: train further, or plot another metric with --metric."
        )
    styles = assign_styles(run.label for run in runs)
    words = 1.5 + 0.07 * max(map(len, styles))  # Inches of the legends.
    size = (PANEL[0] * len(measures) + words, PANEL[1] * len(drawn))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05), facecolor="white")
    grid = figure.subplots(len(drawn), len(measures), squeeze=False)
    for row, (env, panels) in zip(grid, drawn.items(), strict=True):
        title = textwrap.fill(one_line(env), 64, break_on_hyphens=False)
        for axes, measure in zip(row, measures, strict=True):
            if measure in panels:
                legend = "beside" if measure == list(panels)[-1] else "none"
                draw_panel(axes, panels[measure], measure, title, styles=styles, legend=legend)
            else:
                axes.set_visible(False)
    return figure


def _panels(runs: Sequence[Run], measures: Sequence[str]) -> dict[str, dict[str, dict[str, SeedCurves]]]:
    """The curves by task and measure, where there are any."""
    panels: dict[str, dict[str, dict[str, SeedCurves]]] = {}
    for env in dict.fromkeys(run.env for run in runs):
        rows = [row for run in runs if run.env == env for row in run.rows]
        for measure in measures:
            if by_label := curves(rows, measure):
                panels.setdefault(env, {})[measure] = by_label
    return panels


def metric_names(runs: Sequence[Run]) -> list[str]:
    """The metrics that any of the runs has."""
    return list(dict.fromkeys(name for run in runs for row in run.rows for name in row if name not in _COUNTERS))


def left_out(runs: Sequence[Run], metric: str) -> list[Path]:
    """The runs that ``plot_runs`` leaves out."""
    measures = (metric,) if metric else MEASURES
    return [run.path for run in runs if not any(curves(run.rows, measure) for measure in measures)]
