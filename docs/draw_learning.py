"""Draw the learning curves in ``learning.svg`` from the committed scores: ``python docs/draw_learning.py``.

Training success over environment steps, mean over seeds with its 95 % bootstrap interval.
"""

import gzip
import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
TASKS = {"MiniGrid-DoorKey-5x5-v0": 103_000, "BabyAI-GoToLocal-v0": 308_000}
AGENTS = {"metarims": ("#0072B2", "-"), "modular": ("#D55E00", "--"), "vanilla": ("#009E73", ":")}


def main() -> None:
    scores = json.loads(gzip.decompress((HERE.parent / "benchmarks/scores/fig3-laptop.json.gz").read_bytes()))
    commits = {plan["commit"] for plan in scores["plans"]}
    matplotlib.rcParams.update({"svg.hashsalt": "metarims", "svg.fonttype": "none", "font.size": 9})
    figure = Figure((7.2, 2.7), layout="constrained")
    for axes, (task, end) in zip(figure.subplots(1, 2, sharey=True), TASKS.items(), strict=True):
        for agent, (color, line) in AGENTS.items():
            (plan,) = (p for p in scores["plans"] if (p["label"], p["stages"]) == (agent, [task]))
            by_seed: dict[int, list[tuple[int, float]]] = {}
            for point in plan["curves"][-1]:
                if point["success"] is not None:
                    by_seed.setdefault(point["seed"], []).append((point["env_steps"], point["success"]))
            steps = np.linspace(0, end, 50)[1:]
            seeds = np.array([np.interp(steps, *zip(*points, strict=True)) for points in by_seed.values()])
            chosen = np.random.default_rng(0).integers(len(seeds), size=(2000, len(seeds)))
            low, high = np.quantile(seeds[chosen].mean(1), (0.025, 0.975), axis=0)
            axes.plot(steps / 1000, seeds.mean(0), line, color=color, label=agent)
            axes.fill_between(steps / 1000, low, high, color=color, alpha=0.15, linewidth=0)
        axes.set(title=f"{task}, {len(seeds)} seeds", xlabel="thousand environment steps", ylim=(0, 1.02))
    figure.axes[0].set_ylabel("training success")
    figure.axes[1].legend(loc="lower right")
    figure.savefig(HERE / "learning.svg", metadata={"Date": None, "Description": f"commits {sorted(commits)}"})


if __name__ == "__main__":
    main()
