"""Small agents, one of which can only count, and short episodes."""

import dataclasses
from functools import cache, partial
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from metarims.agents.agent import Agent, Head, make_agent
from metarims.config import PPO, Config, Loop, Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.gridworld import VOCABULARY, VecEnv, make
from metarims.learning.rollout import collect_rollout, init_actor
from metarims.rules import RULES

NETWORK = Network(
    image_dim=4,
    word_dim=3,
    mission_dim=4,
    feature_dim=8,
    head_dim=4,
)
CORES = {
    "rim": RIMSettings(
        num_modules=3,
        num_active=2,
        module_dim=4,
        key_dim=4,
        value_dim=4,
        communication_heads=2,
        communication_dim=4,
    ),
    "lstm": LSTMSettings(hidden_dim=8),
}


class CountingCore(eqx.Module):
    """A core whose state is the number of steps since the last reset, and whose output is that number."""

    modules: Float[Array, " H"]

    def groups(self):
        return {"modules": self.modules}

    @property
    def output_dim(self) -> int:
        return 1

    def initial_state(self, num_envs, key=None):
        return jnp.zeros(num_envs)

    def reset(self, state, done):
        return jnp.where(done, 0, state)

    def project_inputs(self, x):
        return x

    def step(self, inputs, state):
        return state + 1, (state[:, None], {"count": state})


def random_agent(core, num_actions=7, seed=0, network=NETWORK):
    """A small agent with random weights, drawn on the host."""
    build = lambda key: make_agent(  # noqa: E731
        network, CORES[core], num_actions=num_actions, num_words=len(VOCABULARY), key=key
    )
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(build, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def counting_agent(odds):
    """Its value is the number of steps since the last reset; it acts by fixed odds."""
    heads = jax.eval_shape(lambda key: Head(1, 0, len(odds), 1.0, key=key), jax.random.key(0))
    linear = lambda weight, bias: eqx.tree_at(  # noqa: E731
        lambda head: (head.output, head.bias), heads, (jnp.full((1, len(bias)), weight), jnp.log(jnp.asarray(bias)))
    )
    return Agent(
        encoder=random_agent("lstm").encoder,
        core=CountingCore(jnp.zeros(1)),
        policy=linear(0.0, odds),
        value=linear(1.0, [1.0]),
    )


def short_level(max_steps):
    level = make("BabyAI-GoToObjS4-v0")
    return dataclasses.replace(level, rules=level.rules._replace(max_steps=max_steps))


def small_config(agent="metarims", **changes):
    loops = {
        "fast": Loop(span=4, rollout=8, epochs=1, minibatches=1),
        "slow": Loop(span=16, rollout=16, epochs=1, minibatches=1),
    }
    settings = {
        "env": "BabyAI-GoToObjS4-v0",
        "network": NETWORK,
        "core": CORES[RULES[agent].core],
        "ppo": PPO(num_envs=8),
        "frames": 1024,
    }
    return Config(agent=agent, **(settings | loops | {"slow_data": "fresh"} | changes))


@cache
def short_episodes(max_steps, num_envs):
    """Environments whose time limit strikes soon."""
    return VecEnv(short_level(max_steps), num_envs)


@partial(jax.jit, static_argnames=("envs",))
def begin(agent, envs, key):
    return init_actor(agent, envs, key)


@partial(jax.jit, static_argnames=("envs", "num_steps", "span", "carry"))
def collect(agent, envs, actor, key, *, num_steps, span, carry):
    tables = agent.tables(jnp.asarray(envs.level.mission_tokens))
    return collect_rollout(agent, tables, envs, actor, key, num_steps=num_steps, span=span, carry=carry)


def collect_twice(agent, envs, *, carry, **lengths):
    """Two rollouts, one after the other: the second begins in the middle of episodes."""
    start = begin(agent, envs, jax.random.key(1))
    middle, first, first_sums = collect(agent, envs, start, jax.random.key(2), carry=carry, **lengths)
    end, second, second_sums = collect(agent, envs, middle, jax.random.key(3), carry=carry, **lengths)
    return SimpleNamespace(
        agent=agent,
        envs=envs,
        carry=carry,
        actors=(start, middle, end),
        rollouts=(first, second),
        episodes=(first_sums[0], second_sums[0]),
        activities=(first_sums[1], second_sums[1]),
    )


@pytest.fixture(scope="session")
def small():
    """What the tests of this folder build their agents and runs from."""
    return SimpleNamespace(
        network=NETWORK,
        cores=CORES,
        rules=RULES,
        random_agent=random_agent,
        counting_agent=counting_agent,
        short_level=short_level,
        short_episodes=short_episodes,
        config=small_config,
        collect_twice=collect_twice,
    )
