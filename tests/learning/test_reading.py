"""Missions that are drawn with each level: what is learned from them is what a table of all would teach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.reading import read_again, read_spans

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
    every = jax.jit(lambda tokens: agent.tables(tokens))(tokens.reshape(-1, LENGTH).astype(jnp.int32))
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
    found = jax.jit(lambda tables: read_again(agent, tables, after, fresh))(
        jax.jit(lambda tokens: agent.tables(tokens))(before)
    )
    expected = jax.jit(lambda tokens: agent.tables(tokens))(jnp.where(fresh[:, None], after, before))
    np.testing.assert_allclose(found.missions, expected.missions, atol=1e-6)
    np.testing.assert_allclose(found.film, expected.film, atol=1e-6)
