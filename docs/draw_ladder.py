"""Draw the ladder from the LSTM to the RIM in ``ladder.svg`` from the committed scores: ``python docs/draw_ladder.py``.

Area under the curve of training success, mean over seeds with its 95 % interval.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from metarims.evaluation.statistics import mean_interval
from metarims.studies.results import read_results

HERE = Path(__file__).parent
NAME = "area of success"


def main() -> None:
    results = read_results(HERE.parent / "benchmarks/scores/ladder-laptop.json.gz")
    tasks = list(dict.fromkeys(plan["stages"][-1] for plan in results.plans))
    matplotlib.rcParams.update({"svg.hashsalt": "metarims", "svg.fonttype": "none", "font.size": 9})
    figure = Figure((7.2, 3.0), layout="constrained")
    for axes, task in zip(np.ravel(figure.subplots(1, len(tasks), sharey=True)), tasks, strict=True):
        labels = [plan["label"] for plan in results.plans if plan["stages"][-1] == task]
        for row, label in enumerate(labels):
            value, low, high = mean_interval(results.table(label, NAME, task)[:, None])
            axes.plot([low, high], [row, row], color="#0072B2", linewidth=2, solid_capstyle="butt")
            axes.plot(value, row, "o", color="#0072B2")
        axes.set(title=task, xlabel="area under the curve of success, to 102,400 steps")
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    commits = sorted({plan["commit"] for plan in results.plans})
    figure.savefig(HERE / "ladder.svg", metadata={"Date": None, "Description": f"commits {commits}"})


if __name__ == "__main__":
    main()
