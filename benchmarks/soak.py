"""Memory and speed over hours: a training run that is watched, and an evaluation of a million episodes.

    python benchmarks/soak.py                      # two hours; writes scores/soak.json.gz and scores/soak.png
    python benchmarks/soak.py --minutes 10         # a shorter look
    python benchmarks/soak.py --run DIR            # keeps the run, and goes on with one that is there
    python benchmarks/soak.py --minutes 0          # the evaluation alone: of an agent that comes with the package

Memory is what the process holds itself (its anonymous pages: files that the system may map or drop are not its own).
Growth is that of the median over the last quarter against that over the quarter after the warm-up.
"""

import gzip
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from machine import describe_machine
from matplotlib.figure import Figure

from metarims.views.plots import save_figure

SCORES = Path(__file__).parent / "scores"
TASK, AGENT, SEEDS = "BabyAI-GoToLocal-v0", "metarims", ("0", "1")
EVALUATED = "goto-local"
"""An agent that comes with the package."""
WARM_UP = 0.1
"""Of the time, at its beginning: compilation and first checkpoints."""
SAMPLE_SECONDS = 5.0
METARIMS = (sys.executable, "-m", "metarims.cli")


def memory_mib(pid: int) -> float:
    """Anonymous memory of a process in MiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def watch(process: subprocess.Popen, seconds: float) -> list[tuple[float, float]]:
    """Seconds and MiB, until the process ends or the time is over."""
    found, began = [], time.monotonic()
    while process.poll() is None and time.monotonic() - began < seconds:
        time.sleep(SAMPLE_SECONDS if seconds > 60 else 0.2)
        found.append((time.monotonic() - began, memory_mib(process.pid)))
    return [sample for sample in found if sample[1]]


def train(folder: Path, minutes: float) -> dict[str, Any]:
    """Train for so long, then stop by SIGTERM; memory over time, and the speed of every chunk."""
    command = [*METARIMS, "train", "--agent", AGENT, "--env", TASK, "--seeds", *SEEDS, "--frames", "1000000000"]
    command += ["--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    memory = watch(process, 60 * minutes)
    process.send_signal(signal.SIGTERM)
    if process.wait(timeout=600):
        raise SystemExit(f"The run ended with status {process.returncode}.")
    return {"memory": memory, **read_speed(folder)}


def read_speed(folder: Path) -> dict[str, list[float]]:
    """Of every chunk the frames per second, the passes over each frame's data, both loops together, and success.

    Passes become more with time, as rates fall and an update moves the policy less: what is to stay is their product.
    """
    speed, metrics = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("speed.jsonl", "metrics.jsonl")
    )
    rows: dict[int, list[dict[str, Any]]] = {line["chunk"]: [] for line in speed}
    for row in metrics:
        rows[row["chunk"]].append(row)
    return {
        "frames_per_second": [line["frames_per_second"] for line in speed],
        "passes": [float(np.mean([row["fast/epochs"] + row["slow/epochs"] for row in of])) for of in rows.values()],
        "success": [float(np.mean([row["success"] for row in of])) for of in rows.values()],
    }


def evaluate(episodes: int) -> dict[str, Any]:
    """The most memory that an evaluation of so many episodes holds, and how long it takes."""
    words = ["evaluate", EVALUATED, "--backend", "jax", "--policy", "sampled", "--episodes", str(episodes)]
    began = time.monotonic()
    process = subprocess.Popen([*METARIMS, *words], stdout=subprocess.DEVNULL)
    samples = watch(process, 4 * 3600)
    if process.wait():
        raise SystemExit(f"The evaluation ended with status {process.returncode}.")
    return {
        "agent": EVALUATED,
        "episodes": episodes,
        "seconds": time.monotonic() - began,
        "most_mib": max(memory for _, memory in samples),
    }


def growth(values: list[float]) -> float:
    """Of the last quarter's median against that of the quarter after the warm-up, as a fraction."""
    coerced = np.array(values[int(WARM_UP * len(values)) :])
    quarter = max(1, len(coerced) // 4)
    return float(np.median(coerced[-quarter:]) / np.median(coerced[:quarter]) - 1)


def tell(found: dict[str, Any]) -> None:
    """What became of memory and speed, in words and as a picture."""
    memory, speed, work = found["memory"], found["frames_per_second"], passed_per_second(found)
    print(f"{memory[-1][0] / 60:.0f} minutes, {len(speed)} chunks: {memory[-1][1]:,.0f} MiB at the end.")
    changes = {"memory": [mib for _, mib in memory], "frames per second": speed, "frames x passes per second": work}
    said = ", ".join(f"{name} {growth(values):+.1%}" for name, values in changes.items())
    print(f"Growth after the warm-up: {said}.")
    draw(found, SCORES / "soak.png")


def passed_per_second(found: dict[str, Any]) -> list[float]:
    """Frames that are passed over in a second, of every chunk."""
    return [speed * passes for speed, passes in zip(found["frames_per_second"], found["passes"], strict=True)]


def draw(found: dict[str, Any], path: Path) -> None:
    """Memory and speed over time, one above the other."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    seconds, memory = np.array(found["memory"]).T
    chunks = np.linspace(0, seconds[-1] / 60, len(found["passes"]))
    drawn = (
        ("memory, MiB", seconds / 60, memory),
        ("frames per second", chunks, np.array(found["frames_per_second"])),
        ("frames x passes\nper second", chunks, np.array(passed_per_second(found))),
    )
    for axes, (name, minutes, values), color in zip(panels, drawn, ("#0072B2", "#D55E00", "#009E73"), strict=True):
        axes.plot(minutes, values, color=color)
        axes.set(ylabel=name, ylim=(0, 1.15 * values.max()))
        axes.grid(alpha=0.3)
    panels[0].set_title(f"{AGENT} on {TASK}")
    panels[-1].set_xlabel("minutes")
    save_figure(figure, path)


def main(minutes: float = 120.0, episodes: tuple[int, ...] = (10_000, 1_000_000), run: Path | None = None) -> None:
    """Train, evaluate, write, say. What is not asked for (no minutes, no episodes) stays as it was in the scores."""
    about = {"machine": describe_machine(), "command": " ".join(["python", *sys.argv])}
    if minutes:
        with tempfile.TemporaryDirectory() as place:
            trained = train(run or Path(place) / "run", minutes)
        keep(training=about | trained)
        tell(trained)
    if episodes:
        rows = [about | evaluate(number) for number in episodes]
        keep(evaluations=rows)
        for row in rows:
            print(f"{row['episodes']:,} episodes: at most {row['most_mib']:,.0f} MiB, {row['seconds']:,.0f} s")


def keep(**found: Any) -> None:
    """Put what was found into the scores."""
    file = SCORES / "soak.json.gz"
    scores = json.loads(gzip.decompress(file.read_bytes())) if file.exists() else {}
    file.write_bytes(gzip.compress(json.dumps(scores | found).encode(), mtime=0))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
