"""Seeds whose numbers become undefined or explode: each stops, or begins its chunk anew, and the others go on."""

from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from metarims.config import Config
from metarims.learning.devices import is_key
from metarims.runs import metrics_log
from metarims.runs.trainer_protocol import TrainerProtocol

MAX_RESTARTS = 3
"""Of one seed in a run; at the next fault it stops."""

ADVICE = "A lower learning_rate or max_grad_norm usually helps, in another folder."


class Event(NamedTuple):
    """A line of ``events.jsonl``."""

    event: str
    """``stop`` or ``restart``."""
    seed: int
    chunk: int
    """The one in which it happened, counted from 1."""
    update: int
    """Counted from the beginning of the run, in rollouts of the fastest timescale."""
    env_steps: int
    """Of the seed, when that update was done."""
    term: str
    value: float | None
    """None where it was not finite."""
    restarts: int
    """Of this seed so far."""
    text: str
    """The same as a sentence."""


class SeedStatus(TypedDict):
    """Where the seeds stand, as a checkpoint holds it: one entry per seed in each list."""

    restarts: list[int]
    stopped: list[int | None]


class FaultGuard:
    """Runs chunks, and sees to the seeds at fault.

    All seeds are one program, so a stopped one's place in it is still computed: what comes of it is thrown away, and
    its part of the state stays what it was before the chunk at fault. For one that begins anew the chunk is run once
    more, from the same state with other actions drawn, and its part alone is taken from that.
    """

    def __init__(self, trainer: TrainerProtocol, config: Config):
        self.trainer, self.config = trainer, config
        self.restarts = [0] * len(config.seeds)
        self.stopped: list[int | None] = [None] * len(config.seeds)
        """For each seed, the environment steps of its last sound agent, if it was stopped."""

    @property
    def going(self) -> list[int]:
        """The places of the seeds that go on."""
        return [index for index, steps in enumerate(self.stopped) if steps is None]

    @property
    def stopped_seeds(self) -> tuple[int, ...]:
        return tuple(s for s, steps in zip(self.config.seeds, self.stopped, strict=True) if steps is not None)

    def steps_of(self, index: int, env_steps: int) -> int:
        """Environment steps of a seed's agent when the run has done ``env_steps``."""
        steps = self.stopped[index]
        return env_steps if steps is None else steps

    def notes(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the state."""
        return {"restarts": list(self.restarts), "stopped": list(self.stopped)}

    def restore(self, notes: dict[str, Any] | None) -> None:
        """Take up what a checkpoint held."""
        if notes is not None:
            self.restarts, self.stopped = list(notes["restarts"]), list(notes["stopped"])

    def reminders(self) -> tuple[str, ...]:
        """A sentence for each seed that is stopped."""
        stopped = zip(self.config.seeds, self.stopped, strict=True)
        return tuple(
            f"Seed {seed} stopped after step {steps:,} and stays so (events.jsonl says why)."
            for seed, steps in stopped
            if steps is not None
        )

    def compile(self, state: Any) -> None:
        """Have everything ready that a chunk without faults needs."""
        _copy.lower(state).compile()
        self.trainer.compile(state)

    def run_chunk(self, state: Any, chunk: int, env_steps: int) -> tuple[Any, dict[str, np.ndarray], list[Event]]:
        """The state after the next chunk, its record without ``fault/...``, and what happened.

        ``chunk``, ``env_steps``: how many of each came before.
        """
        before, events = _copy(state), []
        state, values = self._run(state)
        faulty = [index for index in self.going if values["fault/update"][index]]
        while faulty:
            events += [self._judge(index, values, chunk + 1, env_steps) for index in faulty]
            again = [index in faulty and self.stopped[index] is None for index in range(len(self.stopped))]
            if not any(again):
                break
            attempt, found = self._run(self.trainer.reseed(_copy(before), self.restarts))
            state = self.trainer.select_seeds(again, attempt, state)
            values = {name: np.where(again, found[name], value) for name, value in values.items()}
            faulty = [index for index in faulty if again[index] and values["fault/update"][index]]
        if self.stopped_seeds:
            state = self.trainer.select_seeds([steps is not None for steps in self.stopped], before, state)
        return state, {name: value for name, value in values.items() if not name.startswith("fault/")}, events

    def _run(self, state: Any) -> tuple[Any, dict[str, np.ndarray]]:
        state, metrics = self.trainer.run_chunk(state)
        return state, {name: np.asarray(value) for name, value in metrics.items()}  # Waits for the device.

    def _judge(self, index: int, values: dict[str, np.ndarray], chunk: int, begin: int) -> Event:
        """Stop a seed at fault, or count its restart; ``begin``: environment steps before the chunk."""
        within, term, value = (values[f"fault/{name}"][index] for name in ("update", "term", "value"))
        steps_per_update = self.trainer.frames_per_chunk // self.trainer.updates_per_chunk
        env_steps, name = begin + int(within) * steps_per_update, self.trainer.terms[term]
        update = env_steps // steps_per_update
        happened = f"{name} became {value:.3g} in update {update:,} (environment step {env_steps:,})"
        seed = self.config.seeds[index]
        if self.config.on_nan == "restart" and self.restarts[index] < MAX_RESTARTS:
            self.restarts[index] += 1
            count = f"{self.restarts[index]} of {MAX_RESTARTS}"
            kind, text = "restart", f"goes on from step {begin:,}, drawing other actions ({count}): {happened}."
        else:
            self.stopped[index] = begin
            kind, text = "stop", f"stopped: {happened}. Its agent of step {begin:,} is kept. {ADVICE}"
        number, restarts = metrics_log.number(value), self.restarts[index]
        return Event(kind, seed, chunk, update, env_steps, name, number, restarts, f"Seed {seed} {text}")


@jax.jit
def _copy(state: Any) -> Any:
    """A chunk takes over its input's memory; random keys in the copy are meant to be used again."""
    return jax.tree.map(lambda leaf: jax.random.clone(leaf) if is_key(leaf) else jnp.copy(leaf), state)
