"""One contender's side of the race: train for as long as the starter says, then report.

Needs the standard library only, because each contender runs in its own environment.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

TICKS = os.sysconf("SC_CLK_TCK")


def open_reports() -> TextIO:
    """Standard output, kept for reports; whatever else is printed from now on goes to standard error."""
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return reports


def race(train: Callable[[], int], facts: dict[str, Any], reports: TextIO) -> None:
    """Obey the starter until it hangs up: a line with seconds comes in, a line of JSON goes out.

    ``train`` does one unit of training, waits for its end, and returns its number of frames.
    """
    print(json.dumps(facts), file=reports)
    for line in sys.stdin:
        print(json.dumps(run_for(float(line), train)), file=reports)


def run_for(seconds: float, train: Callable[[], int]) -> dict[str, float]:
    """Whole units of training until ``seconds`` have passed."""
    frames, begin, cpu = 0, time.perf_counter(), _cpu_seconds()
    while time.perf_counter() - begin < seconds:
        frames += train()
    passed = time.perf_counter() - begin
    return {"frames": frames, "seconds": passed, "cpu_seconds": _cpu_seconds() - cpu, "memory_mib": _memory_mib()}


def _processes() -> list[int]:
    return [os.getpid()] + [child.pid for child in multiprocessing.active_children() if child.pid]


def _cpu_seconds() -> float:
    """User and system time of this process and its living children."""
    total = 0
    for pid in _processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _memory_mib() -> float:
    """Resident memory of this process and its children; pages they share count once."""
    total = 0
    for pid in _processes():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
