"""An agent without parameters that acts uniformly at random."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from metarims.agents.agent import AgentOutput
from metarims.gridworld.types import Observation, Pixels


class RandomAgent(eqx.Module):
    """Has the interface of ``agents.agent.Agent``; no modules, and its value is NaN."""

    num_actions: int = eqx.field(static=True)

    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> None:
        """No tables."""

    def initial_state(self, num_envs: int) -> Float[Array, " B"]:
        """One unused number per environment: a random agent has no recurrent state."""
        return jnp.zeros(num_envs)

    def reset(self, state: Float[Array, " B"], done: Bool[Array, " B"]) -> Float[Array, " B"]:
        """Unchanged."""
        return state

    def step(
        self, tables: None, observation: Observation | Pixels, state: Float[Array, " B"]
    ) -> tuple[Any, AgentOutput]:
        """Uniform logits."""
        batch = len(state)
        return state, AgentOutput(jnp.zeros((batch, self.num_actions)), jnp.full(batch, jnp.nan), ())
