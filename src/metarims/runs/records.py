"""Metrics as JSON lines: appended, and cut back to a checkpoint (``views.metrics`` reads them)."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def number(value: Any) -> float | int | None:
    """A metric as JSON has it: the shortest decimal that reads back as the same float32; None where undefined."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    return float(str(np.float32(value))) if np.isfinite(value) else None


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append ``rows``, one line each, in one write; all or (after an error) none of them are there."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise


def size(path: Path) -> int:
    """Length in bytes; zero where there is no file."""
    return path.stat().st_size if path.exists() else 0


def digest(path: Path, num_bytes: int) -> str | None:
    """SHA-256 of the first ``num_bytes`` of a file, or None if it is shorter."""
    if size(path) < num_bytes:
        return None
    data = path.read_bytes()[:num_bytes] if num_bytes else b""
    return hashlib.sha256(data).hexdigest()


def cut(path: Path, num_bytes: int) -> None:
    """Drop everything after the first ``num_bytes``: lines that a restored state has yet to write."""
    if size(path) > num_bytes:
        os.truncate(path, num_bytes)
