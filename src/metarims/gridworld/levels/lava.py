"""LavaGap and DistShift: a goal behind lava."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import place
from metarims.gridworld.missions import GOAL_SQUARE, LAVA_CROSSING
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, GOAL, LAVA


@dataclasses.dataclass(frozen=True)
class LavaGap(Level):
    """A column of lava with one gap; the agent top left, the goal bottom right."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size = self.width
        gap_x, gap_y = 2 + stream.randint(size - 4), 1 + stream.randint(size - 2)
        room = walled_room(size, size)
        room[size - 2, size - 2] = GOAL
        inside = np.zeros((size, size), bool)
        inside[1:-1, 1:-1] = True
        lava = (jnp.arange(size)[:, None] == gap_x) & inside
        grid = jnp.where(lava, jnp.uint8(LAVA), jnp.asarray(room))
        return new_state(place(grid, gap_x, gap_y, jnp.int32(EMPTY)), 1, 1, 0), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class DistShift(Level):
    """Always the same: two strips of three lava cells, the goal top right."""

    strip_row: int = 2
    """Row of the second strip."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """The one level."""
        del stream
        room = walled_room(self.width, self.height)
        room[self.width - 2, 1] = GOAL
        room[3 : self.width - 3, [1, self.strip_row]] = LAVA
        return new_state(jnp.asarray(room), 1, 1, 0), jnp.bool_(True)


def lava_gap(id: str, size: int) -> LavaGap:
    """LavaGap of side ``size``."""
    return LavaGap(id, size, size, TaskRules(max_steps=4 * size**2, reach_goal=True), LAVA_CROSSING)


def dist_shift(id: str, strip_row: int) -> DistShift:
    """DistShift on Farama's 9 x 7 cells."""
    rules = TaskRules(max_steps=4 * 9 * 7, see_through=True, reach_goal=True)
    return DistShift(id, 9, 7, rules, GOAL_SQUARE, strip_row=strip_row)
