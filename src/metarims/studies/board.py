"""How far the plans of a study are, read from their folders: the same wherever they run."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

from metarims.runs.progress import duration
from metarims.studies.plans import Plan, Scale
from metarims.studies.study_folder import stage_path

REFRESH_SECONDS = 2.0
LAST_BYTES = 65_536
"""Of a file of metrics, where its last lines are looked for."""


class Board:
    """A row per plan: live on a terminal, otherwise a line whenever one ends."""

    def __init__(self, console: Console, folder: Path, plans: Sequence[Plan], scale: Scale):
        self.console, self.folder = console, folder
        self.stages = {plan.name: _stages(plan, scale) for plan in plans}
        self.states = dict.fromkeys(self.stages, "waits")
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._drawn = 0.0
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "Board":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.update(self.table(), refresh=True)
            self.live.stop()

    def begin(self, name: str) -> None:
        """A plan was given to a worker."""
        self.states[name] = "runs"
        self.began[name] = time.monotonic()
        self.ended.pop(name, None)

    def end(self, name: str, how: Literal["finished", "failed", "stopped", "died"], why: str = "") -> None:
        """A plan has left its worker."""
        self.states[name] = "waits" if how == "died" else how
        self.ended[name] = time.monotonic()
        why = why or (self._time(name) if how == "finished" else "")
        self.console.print(f"{how:<8}  {name}  {why}".rstrip(), highlight=False, markup=False)

    def refresh(self) -> None:
        """Draw the table anew, where it is shown and its time has come."""
        if self.live and time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._drawn = time.monotonic()
            self.live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """The plans with their states, and how far their runs are."""
        table = Table()
        for title in ("plan", "state", "task", "steps", "success", "time"):
            table.add_column(title, justify="right" if title in ("steps", "success", "time") else "left")
        for name, state in self.states.items():
            table.add_row(name, state, *(self._progress(name) if state != "waits" else ("", "", "")), self._time(name))
        return table

    def _time(self, name: str) -> str:
        """Since a worker took the plan, until it ended."""
        if name not in self.began:
            return ""
        return duration(self.ended.get(name, time.monotonic()) - self.began[name])

    def _progress(self, name: str) -> tuple[str, str, str]:
        """Task, steps and success of the stage that was written to last."""
        for index, (env, frames) in reversed(list(enumerate(self.stages[name]))):
            rows = last_rows(stage_path(self.folder, name, index, env) / "metrics.jsonl")
            if rows:
                success = [row["success"] for row in rows if isinstance(row.get("success"), float)]
                mean = f"{sum(success) / len(success):.2f}" if success else "-"
                return env, f"{rows[-1].get('env_steps', 0):,} / {frames:,}", mean
        return self.stages[name][0][0], "compiles", ""


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The rows with the most steps in a file of metrics that may be being written; none where there are none."""
    try:
        with path.open("rb") as file:
            begin = file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_BYTES))
            lines = file.read().split(b"\n")[bool(begin) : -1]
        rows = [json.loads(line) for line in lines if line]
    except (OSError, ValueError):
        return []
    rows = [row for row in rows if isinstance(row, dict)]
    return [row for row in rows if row.get("env_steps") == rows[-1].get("env_steps")]


def _stages(plan: Plan, scale: Scale) -> list[tuple[str, int]]:
    return [(stage.env, plan.config(index, scale).frames) for index, stage in enumerate(plan.stages)]
