"""Episodes recorded step by step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


class EpisodeRecord(NamedTuple):
    """One episode of an agent: T steps and T + 1 states; M = 0 for an agent without modules."""

    env: str
    mission: str
    """At the beginning."""
    backend: str
    """``jax`` or ``farama``."""
    level_seed: int
    grid: UInt8[np.ndarray, "T1 W H"]
    """Tile codes 0..40 of the whole grid, [x, y]."""
    position: Int[np.ndarray, "T1 2"]
    direction: Int[np.ndarray, " T1"]
    """0 right, 1 down, 2 left, 3 up."""
    view: UInt8[np.ndarray, "T1 7 7"]
    """Tile codes 0..59 of the observation, [x, y]; the agent is at (3, 6) facing up."""
    actions: Int[np.ndarray, " T"]
    rewards: Float[np.ndarray, " T"]
    values: Float[np.ndarray, " T"]
    policy: Float[np.ndarray, "T A"]
    """Probabilities."""
    active: Bool[np.ndarray, "T M"]
    input_attention: Float[np.ndarray, "T M"]
    communication: Float[np.ndarray, "T M M"]
    terminated: bool
    truncated: bool
    mission_changes: Sequence[tuple[int, str]] = ()
    """(t, mission from state t on), in a user's environment that changes it within an episode."""
    element_attention: Float[np.ndarray, "T M E"] | None = None
    """Of each module to each element of its input, where that is a set: the 49 cells [x, y], then the mission."""
    advantages: Float[np.ndarray, " T"] | None = None
    """Generalized advantages, with rewards as they are scaled in training; None where no agent was trained."""

    @property
    def success(self) -> bool:
        """Terminated with a positive last reward."""
        return self.terminated and bool(self.rewards[-1] > 0)
