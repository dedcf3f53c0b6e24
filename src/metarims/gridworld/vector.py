"""Many environments of one level, or of a mixture, stepped together in one compiled program."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt8, UInt32

from metarims.gridworld import observation as obs
from metarims.gridworld import task_rules
from metarims.gridworld.levels.base import Level
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.prng import random_bits
from metarims.gridworld.reset_buffer import BufferState, ResetBuffer, ResetState
from metarims.gridworld.state import EnvState
from metarims.gridworld.types import Observation, TimeStep, VectorEnv, as_actions, check_positive


class VecEnvState(NamedTuple):
    """The batch of environments."""

    env: EnvState
    buffer: BufferState
    """The levels that come next."""
    next_source: UInt8[Array, " B"]
    """The source of each environment's next level."""
    seed: UInt32[Array, "2"]
    """Of obstacles: with ``moves`` it determines their next move."""
    moves: UInt32[Array, ""]


class VecEnv(VectorEnv):
    """Environments of one level; ``reset`` and ``step`` are pure functions for jit, vmap and scan.

    Under ``vmap`` each seed's results are exactly those that it has alone. The level may be a mixture of several: the
    task of each environment is then ``state.env.task``.
    """

    def __init__(self, level: Level, num_envs: int, batch: int | None = None, *, max_episode_steps: int | None = None):
        """``batch``: how many levels are drawn at a time (default: a quarter of the environments, at least 4).
        ``max_episode_steps`` truncates earlier than the level does, as Gymnasium's ``TimeLimit``."""
        check_positive("num_envs", num_envs)
        check_positive("batch", 1 if batch is None else batch)
        check_positive("max_episode_steps", 1 if max_episode_steps is None else max_episode_steps)
        self.level, self.num_envs = level, num_envs
        self.num_actions, self.max_steps = level.num_actions, min(level.max_steps, max_episode_steps or level.max_steps)
        self.vocabulary = level.vocabulary
        self.tasks = tuple(source.id for source in level.sources)
        total, share = sum(level.weights), batch or -(-num_envs // 4)
        self._buffer = ResetBuffer(
            level, tuple(batch or max(4, round(share * weight / total)) for weight in level.weights)
        )

    @in_32_bits
    def reset(self, key: PRNGKeyArray) -> tuple[VecEnvState, Observation]:
        key_moves, key_levels, key_sources = jax.random.split(key, 3)
        # Plain bits: jax's check for reused keys cannot look inside ``custom_vmap``.
        buffer = self._buffer.init(jax.random.key_data(key_levels))
        sources = self._buffer.draw_sources(jax.random.bits(key_sources, (self.num_envs,)))
        playing = self._buffer.blank(self.num_envs)._replace(next_source=sources)
        buffer, playing = self._buffer.take(buffer, playing, jnp.ones(self.num_envs, bool))
        seed = jax.random.key_data(key_moves)
        return VecEnvState(playing.env, buffer, playing.next_source, seed, jnp.uint32(0)), _observation(playing)

    @in_32_bits
    def step(self, state: VecEnvState, actions: Int[Array, " B"]) -> tuple[VecEnvState, TimeStep]:
        actions = as_actions(actions, self.num_envs, self.num_actions)
        bits = None
        if self.level.num_obstacles:  # In one call for all.
            bits = random_bits(state.seed, state.moves, (self.num_envs, self.level.num_obstacles))
        result = jax.vmap(partial(task_rules.step, self.level))(state.env, actions, bits)
        if self.max_steps < self.level.max_steps:
            result = result._replace(truncated=result.truncated | (result.state.step_count >= self.max_steps))
        final = obs.observe(self.level, result.state)
        ended = result.terminated | result.truncated
        buffer, playing = self._buffer.take(
            state.buffer, ResetState(result.state, final.codes, state.next_source), ended
        )
        time_step = TimeStep(_observation(playing), result.reward, result.terminated, result.truncated, final)
        return VecEnvState(playing.env, buffer, playing.next_source, state.seed, state.moves + 1), time_step

    @in_32_bits
    def mission_tokens(self, state: VecEnvState | None = None) -> Int[Array, "num_missions L"]:
        """The table of missions, without columns that only pad."""
        del state
        tokens = self.level.mission_tokens
        return jnp.asarray(tokens[:, : max(1, int((tokens > 0).sum(axis=1).max()))])

    def task(self, state: VecEnvState) -> UInt8[Array, " B"]:
        return state.env.task


def _observation(playing: ResetState) -> Observation:
    return Observation(playing.codes, playing.env.direction, obs.mission_of(playing.env))
