"""One self-contained HTML page on a comparison of agents: table, learning curves, episodes, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarims.evaluation.episodes import Episode


@dataclass(frozen=True)
class Measured:
    """How an agent did over many episodes in one place."""

    where: str
    """``jax`` (our world) or ``farama`` (the real environment)."""
    policy: str
    """``greedy`` (the likeliest action) or ``sampled``."""
    episodes: int
    """Episodes played, over all seeds."""
    success: float
    """Success rate, 0 to 1."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    mean_return: float
    """Mean undiscounted return."""
    mean_length: float
    """Mean steps per episode."""


@dataclass(frozen=True)
class AgentResult:
    """One row of the report's table: what an agent is, what it cost and how it did."""

    agent: str
    """Name of the agent: metarims, modular, vanilla, ..."""
    parameters: int
    """Number of trained parameters."""
    seeds: tuple[int, ...]
    """The independent agents that were trained."""
    frames: int
    """Environment steps per seed, over both loops."""
    frames_per_second: float
    """Training speed, over all seeds together, without compilation."""
    measured: tuple[Measured, ...]
    """Evaluations, in any order; those absent leave a dash in the table."""


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
    """Rows of the runs' ``metrics.jsonl``, each with a key ``agent`` added (``plots.read_metrics``)."""
    episodes: tuple[ShownEpisode, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """What it was made with, by name: commit, versions, machine, command, wall time."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The resolved configuration of each agent as JSON text, by agent."""


def write_report(path: str | Path, report: Report) -> Path:
    """Write ``report`` as one self-contained HTML file to ``path`` and return it."""
    raise NotImplementedError
