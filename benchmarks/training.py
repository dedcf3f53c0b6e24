"""Training speed: our agents against torch-ac, sb3-contrib and a PureJaxRL-style agent, raced on this machine.

Every contender starts, compiles and warms up in its own process, and then waits. Rounds follow: one contender at a
time trains for some seconds while the others sleep; the order turns round from round to round. A round gives one ratio
for each of ours, so that what else the machine does hits both sides. Start-up and compilation are reported apart.

    make bench          # or: .venv/bin/python benchmarks/training.py --rounds 5 --seconds 8
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import tyro
from machine import describe_machine
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
TORCH_PYTHON = HERE.parent / ".bench-venv/bin/python"
PEER = "torch-ac"
"""Whom the ratios are to. One thread: with two it starves wherever something else runs."""


@dataclass(frozen=True)
class Settings:
    """What to race."""

    tasks: tuple[str, ...] = ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0")
    """Farama ids."""
    rounds: int = 5
    """Rounds after a warm-up round that does not count."""
    seconds: float = 8.0
    """Training time of one contender in one round; whole updates are always finished."""
    only: tuple[str, ...] = ()
    """Contenders beside torch-ac, by name (``vanilla, default``); without this, all."""
    navix_python: Path = HERE.parent / ".peers-venv/bin/python"
    """An interpreter with navix, for the PureJaxRL-style agent; without one it is left out."""
    out: Path = HERE / "scores/training.json"
    """Where the figures are written."""


@dataclass
class Contender:
    """A process that trains when told to."""

    name: str
    process: subprocess.Popen[str]
    errors: TextIO
    """What it says besides its reports."""
    facts: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, float]] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            last = self.errors.read().strip()[-2000:]
            raise SystemExit(f"{self.name} ended before its time (exit status {self.process.wait()}):\n{last}")
        return json.loads(line)

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to a line as ``contenders/lane.py`` understands them."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def train(self, seconds: float) -> dict[str, float]:
        return self.ask(str(seconds))

    def stop(self) -> None:
        """Hang up; the process then ends by itself, and its environments' processes with it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def launch(name: str, command: list[str], variables: dict[str, str] | None = None) -> Contender:
    """A contender's process, in which it starts and compiles; its facts are the first that it says."""
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
    process = subprocess.Popen(
        command,
        cwd=HERE / "contenders",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=os.environ | (variables or {}),
    )
    return Contender(name, process, errors)


def start(task: str, navix_python: Path, only: tuple[str, ...] = ()) -> Iterator[Contender]:
    """All contenders of a task, started one after another, ready to train."""
    commands = {
        PEER: [str(TORCH_PYTHON), "torch_ac_lstm.py", task, "1"],
        "sb3-contrib, RGB": [str(TORCH_PYTHON), "sb3_recurrent.py", task, "rgb"],
        "sb3-contrib, symbolic": [str(TORCH_PYTHON), "sb3_recurrent.py", task, "symbolic"],
    }
    if task == "MiniGrid-DoorKey-5x5-v0" and navix_python.exists():
        commands["PureJaxRL-style GRU"] = [str(navix_python), "purejaxrl_gru.py", task]
    for settings in ("matched", "default"):
        for agent in ("vanilla", "metarims"):
            for devices in (1, 2):
                name = f"{agent}, {settings}" + ", 2 devices" * (devices == 2)
                own = ["--settings", settings, "--devices", str(devices)]
                commands[name] = [sys.executable, "ours.py", task, agent, *own]
    unknown = sorted(set(only) - commands.keys())
    if unknown:
        raise SystemExit(f"--only {', '.join(map(repr, unknown))}: no such contender of {task}; use {list(commands)}")
    for name, command in commands.items():
        if only and name not in (PEER, *only):
            continue
        contender = launch(name, command)
        contender.facts = contender.read()
        yield contender


def run_rounds(contenders: list[Contender], settings: Settings, console: Console) -> None:
    """The warm-up round, then the rounds that count."""
    for contender in contenders:
        contender.train(settings.seconds / 4)
    for index in range(settings.rounds):
        turn = index % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            score = contender.train(settings.seconds)
            contender.scores.append(score | {"load": os.getloadavg()[0]})
        speeds = ", ".join(f"{c.name}: {_speeds(c)[-1]:,.0f}" for c in contenders)
        console.print(f"round {index + 1}: {speeds}", highlight=False)


def summarize(contenders: list[Contender]) -> dict[str, Any]:
    """Medians, and the ratios to the peer round by round."""
    (peer,) = (c for c in contenders if c.name == PEER)
    rows = {}
    for c in contenders:
        ratios = [own / other for own, other in zip(_speeds(c), _speeds(peer), strict=True)]
        rows[c.name] = {
            "frames_per_second": statistics.median(_speeds(c)),
            "frames_per_cpu_second": statistics.median(s["frames"] / s["cpu_seconds"] for s in c.scores),
            "ratio": statistics.median(ratios),
            "ratio_per_round": ratios,
            "memory_mib": max(s["memory_mib"] for s in c.scores),
            **c.facts,
            "rounds": c.scores,
        }
    return {"ratios_to": peer.name, "contenders": rows}


def show(task: str, result: dict[str, Any], console: Console) -> None:
    """The table of one task."""
    table = Table(title=f"{task}: ratios to {result['ratios_to']}")
    for title in ("contender", "frames/s", "ratio", "lowest", "frames/CPU-s", "start s", "MiB", "FLOP/frame"):
        table.add_column(title, justify="left" if title == "contender" else "right")
    for name, row in result["contenders"].items():
        table.add_row(
            name,
            f"{row['frames_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{min(row['ratio_per_round']):.2f}",
            f"{row['frames_per_cpu_second']:,.0f}",
            f"{row['first_update_s']:.0f}",
            f"{row['memory_mib']:,.0f}",
            f"{row['flops_per_frame']:,}",
        )
    console.print(table)


def record(path: Path, task: str, result: dict[str, Any]) -> None:
    """Put one task's result into the file; other tasks' stay as they are, with their own machine and commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(results | {task: result}, indent=1) + "\n")


def _speeds(contender: Contender) -> list[float]:
    return [score["frames"] / score["seconds"] for score in contender.scores]


def main(settings: Settings) -> None:
    if not TORCH_PYTHON.exists():
        raise SystemExit("torch-ac has no environment yet: run `make bench`, which makes one in .bench-venv.")
    console = Console() if sys.stdout.isatty() else Console(width=110)
    for task in settings.tasks:
        console.print(f"{task}: starting and compiling")
        machine = describe_machine()
        contenders: list[Contender] = []
        try:
            contenders.extend(start(task, settings.navix_python, settings.only))
            run_rounds(contenders, settings, console)
        finally:
            for contender in contenders:
                contender.stop()
        result = {"machine": machine, "command": " ".join(["python", *sys.argv]), **summarize(contenders)}
        show(task, result, console)
        record(settings.out, task, result)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
