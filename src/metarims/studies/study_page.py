"""The report of a study: a page with each claim's verdict, figures, every seed's numbers and the settings."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarims.evaluation.statistics import MIN_SEEDS, interquartile_mean, mean, stratified_interval
from metarims.studies.results import Results
from metarims.studies.study_folder import episodes_path
from metarims.studies.study_plots import draw
from metarims.views.agent_table import AgentSummary, labelled
from metarims.views.plots import save_figure
from metarims.views.report import Report, ReportFigure, write_report


def write_study_page(path: Path, results: Results) -> Path:
    """Write the report to ``path``, and each figure as PDF and PNG into ``figures/`` beside it."""
    light, dark = draw(results, "light"), draw(results, "dark")
    study = results.study
    details, settings = _details(results)
    report = Report(
        title=f"{study.title} ({study.name})",
        summary=[f"The paper ({study.source}): {study.paper}"] if study.paper else (),
        lead=_verdicts(results) + _missing(results),
        agents=summarize_agents(results),
        figures=[ReportFigure(a.caption, a.figure, b.figure) for a, b in zip(light, dark, strict=True)],
        episodes=[episode for plan in results.plans for episode in plan["records"].get("episodes", ())],
        appendix=_episodes(results, path.parent) + _table(results),
        details=details,
        settings=settings,
    )
    write_report(path, report)
    if light:
        folder = path.parent / "figures"
        folder.mkdir(exist_ok=True)
        for number, drawn in enumerate(light, 1):
            drawn.figure.patch.set_alpha(1)
            drawn.figure.patch.set_facecolor("white")
            for kind in ("pdf", "png"):
                save_figure(drawn.figure, folder / f"{study.name}-{number}.{kind}")
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


def _verdicts(results: Results) -> str:
    items = []
    for judged in results.verdicts:
        outcome = judged.verdict.outcome if judged.verdict else "not measured"
        found = f'<span class="found">{_text(judged.text)}</span>' if judged.text else ""
        kind = outcome.replace(" ", "-")
        items.append(f'<li><span class="verdict {kind}">{outcome}</span> {_text(judged.statement)}. {found}</li>')
    return f'<h2>Claims</h2>\n<ul class="claims panel">{"".join(items)}</ul>' if items else ""


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


def _table(results: Results) -> str:
    """Every number: mean and interquartile mean over seeds, the mean's 95 % interval, and each seed."""
    keys = dict.fromkeys((label, row.name, row.condition) for label, row in results.rows)
    rows = "\n".join(_row(*key, results.table(*key)) for key in keys)
    return f"""<h2>Numbers</h2>
<div class="panel results-panel">
<table class="results numbers">
<thead><tr><th scope="col">Agent</th><th scope="col">Measure</th><th scope="col">Condition</th>
<th scope="col">Seeds</th>
<th scope="col">Mean</th><th scope="col">95 % interval</th><th scope="col">IQM</th><th scope="col">Each seed</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="table-note">Scale: {_text(results.scale)}. Success and return: means over episodes, of the sampled policy
unless stated otherwise. Areas: means of learning curves. Intervals: percentile bootstrap,
of at least {MIN_SEEDS} seeds.</p>"""


def _row(label: str, name: str, condition: str, values: np.ndarray) -> str:
    each = ", ".join(_number(value) for value in values)
    cells = {"Measure": name, "Condition": condition, "Seeds": len(values)}
    head = "".join(labelled(title, _text(cell)) for title, cell in cells.items())
    head = f'<tr><th scope="row">{_text(label)}</th>{head}'
    last = labelled("Each seed", each, ' class="seeds"')
    if not np.isfinite(values).all():
        reached = int(np.isfinite(values).sum())
        return f'{head}<td colspan="3">reached by {reached} of {len(values)}</td>{last}</tr>'
    value, low, high = stratified_interval(mean, values[:, None])
    ends = f"fewer than {MIN_SEEDS} seeds" if np.isnan(low) else f"{_number(low)} – {_number(high)}"
    middle = _number(interquartile_mean(values[:, None]))
    mean_cell = labelled("Mean", f"<strong>{_number(value)}</strong>")
    return f"{head}{mean_cell}{labelled('95 % interval', ends)}{labelled('IQM', middle)}{last}</tr>"


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
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:z.3f}"


def _text(value: Any) -> str:
    return html.escape(str(value))
