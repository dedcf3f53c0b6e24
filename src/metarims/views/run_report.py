"""The report on any runs: curves, success with intervals, and episodes of all agents on the same levels."""

import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from metarims import __version__
from metarims.agents.agent import count_parameters
from metarims.evaluation.episodes import EpisodeRecord
from metarims.evaluation.tables import Result, make_rows, summarize
from metarims.runs.export import SavedAgent
from metarims.runs.metrics_log import read_last_rows
from metarims.views.agent_table import AgentSummary, agent_table
from metarims.views.packing import pack_episode
from metarims.views.plots import curves, describe_curves, learning_curves
from metarims.views.report import Report, ReportFigure, write_report
from metarims.views.run_plot import MEASURES, Run
from metarims.views.styles import Style, assign_styles, legend


def write_run_report(
    path: Path,
    runs: Sequence[Run],
    experiments: Mapping[str, Sequence[SavedAgent]],
    results: Sequence[Result],
    episodes: Sequence[tuple[str, EpisodeRecord]],
    command: str,
) -> Path:
    """Write the page to ``path``. ``experiments``: agents by label; ``episodes``: with labels, those of one level
    should stand together; ``command``: which wrote it."""
    styles = assign_styles([*experiments, *(run.label for run in runs)])
    figures, notes = _figures(runs, styles)
    return write_report(
        path,
        Report(
            title=" and ".join(experiments),
            lead=_tables(runs, experiments, results),
            legend=legend(styles, "; ".join(notes)),
            figures=figures,
            episodes=[pack_episode(episode, label) for label, episode in episodes],
            details={"Command": command, "metarims": __version__, "Runs": ", ".join(str(run.path) for run in runs)},
            settings={
                label: json.dumps(dataclasses.asdict(agents[0].config), indent=1)
                for label, agents in experiments.items()
            },
        ),
    )


def _tables(runs: Sequence[Run], experiments: Mapping[str, Sequence[SavedAgent]], results: Sequence[Result]) -> str:
    """A table of success per task."""
    parts = []
    for env in dict.fromkeys(result.env for result in results):
        rows = []
        for label, agents in experiments.items():
            own = [result for result in results if (result.env, result.agent) == (env, label)]
            if not own:
                continue
            speeds = [line.get("frames_per_second") for run in runs if run.label == label for line in _speed(run)]
            steps = max(saved.env_steps for saved in agents)
            parameters = sum(count_parameters(agents[0].agent).values())
            summaries = [summarize(row) for row in make_rows(own)]
            speed = float(speeds[-1]) if speeds and speeds[-1] else None
            rows.append(AgentSummary(label, len(agents), steps, summaries, parameters, speed))
        parts.append(f"<h2>{html.escape(env)}</h2>\n{agent_table(rows)}")
    return "\n".join(parts)


def _speed(run: Run) -> list[dict]:
    return read_last_rows(run.path / "speed.jsonl")


def _figures(runs: Sequence[Run], styles: Mapping[str, Style]) -> tuple[list[ReportFigure], list[str]]:
    """A figure per task and measure, where there are metrics; and what their legend says."""
    figures, notes = [], {}
    for env in dict.fromkeys(run.env for run in runs):
        rows = [row for run in runs if run.env == env for row in run.rows]
        for measure in MEASURES:
            if by_agent := curves(rows, measure):  # Else no episode has ended yet.
                light, dark = (
                    learning_curves(rows, measure, theme=theme, styles=styles) for theme in ("light", "dark")
                )
                figures.append(ReportFigure(f"{env}: {measure} in training", light, dark))
                notes[describe_curves(by_agent)] = None
    return figures, list(notes)
