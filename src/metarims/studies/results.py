"""A study's results: read from its folder, or from the file into which they were collected."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from metarims.errors import UserError
from metarims.evaluation.tables import Summary
from metarims.runs.files import describe_error, locked, write_atomic
from metarims.runs.schema import check_schema
from metarims.studies.catalogue import study
from metarims.studies.plans import MeasuredWith, Scale, Score, Study, plans_of
from metarims.studies.scales import scale
from metarims.studies.scores import ScoreTables, score_table, score_tables
from metarims.studies.study_folder import (
    LOCK,
    check_result,
    check_study,
    claim_study_folder,
    holds_study,
    read_about,
    result_path,
)
from metarims.studies.verdicts import Verdict, judge
from metarims.upgrade import upgrade_records, upgrade_result
from metarims.views.packing import PackedEpisode

TASK_RESAMPLES = 2000
"""Bootstrap resamples of an interval on one task."""
SCORES = "scores.json.gz"
"""The collected results, in the study's folder."""


class Point(TypedDict):
    """A point of a learning curve."""

    seed: int
    env_steps: int
    success: float | None


class Raster(TypedDict):
    """Active modules: of each episode [steps, modules], 0 or 1."""

    active: list[list[list[int]]]
    env: str
    seed: int


class ValueSeries(TypedDict):
    """The predicted value: of each episode [steps]."""

    values: list[list[float]]
    env: str
    seed: int


class Records(TypedDict):
    """What measures recorded beside scores."""

    raster: NotRequired[Raster | None]
    values: NotRequired[ValueSeries | None]
    evaluations: NotRequired[list[Summary]]
    episodes: NotRequired[list[PackedEpisode]]


class PlanConfig(TypedDict):
    """What is read of a stage's configuration."""

    seeds: list[int]


class PlanResult(TypedDict):
    """The result of a plan, as ``jobs.run_plan`` writes it."""

    label: str
    plan: str
    stages: list[str]
    rows: list[tuple[int, str, str, float]]
    records: Records
    curves: list[list[Point]]
    stopped: list[int]
    configs: list[PlanConfig]
    measured: NotRequired[MeasuredWith]
    parameters: NotRequired[int]
    frames_per_second: NotRequired[float]
    """Of all training, all seeds together, without compilation."""
    seconds: float
    commit: str
    """Of the code that measured."""
    trained_by: NotRequired[list[str]]
    """Commits of the code that trained, in order; ``unknown`` where the run does not say."""
    date: str
    versions: dict[str, str]


class Collected(TypedDict):
    """The file of collected results."""

    study: str
    scale: str
    missing: list[str]
    plans: list[dict[str, Any]]


class Judged(NamedTuple):
    """A claim and its verdict."""

    statement: str
    verdict: Verdict | None
    """None where an agent was not measured."""
    left_out: str = ""
    """What was measured of some agents only, and so is not in the verdict; often empty."""
    tables: ScoreTables | None = None
    """The scores that were judged."""

    @property
    def by_task(self) -> dict[str, Verdict]:
        """The verdict on each task alone, where there are several."""
        if self.verdict is None or self.tables is None or len(self.tables.conditions) < 2:
            return {}
        claim, scores = self.verdict.claim, self.tables.scores
        columns = {
            task: {name: table[:, column, None] for name, table in scores.items()}
            for column, task in enumerate(self.tables.conditions)
        }
        return {task: judge(claim, column, resamples=TASK_RESAMPLES) for task, column in columns.items()}

    @property
    def text(self) -> str:
        """The verdict's figures, and what they leave out; empty without a verdict."""
        if self.verdict is None:
            return ""
        return f"{self.verdict.statement} ({self.left_out})" if self.left_out else self.verdict.statement


class Results(NamedTuple):
    """The measurements of a study."""

    study: Study
    scale: str
    plans: Sequence[Mapping[str, Any]]
    """One ``PlanResult`` per finished plan."""
    missing: Sequence[str]
    """Plans without a result."""

    @property
    def rows(self) -> list[tuple[str, Score]]:
        """Every score with its label."""
        return [(plan["label"], Score(*row)) for plan in self.plans for row in plan["rows"]]

    @property
    def trained(self) -> dict[str, set[int]]:
        """The trained seeds of each label."""
        found: dict[str, set[int]] = {}
        for plan in self.plans:
            found.setdefault(plan["label"], set()).update(plan["configs"][-1]["seeds"])
        return found

    @property
    def verdicts(self) -> list[Judged]:
        """Each claim with its verdict, on the tasks and seeds that were measured for all its agents."""
        found = []
        for hypothesis in self.study.hypotheses:
            tables = score_tables(self.rows, hypothesis.tables, self.trained)
            complete = all(table.size for table in tables.scores.values())
            same = len({table.shape[1] for table in tables.scores.values()}) == 1
            verdict = judge(hypothesis.claim, tables.scores) if complete and same else None
            found.append(Judged(hypothesis.claim.statement, verdict, tables.left_out, tables))
        return found

    def table(self, label: str, name: str, condition: str) -> np.ndarray:
        """One number per seed [S]."""
        return score_table(self.rows, label, name, (condition,))[:, 0]


def read_results(path: Path) -> Results:
    """The results in a study's folder or a collected file; anything else raises ``UserError``."""
    if path.is_dir():
        about = read_about(path)
        asked, size = study(about["study"]), scale(about["scale"])
        plans = _read_plans(path, asked, size)
        finished = [plan["plan"] for plan in plans]
        missing = [plan.name for plan in asked.plans(size) if plan.name not in finished]
        return Results(asked, size.name, plans, missing)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: give a study's folder, or the {SCORES} of one.") from error
    found = _read_json(path, content)
    check_schema(found, Collected, f"{path}: the collection")
    plans = [_checked(plan, f"{path}: plans[{index}]") for index, plan in enumerate(found["plans"])]
    return Results(study(found["study"]), scale(found["scale"]).name, plans, found["missing"])


def collect(folder: Path) -> Path:
    """Write all results of a study's folder into one compressed file in it; equal results give equal bytes.

    Under a lock, so that of several processes none overwrites newer results by older ones.
    """
    path = folder / SCORES
    with locked(folder / LOCK):
        found = read_results(folder)
        whole = {"study": found.study.name, "scale": found.scale, "missing": found.missing, "plans": found.plans}
        write_atomic(path, gzip.compress(json.dumps(whole).encode(), mtime=0))
    return path


def prepare_folder(folder: Path, study: Study, scale: Scale) -> None:
    """Make a folder the study's, or resume what is in it.

    Collected results in a new folder are put in place, so that their plans are not run again. Results of another study
    or scale, or with other settings or measures than today's, raise ``UserError``, and nothing is written.
    """
    plans, collected = plans_of(study, scale), folder / SCORES
    if holds_study(folder):
        check_study(folder, read_about(folder), study, scale)
    for result in _read_plans(folder, study, scale):
        check_result(folder, plans[result["plan"]], scale, result)
    if not holds_study(folder) and collected.exists():
        found = read_results(collected)
        check_study(collected, {"study": found.study.name, "scale": found.scale}, study, scale)
        strange = [result["plan"] for result in found.plans if result["plan"] not in plans]
        if strange:
            raise UserError(
                f"{collected} holds results of {', '.join(strange)}, which are not plans of {study.name}: move it away."
            )
        for result in found.plans:
            check_result(collected, plans[result["plan"]], scale, result)
        for result in found.plans:
            place = result_path(folder, result["plan"])
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps(result).encode())
    claim_study_folder(folder, study, scale)


def _read_plans(folder: Path, study: Study, scale: Scale) -> list[Mapping[str, Any]]:
    """The results of the finished plans."""
    files = {plan.name: result_path(folder, plan.name) for plan in study.plans(scale)}
    return [_read_plan(file, name) for name, file in files.items() if file.exists()]


def _read_plan(path: Path, name: str) -> Mapping[str, Any]:
    try:
        plan = _checked(_read_json(path, path.read_bytes()), f"{path}: the result")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {describe_error(error)}.") from error
    if plan["plan"] != name:
        raise UserError(f"{path} is the result of {plan['plan']}, not of {name}: remove it and run the study again.")
    return plan


def _read_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({describe_error(error)}): remove it and run the study again.") from error


def _checked(plan: Any, where: str) -> Mapping[str, Any]:
    """A plan's result of unknown origin, checked, with today's names."""
    if isinstance(plan, dict) and "records" in plan:
        plan = plan | {"records": upgrade_records(plan["records"])}
    check_schema(plan, PlanResult, where)
    numbers = [len(plan[name]) for name in ("stages", "curves", "configs")]
    if not plan["stages"] or len(set(numbers)) > 1:
        raise UserError(
            "{} has {} stages, {} curves and {} configs: there must be one of each.".format(where, *numbers)
        )
    raster = plan["records"].get("raster")
    if raster is not None and len({len(step) for episode in raster["active"] for step in episode}) != 1:
        raise UserError(f"{where}.records.raster.active must hold equally many modules at every step.")
    return upgrade_result(plan)
