"""Running a study: each plan is a job, and finished plans are not run again."""

import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from metarims.errors import unknown_name
from metarims.runs.signals import StopRequest
from metarims.studies.jobs import Job
from metarims.studies.plans import Scale, Study, plans_of
from metarims.studies.progress_table import ProgressTable
from metarims.studies.results import prepare_folder
from metarims.studies.study_folder import error_path, result_path
from metarims.studies.workers import Workers

POLL_SECONDS = 0.2


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
    running, failed, stop_sent = {}, [], False
    tries = dict.fromkeys(waiting, 0)
    at_once = min(workers.capacity, len(waiting))
    with ProgressTable(console, folder, [plans[name] for name in waiting], scale) as table:
        while running or (waiting and not stop_sent):
            while waiting and len(running) < at_once and not stop.requested:
                name = waiting.pop(0)
                tries[name] += 1
                error_path(folder, name).unlink(missing_ok=True)  # Of an earlier attempt.
                running[name] = workers.start(Job(study.name, scale.name, name, str(folder.absolute())), at_once)
                table.begin(name)
            if stop.requested and not stop_sent:
                stop_sent = True
                for work in running.values():
                    work.stop()
            time.sleep(POLL_SECONDS)
            for name, work in list(running.items()):
                end = work.end()
                if end is None:
                    continue
                del running[name]
                if result_path(folder, name).exists():
                    table.end(name, "finished")
                elif stop.requested:
                    table.end(name, "stopped")
                elif end == "died" and tries[name] <= workers.retries:
                    table.end(name, "died", f"{work.why}; starting attempt {tries[name] + 1}")
                    waiting.insert(0, name)
                else:
                    table.end(name, "failed", work.why or "it left no result")
                    failed.append(name)
            table.refresh()
    finished = tuple(name for name in plans if result_path(folder, name).exists())
    left = tuple(name for name in plans if name not in finished and name not in failed)
    return Ended(finished, tuple(failed), left)
