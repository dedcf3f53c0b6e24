"""Learning curves: a metric against environment steps, one line per agent, with seeds and interval."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metarims.errors import UserError
from metarims.evaluation.curves import points_of
from metarims.evaluation.statistics import MIN_SEEDS, describe_intervals, mean_band
from metarims.views.styles import Style, assign_styles

LABELS = {"success": "success rate", "return": "mean return", "episode_length": "steps per episode"}
KINDS = (".svg", ".pdf", ".png")
"""File extensions of figures."""

THEMES = {
    "light": {"ink": "#1c2127", "muted": "#5c6570", "line": "#dedbd4"},
    "dark": {"ink": "#e9e7e2", "muted": "#9da6b0", "line": "#30363d"},
}
PANEL = (6.4, 4.0)
"""Inches of one panel."""
SMALL = (4.2, 2.9)
"""Inches of a page's figure, whose letters can be read on a telephone too."""
FEW = 4
"""Up to so many agents, the legend stands inside the panel."""
Legend = Literal["inside", "beside", "none"]
PLAIN: Any = {"text.parse_math": False}
"""Names are plain text: a dollar sign starts no formula."""
_RESAMPLES = 2000


class SeedCurves(NamedTuple):
    """The seeds of one agent at N common steps."""

    env_steps: Float[np.ndarray, " N"]
    seeds: Float[np.ndarray, "S N"]
    mean: Float[np.ndarray, " N"]
    low: Float[np.ndarray, " N"]
    """Lower end of the mean's 95 % interval (``mean_band``); NaN with fewer than ``MIN_SEEDS`` seeds."""
    high: Float[np.ndarray, " N"]


def curves(rows: Sequence[Mapping[str, Any]], measure: str = "success") -> dict[str, SeedCurves]:
    """The curves of each agent, from rows with ``agent``, ``seed`` and ``env_steps``, over the steps of all its seeds.

    Values are interpolated between a seed's own rows; rows without a finite measure are left out.
    """
    by_agent: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_agent.setdefault(str(row["agent"]), []).append(row)
    found = {agent: list(points_of(own, measure).values()) for agent, own in by_agent.items()}
    return {agent: _align(seeds) for agent, seeds in found.items() if seeds}


def _align(seeds: Sequence[Mapping[float, float]]) -> SeedCurves:
    steps = np.array(sorted({step for seed in seeds for step in seed}))
    first, last = max(map(min, seeds)), min(map(max, seeds))
    steps = steps[(steps >= first) & (steps <= last)]
    values = np.stack([np.interp(steps, *np.array(sorted(seed.items())).T) for seed in seeds])
    return SeedCurves(steps, values, values.mean(axis=0), *mean_band(values, resamples=_RESAMPLES))


@matplotlib.rc_context(PLAIN)
def learning_curves(
    rows: Sequence[Mapping[str, Any]],
    measure: str = "success",
    title: str = "",
    theme: str = "light",
    styles: Mapping[str, Style] | None = None,
) -> Figure:
    """Figure of ``measure`` against ``env_steps``: mean over seeds, each seed thin, the mean's 95 % interval shaded.

    ``theme``: ``light`` or ``dark``; the background is transparent. ``styles``: those of a page that has one legend
    (``assign_styles`` of all its agents); the figure is then small and without a legend.
    """
    by_agent = curves(rows, measure)
    if not by_agent:
        raise UserError(f"No row has a finite '{measure}': there is nothing to draw.")
    crowded = len(by_agent) > FEW
    width, height = PANEL
    size = SMALL if styles else (width * (1.4 if crowded else 1), height)
    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0)
    place: Legend = "none" if styles else "beside" if crowded else "inside"
    draw_panel(figure.add_subplot(), by_agent, measure, title, theme, styles=styles or {}, legend=place)
    return figure


def draw_panel(
    axes: Axes,
    by_agent: Mapping[str, SeedCurves],
    measure: str,
    title: str = "",
    theme: str = "light",
    styles: Mapping[str, Style] | None = None,
    legend: Legend = "inside",
) -> None:
    """Draw each agent's curve, axes and legend. ``styles``: of the agents of all panels."""
    styles = styles or assign_styles(by_agent)
    for agent, curve in by_agent.items():
        _draw_curve(axes, agent, curve, styles[agent].color(theme), styles[agent].line)
    _dress(axes, measure, title, THEMES[theme])
    if legend != "none":
        explain(axes, describe_curves(by_agent), THEMES[theme], beside=legend == "beside")


def describe_curves(by_agent: Mapping[str, SeedCurves]) -> str:
    """What a legend says of the curves' lines and bands."""
    numbers = [len(curve.seeds) for curve in by_agent.values()]
    parts = ["mean of seeds, each seed thin"] * (max(numbers) > 1)
    shaded = describe_intervals(numbers)
    return ", ".join(parts + [f"shaded: {shaded}"] * bool(shaded))


@matplotlib.rc_context(PLAIN)
def complete(figure: Figure, title: str, note: str) -> None:
    """Make a page's light figure stand alone, for a file: a background, a title and, if it shows agents, a legend."""
    axes = figure.axes[0]
    figure.patch.set_alpha(1)
    figure.patch.set_facecolor("white")
    axes.set_title(textwrap.fill(title, 60), loc="left", fontsize=10, color=THEMES["light"]["ink"])
    if axes.get_legend_handles_labels()[1]:
        explain(axes, textwrap.fill(note, 32), THEMES["light"], beside=True)
        figure.set_figwidth(1.5 * figure.get_figwidth())


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as .svg, .pdf or .png, by the extension of ``path``."""
    path = check_ending(path)
    path.write_bytes(figure_bytes(figure, path.suffix[1:]))
    return path


def check_ending(path: str | Path) -> Path:
    """The path; ``UserError`` unless it has the extension of a figure."""
    path = Path(path)
    if path.suffix not in KINDS:
        raise UserError(f"'{path.name}' must end in one of {', '.join(KINDS)}.", field="out", value=str(path))
    return path


def figure_bytes(figure: Figure, kind: str = "svg") -> bytes:
    """The figure as file content; equal figures give equal bytes."""
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "metarims", "svg.fonttype": "path", "savefig.dpi": 160}):
        figure.savefig(buffer, format=kind, metadata=undated)
    return buffer.getvalue()


def _draw_curve(axes: Axes, agent: str, curve: SeedCurves, color: str, style: Any) -> None:
    num_seeds = len(curve.seeds)
    for values in curve.seeds if num_seeds > 1 else ():
        axes.plot(curve.env_steps, values, color=color, linewidth=0.6, alpha=0.35)
    seeds = f"{num_seeds} seed{'s' if num_seeds > 1 else ''}"
    note = seeds if num_seeds >= MIN_SEEDS else f"{seeds}, no interval"
    bold: Any = {"linestyle": style, "linewidth": 2.2, "marker": "o" if len(curve.env_steps) == 1 else ""}
    axes.plot(curve.env_steps, curve.mean, color=color, label=f"{agent} ({note})", **bold)
    if num_seeds >= MIN_SEEDS:
        axes.fill_between(curve.env_steps, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)


def _dress(axes: Axes, measure: str, title: str, colors: Mapping[str, str]) -> None:
    """Title, labels and limits of a learning curve."""
    axes.set_title(title, loc="left", fontsize=11, color=colors["ink"])
    axes.set_xlabel("environment steps", color=colors["ink"])
    name = measure.partition("/")[0]  # "success/ID": one task of a mixture
    axes.set_ylabel(LABELS.get(name, measure), color=colors["ink"])
    axes.set_xlim(left=0)
    if name == "success":
        axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: short_steps(steps)))
    style_axes(axes, colors, "y")


def style_axes(axes: Axes, colors: Mapping[str, str], grid: Literal["x", "y", ""]) -> None:
    """A light grid, no box, the theme's colours."""
    axes.patch.set_alpha(0)
    if grid:
        axes.grid(axis=grid, color=colors["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=colors["muted"], length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colors["line"])


def explain(axes: Axes, note: str, colors: Mapping[str, str], beside: bool) -> None:
    """Draw the legend, under a note, at the best place inside, or beside the axes."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    style: dict[str, Any] = {"handlelength": 3.2, "alignment": "left", "fontsize": 9}
    legend = axes.legend(frameon=False, labelcolor=colors["ink"], **style, **place)
    legend.set_title(note, prop=FontProperties(size=8))
    legend.get_title().set_color(colors["muted"])


def short_steps(steps: float) -> str:
    """1500000 as ``1.5M``, 40000 as ``40k``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(steps) >= size:
            return f"{steps / size:g}{letter}"
    return f"{steps:g}"
