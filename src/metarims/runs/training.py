"""Training: compiled chunks of updates, with metrics, checkpoints and exported agents in between."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import equinox as eqx
import jax
import numpy as np

from metarims import __version__
from metarims.config import Config
from metarims.errors import UserError
from metarims.gridworld.missions import VOCABULARY
from metarims.gridworld.precision import in_32_bits
from metarims.learning.devices import is_key
from metarims.learning.trainer import Trainer, make_trainer
from metarims.runs import checkpoints, metrics_log, provenance
from metarims.runs.best_checkpoint import BestCheckpoints, BestSoFar
from metarims.runs.callbacks import Callback, Callbacks, ChunkReport
from metarims.runs.export import SavedAgent, save_agent
from metarims.runs.faults import FaultGuard, SeedStatus
from metarims.runs.files import check_name, check_space, clear_scratch, writing
from metarims.runs.folder import RunFolder
from metarims.runs.hosts import SingleProcess, leads, process_group
from metarims.runs.progress import Progress
from metarims.runs.schema import check_schema
from metarims.runs.signals import StopRequest
from metarims.runs.warm_start import carry_words, check_fit, copy_initial_agents, initial_agents
from metarims.runtime import prevent_deadlock, release_memory

EPISODE_MEANS = {"return", "success", "episode_length"}
"""Metrics that are null in a chunk in which no episode ended."""


class CheckpointNotes(TypedDict):
    """What a checkpoint holds beside the training state."""

    chunk: int
    env_steps: int
    metrics: metrics_log.LogPosition
    speed_bytes: int
    events_bytes: NotRequired[int]
    faults: NotRequired[SeedStatus]
    best: NotRequired[BestSoFar]


class TrainResult(NamedTuple):
    """How a call of ``train`` ended."""

    finished: bool
    env_steps: int
    """Per seed."""
    stopped: tuple[int, ...] = ()
    """Seeds that a numerical fault stopped."""


@in_32_bits
def train(
    config: Config,
    out: str | Path,
    callback: Callback | None = None,
    make_trainer: Callable[[Config], Trainer] = make_trainer,
    stop: StopRequest | None = None,
    agents: Sequence[SavedAgent] | None = None,
    *,
    progress: bool = True,
) -> TrainResult:
    """Train the run of ``config`` in the folder ``out``, or resume it.

    A killed and resumed run equals an uninterrupted one bit for bit, on the same kind of processor: its state comes
    from the last whole checkpoint, and its metrics are truncated to match. ``agents``: initial weights, one agent per
    seed, instead of those that ``config.init_from`` names. ``progress``: print it, as ``metarims train`` does.
    """
    check_name(Path(out), "out")
    prevent_deadlock()
    provenance.commit()  # Before the checkout may change.
    with stop or StopRequest() as stop:
        trainer = make_trainer(config)  # Raises what it cannot build before anything is written.
        agents = agents or initial_agents(config, out)
        note = ""
        if agents:
            agents, note = carry_words(agents, trainer.envs.vocabulary)
            check_fit(agents, config, trainer.envs.num_actions, trainer.envs.vocabulary)
        processes = process_group()
        with (
            processes.open_folder(out, config) as folder,
            Progress() if progress and leads() else nullcontext() as display,
        ):
            callbacks = Callbacks(*filter(None, (callback, display)))
            return _Run(config, folder, trainer, callbacks, stop, agents, processes, note).train()


class _Run:
    """Training from a checkpoint (or initial weights) to the end of the run or a stop."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        trainer: Trainer,
        callbacks: Callbacks,
        stop: StopRequest,
        initial_agents: Sequence[SavedAgent] | None,
        processes: SingleProcess,
        note: str = "",
    ):
        """``note``: on the initial weights."""
        self.config, self.folder, self.trainer = config, folder, trainer
        self.callbacks = callbacks
        self.stop, self.initial_agents, self.processes = stop, initial_agents, processes
        self.note = note
        self.compile_seconds = 0.0
        """How long compiling for the next chunk took."""
        self.chunk, self.env_steps, self.saved_steps = 0, 0, 0
        self.state: Any = None
        self.guard = FaultGuard(trainer, config)
        self.best = BestCheckpoints(config.seeds)
        self._open_logs()

    def train(self) -> TrainResult:
        self._restore()
        if self.chunk:
            self._export()  # A process killed between checkpoint and export left older agents.
        ending = self._is_ending()
        if not ending:
            self._compile()
            ending = self._is_ending()
        while not ending:
            self._run_chunk()
            ending = self._is_ending()  # Once per chunk, so that all uses below agree.
            regular = self.chunk % self.config.checkpoint_every == 0
            if regular:
                self.best.update(self._steps_of, partial(self.trainer.agent, self.state))
            if ending or regular:
                self._save()
        return TrainResult(self._finished, self.env_steps, self.guard.stopped_seeds)

    def _open_logs(self) -> None:
        files = (self.folder.metrics, self.folder.speed, self.folder.events)
        self.metrics, self.speed, self.events = map(metrics_log.Log, files)

    @property
    def _finished(self) -> bool:
        return self.env_steps >= self.config.frames or len(self.guard.stopped_seeds) == len(self.config.seeds)

    @property
    def _end_steps(self) -> int:
        chunks_left = max(0, -(-(self.config.frames - self.env_steps) // self.trainer.frames_per_chunk))
        return self.env_steps + chunks_left * self.trainer.frames_per_chunk

    def _is_ending(self) -> bool:
        """Whether the run is finished, or a stop was requested (which can change at any moment)."""
        return self._finished or self.processes.any_of(self.stop.requested)

    def _restore(self) -> None:
        """Resume from the newest whole checkpoint that matches the metrics, or start from the initial state."""
        folder = self.folder
        self.callbacks.compiling()
        state = self._initial_state()
        self.best.restore([self.trainer.agent(state, index) for index in range(len(self.config.seeds))])
        template = self._to_checkpoint(state)
        num_bytes = sum(array.size * array.dtype.itemsize for array in checkpoints.arrays_of(template).values())
        check_space(folder.path, (checkpoints.KEEP + 1) * num_bytes)
        for place in (folder.checkpoints, folder.agents):
            clear_scratch(place)
        restored = checkpoints.restore(folder.checkpoints, template, self._find_fault)
        if restored.state is None:
            restored = restored._replace(problems=restored.problems + self._set_aside())
        restored = self.processes.share_restored(restored, template)
        notes, problems = restored.notes, restored.problems
        if restored.state is not None:
            state = restored.state["training"]
            self.chunk, self.env_steps = notes["chunk"], notes["env_steps"]
            self.guard.restore(notes.get("faults"))
            self.best.restore(restored.state["best"], notes.get("best"))
            problems += self.guard.reminders()
            if not self._finished:
                state, note = self.trainer.resume(state)
                problems += (note,) * bool(note)
        self.state, self.saved_steps = jax.tree.map(_strong, state), self.env_steps
        with writing("metrics", folder.path):
            self.metrics.truncate(notes["metrics"]["bytes"] if notes else 0)
            self.speed.truncate(notes.get("speed_bytes", 0))
            self.events.truncate(notes.get("events_bytes", 0))
        notes = (self.note,) * bool(self.note and not self.chunk)
        self.callbacks.begin(self.config, self.env_steps, notes + problems)

    def _initial_state(self) -> Any:
        """The state before the first chunk."""
        with _explain_memory():
            state = self.trainer.init()
            if self.initial_agents is None:
                return state
            if self.config.init_from:
                copy_initial_agents(self.initial_agents, self.config, self.folder.path)
            return self.trainer.load_weights(state, [saved.agent for saved in self.initial_agents])

    def _to_checkpoint(self, state: Any) -> dict[str, Any]:
        """What a checkpoint holds: also the best agents, so that all exported agents can be written from it."""
        return {"training": self.trainer.to_checkpoint(state), "best": self.best.agents}

    def _set_aside(self) -> tuple[str, ...]:
        """Move an earlier training away if none of its checkpoints is whole; returns a note."""
        folder = self.folder
        if not checkpoints.chunks(folder.checkpoints) and not any(folder.agents.glob("*")):
            return ()
        advice = "Nothing is lost: fix that and rerun the command, or name another folder with --out."
        with writing("the earlier training into a folder of its own", folder.path, advice=advice):
            aside = folder.set_aside()
        self._open_logs()
        return (f"No checkpoint is intact: the old files are now in {aside}, and training starts again.",)

    def _find_fault(self, notes: dict[str, Any]) -> str | None:
        """Why a checkpoint with these notes cannot be resumed, or None."""
        try:
            check_schema(notes, CheckpointNotes, "notes")
        except UserError as error:
            return f"its {str(error).rstrip('.')}"
        for name, form in (("faults", SeedStatus), ("best", BestSoFar)):
            lists = [notes[name][part] for part in form.__required_keys__] if name in notes else []
            if any(len(of_seeds) != len(self.config.seeds) for of_seeds in lists):
                return f"its notes.{name} is of other seeds"
        if self.metrics.extends(notes["metrics"]):
            return None
        return "the lines of metrics.jsonl that belong to it are damaged or missing"

    def _compile(self) -> None:
        """Compile before the first chunk, so that a stop meanwhile is not followed by a chunk."""
        start = time.perf_counter()
        with _explain_memory():
            self.trainer.compile(self.state)
        release_memory()
        self.compile_seconds = time.perf_counter() - start
        self.callbacks.compiled(self.compile_seconds)

    def _run_chunk(self) -> None:
        start = time.perf_counter()
        try:
            with _explain_memory():
                self.state, values, events = self.guard.run_chunk(self.state, self.chunk, self.env_steps)
        except UserError as error:  # From an environment on the host, or out of memory.
            raise UserError(
                f"{error} Training stopped after step {self.env_steps:,}; it resumes from step {self.saved_steps:,}."
            ) from error
        running, compile_seconds = time.perf_counter() - start, self.compile_seconds
        seconds, self.compile_seconds = running + compile_seconds, 0.0
        self.chunk += 1
        self.env_steps += self.trainer.frames_per_chunk
        rows = [self._row(index, self.config.seeds[index], values) for index in self.guard.active]
        self.best.add(rows)
        frames_per_second = self.trainer.frames_per_chunk * len(rows) / max(running, 1e-9)
        speed = {
            "chunk": self.chunk,
            "env_steps": self.env_steps,
            "seconds": round(seconds, 4),
            "compile_seconds": round(compile_seconds, 4),
            "frames_per_second": round(frames_per_second, 1),
            "commit": provenance.commit(),
            "version": __version__,
        }
        with writing("metrics", self.folder.path):
            self.metrics.append(rows)
            self.speed.append([speed])
            if events:
                self.events.append([event._asdict() for event in events])
        texts, steps = tuple(event.text for event in events), (self.env_steps, self._end_steps)
        self.callbacks.chunk(ChunkReport(self.chunk, *steps, frames_per_second, compile_seconds, rows, seconds, texts))

    def _row(self, index: int, seed: int, values: dict[str, np.ndarray]) -> dict[str, Any]:
        row: dict[str, Any] = {"seed": seed, "chunk": self.chunk, "env_steps": self.env_steps}
        row |= {name: metrics_log.number(value[index]) for name, value in values.items()}
        for name in [name for name, value in row.items() if name.startswith("episodes") and value == 0]:
            of_task = name.removeprefix("episodes")
            row |= dict.fromkeys({mean + of_task for mean in EPISODE_MEANS} & row.keys())
        return row

    def _save(self) -> None:
        """Write a checkpoint and export the agents."""
        notes = {
            "chunk": self.chunk,
            "env_steps": self.env_steps,
            "metrics": self.metrics.position(),
            "speed_bytes": self.speed.num_bytes,
            "events_bytes": self.events.num_bytes,
            "faults": self.guard.notes(),
            "best": self.best.so_far,
        }
        with writing("a checkpoint", self.folder.path):
            checkpoints.save(self.folder.checkpoints, self.chunk, self._to_checkpoint(self.state), notes)
        self._export()
        self.saved_steps = self.env_steps

    def _export(self) -> None:
        """Write the agents as they are now, and the best so far."""
        agent = partial(self.trainer.agent, self.state)
        best = self.best.at_end(self._steps_of, agent) if self._finished else self.best
        best_steps = best.so_far["env_steps"]
        with writing("the trained agents", self.folder.path):
            for index, seed in enumerate(self.config.seeds):
                self._write_agent(agent(index), seed, self._steps_of(index))
                if best_steps[index]:
                    self._write_agent(best.agents[index], seed, best_steps[index], best=True)

    def _steps_of(self, index: int) -> int:
        return self.guard.steps_of(index, self.env_steps)

    def _write_agent(self, agent: Any, seed: int, env_steps: int, *, best: bool = False) -> None:
        words = self.trainer.envs.vocabulary
        counts, custom = (self.trainer.envs.num_actions, len(words)), () if words == VOCABULARY else words
        saved = SavedAgent(agent, self.folder.config, seed, env_steps, *counts, words=custom)
        save_agent(self.folder.agent(seed, best=best), saved)


@contextmanager
def _explain_memory() -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        remedy = "lower --ppo.num-envs, a loop's rollout, the number of seeds or the network's sizes"
        raise UserError(f"This training does not fit into memory: {remedy}.") from error


def _strong(leaf: Any) -> Any:
    """An array without JAX's weak type, like arrays from disk: one compiled program serves both."""
    return jax.lax.convert_element_type(leaf, leaf.dtype) if eqx.is_array(leaf) and not is_key(leaf) else leaf
