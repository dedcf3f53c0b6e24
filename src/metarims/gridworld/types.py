"""What environments are to an agent and a trainer, and the axis legend of the whole package.

Axes, always in this order: S seeds, T time, B environments, M modules (K of them active), H module state,
D input features, A actions, L words of a mission. World grids and images of codes are indexed [x, y] as Farama's are;
pictures are indexed [row, column].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Int32, PRNGKeyArray, UInt8

from metarims.errors import invalid

VIEW = 7
"""Side of the agent's egocentric view, in cells."""

TILE = 8
"""Side of one rendered cell of that view, in pixels (minigrid's ``RGBImgPartialObsWrapper`` default)."""

FIRST_EVALUATION_SEED = 1_000_000_000
"""Level seeds of Gymnasium environments from here on are for evaluation; training takes smaller ones."""


class Observation(NamedTuple):
    """What one agent sees: the 7x7 view as tile codes (``gridworld.tiles``), its heading, and its mission."""

    codes: UInt8[Array, "*B 7 7"]
    direction: Int[Array, "*B"]
    mission: Int[Array, "*B"]
    """Row of the table of missions (``VectorEnv.mission_tokens``), which holds the words; where missions are too many
    for a table, the words themselves, with an axis L."""


class Pixels(NamedTuple):
    """The same view as Farama gives it: rendered, with the mission as a row of a table of missions."""

    image: UInt8[Array, "*B 56 56 3"]
    mission: Int[Array, "*B"]


class TimeStep(NamedTuple):
    """What a step of a batch of environments returns; ended environments have already begun a new level."""

    observation: Observation
    """What to act on next: after an episode's end, the first view of the new level."""
    reward: Float[Array, "*B"]
    terminated: Bool[Array, "*B"]
    truncated: Bool[Array, "*B"]
    final_observation: Observation
    """The view that the step itself led to: where no episode ended, the same as ``observation``."""


class VectorEnv:
    """``num_envs`` environments that are stepped together: ``VecEnv`` (compiled), ``HostVecEnv`` (any of Gymnasium's).

    ``reset`` and ``step`` are for jit, scan and ``vmap`` over seeds. Ended environments begin a new level at once.
    """

    num_envs: int
    num_actions: int
    max_steps: int
    """No episode is truncated earlier."""
    tasks: tuple[str, ...]
    """The ids of the tasks that are played: several in a mixture."""
    vocabulary: tuple[str, ...]
    """The words of missions; token = 1 + index, 0 is padding."""
    can_checkpoint: bool = True
    """Whether a state holds all there is. If not, environments live outside of it: it cannot be saved, stepped twice or
    divided among devices, and all seeds are stepped by one call."""
    missions_change: bool = False
    """Whether steps may rewrite rows of the table of missions."""

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Observation]:
        """New levels for all, and what the agents observe."""
        raise NotImplementedError

    def step(self, state: Any, actions: Int[Array, " B"]) -> tuple[Any, TimeStep]:
        """One step of each. Actions that are no whole numbers, one per environment, from 0 to ``num_actions - 1`` raise
        ``UserError``; their values are checked outside of ``jit`` only (``as_actions``)."""
        raise NotImplementedError

    def mission_tokens(self, state: Any = None) -> Int[Array, "num_missions L"]:
        """The table of missions that observations in this state refer to; None: some table of this shape."""
        raise NotImplementedError

    def missions_changed(self, state: Any) -> Bool[Array, ""]:
        """Whether the step that led to this state rewrote rows of the table."""
        del state
        return jnp.bool_(False)

    def task(self, state: Any) -> UInt8[Array, " B"]:
        """Which of ``tasks`` each environment plays."""
        del state
        return jnp.zeros(self.num_envs, jnp.uint8)

    def checked(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """``program``, which steps these environments; an error in one of them is raised at the end of a call."""
        return program


def check_positive(field: str, value: int) -> None:
    """Raise ``UserError`` unless a number of things is at least 1."""
    if value < 1:
        raise invalid(field, value, "it must be at least 1")


def as_actions(actions: Any, num_envs: int, num_actions: int) -> Int32[Array, " B"]:
    """Actions for a step of ``num_envs`` environments.

    Their number and type are always checked, their values only where they are known, outside of ``jit``: inside, an
    action out of range does nothing, or, in a level with fewer than seven actions, turns left.
    """
    actions = actions if isinstance(actions, np.ndarray) else jnp.asarray(actions)
    whole = jnp.issubdtype(actions.dtype, jnp.integer) and actions.shape == (num_envs,)
    if whole and not isinstance(actions, Tracer):
        known = np.asarray(actions)
        whole = bool(((known >= 0) & (known < num_actions)).all())
    if not whole:
        raise invalid("actions", actions, f"they must be {num_envs} whole numbers from 0 to {num_actions - 1}")
    return jax.lax.convert_element_type(actions, jnp.int32)
