"""The tuning of the defaults: the same trials for every agent, one set of settings for all tasks.

    python benchmarks/tuning/search.py

Each trial of ``TRIALS`` changes one thing about the defaults. Its score is the area under the curve of training
success, mean over tasks and seeds: 1 is an agent that succeeds from the first step on. Agents that have learnt the
small room also play in larger ones (success of the sampled policy). Each finished (agent, trial, task) is a line of
results.jsonl and is not run again; several of these commands may share the work, by ``--agents`` and ``--trials``.
"""

import argparse
import dataclasses
import json
import math
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from metarims.config import Config
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.gridworld.registry import make
from metarims.learning.trainer import make_trainer
from metarims.runs import provenance
from metarims.runtime import enable_compile_cache, prevent_deadlock

HERE = Path(__file__).parent
AGENTS = ("vanilla", "modular", "metarims")
TASKS = {"MiniGrid-DoorKey-5x5-v0": 102_400, "BabyAI-GoToObj-v0": 40_960, "BabyAI-GoToRedBallGrey-v0": 40_960}
"""Environment steps of each task."""
LARGER = {"MiniGrid-DoorKey-5x5-v0": tuple(f"MiniGrid-DoorKey-{size}-v0" for size in ("6x6", "8x8", "16x16"))}
"""Where the agents play that have learnt a task."""
EPISODES = 100
TRIALS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "4 epochs": {"fast": {"epochs": 4}, "slow": {"epochs": 4}},
    "8 minibatches": {"fast": {"minibatches": 8}, "slow": {"minibatches": 8}},
    "16 environments": {"ppo": {"num_envs": 16}},
    "spans of 10 and 40": {"fast": {"span": 10}, "slow": {"span": 40}},
    "rate 0.0005": {"fast": {"learning_rate": 5e-4}, "slow": {"learning_rate": 5e-4}},
    "entropy 0.01": {"ppo": {"entropy_coef": 0.01}},
    "discount 0.97": {"ppo": {"gamma": 0.97}},
    "half as wide": {"core": {"hidden_dim": 64, "module_dim": 16}},
    "unit initial scales": {
        "network": {"mission_init_scale": 1.0},
        "core": {"key_init_scale": 1.0, "message_init_scale": 1.0},
    },
}
"""Changes to sections of the default configuration."""


def make_config(agent: str, task: str, seeds: tuple[int, ...], trial: str) -> Config:
    """The configuration of one trial; what it does not name stays at its default."""
    start = Config(agent=agent, env=task, frames=TASKS[task], seeds=seeds, record_every=2_500)
    sections = {}
    for section, changes in TRIALS[trial].items():
        now = getattr(start, section)
        known = {field.name for field in dataclasses.fields(now)}  # A core has some of the settings.
        sections[section] = dataclasses.replace(now, **{k: v for k, v in changes.items() if k in known})
    return dataclasses.replace(start, **sections)


def run_trial(config: Config) -> dict[str, Any]:
    """For each seed: the area under the curve of training success, and success in larger rooms.

    A chunk in which no episode ended counts as the last.
    """
    trainer = make_trainer(config)
    state, curve = trainer.init(), []
    for _ in range(trainer.num_chunks):
        state, metrics = trainer.run_chunk(state)
        last = curve[-1] if curve else np.zeros(len(config.seeds))
        curve.append(np.where(np.asarray(metrics["episodes"]) > 0, np.asarray(metrics["success"]), last))
    agents = [trainer.agent(state, index) for index in range(len(config.seeds))]
    larger = {
        env: [
            float(evaluate_jax(agent, level, EPISODES, evaluation_key(seed), greedy=False).success.mean())
            for agent, seed in zip(agents, config.seeds, strict=True)
        ]
        for env, level in ((env, make(env)) for env in LARGER.get(config.env, ()))
    }
    return {"areas": np.mean(curve, axis=0).tolist(), "larger": larger}


def print_ranking(title: str, scores: dict[tuple[str, str], list[float]]) -> None:
    """Markdown: means of the scores of every (trial, agent), over all it was scored on; best mean over agents first."""
    agents = [agent for agent in AGENTS if any(name == agent for _, name in scores)]
    table = {
        trial: [statistics.mean(scores[trial, agent]) if (trial, agent) in scores else math.nan for agent in agents]
        for trial in TRIALS
        if any(name == trial for name, _ in scores)
    }
    print(f"\n| {title} | " + " | ".join(agents) + " | mean |\n" + "|---" * (len(agents) + 2) + "|")
    for trial, means in sorted(table.items(), key=lambda item: -statistics.mean(item[1])):
        print(f"| {trial} | " + " | ".join(f"{mean:.3f}" for mean in (*means, statistics.mean(means))) + " |")


def print_rankings(rows: list[dict[str, Any]]) -> None:
    """The ranking of trials by how fast agents learn, and by how they do in each larger room."""
    areas: dict[tuple[str, str], list[float]] = {}
    larger: dict[str, dict[tuple[str, str], list[float]]] = {}
    for row in rows:
        key = row["trial"], row["agent"]
        areas.setdefault(key, []).extend(row["areas"])
        for env, success in row.get("larger", {}).items():
            larger.setdefault(env, {}).setdefault(key, []).extend(success)
    print_ranking("area under the curve", areas)
    for env, scores in larger.items():
        print_ranking(env, scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="TRIAL")
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=AGENTS, metavar="AGENT")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    parser.add_argument("--out", type=Path, default=HERE / "results.jsonl")
    arguments = parser.parse_args()
    prevent_deadlock()
    enable_compile_cache()
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(row["agent"], row["trial"], row["task"], row["frames"], tuple(row["seeds"])) for row in rows}
    for trial in arguments.trials:
        for agent in arguments.agents:
            for task in arguments.tasks:
                if (agent, trial, task, TASKS[task], tuple(arguments.seeds)) in done:
                    continue
                config = make_config(agent, task, tuple(arguments.seeds), trial)
                row = {"agent": agent, "trial": trial, "task": task} | run_trial(config)
                row |= {"frames": TASKS[task], "seeds": arguments.seeds, "config": dataclasses.asdict(config)}
                row |= {"commit": provenance.commit(), "command": shlex.join(["python", *sys.argv])}
                with arguments.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                rows.append(row)
                print(agent, trial, task, [f"{area:.3f}" for area in row["areas"]], flush=True)
    print_rankings(rows)


if __name__ == "__main__":
    main()
