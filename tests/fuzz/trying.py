"""The rule for every input: it works or is refused in one sentence, soon, and no file is lost or overwritten."""

import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from metarims.errors import UserError

SECONDS = 10.0
"""Time limit of one input, in processor time: a busy machine refuses nothing."""
LONGEST = 4000
"""Characters of a sentence: what is shown of a user's own value does not fill the screen."""


class Door(NamedTuple):
    """A way for input from outside to come in."""

    name: str
    share: int
    """Inputs of the full run."""
    open: Callable[[Path], Callable[[Random], Callable[[], Any]]]
    """``open(folder)(random)`` puts a spoiled input into the folder, and returns what reads it."""
    may_write: tuple[str, ...] | None = ()
    """Names of files that a reader may change; None: it goes on writing, and looks itself at what became of them."""


class Count(NamedTuple):
    """What came of a door's inputs."""

    inputs: int
    accepted: int
    refused: int
    slowest: float
    """Seconds."""
    broken: tuple[str, ...]
    """For each input that broke the rule: which, and how."""


class TooSlow(BaseException):
    """Raised by the clock; no ``except Exception`` takes it for a refusal."""


def try_door(door: Door, folder: Path, seed: int, inputs: range) -> Count:
    """Try the inputs of these numbers; each follows from ``seed`` and its number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare = door.open(folder)
    accepted, slowest, broken = 0, 0.0, []
    for number in inputs:
        began = time.perf_counter()
        try:
            accepted += _accepts(prepare(Random(f"{seed} {door.name} {number}")), folder, door.may_write)
        except Exception as fault:
            where = traceback.extract_tb(fault.__traceback__)[-1]
            how = f"{type(fault).__name__}: {str(fault)[:300]} ({Path(where.filename).name}:{where.lineno})"
            broken.append(f"{door.name} {number}: {how}")
        slowest = max(slowest, time.perf_counter() - began)
    count = len(inputs)
    return Count(count, accepted, count - accepted - len(broken), slowest, tuple(broken))


def _accepts(read: Callable[[], Any], folder: Path, may_write: tuple[str, ...] | None) -> bool:
    before, accepted = contents(folder) if may_write is not None else {}, True
    try:
        with _limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except UserError as error:
        accepted = False
        check_sentence(str(error))
    except TooSlow:
        raise AssertionError(f"took longer than {SECONDS:.0f} s") from None
    after = contents(folder) if before else {}
    for name, data in before.items():
        assert name in after, f"{name} was lost"
        assert Path(name).name in (may_write or ()) or after[name] == data, f"{name} was overwritten"
    return accepted


def check_sentence(text: str) -> None:
    """Raise ``AssertionError`` unless a text can be shown as one line of a terminal."""
    assert text.strip(), "an empty sentence"
    assert text.isprintable(), f"a sentence of several lines, or with control characters: {text[:200]!r}"
    assert len(text) <= LONGEST, f"a sentence of {len(text)} characters: {text[:100]!r}"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
