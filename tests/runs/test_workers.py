import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from tests.runs.jobs import FakeJob

from metarims.errors import UserError
from metarims.runs import workers
from metarims.runs.progress import JobTable
from metarims.runs.signals import StopRequest
from metarims.runs.workers import Processes, _RayTask, check_answers, count_workers, ray_address, run_jobs  # pyright: ignore[reportPrivateUsage]
from metarims.runtime import usable_cores


class _Ended:
    """A job in this process, which has ended at once."""

    why = "why"

    def __init__(self, end):
        self.how = end

    def end(self):
        return self.how

    def stop(self):
        pass


class HereAtOnce:
    """Workers whose jobs end as they are told."""

    capacity, retries = 1, 2

    def __init__(self, *ends):
        self.ends, self.started = list(ends), []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def start(self, job, at_once):
        self.started.append(job.name)
        return _Ended(self.ends.pop(0))


def run(pool, *names, finished=(), stop=None):
    """What ``run_jobs`` returns, and what was printed."""
    console = Console(file=io.StringIO(), width=120)
    jobs = [FakeJob(name) for name in names]
    table = JobTable(console, "job", dict.fromkeys(names, ()))
    failed = run_jobs(jobs, lambda job: job.name in finished, pool, table, stop or StopRequest())
    return failed, console.file.getvalue().splitlines()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.01)


def test_jobs_that_fail_do_not_keep_others_from_running():
    pool = HereAtOnce("failed", "ended")
    failed, lines = run(pool, "a", "b", finished=("b",))
    assert failed == {"a": "why"}
    assert [line.split()[:2] for line in lines] == [
        ["failed", "a"],
        ["finished", "b"],
    ]


def test_a_job_that_died_is_started_again_before_others():
    pool = HereAtOnce("died", "died", "died", "ended")
    failed, _ = run(pool, "a", "b", finished=("b",))
    assert pool.started == ["a", "a", "a", "b"]
    assert failed == {"a": "why"}


def test_nothing_starts_after_a_stop():
    stop = StopRequest()
    stop.requested = True
    pool = HereAtOnce()
    assert run(pool, "a", stop=stop) == ({}, [])
    assert pool.started == []


@pytest.mark.process
def test_a_process_says_how_it_ended():
    with Processes(4) as processes:
        ended = {name: processes.start(FakeJob(name), 1) for name in ("done", "fails", "dies", "waits")}
        for name in ("done", "fails", "dies"):
            ended[name].process.join(timeout=60)
        assert ended["waits"].end() is None
    found = {name: (job.end(), job.why) for name, job in ended.items()}
    killed = "its process was killed by SIGKILL, as when memory runs out"
    assert found == {
        "done": ("ended", ""),
        "fails": ("failed", "It has no heart."),
        "dies": ("died", killed),
        "waits": ("ended", ""),  # Leaving the context stops it.
    }
    assert ended["dies"].end() == "died", "it can be asked again"


class _RayError(Exception):
    pass


class _RayTaskError(_RayError):
    pass


@pytest.fixture
def listener():
    """A server that accepts connections, with the answer that it gives to each."""
    answers, ended = [], threading.Event()

    def serve():
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(answers[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", answers
        ended.set()
        thread.join()


SETTINGS = bytes(3) + b"\x04" + bytes(5)
"""A frame of HTTP/2, as gRPC's servers send it first."""


def test_a_ray_address_that_does_not_answer_is_known_at_once(listener, monkeypatch):
    monkeypatch.setattr(workers, "ANSWER_SECONDS", 0.3)
    address, answers = listener
    for answer in (b"HTTP/1.1 400 Bad Request\r\n", b""):
        answers[:] = [answer]
        with pytest.raises(OSError, match="not Ray"):
            check_answers(address)
    answers[:] = [SETTINGS]
    check_answers(address)
    for dead in ("127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1", "127.0.0.1:port", ""):
        with pytest.raises(OSError, match=r"."):
            check_answers(dead)


def test_which_address_ray_would_use(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert [ray_address(asked) for asked in ("auto", "ray://a:2", "a:2")] == ["127.0.0.1:1", "a:2", "a:2"]


@pytest.mark.process
@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_a_dead_ray_cluster_is_a_sentence(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(UserError, match=f"No Ray cluster answers at {address}: connection refused"):
        workers.RayCluster(address, 1, 1.0, 0.0).__enter__()
    assert time.monotonic() - start < 30, "most of it Ray's import"


@pytest.mark.parametrize(
    ("outcome", "end", "why"),
    [
        (None, "ended", ""),
        ("Its task is unknown.", "failed", "Its task is unknown."),
        (_RayTaskError("ray::call() (pid=1)\n  File x\nImportError: no module"), "failed", "ImportError: no module"),
        (_RayError("The node died.\nSee the log."), "died", "The node died"),
    ],
)
def test_ray_says_how_a_task_ended(outcome, end, why) -> None:
    def get(promise):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    errors = SimpleNamespace(RayTaskError=_RayTaskError, RayError=_RayError)
    ray = SimpleNamespace(wait=lambda promises, timeout: (promises, []), get=get, exceptions=errors)
    work = _RayTask(ray, None)
    assert (work.end(), work.why) == (end, why)


@pytest.fixture
def found(monkeypatch):
    """``found(stdout, stderr)``: what the process that looks for an accelerator prints, an error where it fails."""

    def pretend(stdout, stderr=""):
        done = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=int(bool(stderr)))
        monkeypatch.setattr(workers, "jax", SimpleNamespace(config=SimpleNamespace(jax_platforms=None)))
        monkeypatch.setattr(workers.subprocess, "run", lambda *_, **__: done)

    return pretend


@pytest.mark.parametrize(("platform", "number"), [("cpu\n", usable_cores()), ("gpu\n", 1), ("tpu\n", 1)])
def test_an_accelerator_serves_one_process(found, platform, number):
    found(platform)
    assert count_workers() == number


def test_no_device_at_all_is_a_user_error(found, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found("", "Traceback ...\nRuntimeError: no such device.\n")
    with pytest.raises(UserError, match="no such device"):
        count_workers()


@pytest.mark.process
def test_looking_for_an_accelerator_takes_none_of_its_memory():
    program = """
from metarims.runs.workers import count_workers
from jax._src import xla_bridge
print(count_workers() > 0, xla_bridge.backends_are_initialized())
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
