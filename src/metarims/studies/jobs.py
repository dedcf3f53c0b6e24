"""One plan of a study, from its first stage's training to what is measured."""

import dataclasses
import json
import platform
import subprocess
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metarims.config import Config
from metarims.errors import UserError
from metarims.evaluation.recording import record_agents
from metarims.learning.trainer import Trainer, TrainState, make_trainer
from metarims.runs.export import SavedAgent
from metarims.runs.files import write_atomic
from metarims.runs.folder import load_agents
from metarims.runs.stopping import StopRequest
from metarims.runs.training import train
from metarims.studies.folder import episodes_path, error_path, result_path, stage_path
from metarims.studies.plans import Plan, Scale, Trained, plans_of
from metarims.views.episode_page import write_episode_page
from metarims.views.metrics import read_metrics

NUM_SHOWN = 4
"""Episodes on a plan's page."""


class Job(NamedTuple):
    """A plan to be run, by names, so that any process of any machine that shares the folder can take it."""

    study: str
    scale: str
    plan: str
    folder: str


def run_job(job: Job) -> bool:
    """Run a plan in this process; False where it failed, with the reason beside its result's place."""
    from metarims.runtime import enable_compile_cache, prevent_deadlock
    from metarims.studies.catalogue import scale, study

    prevent_deadlock()
    enable_compile_cache()
    size, folder = scale(job.scale), Path(job.folder)
    plan = plans_of(study(job.study), size)[job.plan]
    path, error = result_path(folder, plan.name), error_path(folder, plan.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with StopRequest(worker=True) as stop:
        try:
            result = run_plan(plan, size, folder, stop)
        except BaseException as fault:
            text = str(fault) if isinstance(fault, UserError) else traceback.format_exc()
            write_atomic(error, text.encode())
            return False
        if result is not None:
            write_atomic(path, json.dumps(result).encode())
            error.unlink(missing_ok=True)
    return True


def run_plan(plan: Plan, scale: Scale, folder: Path, stop: StopRequest) -> dict[str, Any] | None:
    """Train every stage in the study's folder, and measure; None where a stop came first.

    What was trained before is used again.
    """
    agents, metrics, configs, stopped = [], [], [], set()
    began = time.monotonic()
    for index, stage in enumerate(plan.stages):
        config, out = plan.config(index, scale), stage_path(folder, plan.name, index, stage.env)
        begin = partial(Continued, agents=agents[-1]) if agents else make_trainer
        outcome = train(config, out, make_trainer=begin, stop=stop)
        if not outcome.finished:
            return None
        stopped |= set(outcome.stopped)
        agents.append(load_agents(out))
        metrics.append(read_metrics(out))
        configs.append(config)
    trained = Trained(plan.stages, tuple(agents), tuple(metrics))
    found = [measure(trained, scale) for measure in plan.measures]
    show_episodes(plan, agents[-1][0], episodes_path(folder, plan.name))
    return {
        "label": plan.label,
        "plan": plan.name,
        "stages": [stage.env for stage in plan.stages],
        "rows": [row for part in found for row in part.rows],
        "records": {name: record for part in found for name, record in part.records.items()},
        "curves": [[_point(row) for row in rows] for rows in metrics],
        "stopped": sorted(stopped),
        "configs": [dataclasses.asdict(config) for config in configs],
        "seconds": round(time.monotonic() - began, 1),
        **made_by(),
    }


def show_episodes(plan: Plan, saved: SavedAgent, path: Path) -> None:
    """Write a page with episodes of one agent, sampled policy, on the task that it learned last."""
    episodes = record_agents([saved], None, "jax", NUM_SHOWN, greedy=False)
    labels = [f"{plan.label}, seed {saved.seed}, sampled"] * len(episodes)
    write_episode_page(path, episodes, f"{plan.label} on {plan.stages[-1].env}", labels)


class Continued(Trainer):
    """A trainer whose agents begin with the weights of others, seed by seed; all else is fresh."""

    def __init__(self, config: Config, agents: Sequence[SavedAgent]):
        super().__init__(config)
        self._agents = agents

    def init(self) -> TrainState:
        weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(saved.agent for saved in self._agents))
        return super().init()._replace(agent=weights)


def made_by() -> dict[str, Any]:
    """Commit, command, versions and time."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        commit = ""
    return {
        "commit": commit,
        "versions": {name: version(name) for name in ("metarims", "jax", "numpy")}
        | {"python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _point(row: Any) -> dict[str, Any]:
    return {name: row.get(name) for name in ("seed", "env_steps", "success", "return")}
