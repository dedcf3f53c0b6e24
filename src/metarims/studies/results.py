"""A study's results as one value: read from its folder, or from the one file that they were collected into."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metarims.errors import UserError
from metarims.runs.files import write_atomic
from metarims.studies.catalogue import scale, study
from metarims.studies.plans import Row, Study, score_table
from metarims.studies.running import read_about, result_path
from metarims.studies.verdicts import Verdict, judge

SCORES = "scores.json.gz"
"""The collected results, in the study's folder."""


class Results(NamedTuple):
    """What was measured in a study."""

    study: Study
    scale: str
    plans: Sequence[Mapping[str, Any]]
    """One result of ``running.run_plan`` per finished plan."""
    missing: Sequence[str]
    """Plans that have none."""

    @property
    def rows(self) -> list[tuple[str, Row]]:
        """Every number, with the label that it belongs to."""
        return [(plan["label"], Row(*row)) for plan in self.plans for row in plan["rows"]]

    @property
    def verdicts(self) -> list[tuple[str, Verdict | None]]:
        """Each claim's sentence and verdict; None where an agent was not measured."""
        found = []
        for question in self.study.questions:
            tables = {name: score_table(self.rows, *where) for name, where in question.tables.items()}
            complete = all(table.size for table in tables.values())
            same = len({table.shape[1] for table in tables.values()}) == 1
            verdict = judge(question.claim, tables) if complete and same else None
            found.append((question.claim.sentence, verdict))
        return found

    def table(self, label: str, name: str, where: str) -> np.ndarray:
        """One number per seed [S]."""
        return score_table(self.rows, label, name, (where,))[:, 0]


def read_results(path: Path) -> Results:
    """The results in a study's folder, or in a collected file; anything else is a ``UserError``."""
    if path.is_dir():
        about = read_about(path)
        names = [plan.name for plan in study(about["study"]).plans(scale(about["scale"]))]  # pyright: ignore
        files = {name: result_path(path, name) for name in names}
        plans = [_read_json(file, file.read_bytes()) for file in files.values() if file.exists()]
        missing = [name for name, file in files.items() if not file.exists()]
        return Results(study(about["study"]), about["scale"], plans, missing)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: give a study's folder, or the {SCORES} of one.") from error
    found = _read_json(path, content)
    try:
        return Results(study(found["study"]), str(found["scale"]), list(found["plans"]), list(found["missing"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds no study's results: it has no {error}.") from error


def collect(folder: Path) -> Path:
    """Write all results of a study's folder into one compressed file in it; equal results give equal bytes."""
    found = read_results(folder)
    whole = {"study": found.study.name, "scale": found.scale, "missing": found.missing, "plans": found.plans}
    path = folder / SCORES
    write_atomic(path, gzip.compress(json.dumps(whole).encode(), mtime=0))
    return path


def _read_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): remove it and run the study again.") from error
