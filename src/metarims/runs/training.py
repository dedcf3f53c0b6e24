"""Training a run: chunks of compiled updates, with records, checkpoints and exported agents in between."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from metarims.config import Config
from metarims.errors import UserError
from metarims.gridworld.missions import VOCABULARY
from metarims.runs import checkpoints, records
from metarims.runs.compiling import CompileClock
from metarims.runs.export import SavedAgent, first_bad, save_agent
from metarims.runs.files import check_space, writing
from metarims.runs.folder import RunFolder
from metarims.runs.stopping import StopRequest

LOSSES = ("loss", "entropy", "grad_norm")
"""Endings of the metrics' names that must stay finite."""

EPISODE_MEANS = {"return", "success", "episode_length"}
"""Metrics that are undefined (null) in a chunk in which no episode ended."""


@runtime_checkable
class Trainer(Protocol):
    """What a run needs of a learner (``learning.trainer.Trainer``)."""

    frames_per_chunk: int
    """Environment steps per seed."""
    cycles_per_chunk: int
    """Updates (of the slowest timescale)."""
    level: Any
    """The environment: ``num_actions`` is read."""
    words: tuple[str, ...]
    """The vocabulary of its missions."""

    def init(self) -> Any: ...
    def run_chunk(self, state: Any) -> tuple[Any, dict[str, Any]]: ...
    def agent(self, state: Any, index: int) -> Any: ...
    def keep(self, state: Any) -> Any:
        """What of a state a checkpoint holds."""
        ...

    def resume(self, kept: Any) -> tuple[Any, str]:
        """The state to go on from, and a sentence if it is not exactly the one that was kept."""
        ...


class ChunkReport(NamedTuple):
    """What is known after a chunk, for whoever watches."""

    chunk: int
    env_steps: int
    """Per seed, so far."""
    frames_per_second: float
    """Over all seeds, without compile time."""
    compile_seconds: float
    """Within this chunk."""
    rows: list[dict[str, Any]]
    """The metrics' lines of this chunk, one per seed."""
    seconds: float
    """Wall-clock time of this chunk, compile time included."""


@runtime_checkable
class Watcher(Protocol):
    """Told what happens; the live table is one, the loggers are another."""

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None: ...
    def chunk(self, report: ChunkReport) -> None: ...


class Watchers:
    """Several watchers as one: each is told, in this order."""

    def __init__(self, *watchers: Watcher):
        self.watchers = watchers

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        for watcher in self.watchers:
            watcher.begin(config, env_steps, problems)

    def chunk(self, report: ChunkReport) -> None:
        for watcher in self.watchers:
            watcher.chunk(report)


class Outcome(NamedTuple):
    """How a call of ``train`` ended."""

    finished: bool
    env_steps: int
    """Per seed."""


def train(
    config: Config,
    out: str | Path,
    watcher: Watcher | None = None,
    make_trainer: Callable[[Config], Trainer] | None = None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Train, or go on training, the run of ``config`` in the folder ``out``.

    A run that was killed and goes on is bit for bit the run that was not, on one kind of processor: its state comes
    from the last whole checkpoint, and its metrics are cut back to there.
    """
    make_trainer = make_trainer or _default_trainer
    with stop or StopRequest() as stop:
        trainer = make_trainer(config)  # Says what cannot be built before anything is written.
        with RunFolder(out, config) as folder, CompileClock() as clock:
            return _Run(config, folder, trainer, watcher, stop, clock).go()


class _Run:
    """One stretch of training, from a checkpoint (or nothing) to the end or a stop."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        trainer: Trainer,
        watcher: Watcher | None,
        stop: StopRequest,
        clock: CompileClock,
    ):
        self.config, self.folder, self.trainer = config, folder, trainer
        self.watcher, self.stop, self.clock = watcher, stop, clock
        self.chunk, self.env_steps, self.saved_steps = 0, 0, 0
        self.state: Any = None
        self.metrics, self.speed = records.Log(folder.metrics), records.Log(folder.speed)

    def go(self) -> Outcome:
        self._restore()
        if self.chunk:
            self._export(self._agents())  # A process killed between checkpoint and export left older ones.
        while self.env_steps < self.config.frames and not self.stop.requested:
            self._run_chunk()
            last = self.env_steps >= self.config.frames or self.stop.requested
            if last or self.chunk % self.config.checkpoint_every == 0:
                self._save()
        return Outcome(self.env_steps >= self.config.frames, self.env_steps)

    def _restore(self) -> None:
        """Take up the newest whole checkpoint whose metrics are there too, or begin."""
        folder, beginning = self.folder, self.trainer.init()
        leaves = [leaf for leaf in jax.tree.leaves(beginning) if eqx.is_array(leaf)]
        num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        check_space(folder.path, (checkpoints.KEEP + 1) * num_bytes)
        checkpoints.clear_scratch(folder.checkpoints)
        found = checkpoints.restore(folder.checkpoints, self.trainer.keep(beginning), self._metrics_fault)
        problems = found.problems
        if found.state is None:
            self.state = jax.tree.map(_strong, beginning)
            if problems:
                problems += ("No whole checkpoint is left: training begins again.",)
        else:
            self.state = found.state
            self.chunk, self.env_steps = found.notes["chunk"], found.notes["env_steps"]
            if self.env_steps < self.config.frames:
                state, note = self.trainer.resume(found.state)
                self.state = jax.tree.map(_strong, state)
                problems += (note,) * bool(note)
        with writing("metrics", folder.path):
            self.metrics.cut(found.notes["metrics"]["bytes"] if found.notes else 0)
            self.speed.cut(found.notes["speed_bytes"] if found.notes else 0)
        self.saved_steps = self.env_steps
        if self.watcher:
            self.watcher.begin(self.config, self.env_steps, problems)

    def _metrics_fault(self, notes: dict[str, Any]) -> str | None:
        if self.metrics.begins_with(notes["metrics"]):
            return None
        return "the lines of metrics.jsonl that go with it are damaged or missing"

    def _run_chunk(self) -> None:
        began, compiled = time.perf_counter(), self.clock.seconds
        try:
            self.state, metrics = self.trainer.run_chunk(self.state)
        except UserError as error:  # From an environment on the host.
            raise UserError(f"{error} Training stopped after step {self.env_steps:,}; {self._kept()}.") from error
        values = {name: np.asarray(value) for name, value in metrics.items()}  # Waits for the device.
        seconds, compile_seconds = time.perf_counter() - began, self.clock.seconds - compiled
        self._check_finite(values)
        self.chunk += 1
        self.env_steps += self.trainer.frames_per_chunk
        rows = [self._row(index, seed, values) for index, seed in enumerate(self.config.seeds)]
        frames = self.trainer.frames_per_chunk * len(self.config.seeds)
        frames_per_second = frames / max(seconds - compile_seconds, 1e-9)
        report = ChunkReport(self.chunk, self.env_steps, frames_per_second, compile_seconds, rows, seconds)
        speed = {
            "chunk": report.chunk,
            "env_steps": report.env_steps,
            "seconds": round(seconds, 4),
            "compile_seconds": round(compile_seconds, 4),
            "frames_per_second": round(frames_per_second, 1),
        }
        with writing("metrics", self.folder.path):
            self.metrics.append(rows)
            self.speed.append([speed])
        if self.watcher:
            self.watcher.chunk(report)

    def _row(self, index: int, seed: int, values: dict[str, np.ndarray]) -> dict[str, Any]:
        row: dict[str, Any] = {"seed": seed, "chunk": self.chunk, "env_steps": self.env_steps}
        row |= {name: records.number(value[index]) for name, value in values.items()}
        for name in [name for name, value in row.items() if name.startswith("episodes") and value == 0]:
            of_task = name.removeprefix("episodes")
            row |= dict.fromkeys({mean + of_task for mean in EPISODE_MEANS} & row.keys())
        return row

    def _check_finite(self, values: dict[str, np.ndarray]) -> None:
        """Losses must be finite; other figures may be undefined, as the mean return of no episode is."""
        for name, value in values.items():
            for index in np.flatnonzero(~np.isfinite(value)) if name.endswith(LOSSES) else ():
                raise self._not_finite(f"{name} became {value[index]}", self.config.seeds[index], self.chunk)

    def _not_finite(self, what: str, seed: int, chunk: int) -> UserError:
        """``chunk``: how many were finished before the one in which it happened."""
        updates = self.trainer.cycles_per_chunk
        return UserError(
            f"Training stopped: {what} for seed {seed} in updates {chunk * updates + 1} to {(chunk + 1) * updates} "
            f"(chunk {chunk + 1}); {self._kept()}. A lower learning_rate or max_grad_norm usually helps, in another "
            "folder."
        )

    def _kept(self) -> str:
        return f"the checkpoint at step {self.saved_steps:,} is kept" if self.saved_steps else "no checkpoint was due"

    def _save(self) -> None:
        """Export the agents and write a checkpoint; an agent with broken weights stops the run first."""
        agents = self._agents()
        for seed, agent in zip(self.config.seeds, agents, strict=True):
            bad = first_bad(agent)
            if bad:
                raise self._not_finite(f"the parameter {bad} became infinite or undefined", seed, self.chunk - 1)
        notes = {
            "chunk": self.chunk,
            "env_steps": self.env_steps,
            "metrics": self.metrics.mark(),
            "speed_bytes": self.speed.num_bytes,
        }
        with writing("a checkpoint", self.folder.path):
            checkpoints.save(self.folder.checkpoints, self.chunk, self.trainer.keep(self.state), notes)
        self._export(agents)
        self.saved_steps = self.env_steps

    def _agents(self) -> list[Any]:
        return [self.trainer.agent(self.state, index) for index in range(len(self.config.seeds))]

    def _export(self, agents: list[Any]) -> None:
        words = self.trainer.words
        counts, special = (self.trainer.level.num_actions, len(words)), () if words == VOCABULARY else words
        with writing("the trained agents", self.folder.path):
            for seed, agent in zip(self.config.seeds, agents, strict=True):
                known = SavedAgent(agent, self.config, seed, self.env_steps, *counts, words=special)
                save_agent(self.folder.agents / f"seed-{seed}.safetensors", known)


def _strong(leaf: Any) -> Any:
    """An array without JAX's weak-type mark, as arrays from disk are: one program serves both."""
    return jax.lax.convert_element_type(leaf, leaf.dtype) if _is_number(leaf) else leaf


def _is_number(leaf: Any) -> bool:
    return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _default_trainer(config: Config) -> Trainer:
    from metarims.learning.trainer import make_trainer

    return make_trainer(config)
