"""One run over several processes, on one machine or many (``jax.distributed``).

Every process runs the same program on its own devices. Only the first (rank 0) reads and writes the run's folder; it
sends the others what it read.
"""

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metarims.config import Config
from metarims.errors import UserError, format_value
from metarims.runs.checkpoints import Restored, arrays_of
from metarims.runs.export import fill
from metarims.runs.files import describe_error
from metarims.runs.folder import RunFolder

SHUTDOWN_SECONDS = 30
"""Timeout for all processes to end."""
MEETING_SECONDS = 300
"""Timeout for the first process to listen, and for all to connect."""
PROBE_SECONDS = 5
"""Timeout of one attempt to reach the first process."""


class Hosts(NamedTuple):
    """Number of processes, rank of this one, and the address at which the first one listens."""

    number: int = 1
    rank: int = 0
    coordinator: str = ""

    def connect(self, num_devices: int) -> int:
        """Connect to the other processes, before JAX computes anything; returns the number of local devices."""
        if self.number < 1 or not 0 <= self.rank < self.number:
            raise UserError(
                f"host is {self.rank} of {self.number}: --hosts must be 1 or more, and --host from 0 to one less."
            )
        if num_devices % self.number:
            raise UserError(
                f"devices is {num_devices}: it counts those of all {self.number} hosts and must be a multiple of that."
            )
        if self.number > 1:
            self._check_coordinator()
            jax.config.update("jax_enable_preemption_service", False)  # ``StopRequest`` handles SIGTERM.
            try:
                jax.distributed.initialize(
                    self.coordinator,
                    self.number,
                    self.rank,
                    initialization_timeout=MEETING_SECONDS,
                    shutdown_timeout_seconds=SHUTDOWN_SECONDS,
                )
            except (RuntimeError, ValueError, OSError) as error:
                raise self._unusable(describe_error(error)) from error
        return num_devices // self.number

    def _check_coordinator(self) -> None:
        """Try the address: where it is unusable, JAX ends the process with an unclear message."""
        host, _, port = self.coordinator.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            raise UserError(
                f"coordinator is {format_value(self.coordinator)}: name where the first host listens, ADDRESS:PORT "
                "with a port from 1 to 65535, for example 127.0.0.1:9876."
            )
        address = host.strip("[]"), int(port)
        with contextlib.ExitStack() as stack:
            if self.rank == 0:
                dual = socket.has_dualstack_ipv6()
                family = socket.AF_INET6 if dual else socket.AF_INET
                try:
                    stack.enter_context(socket.create_server(("", address[1]), family=family, dualstack_ipv6=dual))
                except OSError as error:
                    raise self._unusable(describe_error(error)) from error
            deadline = time.monotonic() + (PROBE_SECONDS if self.rank == 0 else MEETING_SECONDS)
            while True:
                try:
                    socket.create_connection(address, timeout=PROBE_SECONDS).close()
                    return
                except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name.
                    if time.monotonic() >= deadline:
                        raise self._unusable(describe_error(error)) from error
                time.sleep(0.5)

    def _unusable(self, why: str) -> UserError:
        what = "the first host cannot listen there" if self.rank == 0 else "the first host does not answer there"
        return UserError(
            f"coordinator is {format_value(self.coordinator)}, but {what}: {why}. Name an address of the machine of "
            "--host 0 and a port that is free there, and start all hosts."
        )


def leads() -> bool:
    """Whether this process reads and writes the run's folder."""
    return jax.process_index() == 0


class SingleProcess:
    """A run of one process, which has nothing to share."""

    def any_of(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process; all must call this."""
        return flag

    def share_restored(self, restored: Restored, template: Any) -> Restored:
        """What the first process restored, in all processes; ``template``: a state of the same shapes."""
        return restored

    def open_folder(self, out: str | Path, config: Config) -> contextlib.AbstractContextManager[RunFolder]:
        """The run's folder for the first process, a temporary one for the others; an error is raised in all."""
        return RunFolder(out, config)


class ProcessGroup(SingleProcess):
    """The processes of ``jax.distributed``."""

    def __init__(self):
        from jax.experimental import multihost_utils

        self._gather, self._broadcast = multihost_utils.process_allgather, multihost_utils.broadcast_one_to_all

    def any_of(self, flag: bool) -> bool:
        return bool(self._gather(np.array(flag)).any())

    def share_restored(self, restored: Restored, template: Any) -> Restored:
        whole, notes, problems = self._share([restored.state is not None, restored.notes, restored.problems])
        state = None
        if whole:
            arrays = arrays_of(restored.state if leads() else template)
            own = {name: np.asarray(a) if leads() else np.zeros(a.shape, a.dtype) for name, a in arrays.items()}
            shared = self._broadcast(own)  # It sums, which widens small types.
            state = fill(template, {name: np.asarray(shared[name]).astype(a.dtype) for name, a in own.items()})
        return Restored(state, notes, tuple(problems))

    @contextlib.contextmanager
    def open_folder(self, out: str | Path, config: Config) -> Iterator[RunFolder]:
        with contextlib.ExitStack() as stack:
            refusal = folder = None
            try:
                place = out if leads() else stack.enter_context(tempfile.TemporaryDirectory(prefix="metarims-"))
                folder = stack.enter_context(RunFolder(place, config))
            except UserError as error:
                refusal = str(error)
            refusal = self._share(refusal)
            if refusal is not None or folder is None:
                raise UserError(refusal or "This host has no room for temporary files: free some space.")
            yield folder

    def _share(self, value: Any) -> Any:
        """The JSON value that the first process passes, in all processes."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8) if leads() else np.zeros(0, np.uint8)
        size = int(self._broadcast(np.array(text.size, np.int32)))
        padded = text if leads() else np.zeros(size, np.uint8)
        return json.loads(np.asarray(self._broadcast(padded)).astype(np.uint8).tobytes())


def process_group() -> SingleProcess:
    """The processes of this run."""
    return ProcessGroup() if jax.process_count() > 1 else SingleProcess()
