"""Callbacks: objects that training calls at its start and after each chunk."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from metarims.config import Config


class ChunkReport(NamedTuple):
    """A chunk that has run."""

    chunk: int
    env_steps: int
    """Per seed, so far."""
    end_steps: int
    """Per seed, at the end of the run: as many whole chunks as reach ``config.frames``."""
    frames_per_second: float
    """Over all seeds, without compile time."""
    compile_seconds: float
    """Before this chunk."""
    rows: list[dict[str, Any]]
    """The lines of ``metrics.jsonl`` of this chunk: one per seed that is still training."""
    seconds: float
    """Wall-clock time of this chunk, with compile time."""
    events: tuple[str, ...] = ()
    """A message for each seed that stopped or restarted."""


@runtime_checkable
class Callback(Protocol):
    """Training calls its methods (``progress.Progress``, ``loggers.Loggers``).

    Two more are called if it has them, as compiling takes minutes: ``compiling()`` when that starts (``begin`` follows
    before the largest program), and ``compiled(seconds)`` before the first chunk.
    """

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None: ...
    def chunk(self, report: ChunkReport) -> None: ...


class Callbacks:
    """Several callbacks as one, called in this order."""

    def __init__(self, *callbacks: Callback):
        self.callbacks = callbacks

    def compiling(self) -> None:
        self._call("compiling")

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        self._call("begin", config, env_steps, problems)

    def compiled(self, seconds: float) -> None:
        self._call("compiled", seconds)

    def chunk(self, report: ChunkReport) -> None:
        self._call("chunk", report)

    def _call(self, method: str, *details: Any) -> None:
        for callback in self.callbacks:
            if hasattr(callback, method):
                getattr(callback, method)(*details)
