"""A job: train and measure one plan of a study."""

import contextlib
import dataclasses
import json
import platform
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from metarims.errors import UserError, one_line
from metarims.evaluation.recording import record_agents
from metarims.runs import provenance
from metarims.runs.export import SavedAgent, named_arrays
from metarims.runs.files import write_atomic, writing
from metarims.runs.folder import load_agents
from metarims.runs.metrics_log import read_chunks, read_metrics
from metarims.runs.signals import StopRequest
from metarims.runs.training import train
from metarims.studies.measures import NUM_SHOWN
from metarims.studies.plans import Plan, Scale, Trained, plans_of
from metarims.studies.study_folder import episodes_path, error_path, result_path, stage_path
from metarims.views.episode_page import write_episode_page


class PlanJob(NamedTuple):
    """A plan by name, for any process of any machine that shares the folder."""

    study: str
    scale: str
    plan: str
    folder: str

    @property
    def name(self) -> str:
        return self.plan

    def __call__(self) -> str | None:
        return run_job(self)


def run_job(job: PlanJob) -> str | None:
    """Run a plan in this process and write its result; returns why it failed, or None (details: ``error.txt``)."""
    from metarims.runtime import enable_compile_cache, limit_malloc, prevent_deadlock
    from metarims.studies.catalogue import study
    from metarims.studies.scales import scale

    prevent_deadlock()
    limit_malloc()
    enable_compile_cache()
    folder = Path(job.folder)
    path, error_file = result_path(folder, job.plan), error_path(folder, job.plan)
    with StopRequest(worker=True) as stop:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            size = scale(job.scale)
            if size.brief:
                jax.config.update("jax_disable_most_optimizations", True)
            result = run_plan(plans_of(study(job.study), size)[job.plan], size, folder, stop)
            if result is not None:
                with writing("the result", path.parent):
                    write_atomic(path, json.dumps(result).encode())
        except BaseException as error:
            said = isinstance(error, UserError)
            with contextlib.suppress(OSError):
                write_atomic(error_file, (str(error) if said else traceback.format_exc()).encode())
            return str(error) if said else one_line(traceback.format_exception_only(error)[0].strip().split("\n")[0])
    return None


def run_plan(plan: Plan, scale: Scale, folder: Path, stop: StopRequest) -> dict[str, Any] | None:
    """Train every stage in the study's folder, and measure; None if stopped before. Finished training is reused."""
    commit = provenance.commit()  # Before the checkout may change.
    agents, metrics, configs, stopped = [], [], [], set()
    chunks = []
    for index, stage in enumerate(plan.stages):
        config, out = plan.config(index, scale), stage_path(folder, plan.name, index, stage.env)
        outcome = train(config, out, stop=stop, agents=agents[-1] if agents else None, progress=False)
        if not outcome.finished:
            return None
        stopped |= set(outcome.stopped)
        agents.append(load_agents(out))
        metrics.append(read_metrics(out))
        configs.append(config)
        chunks += read_chunks(out)
    began = time.monotonic()
    trained = Trained(plan.stages, tuple(agents), tuple(metrics))
    found = [measure(trained, scale) for measure in plan.measures]
    records = {name: record for part in found for name, record in part.records.items()}
    if "episodes" not in records:
        write_episodes(plan, agents[-1][0], episodes_path(folder, plan.name))
    trained_by = dict.fromkeys(chunk.get("commit", "unknown") for chunk in chunks)
    running = [(chunk["seconds"] - chunk["compile_seconds"], chunk["frames_per_second"]) for chunk in chunks]
    return {
        "label": plan.label,
        "plan": plan.name,
        "stages": [stage.env for stage in plan.stages],
        "rows": [row for part in found for row in part.rows],
        "records": records,
        "curves": [[_point(row) for row in rows] for rows in metrics],
        "stopped": sorted(stopped),
        "configs": [dataclasses.asdict(config) for config in configs],
        "measured": plan.measured(scale),
        "parameters": sum(leaf.size for leaf in named_arrays(agents[-1][0].agent).values()),
        "frames_per_second": sum(s * speed for s, speed in running) / max(sum(s for s, _ in running), 1e-9),
        "seconds": round(sum(chunk["seconds"] for chunk in chunks) + time.monotonic() - began, 1),
        "commit": commit,
        "trained_by": [name for name in trained_by if name],
        "versions": {name: version(name) for name in ("metarims", "jax", "numpy")}
        | {"python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_episodes(plan: Plan, saved: SavedAgent, path: Path) -> None:
    """Write a page with episodes of one agent, sampled policy, on the last task."""
    episodes = record_agents([saved], None, "jax", NUM_SHOWN, greedy=False)
    labels = [f"{plan.label}, seed {saved.seed}, sampled"] * len(episodes)
    write_episode_page(path, episodes, f"{plan.label} on {plan.stages[-1].env}", labels)


def _point(row: Any) -> dict[str, Any]:
    return {name: row.get(name) for name in ("seed", "env_steps", "success", "return")}
