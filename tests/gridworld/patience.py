"""Giving up on what may never end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 3.0
"""What Farama's bot thinks about a step, and what it takes to draw a level, are milliseconds."""


@contextmanager
def patience(seconds: float = SECONDS) -> Iterator[None]:
    """``TimeoutError`` where the body takes longer."""
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(*_: Any) -> None:
    raise TimeoutError


def draw(reset: Any, *seed: int) -> None:
    """A new level of Farama's generator. It hangs where every free cell of the agent's room faces an object
    (``core/roomgrid.py``, ``place_agent``; mostly SynthS5R2): we draw such a level anew, and so does this."""
    while True:
        try:
            with patience():
                return reset(*seed)
        except TimeoutError:
            seed = tuple(number + 1 for number in seed)
