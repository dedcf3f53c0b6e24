"""Learning curves of runs side by side: a panel per task and measure, a colour per agent or run."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from metarims.config import Config
from metarims.errors import UserError, one_line, unknown_name
from metarims.runs.folder import read_config
from metarims.views.metrics import read_metrics
from metarims.views.plots import PANEL, PLAIN, Curve, curves, draw_panel

MEASURES = ("success", "return")
"""What is drawn unless another metric is asked for."""
_COUNTERS = ("agent", "seed", "chunk", "env_steps")
"""Entries of a row that are no metrics."""


class Run(NamedTuple):
    """What is drawn of one run's folder."""

    path: Path
    label: str
    """The agent; with the folder's name where several runs are of this agent on this task."""
    env: str
    rows: list[dict[str, Any]]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in these folders; a folder that is no run, or has no metrics yet, is a ``UserError``."""
    paths = list({path.resolve(): path for path in paths}.values())
    if not paths:
        raise UserError("No run: name at least one run's folder, as in metarims plot runs/x.")
    configs = {path: read_config(path) for path in paths}
    runs = []
    for path, label in _labels(configs).items():
        rows = read_metrics(path, label) if (path / "metrics.jsonl").exists() else []
        if not rows:
            raise UserError(f"{path} has no metrics yet: they come with the first chunk of its training.")
        runs.append(Run(path, label, configs[path].env, rows))
    return runs


@matplotlib.rc_context(PLAIN)
def plot_runs(runs: Sequence[Run], metric: str = "") -> Figure:
    """Figure of ``metric``, or of success and return, against environment steps.

    Tasks have panels of their own, and an agent has the same colour in all. Runs that do not know ``metric`` are left
    out; ``UserError`` if all do not, or if nothing was measured.
    """
    known = dict.fromkeys(name for run in runs for row in run.rows for name in row if name not in _COUNTERS)
    if metric and metric not in known:
        raise unknown_name("metric", metric, known)
    measures = (metric,) if metric else MEASURES
    drawn = _panels(runs, measures)
    if not drawn:
        raise UserError(
            f"Nothing was measured yet of {' or '.join(measures)}: let training go on, or draw another metric "
            "with --metric."
        )
    order = list(dict.fromkeys(run.label for run in runs))
    words = 1.5 + 0.07 * max(map(len, order))  # Inches of the legends.
    size = (PANEL[0] * len(measures) + words, PANEL[1] * len(drawn))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05), facecolor="white")
    grid = figure.subplots(len(drawn), len(measures), squeeze=False)
    for row, (env, panels) in zip(grid, drawn.items(), strict=True):
        title = textwrap.fill(one_line(env), 64, break_on_hyphens=False)
        for axes, measure in zip(row, measures, strict=True):
            if measure in panels:
                legend = "beside" if measure == list(panels)[-1] else "none"
                draw_panel(axes, panels[measure], measure, title, order=order, legend=legend)
            else:
                axes.set_visible(False)
    return figure


def _panels(runs: Sequence[Run], measures: Sequence[str]) -> dict[str, dict[str, dict[str, Curve]]]:
    """The curves of each task and measure of which anything was measured."""
    panels: dict[str, dict[str, dict[str, Curve]]] = {}
    for env in dict.fromkeys(run.env for run in runs):
        rows = [row for run in runs if run.env == env for row in run.rows]
        for measure in measures:
            if by_label := curves(rows, measure):
                panels.setdefault(env, {})[measure] = by_label
    return panels


def left_out(runs: Sequence[Run], metric: str) -> list[Path]:
    """The runs of which ``plot_runs`` draws nothing."""
    measures = (metric,) if metric else MEASURES
    return [run.path for run in runs if not any(curves(run.rows, measure) for measure in measures)]


def _labels(configs: Mapping[Path, Config]) -> dict[Path, str]:
    twice = {agent for (agent, _), n in Counter((c.agent, c.env) for c in configs.values()).items() if n > 1}
    folders = {path: path.resolve().name for path, config in configs.items() if config.agent in twice}
    shared = {name for name, n in Counter(folders.values()).items() if n > 1}
    labels = {}
    for path, config in configs.items():
        folder = str(path) if folders.get(path) in shared else folders.get(path)
        labels[path] = one_line(config.agent if folder is None else f"{config.agent}, {folder}")
    return labels
