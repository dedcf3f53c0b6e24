"""Reading what training runs wrote down: ``metrics.jsonl``, one line per seed and chunk."""

import json
from pathlib import Path
from typing import Any

from metarims.errors import UserError

REQUIRED = ("seed", "env_steps")


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
    whole_lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [{"agent": name, **_row(line, file, number)} for number, line in enumerate(whole_lines, 1) if line.strip()]


def _row(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"Line {number} of {file} is not JSON ({error.msg}): remove it, or train again.") from error
    missing = [key for key in REQUIRED if not isinstance(row, dict) or key not in row]
    if missing:
        raise UserError(f"Line {number} of {file} lacks '{missing[0]}': it is no row of metrics.")
    return row


def _agent_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["agent"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
