"""The report's parts as markup: the table of results, the figures, and what it was made with."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from metarims.errors import UserError
from metarims.views.plots import curves, figure_bytes, learning_curves
from metarims.views.results import AgentResult, Measured

_EVALUATIONS = {
    ("jax", "greedy"): "greedy",
    ("jax", "sampled"): "sampled",
    ("farama", "greedy"): "greedy",
    ("farama", "sampled"): "sampled",
}
_FIGURES = {"success": "Success rate while training", "return": "Mean return while training"}


def results_table(agents: Sequence[AgentResult]) -> str:
    """One row per agent; success with its 95 % interval, as a number and drawn on a scale from 0 to 1."""
    rows = "\n".join(_agent_row(agent) for agent in agents)
    return f"""<div class="panel results-panel">
<table class="results">
<thead>
<tr><th rowspan="2" scope="col">Agent</th><th rowspan="2" scope="col">Parameters</th>
<th rowspan="2" scope="col">Seeds</th><th rowspan="2" scope="col">Frames</th><th rowspan="2" scope="col">Frames/s</th>
<th colspan="2" scope="colgroup">Success in metarims’ world</th>
<th colspan="2" scope="colgroup">Success in Farama’s environment</th>
<th rowspan="2" scope="col">Steps per episode</th></tr>
<tr>{"".join(f'<th scope="col">{name}</th>' for name in _EVALUATIONS.values())}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="table-note">Success rate with Wilson’s 95 % interval over all seeds’ episodes; the scale below each number
runs from 0 to 1. Frames are environment steps per seed, over both loops; frames per second are those of all seeds
together, without compilation. Steps per episode: greedy, in Farama’s environment where it was played.</p>"""


def figures(metrics: Sequence[Mapping[str, Any]], env: str) -> str:
    """Learning curves, each drawn for a light page and for a dark one; empty where nothing was measured.

    For a mixture also the success in each of its tasks.
    """
    of_tasks = dict.fromkeys(name for row in metrics for name in row if name.startswith("success/"))
    measures = (*_FIGURES, *of_tasks)
    pictures = [_figure(metrics, env, measure) for measure in measures if metrics and curves(metrics, measure)]
    return f'<div class="figures">\n{"".join(pictures)}</div>' if pictures else ""


def made_with(details: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """Commit, versions, machine and settings, folded away."""
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in details.items())
    configs = "".join(
        f"<details><summary>Settings of {_text(agent)}</summary><pre>{_text(config)}</pre></details>"
        for agent, config in settings.items()
    )
    return f"""<details class="panel made-with">
<summary>Made with</summary>
<dl>{facts}</dl>
{configs}
</details>"""


def _agent_row(agent: AgentResult) -> str:
    found = {(measured.where, measured.policy): measured for measured in agent.measured}
    for key in found:
        if key not in _EVALUATIONS:
            raise UserError(f"{agent.agent} was measured in {key}: where is jax or farama, policy greedy or sampled.")
    cells = "".join(_success_cell(found.get(key)) for key in _EVALUATIONS)
    length = found.get(("farama", "greedy")) or found.get(("jax", "greedy"))
    return (
        f'<tr><th scope="row">{_text(agent.agent)}</th><td>{agent.parameters:,}</td><td>{len(agent.seeds)}</td>'
        f"<td>{agent.frames:,}</td><td>{agent.frames_per_second:,.0f}</td>{cells}"
        f"<td>{f'{length.mean_length:.1f}' if length else '–'}</td></tr>"
    )


def _success_cell(measured: Measured | None) -> str:
    if measured is None:
        return "<td>–</td>"
    where = "; ".join((f"{measured.episodes:,} episodes", f"mean return {measured.mean_return:.3f}"))
    return (
        f'<td title="{where}; {measured.mean_length:.1f} steps per episode"><strong>{measured.success:.3f}</strong> '
        f'<span class="interval">{measured.low:.3f} – {measured.high:.3f}</span>'
        f'<span class="scale" style="--low:{measured.low:.4f};--high:{measured.high:.4f};--at:{measured.success:.4f}">'
        "<i></i><b></b></span></td>"
    )


def _figure(metrics: Sequence[Mapping[str, Any]], env: str, measure: str) -> str:
    light, dark = (learning_curves(metrics, measure, theme=theme) for theme in ("light", "dark"))
    name, _, task = measure.partition("/")
    return figure_panel(f"{_FIGURES[name]}, {task or env}", light, dark)


def figure_panel(caption: str, light: Any, dark: Any) -> str:
    """A captioned figure as markup, drawn for a light page and for a dark one."""
    light, dark = _svg_uri(light), _svg_uri(dark)
    return f"""<figure class="panel">
<figcaption>{_text(caption)}</figcaption>
<picture>
<source media="(prefers-color-scheme: dark)" srcset="{dark}">
<img src="{light}" alt="{_text(caption)}">
</picture>
</figure>
"""


def _svg_uri(figure: Any) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure_bytes(figure)).decode()


def _text(value: Any) -> str:
    return html.escape(str(value))
