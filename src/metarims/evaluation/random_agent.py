"""An agent without parameters that draws every action with equal odds, to look at levels with."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from metarims.agents.agent import AgentOutput
from metarims.gridworld.types import Observation, Pixels


class RandomAgent(eqx.Module):
    """Behind the interface of ``agents.agent.Agent``; it has no modules and no opinion of a state's value (NaN)."""

    num_actions: int = eqx.field(static=True)

    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> None:
        """It looks nothing up."""

    def initial_state(self, num_envs: int) -> Float[Array, " B"]:
        """It remembers nothing."""
        return jnp.zeros(num_envs)

    def reset(self, state: Float[Array, " B"], done: Bool[Array, " B"]) -> Float[Array, " B"]:
        """Nothing to forget."""
        return state

    def step(
        self, tables: None, observation: Observation | Pixels, state: Float[Array, " B"]
    ) -> tuple[Any, AgentOutput]:
        """Equal odds, whatever is seen."""
        batch = len(state)
        return state, AgentOutput(jnp.zeros((batch, self.num_actions)), jnp.full(batch, jnp.nan), ())
