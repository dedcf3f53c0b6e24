"""Spoiled input by the hundred thousand: ``python -m tests.fuzz.run`` (``make fuzz``).

Each input works or is refused in one sentence, within seconds, and no file is lost or overwritten; what breaks this
rule is listed with its number, which alone makes it anew (``--door agents --first 1234 --inputs 1``).
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from metarims.runtime import prevent_deadlock

prevent_deadlock()

from tests.fuzz.doors import DOORS  # noqa: E402
from tests.fuzz.trying import try_door  # noqa: E402

SHOWN = 10
"""Broken inputs listed per door."""


def main() -> int:
    """Try the doors; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    whole = sum(door.share for door in DOORS)
    parser.add_argument("--inputs", type=int, default=whole, help="inputs in all, shared out over the doors")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    parser.add_argument("--door", choices=[door.name for door in DOORS], help="this door alone")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    asked = parser.parse_args()
    doors = [door for door in DOORS if asked.door in (None, door.name)]
    total = sum(door.share for door in doors)
    broken, tried, began = [], 0, time.perf_counter()
    print(f"{'door':20}{'inputs':>9}{'accepted':>10}{'refused':>9}{'broken':>8}{'slowest':>10}{'seconds':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for door in doors:
            start = time.perf_counter()
            share = max(1, asked.inputs * door.share // total)
            found = try_door(door, Path(folder) / door.name, asked.seed, range(asked.first, asked.first + share))
            seconds = time.perf_counter() - start
            print(
                f"{door.name:20}{found.inputs:>9,}{found.accepted:>10,}{found.refused:>9,}{len(found.broken):>8,}"
                f"{found.slowest:>8.2f} s{seconds:>9.0f}",
                flush=True,
            )
            print("".join(f"    {line}\n" for line in found.broken[:SHOWN]), end="", flush=True)
            broken += found.broken
            tried += found.inputs
    print(f"{tried:,} inputs (seed {asked.seed}), {len(broken)} broken, {time.perf_counter() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
