"""Training as it is watched: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metarims.config import Config
from metarims.runs.callbacks import ChunkReport
from metarims.terminal import Terminal

SMOOTHING = 0.8
"""Weight of the past in the frames per second shown, per chunk."""
Column: TypeAlias = tuple[str, list[str]]
"""A name and a cell for each row."""
REFRESHES_PER_SECOND = 2
"""On a terminal: a clock goes on while a program is compiled."""


class Waiting:
    """A line with the time since it was made, at every look at it."""

    def __init__(self, what: str):
        self.what, self.began = what, time.perf_counter()

    def __rich__(self) -> Text:
        return Text(f"{self.what} {duration(time.perf_counter() - self.began)}")


class Progress:
    """A ``Callback`` and ``CompileCallback`` that prints (a context manager)."""

    def __init__(self, console: Console | None = None):
        self.console = console or Terminal()
        live = Live(console=self.console, refresh_per_second=REFRESHES_PER_SECOND)
        self._live = live if self.console.is_terminal else None
        self._speed: float | None = None
        self._compiled = False
        """Whether the next chunk's compile time was told."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live and self._live.is_started:
            if self._speed is None:
                self._live.update("")  # Nothing is waited for any more.
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
        self._compiled = True
        if self._live:
            self._live.update(Waiting("First chunk ..."), refresh=True)

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        self.config = config
        for problem in problems:
            self._say(problem, "Note:", "yellow")
        seeds = f"seed {config.seeds[0]}" if len(config.seeds) == 1 else f"{len(config.seeds)} seeds"
        done = "already finished" if env_steps >= config.frames else f"going on from step {env_steps:,}"
        title = f"{config.agent} on {config.env}, {config.frames:,} steps, {seeds}" + f", {done}" * bool(env_steps)
        self._say(title)
        if self._live and env_steps >= config.frames:
            self._live.update("", refresh=True)

    def chunk(self, report: ChunkReport) -> None:
        if report.compile_seconds > 0.1 and not self._compiled:
            self._say(f"Compiled in {report.compile_seconds:.1f} s.")
        self._compiled = False
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
        """A line on the terminal, whatever the text holds: rich would take ``[/x]`` in a folder's name for a tag."""
        line = Text.assemble((head, color), " " * bool(head), text)
        self.console.print(line, highlight=False, soft_wrap=True)

    def _table(self, report: ChunkReport, left: float) -> Group:
        """The seeds in rows. Columns that find no room are left out, losses first."""
        percent = 100 * report.env_steps / report.end_steps
        title = Text(
            f"{report.env_steps:,} of {report.end_steps:,} steps ({percent:.0f} %)   "
            f"{self._speed:,.0f} frames/s   {duration(left)} left"
        )
        columns: list[Column] = [("seed", [str(row["seed"]) for row in report.rows])]
        for name, key, digits in (("success", "success", 3), ("return", "return", 3), ("length", "episode_length", 1)):
            columns.append((name, [outcome(row, key, digits) for row in report.rows]))
        columns.append(("episodes", [str(row.get("episodes", "-")) for row in report.rows]))
        for name in per_task(report.rows[0], "success"):
            columns.append((name, [outcome(row, name) for row in report.rows]))
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


def heading(name: str) -> str:
    """A metric's name above a narrow column."""
    return name.replace("/", "\n")


def fitting(columns: Sequence[Column], width: int) -> Sequence[Column]:
    """The first columns, as many as a table of this width shows whole; at least one."""
    needed = 1
    for count, (name, cells) in enumerate(columns):
        needed += 3 + max(map(cell_len, [*heading(name).split("\n"), *cells]))
        if needed > width and count:
            return columns[:count]
    return columns


def losses(row: dict[str, Any]) -> list[str]:
    """The loss terms of a line of metrics that are worth watching."""
    return [name for name in row if name.endswith(("/policy_loss", "/value_loss", "/entropy"))]


def per_task(row: dict[str, Any], measure: str) -> list[str]:
    """The names of a measure of each task of a mixture, where a run learns one."""
    return [name for name in row if name.startswith(f"{measure}/")]


def outcome(row: dict[str, Any], name: str, digits: int = 3) -> str:
    """A mean over the chunk's episodes; a dash where none ended."""
    value = row.get(name)
    return "-" if value is None or row.get("episodes") == 0 else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as far as they matter."""
    seconds = max(0, round(seconds))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
