"""Jobs in separate processes: on this machine, or on a Ray cluster."""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax

from metarims.errors import UserError, one_line
from metarims.runs.files import describe_error
from metarims.runs.progress import JobTable
from metarims.runs.signals import StopRequest, signals_held, stop_workers
from metarims.runtime import share_cores, unusable_platform, usable_cores

POLL_SECONDS = 0.2
ANSWER_SECONDS = 4.0
"""How long a Ray cluster may take to answer."""

End = Literal["ended", "failed", "died"]
"""How a job ended: by itself (also after a stop), with an error, or because its process was killed."""


@runtime_checkable
class Job(Protocol):
    """A computation that any machine with the same files can do."""

    @property
    def name(self) -> str: ...

    def __call__(self) -> str | None:
        """Run, and stop early on SIGTERM (``StopRequest``); returns why it failed, or None."""
        ...


@runtime_checkable
class RunningJob(Protocol):
    """A job that was started."""

    why: str
    """Why it failed or died, after its end."""

    def end(self) -> End | None:
        """How it ended, or None."""
        ...

    def stop(self) -> None:
        """Request that it saves and ends."""
        ...


@runtime_checkable
class Workers(Protocol):
    """Starts jobs; a context that stops them at its end."""

    capacity: int
    """Number of jobs at the same time."""
    retries: int
    """How often a job whose process died is restarted."""

    def start(self, job: Any, at_once: int) -> RunningJob:
        """Start a job; ``at_once``: number of jobs at the same time, including this one."""
        ...

    def __enter__(self) -> "Workers": ...
    def __exit__(self, *exception: object) -> None: ...


AnyJob = TypeVar("AnyJob", bound=Job)


def run_jobs(
    jobs: Iterable[AnyJob],
    is_finished: Callable[[AnyJob], bool],
    workers: Workers,
    display: JobTable,
    stop: StopRequest,
) -> dict[str, str]:
    """Run jobs until all have ended or a stop is requested; returns why some failed, by name.

    ``is_finished``: whether a job that ended is complete.
    """
    waiting, running, failed, stopping = list(jobs), {}, {}, False
    tries = {job.name: 0 for job in waiting}
    at_once = min(workers.capacity, len(waiting))
    while running or (waiting and not stopping):
        while waiting and len(running) < at_once and not stop.requested:
            job = waiting.pop(0)
            tries[job.name] += 1
            running[job] = workers.start(job, at_once)
            display.start(job.name)
        if stop.requested and not stopping:
            stopping = True
            for work in running.values():
                work.stop()
        time.sleep(POLL_SECONDS)
        for job, work in list(running.items()):
            end = work.end()
            if end is None:
                continue
            del running[job]
            if is_finished(job):
                display.end(job.name, "finished")
            elif stop.requested:
                display.end(job.name, "stopped")
            elif end == "died" and tries[job.name] <= workers.retries:
                display.end(job.name, "died", f"{work.why}; starting attempt {tries[job.name] + 1}")
                waiting.insert(0, job)
            else:
                failed[job.name] = work.why or "it left no result"
                display.end(job.name, "failed", failed[job.name])
        display.refresh()
    return failed


def count_workers() -> int:
    """Default number of processes: one per core, or one on an accelerator.

    Another process looks for the accelerator, because JAX then reserves most of its memory. Raises ``UserError`` where
    JAX has no device.
    """
    if getattr(jax.config, "jax_platforms", None) == "cpu":
        return usable_cores()
    look = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    done = subprocess.run(look, capture_output=True, text=True, check=False)
    if done.returncode:
        raise unusable_platform(done.stderr.strip().split("\n")[-1].removeprefix("RuntimeError: "))
    return usable_cores() if done.stdout.split() == ["cpu"] else 1


class Processes:
    """One process of this machine per job."""

    retries = 0

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._started: list[_Process] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *exception: object) -> None:
        stop_workers(work.process for work in self._started)

    def start(self, job: Job, at_once: int) -> RunningJob:
        """Start a process with its share of the cores."""
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
            with self._receiver, contextlib.suppress(EOFError, OSError):
                self.why = str(self._receiver.recv()) if self._receiver.poll() else ""
            self.why = self.why or _describe_exit(code)
        return "ended" if code == 0 else "failed" if code == 1 else "died"

    def stop(self) -> None:
        self.process.terminate()


def _run(job: Job, at_once: int, sender: Connection) -> None:
    share_cores(at_once)
    why = job()
    if why:
        sender.send(why)
    raise SystemExit(1 if why else 0)


def _describe_exit(code: int) -> str:
    """Why a process ended without a message; ``code``: its exit code in ``multiprocessing``."""
    if code >= 0:
        return f"its process ended with status {code}" if code else ""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was killed by {name}" + ", as when memory runs out" * (name == "SIGKILL")


class RayCluster:
    """One Ray task per job, in a new process wherever the cluster has room.

    All machines must have the jobs' folders under the same path. A job whose process or machine dies is restarted and
    resumes from its last checkpoint.
    """

    retries = 3

    def __init__(self, address: str, capacity: int, cpus: float, gpus: float):
        """``address``: of a running cluster ("auto": on this machine); empty: start one on this machine for this
        context. ``capacity``: number of jobs at the same time; 0: as many as Ray admits."""
        self.address, self.capacity = address, capacity or 10**6
        self._needs: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}

    def __enter__(self) -> "RayCluster":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # No telemetry.
        try:
            import ray
        except ImportError as error:
            raise UserError('--on ray needs Ray: pip install "metarims[ray]".', field="on", value="ray") from error
        settings: dict[str, Any] = {"address": self.address or "local"}
        try:
            if self.address:
                check_answers(ray_address(self.address))
            else:
                settings["include_dashboard"] = False
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            where = f"No Ray cluster answers at {self.address}" if self.address else "Ray cannot be started here"
            why = f"{where}: {describe_error(error)}. Start one by: ray start --head"
            raise UserError(why, field="address", value=self.address) from error
        self._ray = ray
        room, lacking = ray.cluster_resources(), []
        for name, kind in (("cpus", "CPU"), ("gpus", "GPU")):
            asked = self._needs[f"num_{name}"]
            if asked > room.get(kind, 0):
                lacking.append(f"{name} is {asked:g}, and the whole cluster has {room.get(kind, 0):g}")
        if lacking:
            self.__exit__()
            raise UserError(f"{' and '.join(lacking)}, so no job could run. Ask for less.")
        # ``run_jobs`` retries; one job per process frees JAX's memory.
        self._task = ray.remote(**self._needs, max_retries=0, max_calls=1)(_call)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ray.shutdown()

    def start(self, job: Job, at_once: int) -> RunningJob:
        """Start a task; Ray assigns the cores."""
        return _RayTask(self._ray, self._task.options(name=job.name).remote(job))


def ray_address(address: str) -> str:
    """``HOST:PORT`` of the cluster that Ray would use. That of ``auto`` is in ``RAY_ADDRESS``, or Ray finds it."""
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        address = os.environ.get("RAY_ADDRESS") or canonicalize_bootstrap_address(address) or ""
    return address.removeprefix("ray://")


def check_answers(address: str) -> None:
    """Raise ``OSError`` unless a gRPC server, as Ray's are, answers at ``HOST:PORT``. Ray itself would wait for ten
    minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise OSError(f"{address} is not HOST:PORT")
    with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        with contextlib.suppress(TimeoutError, ConnectionError):
            if connection.recv(9)[3:4] == b"\x04":  # Both sides begin with their settings.
                return
    raise OSError("what listens there is not Ray")


def _call(job: Job) -> str | None:
    return job()


class _RayTask:
    def __init__(self, ray: Any, promise: Any):
        self._ray, self._promise, self.why = ray, promise, ""

    def end(self) -> End | None:
        if not self._ray.wait([self._promise], timeout=0)[0]:
            return None
        try:
            self.why = self._ray.get(self._promise) or ""
            return "failed" if self.why else "ended"
        except self._ray.exceptions.RayTaskError as error:  # Before the job started; the trace ends with the cause.
            self.why = one_line((str(error).strip().splitlines() or ["its task failed"])[-1])
            return "failed"
        except self._ray.exceptions.RayError as error:
            self.why = one_line(describe_error(error))
            return "died"

    def stop(self) -> None:
        self._ray.cancel(self._promise)  # Raises Ctrl-C in the job, which saves and ends.
