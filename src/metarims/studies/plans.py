"""What a study is made of, as data: plans of runs, measurements, and the claims that they decide."""

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

ScaleName = Literal["smoke", "laptop", "paper"]
FIRST_SEED = 1000
"""Settings were chosen on seeds from 0 on; studies take none of these."""
POINTS = 40
"""Of a learning curve, about."""


@dataclass(frozen=True)
class Scale:
    """How large a study is: from a test that everything works to the paper's own size."""

    name: ScaleName
    preset: str
    """Settings that all runs begin from."""
    seeds: int
    episodes: int
    """Evaluation episodes per seed and task."""
    frames: Callable[[str], int]
    """Environment steps per seed on a task."""
    grid: int
    """Environment steps of which a run's frames, and the steps between two lines of its metrics, are a multiple: one
    that holds whole updates of every agent, so that all are measured at the same steps."""
    learnt: float = 0.8
    """Success from which a task counts as learnt, where a measurement makes sense only then."""
    tasks: int | None = None
    """At most so many tasks of a study that compares agents over several."""
    brief: bool = False
    """Its programs run but for a moment: they are compiled without optimisation, in two thirds of the time."""


class Row(NamedTuple):
    """One number measured of one seed."""

    seed: int
    name: str
    """What it is: ``success``, ``return``, ``area of success``, ..."""
    where: str
    """The task, or another condition, under which it was measured."""
    value: float


class Stage(NamedTuple):
    """One piece of training."""

    env: str
    settings: Mapping[str, Any] = {}
    """What differs from the plan's settings in this stage."""


class Trained(NamedTuple):
    """What a plan's training left: each stage's agents and metrics."""

    stages: tuple[Stage, ...]
    agents: tuple[Sequence[SavedAgent], ...]
    """Of every stage, one per seed."""
    metrics: tuple[Sequence[Mapping[str, Any]], ...]
    """Rows of every stage's ``metrics.jsonl``."""


class Found(NamedTuple):
    """What a measurement found."""

    rows: Sequence[Row] = ()
    records: Mapping[str, Any] = {}
    """What figures need beyond numbers per seed, as JSON."""


Measure = Callable[[Trained, Scale], Found]
"""Its name is kept with what it found: one that a function makes is ``named``."""


def named(name: str) -> Callable[[Measure], Measure]:
    """Give a measure a name that says what it was made for."""

    def give(measure: Measure) -> Measure:
        measure.__name__ = name
        return measure

    return give


class Measured(TypedDict):
    """What a plan's agents are measured with, as it stands in a result."""

    measures: list[str]
    """By name, in order."""
    episodes: int
    learnt: float


@dataclass(frozen=True)
class Plan:
    """Agents of one kind, trained through one or more stages: each begins with the weights of the one before."""

    label: str
    """What figures and claims call it."""
    agent: str
    stages: tuple[Stage, ...]
    measures: tuple[Measure, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the scale's preset, by dotted names: ``{"core.num_active": 2}``."""

    @property
    def name(self) -> str:
        """The folder of its runs."""
        route = "+".join(dict.fromkeys(stage.env for stage in self.stages))
        return f"{self.label} on {route}".replace(" ", "_").replace("/", "-")

    def measured(self, scale: Scale) -> Measured:
        """How it is measured."""
        names = [getattr(measure, "__name__", type(measure).__name__) for measure in self.measures]
        return {"measures": names, "episodes": scale.episodes, "learnt": scale.learnt}

    def config(self, index: int, scale: Scale) -> Config:
        """The configuration of one of its stages."""
        stage, start = self.stages[index], preset(scale.preset)
        frames = scale.frames(stage.env)
        every = scale.grid * max(1, round(min(start.record_every, frames / POINTS) / scale.grid))
        settings = {
            "agent": self.agent,
            "env": stage.env,
            "frames": every * max(1, math.ceil(frames / every)),
            "seeds": tuple(range(FIRST_SEED, FIRST_SEED + scale.seeds)),
            "record_every": every,
        }
        return change(start, settings | dict(self.settings) | dict(stage.settings))


@dataclass(frozen=True)
class Question:
    """A claim, and where in the rows its score tables are found."""

    claim: Claim
    tables: Mapping[str, tuple[str, str, tuple[str, ...] | None]]
    """For each name in the claim: a plan's label, a row's name, and conditions (None: those that all tables of the
    question with None have in common)."""


@dataclass(frozen=True)
class Study:
    """One figure or table of the paper, or one of ours, that can be run."""

    name: str
    title: str
    source: str
    """Where the paper has it."""
    paper: str
    """What the paper reports, in a sentence."""
    plans: Callable[[Scale], tuple[Plan, ...]]
    questions: tuple[Question, ...]
    figures: tuple[str, ...]
    """Kinds of figures of the report: ``curves``, ``points``, ``profile``, ``raster``, ``values``."""


def plans_of(study: Study, scale: Scale) -> dict[str, Plan]:
    """The plans of a study by name."""
    return {plan.name: plan for plan in study.plans(scale)}


def change(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration with some settings changed, by dotted names; unknown or impossible ones are a ``UserError``."""
    start = for_agent(config, settings.get("agent", config.agent))
    tree = json.loads(json.dumps(dataclasses.asdict(start)))
    for name, value in settings.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.get(part)
            if not isinstance(branch, dict):
                raise UserError(f"settings name {name}: there is no section {part} in the configuration.")
        branch[last] = list(value) if isinstance(value, tuple) else value
    return from_dict(Config, tree)
