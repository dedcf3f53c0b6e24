"""Learning curves: success on 500 fresh episodes against environment steps, for every agent, task and seed.

    python benchmarks/learning.py           # everything; what is finished is not run again, what was killed goes on
    python benchmarks/learning.py --table   # only tables and pictures, from the scores

An agent is evaluated, with its sampled policy, on levels that training never draws, every so many steps. Seeds are not
those by which the defaults were chosen (0 to 7 by hand, 100 to 103 by tuning/search.py). "Frames to 0.95" is the first
evaluation at which success is at least that; a seed that never gets there is censored at its end (Kaplan and Meier).

Scores: benchmarks/scores/learning/TASK.AGENT.json.gz, with commit, command and every setting.
"""

import argparse
import dataclasses
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarims.config import Config
from metarims.evaluation.curves import Curve, area_under_curve, frames_to
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.evaluation.statistics import mean, mean_interval, probability_of_improvement, stratified_interval
from metarims.gridworld import make
from metarims.learning.trainer import Trainer, TrainState
from metarims.rules import RULES
from metarims.runs import provenance
from metarims.runs.callbacks import ChunkReport
from metarims.runs.files import write_atomic
from metarims.runs.training import train
from metarims.runtime import enable_compile_cache, prevent_deadlock
from metarims.studies.plans import change
from metarims.views.plots import learning_curves, save_figure

SCORES = Path(__file__).parent / "scores" / "learning"
RUNS = Path("runs/learning")
"""Where runs are kept until they are done, so that they can go on."""
AGENTS = tuple(name for name in RULES if name != "threespeeds")
TASKS = {
    "MiniGrid-DoorKey-5x5-v0": (60_000, 5_000),
    "BabyAI-GoToObj-v0": (60_000, 5_000),
    "BabyAI-GoToRedBallGrey-v0": (60_000, 5_000),
    "BabyAI-GoToLocal-v0": (2_000_000, 100_000),
}
"""Environment steps, and steps between two evaluations."""
EPISODES = 500
THRESHOLDS = (0.95, 0.99)
ORDER = (("metarims", "modular"), ("modular", "vanilla"), ("metarims", "vanilla"), ("modular", "random"))
"""Who is held against whom."""


class Latest(Trainer):
    """A trainer that keeps hold of the state after its last chunk."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.state: TrainState | None = None
        run_chunk = self.run_chunk

        def run(state: TrainState) -> Any:
            self.state, metrics = run_chunk(state)
            return self.state, metrics

        self.run_chunk = run


class Evaluations:
    """A ``Callback`` that evaluates after every chunk, and keeps what it finds in a file: a killed run goes on."""

    def __init__(self, trainer: Latest, path: Path):
        self.trainer, self.path = trainer, path
        self.points: dict[int, dict[str, Any]] = {}

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        known = json.loads(self.path.read_text()) if self.path.exists() else []
        self.points = {point["frames"]: point for point in known if point["frames"] <= env_steps}

    def chunk(self, report: ChunkReport) -> None:
        assert self.trainer.state is not None
        before = self.points[max(self.points)]["episodes"] if self.points else [0.0] * len(report.rows)
        point: dict[str, Any] = {"frames": report.env_steps, "success": [], "returns": []}
        point["episodes"] = [count + row["episodes"] for count, row in zip(before, report.rows, strict=True)]
        for index, seed in enumerate(self.trainer.config.seeds):
            agent, key = self.trainer.agent(self.trainer.state, index), evaluation_key(seed)
            found = evaluate_jax(agent, make(self.trainer.config.env), EPISODES, key, greedy=False)
            point["success"].append(float(found.success.mean()))
            point["returns"].append(round(float(found.returns.mean()), 4))
        self.points[report.env_steps] = point
        write_atomic(self.path, json.dumps(list(self.points.values())).encode())
        config = self.trainer.config
        print(f"{config.env} {config.agent} {report.env_steps:,}: {point['success']}", flush=True)


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """One training run of all seeds in a folder, evaluated on its way; a run that was killed goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Latest(config)
    callback = Evaluations(trainer, folder / "points.json")
    outcome = train(config, folder / "run", callback, make_trainer=lambda _: trainer, progress=False)
    if not outcome.finished or outcome.stopped:
        raise SystemExit(f"Stopped at {outcome.env_steps:,} steps; the same command goes on.")
    return {
        "points": list(callback.points.values()),
        "evaluation_episodes": EPISODES,
        "config": dataclasses.asdict(config),
        "commit": provenance.commit(),
        "command": " ".join(["python", *sys.argv]),
    }


def load_scores(folder: Path, task: str, agents: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The scores of those agents that have any."""
    paths = {agent: folder / f"{task}.{agent}.json.gz" for agent in agents}
    return {agent: json.loads(gzip.decompress(path.read_bytes())) for agent, path in paths.items() if path.exists()}


def curves_of(scores: dict[str, Any], counter: str = "frames") -> list[Curve]:
    """Success of each seed against environment steps, or against its episodes (the last point of as many)."""
    found = []
    for index in range(len(scores["config"]["seeds"])):
        success: dict[float, float] = {}
        for point in scores["points"]:
            at = point["frames"] if counter == "frames" else point["episodes"][index]
            success[float(at)] = point["success"][index]
        found.append(Curve(np.array(list(success)), np.array(list(success.values()))))
    return found


def median_frames(frames: np.ndarray, ends: np.ndarray) -> float:
    """The Kaplan-Meier median: the first frame by which half of the runs reached the threshold; inf if never. A run
    that did not (inf in ``frames``) counts as at risk up to its end."""
    times, arrived = np.unique(frames[np.isfinite(frames)], return_counts=True)
    at_risk = np.sum(np.minimum(frames, ends)[None] >= times[:, None], axis=1)
    there = np.cumprod(1 - arrived / at_risk) <= 0.5 + 1e-9  # Rounding may put one half above it.
    return float(times[np.argmax(there)]) if there.any() else np.inf


def print_table(task: str, found: dict[str, dict[str, Any]]) -> None:
    """Markdown: median frames and episodes to each threshold over seeds, the area under the curve, and the end."""

    def median(scores: dict[str, Any], threshold: float, counter: str) -> str:
        curves = curves_of(scores, counter)
        frames = np.array([frames_to(curve, threshold) for curve in curves])
        ends = np.array([curve.frames[-1] for curve in curves])
        runs = np.arange(len(curves))[:, None]
        interval = stratified_interval(lambda drawn: median_frames(frames[drawn[:, 0]], ends[drawn[:, 0]]), runs)
        texts = ["never" if np.isinf(value) else f"{value / 1000:,.{counter == 'episodes':d}f}k" for value in interval]
        return f"{texts[0]} [{texts[1]}, {texts[2]}]"

    def average(values: list[float]) -> str:
        value, low, high = mean_interval(np.array(values)[:, None])
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"

    print(f"\n**{task}** (over seeds, with 95 % intervals: bootstrap, of means of fewer than five seeds Student's t)\n")
    heads = [f"{what} to {threshold}, median" for threshold in THRESHOLDS for what in ("frames", "episodes")]
    print("| agent | seeds | " + " | ".join(heads) + " | area | success at the end |\n" + "|---" * 8 + "|")
    for agent, scores in found.items():
        medians = [median(scores, threshold, what) for threshold in THRESHOLDS for what in ("frames", "episodes")]
        area, last = average([area_under_curve(curve) for curve in curves_of(scores)]), scores["points"][-1]
        end = f"{average(last['success'])} at {last['frames'] / 1000:,.0f}k"
        print(f"| {agent} | {len(last['success'])} | " + " | ".join(medians) + f" | {area} | {end} |")


def are_comparable(scores: Sequence[dict[str, Any]]) -> bool:
    """Whether there are scores of both agents, of the same settings, seeds and steps."""
    alike = [(found["config"] | {"agent": ""}, [point["frames"] for point in found["points"]]) for found in scores]
    return len(alike) == 2 and alike[0] == alike[1]


def print_order(folder: Path, tasks: Sequence[str]) -> None:
    """Who learns faster: the probability that a seed of one has more area under its curve than a seed of another.

    Tasks on which the two ran with different settings are left out.
    """

    def table(agent: str, among: Sequence[str]) -> np.ndarray:
        areas = [[area_under_curve(c) for c in curves_of(load_scores(folder, task, [agent])[agent])] for task in among]
        return np.array(areas).T

    for better, worse in ORDER:
        among = [task for task in tasks if are_comparable(list(load_scores(folder, task, [better, worse]).values()))]
        for chosen in [[task] for task in among] + ([among] if len(among) > 1 else []):
            x, y = table(better, chosen), table(worse, chosen)
            value, low, high = stratified_interval(probability_of_improvement, x, y)
            where = chosen[0] if len(chosen) == 1 else f"all {len(chosen)} tasks"
            lead = f"{mean(x) - mean(y):+.3f}"
            print(f"P({better} > {worse}) on {where}: {value:.2f} [{low:.2f}, {high:.2f}], areas differ by {lead}")


def draw(folder: Path, task: str, found: dict[str, dict[str, Any]]) -> None:
    """The curves as a picture beside the scores."""
    rows = [
        {"agent": agent, "seed": seed, "env_steps": point["frames"], "success": point["success"][index]}
        for agent, scores in found.items()
        for index, seed in enumerate(scores["config"]["seeds"])
        for point in scores["points"]
    ]
    save_figure(learning_curves(rows, title=task), folder / f"{task}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--agents", nargs="+", default=AGENTS, help='"vanilla+set": with network.input set')
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202, 203, 204])
    parser.add_argument("--frames", type=int, help="environment steps per seed (default: the task's)")
    parser.add_argument("--every", type=int, help="environment steps between two evaluations (default: the task's)")
    parser.add_argument("--scores", type=Path, default=SCORES, help="folder of the scores")
    parser.add_argument("--table", action="store_true", help="only tables and pictures, from the scores")
    arguments = parser.parse_args()
    prevent_deadlock()
    enable_compile_cache()
    folder = arguments.scores
    folder.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks if not arguments.table else ():
        for agent in arguments.agents:
            path = folder / f"{task}.{agent}.json.gz"
            if path.exists():
                continue
            kind, _, settings = agent.partition("+")
            frames, every = TASKS.get(task, (arguments.frames, arguments.every))
            if not (arguments.frames or frames) or not (arguments.every or every):
                parser.error(f"{task} has no defaults: give --frames and --every")
            found = {
                "agent": kind,
                "env": task,
                "frames": arguments.frames or frames,
                "seeds": tuple(arguments.seeds),
                "record_every": arguments.every or every,
                "checkpoint_every": 1,
            }
            config = change(Config(), found | ({"network.input": settings} if settings else {}))
            scores = measure(config, RUNS / f"{task}.{agent}")
            path.write_bytes(gzip.compress(json.dumps(scores).encode(), mtime=0))
    for task in arguments.tasks:
        if found := load_scores(folder, task, arguments.agents):
            print_table(task, found)
            draw(folder, task, found)
    print()
    print_order(folder, arguments.tasks)


if __name__ == "__main__":
    main()
