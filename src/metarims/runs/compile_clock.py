"""The time that JAX spends tracing, lowering and compiling."""

import time

import jax

_EVENTS = "/jax/core/compile/"


class CompileClock:
    """A context that measures compile time (``seconds``, at any time).

    JAX reports each stage at its end, and stages nest: ``seconds`` is the length of the union of their intervals.
    """

    def __init__(self):
        self._intervals: list[tuple[float, float]] = []

    def __enter__(self) -> "CompileClock":
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *exception: object) -> None:
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
