"""What runs the jobs of a study: processes on this machine, or a Ray cluster."""

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol, runtime_checkable

import jax

from metarims.errors import UserError, one_line
from metarims.runs.files import describe_error
from metarims.runs.signals import signals_held, stop_workers
from metarims.runtime import share_cores, unusable_platform, usable_cores
from metarims.studies.jobs import Job, run_job

End = Literal["ended", "failed", "died"]
"""How a job ended: normally (also if stopped), with an error, or because its process was killed."""


@runtime_checkable
class Work(Protocol):
    """A running job."""

    why: str
    """Why it failed or died, once it has ended."""

    def end(self) -> End | None:
        """How it ended; None while running."""
        ...

    def stop(self) -> None:
        """Ask it to save and stop."""
        ...


@runtime_checkable
class Workers(Protocol):
    """Runs jobs; a context manager that stops them on exit."""

    capacity: int
    """Jobs at once."""
    retries: int
    """How often a job whose process died is started again."""

    def start(self, job: Job, at_once: int) -> Work:
        """Start a job; ``at_once``: the number of jobs that share the cores."""
        ...

    def __enter__(self) -> "Workers": ...
    def __exit__(self, *exception: object) -> None: ...


def count_workers() -> int:
    """The default number of processes that train at once: one per core, but one on an accelerator.

    A process of its own looks for the accelerator, as JAX takes most of its memory. ``UserError`` if JAX has no device.
    """
    if getattr(jax.config, "jax_platforms", None) == "cpu":
        return usable_cores()
    look = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    found = subprocess.run(look, capture_output=True, text=True, check=False)
    if found.returncode:
        raise unusable_platform(found.stderr.strip().split("\n")[-1].removeprefix("RuntimeError: "))
    return usable_cores() if found.stdout.split() == ["cpu"] else 1


class Processes:
    """A process of this machine for each job."""

    retries = 0

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._started: list[_Process] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *exception: object) -> None:
        stop_workers(work.process for work in self._started)

    def start(self, job: Job, at_once: int) -> Work:
        """A process with its share of the cores."""
        work = _Process(job, at_once)
        self._started.append(work)
        return work


class _Process:
    def __init__(self, job: Job, at_once: int):
        context = multiprocessing.get_context("spawn")
        self.why = ""
        self._receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(job, at_once, sender))
        with sender, signals_held():
            self.process.start()

    def end(self) -> End | None:
        if self.process.is_alive():
            return None
        self.process.join()
        code = self.process.exitcode or 0
        if not self._receiver.closed:
            self.why = self._last_words() or _fate(code)
        return "ended" if code == 0 else "failed" if code == 1 else "died"

    def stop(self) -> None:
        self.process.terminate()

    def _last_words(self) -> str:
        with self._receiver, contextlib.suppress(EOFError, OSError):
            return str(self._receiver.recv()) if self._receiver.poll() else ""
        return ""


def _run(job: Job, at_once: int, sender: Connection) -> None:
    share_cores(at_once)
    why = run_job(job)
    if why:
        sender.send(why)
    raise SystemExit(1 if why else 0)


def _fate(code: int) -> str:
    """Why a process ended without a report, from its exit code as of ``multiprocessing``."""
    if code >= 0:
        return f"its process ended with status {code}" if code else ""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was killed by {name}" + ", as when memory runs out" * (name == "SIGKILL")


class RayCluster:
    """A Ray task for each job, in a fresh process wherever the cluster has room.

    All machines must share the study's folder under the same path. A job whose process or machine dies is started again
    and resumes from its last checkpoint.
    """

    retries = 3

    def __init__(self, address: str, capacity: int, cpus: float, gpus: float):
        """``address``: of a running cluster ("auto": on this machine); empty: start one on this machine.
        ``capacity`` 0: Ray decides how many jobs run at once."""
        self.address, self.capacity = address, capacity or 10**6
        self._needs: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}

    def __enter__(self) -> "RayCluster":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # No telemetry.
        try:
            import ray
        except ImportError as error:
            raise UserError('--on ray needs Ray: pip install "metarims[ray]".') from error
        settings: dict[str, Any] = {"address": self.address} if self.address else {"include_dashboard": False}
        try:
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            where = f"No Ray cluster answers at {self.address}" if self.address else "Ray cannot be started here"
            raise UserError(f"{where}: {describe_error(error)}. Start one by: ray start --head") from error
        self._ray = ray
        room, lacking = ray.cluster_resources(), []
        for name, kind in (("cpus", "CPU"), ("gpus", "GPU")):
            asked = self._needs[f"num_{name}"]
            if asked > room.get(kind, 0):
                lacking.append(f"{name} is {asked:g}, and the whole cluster has {room.get(kind, 0):g}")
        if lacking:
            self.__exit__()
            raise UserError(f"{' and '.join(lacking)}: no plan could run. Ask for less.")
        # We restart jobs ourselves; a process ends after one job, which frees what JAX holds.
        self._task = ray.remote(**self._needs, max_retries=0, max_calls=1)(run_job)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ray.shutdown()

    def start(self, job: Job, at_once: int) -> Work:
        """A task; Ray assigns the cores."""
        return _RayTask(self._ray, self._task.options(name=job.plan).remote(job))


class _RayTask:
    def __init__(self, ray: Any, promise: Any):
        self._ray, self._promise, self.why = ray, promise, ""

    def end(self) -> End | None:
        if not self._ray.wait([self._promise], timeout=0)[0]:
            return None
        try:
            self.why = self._ray.get(self._promise) or ""
            return "failed" if self.why else "ended"
        except self._ray.exceptions.RayTaskError as error:  # Before our code ran; the last line says why.
            self.why = one_line((str(error).strip().splitlines() or ["its task failed"])[-1])
            return "failed"
        except self._ray.exceptions.RayError as error:
            self.why = one_line(describe_error(error))
            return "died"

    def stop(self) -> None:
        self._ray.cancel(self._promise)  # As Ctrl-C: it saves and stops; a queued job never starts.
