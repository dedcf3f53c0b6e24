"""Reading what training runs wrote down: ``metrics.jsonl``, a line per seed and chunk, and ``speed.jsonl``."""

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from metarims.errors import UserError, one_line
from metarims.runs.files import describe_error
from metarims.runs.schema import check_schema

REQUIRED = ("seed", "env_steps")


class Speed(TypedDict):
    """A line of ``speed.jsonl``: of one chunk, over all seeds."""

    seconds: float
    compile_seconds: float
    frames_per_second: float
    commit: NotRequired[str]
    """Of the code that trained it; empty outside a checkout."""
    version: NotRequired[str]
    """Of metarims."""


def read_metrics(path: str | Path, agent: str | None = None) -> list[dict[str, Any]]:
    """Rows of a run's ``metrics.jsonl`` (``path``: that file, or the run's folder), each with a key ``agent``.

    ``agent`` is what to call it; by default what the folder's ``config.json`` says. A last line without its end, as a
    killed run leaves it, is passed over; any other line that is no row is a ``UserError``.
    """
    path = Path(path)
    file = path / "metrics.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"There is no {file}: give a run's folder, or its metrics.jsonl.")
    name = agent or _agent_of(file.parent)
    return [{"agent": name, **_row(value, where)} for where, value in _read_lines(file)]


def read_speed(path: str | Path) -> float:
    """Frames per second over a whole training (``path``: its ``speed.jsonl``), all seeds, without compile time."""
    seconds, frames = 0.0, 0.0
    for where, line in _read_lines(Path(path)):
        check_schema(line, Speed, where)
        running = line["seconds"] - line["compile_seconds"]
        seconds, frames = seconds + running, frames + line["frames_per_second"] * running
    if not 0 < seconds < float("inf") or not 0 <= frames < float("inf"):
        raise UserError(f"{path} tells no speed: its lines come to {frames:g} frames in {seconds:g} s. Train again.")
    return frames / seconds


def _read_lines(file: Path) -> list[tuple[str, Any]]:
    """The JSON of each whole line, and where it stands."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {describe_error(error)}.") from error
    return [_parse(line, f"Line {number} of {file}") for number, line in enumerate(lines, 1) if line.strip()]


def _parse(line: str, where: str) -> tuple[str, Any]:
    try:
        return where, json.loads(line)
    except (ValueError, RecursionError) as error:
        what = getattr(error, "msg", describe_error(error))
        raise UserError(f"{where} is not JSON ({what}): remove it, or train again.") from error


def _row(row: Any, where: str) -> dict[str, Any]:
    missing = [key for key in REQUIRED if not isinstance(row, dict) or key not in row]
    if missing:
        raise UserError(f"{where} lacks '{missing[0]}': it is no row of metrics.")
    check_schema(row, dict[str, float | None], where)
    check_schema(row["seed"], int, f"{where}.seed")
    check_schema(row["env_steps"], int, f"{where}.env_steps")
    return row


def _agent_of(folder: Path) -> str:
    try:
        return one_line(str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["agent"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return folder.name
