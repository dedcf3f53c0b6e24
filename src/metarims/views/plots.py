"""Learning curves: a measure against environment steps, one line per agent, with what the seeds say about it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metarims.errors import UserError
from metarims.evaluation.statistics import MIN_SEEDS

COLORS = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    "dark": ("#56B4E9", "#F0803C", "#2FC79A", "#E3A0C6", "#F0C242", "#3F8FD0"),
}
"""Okabe and Ito's palette (2008), told apart by all common kinds of colour vision; lighter on a dark page."""
LINE_STYLES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
"""A second sign of the agent, for print without colour."""
LABELS = {"success": "success rate", "return": "mean return", "episode_length": "steps per episode"}
KINDS = (".svg", ".pdf", ".png")
"""Endings of the files that figures are written to."""

THEMES = {
    "light": {"ink": "#1c2127", "muted": "#5c6570", "line": "#dedbd4"},
    "dark": {"ink": "#e9e7e2", "muted": "#9da6b0", "line": "#30363d"},
}
PANEL = (6.4, 4.0)
"""Inches of one panel."""
FEW = 4
"""Agents whose curves leave room for a legend among them."""
PLAIN: Any = {"text.parse_math": False}
"""Names are shown as they are: a dollar sign in one begins no formula."""
_RESAMPLES = 2000


class Curve(NamedTuple):
    """One agent's seeds on common steps, N of them."""

    env_steps: Float[np.ndarray, " N"]
    seeds: Float[np.ndarray, "S N"]
    """One row per seed; NaN outside the steps that the seed has reached."""
    mean: Float[np.ndarray, " N"]
    low: Float[np.ndarray, " N"] | None
    """Lower end of the mean's 95 % bootstrap interval; ``None`` with fewer than three seeds."""
    high: Float[np.ndarray, " N"] | None


def curves(rows: Sequence[Mapping[str, Any]], measure: str = "success") -> dict[str, Curve]:
    """Each agent's curve, in the order in which the agents first appear.

    Between a seed's own rows its value is interpolated; rows in which no episode ended, and so nothing was measured,
    are left out.
    """
    points: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row in rows:
        value = row.get(measure)
        by_seed = points.setdefault(str(row["agent"]), {})
        if value is not None and np.isfinite(value):
            by_seed.setdefault(int(row["seed"]), []).append((float(row["env_steps"]), float(value)))
    return {agent: _curve([sorted(seed) for seed in seeds.values()]) for agent, seeds in points.items() if seeds}


def bootstrap_interval(
    values: Float[np.ndarray, "S N"], level: float = 0.95, key: int = 0
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Percentile bootstrap of the mean over seeds (Efron, 1979): whole seeds are drawn again, with replacement."""
    drawn = np.random.default_rng(key).integers(len(values), size=(_RESAMPLES, len(values)))
    weights = np.stack([np.bincount(sample, minlength=len(values)) for sample in drawn]) / len(values)
    low, high = np.quantile(weights @ values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


@matplotlib.rc_context(PLAIN)
def learning_curves(
    rows: Sequence[Mapping[str, Any]], measure: str = "success", title: str = "", theme: str = "light"
) -> Figure:
    """Figure of ``measure`` against ``env_steps``: mean over seeds, each seed thin, the mean's 95 % interval shaded.

    ``theme`` is ``light`` or ``dark``: the page's, which shows through.
    """
    by_agent = curves(rows, measure)
    if not by_agent:
        raise UserError(f"No row has a finite '{measure}': there is nothing to draw.")
    crowded = len(by_agent) > FEW
    width, height = PANEL
    figure = Figure(figsize=(width * (1.4 if crowded else 1), height), layout="constrained")
    figure.patch.set_alpha(0)
    draw_panel(figure.add_subplot(), by_agent, measure, title, theme, legend="beside" if crowded else "inside")
    return figure


def draw_panel(
    axes: Axes,
    by_agent: Mapping[str, Curve],
    measure: str,
    title: str = "",
    theme: str = "light",
    order: Sequence[str] = (),
    legend: Literal["inside", "beside", "none"] = "inside",
) -> None:
    """Every agent's curve, and what it takes to read them.

    ``order``: the agents of all panels of a figure, so that each has the same colour in all. ``legend``: where lines
    cross every corner it stands beside the panel.
    """
    names = list(order or by_agent)
    for agent, curve in by_agent.items():
        index = names.index(agent)
        number, turn = index % len(COLORS[theme]), index // len(COLORS[theme])
        color, style = COLORS[theme][number], LINE_STYLES[(number + turn) % len(LINE_STYLES)]
        _draw_curve(axes, agent, curve, color, style)
    _dress(axes, measure, title, THEMES[theme])
    if legend != "none":
        _explain(axes, THEMES[theme], beside=legend == "beside")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the ending of ``path`` says how: .svg, .pdf or .png."""
    path = check_ending(path)
    path.write_bytes(figure_bytes(figure, path.suffix[1:]))
    return path


def check_ending(path: str | Path) -> Path:
    """The path, unless no figure is written to a file of this ending."""
    path = Path(path)
    if path.suffix not in KINDS:
        raise UserError(f"'{path.name}' ends in none of {', '.join(KINDS)}: choose one of them.")
    return path


def figure_bytes(figure: Figure, kind: str = "svg") -> bytes:
    """The figure as a file's content; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "metarims", "svg.fonttype": "path", "savefig.dpi": 160}):
        figure.savefig(buffer, format=kind, metadata=undated)
    return buffer.getvalue()


def _curve(seeds: list[list[tuple[float, float]]]) -> Curve:
    steps = np.unique([step for seed in seeds for step, _ in seed])
    lines = [np.array(seed).T for seed in seeds]
    values = np.stack([np.interp(steps, xs, ys, left=np.nan, right=np.nan) for xs, ys in lines])
    everywhere = ~np.isnan(values).any(axis=0)
    steps, inside = steps[everywhere], values[:, everywhere]
    low, high = bootstrap_interval(inside) if len(seeds) >= MIN_SEEDS else (None, None)
    return Curve(steps, inside, inside.mean(axis=0), low, high)


def _draw_curve(axes: Axes, agent: str, curve: Curve, color: str, style: Any) -> None:
    num_seeds = len(curve.seeds)
    for values in curve.seeds if num_seeds > 1 else ():
        axes.plot(curve.env_steps, values, color=color, linewidth=0.7, alpha=0.45)
    seeds = f"{num_seeds} seed{'s' if num_seeds > 1 else ''}"
    note = seeds if curve.low is not None else f"{seeds}, no interval"
    axes.plot(curve.env_steps, curve.mean, color=color, linestyle=style, linewidth=2.2, label=f"{agent} ({note})")
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.env_steps, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)


def _dress(axes: Axes, measure: str, title: str, colors: Mapping[str, str]) -> None:
    """Quiet axes: a light grid across, no box, words in the theme's ink."""
    axes.patch.set_alpha(0)
    axes.set_title(title, loc="left", fontsize=11, color=colors["ink"])
    axes.set_xlabel("environment steps", color=colors["ink"])
    name = measure.partition("/")[0]  # "success/ID": one task of a mixture
    axes.set_ylabel(LABELS.get(name, measure), color=colors["ink"])
    axes.set_xlim(left=0)
    if name == "success":
        axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: short_steps(steps)))
    axes.grid(axis="y", color=colors["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=colors["muted"], length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colors["line"])


def _explain(axes: Axes, colors: Mapping[str, str], beside: bool) -> None:
    legend = draw_legend(axes, colors, beside, handlelength=3.2, alignment="left")
    legend.set_title("mean of seeds, each seed thin, 95 % interval", prop=FontProperties(size=8))
    legend.get_title().set_color(colors["muted"])


def draw_legend(axes: Axes, colors: Mapping[str, str], beside: bool, **style: Any) -> Legend:
    """The legend where it covers least, or beside the axes."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    return axes.legend(frameon=False, labelcolor=colors["ink"], fontsize=9, **style, **place)


def short_steps(steps: float) -> str:
    """1500000 as ``1.5M``, 40000 as ``40k``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(steps) >= size:
            return f"{steps / size:g}{letter}"
    return f"{steps:g}"
