"""Running a study: each plan is a job, and finished plans are not run again."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from metarims.errors import unknown_name
from metarims.runs.progress import JobTable, RunTarget
from metarims.runs.signals import StopRequest
from metarims.runs.workers import Workers, run_jobs
from metarims.studies.durations import estimate
from metarims.studies.jobs import PlanJob
from metarims.studies.plans import Plan, Scale, Study, plans_of
from metarims.studies.results import prepare_folder, read_results
from metarims.studies.study_folder import error_path, result_path, stage_path


class Ended(NamedTuple):
    """The outcome of ``run_study``, by names of plans."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]
    """Not finished when a stop was requested."""


def run_study(
    study: Study,
    scale: Scale,
    folder: Path,
    workers: Workers,
    console: Console,
    stop: StopRequest,
    only: Collection[str] = (),
) -> Ended:
    """Run the plans that are not finished; failed ones are listed, and the others continue.

    ``only``: labels of the plans to run (none: all). Raises ``UserError`` before anything runs for an unknown label,
    and for a result that is damaged or was made with other settings or measures than today's (``prepare_folder``).
    """
    plans = plans_of(study, scale)
    labels = list(dict.fromkeys(plan.label for plan in plans.values()))
    for label in only:
        if label not in labels:
            raise unknown_name("label", label, labels)
    prepare_folder(folder, study, scale)
    plans = {name: plan for name, plan in plans.items() if not only or plan.label in only}
    waiting = [name for name in plans if not result_path(folder, name).exists()]
    number = f"{len(plans)} plan{'s' * (len(plans) != 1)}"
    console.print(f"{study.name} at scale {scale.name}: {number}, {len(plans) - len(waiting)} already finished")
    if waiting:
        found, left = read_results(folder).plans, [plans[name] for name in waiting]
        console.print(estimate(study, scale, left, found, workers.capacity), highlight=False)
    jobs = [PlanJob(study.name, scale.name, name, str(folder.absolute())) for name in waiting]
    runs = {name: _runs(plans[name], scale, folder) for name in waiting}
    labels = {name: plans[name].label for name in waiting}
    for name in waiting:
        error_path(folder, name).unlink(missing_ok=True)  # Of an earlier attempt; a process that is killed writes none.
    with JobTable(console, "plan", runs, labels) as table:
        failed = run_jobs(jobs, lambda job: result_path(folder, job.plan).exists(), workers, table, stop)
    finished = tuple(name for name in plans if result_path(folder, name).exists())
    left = tuple(name for name in plans if name not in finished and name not in failed)
    return Ended(finished, tuple(failed), left)


def _runs(plan: Plan, scale: Scale, folder: Path) -> list[RunTarget]:
    return [
        RunTarget(stage_path(folder, plan.name, index, stage.env), stage.env, plan.config(index, scale).frames)
        for index, stage in enumerate(plan.stages)
    ]
