"""How long the first start waits for compilation, and later ones: cold, and from the cache on disk.

    python benchmarks/compiling.py                 # writes scores/compiling.json and prints the table

Each start is a process of its own that trains one chunk at the defaults. "Compiles" is what JAX took to trace and
compile, as ``speed.jsonl`` has it; the whole command includes Python, imports, the chunk, a checkpoint and the export.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro
from machine import describe_machine

SCORES = Path(__file__).parent / "scores/compiling.json"
TASKS = ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0")
AGENTS = ("vanilla", "modular", "metarims")


def start(agent: str, task: str, cache: Path, out: Path) -> dict[str, float]:
    """Train one chunk."""
    words = ["train", "--agent", agent, "--env", task, "--frames", "640", "--record-every", "640", "--out", str(out)]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "metarims.cli", *words],
        env=os.environ | {"METARIMS_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    whole = time.perf_counter() - began
    first = json.loads((out / "speed.jsonl").read_text().splitlines()[0])
    return {"compile_seconds": first["compile_seconds"], "whole_seconds": whole}


def measure(rounds: int) -> list[dict[str, Any]]:
    """Every agent on every task, cold and cached."""
    rows = []
    for task in TASKS:
        for agent in AGENTS:
            for turn in range(rounds):
                with tempfile.TemporaryDirectory() as place:
                    for kind in ("cold", "cached"):
                        found = start(agent, task, Path(place) / "cache", Path(place) / kind)
                        rows.append({"task": task, "agent": agent, "start": kind, "round": turn} | found)
                        print(rows[-1], flush=True)
    return rows


def main(rounds: int = 2) -> None:
    """Measure and show; ``rounds``: starts of each kind, of which the table has the longest."""
    about = {"machine": describe_machine(), "command": " ".join(["python", *sys.argv])}
    rows = measure(rounds)
    SCORES.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    print("\n| task | agent | compiles, cold | cached | whole command, cold | cached |\n" + "|---" * 6 + "|")
    for task in TASKS:
        for agent in AGENTS:
            cells = [
                max(row[what] for row in rows if (row["task"], row["agent"], row["start"]) == (task, agent, kind))
                for what in ("compile_seconds", "whole_seconds")
                for kind in ("cold", "cached")
            ]
            print(f"| {task} | {agent} | " + " | ".join(f"{seconds:.1f} s" for seconds in cells) + " |")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
