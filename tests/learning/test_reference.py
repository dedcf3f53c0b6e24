"""Advantages and gradient steps against torch-ac's on the same experience: ``reference/README.md`` says how it ran."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import Agent
from metarims.agents.lstm import LSTMState
from metarims.config import PPO, Loop
from metarims.gridworld.types import Observation
from metarims.learning.returns import compute_advantages
from metarims.learning.rollout import Rollout
from metarims.learning.timescales import Learner

with np.load(Path(__file__).parent / "reference" / "torch_ac.npz") as file:
    THEIRS = {name: jnp.asarray(array) for name, array in file.items()}
STEPS, ENVS, NUM_FEATURES = THEIRS["features"].shape
SPAN, WIDTH = 4, 6
SETTINGS = PPO(
    target_kl=0.0,  # As torch-ac, which always makes all its passes.
    num_envs=ENVS,
    gamma=0.97,
    gae_lambda=0.9,
    clip=0.2,
    clip_value=True,
    value_coef=0.5,
    entropy_coef=0.05,
    reward_scale=2.0,
    normalize_advantages=False,
    adam_eps=1e-5,
)
LOOP = Loop(span=SPAN, rollout=STEPS, epochs=2, minibatches=1, learning_rate=0.01, max_grad_norm=0.5)

# Where torch-ac's parameters are in our agent; PyTorch keeps matrices transposed.
PLACES = {
    "input.weight": lambda agent: agent.core.modules.from_input,
    "input.bias": lambda agent: agent.core.modules.bias,
    "hidden.weight": lambda agent: agent.core.modules.from_hidden,
    "policy.weight": lambda agent: agent.policy.output,
    "policy.bias": lambda agent: agent.policy.bias,
    "value.weight": lambda agent: agent.value.output,
    "value.bias": lambda agent: agent.value.bias,
}


class Reader(Agent):
    """An LSTM agent that looks up its features: the number of the mission says which."""

    def tables(self, mission_tokens):  # pyright: ignore[reportIncompatibleMethodOverride]
        return None

    def encode(self, tables, observation):
        return THEIRS["features"].reshape(-1, NUM_FEATURES)[observation.mission]


def make_reader(like):
    """The agent before learning."""
    linear = lambda head: eqx.tree_at(lambda h: (h.hidden, h.hidden_bias), head, (None, None))  # noqa: E731
    agent = Reader(encoder=like.encoder, core=like.core, policy=linear(like.policy), value=linear(like.value))
    for name, place in PLACES.items():
        agent = eqx.tree_at(place, agent, THEIRS[f"before.{name}"].T)
    return agent


def make_rollout():
    """torch-ac's experience; every episode's end is a termination."""
    nothing = jnp.zeros((STEPS, ENVS))
    number = jnp.arange(STEPS * ENVS, dtype=jnp.int32).reshape(STEPS, ENVS)
    hidden, cell = jnp.split(THEIRS["memory"][::SPAN], 2, axis=-1)
    return Rollout(
        observation=Observation(jnp.zeros((STEPS, ENVS, 7, 7), jnp.uint8), 0 * number, number),
        is_first=THEIRS["mask"] == 0,
        action=THEIRS["action"].astype(jnp.int32),
        log_prob=THEIRS["log_prob"],
        value=THEIRS["value"],
        reward=THEIRS["reward"],
        terminated=THEIRS["done"],
        truncated=nothing > 0,
        truncation_value=nothing,
        bootstrap_value=THEIRS["last_value"],
        core=LSTMState(hidden, cell),
    )


def test_advantages_and_returns():
    rollout = make_rollout()
    found = jax.jit(compute_advantages, static_argnames=("gamma", "gae_lambda"))(
        SETTINGS.reward_scale * rollout.reward,
        rollout.value,
        rollout.terminated,
        rollout.truncated,
        rollout.truncation_value,
        rollout.bootstrap_value,
        gamma=SETTINGS.gamma,
        gae_lambda=SETTINGS.gae_lambda,
    )
    for ours, theirs in zip(found, (THEIRS["advantage"], THEIRS["returns"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def learned(small):
    """Two passes over all of the experience, a step of Adam each."""
    learner = Learner("fast", ("modules", "policy", "value"), LOOP, SETTINGS)
    agent = make_reader(small.random_agent("lstm", num_actions=3))
    tokens = jnp.ones((1, 2), jnp.int32)
    update = jax.jit(learner.update, compiler_options={"xla_backend_optimization_level": 0})
    after, _, (metrics, _) = update(agent, learner.init(agent), tokens, make_rollout(), jax.random.key(0))
    return agent, after, metrics


@pytest.mark.parametrize("name", ["policy_loss", "value_loss", "entropy", "grad_norm"])
def test_terms_of_the_loss_and_norm_of_its_gradient(learned, name):
    first, second = THEIRS[f"log.{name}"]
    assert first != second
    np.testing.assert_allclose(learned[2][f"fast/{name}"], (first + second) / 2, rtol=1e-5)


@pytest.mark.parametrize("name", PLACES)
def test_parameters_after_two_clipped_steps_of_adam(learned, name):
    before, after, _ = learned
    place = PLACES[name]
    np.testing.assert_allclose(place(after), THEIRS[f"after.{name}"].T, rtol=0, atol=1e-5)
    assert np.abs(place(after) - place(before)).max() > 1e-3


def test_the_experience_is_one_that_clipping_changes(learned):
    """Otherwise agreement would say little. The old values are those of other weights than the ones that learn."""
    assert learned[2]["fast/clip_fraction"] > 0.2
    assert (THEIRS["log.grad_norm"] > LOOP.max_grad_norm).all()
    plain = ((THEIRS["value"] - THEIRS["returns"]) ** 2).mean()
    assert abs(plain - THEIRS["log.value_loss"][0]) > 0.1
