"""``metarims plot``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarims.commands.common import beside, file_name, flag, output, status
from metarims.runs.files import check_file


@dataclass(frozen=True)
class PlotCommand:
    """Plot the learning curves of runs: each seed thin, the mean bold with its 95 % interval."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, flag("RUN [RUN ...]")]
    """Folders of runs; each environment has its own panels."""
    out: Annotated[Path | None, flag("FILE")] = None
    """Write the figure here, as .png, .pdf or .svg (default: learning.png in the run's folder, or beside several)."""
    metric: Annotated[str, flag("NAME")] = ""
    """Metric of metrics.jsonl (default: success and return); docs/metrics.md explains them."""

    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the names of the runs' metrics instead."""

    def run(self, command: str) -> int:
        with status("Reading metrics"):
            from metarims.views.plots import check_ending, save_figure
            from metarims.views.run_plot import left_out, metric_names, plot_runs, read_runs

        check_file(self.out, "--out")
        if self.out:
            check_ending(self.out)
        runs = read_runs(self.paths)
        if self.list:
            print("\n".join(metric_names(runs)))
            return 0
        figure = plot_runs(runs, self.metric)
        for path in left_out(runs, self.metric):
            print(f"Note: {path} is left out: it has no values of {self.metric or 'success or return'}.")
        name = f"learning-{file_name(self.metric)}.png" if self.metric else "learning.png"
        out = self.out or beside([run.path for run in runs], name)
        with output("the figure", out, "."):
            save_figure(figure, out)
        return 0
