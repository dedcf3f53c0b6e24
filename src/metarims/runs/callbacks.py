"""Callbacks of a training, and what they receive."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from metarims.config import Config


class ChunkReport(NamedTuple):
    """The outcome of a chunk."""

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
    """The metrics' lines of this chunk, one per seed that is not stopped."""
    seconds: float
    """Wall-clock time of this chunk, compile time included."""
    events: tuple[str, ...] = ()
    """A message for each seed that stopped or restarted."""


@runtime_checkable
class Callback(Protocol):
    """Is called during training; the live table and the loggers are callbacks."""

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None: ...
    def chunk(self, report: ChunkReport) -> None: ...


@runtime_checkable
class CompileCallback(Protocol):
    """What a callback may have too, because compiling takes minutes."""

    def compiling(self) -> None:
        """The first program is about to be compiled; ``begin`` comes after it, and before the largest."""
        ...

    def compiled(self, seconds: float) -> None:
        """Everything is compiled, in so many seconds; the first chunk is about to run."""
        ...


class Callbacks:
    """Several callbacks as one, called in this order."""

    def __init__(self, *callbacks: Callback):
        self.callbacks = callbacks

    def compiling(self) -> None:
        for callback in self.callbacks:
            if isinstance(callback, CompileCallback):
                callback.compiling()

    def compiled(self, seconds: float) -> None:
        for callback in self.callbacks:
            if isinstance(callback, CompileCallback):
                callback.compiled(seconds)

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        for callback in self.callbacks:
            callback.begin(config, env_steps, problems)

    def chunk(self, report: ChunkReport) -> None:
        for callback in self.callbacks:
            callback.chunk(report)
