"""Where tables and progress are printed."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console


class Terminal(Console):
    """A console that survives a closed pipe, as after ``metarims train | head``."""

    def on_broken_pipe(self) -> None:
        """Print nothing more; training continues."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LossyStream:
    """A text stream that drops what cannot be written: its reader left, its disk is full, its terminal is gone."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.problem: OSError | None = None
        """Why the first text was lost."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Any) -> None:
        try:
            act()
        except OSError as error:
            self.problem = self.problem or error
            with contextlib.suppress(OSError, ValueError):  # What is buffered goes nowhere, at exit, too.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextlib.contextmanager
def lossy_output() -> Iterator[tuple[LossyStream, LossyStream]]:
    """A context in which no output raises an error; yields standard output and standard error.

    A closed standard stream is opened to nowhere: a file that took its number would receive what is printed.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    before = sys.stdout, sys.stderr
    out, err = (LossyStream(stream or io.StringIO()) for stream in before)
    for stream in (out, err):
        if hasattr(stream, "reconfigure"):  # A name may have letters that the terminal's encoding has not.
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = out, err  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
