"""A study as data: plans of training runs, measures, and the hypotheses that their scores decide."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypedDict

from metarims.config import Config, for_agent
from metarims.errors import UserError
from metarims.fields import from_dict
from metarims.presets import preset
from metarims.runs.export import SavedAgent
from metarims.studies.verdicts import Claim

ScaleName = Literal["smoke", "demo", "laptop", "paper"]
FIRST_SEED = 1000
"""First training seed of studies. Hyper-parameters were tuned on seeds from 0 on."""
POINTS = 40
"""Approximate number of points of a learning curve."""


@dataclass(frozen=True)
class Scale:
    """The size of a study."""

    name: ScaleName
    preset: str
    """Base settings of all runs."""
    seeds: int
    episodes: int
    """Evaluation episodes per seed and task."""
    frames: Callable[[str], int]
    """Environment steps per seed on a task."""
    grid: int
    """Frames and ``record_every`` are multiples of this number of environment steps, which holds whole updates of every
    agent, so that all agents are measured at the same steps."""
    learnt: float = 0.8
    """Success rate from which a task counts as learnt, for measures that need this."""
    tasks: int | None = None
    """Maximum number of tasks in studies that compare agents over several."""
    brief: bool = False
    """Compile without optimization, in two thirds of the time: for programs that run for a moment only."""


class Score(NamedTuple):
    """One number measured of one seed."""

    seed: int
    name: str
    """``success``, ``return``, ``area of success``, ..."""
    condition: str
    """The task, or another condition, of the measurement."""
    value: float


class Stage(NamedTuple):
    """One training run of a plan."""

    env: str
    settings: Mapping[str, Any] = {}
    """Changes to the plan's settings in this stage."""


class Trained(NamedTuple):
    """What training left: agents and metrics of each stage."""

    stages: tuple[Stage, ...]
    agents: tuple[Sequence[SavedAgent], ...]
    """Of each stage, one per seed."""
    metrics: tuple[Sequence[Mapping[str, Any]], ...]
    """Rows of each stage's ``metrics.jsonl``."""


class Found(NamedTuple):
    """The result of a measure."""

    rows: Sequence[Score] = ()
    records: Mapping[str, Any] = {}
    """Further data for figures and tables, as JSON."""


Measure = Callable[[Trained, Scale], Found]
"""Results record its name; functions that make a measure give it one by ``named``."""


def named(name: str) -> Callable[[Measure], Measure]:
    """Decorator that names a measure after its arguments."""

    def give(measure: Measure) -> Measure:
        measure.__name__ = name
        return measure

    return give


class MeasuredWith(TypedDict):
    """How a plan was measured, as recorded in its result."""

    measures: list[str]
    episodes: int
    learnt: float


@dataclass(frozen=True)
class Plan:
    """Agents of one kind, trained in one or more stages; each stage starts from the weights of the one before."""

    label: str
    """Name in figures and claims."""
    agent: str
    stages: tuple[Stage, ...]
    measures: tuple[Measure, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the scale's preset, by dotted names: ``{"core.num_active": 2}``."""
    most_frames: int | None = None
    """Environment steps per seed and stage, at most."""

    @property
    def name(self) -> str:
        """Folder name of its runs."""
        route = "+".join(dict.fromkeys(stage.env for stage in self.stages))
        return f"{self.label} on {route}".replace(" ", "_").replace("/", "-")

    def measured(self, scale: Scale) -> MeasuredWith:
        """How it is measured at this scale."""
        names = [getattr(measure, "__name__", type(measure).__name__) for measure in self.measures]
        return {"measures": names, "episodes": scale.episodes, "learnt": scale.learnt}

    def config(self, index: int, scale: Scale) -> Config:
        """The configuration of a stage."""
        stage, start = self.stages[index], preset(scale.preset)
        frames = min(scale.frames(stage.env), self.most_frames or scale.frames(stage.env))
        every = scale.grid * max(1, round(min(start.record_every, frames / POINTS) / scale.grid))
        settings = {
            "agent": self.agent,
            "env": stage.env,
            "frames": every * max(1, math.ceil(frames / every)),
            "seeds": tuple(range(FIRST_SEED, FIRST_SEED + scale.seeds)),
            "record_every": every,
        }
        return change(start, settings | dict(self.settings) | dict(stage.settings))


Asked = tuple[str, str, Sequence[str] | None]
"""A plan's label, a score's name, and conditions (None: all that the tables of a hypothesis have in common)."""


@dataclass(frozen=True)
class Hypothesis:
    """A claim, and the scores that test it."""

    claim: Claim
    tables: Mapping[str, Asked]
    """For each name in the claim."""


@dataclass(frozen=True)
class Study:
    """A figure or table of the paper, or an experiment of our own."""

    name: str
    title: str
    source: str
    """Where the paper has it."""
    paper: str
    """What the paper reports."""
    plans: Callable[[Scale], tuple[Plan, ...]]
    hypotheses: tuple[Hypothesis, ...]
    figures: tuple[str, ...]
    """Kinds of figures of the report: ``curves``, ``points``, ``profile``, ``raster``, ``values``."""
    paper_values: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """Numbers that the paper gives, by a plan's label, a score's name and its condition."""


def plans_of(study: Study, scale: Scale) -> dict[str, Plan]:
    """The plans of a study by name."""
    return {plan.name: plan for plan in study.plans(scale)}


def change(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration with settings changed by dotted names; unknown or invalid ones raise ``UserError``."""
    start = for_agent(config, settings.get("agent", config.agent))
    tree = json.loads(json.dumps(dataclasses.asdict(start)))
    for name, value in settings.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.get(part)
            if not isinstance(branch, dict):
                raise UserError(
                    f"settings name {name}: the configuration has no section {part}.", field=name, value=value
                )
        branch[last] = list(value) if isinstance(value, tuple) else value
    return from_dict(Config, tree)
