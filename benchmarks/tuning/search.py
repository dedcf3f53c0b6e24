"""The tuning of the defaults: the same trials for every agent, one set of settings for all tasks.

    python benchmarks/tuning/search.py

Each trial of ``TRIALS`` changes the defaults in a few places. Its score is the area under the curve of training success
over ``--frames`` environment steps, mean over tasks and seeds: 1 is an agent that succeeds from the first step on. Each
finished (agent, trial, task) is a line of results.jsonl and is not run again.
"""

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from metarims.config import Config
from metarims.learning.trainer import make_trainer
from metarims.runtime import enable_compile_cache, prevent_deadlock

HERE = Path(__file__).parent
AGENTS = ("vanilla", "modular", "metarims")
TASKS = ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0")
EIGHT = {"fast": {"epochs": 8}, "slow": {"epochs": 8}}
STAYS = {"ppo": {"target_kl": 0.0, "rate_horizon": 0}, "network": {"feature_limit": 0.0}}
TRIALS: dict[str, dict[str, Any]] = {
    "4 epochs, rate stays": STAYS | {"fast": {"epochs": 4}, "slow": {"epochs": 4}},
    "8 epochs, rate stays": STAYS | EIGHT,
    "4 epochs": {"fast": {"epochs": 4}, "slow": {"epochs": 4}},
    "8 epochs": EIGHT,
    "16 epochs": {"fast": {"epochs": 16}, "slow": {"epochs": 16}},
    "8 epochs, value 1, entropy 0.002": EIGHT | {"ppo": {"value_coef": 1.0, "entropy_coef": 0.002}},
    "8 epochs, 8 minibatches": {
        "fast": {"epochs": 8, "minibatches": 8},
        "slow": {"epochs": 8, "minibatches": 8},
    },
    "8 epochs, loud": EIGHT | {"network": {"mission_scale": 1.0, "key_scale": 1.0, "message_scale": 1.0}},
}
"""Changes to sections of the default configuration."""


def make_config(agent: str, task: str, frames: int, seeds: tuple[int, ...], trial: str) -> Config:
    """The configuration of one trial; what it does not name stays at its default."""
    start = Config(agent=agent, env=task, frames=frames, seeds=seeds, record_every=2_500)
    sections = {
        section: dataclasses.replace(getattr(start, section), **changes) for section, changes in TRIALS[trial].items()
    }
    return dataclasses.replace(start, **sections)


def run_trial(config: Config) -> list[float]:
    """Area under the curve of training success, for each seed; a chunk in which no episode ended counts as the last."""
    trainer = make_trainer(config)
    state, curve = trainer.init(), []
    for _ in range(trainer.num_chunks):
        state, metrics = trainer.run_chunk(state)
        last = curve[-1] if curve else np.zeros(len(config.seeds))
        curve.append(np.where(np.asarray(metrics["episodes"]) > 0, np.asarray(metrics["success"]), last))
    return np.mean(curve, axis=0).tolist()


def print_ranking(rows: list[dict]) -> None:
    """Markdown: the area of every agent in every trial, mean over tasks and seeds; best mean over agents first."""
    areas: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        areas.setdefault((row["trial"], row["agent"]), []).extend(row["areas"])
    agents = [agent for agent in AGENTS if any(name == agent for _, name in areas)]
    table = {
        trial: [statistics.mean(areas[trial, agent]) if (trial, agent) in areas else math.nan for agent in agents]
        for trial in TRIALS
        if any(name == trial for name, _ in areas)
    }
    print("| trial | " + " | ".join(agents) + " | mean |\n" + "|---" * (len(agents) + 2) + "|")
    for trial, means in sorted(table.items(), key=lambda item: -statistics.mean(item[1])):
        print(f"| {trial} | " + " | ".join(f"{mean:.3f}" for mean in (*means, statistics.mean(means))) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="TRIAL")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103])
    parser.add_argument("--agents", nargs="+", default=AGENTS)
    parser.add_argument("--out", type=Path, default=HERE / "results.jsonl")
    arguments = parser.parse_args()
    prevent_deadlock()
    enable_compile_cache()
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(row["agent"], row["trial"], row["task"], row["frames"], tuple(row["seeds"])) for row in rows}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    for trial in arguments.trials:
        for agent in arguments.agents:
            for task in arguments.tasks:
                if (agent, trial, task, arguments.frames, tuple(arguments.seeds)) in done:
                    continue
                config = make_config(agent, task, arguments.frames, tuple(arguments.seeds), trial)
                row = {"agent": agent, "trial": trial, "task": task, "areas": run_trial(config)}
                row |= {"frames": arguments.frames, "seeds": arguments.seeds, "config": dataclasses.asdict(config)}
                row |= {"commit": commit, "command": " ".join(["python", *sys.argv])}
                with arguments.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                rows.append(row)
                print(agent, trial, task, [f"{area:.3f}" for area in row["areas"]], flush=True)
    print_ranking(rows)


if __name__ == "__main__":
    main()
