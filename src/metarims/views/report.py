"""One self-contained HTML page on a comparison of agents: table, learning curves, episodes, settings."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarims.evaluation.episodes import Episode
from metarims.views import page, report_parts
from metarims.views.episode_page import DATA_ID, SCRIPTS, STYLES, viewer_data
from metarims.views.results import AgentResult, Measured

__all__ = ["AgentResult", "Measured", "Report", "ShownEpisode", "write_report"]


@dataclass(frozen=True)
class ShownEpisode:
    """One episode for the viewer, and who played it."""

    label: str
    """In a few words: agent, seed, greedy or sampled."""
    episode: Episode


@dataclass(frozen=True)
class Report:
    """Everything that ``write_report`` puts on the page."""

    title: str
    summary: str
    """One paragraph of plain words: what was trained on what, and what came out."""
    env: str
    """Farama id of the task."""
    agents: tuple[AgentResult, ...]
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of the runs' ``metrics.jsonl``, each with a key ``agent`` added (``views.metrics.read_metrics``)."""
    episodes: tuple[ShownEpisode, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """What it was made with, by name: commit, versions, machine, command, wall time."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The resolved configuration of each agent as JSON text, by agent."""


def write_report(path: str | Path, report: Report) -> Path:
    """Write ``report`` as one self-contained HTML file to ``path`` and return it."""
    sections = [
        f"<h1>{html.escape(report.title)}</h1>",
        f'<p class="summary">{html.escape(report.summary)}</p>',
        report_parts.results_table(report.agents),
        report_parts.figures(report.metrics, report.env),
    ]
    data = None
    if report.episodes:
        data = {DATA_ID: viewer_data([s.episode for s in report.episodes], [s.label for s in report.episodes])}
        sections += ["<h2>Episodes</h2>", page.asset("viewer.html")]
    sections.append(report_parts.made_with(report.details, report.settings))
    body = '<main class="page">\n' + "\n".join(sections) + "\n</main>"
    styles, scripts = (*STYLES, "report.css"), SCRIPTS if report.episodes else ()
    return page.write_text(path, page.assemble(report.title, body, styles, scripts, data))
