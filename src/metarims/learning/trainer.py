"""The trainer: nested timescales over one batch of environments, for all seeds at once.

One cycle of the slowest timescale runs the next faster one several times, then learns itself; the fastest one
collects and learns (paper, Algorithm 1). Chunks of cycles are one compiled program.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from metarims.agents.agent import Agent, make_agent
from metarims.config import Config
from metarims.gridworld import VOCABULARY, VectorWorld, make
from metarims.learning.rollout import Actor, Episodes, Rollout, collect_rollout, init_actor
from metarims.learning.rules import RULES
from metarims.learning.timescales import Learner, join_rollouts, make_learners


class TrainState(NamedTuple):
    """Everything that training changes. In a trainer's hands every leaf has a leading axis of seeds."""

    agent: Agent
    optimizers: tuple[Any, ...]
    """Optimiser state of every timescale, fastest first."""
    actor: Actor
    key: PRNGKeyArray


class Cycle(NamedTuple):
    """What a cycle gives besides the new state."""

    rollout: Rollout | None
    """Kept only for a slower timescale that reuses it."""
    episodes: Episodes
    losses: dict[str, Float[Array, ""]]


class Trainer:
    """Trains the agents of one configuration."""

    def __init__(self, config: Config):
        self.config = config
        self.level = make(config.env)
        self.envs = VectorWorld(self.level, config.ppo.num_envs)
        self.learners = make_learners(config)
        self.mission_tokens = jnp.asarray(trim_padding(self.level.mission_tokens))
        self.frames_per_cycle = self._count_frames()
        cycles = max(1, round(config.record_every / self.frames_per_cycle))
        self.cycles_per_chunk = min(cycles, math.ceil(config.frames / self.frames_per_cycle))
        self.frames_per_chunk = self.cycles_per_chunk * self.frames_per_cycle
        self.num_chunks = math.ceil(config.frames / self.frames_per_chunk)
        self.run_chunk = jax.jit(jax.vmap(self._run_chunk), donate_argnums=0)

    def init(self) -> TrainState:
        """The state before the first chunk, for all seeds."""
        keys = jax.vmap(jax.random.key)(jnp.array(self.config.seeds))
        return jax.jit(jax.vmap(self._init))(keys)

    def agent(self, state: TrainState, index: int) -> Agent:
        """The agent of one seed, by its place in ``config.seeds``."""
        return jax.tree.map(lambda leaf: leaf[index], state.agent)

    def make_agent(self, key: PRNGKeyArray) -> Agent:
        """A fresh agent for this task."""
        return make_agent(
            self.config.network,
            RULES[self.config.agent].core,
            num_actions=self.level.num_actions,
            num_words=len(VOCABULARY),
            key=key,
        )

    def _init(self, key: PRNGKeyArray) -> TrainState:
        key_agent, key_env, key_run = jax.random.split(key, 3)
        agent = self.make_agent(key_agent)
        optimizers = tuple(learner.init(agent) for learner in self.learners)
        return TrainState(agent, optimizers, init_actor(agent, self.envs, key_env), key_run)

    def _count_frames(self) -> int:
        """Environment steps of one cycle of the slowest timescale."""
        steps = self.learners[0].loop.rollout
        for index, learner in enumerate(self.learners[1:], start=1):
            steps = steps * self._repeats(index) + learner.loop.rollout * (self.config.slow_data == "fresh")
        return steps * self.config.ppo.num_envs

    def _repeats(self, index: int) -> int:
        """How often the next faster timescale runs before this one: until it has seen as many steps."""
        return max(1, self.learners[index].loop.rollout // self.learners[index - 1].loop.rollout)

    def _run_chunk(self, state: TrainState) -> tuple[TrainState, dict[str, Num[Array, ""]]]:
        cycle = self._make_cycle(len(self.learners) - 1, keep_rollout=False)
        state, result = jax.lax.scan(lambda state, _: cycle(state), state, length=self.cycles_per_chunk)
        return state, summarize(result)

    def _make_cycle(self, index: int, *, keep_rollout: bool) -> Callable[[TrainState], tuple[TrainState, Cycle]]:
        """The function that runs one cycle of a timescale, all faster ones included."""
        learner, reuse = self.learners[index], self.config.slow_data == "reuse"
        if index == 0:
            return partial(self._run_fastest, learner, keep_rollout)
        faster = self._make_cycle(index - 1, keep_rollout=reuse)

        def run(state: TrainState) -> tuple[TrainState, Cycle]:
            state, inner = jax.lax.scan(lambda s, _: faster(s), state, length=self._repeats(index))
            episodes = jax.tree.map(jnp.sum, inner.episodes)
            losses = jax.tree.map(jnp.mean, inner.losses)
            if reuse:
                rollout = join_rollouts(inner.rollout)
            else:
                state, rollout, own_episodes = self._collect(state, learner)
                episodes = jax.tree.map(jnp.add, episodes, own_episodes)
            state, own_losses = self._learn(state, index, rollout)
            return state, Cycle(rollout if keep_rollout else None, episodes, losses | own_losses)

        return run

    def _run_fastest(self, learner: Learner, keep_rollout: bool, state: TrainState) -> tuple[TrainState, Cycle]:
        state, rollout, episodes = self._collect(state, learner)
        state, losses = self._learn(state, 0, rollout)
        return state, Cycle(rollout if keep_rollout else None, episodes, losses)

    def _collect(self, state: TrainState, learner: Learner) -> tuple[TrainState, Rollout, Episodes]:
        key, key_act = jax.random.split(state.key)
        actor, rollout, episodes = collect_rollout(
            state.agent,
            state.agent.tables(self.mission_tokens),
            self.envs,
            state.actor,
            key_act,
            num_steps=learner.loop.rollout,
            span=learner.loop.span,
            carry=self.config.at_episode_end == "carry",
        )
        return state._replace(actor=actor, key=key), rollout, episodes

    def _learn(self, state: TrainState, index: int, rollout: Rollout) -> tuple[TrainState, dict[str, Array]]:
        key, key_learn = jax.random.split(state.key)
        agent, optimizer, losses = self.learners[index].update(
            state.agent, state.optimizers[index], self.mission_tokens, rollout, key_learn
        )
        optimizers = (*state.optimizers[:index], optimizer, *state.optimizers[index + 1 :])
        return state._replace(agent=agent, optimizers=optimizers, key=key), losses


def make_trainer(config: Config) -> Trainer:
    """The trainer of a configuration; unknown environments and impossible settings are ``UserError``."""
    return Trainer(config)


def trim_padding(mission_tokens: np.ndarray) -> np.ndarray:
    """The table of missions without the columns that only pad."""
    return np.asarray(mission_tokens)[:, : int((mission_tokens > 0).sum(axis=1).max())]


def summarize(cycles: Cycle) -> dict[str, Num[Array, ""]]:
    """One line of metrics from a chunk of cycles; without a finished episode its means are 0."""
    episodes = jax.tree.map(jnp.sum, cycles.episodes)
    count = jnp.maximum(episodes.count, 1)
    return {
        "episodes": episodes.count,
        "return": episodes.returns / count,
        "success": episodes.successes / count,
        "episode_length": episodes.length / count,
        **jax.tree.map(jnp.mean, cycles.losses),
    }
