"""Advantages by hand: gamma = lambda = 1/2, values 10, 20, 30 and then 40, rewards 1, 2, 3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.learning.returns import compute_advantages

REWARDS, VALUES, LAST = [1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 40.0
RUN = jax.jit(compute_advantages, static_argnames=("gamma", "gae_lambda"))


def advantages(terminated=(), truncated=(), final=8.0):
    at = lambda steps: jnp.array([[t in steps] for t in range(3)])  # noqa: E731
    column = lambda numbers: jnp.array(numbers)[:, None]  # noqa: E731
    truncation_values = jnp.where(at(truncated), final, 0.0)
    found, returns = RUN(
        column(REWARDS),
        column(VALUES),
        at(terminated),
        at(truncated),
        truncation_values,
        jnp.array([LAST]),
        gamma=0.5,
        gae_lambda=0.5,
    )
    np.testing.assert_allclose(returns - found, column(VALUES), atol=1e-6)
    return found[:, 0].tolist()


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        # delta = 3 + 20 - 30, 2 + 15 - 20, 1 + 10 - 10
        ({}, [1 + (-3 - 7 / 4) / 4, -3 - 7 / 4, -7]),
        # delta_1 = 2 - 20
        ({"terminated": [1]}, [1 - 18 / 4, -18, -7]),
        # delta_1 = 2 + 8 / 2 - 20
        ({"truncated": [1]}, [1 - 14 / 4, -14, -7]),
        # At once: the task is over, the time limit adds nothing.
        ({"terminated": [1], "truncated": [1]}, [1 - 18 / 4, -18, -7]),
        # At the tail the value of the next episode's first view must not count: 3 - 30, and 3 + 8 / 2 - 30.
        ({"terminated": [2]}, [1 + (-3 - 27 / 4) / 4, -3 - 27 / 4, -27]),
        ({"truncated": [2]}, [1 + (-3 - 23 / 4) / 4, -3 - 23 / 4, -23]),
        ({"terminated": [0], "truncated": [1]}, [1 - 10, -14, -7]),
    ],
)
def test_advantages_by_hand(ends, expected):
    assert advantages(**ends) == pytest.approx(expected)


def test_without_time_limits_they_are_those_of_torch_ac():
    """torch-ac masks the next value and the next advantage by whether the step ended the episode."""
    draw = np.random.default_rng(0)
    steps, envs, gamma, lam = 12, 3, 0.99, 0.95
    rewards, values = draw.normal(size=(2, steps, envs)).astype(np.float32)
    last = draw.normal(size=envs).astype(np.float32)
    done = draw.random((steps, envs)) < 0.3
    expected = np.zeros((steps, envs))
    next_value, next_advantage = last, np.zeros(envs)
    for t in reversed(range(steps)):
        mask = 1 - done[t]
        delta = rewards[t] + gamma * next_value * mask - values[t]
        expected[t] = delta + gamma * lam * next_advantage * mask
        next_value, next_advantage = values[t], expected[t]
    never = jnp.zeros((steps, envs), bool)
    found, _ = RUN(
        jnp.asarray(rewards),
        jnp.asarray(values),
        jnp.asarray(done),
        never,
        jnp.zeros((steps, envs)),
        jnp.asarray(last),
        gamma=gamma,
        gae_lambda=lam,
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
