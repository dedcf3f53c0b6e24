"""Advantages and returns."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metarims.config import PPO

AT_SUCCESS = 0.1
"""What a reward at the end of a mean successful episode counts at its beginning (``PPO.discount``)."""

AT_LIMIT = 1e-4
"""What a reward at the time limit counts at the beginning, at least."""


def discount(
    ppo: PPO, success_length: Float[Array, ""] | float | None, time_limit: int | None
) -> Float[Array, ""] | float:
    """The discount (``PPO.discount``), given the mean length of successful episodes (None: there are none) and the time
    limit (None: there is none)."""
    if ppo.discount == "constant" or success_length is None:
        return ppo.gamma
    least = 0.0 if time_limit is None else AT_LIMIT ** (1 / time_limit)
    return jnp.clip(AT_SUCCESS ** (1 / success_length), min(least, ppo.gamma), ppo.gamma)


def compute_advantages(
    rewards: Float[Array, "T B"],
    values: Float[Array, "T B"],
    terminated: Bool[Array, "T B"],
    truncated: Bool[Array, "T B"],
    truncation_values: Float[Array, "T B"],
    bootstrap_value: Float[Array, " B"],
    *,
    gamma: Float[Array, ""] | float,
    gae_lambda: float,
) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
    """Generalized advantages (Schulman et al., 2016) and the returns that they imply.

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
