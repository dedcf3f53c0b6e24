"""Speed of the world: environment steps per CPU-second, ours and the others' that have the same tasks.

    make bench-world        # or: python benchmarks/world.py --peers PYTHON

``PYTHON`` is an interpreter with EnvPool, navix and xminigrid. Every cell of the tables is a process of its own on one
core (``benchmarks/worlds.py``). Symbolic: the 7x7x3 observation (for ours its tile codes, which hold the same; the
three channels are a look-up). RGB: 56x56x3 pixels. A contender that is missing, fails or takes too long is a note.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from machine import describe_machine

HERE = Path(__file__).resolve().parent
TASKS = (
    "BabyAI-GoToLocal-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "BabyAI-UnlockPickup-v0",
    "BabyAI-GoTo-v0",
    "BabyAI-BossLevel-v0",
    "MiniGrid-KeyCorridorS6R3-v0",
    "MiniGrid-ObstructedMaze-Full-v0",
)
HAS = {"EnvPool": TASKS, "navix": TASKS[1:4:2], "xminigrid": TASKS[1:2]}
"""Who has which task."""
SPEC_BYTES = dict(zip(TASKS[:4], (92, 92, 724, 92), strict=True))
"""Bytes per environment of a packed world, where nothing is drawn but a grid and targets: cells of one byte, a bit for
each target, 20 bytes for the rest."""
RESETS = (64, 20, 5)
"""Time limits for the cost of resets."""


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    sizes: tuple[int, ...] = (16, 256, 1024, 4096, 65536)
    """Numbers of environments."""
    tasks: tuple[str, ...] = TASKS
    """Farama ids."""
    kinds: tuple[str, ...] = ("symbolic", "RGB")
    """Observations."""
    seconds: float = 2.0
    """Time of one measurement."""
    patience: float = 120.0
    """Wall time after which a cell is given up, compilation included."""
    peers: Path | None = None
    """A Python interpreter that has EnvPool, navix and xminigrid."""
    accelerator: bool = False
    """Measure ours on jax's default device, by wall time, and no others."""
    out: Path = HERE / "scores/world.json"
    """Where the figures are written."""


def ask(settings: Settings, contender: str, task: str, num_envs: int, kind: str, max_steps: int = 0) -> dict[str, Any]:
    """One cell; where there is no figure, a note."""
    python = settings.peers if contender in HAS else sys.executable
    words = [str(python), str(HERE / "worlds.py"), contender, task, "--num-envs", str(num_envs)]
    words += ["--rgb"] * (kind == "RGB") + ["--seconds", str(settings.seconds), "--max-steps", str(max_steps)]
    words += ["--accelerator"] * settings.accelerator
    cell = {"contender": contender, "task": task, "num_envs": num_envs, "kind": kind, "max_steps": max_steps}
    cell["load"] = os.getloadavg()[0]
    return cell | run(words, settings)


def run(words: list[str], settings: Settings) -> dict[str, Any]:
    """A process's line of JSON, or a note."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if settings.accelerator else {"JAX_PLATFORMS": "cpu"})
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=settings.patience)
    except subprocess.TimeoutExpired:
        return {"note": f"not done in {settings.patience:.0f} s"}
    except OSError as error:
        return {"note": str(error)}
    if done.returncode:
        return {"note": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def contenders(settings: Settings, task: str, kind: str) -> list[str]:
    """Who plays; EnvPool has no pixels."""
    if settings.accelerator:
        return ["ours"]
    peers = [name for name, tasks in HAS.items() if task in tasks and (name, kind) != ("EnvPool", "RGB")]
    return ["ours", *(peers if settings.peers else []), "Farama"]


def measure(settings: Settings, results: dict[str, Any]) -> None:
    """All cells, written to the file as they come."""
    cells = results["cells"]

    def add(cell: dict[str, Any]) -> None:
        cells.append(cell)
        figure = f"{cell['rate']:,.0f}/s" if "rate" in cell else cell["note"]
        limit = f" limit {cell['max_steps']}" if cell["max_steps"] else ""
        print(f"{cell['task']}{limit}, {cell['kind']}, {cell['num_envs']}: {cell['contender']} {figure}", flush=True)
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text(json.dumps(results, indent=1) + "\n")

    for task in settings.tasks:
        for kind in settings.kinds:
            for contender in contenders(settings, task, kind):
                for size in (1,) if contender == "Farama" else settings.sizes:
                    add(ask(settings, contender, task, size, kind))
    for limit in RESETS:
        add(ask(settings, "ours", TASKS[0], 1024, "symbolic", limit))


def main(settings: Settings) -> None:
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "command": " ".join(["python", *sys.argv]),
        "settings": {name: value for name, value in asdict(settings).items() if not isinstance(value, Path)},
        "floor": run([sys.executable, str(HERE / "floor.py"), *settings.tasks, str(settings.seconds)], settings),
        "cells": [],
    }
    measure(settings, results)
    subprocess.run([sys.executable, str(HERE / "world_tables.py"), str(settings.out)], check=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
