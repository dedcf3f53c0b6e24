"""Advantages and returns."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metarims.config import PPO

REMAINS = 1e-4
"""What a reward at the time limit counts at the beginning of an episode (``PPO.discount``)."""


def discount(ppo: PPO, time_limit: int | None) -> float:
    """The discount of a task whose episodes last at most ``time_limit`` steps (None: it has no limit)."""
    if ppo.discount == "constant" or time_limit is None:
        return ppo.gamma
    return min(ppo.gamma, REMAINS ** (1 / time_limit))


def compute_advantages(
    rewards: Float[Array, "T B"],
    values: Float[Array, "T B"],
    terminated: Bool[Array, "T B"],
    truncated: Bool[Array, "T B"],
    truncation_values: Float[Array, "T B"],
    bootstrap_value: Float[Array, " B"],
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
    """Generalised advantages (Schulman et al., 2016) and the returns that they imply.

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lambda A_{t+1}, cut at an episode's end.
    V(s_{t+1}) is 0 where the episode terminated, and ``truncation_values``, the value of the view kept at the end,
    where a time limit truncated it: the task would have continued.
    """
    done = terminated | truncated
    next_values = jnp.concatenate([values[1:], bootstrap_value[None]])
    next_values = jnp.where(terminated, 0.0, jnp.where(truncated, truncation_values, next_values))
    deltas = rewards + gamma * next_values - values

    def step(advantage, inputs):
        delta, end = inputs
        advantage = delta + gamma * gae_lambda * jnp.where(end, 0.0, advantage)
        return advantage, advantage

    _, advantages = jax.lax.scan(step, jnp.zeros_like(bootstrap_value), (deltas, done), reverse=True)
    return advantages, advantages + values
