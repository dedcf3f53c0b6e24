"""Environments on the host behind the interface of ``VecEnv``, so that the same compiled trainer learns on them.

A step is one call out of the compiled program, for all seeds at once. The environments live outside of the program's
state: what the state holds of them is a clock, so that calls come in order and an old state is not stepped again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import io_callback
from jaxtyping import Array, Bool, Int, Int32, PRNGKeyArray

from metarims.errors import UserError
from metarims.gridworld.mission_table import BABYAI_VOCABULARY, MissionTable
from metarims.gridworld.types import VIEW, Observation, TimeStep


class HostEnvSpec(NamedTuple):
    """What the trainer must know of the task."""

    id: str
    num_actions: int
    max_steps: int
    """No episode is truncated earlier."""


class HostState(NamedTuple):
    """What a program knows of environments on the host."""

    clock: Int32[Array, ""]
    """Steps taken so far."""
    missions: Int32[Array, "R L"]
    """The table of missions that observations refer to; rows are given away when no longer needed."""
    changed: Bool[Array, ""]
    """Whether the last step wrote a row of it."""


class HostVecEnv:
    """``num_envs`` environments of a Gymnasium id per seed; ``vmap`` over seeds is one call for all of them.

    What goes wrong in an environment does not stop the compiled program: from then on steps return zeros, and ``check``
    raises it.
    """

    def __init__(
        self,
        id: str,
        num_envs: int,
        *,
        words: tuple[str, ...] = (),
        max_words: int = 0,
        max_missions: int = 0,
        keep: int = 100,
        reads: bool = True,
    ):
        """``words`` of missions beyond those of Farama's; ``keep``: steps for which an observation's row stays valid.

        ``max_words`` and ``max_missions`` 0 are chosen here. Unless somebody ``reads`` them, missions may say anything,
        and their table is one empty row.
        """
        from metarims.gridworld.farama import make_farama
        from metarims.gridworld.host import read_facts

        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: it must be at least 1.")
        facts = read_facts(make_farama(id))
        self.env = HostEnvSpec(id, facts.num_actions, facts.time_limit)
        self.num_envs, self.keep = num_envs, keep
        self.vocabulary = (*BABYAI_VOCABULARY, *(word for word in words if word not in BABYAI_VOCABULARY))
        self.reads = reads
        self.max_words = (max_words or facts.max_words) if reads else 1
        self.max_missions = (max_missions or max(64, num_envs * (1 + keep // 16))) if reads else 1
        self.error: UserError | None = None
        """What went wrong first."""
        self._vectors: list[Any] = []
        self._ages: list[np.ndarray] = []
        self._clock = 0
        self._reset, self._step = self._batched(self._reset_host), self._batched(self._step_host)

    def reset(self, key: PRNGKeyArray) -> tuple[HostState, Observation]:
        """New environments and levels, seeded from the key."""
        state, time_step = self._reset(jax.random.bits(key, (), jnp.uint32))
        return state, time_step.observation

    def step(self, state: HostState, actions: Int[Array, "B"]) -> tuple[HostState, TimeStep]:
        """One step of each; ended environments begin a new level at once."""
        return self._step(state.clock, actions.astype(jnp.int32))

    def check(self) -> None:
        """Raise what went wrong on the host since the beginning, if anything did."""
        if self.error is not None:
            raise self.error

    def _batched(self, function: Callable[..., Any]) -> Any:
        """A function of arrays with a leading axis of seeds as an operation for one seed that ``vmap`` understands."""

        def call(num_seeds: int, *args: Any) -> Any:
            return io_callback(function, self._shapes(num_seeds), *args)

        def one(*args: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[0], call(1, *(arg[None] for arg in args)))

        def many(num_seeds: int, in_batched: Any, *args: Any) -> Any:
            full = (
                arg if batched else jnp.broadcast_to(arg, (num_seeds, *arg.shape))
                for arg, batched in zip(args, in_batched, strict=True)
            )
            out = call(num_seeds, *full)
            return out, jax.tree.map(lambda _: True, out)

        operation = custom_vmap(one)
        operation.def_vmap(many)
        return operation

    def _shapes(self, num_seeds: int) -> tuple[HostState, TimeStep]:
        def shape(dtype: Any, *dims: int) -> Any:
            return jax.ShapeDtypeStruct((num_seeds, *dims), dtype)

        batch = self.num_envs
        seen = Observation(shape(jnp.uint8, batch, VIEW, VIEW), shape(jnp.int8, batch), shape(jnp.int32, batch))
        ends = shape(jnp.bool_, batch)
        state = HostState(shape(jnp.int32), shape(jnp.int32, self.max_missions, self.max_words), shape(jnp.bool_))
        return state, TimeStep(seen, shape(jnp.float32, batch), ends, ends, seen)

    def _reset_host(self, seeds: Any) -> tuple[HostState, TimeStep]:
        return self._guard(self._begin, np.asarray(seeds))

    def _step_host(self, clocks: Any, actions: Any) -> tuple[HostState, TimeStep]:
        return self._guard(self._advance, np.asarray(clocks), np.asarray(actions))

    def _guard(self, function: Callable[..., Any], *args: np.ndarray) -> tuple[HostState, TimeStep]:
        """Run ``function`` and keep what it raises: an error would leave the compiled program with a page of traces."""
        from metarims.gridworld.farama import naming_failures

        try:
            if self.error is None:
                with naming_failures(self.env.id):
                    return function(*args)
        except UserError as error:
            self.error = error
        blank = self._shapes(len(args[0]))
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), blank)

    def _begin(self, seeds: np.ndarray) -> tuple[HostState, TimeStep]:
        from metarims.gridworld.host import HostVector

        if len(self._vectors) != len(seeds):
            self._vectors = [HostVector(self.env.id, self.num_envs, table=self._table()) for _ in seeds]
        self._clock, self._ages = 0, [np.zeros(self.num_envs, np.int64) for _ in seeds]
        seen = [vector.reset(int(seed)) for vector, seed in zip(self._vectors, seeds, strict=True)]
        reward: Any = np.zeros(self.num_envs, np.float32)
        ended: Any = np.zeros(self.num_envs, bool)
        return self._gather([TimeStep(one, reward, ended, ended, one) for one in seen])

    def _advance(self, clocks: np.ndarray, actions: np.ndarray) -> tuple[HostState, TimeStep]:
        if (clocks != self._clock).any():
            raise UserError("A state of environments on the host was stepped twice: they cannot go back. Reset first.")
        self._clock += 1
        steps = [vector.step(chosen) for vector, chosen in zip(self._vectors, actions, strict=True)]
        for ages, step in zip(self._ages, steps, strict=True):
            ages += 1
            self._check_limit(ages[np.asarray(step.truncated)])
            ages[np.asarray(step.terminated | step.truncated)] = 0
        return self._gather(steps)

    def _check_limit(self, lengths: np.ndarray) -> None:
        """The trainer has room for as many final views as the time limit allows."""
        if len(lengths) and lengths.min() < self.env.max_steps:
            raise UserError(
                f"{self.env.id} truncated an episode after {lengths.min()} steps, although its time limit was read as "
                f"{self.env.max_steps}: give the environment a max_steps that holds for all its levels."
            )

    def _gather(self, steps: list[TimeStep]) -> tuple[HostState, TimeStep]:
        count = len(steps)
        tables = [vector.table for vector in self._vectors]
        arrays: Any = (
            np.full(count, self._clock, np.int32),
            np.stack([table.tokens for table in tables]),
            np.array([table.take_change() for table in tables]),
        )
        return HostState(*arrays), jax.tree.map(lambda *leaves: np.stack(leaves), *steps)

    def _table(self) -> MissionTable:
        vocabulary = self.vocabulary if self.reads else None
        return MissionTable(vocabulary, self.max_words, self.max_missions, self.keep)
