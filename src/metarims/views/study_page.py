"""A study's report: one self-contained page with each claim's verdict, the figures, the table and the settings."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarims.evaluation.statistics import MIN_SEEDS, interquartile_mean, mean, stratified_interval
from metarims.studies.results import Results
from metarims.studies.study_folder import episodes_path
from metarims.views import page
from metarims.views.episode_page import STYLES
from metarims.views.plots import save_figure
from metarims.views.report_parts import figure_panel, made_with
from metarims.views.study_plots import draw

_WORDS = {"supported": "supported", "not supported": "not supported", "undecided": "undecided", None: "not measured"}


def write_study_page(path: Path, results: Results) -> Path:
    """Write the report to ``path``, and each figure as PDF and PNG into ``figures/`` beside it."""
    light, dark = draw(results, "light"), draw(results, "dark")
    panels = "".join(figure_panel(a.caption, a.figure, b.figure) for a, b in zip(light, dark, strict=True))
    study = results.study
    title = f"{study.title} ({study.name})"
    body = "\n".join(
        [
            '<main class="page">',
            f"<h1>{_text(title)}</h1>",
            f'<p class="summary"><strong>The paper</strong> ({_text(study.source)}): {_text(study.paper)}</p>',
            _verdicts(results),
            _missing(results),
            f'<div class="figures">\n{panels}</div>' if panels else "",
            _episodes(results, path.parent),
            _table(results),
            made_with(*_made_with(results)),
            "</main>",
        ]
    )
    page.write_text(path, page.assemble(title, body, (*STYLES, "report.css", "study.css")))
    if light:
        folder = path.parent / "figures"
        folder.mkdir(exist_ok=True)
        for number, drawn in enumerate(light, 1):
            drawn.figure.patch.set_alpha(1)
            drawn.figure.patch.set_facecolor("white")
            for kind in ("pdf", "png"):
                save_figure(drawn.figure, folder / f"{study.name}-{number}.{kind}")
    return path


def _verdicts(results: Results) -> str:
    items = []
    for judged in results.verdicts:
        outcome = judged.verdict.outcome if judged.verdict else None
        said = f'<span class="found">{_text(judged.words)}</span>' if judged.words else ""
        kind = _WORDS[outcome].replace(" ", "-")
        items.append(f'<li><span class="verdict {kind}">{_WORDS[outcome]}</span> {_text(judged.sentence)}. {said}</li>')
    return f'<h2>Claims</h2>\n<ul class="claims panel">{"".join(items)}</ul>'


def _missing(results: Results) -> str:
    stopped = [f"{plan['plan']} (seeds {plan['stopped']})" for plan in results.plans if plan["stopped"]]
    said = {
        "Not run, not finished or failed; metarims study run goes on with them": results.missing,
        "Ended early by a numerical fault; their last sound agents count, and their curves go on level": stopped,
    }
    lines = (f"<strong>{what}:</strong> {_text(', '.join(names))}." for what, names in said.items() if names)
    return "".join(f'<p class="summary">{line}</p>' for line in lines)


def _episodes(results: Results, folder: Path) -> str:
    """Links to the episodes that were recorded of each plan, where they lie beside the report."""
    names = [plan["plan"] for plan in results.plans if episodes_path(folder, plan["plan"]).exists()]
    links = [
        f'<li><a href="{_text(episodes_path(folder, name).relative_to(folder).as_posix())}">{_text(name)}</a></li>'
        for name in names
    ]
    return f'<h2>Episodes</h2>\n<ul class="episodes panel">{"".join(links)}</ul>' if links else ""


def _table(results: Results) -> str:
    """Every number: mean and interquartile mean over seeds, the mean's 95 % interval, and each seed."""
    keys = dict.fromkeys((label, row.name, row.where) for label, row in results.rows)
    rows = "\n".join(_row(*key, results.table(*key)) for key in keys)
    return f"""<h2>Numbers</h2>
<div class="panel results-panel">
<table class="results">
<thead><tr><th scope="col">Agent</th><th scope="col">Measure</th><th scope="col">Where</th><th scope="col">Seeds</th>
<th scope="col">Mean</th><th scope="col">95 % interval</th><th scope="col">IQM</th><th scope="col">Each seed</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="table-note">Scale: {_text(results.scale)}. Success and return are means over episodes of the sampled policy;
areas are mean heights of learning curves. Intervals: percentile bootstrap over seeds, from {MIN_SEEDS} seeds on.</p>"""


def _row(label: str, name: str, where: str, values: np.ndarray) -> str:
    each = ", ".join(_number(value) for value in values)
    head = f'<tr><th scope="row">{_text(label)}</th><td>{_text(name)}</td><td>{_text(where)}</td><td>{len(values)}</td>'
    if not np.isfinite(values).all():
        reached = int(np.isfinite(values).sum())
        return f'{head}<td colspan="3">{reached} of {len(values)} reached it</td><td class="seeds">{each}</td></tr>'
    interval = stratified_interval(mean, values[:, None])
    ends = (
        f"fewer than {MIN_SEEDS} seeds"
        if np.isnan(interval.low)
        else f"{_number(interval.low)} – {_number(interval.high)}"
    )
    middle = _number(interquartile_mean(values[:, None]))
    return (
        f"{head}<td><strong>{_number(interval.value)}</strong></td><td>{ends}</td><td>{middle}</td>"
        f'<td class="seeds">{each}</td></tr>'
    )


def _made_with(results: Results) -> tuple[dict[str, str], dict[str, str]]:
    def together(name: str, parts: Sequence[Mapping[str, Any]] = results.plans) -> str:
        return ", ".join(dict.fromkeys(str(part[name]) for part in parts if name in part))

    facts: dict[str, Any] = {"command": f"metarims study run {results.study.name} --scale {results.scale}"}
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
        facts["training and measuring"] = f"{sum(plan['seconds'] for plan in results.plans):,.0f} s, all plans added up"
    settings = {plan["plan"]: json.dumps(plan["configs"], indent=1) for plan in results.plans}
    return {name: str(value) for name, value in facts.items()}, settings


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:z.3f}"


def _text(value: Any) -> str:
    return html.escape(str(value))
