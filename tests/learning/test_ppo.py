"""Losses by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.config import PPO
from metarims.gridworld.types import Observation
from metarims.learning.ppo import Spans, compute_loss, compute_policy_loss, compute_value_loss
from metarims.learning.rollout import take_log_prob


def policy_loss(ratio, advantage, normalize=False):
    return float(compute_policy_loss(jnp.array(ratio), jnp.array(advantage), 0.2, normalize=normalize))


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [
        (1.5, 1.0, 1.2),  # held: more of a good thing is worth no more
        (0.5, 1.0, 0.5),  # not held: less of a good thing is a loss in full
        (1.5, -1.0, -1.5),
        (0.5, -1.0, -0.8),
        (1.1, 3.0, 3.3),
    ],
)
def test_the_ratio_is_clipped_where_that_lowers_the_gain(ratio, advantage, gain):
    assert policy_loss([ratio], [advantage]) == pytest.approx(-gain)
    slope = jax.grad(lambda r: compute_policy_loss(r, jnp.array([advantage]), 0.2, normalize=False))(jnp.array([ratio]))
    held = gain not in (ratio * advantage, pytest.approx(ratio * advantage))
    assert float(slope[0]) == pytest.approx(0.0 if held else -advantage)


def test_the_policy_loss_is_a_mean():
    assert policy_loss([1.5, 0.5, 1.1], [1.0, 1.0, -1.0]) == pytest.approx(-(1.2 + 0.5 - 1.1) / 3)


def test_advantages_are_standardised_first():
    """1 and 3 become -1 and 1; the second ratio is held at 1.2."""
    assert policy_loss([1.0, 2.0], [1.0, 3.0], normalize=True) == pytest.approx(-(-1 + 1.2) / 2)
    assert policy_loss([1.0, 1.0], [7.0, 7.0], normalize=True) == pytest.approx(0)


@pytest.mark.parametrize(
    ("value", "old", "target", "expected"),
    [
        (3.0, 2.0, 5.0, (2.2 - 5) ** 2),  # a jump in the right direction is not believed beyond 0.2
        (3.0, 2.0, 1.0, 4.0),  # one in the wrong direction is paid in full
        (2.1, 2.0, 5.0, 2.9**2),
        (1.0, 2.0, 0.0, 1.8**2),
    ],
)
def test_the_value_is_clipped_around_the_old_one(value, old, target, expected):
    clipped = compute_value_loss(jnp.array([value]), jnp.array([old]), jnp.array([target]), 0.2)
    assert float(clipped) == pytest.approx(expected)
    plain = compute_value_loss(jnp.array([value]), jnp.array([old]), jnp.array([target]), None)
    assert float(plain) == pytest.approx((value - target) ** 2)


def test_the_log_probability_of_the_action_taken():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])) + 3.0
    found = take_log_prob(logits, jnp.array([1, 2]))
    np.testing.assert_allclose(found, np.log([0.25, 0.7]), rtol=1e-5)


def test_the_whole_loss_by_hand(small):
    """A policy of odds 1/2, 1/4, 1/4, and a value that counts the steps: 0, 1, and after a beginning 0 again."""
    agent = small.counting_agent([0.5, 0.25, 0.25])
    ppo = PPO(
        clip=0.2, clip_value=False, value_coef=0.5, entropy_coef=0.1, normalize_advantages=False, reward_scale=20.0
    )
    blank = jnp.zeros((3, 1))
    spans = Spans(
        observation=Observation(
            jnp.zeros((3, 1, 7, 7), jnp.uint8), jnp.zeros((3, 1), jnp.int8), jnp.zeros((3, 1), jnp.int16)
        ),
        is_first=jnp.array([[False], [False], [True]]),
        action=jnp.array([[0], [1], [2]]),
        log_prob=jnp.log(jnp.array([[0.5], [0.5], [0.2]])),  # ratios 1, 0.5, 1.25
        value=blank,
        advantage=jnp.array([[2.0], [-1.0], [4.0]]),
        returns=jnp.array([[5.0], [7.0], [1.0]]),
        core=jnp.array([3.0]),  # three steps before this span: values 3, 4, 0
    )
    loss, terms = jax.jit(lambda agent: compute_loss(agent, jnp.ones((1, 2), int), spans, ppo))(agent)
    policy = -(2.0 - 0.8 + 4.8) / 3
    value = ((3 - 5) ** 2 + (4 - 7) ** 2 + (0 - 1) ** 2) / 3
    entropy = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    kl = sum(r - 1 - math.log(r) for r in (1, 0.5, 1.25)) / 3
    expected = {"policy_loss": policy, "value_loss": value, "entropy": entropy, "approx_kl": kl, "clip_fraction": 2 / 3}
    assert set(terms) == set(expected)
    for name, number in expected.items():
        assert float(terms[name]) == pytest.approx(number, rel=1e-5), name
    assert float(loss) == pytest.approx(policy + 0.5 * value - 0.1 * entropy, rel=1e-5)
