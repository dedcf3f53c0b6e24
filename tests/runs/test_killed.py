"""SIGKILL at random moments: the run that goes on is the run that was never killed, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PROGRAM = Path(__file__).with_name("fake.py")
CACHE = Path(__file__).parents[2] / ".cache" / "xla"
ENVIRONMENT = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def start(out, delay=0.0):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(out), str(delay)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )


def num_lines(out):
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after_progress(out, generator):
    """Start the run, let it write some lines, wait a little, and kill it; returns its exit status."""
    process = start(out)
    goal = num_lines(out) + generator.choice([1, 2, 4, 8, 12])
    pause = generator.uniform(0, 0.1)
    deadline = time.monotonic() + 120
    while process.poll() is None and num_lines(out) < goal and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(pause)
    process.kill()
    process.communicate()
    return process.returncode


def finish(out):
    process = start(out)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "finished=True" in text


def trial(out, snapshot, whole, seed, num_kills):
    generator = random.Random(seed)
    statuses = [kill_after_progress(out, generator) for _ in range(num_kills)]
    finish(out)
    assert snapshot(out) == whole, f"seed {seed}"
    return statuses.count(-signal.SIGKILL)


@pytest.fixture
def whole(tmp_path, train, snapshot):
    """What an uninterrupted run leaves, in another process than those that are killed."""
    train(tmp_path / "whole")
    return snapshot(tmp_path / "whole")


def test_killed_twice(tmp_path, snapshot, whole):
    assert trial(tmp_path / "run", snapshot, whole, seed=1, num_kills=2) >= 1


@pytest.mark.slow
def test_killed_many_times(tmp_path, snapshot, whole):
    killed = sum(trial(tmp_path / f"run-{seed}", snapshot, whole, seed, num_kills=3) for seed in range(20))
    assert killed >= 30


def test_sigterm_ends_with_exit_code_zero(tmp_path, snapshot, whole):
    process = start(tmp_path / "run", delay=0.1)
    deadline = time.monotonic() + 120
    while num_lines(tmp_path / "run") < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "finished=False" in text
    finish(tmp_path / "run")
    assert snapshot(tmp_path / "run") == whole


class Crash(BaseException):
    """Stands for the end of the process at a system call."""


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_at_any_system_call_of_a_save(tmp_path, train, snapshot, monkeypatch, short, call):
    """Every rename and flush of a short run in turn is the last thing that its process does."""
    train(tmp_path / "whole", config=short)
    whole = snapshot(tmp_path / "whole")
    crashes = 0
    for number in range(0, 200, 3 if call == "fsync" else 1):
        out = tmp_path / f"{call}-{number}"
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _crash_at(number, getattr(os, call)))
            try:
                train(out, config=short)
            except Crash:
                crashes += 1
            else:
                break
        train(out, config=short)
        assert snapshot(out) == whole, f"{call} number {number}"
    assert crashes >= 5


def _crash_at(number, real):
    calls = iter(range(10**9))

    def call(*arguments, **keywords):
        if next(calls) == number:
            raise Crash
        return real(*arguments, **keywords)

    return call
