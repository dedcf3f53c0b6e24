"""Jobs for processes of their own, which import this file."""

import os
import signal
import time
from typing import NamedTuple

from metarims.runs.signals import StopRequest


class FakeJob(NamedTuple):
    """Ends in the way that its name says: ``waits`` until it is stopped, ``fails``, ``dies`` or is ``done``."""

    name: str

    def __call__(self) -> str | None:
        with StopRequest(worker=True) as stop:
            while self.name == "waits" and not stop.requested:
                time.sleep(0.01)
            if self.name == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
        return "It has no heart." if self.name == "fails" else None
