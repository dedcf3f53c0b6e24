"""A report on trained agents as one self-contained HTML page: table, learning curves, episodes, settings."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from metarims.views import page
from metarims.views.agent_table import AgentSummary, agent_table
from metarims.views.episode_page import DATA_ID, SCRIPTS, STYLES, viewer_data
from metarims.views.packing import PackedEpisode
from metarims.views.plots import figure_bytes


@dataclass(frozen=True)
class ReportFigure:
    """A figure for a light page and for a dark one."""

    caption: str
    light: Figure
    dark: Figure


@dataclass(frozen=True)
class Report:
    """The content of a page; what is empty is left out."""

    title: str
    summary: Sequence[str] = ()
    """Paragraphs."""
    lead: str = ""
    """Markup above the figures, trusted."""
    agents: Sequence[AgentSummary] = ()
    legend: str = ""
    """Of all figures; markup, trusted (``views.styles.legend``)."""
    figures: Sequence[ReportFigure] = ()
    episodes: Sequence[PackedEpisode] = ()
    appendix: str = ""
    """Markup below the episodes, trusted."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Commit, versions, command, ... by name."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Configurations as JSON text, by run."""


def write_report(path: str | Path, report: Report) -> Path:
    """Write the page to ``path`` and return it; it opens from disk and loads nothing."""
    sections = [
        f"<h1>{html.escape(report.title)}</h1>",
        *(f'<p class="summary">{html.escape(paragraph)}</p>' for paragraph in report.summary),
        report.lead,
        agent_table(report.agents) if report.agents else "",
    ]
    if report.figures:
        panels = "".join(map(_figure_panel, report.figures))
        sections.append(f'<section>{report.legend}<div class="figures">\n{panels}</div></section>')
    if report.episodes:
        sections += ["<h2>Episodes</h2>", page.asset("viewer.html")]
    sections += [report.appendix, _details(report)]
    body = '<main class="page">\n' + "\n".join(filter(None, sections)) + "\n</main>"
    data = {DATA_ID: viewer_data(report.episodes)} if report.episodes else None
    scripts = (*(SCRIPTS if report.episodes else ()), *(("tables.js",) if "<table" in body else ()))
    return page.write_text(path, page.assemble(report.title, body, (*STYLES, "report.css"), scripts, data))


def _figure_panel(figure: ReportFigure) -> str:
    light, dark = (
        "data:image/svg+xml;base64," + base64.b64encode(figure_bytes(theme)).decode()
        for theme in (figure.light, figure.dark)
    )
    caption = html.escape(figure.caption)
    return f"""<figure class="panel">
<figcaption>{caption}</figcaption>
<picture>
<source media="(prefers-color-scheme: dark)" srcset="{dark}">
<img src="{light}" alt="{caption}">
</picture>
</figure>
"""


def _details(report: Report) -> str:
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in report.details.items()
    )
    configs = "".join(
        f"<details><summary>Settings of {html.escape(run)}</summary><pre>{html.escape(config)}</pre></details>"
        for run, config in report.settings.items()
    )
    return f"""<details class="panel made-with">
<summary>Details</summary>
<dl>{facts}</dl>
{configs}
</details>"""
