"""Agents trained in our world, measured there and in Farama's: is the success the same?

    python benchmarks/agreement.py                      # trains what is not trained yet, and measures
    python benchmarks/agreement.py --frames 4096 --episodes 20 --preset debug --runs /tmp/a --scores /tmp/a.json.gz

Each agent's task is an ordinary run in a folder of its own below ``--runs``, so the same command resumes after an
interruption.
Both worlds play new levels under the sampled policy: ours from tile codes, Farama's from its pictures and its mission's
text. Two Wilson intervals of 95 % that do not overlap would say that the worlds differ.
"""

import argparse
import dataclasses
import gzip
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metarims import __version__
from metarims.evaluation.tables import as_dict, evaluate_agents, interval_text, make_rows, pooled
from metarims.presets import preset
from metarims.runs import provenance
from metarims.runs.files import write_atomic
from metarims.runs.folder import load_agents
from metarims.runs.training import train
from metarims.runtime import enable_compile_cache, prevent_deadlock

TASKS = {
    "MiniGrid-DoorKey-6x6-v0": 300_000,
    "BabyAI-PickupDist-v0": 600_000,
    "MiniGrid-Fetch-5x5-N2-v0": 300_000,
    "MiniGrid-Dynamic-Obstacles-6x6-v0": 200_000,
    "BabyAI-GoTo-v0": 300_000,
    "BabyAI-Open-v0": 300_000,
    "BabyAI-UnlockPickup-v0": 300_000,
    "BabyAI-GoToSeq-v0": 300_000,
    "BabyAI-BossLevel-v0": 300_000,
}
"""Environment steps of training, per seed."""
ENTROPY = {"MiniGrid-Dynamic-Obstacles-6x6-v0": 0.05}
"""Where the default entropy bonus is too small: a collision costs 1, and most agents settle for turning on the spot."""
EPISODES = 500
SCORES = Path(__file__).parent / "scores" / "agreement.json.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="ID")
    parser.add_argument("--agents", nargs="+", default=["metarims"], metavar="AGENT")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--frames", type=int, help="instead of each task's own")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="in each world, per seed")
    parser.add_argument("--runs", type=Path, default=Path("runs/agreement"))
    parser.add_argument("--scores", type=Path, default=SCORES)
    arguments = parser.parse_args()
    enable_compile_cache()
    tasks = {task: {agent: measure(task, agent, arguments) for agent in arguments.agents} for task in arguments.tasks}
    scores = {
        "metarims": f"{__version__} ({provenance.commit()})",
        "command": " ".join(["python", "benchmarks/agreement.py", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("jax", "minigrid", "gymnasium")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "policy": "sampled",
        "tasks": tasks,
    }
    arguments.scores.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(arguments.scores, gzip.compress(json.dumps(scores).encode(), mtime=0))
    print(markdown(tasks))


def measure(task: str, agent: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train an agent on a task, or resume its run, and play it in both worlds."""
    start = preset(arguments.preset)
    config = dataclasses.replace(
        start,
        ppo=dataclasses.replace(start.ppo, entropy_coef=ENTROPY.get(task, start.ppo.entropy_coef)),
        agent=agent,
        env=task,
        seeds=tuple(arguments.seeds),
        frames=arguments.frames or TASKS[task],
    )
    folder = arguments.runs / f"{config.agent}-{task}"
    if not train(config, folder).finished:
        raise SystemExit("Stopped and saved. The same command resumes.")
    agents = load_agents(folder)
    results = {
        place: evaluate_agents(agents, None, place, arguments.episodes, ("sampled",)) for place in ("jax", "farama")
    }
    ours, theirs = (pooled(found) for found in results.values())
    return {
        "env_steps": agents[0].env_steps,
        "ours": ours._asdict(),
        "farama": theirs._asdict(),
        "overlap": ours.low <= theirs.high and theirs.low <= ours.high,
        "text": [interval_text(ours), interval_text(theirs)],
        "config": dataclasses.asdict(config),
        "results": [as_dict(row) for found in results.values() for row in make_rows(found)],
    }


def markdown(tasks: dict[str, dict[str, dict[str, Any]]]) -> str:
    """One row per task and agent."""
    lines = [
        "| task | agent | trained steps | success in our world | in Farama's | intervals overlap |",
        "|---|---|---|---|---|---|",
    ]
    for task, agents in tasks.items():
        for agent, found in agents.items():
            ours, theirs = found["text"]
            overlap = "yes" if found["overlap"] else "no"
            lines.append(f"| `{task}` | `{agent}` | {found['env_steps']:,} | {ours} | {theirs} | {overlap} |")
    return "\n".join(lines)


if __name__ == "__main__":
    prevent_deadlock()
    main()
