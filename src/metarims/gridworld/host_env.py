"""Any Gymnasium environment with MiniGrid's observation (image, direction, mission), stepped on the host.

``HostVector`` steps a batch in NumPy. ``HostVecEnv`` puts one such batch per seed behind the interface of ``VecEnv``,
so that the same compiled trainer learns on them: a step is one call out of the program, for all seeds at once.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit
from jax.experimental import io_callback
from jaxtyping import Array, Bool, Int, Int32, PRNGKeyArray
from minigrid.envs.babyai.core.levelgen import LevelGen
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

from metarims.errors import UserError, format_value
from metarims.gridworld.batching import with_batch_rule
from metarims.gridworld.farama import make_farama, naming_failures, quiet_reset
from metarims.gridworld.mission_table import MissionTable
from metarims.gridworld.missions import BABYAI_VOCABULARY, LONGEST_MISSION, MAX_WORDS
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.symbols import codes_from_symbols
from metarims.gridworld.types import (
    FIRST_EVALUATION_SEED,
    VIEW,
    Observation,
    TimeStep,
    VectorEnv,
    as_actions,
    check_positive,
)

PARTS = ("image", "direction", "mission")
"""Of an observation."""

PROBES = 16
"""Levels sampled to estimate the length of missions."""


class HostEnvSpec(NamedTuple):
    """What must be known of an environment before it is played."""

    num_actions: int
    max_steps: int
    """No episode is truncated earlier; 1 where nothing is known."""
    max_words: int
    """Enough for its longest mission, as estimated from samples."""


def read_spec(env: gymnasium.Env) -> HostEnvSpec:
    """The spec of ``env``, which is reset some times for it."""
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    with naming_failures(name):
        space = env.action_space
        if not isinstance(space, Discrete) or space.start != 0:
            raise UserError(f"{name} has the action space {space}: only Discrete ones from 0 on can be played.")
        first = quiet_reset(env, 0)
        missing = [part for part in PARTS if not isinstance(first, dict) or part not in first]
        if missing:
            raise UserError(f"The observations of {name} have no '{missing[0]}': only MiniGrid's can be read.")
        longest = max(len(quiet_reset(env, seed)["mission"].split()) for seed in range(PROBES))
        # BabyAI's grammar makes long missions that samples may miss.
        base = env.unwrapped
        kinds = base.instr_kinds if isinstance(base, LevelGen) else ()
        grammar = LONGEST_MISSION if "seq" in kinds else LONGEST_MISSION // 2 if "and" in kinds else 0
        return HostEnvSpec(int(space.n), time_limit(env), max(MAX_WORDS, grammar, 3 * longest // 2))


def time_limit(env: gymnasium.Env) -> int:
    """A number of steps before which no episode is truncated; ask after a reset."""
    base: Any = env.unwrapped
    limits = [int(base.max_steps)] if getattr(base, "max_steps", 0) else []
    if (
        isinstance(base, RoomGridLevel) and not base.fixed_max_steps
    ):  # BabyAI allows so many steps for each object to be reached.
        limits = [base.room_size**2 * base.num_rows * base.num_cols]
    while isinstance(env, gymnasium.Wrapper):
        limits += [env._max_episode_steps] if isinstance(env, TimeLimit) else []
        env = env.env
    return max(1, min(limits, default=1))


class HostVector:
    """``num_envs`` environments on the host with automatic resets; observations name rows of ``table`` as missions."""

    def __init__(self, id: str, num_envs: int, table: MissionTable):
        check_positive("num_envs", num_envs)
        self.envs = [make_farama(id) for _ in range(num_envs)]
        self.num_envs, self.table = num_envs, table
        self._clock = 0
        self._current: list[Any] = [None] * num_envs

    def reset(self, seed: int) -> Observation:
        """New levels in all environments; everything after is determined by ``seed`` and the actions.

        Level seeds lie below those of evaluations.
        """
        for index, child in enumerate(np.random.SeedSequence(seed).generate_state(self.num_envs)):
            self._current[index] = _copy(quiet_reset(self.envs[index], int(child) % FIRST_EVALUATION_SEED))
        return self._observe(self._current)

    def step(self, actions: Sequence[int] | np.ndarray) -> TimeStep:
        """One step of each; an ended environment begins its next level at once. An episode that both terminates and is
        truncated terminates."""
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        final: list[Any] = [None] * self.num_envs
        self._clock += 1
        for index, env in enumerate(self.envs):
            observation, paid, ended, cut, _ = env.step(int(actions[index]))
            final[index] = _copy(observation)
            reward[index], terminated[index], truncated[index] = float(paid), ended, cut and not ended
            self._current[index] = _copy(quiet_reset(env)) if ended or cut else final[index]
        final_observation = self._observe(final)
        arrays: Any = (self._observe(self._current), reward, terminated, truncated, final_observation)
        return TimeStep(*arrays)

    def _observe(self, parts: list[Any]) -> Observation:
        arrays: Any = (
            codes_from_symbols(np.stack([one["image"] for one in parts])),
            np.array([_direction(one["direction"]) for one in parts], np.int8),
            np.array([self.table.row(one["mission"], self._clock) for one in parts], np.int32),
        )
        return Observation(*arrays)


def _copy(observation: Any) -> dict[str, Any]:
    """An observation that stays as it is: environments may write the next one into the same array."""
    image, direction, mission = (observation[part] for part in PARTS)
    return {"image": np.array(image), "direction": direction, "mission": str(mission)}


def _direction(value: Any) -> int:
    if np.ndim(value) or int(value) not in range(4):
        raise UserError(
            f"The environment says that the agent faces {format_value(value)}: MiniGrid's directions are 0 to 3."
        )
    return int(value)


class HostState(NamedTuple):
    """What a compiled program knows of environments on the host."""

    clock: Int32[Array, ""]
    """Steps taken so far: calls come in order, and a state is stepped only once."""
    missions: Int32[Array, "R L"]
    """The table of missions; rows are given away when no longer needed."""
    changed: Bool[Array, ""]
    """Whether the last step wrote a row of it."""


class HostVecEnv(VectorEnv):
    """Environments of a Gymnasium id, ``num_envs`` per seed, all stepped by one call.

    An error in an environment does not stop the compiled program: from then on steps return zeros; ``check`` raises it.
    """

    can_checkpoint = False

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

        ``max_words`` and ``max_missions`` 0 are chosen here. Unless an agent ``reads`` them, missions may say anything,
        and their table is one empty row.
        """
        check_positive("num_envs", num_envs)
        self.id, self.num_envs, self.tasks = id, num_envs, (id,)
        self.num_actions, self.max_steps, longest = read_spec(make_farama(id))
        self.vocabulary = (*BABYAI_VOCABULARY, *(word for word in words if word not in BABYAI_VOCABULARY))
        self.missions_change = reads
        self.max_words = (max_words or longest) if reads else 1
        self.max_missions = (max_missions or max(64, num_envs * (1 + keep // 16))) if reads else 1
        self.keep = keep
        self.error: UserError | None = None
        """The first error."""
        self._vectors: list[HostVector] = []
        self._lengths: list[np.ndarray] = []
        """Of the running episodes."""
        self._clock = 0
        self._reset, self._step = self._compiled(self._reset_host), self._compiled(self._step_host)

    @in_32_bits
    def reset(self, key: PRNGKeyArray) -> tuple[HostState, Observation]:
        """New environments and levels, seeded from the key."""
        state, time_step = self._reset(jax.random.bits(key, (), jnp.uint32))
        return state, time_step.observation

    @in_32_bits
    def step(self, state: HostState, actions: Int[Array, " B"]) -> tuple[HostState, TimeStep]:
        return self._step(state.clock, as_actions(actions, self.num_envs, self.num_actions))

    @in_32_bits
    def mission_tokens(self, state: HostState | None = None) -> Int32[Array, "R L"]:
        return jnp.zeros((self.max_missions, self.max_words), jnp.int32) if state is None else state.missions

    def missions_changed(self, state: HostState) -> Bool[Array, ""]:
        return state.changed

    def check(self) -> None:
        """Raise the first error of an environment, if there was one."""
        if self.error is not None:
            raise self.error

    def checked(self, program: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(program)
        def run(*args: Any) -> Any:
            output = jax.block_until_ready(program(*args))
            self.check()
            return output

        return run

    def _compiled(self, function: Callable[..., Any]) -> Any:
        """A function of host arrays with an axis of seeds as an operation for one seed, or many under ``vmap``."""
        guarded = partial(self._guard, function)
        return with_batch_rule(lambda *args: io_callback(guarded, self._shapes(len(args[0])), *args))

    def _shapes(self, num_seeds: int) -> tuple[HostState, TimeStep]:
        def shape(dtype: Any, *dims: int) -> Any:
            return jax.ShapeDtypeStruct((num_seeds, *dims), dtype)

        batch = self.num_envs
        seen = Observation(shape(jnp.uint8, batch, VIEW, VIEW), shape(jnp.int8, batch), shape(jnp.int32, batch))
        ends = shape(jnp.bool_, batch)
        state = HostState(shape(jnp.int32), shape(jnp.int32, self.max_missions, self.max_words), shape(jnp.bool_))
        return state, TimeStep(seen, shape(jnp.float32, batch), ends, ends, seen)

    def _guard(self, function: Callable[..., Any], *args: Any) -> tuple[HostState, TimeStep]:
        """Run ``function`` and keep what it raises: an error would leave the compiled program with a page of traces."""
        try:
            if self.error is None:
                with naming_failures(self.id):
                    return function(*map(np.asarray, args))
        except UserError as error:
            self.error = error
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._shapes(len(args[0])))

    def _reset_host(self, seeds: np.ndarray) -> tuple[HostState, TimeStep]:
        if len(self._vectors) != len(seeds):
            vocabulary = self.vocabulary if self.missions_change else None
            table = partial(MissionTable, vocabulary, self.max_words, self.max_missions, self.keep)
            self._vectors = [HostVector(self.id, self.num_envs, table()) for _ in seeds]
        self._clock, self._lengths = 0, [np.zeros(self.num_envs, np.int64) for _ in seeds]
        seen = [vector.reset(int(seed)) for vector, seed in zip(self._vectors, seeds, strict=True)]
        reward: Any = np.zeros(self.num_envs, np.float32)
        ended: Any = np.zeros(self.num_envs, bool)
        return self._gather([TimeStep(one, reward, ended, ended, one) for one in seen])

    def _step_host(self, clocks: np.ndarray, actions: np.ndarray) -> tuple[HostState, TimeStep]:
        if (clocks != self._clock).any():
            raise UserError(
                "A state of environments on the host was stepped twice: they cannot be rewound. Reset first."
            )
        self._clock += 1
        steps = [vector.step(chosen) for vector, chosen in zip(self._vectors, actions, strict=True)]
        for lengths, step in zip(self._lengths, steps, strict=True):
            lengths += 1
            self._check_limit(lengths[np.asarray(step.truncated)])
            lengths[np.asarray(step.terminated | step.truncated)] = 0
        return self._gather(steps)

    def _check_limit(self, lengths: np.ndarray) -> None:
        """The trainer has room for as many final views as the time limit allows."""
        if len(lengths) and lengths.min() < self.max_steps:
            raise UserError(
                f"{self.id} truncated an episode after {lengths.min()} steps, although its time limit was read as "
                f"{self.max_steps}: give the environment a max_steps that holds for all its levels."
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
