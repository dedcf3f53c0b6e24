"""Training as it is watched: a live table on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metarims.config import Config
from metarims.runs.training import ChunkReport

SMOOTHING = 0.8
"""Weight of the past in the frames per second shown, per chunk."""


class Progress:
    """A ``Watcher`` that prints (a context manager)."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self._live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self._speed: float | None = None
        self._printed_loss_names = False
        self.compile_seconds = 0.0

    def __enter__(self) -> "Progress":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live and self._live.is_started:
            self._live.stop()

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        self.config = config
        for problem in problems:
            self._say(problem, "Note:", "yellow")
        seeds = f"seed {config.seeds[0]}" if len(config.seeds) == 1 else f"{len(config.seeds)} seeds"
        done = "already finished" if env_steps >= config.frames else f"going on from step {env_steps:,}"
        title = f"{config.agent} on {config.env}, {config.frames:,} steps, {seeds}" + f", {done}" * bool(env_steps)
        self._say(title)
        if env_steps < config.frames:
            self.console.print("Compiling ...", highlight=False)
        if self._live and env_steps < config.frames:
            self._live.start()

    def chunk(self, report: ChunkReport) -> None:
        self.compile_seconds += report.compile_seconds
        if report.compile_seconds > 0.1:
            self.console.print(f"Compiled in {report.compile_seconds:.1f} s.", highlight=False)
        for event in report.events:
            self._say(event, "Fault:", "red")
        if not report.rows:  # Every seed is stopped.
            return
        past = self._speed or report.frames_per_second
        self._speed = SMOOTHING * past + (1 - SMOOTHING) * report.frames_per_second
        left = (self.config.frames - report.env_steps) * len(report.rows) / self._speed
        if self._live:
            self._live.update(self._table(report, left), refresh=True)
        else:
            self._say(self._line(report, left))

    def _say(self, text: str, head: str = "", color: str = "") -> None:
        """A line on the terminal, whatever the text holds: rich would take ``[/x]`` in a folder's name for a tag."""
        line = Text.assemble((head, color), " " * bool(head), text)
        self.console.print(line, highlight=False, soft_wrap=True)

    def _table(self, report: ChunkReport, left: float) -> Table:
        percent = 100 * min(1.0, report.env_steps / self.config.frames)
        table = Table(
            title=f"{report.env_steps:,} of {self.config.frames:,} steps ({percent:.0f} %)   "
            f"{self._speed:,.0f} frames/s   {duration(left)} left",
            title_justify="left",
        )
        each = per_task(report.rows[0], "success")
        for name in ("seed", "success", "return", "length", "episodes", *each, *losses(report.rows[0])):
            table.add_column(name.replace("/", "\n"), justify="right")
        for row in report.rows:
            shown = (outcome(row, "success"), outcome(row, "return"), outcome(row, "episode_length", 1))
            terms = (f"{row[name]:.3f}" for name in losses(row))
            parts = (outcome(row, name) for name in each)
            table.add_row(str(row["seed"]), *shown, str(row.get("episodes", "-")), *parts, *terms)
        return table

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
