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
    """Within this chunk."""
    rows: list[dict[str, Any]]
    """The lines of ``metrics.jsonl`` of this chunk: one per seed that is still training."""
    seconds: float
    """Wall-clock time of this chunk, with compile time."""
    events: tuple[str, ...] = ()
    """A message for each seed that stopped or restarted."""


@runtime_checkable
class Callback(Protocol):
    """Training calls its methods (``progress.Progress``, ``loggers.Loggers``)."""

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None: ...
    def chunk(self, report: ChunkReport) -> None: ...


@runtime_checkable
class CompileCallback(Protocol):
    """Optional methods of a callback: compiling takes minutes."""

    def compiling(self) -> None:
        """Compiling starts; ``begin`` follows before the largest program."""
        ...

    def compiled(self, seconds: float) -> None:
        """All programs are compiled, and the first chunk starts."""
        ...


class Callbacks:
    """Several callbacks as one, called in this order."""

    def __init__(self, *callbacks: Callback):
        self.callbacks = callbacks
        self._of_compiling = [callback for callback in callbacks if isinstance(callback, CompileCallback)]

    def compiling(self) -> None:
        for callback in self._of_compiling:
            callback.compiling()

    def compiled(self, seconds: float) -> None:
        for callback in self._of_compiling:
            callback.compiled(seconds)

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        for callback in self.callbacks:
            callback.begin(config, env_steps, problems)

    def chunk(self, report: ChunkReport) -> None:
        for callback in self.callbacks:
            callback.chunk(report)
