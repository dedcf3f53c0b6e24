"""LockedRoom: six rooms beside a hallway; the key of the locked one lies in another."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place, place_all
from metarims.gridworld.missions import LOCKED_ROOM
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import DOOR, GOAL, KEY, WALL

LEFT, RIGHT = 7, 11
"""Columns of the walls between the rooms and the hallway."""
NUM_ROOMS = 6
ROWS = 5
"""Of cells inside of a room."""


@dataclasses.dataclass(frozen=True)
class LockedRoom(Level):
    """The goal is in the locked room; its door has the key's colour, as no other has."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        house = walled_room(self.width, self.height)
        house[[LEFT, RIGHT], :] = WALL
        for y in (ROWS + 1, 2 * (ROWS + 1)):
            house[:LEFT, y] = house[RIGHT:, y] = WALL
        rooms = np.arange(NUM_ROOMS)
        locked, key_room = distinct(stream.take(2), NUM_ROOMS)
        colors = distinct(stream.take(NUM_ROOMS), NUM_ROOMS)
        color = colors[locked]
        door_x, door_y = np.where(rooms % 2 == 0, LEFT, RIGHT), (ROWS + 1) * (rooms // 2) + 3
        doors = DOOR + 3 * colors + jnp.where(rooms == locked, 2, 1)
        grid = place_all(jnp.asarray(house), jnp.asarray(door_x), jnp.asarray(door_y), doors)
        grid = place(grid, *_cell(stream, locked), jnp.int32(GOAL))
        grid = place(grid, *_cell(stream, key_room), KEY + color)
        agent, inner = stream.randint((RIGHT - LEFT - 1) * (self.height - 2)), self.height - 2
        other = colors[key_room]
        mission = 5 * color + other - (other > color)
        state = new_state(grid, LEFT + 1 + agent // inner, 1 + agent % inner, stream.randint(4), mission)
        return state, jnp.bool_(True)


def _cell(stream: RandomStream, room):
    """A uniform cell inside of a room."""
    cell = stream.randint((LEFT - 1) * ROWS)
    return jnp.where(room % 2 == 0, 1, RIGHT + 1) + cell // ROWS, (ROWS + 1) * (room // 2) + 1 + cell % ROWS


def locked_room(id: str) -> LockedRoom:
    """LockedRoom on Farama's 19 x 19 cells; its time limit is ten times the side, not its square."""
    return LockedRoom(id, 19, 19, TaskRules(max_steps=190, doors=True, reach_goal=True), LOCKED_ROOM)
