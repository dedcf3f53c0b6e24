"""Metrics as JSON lines: appended, and cut back to a checkpoint (``views.metrics`` reads them)."""

import errno
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


class Log:
    """A file of JSON lines that grows, can be compared with what it was, and cut back to that."""

    def __init__(self, path: Path):
        self.path = path
        self.num_bytes = path.stat().st_size if path.exists() else 0
        self._digest = _digest(path, self.num_bytes)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add ``rows``, one line each, in one write; all or (after an error) none of them are there."""
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

    def mark(self) -> dict[str, Any]:
        """Its length and content so far, to be kept beside a checkpoint."""
        return {"bytes": self.num_bytes, "sha256": self._digest.hexdigest()}

    def begins_with(self, mark: dict[str, Any]) -> bool:
        """Whether the file still begins with what was marked."""
        return self.num_bytes >= mark["bytes"] and _digest(self.path, mark["bytes"]).hexdigest() == mark["sha256"]

    def cut(self, num_bytes: int) -> None:
        """Drop everything after the first ``num_bytes``: lines that a restored state has yet to write."""
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
