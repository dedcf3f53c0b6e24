"""Learning curves: success on 500 fresh episodes against environment steps, for every agent, task and seed.

    python benchmarks/learning.py                  # everything; finished (task, agent) are not run again
    python benchmarks/learning.py --table          # only the table, from the scores

An agent is evaluated, with its sampled policy, on levels that training never draws, every so many steps. Seeds are not
those by which the defaults were chosen (0 to 7 by hand, 100 and 101 by tuning/search.py). "Frames to 0.95" is the first
evaluation at which success is at least that; a seed that never gets there counts as later than all.

Scores: benchmarks/scores/learning/TASK.AGENT.json.gz, with commit, command and every setting.
"""

import argparse
import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from metarims.config import Config
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.learning.rules import RULES
from metarims.learning.trainer import make_trainer
from metarims.runtime import enable_compile_cache, prevent_deadlock

SCORES = Path(__file__).parent / "scores" / "learning"
AGENTS = tuple(name for name in RULES if name != "threespeeds")
TASKS = {
    "MiniGrid-DoorKey-5x5-v0": (60_000, 5_000),
    "BabyAI-GoToObj-v0": (100_000, 5_000),
    "BabyAI-GoToRedBallGrey-v0": (100_000, 5_000),
    "BabyAI-GoToLocal-v0": (2_000_000, 100_000),
}
"""Environment steps, and steps between two evaluations."""
EPISODES = 500
THRESHOLDS = (0.95, 0.99)


def measure(agent: str, task: str, frames: int, every: int, seeds: tuple[int, ...]) -> dict[str, Any]:
    """One training run of all seeds, evaluated on its way."""
    config = dataclasses.replace(Config(), agent=agent, env=task, frames=frames, seeds=seeds, record_every=every)
    trainer = make_trainer(config)
    state, episodes, points = trainer.init(), np.zeros(len(seeds)), []
    for chunk in range(1, trainer.num_chunks + 1):
        state, metrics = trainer.run_chunk(state)
        episodes = episodes + np.asarray(metrics["episodes"])
        point: dict[str, Any] = {"frames": chunk * trainer.frames_per_chunk, "episodes": episodes.tolist()}
        for name in ("success", "returns"):
            point[name] = []
        for index, seed in enumerate(seeds):
            key = evaluation_key(seed)
            found = evaluate_jax(trainer.agent(state, index), trainer.level, EPISODES, key, greedy=False)
            point["success"].append(float(found.success.mean()))
            point["returns"].append(round(float(found.returns.mean()), 4))
        points.append(point)
        print(f"{task} {agent} {point['frames']:,}: {point['success']}", flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "points": points,
        "evaluation_episodes": EPISODES,
        "config": dataclasses.asdict(config),
        "commit": commit,
        "command": " ".join(["python", *sys.argv]),
    }


def frames_to(scores: dict[str, Any], threshold: float, measure: str = "frames") -> list[float]:
    """For each seed the frames (or episodes) at the first evaluation with that success; infinity where never."""
    found = []
    for index in range(len(scores["config"]["seeds"])):
        reached = [point for point in scores["points"] if point["success"][index] >= threshold]
        value = (reached[0][measure] if measure == "frames" else reached[0][measure][index]) if reached else np.inf
        found.append(float(value))
    return found


def interval(values: list[float], statistic: Any = np.median, draws: int = 10_000) -> tuple[float, float, float]:
    """The statistic and its bootstrap 95 % interval over seeds."""
    rng, data = np.random.default_rng(0), np.array(values)
    resampled = statistic(data[rng.integers(len(data), size=(draws, len(data)))], axis=-1)
    low, high = np.sort(resampled)[[int(0.025 * draws), int(0.975 * draws) - 1]]
    return float(statistic(data)), float(low), float(high)


def print_table(tasks: list[str], agents: list[str]) -> None:
    """Markdown: median frames and episodes to each threshold over seeds, and the success at the end."""

    def show(values: list[float]) -> str:
        texts = ["never" if value == np.inf else f"{value / 1000:,.0f}k" for value in interval(values)]
        return f"{texts[0]} [{texts[1]}, {texts[2]}]"

    for task in tasks:
        print(f"\n**{task}** (median over seeds and 95 % bootstrap interval)\n")
        heads = [f"{what} to {threshold}" for threshold in THRESHOLDS for what in ("frames", "episodes")]
        print("| agent | seeds | " + " | ".join(heads) + " | success at the end (mean) |\n" + "|---" * 7 + "|")
        for agent in agents:
            path = SCORES / f"{task}.{agent}.json.gz"
            if not path.exists():
                continue
            scores = json.loads(gzip.decompress(path.read_bytes()))
            cells = [
                show(frames_to(scores, threshold, what)) for threshold in THRESHOLDS for what in ("frames", "episodes")
            ]
            last = scores["points"][-1]
            mean, low, high = interval(last["success"], np.mean)
            end = f"{mean:.3f} [{low:.3f}, {high:.3f}] at {last['frames'] / 1000:,.0f}k"
            print(f"| {agent} | {len(last['success'])} | " + " | ".join(cells) + f" | {end} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--agents", nargs="+", default=AGENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202, 203, 204])
    parser.add_argument("--frames", type=int, help="environment steps per seed (default: the task's)")
    parser.add_argument("--table", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    prevent_deadlock()
    enable_compile_cache()
    SCORES.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks if not arguments.table else ():
        for agent in arguments.agents:
            path = SCORES / f"{task}.{agent}.json.gz"
            if path.exists():
                continue
            frames, every = TASKS[task]
            scores = measure(agent, task, arguments.frames or frames, every, tuple(arguments.seeds))
            path.write_bytes(gzip.compress(json.dumps(scores).encode(), mtime=0))
    print_table(arguments.tasks, list(arguments.agents))


if __name__ == "__main__":
    main()
