"""``metarims study list``, ``run`` and ``report``."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarims.commands.common import flag, output, status
from metarims.errors import UserError, format_value, invalid
from metarims.runs.files import check_file, check_name

Scale = Literal["smoke", "laptop", "paper"]


@dataclass(frozen=True)
class StudyListCommand:
    """List the studies, or the plans of one study.

    They cover all figures and tables of the paper, claims of its text, and questions of our own.
    """

    name: Annotated[str, tyro.conf.Positional, flag("[STUDY]", "all")] = ""
    """List the plans of this study: their labels (see --only), environment steps per seed, and environments."""
    scale: Scale = "laptop"
    """Scale of these plans; smoke has fewer steps, environments and agents."""

    def run(self, command: str) -> int:
        with status("Reading the studies"):
            from metarims.studies.catalogue import STUDIES

        if self.name:
            return self._list_plans()
        width = max(map(len, STUDIES))
        print("\n".join(f"{name:<{width}}  {found.title} ({found.source})" for name, found in STUDIES.items()))
        print("\nNext: metarims study run NAME --scale smoke")
        return 0

    def _list_plans(self) -> int:
        from metarims.studies.catalogue import study
        from metarims.studies.scales import scale

        chosen, size = study(self.name), scale(self.scale)
        plans = chosen.plans(size)
        labels = [shlex.quote(plan.label) for plan in plans]
        print(f"{self.name} at scale {size.name}: {len(plans)} plan{'s' * (len(plans) != 1)}, {size.seeds} seeds each")
        for label, plan in zip(labels, plans, strict=True):
            configs = (plan.config(index, size) for index in range(len(plan.stages)))
            stages = ", then ".join(f"{config.frames:,} steps of {config.env}" for config in configs)
            print(f"{label:<{max(map(len, labels))}}  {stages}")
        print(f"\nNext: metarims study run {self.name} --scale {size.name} --only {labels[0]}")
        return 0


@dataclass(frozen=True)
class StudyRunCommand:
    """Train and measure a study's agents, decide its claims, and write a report. Rerun the command to resume."""

    name: Annotated[str, tyro.conf.Positional, flag("STUDY")]
    """Name of the study (metarims study list)."""
    scale: Annotated[str, flag("{smoke,laptop,paper}", "laptop")] = "laptop"
    """smoke: a test in minutes. laptop: hours on two cores. paper: most studies need an accelerator."""
    out: Annotated[Path | None, flag("FOLDER", "runs/STUDY-SCALE")] = None
    """Folder of the study."""
    only: Annotated[tuple[str, ...], flag("LABEL [LABEL ...]", "all")] = ()
    """Run only the plans with these labels (in most studies, agents); run the others later."""
    workers: int = 0
    """Plans that run at the same time (0: one per core, or one on an accelerator; with --on ray, as many as fit)."""
    on: Literal["processes", "ray"] = "processes"
    """Run plans in processes on this machine, or as tasks of a Ray cluster whose machines share --out."""
    address: str = ""
    """--on ray: address of the cluster ("auto": the one on this machine); without it, a cluster is started."""
    cpus: Annotated[float | None, flag("NUMBER", "1")] = None
    """--on ray: cores per plan."""
    gpus: Annotated[float | None, flag("NUMBER", "none")] = None
    """--on ray: accelerators per plan; with a fraction, plans share one."""

    def run(self, command: str) -> int:
        out = self.out or Path("runs") / f"{self.name}-{self.scale}"
        check_name(out, "out")
        with status(f"Starting the study {self.name}"):
            from metarims.runs.signals import StopRequest
            from metarims.studies.catalogue import study
            from metarims.studies.results import collect
            from metarims.studies.running import run_study
            from metarims.studies.scales import scale
            from metarims.terminal import Terminal

        chosen, size = study(self.name), scale(self.scale)
        with self._workers() as workers, StopRequest() as stop:
            ended = run_study(chosen, size, out, workers, Terminal(soft_wrap=True), stop, self.only)
        collect(out)
        if ended.left:
            print(f"Stopped and saved: {_plans(ended.finished)} finished. To resume: {command}")
            return 0
        _report_study(out, out / "report.html")
        if ended.failed:
            print(f"{_plans(ended.failed)} failed: rerun the command to repeat them.", file=sys.stderr)
            return 1
        return 0

    def _workers(self):
        from metarims.runs.workers import Processes, RayCluster, count_workers

        if self.workers < 0:
            raise invalid("workers", self.workers, "it must be 1 or more, or 0 for the default")
        needs = {"cpus": self.cpus, "gpus": self.gpus}
        if self.on == "ray":
            for name, value in needs.items():
                if value is not None and not 0 <= value < 1e6:
                    raise invalid(name, value, "it must be zero or more, and below a million")
            cpus, gpus = 1.0 if self.cpus is None else self.cpus, self.gpus or 0.0
            return RayCluster(self.address, self.workers, cpus, gpus)
        for name, value in ({"address": self.address or None} | needs).items():
            if value is not None:
                message = f"{name} is {format_value(value)}, which needs --on ray: add it, or remove --{name}."
                raise UserError(message, field=name, value=value)
        return Processes(self.workers or count_workers())


@dataclass(frozen=True)
class StudyReportCommand:
    """Write the report of a study from its folder, or from its scores.json.gz."""

    path: Annotated[Path, tyro.conf.Positional]
    """The study's folder, or its scores.json.gz."""
    out: Annotated[Path | None, flag("FILE")] = None
    """Write the page here, and figures/ beside it (default: report.html in the folder, or beside the scores)."""

    def run(self, command: str) -> int:
        check_file(self.out, "--out", ".html")
        default = self.path / "report.html" if self.path.is_dir() else self.path.with_name("report.html")
        _report_study(self.path, self.out or default)
        return 0


def _report_study(path: Path, out: Path) -> None:
    with status(f"Reading {path}"):
        from metarims.studies.results import read_results
        from metarims.studies.study_page import summarize_agents, write_study_page
        from metarims.terminal import Terminal
        from metarims.views.agent_table import print_agents

        results = read_results(path)
    for judged in results.verdicts:
        print(f"{judged.verdict.outcome if judged.verdict else 'not measured'}: {judged.statement}")
        if judged.text:
            print(f"    {judged.text}")
    if agents := summarize_agents(results):
        print_agents(agents, Terminal())
    with output("the report", out, ": open it in a browser."):
        write_study_page(out, results)


def _plans(names: tuple[str, ...] | list[str]) -> str:
    return f"{len(names)} plan{'s' * (len(names) != 1)}"
