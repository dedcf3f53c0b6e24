"""Progress of a run or of many jobs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metarims.config import Config
from metarims.runs.callbacks import ChunkReport
from metarims.runs.metrics_log import read_last_rows
from metarims.terminal import Terminal

SMOOTHING = 0.8
"""Weight of earlier chunks in the displayed frames per second."""
Column: TypeAlias = tuple[str, list[str]]
"""A name and a cell for each row."""
REFRESHES_PER_SECOND = 2
"""On a terminal, also while a program is compiled."""
JOBS_REFRESH_SECONDS = 2.0


class Waiting:
    """A line with the time since it was made."""

    def __init__(self, what: str):
        self.what, self.start = what, time.perf_counter()

    def __rich__(self) -> Text:
        return Text(f"{self.what} {duration(time.perf_counter() - self.start)}")


class Progress:
    """A ``Callback`` that prints (a context manager)."""

    def __init__(self, console: Console | None = None):
        self.console = console or Terminal()
        live = Live(console=self.console, refresh_per_second=REFRESHES_PER_SECOND)
        self._live = live if self.console.is_terminal else None
        self._speed: float | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live and self._live.is_started:
            if self._speed is None:
                self._live.update("")
            self._live.stop()

    def compiling(self) -> None:
        if self._live:
            self._live.update(Waiting("Compiling ..."))
            self._live.start()
        else:
            self._say("Compiling ...")

    def compiled(self, seconds: float) -> None:
        if seconds > 0.1:
            self._say(f"Compiled in {seconds:.1f} s.")
        if self._live:
            self._live.update(Waiting("First chunk ..."), refresh=True)

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        self.config = config
        for problem in problems:
            self._say(problem, "Note:", "yellow")
        seeds = f"seed {config.seeds[0]}" if len(config.seeds) == 1 else f"{len(config.seeds)} seeds"
        done = "already finished" if env_steps >= config.frames else f"resumed at step {env_steps:,}"
        title = f"{config.agent} on {config.env}, {config.frames:,} steps, {seeds}" + f", {done}" * bool(env_steps)
        self._say(title)
        if self._live and env_steps >= config.frames:
            self._live.update("", refresh=True)

    def chunk(self, report: ChunkReport) -> None:
        for event in report.events:
            self._say(event, "Fault:", "red")
        if not report.rows:  # Every seed is stopped.
            return
        past = self._speed or report.frames_per_second
        self._speed = SMOOTHING * past + (1 - SMOOTHING) * report.frames_per_second
        left = (report.end_steps - report.env_steps) * len(report.rows) / self._speed
        if self._live:
            self._live.start()
            self._live.update(self._table(report, left), refresh=True)
        else:
            self._say(self._line(report, left))

    def _say(self, text: str, head: str = "", color: str = "") -> None:
        """Print text without markup: a folder's name may contain ``[/x]``."""
        line = Text.assemble((head, color), " " * bool(head), text)
        self.console.print(line, highlight=False, soft_wrap=True)

    def _table(self, report: ChunkReport, left: float) -> Group:
        """A row per seed; the last columns are omitted where they do not fit."""
        percent = 100 * report.env_steps / report.end_steps
        title = Text(
            f"{report.env_steps:,} of {report.end_steps:,} steps ({percent:.0f} %)   "
            f"{self._speed:,.0f} frames/s   {duration(left)} left"
        )
        columns: list[Column] = [("seed", [str(row["seed"]) for row in report.rows])]
        for name, key, digits in (("success", "success", 3), ("return", "return", 3), ("length", "episode_length", 1)):
            columns.append((name, [format_mean(row, key, digits) for row in report.rows]))
        columns.append(("episodes", [str(row.get("episodes", "-")) for row in report.rows]))
        for name in per_task(report.rows[0], "success"):
            columns.append((name, [format_mean(row, name) for row in report.rows]))
        for name in losses(report.rows[0]):
            columns.append((name, [f"{row[name]:.3f}" for row in report.rows]))
        shown = fitting(columns, self.console.width)
        table = Table()
        for name, _ in shown:
            table.add_column(heading(name), justify="right", no_wrap=True)
        for cells in zip(*(cells for _, cells in shown), strict=True):
            table.add_row(*cells)
        return Group(title, table)

    def _line(self, report: ChunkReport, left: float) -> str:
        """The means over seeds, on one line."""
        rows = report.rows
        parts = [f"step {report.env_steps:>11,}", f"{report.frames_per_second:>9,.0f} frames/s"]
        for name in ("success", "return", *per_task(rows[0], "success")):
            values = [row[name] for row in rows if row.get(name) is not None and row.get("episodes") != 0]
            parts.append(f"{name} {sum(values) / len(values):.3f}" if values else f"{name} -")
        for name in losses(rows[0]):
            parts.append(f"{name} {sum(row[name] for row in rows) / len(rows):.3f}")
        return "  ".join([*parts, f"{duration(left)} left"])


class RunTarget(NamedTuple):
    """A run of a job, its environment and its length."""

    path: Path
    env: str
    frames: int


class JobTable:
    """A row per job, read from the folders of its runs (a context manager).

    Live on a terminal; elsewhere a line per tenth of a run and per ended job.
    """

    def __init__(
        self, console: Console, kind: str, jobs: Mapping[str, Sequence[RunTarget]], labels: Mapping[str, str] = {}
    ):
        """``jobs``: by name, the runs of each in order. ``kind``: heading of the names; ``labels``: for some names."""
        self.console, self.kind, self.jobs, self.labels = console, kind, jobs, labels
        self.states = dict.fromkeys(jobs, "waiting")
        self._starts: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._printed: dict[str, tuple[str, int]] = {}
        """Task and tenth of each job's last line."""
        self._drawn = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "JobTable":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.update(self.table(), refresh=True)
            self._live.stop()

    def start(self, name: str) -> None:
        """A job starts."""
        self.states[name] = "running"
        self._starts[name] = time.monotonic()
        self._ends.pop(name, None)

    def end(self, name: str, how: Literal["finished", "failed", "stopped", "died"], why: str = "") -> None:
        """A job has ended."""
        self.states[name] = "waiting" if how == "died" else how
        self._ends[name] = time.monotonic()
        self._say(f"{how:<8}  {name}  {why or (self._time(name) if how == 'finished' else '')}".rstrip())

    def refresh(self) -> None:
        """Show the progress, at most once per ``JOBS_REFRESH_SECONDS``."""
        if time.monotonic() - self._drawn < JOBS_REFRESH_SECONDS:
            return
        self._drawn = time.monotonic()
        if self._live:
            self._live.update(self.table(), refresh=True)
            return
        for name in [name for name, state in self.states.items() if state == "running" and self.jobs[name]]:
            env, steps, frames, speed, success, left = self._progress(name)
            tenth = 10 * steps // frames
            if tenth and self._printed.get(name) != (env, tenth):
                self._printed[name] = env, tenth
                self._say(f"{name}  step {steps:,} of {frames:,}  {speed} frames/s  success {success}  {left} left")

    def table(self) -> Table:
        """The jobs and their states; with a column of tasks where there are several."""
        several = len({run.env for runs in self.jobs.values() for run in runs}) > 1
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for title in (self.kind, "state", *["task"] * several, "steps", "frames/s", "success", "left", "time"):
            table.add_column(title, justify="left" if title in (self.kind, "state", "task") else "right")
        for name, state in self.states.items():
            env, steps, frames, *rest = self._progress(name)
            cells = [f"{steps:,} / {frames:,}" if steps else "compiling", *rest] if state != "waiting" else [""] * 4
            table.add_row(self.labels.get(name, name), state, *[env] * several, *cells, self._time(name))
        return table

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def _time(self, name: str) -> str:
        """The time from the start of a job to its end."""
        if name not in self._starts:
            return ""
        return duration(self._ends.get(name, time.monotonic()) - self._starts[name])

    def _progress(self, name: str) -> tuple[str, int, int, str, str, str]:
        """Task, steps, frames, frames/s, success and time left of the current run."""
        for run in reversed(self.jobs[name]):
            if rows := read_last_rows(run.path / "metrics.jsonl"):
                steps = rows[-1].get("env_steps", 0)
                success = [row["success"] for row in rows if isinstance(row.get("success"), float)]
                mean = f"{sum(success) / len(success):.2f}" if success else "-"
                lines = read_last_rows(run.path / "speed.jsonl")
                speeds = [line["frames_per_second"] for line in lines if line.get("frames_per_second")]
                if not speeds:
                    return run.env, steps, run.frames, "-", mean, "-"
                left = (run.frames - steps) * len(rows) / speeds[-1]
                return run.env, steps, run.frames, f"{speeds[-1]:,.0f}", mean, duration(left)
        first = self.jobs[name][0]
        return first.env, 0, first.frames, "", "", ""


def heading(name: str) -> str:
    """A metric's name as the heading of a narrow column."""
    return name.replace("/", "\n")


def fitting(columns: Sequence[Column], width: int) -> Sequence[Column]:
    """The first columns that fit into this width; at least one."""
    needed = 1
    for count, (name, cells) in enumerate(columns):
        needed += 3 + max(map(cell_len, [*heading(name).split("\n"), *cells]))
        if needed > width and count:
            return columns[:count]
    return columns


def losses(row: dict[str, Any]) -> list[str]:
    """The names of the displayed loss terms."""
    return [name for name in row if name.endswith(("/policy_loss", "/value_loss", "/entropy"))]


def per_task(row: dict[str, Any], measure: str) -> list[str]:
    """The names of a metric for each task of a mixture."""
    return [name for name in row if name.startswith(f"{measure}/")]


def format_mean(row: dict[str, Any], name: str, digits: int = 3) -> str:
    """A mean over the chunk's episodes; a dash where none ended."""
    value = row.get(name)
    return "-" if value is None or row.get("episodes") == 0 else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as text: ``2 h 05 min``, ``3 min 07 s``, ``9 s``."""
    seconds = max(0, round(seconds))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
