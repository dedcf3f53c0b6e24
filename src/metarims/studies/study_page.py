"""The report of a study: a page with each claim's verdict, figures, every seed's numbers and the settings."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarims.evaluation.statistics import describe_intervals, interquartile_mean, mean_interval
from metarims.studies.results import Results
from metarims.studies.study_claims import claims
from metarims.studies.study_folder import episodes_path
from metarims.studies.study_plots import agent_styles, draw
from metarims.views.agent_table import AgentSummary, column_head, labelled
from metarims.views.plots import complete, save_figure
from metarims.views.report import Report, ReportFigure, write_report
from metarims.views.styles import legend

RATES = ("success", "area of success", "last success")
"""Scores from 0 to 1: Student's t, which does not know that, is cut off there."""


def write_study_page(path: Path, results: Results) -> Path:
    """Write the report to ``path``, and each figure as PDF and PNG into ``figures/`` beside it."""
    light, dark = draw(results, "light"), draw(results, "dark")
    study, notes = results.study, dict.fromkeys(drawn.note for drawn in light if drawn.note)
    trained = dict.fromkeys(plan["label"] for plan in results.plans)
    styles = {label: style for label, style in agent_styles(results).items() if label in trained}
    details, settings = _details(results)
    report = Report(
        title=f"{study.title} ({study.name})",
        summary=[f"The paper ({study.source}): {study.paper}"] if study.paper else (),
        lead=claims(results.verdicts) + _missing(results),
        agents=summarize_agents(results),
        legend=legend(styles, "; ".join(notes)) if any(drawn.needs_legend for drawn in light) else "",
        figures=[ReportFigure(a.caption, a.figure, b.figure) for a, b in zip(light, dark, strict=True)],
        episodes=[episode for plan in results.plans for episode in plan["records"].get("episodes", ())],
        appendix=_episodes(results, path.parent) + _numbers(results),
        details=details,
        settings=settings,
    )
    write_report(path, report)
    if light:
        folder = path.parent / "figures"
        folder.mkdir(exist_ok=True)
        for number, drawn in enumerate(light, 1):
            complete(drawn.figure, drawn.caption, drawn.note)
            for kind in ("pdf", "png"):
                save_figure(drawn.figure, folder / f"{study.name}-{number}.{kind}")
                drawn.figure.set_layout_engine("none")  # Found by now; to find it again costs a drawing.
    return path


def summarize_agents(results: Results) -> list[AgentSummary]:
    """The evaluated agents; empty where no plan has evaluations."""
    return [
        AgentSummary(
            plan["label"],
            len(plan["configs"][-1]["seeds"]),
            max(point["env_steps"] for point in plan["curves"][-1]),
            plan["records"]["evaluations"],
            plan.get("parameters"),
            plan.get("frames_per_second"),
        )
        for plan in results.plans
        if plan["records"].get("evaluations") and plan["curves"][-1]
    ]


def _missing(results: Results) -> str:
    stopped = [f"{plan['plan']} (seeds {plan['stopped']})" for plan in results.plans if plan["stopped"]]
    notes = {
        "Not finished or failed; rerun the command to resume": results.missing,
        "Stopped early by a numerical fault; their last finite agents count, and their curves are extended": stopped,
    }
    lines = (f"<strong>{what}:</strong> {_text(', '.join(names))}." for what, names in notes.items() if names)
    return "".join(f'<p class="summary">{line}</p>' for line in lines)


def _episodes(results: Results, folder: Path) -> str:
    """Links to the pages of recorded episodes beside the report."""
    names = [plan["plan"] for plan in results.plans if episodes_path(folder, plan["plan"]).exists()]
    links = [
        f'<li><a href="{_text(episodes_path(folder, name).relative_to(folder).as_posix())}">{_text(name)}</a></li>'
        for name in names
    ]
    return f'<h2>Episodes of each plan</h2>\n<ul class="episodes panel">{"".join(links)}</ul>' if links else ""


def _numbers(results: Results) -> str:
    """Each score's mean over seeds with its interval, agents side by side; and every seed's number, folded."""
    scores = dict.fromkeys((row.name, row.condition) for _, row in results.rows)
    agents = list(dict.fromkeys(label for label, _ in results.rows))
    heads = "".join(column_head(_text(name), index) for index, name in enumerate(("Measure", "Condition", *agents)))
    rows = "\n".join(_score_row(results, agents, *score) for score in scores)
    each = "\n".join(
        _seeds_row(label, *key, values)
        for key in scores
        for label in agents
        if len(values := results.table(label, *key))
    )
    kinds = describe_intervals(len(plan["configs"][-1]["seeds"]) for plan in results.plans)
    paper = "; small: the paper’s value" if results.study.paper_values else ""
    return f"""<h2>Numbers</h2>
<div class="panel results-panel">
<table class="results numbers">
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="table-note">Scale: {_text(results.scale)}. Mean over seeds{f", {kinds}" * bool(kinds)}{paper}. Success and
return: means over episodes, of the sampled policy unless stated otherwise. Areas: means of learning curves.</p>
<details class="panel made-with"><summary>Each seed’s numbers</summary>
<div class="results-panel">
<table class="results seeds-table">
<thead><tr><th scope="col">Measure</th><th scope="col">Condition</th><th scope="col">Agent</th>
<th scope="col">IQM</th><th scope="col">Each seed</th></tr></thead>
<tbody>
{each}
</tbody>
</table>
</div>
</details>"""


def _score_row(results: Results, agents: Sequence[str], name: str, condition: str) -> str:
    head = f'<th scope="row">{_text(name)}</th>{labelled("Condition", _text(condition))}'
    paper = results.study.paper_values
    cells = [
        _cell(agent, name, results.table(agent, name, condition), paper.get((agent, name, condition)))
        for agent in agents
    ]
    return f"<tr>{head}{''.join(cells)}</tr>"


def _cell(agent: str, name: str, values: np.ndarray, paper: float | None) -> str:
    """An agent's mean with its interval, and the paper's value."""
    said = "" if paper is None else f' <small class="paper">paper {_number(paper)}</small>'
    if not len(values):
        return labelled(agent, f"–{said}")
    if not np.isfinite(values).all():
        return labelled(agent, f"reached by {int(np.isfinite(values).sum())} of {len(values)}{said}")
    interval = mean_interval(values[:, None])
    value, low, high = np.clip(interval, 0, 1) if name in RATES else interval
    ends = "" if np.isnan(low) else f' <span class="interval">{_number(low)} – {_number(high)}</span>'
    return labelled(agent, f"<strong>{_number(value)}</strong>{ends}{said}", f' data-value="{value:.9g}"')


def _seeds_row(label: str, name: str, condition: str, values: np.ndarray) -> str:
    middle = _number(interquartile_mean(values[:, None])) if np.isfinite(values).all() else "–"
    cells = labelled("Condition", _text(condition)) + labelled("Agent", _text(label)) + labelled("IQM", middle)
    each = labelled("Each seed", ", ".join(map(_number, values)), ' class="seeds"')
    return f'<tr><th scope="row">{_text(name)}</th>{cells}{each}</tr>'


def _details(results: Results) -> tuple[dict[str, str], dict[str, str]]:
    """What the report was made with, and the settings of each plan."""

    def together(name: str, parts: Sequence[Mapping[str, Any]] = results.plans) -> str:
        return ", ".join(dict.fromkeys(str(part[name]) for part in parts if name in part))

    name, scale = results.study.name, results.scale
    facts = {"command": "metarims demo" if name == scale == "demo" else f"metarims study run {name} --scale {scale}"}
    if results.plans:
        facts["commit"] = together("commit")
        others = [
            plan["trained_by"] for plan in results.plans if plan.get("trained_by", []) not in ([], [plan["commit"]])
        ]
        if others:
            facts["trained by"] = ", ".join(dict.fromkeys(commit for commits in others for commit in commits))
        facts["made"] = together("date")
        versions = [plan["versions"] for plan in results.plans]
        facts |= {name: together(name, versions) for name in dict.fromkeys(name for part in versions for name in part)}
        facts["training and evaluation"] = f"{sum(plan['seconds'] for plan in results.plans):,.0f} s, sum over plans"
    return facts, {plan["plan"]: json.dumps(plan["configs"], indent=1) for plan in results.plans}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z.3f}"


def _text(value: Any) -> str:
    return html.escape(str(value))
