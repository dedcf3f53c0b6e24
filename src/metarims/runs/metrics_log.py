"""``metrics.jsonl`` (a line per seed and chunk) and ``speed.jsonl`` (one per chunk): appended, truncated and read."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from metarims.errors import UserError, one_line
from metarims.runs.files import describe_error
from metarims.runs.schema import check_schema
from metarims.upgrade import upgrade_metrics

REQUIRED = ("seed", "env_steps")
TAIL_BYTES = 65_536
"""How much of a file's end holds its last chunk's lines."""


class Speed(TypedDict):
    """A line of ``speed.jsonl``: of one chunk, over all seeds."""

    seconds: float
    compile_seconds: float
    frames_per_second: float
    chunk: NotRequired[int]
    commit: NotRequired[str]
    """Of the training code; empty outside a checkout."""
    version: NotRequired[str]
    """Of metarims."""


class LogPosition(TypedDict):
    """Length and content of a ``Log`` at some time."""

    bytes: int
    sha256: str


def number(value: Any) -> float | int | None:
    """A metric for JSON: the shortest decimal that reads back as the same float32; None where it is not finite."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    return float(str(np.float32(value))) if np.isfinite(value) else None


class Log:
    """A file of JSON lines to append to, compare with an earlier position, and truncate to it."""

    def __init__(self, path: Path):
        self.path = path
        self.num_bytes = path.stat().st_size if path.exists() else 0
        self._digest = _digest(path, self.num_bytes)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append ``rows``, one line each: all of them or (after an error) none."""
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        with self.path.open("ab", buffering=0) as file:
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), self.num_bytes)
                raise
        self.num_bytes += len(data)
        self._digest.update(data)

    def position(self) -> LogPosition:
        """The position now, to be saved with a checkpoint."""
        return {"bytes": self.num_bytes, "sha256": self._digest.hexdigest()}

    def extends(self, position: LogPosition) -> bool:
        """Whether the file still starts with the content of that position."""
        return (
            self.num_bytes >= position["bytes"]
            and _digest(self.path, position["bytes"]).hexdigest() == position["sha256"]
        )

    def truncate(self, num_bytes: int) -> None:
        """Remove everything after the first ``num_bytes``."""
        if self.num_bytes > num_bytes:
            os.truncate(self.path, num_bytes)
            self.num_bytes, self._digest = num_bytes, _digest(self.path, num_bytes)


def _digest(path: Path, num_bytes: int) -> Any:
    digest, left = hashlib.sha256(), num_bytes
    if left:
        with path.open("rb") as file:
            while left and (data := file.read(min(left, 2**20))):
                digest.update(data)
                left -= len(data)
    return digest


def read_metrics(path: str | Path, agent: str | None = None) -> list[dict[str, Any]]:
    """Rows of a run's ``metrics.jsonl`` (``path``: that file, or the run's folder), each with a key ``agent``.

    ``agent``: the value of that key (default: from the folder's ``config.json``). An incomplete last line, as a killed
    run leaves it, is skipped; any other invalid line raises ``UserError``.
    """
    path = Path(path)
    file = path / "metrics.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"There is no {file}: give a run's folder, or its metrics.jsonl.")
    name = agent or _agent_of(file.parent)
    return [{"agent": name, **_row(value, where)} for where, value in _read_lines(file)]


def metrics(run: str | Path) -> Any:
    """The metrics of a run's folder as a pandas frame: a row for each seed and chunk. ``UserError`` without pandas."""
    rows = read_metrics(run)
    try:
        import pandas  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("metrics needs pandas: pip install pandas.", field="run", value=run) from error
    return pandas.DataFrame(rows)


def read_chunks(run: Path) -> list[Speed]:
    """The valid lines of a run's ``speed.jsonl``."""
    try:
        lines = (run / "speed.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return []
    chunks = []
    for line in lines:
        try:
            line = json.loads(line)
            check_schema(line, Speed, "speed.jsonl")
        except (ValueError, RecursionError, UserError):
            continue
        chunks.append(line)
    return chunks


def read_last_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of the last chunk in such a file, also while it is being written."""
    try:
        with path.open("rb") as file:
            start = file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")[bool(start) : -1]
        rows = [json.loads(line) for line in lines if line]
    except (OSError, ValueError):
        return []
    rows = [row for row in rows if isinstance(row, dict)]
    return [row for row in rows if row.get("env_steps") == rows[-1].get("env_steps")]


def _read_lines(file: Path) -> list[tuple[str, Any]]:
    """The name and the JSON value of each complete line."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {describe_error(error)}.") from error
    values = []
    for where, line in ((f"Line {number} of {file}", line) for number, line in enumerate(lines, 1) if line.strip()):
        try:
            values.append((where, json.loads(line)))
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", describe_error(error))
            raise UserError(f"{where} is not JSON ({what}): remove it, or train again.") from error
    return values


def _row(row: Any, where: str) -> dict[str, Any]:
    missing = [key for key in REQUIRED if not isinstance(row, dict) or key not in row]
    if missing:
        raise UserError(f"{where} lacks '{missing[0]}': it is not a row of metrics.")
    check_schema(row, dict[str, float | None], where)
    check_schema(row["seed"], int, f"{where}.seed")
    check_schema(row["env_steps"], int, f"{where}.env_steps")
    return upgrade_metrics(row)


def _agent_of(folder: Path) -> str:
    try:
        return one_line(str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["agent"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return folder.name
