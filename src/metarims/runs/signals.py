"""Stopping on request: SIGTERM, SIGHUP (its terminal was closed) and Ctrl-C let the running chunk end first."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
INTERRUPTED = 130
"""Exit code after a second Ctrl-C."""
JOIN_SECONDS = 0.2
SHOW_CURSOR = b"\x1b[?25h"
"""A live table hides it."""


def _is_left_to_nohup(number: int) -> bool:
    """Whether this is a hang-up, that was to be ignored when the process began."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN


class StopRequest:
    """A context in which the first SIGTERM, SIGHUP or Ctrl-C sets ``requested``, and a second Ctrl-C ends the process
    at once.

    Python calls signal handlers in the main thread, which a compiled program blocks for minutes, and an exception
    raised while compiling can crash it. So a thread receives every signal (``signal.set_wakeup_fd``), reports it, and
    ends the process itself: checkpoints survive a kill at any moment. Outside of the main thread, no signal is handled.
    """

    def __init__(self, *, worker: bool = False):
        """``worker``: in a process started within ``signals_held``; its parent prints the messages."""
        self.requested = False
        self.worker = worker
        self._depth = 0
        self._listener: threading.Thread | None = None

    def __enter__(self) -> "StopRequest":
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            reader, self._writer = socket.socketpair()
            self._writer.setblocking(False)
            self._listener = threading.Thread(target=self._listen, args=(reader,), daemon=True)
            self._listener.start()
            self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            handled = [number for number in SIGNALS if not _is_left_to_nohup(number)]
            self._before = {number: signal.signal(number, self._receive) for number in handled}
            if self.worker and hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._listener:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)
            self._writer.shutdown(socket.SHUT_WR)  # The listener reads the rest and ends.
            self._writer.close()
            self._listener.join(timeout=1)
            self._listener = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT and os.getpid() != self._process:
            raise KeyboardInterrupt  # A process forked from this one has no listener.
        self.requested = True

    def _listen(self, reader: socket.socket) -> None:
        received = set()
        with reader:
            while numbers := reader.recv(64):
                for number in numbers:
                    if number == signal.SIGINT and number in received:
                        self._end()
                    elif number in SIGNALS and number not in received:
                        received.add(number)
                        self.requested = True
                        self._report(number)

    def _report(self, number: int) -> None:
        again = " Ctrl-C again stops at once." if number == signal.SIGINT else ""
        if not self.worker:
            with contextlib.suppress(OSError, ValueError):  # A closed stream.
                sys.stderr.write(f"Ending this chunk (or compiling) and saving.{again}\n")
                sys.stderr.flush()

    def _end(self) -> None:
        """End the process without taking locks, which the main thread may hold."""
        for worker in multiprocessing.active_children():
            worker.kill()
        with contextlib.suppress(OSError):
            if os.isatty(1):
                os.write(1, SHOW_CURSOR)
            if not self.worker:
                os.write(2, b"\nmetarims: interrupted; everything written so far is kept.\n")
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """A process started in this context receives signals only when it enters its ``StopRequest``, so that none kills it
    during its imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Its start would unblock the signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_workers(workers: Iterable[BaseProcess]) -> None:
    """Let processes that were started within ``signals_held`` save and end; a second Ctrl-C kills them."""
    running = [worker for worker in workers if worker.is_alive()]
    if not running:
        return
    with StopRequest():
        for worker in running:
            worker.terminate()
        for worker in running:
            while worker.is_alive():
                worker.join(JOIN_SECONDS)


def _leave_parent() -> None:
    """Keep a forked process from writing to its parent's listener."""
    signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parent)
