"""Numerical faults: a seed whose loss becomes NaN or diverges stops, or repeats its chunk; others are unaffected."""

from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np

from metarims.config import Config
from metarims.learning.devices import is_key
from metarims.learning.trainer import Trainer
from metarims.runs import metrics_log

MAX_RESTARTS = 3
"""Of one seed; the next fault stops it."""

ADVICE = "A lower learning_rate or max_grad_norm in a new run usually helps."


class Event(NamedTuple):
    """A line of ``events.jsonl``."""

    event: str
    """``stop`` or ``restart``."""
    seed: int
    chunk: int
    """Counted from 1."""
    update: int
    """Counted from the start of the run, in rollouts of the fastest timescale."""
    env_steps: int
    """Of the seed, after that update."""
    term: str
    value: float | None
    """None where not finite."""
    restarts: int
    """Of this seed so far."""
    text: str
    """The event as a message."""


class SeedStatus(TypedDict):
    """Restarts and stops so far, for checkpoints: one entry per seed in each list."""

    restarts: list[int]
    stopped: list[int | None]


class FaultGuard:
    """Runs chunks, and stops or restarts the seeds at fault.

    All seeds are one program, so a stopped seed is still computed: its results are dropped, and its state remains that
    before the faulty chunk. For a restart, the chunk runs once more from the same state with new random keys, and only
    the restarted seed's results are used.
    """

    def __init__(self, trainer: Trainer, config: Config):
        self.trainer, self.config = trainer, config
        self.restarts = [0] * len(config.seeds)
        self.stopped: list[int | None] = [None] * len(config.seeds)
        """For each stopped seed, the environment steps of its last valid agent."""

    @property
    def active(self) -> list[int]:
        """Indices of the seeds that are not stopped."""
        return [index for index, steps in enumerate(self.stopped) if steps is None]

    @property
    def stopped_seeds(self) -> tuple[int, ...]:
        return tuple(s for s, steps in zip(self.config.seeds, self.stopped, strict=True) if steps is not None)

    def steps_of(self, index: int, env_steps: int) -> int:
        """Environment steps of a seed's agent when the run has done ``env_steps``."""
        steps = self.stopped[index]
        return env_steps if steps is None else steps

    def notes(self) -> SeedStatus:
        """For a checkpoint."""
        return {"restarts": list(self.restarts), "stopped": list(self.stopped)}

    def restore(self, notes: SeedStatus | None) -> None:
        """Set the restarts and stops to those of a checkpoint."""
        if notes is not None:
            self.restarts, self.stopped = list(notes["restarts"]), list(notes["stopped"])

    def reminders(self) -> tuple[str, ...]:
        """A message for each stopped seed."""
        stopped = zip(self.config.seeds, self.stopped, strict=True)
        return tuple(
            f"Seed {seed} stopped after step {steps:,} and stays stopped (see events.jsonl)."
            for seed, steps in stopped
            if steps is not None
        )

    def run_chunk(self, state: Any, chunk: int, env_steps: int) -> tuple[Any, dict[str, np.ndarray], list[Event]]:
        """The state after the next chunk, its metrics without ``fault/...``, and the faults.

        ``chunk``, ``env_steps``: the number of each so far.
        """
        before, events = state, []
        state, values = self._run(state)
        faulty = [index for index in self.active if values["fault/update"][index]]
        while faulty:
            events += [self._judge(index, values, chunk + 1, env_steps) for index in faulty]
            again = [index in faulty and self.stopped[index] is None for index in range(len(self.stopped))]
            if not any(again):
                break
            attempt, found = self._run(self.trainer.reseed(_fresh_keys(before), self.restarts))
            state = self.trainer.select_seeds(again, attempt, state)
            values = {name: np.where(again, found[name], value) for name, value in values.items()}
            faulty = [index for index in faulty if again[index] and values["fault/update"][index]]
        if self.stopped_seeds:
            state = self.trainer.select_seeds([steps is not None for steps in self.stopped], _fresh_keys(before), state)
        return state, {name: value for name, value in values.items() if not name.startswith("fault/")}, events

    def _run(self, state: Any) -> tuple[Any, dict[str, np.ndarray]]:
        state, metrics = self.trainer.run_chunk(state)
        return state, {name: np.asarray(value) for name, value in metrics.items()}  # Waits for the device.

    def _judge(self, index: int, values: dict[str, np.ndarray], chunk: int, start: int) -> Event:
        """Stop a faulty seed, or count its restart; ``start``: environment steps before the chunk."""
        within, term, value = (values[f"fault/{name}"][index] for name in ("update", "term", "value"))
        steps_per_update = self.trainer.frames_per_chunk // self.trainer.updates_per_chunk
        env_steps, name = start + int(within) * steps_per_update, self.trainer.terms[term]
        update = env_steps // steps_per_update
        happened = f"{name} became {value:.3g} in update {update:,} (environment step {env_steps:,})"
        seed = self.config.seeds[index]
        if self.config.on_nan == "restart" and self.restarts[index] < MAX_RESTARTS:
            self.restarts[index] += 1
            count = f"{self.restarts[index]} of {MAX_RESTARTS}"
            kind, text = "restart", f"restarts from step {start:,}, with other random keys ({count}): {happened}."
        else:
            self.stopped[index] = start
            kind, text = "stop", f"stopped: {happened}. Its agent of step {start:,} is kept. {ADVICE}"
        number, restarts = metrics_log.number(value), self.restarts[index]
        return Event(kind, seed, chunk, update, env_steps, name, number, restarts, f"Seed {seed} {text}")


def _fresh_keys(state: Any) -> Any:
    """The state with its random keys marked as unused, to use them again."""
    return jax.tree.map(lambda leaf: jax.random.clone(leaf) if is_key(leaf) else leaf, state)
