"""Running a study: every plan is a job of its own, what is finished is not run again."""

import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from metarims.errors import unknown_name
from metarims.runs.signals import StopRequest
from metarims.studies.board import Board
from metarims.studies.jobs import Job
from metarims.studies.plans import Scale, Study, plans_of
from metarims.studies.results import take_up
from metarims.studies.study_folder import error_path, result_path
from metarims.studies.workers import Workers

POLL_SECONDS = 0.2


class Ended(NamedTuple):
    """How a call of ``run_study`` ended, by names of plans."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]
    """Neither, because a stop was asked for."""


def run_study(
    study: Study,
    scale: Scale,
    folder: Path,
    workers: Workers,
    console: Console,
    stop: StopRequest,
    only: Collection[str] = (),
) -> Ended:
    """Let the workers run what is not finished yet; what fails is listed, and the rest goes on.

    ``only``: the labels whose plans count in this call (none: all). A new folder may begin with the collected results
    of another: their plans are finished. Raises ``UserError``, before anything runs, for a label that no plan has and
    for a result that is damaged or was made otherwise than today (``take_up``).
    """
    plans = plans_of(study, scale)
    labels = list(dict.fromkeys(plan.label for plan in plans.values()))
    for label in only:
        if label not in labels:
            raise unknown_name("label", label, labels)
    take_up(folder, study, scale)
    plans = {name: plan for name, plan in plans.items() if not only or plan.label in only}
    waiting = [name for name in plans if not result_path(folder, name).exists()]
    already = len(plans) - len(waiting)
    number = f"{len(plans)} plan{'s' * (len(plans) != 1)}"
    console.print(f"{study.name} at scale {scale.name}: {number}, {already} of them finished before")
    running, failed, stopping = {}, [], False
    tries = dict.fromkeys(waiting, 0)
    at_once = min(workers.capacity, len(waiting))
    with Board(console, folder, [plans[name] for name in waiting], scale) as board:
        while running or (waiting and not stopping):
            while waiting and len(running) < at_once and not stop.requested:
                name = waiting.pop(0)
                tries[name] += 1
                error_path(folder, name).unlink(missing_ok=True)  # Of another attempt: what comes now has its own.
                running[name] = workers.start(Job(study.name, scale.name, name, str(folder.absolute())), at_once)
                board.begin(name)
            if stop.requested and not stopping:
                stopping = True
                for work in running.values():
                    work.stop()
            time.sleep(POLL_SECONDS)
            for name, work in list(running.items()):
                end = work.end()
                if end is None:
                    continue
                del running[name]
                if result_path(folder, name).exists():
                    board.end(name, "finished")
                elif stop.requested:
                    board.end(name, "stopped")
                elif end == "died" and tries[name] <= workers.retries:
                    board.end(name, "died", f"{work.why}; attempt {tries[name] + 1} goes on")
                    waiting.insert(0, name)
                else:
                    board.end(name, "failed", work.why or "it left no result")
                    failed.append(name)
            board.refresh()
    finished = tuple(name for name in plans if result_path(folder, name).exists())
    left = tuple(name for name in plans if name not in finished and name not in failed)
    return Ended(finished, tuple(failed), left)
