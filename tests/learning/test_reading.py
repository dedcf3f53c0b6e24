"""Missions that are drawn with each level: what is learned from them is what a table of all would teach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.gridworld import toys

from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.reading import read_again, read_spans
from metarims.config import PPO
from metarims.gridworld import VecEnv
from metarims.learning.ppo import compute_loss
from metarims.learning.timescales import cut_spans

pytestmark = pytest.mark.usefixtures("quick_module")

STEPS, SPANS, LENGTH = 6, 10, 4


def missions_of_spans(seed: int = 0) -> jax.Array:
    """Missions [T, P, L] that change from time to time, and come again."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(1, 9, (STEPS, SPANS, LENGTH)).astype(np.uint8)
    for t in range(1, STEPS):
        stays = draw.random(SPANS) < 0.7
        tokens[t, stays] = tokens[t - 1, stays]
    return jnp.asarray(tokens)


def test_each_step_gets_the_mission_that_it_had(small) -> None:
    agent, tokens = small.random_agent("lstm"), missions_of_spans()
    tables, rows = jax.jit(lambda tokens: read_spans(agent.encoder, tokens))(tokens)
    every = jax.jit(agent.tables)(tokens.reshape(-1, LENGTH).astype(jnp.int32))
    for found, expected in ((tables.missions, every.missions), (tables.film, every.film)):
        np.testing.assert_allclose(found[rows].reshape(expected.shape), expected, atol=1e-6)
    changes = (np.diff(np.asarray(tokens, int), axis=0) != 0).any(-1).sum()
    assert len(np.unique(rows)) == SPANS + changes < STEPS * SPANS


def test_the_gradient_is_that_of_reading_every_mission_at_every_step(small) -> None:
    encoder, tokens = small.random_agent("lstm").encoder, missions_of_spans(1)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(STEPS, SPANS)))

    def by_spans(encoder):
        tables, rows = read_spans(encoder, tokens)
        return (weights * (jnp.tanh(tables.missions[rows]).sum(-1) + jnp.sin(tables.film[rows]).sum(-1))).sum()

    def by_steps(encoder):
        tables = encoder.tables(tokens.reshape(-1, LENGTH).astype(jnp.int32))
        both = jnp.tanh(tables.missions).sum(-1) + jnp.sin(tables.film).sum(-1)
        return (weights * both.reshape(STEPS, SPANS)).sum()

    with fast_gradients():
        found = jax.jit(jax.grad(by_spans))(encoder)
    expected = jax.jit(jax.grad(by_steps))(encoder)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_seeds_side_by_side_read_what_they_read_alone(small) -> None:
    encoder, tokens = small.random_agent("lstm").encoder, jnp.stack([missions_of_spans(s) for s in range(3)])
    loss = lambda encoder, tokens: jnp.sin(read_spans(encoder, tokens)[0].missions).sum()  # noqa: E731
    together = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(encoder, tokens)
    alone = [jax.jit(jax.grad(loss))(encoder, one) for one in tokens]
    for one, other in zip(jax.tree.leaves(together), zip(*map(jax.tree.leaves, alone), strict=True), strict=True):
        np.testing.assert_allclose(one, np.stack(other), atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_while_acting_only_what_is_new_is_read_again(small, share: float) -> None:
    agent, draw = small.random_agent("lstm"), np.random.default_rng(0)
    before, after = (jnp.asarray(draw.integers(1, 9, (40, LENGTH))) for _ in range(2))
    fresh = jnp.asarray(draw.random(40) < share)
    found = jax.jit(lambda tables: read_again(agent, tables, after, fresh))(jax.jit(agent.tables)(before))
    expected = jax.jit(agent.tables)(jnp.where(fresh[:, None], after, before))
    np.testing.assert_allclose(found.missions, expected.missions, atol=1e-6)
    np.testing.assert_allclose(found.film, expected.film, atol=1e-6)


def test_the_policy_that_learns_is_the_one_that_acted(small) -> None:
    """Before the first gradient step all probabilities are the rollout's, in episodes that ended within it, too."""
    agent, envs = small.random_agent("rim"), VecEnv(toys.worded(5), 4)
    played = small.collect_twice(agent, envs, num_steps=24, span=8, carry=False)
    ppo, tokens = PPO(num_envs=4), envs.mission_tokens()
    for rollout in played.rollouts:
        assert len(np.unique(np.asarray(rollout.observation.mission).reshape(-1, 4), axis=0)) > 8
        spans = cut_spans(rollout, 8, ppo)
        _, terms = jax.jit(lambda spans: compute_loss(agent, tokens, spans, ppo))(spans)
        assert abs(float(terms["approx_kl"])) < 1e-6
        wrong = spans._replace(
            observation=spans.observation._replace(mission=jnp.roll(spans.observation.mission, 1, axis=1))
        )
        _, terms = jax.jit(lambda spans: compute_loss(agent, tokens, spans, ppo))(wrong)
        assert abs(float(terms["approx_kl"])) > 1e-6
