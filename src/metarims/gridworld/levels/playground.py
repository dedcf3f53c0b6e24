"""Playground: nine rooms, doors and objects, and nothing to do."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place_all
from metarims.gridworld.missions import PLAYGROUND
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import DOOR, EMPTY, KEY, WALL

ROOM = 6
"""Cells from one wall to the next."""
NUM_OBJECTS = 12


@dataclasses.dataclass(frozen=True)
class Playground(Level):
    """A closed door between any two rooms side by side; the agent, then objects, on any free cells."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        rooms = walled_room(self.width, self.height)
        rooms[ROOM : self.width - 1 : ROOM, :] = WALL
        rooms[:, ROOM : self.height - 1 : ROOM] = WALL
        free = np.flatnonzero(rooms == EMPTY)

        first, second = np.meshgrid(np.arange(2), np.arange(3), indexing="ij")
        wall, start = ROOM * (first.reshape(-1) + 1), ROOM * second.reshape(-1) + 1
        along = start + stream.randints(12, ROOM - 2).reshape(2, 6)
        door_x, door_y = jnp.stack([wall, along[1]]).reshape(-1), jnp.stack([along[0], wall]).reshape(-1)
        grid = place_all(jnp.asarray(rooms), door_x, door_y, DOOR + 3 * stream.randints(12, 6) + 1)

        cells = jnp.asarray(free)[distinct(stream.take(1 + NUM_OBJECTS), len(free))]
        x, y = cells // self.height, cells % self.height
        grid = place_all(grid, x[1:], y[1:], KEY + stream.randints(NUM_OBJECTS, 18))
        return new_state(grid, x[0], y[0], stream.randint(4)), jnp.bool_(True)


def playground(id: str) -> Playground:
    """Playground; nothing is ever paid."""
    return Playground(id, 19, 19, TaskRules(max_steps=100, doors=True), PLAYGROUND)
