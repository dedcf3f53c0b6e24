"""Stopping on request: SIGTERM and Ctrl-C let the running chunk end first."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
"""Exit code after a second Ctrl-C."""
JOIN_SECONDS = 0.2
SHOW_CURSOR = b"\x1b[?25h"
"""Tells a terminal to undo what a live table did to it."""


class StopRequest:
    """A context in which the first SIGTERM or Ctrl-C only sets ``requested``; a second Ctrl-C ends the process at once.

    Python calls its signal handlers between two instructions of the main thread, which a compiled program holds for
    minutes; and an exception raised in the midst of compiling can crash it. So a thread hears of every signal as it
    comes (``signal.set_wakeup_fd``), answers, and ends the process itself: checkpoints stand a kill at any moment.
    Outside of the main thread, ``requested`` is for others to set.
    """

    def __init__(self, *, worker: bool = False):
        """``worker``: in a process that another one started within ``signals_held``, and that speaks for it."""
        self.requested = False
        self.worker = worker
        self._depth = 0
        self._listener: threading.Thread | None = None

    def __enter__(self) -> "StopRequest":
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            hears, self._tells = socket.socketpair()
            self._tells.setblocking(False)
            self._listener = threading.Thread(target=self._listen, args=(hears,), daemon=True)
            self._listener.start()
            self._wakeup_before = signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
            if self.worker and hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._listener:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)
            self._tells.shutdown(socket.SHUT_WR)  # The listener reads what is left, and ends.
            self._tells.close()
            self._listener.join(timeout=1)
            self._listener = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT and os.getpid() != self._process:
            raise KeyboardInterrupt  # In a process forked from this one nobody listens.
        self.requested = True

    def _listen(self, hears: socket.socket) -> None:
        heard = set()
        with hears:
            while numbers := hears.recv(64):
                for number in numbers:
                    if number == signal.SIGINT and number in heard:
                        self._end()
                    elif number in SIGNALS and number not in heard:
                        heard.add(number)
                        self.requested = True
                        self._say(number)

    def _say(self, number: int) -> None:
        again = " Ctrl-C again stops at once." if number == signal.SIGINT else ""
        if not self.worker:
            with contextlib.suppress(OSError, ValueError):  # Nobody reads it.
                sys.stderr.write(f"Ending this chunk (or compiling) and saving.{again}\n")
                sys.stderr.flush()

    def _end(self) -> None:
        """Without locks, which the main thread may hold: what it printed was flushed line by line."""
        for worker in multiprocessing.active_children():
            worker.kill()
        with contextlib.suppress(OSError):
            if os.isatty(1):
                os.write(1, SHOW_CURSOR)
            if not self.worker:
                os.write(2, b"\nmetarims: interrupted; what was written before is kept.\n")
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """A process started meanwhile takes signals only when it enters its ``StopRequest``: one that comes during its
    imports waits, and does not kill it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # A helper of all such processes; when it starts, it lets signals through again.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_workers(workers: Iterable[BaseProcess], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Let processes that were started within ``signals_held`` save and end, for nobody will take what they do.

    ``meanwhile`` is called until all have ended: one that waits for a reader of its messages cannot end. A second
    Ctrl-C kills them.
    """
    running = [worker for worker in workers if worker.is_alive()]
    if not running:
        return
    with StopRequest():
        for worker in running:
            worker.terminate()
        for worker in running:
            while worker.is_alive():
                meanwhile()
                worker.join(JOIN_SECONDS)


def _leave_parent() -> None:
    """A forked process must not write to its parent's listener."""
    signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parent)
