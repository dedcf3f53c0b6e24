"""One run over several processes, on one machine or many (``jax.distributed``).

Every process runs the same program on its own devices and comes to the same decisions. Only the first reads and writes
the run's folder; it sends the others what it read there. With one process, every function here returns at once.
"""

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from metarims.config import Config
from metarims.errors import UserError, format_value
from metarims.learning.devices import is_key
from metarims.runs.checkpoints import Restored
from metarims.runs.files import describe_error
from metarims.runs.folder import RunFolder

SHUTDOWN_SECONDS = 30
"""How long a process that ends waits for the others to end too."""
MEETING_SECONDS = 300
"""How long a process waits for the first one to listen, and for all to be there."""
PROBE_SECONDS = 5
"""How long one attempt to reach the first process may take."""


class Hosts(NamedTuple):
    """Which of how many processes this is, and where the first of them listens."""

    number: int = 1
    rank: int = 0
    coordinator: str = ""

    def connect(self, num_devices: int) -> int:
        """Join the others, before JAX computes anything; returns how many of the devices are this process's own."""
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
            jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours (``StopRequest``).
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
        """Try the address: JAX ends the whole process, without a word that helps, where it cannot use it."""
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
                except (OSError, UnicodeError) as error:  # The latter for a name that no host can have.
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
    """Whether this process is the one that reads and writes the run's folder."""
    return jax.process_index() == 0


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all must call this."""
    if jax.process_count() == 1:
        return flag
    return bool(_collectives().process_allgather(np.array(flag)).any())


def share(value: Any) -> Any:
    """The first process's value, in all of them: anything that JSON can hold."""
    if jax.process_count() == 1:
        return value
    text = np.frombuffer(json.dumps(value).encode(), np.uint8) if leads() else np.zeros(0, np.uint8)
    size = int(_collectives().broadcast_one_to_all(np.array(text.size, np.int32)))
    padded = text if leads() else np.zeros(size, np.uint8)
    return json.loads(np.asarray(_collectives().broadcast_one_to_all(padded)).astype(np.uint8).tobytes())


def share_restored(found: Restored, template: Any) -> Restored:
    """What the first process restored, in all of them; ``template``: a state of the same shapes."""
    if jax.process_count() == 1:
        return found
    whole, notes, problems = share([found.state is not None, found.notes, found.problems])
    state = None
    if whole:
        leaves, treedef = jax.tree.flatten(found.state if leads() else template)
        numbers = [_numbers(leaf) for leaf in leaves]
        shared = iter(_collectives().broadcast_one_to_all([number for number in numbers if number is not None]))
        state = treedef.unflatten(
            leaf if number is None else _like(leaf, next(shared)) for leaf, number in zip(leaves, numbers, strict=True)
        )
    return Restored(state, notes, tuple(problems))


@contextlib.contextmanager
def hold_folder(out: str | Path, config: Config) -> Iterator[RunFolder]:
    """The run's folder in the first process, a temporary one in the others; an error of the first is raised in all."""
    with contextlib.ExitStack() as stack:
        refusal = folder = None
        try:
            place = out if leads() else stack.enter_context(tempfile.TemporaryDirectory(prefix="metarims-"))
            folder = stack.enter_context(RunFolder(place, config))
        except UserError as error:
            if jax.process_count() == 1:
                raise
            refusal = str(error)
        refusal = share(refusal)
        if refusal is not None or folder is None:
            raise UserError(refusal or "This host cannot write temporary files.")
        yield folder


def _numbers(leaf: Any) -> np.ndarray | None:
    """What the first process sends of an array; None for what is no array, or empty."""
    if not eqx.is_array(leaf) or not leaf.size:
        return None
    numbers = jax.random.key_data(leaf) if is_key(leaf) else leaf
    return np.asarray(numbers) if leads() else np.zeros(numbers.shape, numbers.dtype)


def _like(leaf: Any, numbers: np.ndarray) -> Any:
    """The numbers as an array of the leaf's kind; the transfer sums them, which widens small types."""
    if is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(numbers), impl=jax.random.key_impl(leaf))
    return jnp.asarray(numbers.astype(leaf.dtype))


def _collectives() -> Any:
    """Imported only where there are several processes."""
    from jax.experimental import multihost_utils

    return multihost_utils
