"""Several runs at once, each in a process of its own: small agents cannot fill the cores of a machine one by one."""

import contextlib
import multiprocessing
import queue
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.live import Live
from rich.table import Table

from metarims.config import Config
from metarims.errors import UserError
from metarims.runs.callbacks import ChunkReport
from metarims.runs.progress import duration, outcome
from metarims.runs.signals import StopRequest, signals_held, stop_workers
from metarims.runs.training import train
from metarims.runtime import enable_compile_cache, share_cores, unusable_platform, usable_cores

POLL_SECONDS = 0.2
REFRESH_SECONDS = 1.0


def train_all(
    jobs: Sequence[tuple[Config, Path]], num_workers: int, console: Console, stop: StopRequest
) -> dict[Path, bool]:
    """Train each configuration in its folder, ``num_workers`` at a time; by folder, whether it was finished.

    A stop is passed on to all. The first ``UserError`` of a worker is raised here, when the others have stopped.
    """
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    waiting, running, failed = list(jobs), {}, None
    finished = {folder: False for _, folder in jobs}
    board = _Board(console, jobs)
    with board, contextlib.ExitStack() as at_end:
        at_end.callback(stop_workers, running.values(), lambda: _empty(events))  # Whatever ends this, nobody trains on.
        while running or (waiting and not stop.requested and failed is None):
            while waiting and len(running) < num_workers and not stop.requested and failed is None:
                config, folder = waiting.pop(0)
                running[folder] = context.Process(
                    target=_work, args=(config, folder, events, min(num_workers, len(jobs)))
                )
                with signals_held():
                    running[folder].start()
                board.now(folder, "starts")
            if stop.requested or failed is not None:
                for worker in running.values():
                    worker.terminate()  # SIGTERM: each saves and ends.
            folder, kind, content = _next(events, running)
            if kind == "chunk":
                board.show(folder, content)
            elif kind == "compiling":
                board.compiling(folder)
            elif kind == "compiled":
                board.compiled(folder, content)
            elif kind == "problem":
                board.say(f"{folder.name}: {content}")
            elif kind in ("ended", "failed"):
                running.pop(folder).join()
                finished[folder] = kind == "ended" and content
                failed = content if kind == "failed" and failed is None else failed
                board.ended(folder, finished[folder])
            board.refresh(REFRESH_SECONDS)
    if failed is not None:
        raise UserError(failed)
    return finished


def _next(events: Any, running: dict[Path, Any]) -> tuple[Path, str, Any]:
    """The next event; a worker that died without a word is a failure."""
    try:
        return events.get(timeout=POLL_SECONDS)
    except queue.Empty:
        pass
    for folder, worker in running.items():
        if not worker.is_alive():
            time.sleep(POLL_SECONDS)  # Its last words may still be on their way.
            if events.empty():
                why = f"The process that trained {folder} ended with status {worker.exitcode}; what it saved is kept."
                return folder, "failed", f"{why} Give the same command again to go on."
            return events.get()
    return Path(), "nothing", None


def _empty(events: Any) -> None:
    while not events.empty():
        events.get()


def count_workers() -> int:
    """Processes that train at once, unless somebody says otherwise: one per core, but one on an accelerator.

    Which of them it is, another process finds out: JAX takes most of an accelerator's memory when it looks at one.
    Raises ``UserError`` where JAX has no device at all.
    """
    if getattr(jax.config, "jax_platforms", None) == "cpu":
        return usable_cores()
    look = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    found = subprocess.run(look, capture_output=True, text=True, check=False)
    if found.returncode:
        raise unusable_platform(found.stderr.strip().split("\n")[-1].removeprefix("RuntimeError: "))
    return usable_cores() if found.stdout.split() == ["cpu"] else 1


class _Reporter:
    """A ``Callback`` and ``CompileCallback`` that passes on to the parent process."""

    def __init__(self, folder: Path, events: Any):
        self.folder, self.events = folder, events

    def compiling(self) -> None:
        self.events.put((self.folder, "compiling", None))

    def compiled(self, seconds: float) -> None:
        self.events.put((self.folder, "compiled", seconds))

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        for problem in problems:
            self.events.put((self.folder, "problem", problem))

    def chunk(self, report: ChunkReport) -> None:
        self.events.put((self.folder, "chunk", report))


def _work(config: Config, folder: Path, events: Any, num_workers: int) -> None:
    share_cores(num_workers)
    with StopRequest(worker=True) as stop:
        try:
            enable_compile_cache()
            result = train(config, folder, _Reporter(folder, events), stop=stop)
            events.put((folder, "ended", result.finished))
        except UserError as error:
            events.put((folder, "failed", str(error)))


class _Board:
    """One row per run: live on a terminal, otherwise a line whenever a tenth more is done."""

    def __init__(self, console: Console, jobs: Sequence[tuple[Config, Path]]):
        self.console = console
        self.configs = {folder: config for config, folder in jobs}
        self.latest: dict[Path, ChunkReport] = {}
        self.tenths: dict[Path, int] = {}
        self.states: dict[Path, tuple[str, float]] = {}
        """What a run does that has no figures yet, and since when."""
        self.drawn = 0.0
        self.live = Live(self._table(), console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "_Board":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def refresh(self, after: float = 0.0) -> None:
        """Draw the table anew, where one is shown and so many seconds old."""
        if self.live and time.monotonic() - self.drawn >= after:
            self.drawn = time.monotonic()
            self.live.update(self._table(), refresh=True)

    def now(self, folder: Path, state: str) -> None:
        """What a run does until its next figures."""
        self.states[folder] = (state, time.monotonic())
        self.refresh()

    def compiling(self, folder: Path) -> None:
        self.now(folder, "compiles")
        if not self.live:
            self.say(f"{self.configs[folder].agent}: compiling ...")

    def compiled(self, folder: Path, seconds: float) -> None:
        self.now(folder, "first chunk")
        if seconds > 0.1:
            self.say(f"{self.configs[folder].agent}: compiled in {seconds:.1f} s")

    def ended(self, folder: Path, finished: bool) -> None:
        if finished and folder not in self.latest:
            self.now(folder, "finished")
            self.say(f"{self.configs[folder].agent}: finished before")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, folder: Path, report: ChunkReport) -> None:
        for event in report.events:
            self.say(f"{folder.name}: {event}")
        if not report.rows:  # Every seed is stopped.
            return
        self.latest[folder] = report
        tenth = 10 * report.env_steps // report.end_steps
        if self.live:
            self.refresh()
        elif tenth > self.tenths.get(folder, 0):
            self.tenths[folder] = tenth
            names = ("agent", "steps", "frames/s", "success", "return", "left")
            self.say("  ".join(f"{name} {cell}" for name, cell in zip(names, self._cells(folder), strict=True)))

    def _table(self) -> Table:
        table = Table()
        for name in ("agent", "steps", "frames/s", "success", "return", "left"):
            table.add_column(name, justify="left" if name == "agent" else "right")
        for folder in self.configs:
            table.add_row(*self._cells(folder))
        return table

    def _cells(self, folder: Path) -> tuple[str, ...]:
        config, report = self.configs[folder], self.latest.get(folder)
        if report is None:
            state, since = self.states.get(folder, ("waits", 0.0))
            if state not in ("waits", "finished"):
                state = f"{state} {duration(time.monotonic() - since)}"
            return config.agent, state, "-", "-", "-", "-"
        mean = {name: _mean(report.rows, name) for name in ("success", "return")}
        left = (report.end_steps - report.env_steps) * len(report.rows) / report.frames_per_second
        return (
            config.agent,
            f"{report.env_steps:,}",
            f"{report.frames_per_second:,.0f}",
            outcome(mean, "success"),
            outcome(mean, "return"),
            duration(left),
        )


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return sum(values) / len(values) if values else None
