"""Memory that goes back to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from metarims.runtime import release_memory, settle_memory

if "settle" in sys.argv:
    settle_memory()


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
    small.append(fill(1000))
assert mib() - before > 100
large.clear()
kept = mib() - before
release_memory()
print(kept, mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other system has the habit")
def test_large_arrays_leave_nothing_behind():
    def run(*flags):
        done = subprocess.run([sys.executable, "-c", PROGRAM, *flags], capture_output=True, text=True, check=True)
        return [float(mib) for mib in done.stdout.split()]

    kept, after_release = run()
    assert kept > 50, "what settling is for"
    assert after_release < 10
    assert run("settle")[0] < 10
