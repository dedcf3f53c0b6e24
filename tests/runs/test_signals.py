"""Signals while the main thread is held, as compiled programs hold it: they are heard at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from metarims.runs.signals import StopRequest

HELD = """
import hashlib
from metarims.runs.signals import StopRequest
with StopRequest(worker={worker}):
    print("held", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # For minutes, in which no Python runs in the main thread.
"""
FORKS = """
import os, signal
from metarims.runs.signals import StopRequest
with StopRequest() as stop:
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(0)
    os.wait()
print(stop.requested)
"""
PARENT = """
import multiprocessing, time
from metarims.runs.signals import StopRequest
def work():
    with StopRequest(worker=True):
        print("works", flush=True)
        time.sleep(600)
if __name__ == "__main__":
    with StopRequest():
        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join()
"""

STARTS = """
import multiprocessing, os, signal
if __name__ != "__main__":
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
from metarims.runs.signals import StopRequest, signals_held
def work():
    with StopRequest(worker=True) as stop:
        raise SystemExit(7 if stop.requested else 8)
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    with signals_held():
        worker.start()
    worker.join()
    print(worker.exitcode)
"""


def start(program):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True)


def test_the_first_signal_is_answered_and_a_second_interrupt_ends_the_process():
    with start(HELD.format(worker=False)) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("Ending this chunk (or compiling) and saving. Ctrl")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == "\nmetarims: interrupted; everything written so far is kept.\n"


def test_sigterm_is_never_more_than_a_request():
    with start(HELD.format(worker=False)) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline() == "Ending this chunk (or compiling) and saving.\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert "Ctrl-C again" in process.stderr.readline()
        assert process.poll() is None
        process.kill()


def test_a_worker_says_nothing():
    with start(HELD.format(worker=True)) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.returncode == 130
        assert process.stderr.read() == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_worker_ends_with_its_parent():
    with start(PARENT) as process:
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGINT)
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stdout.read() == "", "and so its end of the pipe is closed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_signal_to_a_forked_process_is_not_its_parents():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_what_was_there_before_is_restored():
    """A request can be entered again, as training does with its caller's."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest() as stop:
        with stop:
            pass
        assert signal.getsignal(signal.SIGINT) not in before
    with pytest.raises(OSError, match="full"), stop, stop:
        raise OSError("full")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held here")
def test_a_signal_during_a_workers_imports_reaches_its_request(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(STARTS)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals do not hang up here")
def test_a_closed_terminal_stops_a_training_unless_it_is_to_be_ignored(capsys):
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        while not stop.requested:
            time.sleep(0.01)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            time.sleep(0.05)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
