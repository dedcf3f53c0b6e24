"""A study on a Ray cluster: two nodes, one worker killed, and the same results as without Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from metarims import cli
from metarims.errors import UserError
from metarims.runtime import usable_cores
from metarims.studies import workers as workers_module
from metarims.studies.catalogue import STUDIES
from metarims.studies.jobs import Job
from metarims.studies.plans import plans_of
from metarims.studies.scales import scale
from metarims.studies.study_folder import result_path
from metarims.studies.workers import Processes, _Process, _RayTask

pytestmark = pytest.mark.process

STUDY = "fig8"


def measured(folder: Path) -> dict[str, object]:
    """What every plan measured, by name."""
    names = plans_of(STUDIES[STUDY], scale("smoke"))
    return {name: json.loads(result_path(folder, name).read_text())["rows"] for name in names}


def workers() -> list[int]:
    """Processes that run a plan for Ray: they are called by its name."""
    names = tuple(f"ray::{name}".encode() for name in plans_of(STUDIES[STUDY], scale("smoke")))
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in processes if title(entry).startswith(names)]


def title(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # It has ended.
        return b""


def command(folder: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "metarims.cli",
        "study",
        "run",
        STUDY,
        "--scale",
        "smoke",
        "--out",
        str(folder),
        *more,
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="workers are found in /proc")
@pytest.mark.filterwarnings("default")
def test_two_nodes_of_ray_finish_a_study_though_a_worker_is_killed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        onward = command(tmp_path / "ray", "--on", "ray", "--address", cluster.address)
        with subprocess.Popen(onward, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
            deadline = time.monotonic() + 300
            while not list((tmp_path / "ray").rglob("metrics.jsonl")) and time.monotonic() < deadline:
                time.sleep(0.2)
                assert driver.poll() is None
            os.kill(workers()[0], signal.SIGKILL)
            said, _ = driver.communicate(timeout=600)
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, said
    assert "; starting attempt 2" in said
    subprocess.run(command(tmp_path / "alone"), check=True, timeout=600)
    assert measured(tmp_path / "ray") == measured(tmp_path / "alone")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--address", "auto"), "address is 'auto', which only --on ray knows"),
        (("--gpus", "0.5"), "gpus is 0.5, which only --on ray knows"),
        (("--on", "ray", "--cpus", "-1"), "cpus is -1.0: it must be zero or more"),
        (("--workers", "-1"), "workers is -1: it must be 1 or more"),
    ],
)
def test_what_workers_cannot_be_is_said_in_a_sentence(flags, sentence, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["study", "run", STUDY, "--scale", "smoke", "--out", str(tmp_path / "study"), *flags])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def wait(work: _Process) -> str | None:
    work.process.join(timeout=300)
    return work.end()


def test_nobody_trains_on_for_a_parent_that_fails(tmp_path) -> None:
    (plan,) = plans_of(STUDIES["fig9"], scale("smoke"))
    with Processes(1) as processes:
        work = processes.start(Job("fig9", "smoke", plan, str(tmp_path)), 1)
        assert work.end() is None
    try:
        assert work.end() == "ended"
        assert not result_path(tmp_path, plan).exists()
    finally:
        work.process.kill()


def test_a_process_says_why_it_failed_or_died(tmp_path) -> None:
    with Processes(2) as processes:
        failed = processes.start(Job("no such study", "smoke", "plan", str(tmp_path)), 1)
        died = processes.start(Job("fig9", "smoke", "plan", str(tmp_path)), 1)
        died.process.kill()
        assert wait(failed) == "failed"
        assert failed.why.startswith("Unknown study 'no such study'")
        assert wait(died) == "died"
        assert died.why == "its process was killed by SIGKILL, as when memory runs out"
        assert died.end() == "died", "it can be asked again"


class _RayError(Exception):
    pass


class _RayTaskError(_RayError):
    pass


@pytest.mark.parametrize(
    ("outcome", "end", "why"),
    [
        (None, "ended", ""),
        ("Its task is unknown.", "failed", "Its task is unknown."),
        (
            _RayTaskError("ray::run_job() (pid=1)\n  File x\nImportError: no metarims"),
            "failed",
            "ImportError: no metarims",
        ),
        (_RayError("The node died.\nSee the log."), "died", "The node died"),
    ],
)
def test_ray_says_why_a_task_failed_or_died(outcome, end, why) -> None:
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
    """``found(stdout, stderr)``: what the process that looks for an accelerator says, an error where it fails."""

    def pretend(stdout, stderr=""):
        done = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=int(bool(stderr)))
        monkeypatch.setattr(workers_module, "jax", SimpleNamespace(config=SimpleNamespace(jax_platforms=None)))
        monkeypatch.setattr(workers_module.subprocess, "run", lambda *_, **__: done)

    return pretend


@pytest.mark.parametrize(("platform", "number"), [("cpu\n", usable_cores()), ("gpu\n", 1), ("tpu\n", 1)])
def test_an_accelerator_serves_one_process(found, platform, number):
    found(platform)
    assert workers_module.count_workers() == number


def test_no_device_at_all_is_a_sentence(found, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found("", "Traceback ...\nRuntimeError: no such device.\n")
    with pytest.raises(UserError, match="no such device"):
        workers_module.count_workers()


def test_looking_for_an_accelerator_takes_none_of_its_memory():
    program = """
from metarims.studies.workers import count_workers
from jax._src import xla_bridge
print(count_workers() > 0, xla_bridge.backends_are_initialized())
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
