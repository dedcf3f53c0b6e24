"""What XLA is told, and memory that goes back to the system."""

import os
import platform
import subprocess
import sys

import pytest

from metarims.runtime import share_cores

PROGRAM = """
import sys
import numpy as np
from metarims.runtime import limit_malloc, release_memory

if "limit" in sys.argv:
    limit_malloc()


def mib():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon:")]
    return int(line.split()[1]) / 1024


def fill(size):
    return np.ones(size, np.uint8)


for _ in range(3):
    fill(8 * 2**20)  # After which glibc keeps blocks of this size to itself.
large, small = [], []
before = mib()
for _ in range(30):
    large.append(fill(4 * 2**20))
    small.append(fill(100_000))  # Larger than what is free between other things: it comes after the large one.
assert mib() - before > 100
large.clear()
kept = mib() - before
release_memory()
print(kept, mib() - before)
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other system has the habit")
def test_large_arrays_leave_nothing_behind():
    def run(*flags):
        done = subprocess.run([sys.executable, "-c", PROGRAM, *flags], capture_output=True, text=True, check=True)
        return [float(mib) for mib in done.stdout.split()]

    kept, after_release = run()
    assert kept > 50, "what the limit is for"
    assert after_release < 10
    assert run("limit")[0] < 10


@pytest.mark.parametrize(("processes", "threads"), [(1, "8"), (3, "2"), (8, "1"), (20, "1")])
def test_processes_share_the_cores(monkeypatch, processes, threads):
    monkeypatch.setenv("NPROC", "")
    monkeypatch.delenv("NPROC")
    monkeypatch.setattr("metarims.runtime.usable_cores", lambda: 8)
    share_cores(processes)
    assert os.environ["NPROC"] == threads


def test_whoever_says_how_many_threads_decides(monkeypatch):
    monkeypatch.setenv("NPROC", "5")
    share_cores(2)
    assert os.environ["NPROC"] == "5"


@pytest.mark.process
@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux lists a process's threads as files")
def test_xla_has_as_many_threads_as_it_is_told():
    program = "import jax, os; jax.numpy.ones(3).sum().block_until_ready(); print(len(os.listdir('/proc/self/task')))"

    def threads(number):
        env = os.environ | {"NPROC": number, "JAX_PLATFORMS": "cpu"}
        return int(subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True).stdout)

    assert threads("1") < threads("8")
