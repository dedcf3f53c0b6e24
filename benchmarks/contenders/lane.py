"""One contender's side of a race: train for as long as the starter says, then report.

Needs the standard library only, because each contender runs in its own environment.
"""

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

TICKS = os.sysconf("SC_CLK_TCK")
WINDOW = 100
"""Success is that of the newest units of training with at least so many ended episodes."""


class Unit(NamedTuple):
    """What one unit of training did; where success is of no concern, the frames alone."""

    frames: int
    """Of each seed."""
    episodes: tuple[int, ...] = ()
    """Ended ones of each seed."""
    successes: tuple[int, ...] = ()


def open_reports() -> TextIO:
    """Standard output, kept for reports; whatever else is printed from now on goes to standard error."""
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return reports


def race(train: Callable[[], Unit], describe: Callable[[], dict[str, Any]], reports: TextIO) -> None:
    """Train one unit, tell the facts, and obey the starter until it hangs up: a line comes in, a line of JSON goes out.

    A line is a number of seconds to train for, or ``until SUCCESS SECONDS``: until every seed has been that successful,
    for at most so many seconds. ``train`` does one unit of training and waits for its end.
    """
    begin = time.perf_counter()
    units = [train()]
    first = {"first_update_s": time.perf_counter() - begin}
    first["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(first | describe()), file=reports)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "until":
            report = train_until(float(words[1]), float(words[2]), units, train)
        else:
            report = run_for(float(words[0]), train)
        print(json.dumps(report), file=reports)


def run_for(seconds: float, train: Callable[[], Unit]) -> dict[str, float]:
    """Whole units of training until ``seconds`` have passed."""
    frames, begin, cpu = 0, time.perf_counter(), _cpu_seconds()
    while time.perf_counter() - begin < seconds:
        frames += train().frames
    passed = time.perf_counter() - begin
    return {"frames": frames, "seconds": passed, "cpu_seconds": _cpu_seconds() - cpu, "memory_mib": _memory_mib()}


def train_until(success: float, seconds: float, units: list[Unit], train: Callable[[], Unit]) -> dict[str, Any]:
    """Frames and episodes of each seed when it first was that successful; None for one that was not in time."""
    begin = time.perf_counter()
    num_seeds = len(units[0].episodes)
    reached: list[dict[str, int] | None] = [None] * num_seeds
    while True:
        for seed in range(num_seeds):
            if reached[seed] is None and recent_success(units, seed) >= success:
                reached[seed] = {
                    "frames": sum(unit.frames for unit in units),
                    "episodes": sum(unit.episodes[seed] for unit in units),
                }
        if all(reached) or time.perf_counter() - begin > seconds:
            return {"reached": reached, "frames": sum(unit.frames for unit in units)}
        units.append(train())


def recent_success(units: list[Unit], seed: int) -> float:
    """Of the newest units that together hold ``WINDOW`` episodes of the seed; 0 while there are fewer."""
    episodes = successes = 0
    for unit in reversed(units):
        episodes += unit.episodes[seed]
        successes += unit.successes[seed]
        if episodes >= WINDOW:
            return successes / episodes
    return 0.0


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
