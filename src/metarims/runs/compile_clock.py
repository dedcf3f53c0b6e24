"""How long JAX spent tracing, lowering and compiling, apart from running."""

import time
from types import TracebackType

import jax

_EVENTS = "/jax/core/compile/"


class CompileClock:
    """Adds up compile time between entering and leaving (``seconds`` can be read at any time).

    JAX reports each stage when it ends, and stages nest (a traced function traces others): the intervals are united.
    """

    def __init__(self):
        self._intervals: list[tuple[float, float]] = []

    def __enter__(self) -> "CompileClock":
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith(_EVENTS):
            now = time.perf_counter()
            self._intervals.append((now - duration_secs, now))

    @property
    def seconds(self) -> float:
        """Length of the union of the intervals."""
        total, end = 0.0, float("-inf")
        for begin, finish in sorted(self._intervals):
            total += max(0.0, finish - max(begin, end))
            end = max(end, finish)
        return total
