"""``metarims plot``, ``envs``, ``params``, ``doctor`` and ``demo``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from metarims.commands.common import begin_computing, enable_cache, file_name
from metarims.config import Config, Network
from metarims.runs.files import check_file


@dataclass(frozen=True)
class Plot:
    """Draw learning curves of runs side by side: each seed thin, the mean of seeds bold, its 95 % interval shaded."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of runs; each task has panels of its own."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The picture, .png, .pdf or .svg (default: learning.png in the run's folder, or beside the first of several)."""
    metric: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """Draw this metric of metrics.jsonl (default: success and return); docs/metrics.md explains them."""

    def run(self, command: str) -> int:
        from metarims.runs.files import writing
        from metarims.views.plots import check_ending, save_figure
        from metarims.views.run_plot import left_out, plot_runs, read_runs

        check_file(self.out, "--out")
        if self.out:
            check_ending(self.out)
        runs = read_runs(self.paths)
        figure = plot_runs(runs, self.metric)
        folder = runs[0].path if len(runs) == 1 else runs[0].path.parent
        name = f"learning-{file_name(self.metric)}.png" if self.metric else "learning.png"
        out = self.out or folder / name
        with writing("the picture", out.parent, advice="Name another file with --out."):
            out.parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, out)
        for path in left_out(runs, self.metric):
            print(f"Note: {path} is not in it: nothing was measured there of {self.metric or 'success or return'}.")
        print(f"Wrote {out}.")
        return 0


@dataclass(frozen=True)
class Envs:
    """List every task: size, time limit, missions, words, and whether it is compiled or stepped on the host."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """As JSON, one object per task."""

    def run(self, command: str) -> int:
        from metarims.gridworld.listing import entries, table_lines

        found = entries()
        if self.json:
            print(json.dumps([entry._asdict() for entry in found], indent=1))
            return 0
        print("\n".join(table_lines(found)))
        print(
            f"\n{len(found)} tasks. steps: time limit (+: longer for long missions); -: only playing would tell; "
            "native: compiled with the agent; host: stepped by Gymnasium."
        )
        return 0


@dataclass(frozen=True)
class Params:
    """Print the agents side by side: parameters of every group, and operations of every part of a step."""

    agents: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Only these (default: all)."""
    env: str = Config.env
    """Id of the task: it decides the number of actions and of missions."""
    network: Network = field(default_factory=Network)
    """Sizes of the agents."""

    def run(self, command: str) -> int:
        from metarims.comparison import compare_costs, print_costs

        begin_computing()
        print_costs(compare_costs(Config(env=self.env, network=self.network), self.agents))
        return 0


@dataclass(frozen=True)
class Doctor:
    """Print what a bug report needs: versions, devices, compile cache, memory, cores, free disk."""

    def run(self, command: str) -> int:
        from metarims.runtime import describe

        lines = describe()
        width = max(len(name) for name, _ in lines)
        print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
        return 0


@dataclass(frozen=True)
class Version:
    """Print the version."""

    def run(self, command: str) -> int:
        from metarims import __version__

        print(f"metarims {__version__}")
        return 0


@dataclass(frozen=True)
class RunDemo:
    """Train three agents on a small BabyAI task, measure them in the real environment, and write one HTML report."""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/demo")
    """Folder of the demo's runs and of report.html; finished runs in it are used again."""

    def run(self, command: str) -> int:
        print("Three agents learn one task of BabyAI, and are then measured.", flush=True)  # Imports take seconds.
        from metarims.demo import run_demo

        enable_cache()
        return run_demo(self.out)
