"""What is trained in the trials: each in a process forked from one that has imported all and computed nothing."""

import contextlib
import dataclasses
import os
import resource
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from tests.runs import fake
from tests.runs.snapshot import read_snapshot

from metarims.config import Config
from metarims.errors import UserError
from metarims.learning.trainer import make_trainer
from metarims.presets import PRESETS
from metarims.runs.callbacks import ChunkReport
from metarims.runs.export import load_agent
from metarims.runs.signals import StopRequest
from metarims.runs.training import train

NEVER = 99
"""More restarts than a seed is given."""


class Answer(NamedTuple):
    """How a process ended."""

    kind: str
    """``done``, ``refused`` (``UserError``), ``broken`` (any other error), ``silent`` (it was killed)."""
    content: Any


class Child:
    """A function in a separate process."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        context = get_context("fork")
        self._here, there = context.Pipe()
        self.process: Any = context.Process(target=_answer, args=(there, function, args))
        self.process.start()
        there.close()
        with contextlib.suppress(EOFError):
            self._here.recv()  # It is there, and will take a signal as training does.

    def wait(self) -> Answer:
        """How it ended."""
        try:
            answer = self._here.recv()
        except (EOFError, ConnectionResetError):
            answer = Answer("silent", None)
        self.process.join()
        return answer

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


def call(function: Callable[..., Any], *args: Any) -> Answer:
    """Call a function in a separate process."""
    return Child(function, *args).wait()


def _answer(connection: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    with StopRequest() as stop:
        connection.send("ready")
        try:
            answer = Answer("done", function(*args, stop))
        except UserError as error:
            answer = Answer("refused", str(error))
        except BaseException:
            answer = Answer("broken", traceback.format_exc())
        connection.send(answer)


class Learner(NamedTuple):
    """Something to train. Its functions run in a child, and are given the child's ``StopRequest`` last."""

    name: str
    config: Config
    make: Callable[[Config, float, dict[int, dict[int, int]]], Any]
    """``make(config, delay, poison)``: a trainer, with so many seconds more per chunk, and seeds that fail."""
    build: Any
    """``load_agent``'s."""
    seconds: float
    """What a run takes, about, with the delay that trials use."""
    delay: float
    biggest: int
    """Bytes of the largest file of a run, about."""

    def train(self, out: Path, frames: int, stop: StopRequest) -> bool:
        """Train up to so many frames; whether they were reached."""
        return self._train(dataclasses.replace(self.config, frames=frames), out, {}, None, stop)

    def train_poisoned(self, out: Path, config: Config, poison: dict[int, dict[int, int]], stop: StopRequest) -> bool:
        """The same with seeds that fail, by chunk and place (``fake.FakeTrainer``)."""
        return self._train(config, out, poison, None, stop)

    def train_on_full_disk(self, out: Path, chunk: int, num_bytes: int, stop: StopRequest) -> bool:
        """The same; from after a chunk on no file can grow beyond so many bytes."""
        return self._train(self.config, out, {}, _FillDisk(chunk, num_bytes), stop)

    def finish(self, out: Path, stop: StopRequest) -> dict[str, Any]:
        """Train to the end; what then lies in the folder."""
        if not self._train(self.config, out, {}, None, stop):
            raise RuntimeError("it did not finish")
        return read_snapshot(out)

    def agent_is_sound(self, path: Path, _: StopRequest) -> bool:
        """Whether an agent's file can be read (which refuses numbers that are not finite)."""
        return bool(load_agent(path, self.build))

    def _train(self, config: Config, out: Path, poison: Any, callback: Any, stop: StopRequest) -> bool:
        def make(config: Config) -> Any:
            return self.make(config, self.delay, poison)

        return train(config, out, callback, make, stop, progress=False).finished


class _FillDisk:
    """A callback after whose chunk the system refuses longer files, like a full disk."""

    def __init__(self, chunk: int, num_bytes: int):
        self.chunk_at, self.num_bytes = chunk, num_bytes

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        pass

    def chunk(self, report: ChunkReport) -> None:
        if report.chunk == self.chunk_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, resource.RLIM_INFINITY))


def _make_real(config: Config, delay: float, poison: dict[int, dict[int, int]]) -> Any:
    """The library's own trainer; where it is poisoned, one weight of a seed is no number before a chunk."""
    trainer = make_trainer(config)
    run_chunk, done = trainer.run_chunk, iter(range(1, 10**6))

    def run(state: Any) -> Any:
        for place in poison.get(next(done), {}):
            weights = state.agent.value.output.at[place].set(jnp.nan)
            state = eqx.tree_at(lambda state: state.agent.value.output, state, weights)
        return run_chunk(state)

    trainer.run_chunk = run
    return trainer


FAKE = Learner("fake", fake.SMALL, fake.FakeTrainer, fake.build, seconds=2.0, delay=0.02, biggest=2500)
"""A learner of four numbers: twelve chunks, four checkpoints."""
REAL = Learner(
    "metarims",
    dataclasses.replace(PRESETS["debug"], seeds=(0, 1)),
    _make_real,
    build=None,
    seconds=10.0,
    delay=0.0,
    biggest=200_000,
)
"""The debug preset with two seeds: eight chunks, four checkpoints."""
