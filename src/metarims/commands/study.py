"""``metarims study list``, ``run`` and ``report``."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarims.errors import UserError, format_value
from metarims.runs.files import check_file


@dataclass(frozen=True)
class StudyList:
    """List the studies, or the plans of one.

    Studies are every figure and table of the paper, two that it speaks of, and two about what transfers.
    """

    name: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY]", help_behavior_hint="(default: all)")
    ] = ""
    """List this study's plans: labels as --only takes them, environment steps per seed, and tasks."""
    scale: Annotated[
        Literal["smoke", "laptop", "paper"] | None,
        tyro.conf.arg(metavar="{smoke,laptop,paper}", help_behavior_hint="(default: laptop)"),
    ] = None
    """The scale of these plans: its steps, and at smoke fewer tasks and agents where a study has many."""

    def run(self, command: str) -> int:
        from metarims.studies.catalogue import STUDIES

        if self.name:
            return _list_plans(self.name, self.scale or "laptop")
        if self.scale is not None:
            raise UserError(
                f"scale is {self.scale}, but no study is named: metarims study list NAME --scale {self.scale}"
            )
        width = max(map(len, STUDIES))
        print("\n".join(f"{name:<{width}}  {found.title} ({found.source})" for name, found in STUDIES.items()))
        print("\nNext: metarims study run NAME --scale smoke")
        return 0


def _list_plans(name: str, scale_name: str) -> int:
    from metarims.studies.catalogue import study
    from metarims.studies.scales import scale

    chosen, size = study(name), scale(scale_name)
    plans = chosen.plans(size)
    labels = [shlex.quote(plan.label) for plan in plans]
    print(f"{name} at scale {size.name}: {len(plans)} plan{'s' * (len(plans) != 1)}, {size.seeds} seeds each")
    for label, plan in zip(labels, plans, strict=True):
        configs = (plan.config(index, size) for index in range(len(plan.stages)))
        stages = ", then ".join(f"{config.frames:,} steps of {config.env}" for config in configs)
        print(f"{label:<{max(map(len, labels))}}  {stages}")
    print(f"\nNext: metarims study run {name} --scale {size.name} --only {labels[0]}")
    return 0


@dataclass(frozen=True)
class StudyRun:
    """Run a study: train, measure, judge, and write its report; the same command goes on with one interrupted."""

    name: Annotated[str, tyro.conf.Positional]
    """A study, as in metarims study list."""
    scale: Literal["smoke", "laptop", "paper"] = "laptop"
    """smoke: whether everything works. laptop: hours on two cores. paper: most tasks need an accelerator."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(default: runs/STUDY-SCALE)")] = (
        None
    )
    """The study's folder."""
    only: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="LABEL [LABEL ...]", help_behavior_hint="(default: all)")
    ] = ()
    """Run the plans of these labels alone, which are agents in most studies; another call may run the others."""
    workers: int = 0
    """Plans that run at once (0: one per core of this machine, one alone where it has an accelerator; with --on ray, as
    many as the cluster has room for)."""
    on: Literal["processes", "ray"] = "processes"
    """Who runs the plans: processes of this machine, or tasks of a Ray cluster, whose machines must share --out."""
    address: str = ""
    """--on ray: the cluster's address ("auto": the one on this machine); without it, one is started for this study."""
    cpus: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="(default: 1)")] = None
    """--on ray: cores that a plan needs."""
    gpus: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="(default: none)")] = None
    """--on ray: accelerators that a plan needs; a fraction lets plans share one."""

    def run(self, command: str) -> int:
        from metarims.runs.signals import StopRequest
        from metarims.studies.catalogue import study
        from metarims.studies.results import collect
        from metarims.studies.running import run_study
        from metarims.studies.scales import scale
        from metarims.terminal import Terminal

        chosen, size = study(self.name), scale(self.scale)
        out = self.out or Path("runs") / f"{self.name}-{self.scale}"
        with self._workers() as workers, StopRequest() as stop:
            ended = run_study(chosen, size, out, workers, Terminal(soft_wrap=True), stop, self.only)
        collect(out)
        if ended.left:
            finished = "1 plan is" if len(ended.finished) == 1 else f"{len(ended.finished)} plans are"
            print(f"Stopped and saved: {finished} finished. To go on: {command}")
            return 0
        _report_study(out, out / "report.html")
        if ended.failed:
            failed = "1 plan" if len(ended.failed) == 1 else f"{len(ended.failed)} plans"
            print(f"{failed} failed; the same command runs what failed again.", file=sys.stderr)
            return 1
        return 0

    def _workers(self):
        from metarims.runs.parallel import count_workers
        from metarims.studies.workers import Processes, RayCluster

        if self.workers < 0:
            raise UserError(f"workers is {self.workers}: it must be 1 or more, or 0 for the default.")
        needs = {"cpus": self.cpus, "gpus": self.gpus}
        if self.on == "ray":
            for name, value in needs.items():
                if value is not None and not 0 <= value < 1e6:
                    raise UserError(f"{name} is {value}: it must be zero or more, and below a million.")
            cpus, gpus = 1.0 if self.cpus is None else self.cpus, self.gpus or 0.0
            return RayCluster(self.address, self.workers, cpus, gpus)
        for name, value in ({"address": self.address or None} | needs).items():
            if value is not None:
                raise UserError(f"{name} is {format_value(value)}, which only --on ray knows: add it, or leave both.")
        return Processes(self.workers or count_workers())


@dataclass(frozen=True)
class StudyReport:
    """Write a study's report from its folder, or from the scores.json.gz of one."""

    path: Annotated[Path, tyro.conf.Positional]
    """The study's folder, or its collected scores."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The page (default: report.html in the folder, or beside the scores); figures go into figures/ beside it."""

    def run(self, command: str) -> int:
        check_file(self.out, "--out")
        default = self.path / "report.html" if self.path.is_dir() else self.path.with_name("report.html")
        _report_study(self.path, self.out or default)
        return 0


def _report_study(path: Path, out: Path) -> None:
    from metarims.runs.files import writing
    from metarims.studies.results import read_results
    from metarims.views.study_page import write_study_page

    results = read_results(path)
    for judged in results.verdicts:
        print(f"{judged.verdict.outcome if judged.verdict else 'not measured'}: {judged.sentence}")
        if judged.words:
            print(f"    {judged.words}")
    with writing("the report", out.parent, advice="Name another file with --out."):
        write_study_page(out, results)
    print(f"Wrote {out}: open it in a browser.")
