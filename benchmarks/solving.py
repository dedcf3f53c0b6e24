"""How long a user waits until a task is learnt: our agents at their defaults, and torch-ac's LSTM at rl-starter-files'.

A run begins with the start of its process and ends when its sampled policy succeeds in 95 % of the newest 100 or more
episodes of training. So the time holds imports, compilation, acting and learning; one run at a time, with the whole
machine to itself. Ours compile anew in the first run of each agent, and later ones find that in JAX's cache, as with
`metarims train`. Seeds that are trained together end when the last of them has succeeded.

    .venv/bin/python benchmarks/solving.py    # needs what `make bench` installs; writes scores/solving.json
"""

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from machine import describe_machine
from training import PEER, TORCH_PYTHON, launch

SCORES = Path(__file__).parent / "scores/solving.json"


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    tasks: tuple[str, ...] = ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToRedBallGrey-v0")
    """Farama ids."""
    seeds: tuple[int, ...] = (200, 201, 202, 203, 204)
    """One run each."""
    success: float = 0.95
    """Of the newest episodes; then a run has learnt."""
    limit: float = 300.0
    """Seconds of training after which a run is given up."""
    out: Path = SCORES
    """Where the figures are written."""
    table: bool = False
    """Only show what was measured before."""


def solve(name: str, command: list[str], settings: Settings, cache: str) -> dict[str, Any]:
    """One run in a process of its own."""
    variables = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    begin = time.perf_counter()
    contender = launch(name, command, variables)
    try:
        facts = contender.read()
        report = contender.ask(f"until {settings.success} {settings.limit}")
        seconds = time.perf_counter() - begin
    finally:
        contender.stop()
    return {"seconds": seconds, "load": os.getloadavg()[0], **report, "facts": facts}


def measure(task: str, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """All runs of a task; contenders take turns, seed by seed."""
    ours = [sys.executable, "ours.py", task]
    every = ["--settings", "default", "--record-every", "2048", "--seeds"]
    agents, together = ("vanilla", "metarims"), f"metarims, {len(settings.seeds)} seeds"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (PEER, *agents, together)}
    with tempfile.TemporaryDirectory() as cache:
        for seed in settings.seeds:
            commands = {PEER: [str(TORCH_PYTHON), "torch_ac_lstm.py", task, "1", str(seed)]}
            commands |= {agent: [*ours, agent, *every, str(seed)] for agent in agents}
            for name, command in commands.items():
                found[name].append(solve(name, command, settings, cache))
                _tell(task, name, found[name][-1])
        command = [*ours, "metarims", *every, *map(str, settings.seeds)]
        for _ in range(2):
            found[together].append(solve(together, command, settings, cache))
            _tell(task, together, found[together][-1])
    return found


def _tell(task: str, name: str, run: dict[str, Any]) -> None:
    reached = [point["frames"] if point else None for point in run["reached"]]
    print(f"{task} {name}: {run['seconds']:.1f} s, frames {reached}", flush=True)


def show(task: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Markdown."""
    print(f"\n**{task}**\n")
    print("| contender | learnt | frames | first run s | later runs s |\n|---|---|---|---|---|")
    for name, runs in found.items():
        together = len(runs[0]["reached"]) > 1  # Then each run has all seeds, with the same outcome.
        reached = [point for run in (runs[:1] if together else runs) for point in run["reached"]]
        frames = sorted(point["frames"] for point in reached if point)
        later = [run["seconds"] for run in runs[1:]]
        spread = f"{statistics.median(frames):,.0f} ({frames[0]:,} to {frames[-1]:,})" if frames else "never"
        waits = f"{statistics.median(later):.1f} ({min(later):.1f} to {max(later):.1f})" if later else ""
        print(f"| {name} | {len(frames)} of {len(reached)} | {spread} | {runs[0]['seconds']:.1f} | {waits} |")


def main(settings: Settings) -> None:
    if settings.table:
        for task, result in json.loads(settings.out.read_text()).items():
            show(task, result["runs"])
        return
    if not TORCH_PYTHON.exists():
        raise SystemExit("torch-ac has no environment yet: run `make bench`, which makes one in .bench-venv.")
    for task in settings.tasks:
        about = {"machine": describe_machine(), "command": " ".join(["python", *sys.argv])}
        about |= {"success": settings.success, "limit_s": settings.limit, "seeds": settings.seeds}
        found = measure(task, settings)
        results = json.loads(settings.out.read_text()) if settings.out.exists() else {}
        settings.out.write_text(json.dumps(results | {task: about | {"runs": found}}, indent=1) + "\n")
        show(task, found)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
