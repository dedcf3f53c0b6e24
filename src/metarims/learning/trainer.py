"""The trainer: nested timescales over one batch of environments, for all seeds at once.

Experience comes in phases as long as the fastest timescale's rollout. A schedule says which timescales learn after
which phase; one cycle of it is Algorithm 1 of the paper. A chunk of cycles is one compiled program, in which acting
stands once, however many timescales there are.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Num, PRNGKeyArray

from metarims.agents.agent import Agent, make_agent
from metarims.config import Config
from metarims.gridworld import VOCABULARY, VectorWorld, make
from metarims.learning.rollout import Actor, Episodes, Rollout, collect_rollout, init_actor
from metarims.learning.rules import RULES
from metarims.learning.timescales import Learner, append_rollout, last_steps, make_learners

RUN_ONCE = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs but once: optimising it would take longer than it runs."""


class TrainState(NamedTuple):
    """Everything that training changes. In a trainer's hands every leaf has a leading axis of seeds."""

    agent: Agent
    optimizers: tuple[Any, ...]
    """Optimiser state of every timescale, fastest first."""
    actor: Actor
    key: PRNGKeyArray


class Trainer:
    """Trains the agents of one configuration."""

    def __init__(self, config: Config):
        self.config = config
        self.level = make(config.env)
        self.envs = VectorWorld(self.level, config.ppo.num_envs)
        self.learners = make_learners(config)
        self.mission_tokens = jnp.asarray(trim_padding(self.level.mission_tokens))
        self.schedule = make_schedule(self.learners, reuse=config.slow_data == "reuse")
        self.frames_per_cycle = len(self.schedule) * self.learners[0].loop.rollout * config.ppo.num_envs
        cycles = max(1, round(config.record_every / self.frames_per_cycle))
        self.cycles_per_chunk = min(cycles, math.ceil(config.frames / self.frames_per_cycle))
        self.frames_per_chunk = self.cycles_per_chunk * self.frames_per_cycle
        self.num_chunks = math.ceil(config.frames / self.frames_per_chunk)
        self.run_chunk = jax.jit(jax.vmap(self._run_chunk), donate_argnums=0)

    def init(self) -> TrainState:
        """The state before the first chunk, for all seeds."""
        keys = jax.vmap(jax.random.key)(jnp.array(self.config.seeds))
        return jax.jit(jax.vmap(self._init), compiler_options=RUN_ONCE)(keys)

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

    def _run_chunk(self, state: TrainState) -> tuple[TrainState, dict[str, Num[Array, ""]]]:
        learns = jnp.array([[i in phase for i in range(len(self.learners))] for phase in self.schedule])
        learns = jnp.tile(learns, (self.cycles_per_chunk, 1))
        _, blank, _ = jax.eval_shape(self._collect, state)
        longest = max(learner.loop.rollout for learner in self.learners) // self.learners[0].loop.rollout
        history = jax.tree.map(lambda leaf: jnp.zeros((longest * leaf.shape[0], *leaf.shape[1:]), leaf.dtype), blank)
        history = history._replace(last_value=jnp.zeros(blank.last_value.shape))
        (state, _), (episodes, losses) = jax.lax.scan(self._run_phase, (state, history), learns)
        losses = {
            name: value.sum() / learns[:, i].sum() for i, terms in enumerate(losses) for name, value in terms.items()
        }
        return state, summarize(jax.tree.map(jnp.sum, episodes)) | losses

    def _run_phase(self, carry: tuple[TrainState, Rollout], learns: Bool[Array, " timescales"]):
        """Act for one phase, then let the timescales learn whose turn it is; those that wait report zeros."""
        state, history = carry
        state, rollout, episodes = self._collect(state)
        history = append_rollout(history, rollout)
        losses = []
        for index, learner in enumerate(self.learners):
            data = last_steps(history, learner.loop.rollout)
            if all(index in phase for phase in self.schedule):
                state, terms = self._learn(state, index, data)
            else:
                state, terms = self._learn_if(learns[index], state, index, data)
            losses.append(terms)
        return (state, history), (episodes, tuple(losses))

    def _collect(self, state: TrainState) -> tuple[TrainState, Rollout, Episodes]:
        key, key_act = jax.random.split(state.key)
        actor, rollout, episodes = collect_rollout(
            state.agent,
            state.agent.tables(self.mission_tokens),
            self.envs,
            state.actor,
            key_act,
            num_steps=self.learners[0].loop.rollout,
            span=self.learners[0].loop.span,
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

    def _learn_if(
        self, turn: Bool[Array, ""], state: TrainState, index: int, rollout: Rollout
    ) -> tuple[TrainState, dict[str, Array]]:
        """The turn is the same for all seeds, so that under ``vmap`` this stays a branch: who waits costs nothing."""
        _, shapes = jax.eval_shape(lambda: self._learn(state, index, rollout))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.cond(turn, lambda: self._learn(state, index, rollout), lambda: (state, zeros))


def make_schedule(learners: Sequence[Learner], *, reuse: bool) -> tuple[tuple[int, ...], ...]:
    """For every phase of one cycle of the slowest timescale, the timescales that learn after it.

    A slower timescale learns when the next faster one has seen as many steps as it wants. It learns from those same
    steps (``reuse``), or from as many fresh ones, on which the faster timescales do not learn (Algorithm 1, line 8).
    """
    base = learners[0].loop.rollout
    schedule: tuple[tuple[int, ...], ...] = ((0,),)
    for index in range(1, len(learners)):
        ratio = max(1, learners[index].loop.rollout // learners[index - 1].loop.rollout)
        schedule = schedule * ratio
        if reuse:
            schedule = (*schedule[:-1], (*schedule[-1], index))
        else:
            schedule = (*schedule, *[()] * (learners[index].loop.rollout // base - 1), (index,))
    return schedule


def make_trainer(config: Config) -> Trainer:
    """The trainer of a configuration; unknown environments and impossible settings are ``UserError``."""
    return Trainer(config)


def trim_padding(mission_tokens: np.ndarray) -> np.ndarray:
    """The table of missions without the columns that only pad."""
    return np.asarray(mission_tokens)[:, : int((mission_tokens > 0).sum(axis=1).max())]


def summarize(episodes: Episodes) -> dict[str, Num[Array, ""]]:
    """What the episodes that ended came to; where none did, the means are 0."""
    count = jnp.maximum(episodes.number, 1)
    return {
        "episodes": episodes.number,
        "return": episodes.returns / count,
        "success": episodes.successes / count,
        "episode_length": episodes.length / count,
    }
