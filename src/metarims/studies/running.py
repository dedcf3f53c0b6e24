"""Running a study: every plan in a process and a folder of its own, what is finished is not run again.

DIR/study.json              which study, at which scale
DIR/runs/PLAN/1-TASK/       a run of ``metarims train`` for every stage
DIR/runs/PLAN/result.json   what was measured; written last, so its presence says that the plan is finished
DIR/runs/PLAN/episodes.html some of the first seed's episodes on the last task, to be looked at
DIR/runs/PLAN/error.txt     why it failed, until it succeeds
"""

import dataclasses
import json
import multiprocessing
import platform
import re
import subprocess
import sys
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
from rich.console import Console

from metarims.config import Config
from metarims.errors import UserError, one_line
from metarims.evaluation.recording import record_agents
from metarims.learning.trainer import Trainer, TrainState, make_trainer
from metarims.runs.export import SavedAgent
from metarims.runs.files import write_atomic
from metarims.runs.folder import load_agents
from metarims.runs.stopping import StopRequest
from metarims.runs.training import train
from metarims.studies.plans import Plan, Scale, Study, Trained
from metarims.views.episode_page import write_episode_page
from metarims.views.metrics import read_metrics

POLL_SECONDS = 0.2
EPISODES, NUM_SHOWN = "episodes.html", 4
"""The page of a plan's episodes, and how many of them it shows."""


class Ended(NamedTuple):
    """How a call of ``run_study`` ended, by names of plans."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]
    """Neither, because a stop was asked for."""


def plans_of(study: Study, scale: Scale) -> dict[str, Plan]:
    """The plans of a study by name."""
    return {plan.name: plan for plan in study.plans(scale)}


def run_study(study: Study, scale: Scale, folder: Path, num_workers: int, console: Console, stop: StopRequest) -> Ended:
    """Run what is not finished yet, ``num_workers`` plans at a time; what fails is listed, and the rest goes on."""
    claim_folder(folder, study, scale)
    plans = plans_of(study, scale)
    waiting = [name for name in plans if not result_path(folder, name).exists()]
    already = len(plans) - len(waiting)
    console.print(f"{study.name} at scale {scale.name}: {len(plans)} plans, {already} of them finished before")
    context, running, failed = multiprocessing.get_context("spawn"), {}, []
    while running or (waiting and not stop.requested):
        while waiting and len(running) < num_workers and not stop.requested:
            name = waiting.pop(0)
            process = context.Process(target=_work, args=(study.name, scale.name, name, str(folder)))
            process.start()
            running[name] = process, time.monotonic()
        if stop.requested:
            for process, _ in running.values():
                process.terminate()  # SIGTERM: each saves and ends.
        time.sleep(POLL_SECONDS)
        for name, (process, began) in list(running.items()):
            if not process.is_alive():
                process.join()
                del running[name]
                _tell(console, folder, name, process.exitcode or 0, time.monotonic() - began)
                if process.exitcode:
                    failed.append(name)
    finished = tuple(name for name in plans if result_path(folder, name).exists())
    left = tuple(name for name in plans if name not in finished and name not in failed)
    return Ended(finished, tuple(failed), left)


def run_plan(plan: Plan, scale: Scale, folder: Path, stop: StopRequest) -> dict[str, Any] | None:
    """Train every stage and measure; None where a stop came first. What was trained before is used again."""
    agents, metrics, configs, stopped = [], [], [], set()
    began = time.monotonic()
    for index, stage in enumerate(plan.stages):
        config, out = plan.config(index, scale), folder / f"{index + 1}-{file_name(stage.env)}"
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
    show_episodes(plan, agents[-1][0], folder / EPISODES)
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


def claim_folder(folder: Path, study: Study, scale: Scale) -> None:
    """Make the study's folder, or check that it is this study's at this scale."""
    path, about = folder / "study.json", {"study": study.name, "scale": scale.name}
    if path.exists():
        found = read_about(folder)
        if {name: found[name] for name in about} != about:
            raise UserError(
                f"{folder} holds the study {found['study']} at scale {found['scale']}, not {study.name} at scale "
                f"{scale.name}: name another folder with --out."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(about).encode())


def read_about(folder: Path) -> dict[str, str]:
    """Which study a folder holds, and at which scale."""
    path = folder / "study.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(about[name]) for name in ("study", "scale")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder} is no study's folder: there is no readable {path.name} in it.") from error


def result_path(folder: Path, name: str) -> Path:
    """Where a plan's result is, or will be."""
    return folder / "runs" / file_name(name) / "result.json"


def episodes_path(folder: Path, name: str) -> Path:
    """Where a plan's episodes can be looked at."""
    return result_path(folder, name).with_name(EPISODES)


def file_name(text: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.+=-]+", "-", text)


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


def _tell(console: Console, folder: Path, name: str, code: int, seconds: float) -> None:
    if result_path(folder, name).exists():
        console.print(f"finished  {name}  {seconds:,.0f} s", highlight=False)
    elif code:
        reason = "the process was killed" if code < 0 else "see error.txt in its folder"
        error = result_path(folder, name).with_name("error.txt")
        if error.exists():
            reason = one_line((error.read_text(errors="replace").strip().splitlines() or [reason])[-1])
        console.print(f"failed    {name}  {reason}", highlight=False, markup=False)
    else:
        console.print(f"stopped   {name}", highlight=False)


def _work(study_name: str, scale_name: str, plan_name: str, folder: str) -> None:
    """One plan, in a process of its own."""
    from metarims.runtime import enable_compile_cache, prevent_deadlock
    from metarims.studies.catalogue import scale, study

    prevent_deadlock()
    enable_compile_cache()
    size = scale(scale_name)
    plan, path = plans_of(study(study_name), size)[plan_name], result_path(Path(folder), plan_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    error = path.with_name("error.txt")
    with StopRequest() as stop:
        try:
            result = run_plan(plan, size, path.parent, stop)
        except BaseException as fault:
            text = str(fault) if isinstance(fault, UserError) else traceback.format_exc()
            write_atomic(error, text.encode())
            sys.exit(1)
        if result is not None:
            write_atomic(path, json.dumps(result).encode())
            error.unlink(missing_ok=True)
