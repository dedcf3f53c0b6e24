"""What environments return, and the axis legend of the whole package.

Axes, always in this order: S seeds, T time, B environments, M modules (K of them active), H module state,
D input features, A actions, L words of a mission. World grids and images of codes are indexed [x, y] as Farama's are;
pictures are indexed [row, column].
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt8

VIEW = 7
"""Side of the agent's egocentric view, in cells."""

TILE = 8
"""Side of one rendered cell of that view, in pixels (minigrid's ``RGBImgPartialObsWrapper`` default)."""


class Observation(NamedTuple):
    """What one agent sees: the 7x7 view as tile codes (``gridworld.tiles``), its heading, and its mission."""

    codes: UInt8[Array, "*B 7 7"]
    direction: Int[Array, "*B"]
    mission: Int[Array, "*B"]
    """Row of the environment's table of missions (``mission_tokens``), which holds the words."""


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
