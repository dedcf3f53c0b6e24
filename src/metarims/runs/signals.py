"""Stopping on request: SIGTERM and Ctrl-C let the running chunk end first."""

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

SIGNALS = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
"""Exit code after a second Ctrl-C."""
JOIN_SECONDS = 0.2
SHOW_CURSOR = b"\x1b[?25h"
"""Makes a terminal show its cursor, which a live table hides."""


class StopRequest:
    """A context in which the first SIGTERM or Ctrl-C only sets ``requested``; a second Ctrl-C ends the process at once.

    Python calls its signal handlers between two instructions of the main thread, which a compiled program holds for
    minutes; and an exception raised while compiling can crash it. So a thread receives every signal at once
    (``signal.set_wakeup_fd``), answers, and ends the process itself: checkpoints survive a kill at any moment. Outside
    of the main thread, ``requested`` is for others to set.
    """

    def __init__(self, *, worker: bool = False):
        """``worker``: in a process started by another within ``signals_held``, which prints for it."""
        self.requested = False
        self.worker = worker
        self._depth = 0
        self._listener: threading.Thread | None = None

    def __enter__(self) -> "StopRequest":
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            receiver, self._sender = socket.socketpair()
            self._sender.setblocking(False)
            self._listener = threading.Thread(target=self._listen, args=(receiver,), daemon=True)
            self._listener.start()
            self._wakeup_before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
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
            self._sender.shutdown(socket.SHUT_WR)  # The listener reads what is left, and ends.
            self._sender.close()
            self._listener.join(timeout=1)
            self._listener = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT and os.getpid() != self._process:
            raise KeyboardInterrupt  # A process forked from this one has no listener.
        self.requested = True

    def _listen(self, receiver: socket.socket) -> None:
        received = set()
        with receiver:
            while numbers := receiver.recv(64):
                for number in numbers:
                    if number == signal.SIGINT and number in received:
                        self._end()
                    elif number in SIGNALS and number not in received:
                        received.add(number)
                        self.requested = True
                        self._answer(number)

    def _answer(self, number: int) -> None:
        again = " Ctrl-C again stops at once." if number == signal.SIGINT else ""
        if not self.worker:
            with contextlib.suppress(OSError, ValueError):  # The terminal is gone.
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
                os.write(2, b"\nmetarims: interrupted; everything written so far is kept.\n")
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
    """A forked process must not write to its parent's listener."""
    signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parent)
