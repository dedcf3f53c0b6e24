"""The progress of a study's plans, read from their folders, so that it works wherever they run."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from metarims.runs.progress import duration
from metarims.studies.plans import Plan, Scale
from metarims.studies.study_folder import stage_path

REFRESH_SECONDS = 2.0
LAST_BYTES = 65_536
"""Of a file of metrics, searched for its last rows."""


class ProgressTable:
    """A row per plan: live on a terminal; elsewhere a line per tenth of a plan's training, and when it ends."""

    def __init__(self, console: Console, folder: Path, plans: Sequence[Plan], scale: Scale):
        self.console, self.folder = console, folder
        self.labels = {plan.name: plan.label for plan in plans}
        self.stages = {
            plan.name: [(stage.env, plan.config(index, scale).frames) for index, stage in enumerate(plan.stages)]
            for plan in plans
        }
        self.states = dict.fromkeys(self.stages, "waiting")
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._printed: dict[str, tuple[str, int]] = {}
        """Of each plan the task and the tenth of the last line."""
        self._drawn = 0.0
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "ProgressTable":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.update(self.table(), refresh=True)
            self.live.stop()

    def begin(self, name: str) -> None:
        """A worker starts a plan."""
        self.states[name] = "running"
        self.began[name] = time.monotonic()
        self.ended.pop(name, None)

    def end(self, name: str, how: Literal["finished", "failed", "stopped", "died"], why: str = "") -> None:
        """A plan has left its worker."""
        self.states[name] = "waiting" if how == "died" else how
        self.ended[name] = time.monotonic()
        self._say(f"{how:<8}  {name}  {why or (self._time(name) if how == 'finished' else '')}".rstrip())

    def refresh(self) -> None:
        """Show the progress, if that was last done ``REFRESH_SECONDS`` ago."""
        if time.monotonic() - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = time.monotonic()
        if self.live:
            self.live.update(self.table(), refresh=True)
            return
        for name in [name for name, state in self.states.items() if state == "running"]:
            env, steps, frames, speed, success, left = self._progress(name)
            tenth = 10 * steps // frames
            if tenth and self._printed.get(name) != (env, tenth):
                self._printed[name] = env, tenth
                self._say(f"{name}  step {steps:,} of {frames:,}  {speed} frames/s  success {success}  {left} left")

    def table(self) -> Table:
        """The plans and their states; with a column of tasks if there are several."""
        several = len({env for stages in self.stages.values() for env, _ in stages}) > 1
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for title in ("plan", "state", *["task"] * several, "steps", "frames/s", "success", "left", "time"):
            table.add_column(title, justify="left" if title in ("plan", "state", "task") else "right")
        for name, state in self.states.items():
            env, steps, frames, *rest = self._progress(name)
            cells = [f"{steps:,} / {frames:,}" if steps else "compiling", *rest] if state != "waiting" else [""] * 4
            table.add_row(self.labels[name], state, *[env] * several, *cells, self._time(name))
        return table

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def _time(self, name: str) -> str:
        """Since a worker started the plan, until it ended."""
        if name not in self.began:
            return ""
        return duration(self.ended.get(name, time.monotonic()) - self.began[name])

    def _progress(self, name: str) -> tuple[str, int, int, str, str, str]:
        """Of the current stage: task, steps, frames, frames/s, success and time left."""
        for index, (env, frames) in reversed(list(enumerate(self.stages[name]))):
            run = stage_path(self.folder, name, index, env)
            if rows := last_rows(run / "metrics.jsonl"):
                steps = rows[-1].get("env_steps", 0)
                success = [row["success"] for row in rows if isinstance(row.get("success"), float)]
                mean = f"{sum(success) / len(success):.2f}" if success else "-"
                speed = [
                    row["frames_per_second"] for row in last_rows(run / "speed.jsonl") if row.get("frames_per_second")
                ]
                if not speed:
                    return env, steps, frames, "-", mean, "-"
                left = (frames - steps) * len(rows) / speed[-1]
                return env, steps, frames, f"{speed[-1]:,.0f}", mean, duration(left)
        env, frames = self.stages[name][0]
        return env, 0, frames, "", "", ""


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The rows with the most steps in a JSON lines file that may be being written; none if it has none."""
    try:
        with path.open("rb") as file:
            begin = file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_BYTES))
            lines = file.read().split(b"\n")[bool(begin) : -1]
        rows = [json.loads(line) for line in lines if line]
    except (OSError, ValueError):
        return []
    rows = [row for row in rows if isinstance(row, dict)]
    return [row for row in rows if row.get("env_steps") == rows[-1].get("env_steps")]
