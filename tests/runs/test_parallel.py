import dataclasses
import io
import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from metarims.errors import UserError
from metarims.presets import PRESETS
from metarims.runs import parallel
from metarims.runs.parallel import train_all
from metarims.runs.signals import StopRequest
from metarims.runtime import usable_cores


def jobs(folder, *envs):
    debug = PRESETS["debug"]
    return [(dataclasses.replace(debug, env=env, agent="vanilla"), folder / str(i)) for i, env in enumerate(envs)]


def test_what_a_worker_finds_wrong_is_said_here(tmp_path):
    console = Console(file=io.StringIO())
    with StopRequest() as stop, pytest.raises(UserError, match="Unknown environment 'nowhere'"):
        train_all(jobs(tmp_path, "nowhere"), 1, console, stop)
    assert not (tmp_path / "0/metrics.jsonl").exists()


def test_nothing_starts_after_a_stop(tmp_path):
    console = Console(file=io.StringIO())
    with StopRequest() as stop:
        stop.requested = True
        finished = train_all(jobs(tmp_path, "nowhere", "nowhere"), 2, console, stop)
    assert finished == {tmp_path / "0": False, tmp_path / "1": False}


class Gone(io.StringIO):
    """Nobody reads what is printed."""

    def write(self, text):
        raise OSError("the reader has left")


def test_nobody_trains_on_for_a_parent_that_fails(tmp_path):
    try:
        with StopRequest() as stop, pytest.raises(OSError, match="the reader has left"):
            train_all(jobs(tmp_path, "BabyAI-GoToObj-v0"), 1, Console(file=Gone()), stop)
        assert multiprocessing.active_children() == []
    finally:
        for worker in multiprocessing.active_children():
            worker.kill()


@pytest.fixture
def found(monkeypatch):
    """``found(stdout, stderr)``: what the process that looks for an accelerator says, an error where it fails."""

    def pretend(stdout, stderr=""):
        done = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=int(bool(stderr)))
        monkeypatch.setattr(parallel, "jax", SimpleNamespace(config=SimpleNamespace(jax_platforms=None)))
        monkeypatch.setattr(parallel.subprocess, "run", lambda *_, **__: done)

    return pretend


@pytest.mark.parametrize(("platform", "number"), [("cpu\n", usable_cores()), ("gpu\n", 1), ("tpu\n", 1)])
def test_an_accelerator_serves_one_process(found, platform, number):
    found(platform)
    assert parallel.count_workers() == number


def test_no_device_at_all_is_a_sentence(found, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    found("", "Traceback ...\nRuntimeError: no such device.\n")
    with pytest.raises(UserError, match=r"JAX cannot compute there: no such device\. Unset it"):
        parallel.count_workers()


def test_looking_for_an_accelerator_takes_none_of_its_memory():
    program = """
from metarims.runs.parallel import count_workers
from jax._src import xla_bridge
print(count_workers() > 0, xla_bridge.backends_are_initialized())
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
