"""DoorKey: take the key, open the door in the splitting wall, reach the goal."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place
from metarims.gridworld.missions import DOOR_KEY
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import GOAL, WALL, door_code, object_code


@dataclasses.dataclass(frozen=True)
class DoorKey(Level):
    """A wall splits the room; the agent and the yellow key are left of it, the goal is bottom right."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every layout is kept; the door is never in the bottom row."""
        size = self.width
        split = 2 + stream.randint(size - 4)
        rows = size - 2
        agent, key = distinct(stream.take(2), (split - 1) * rows)
        direction = stream.randint(4)
        door_y = 1 + stream.randint(size - 3)

        room = walled_room(size, size)
        room[size - 2, size - 2] = GOAL
        grid = jnp.where(jnp.arange(size)[:, None] == split, jnp.uint8(WALL), jnp.asarray(room))
        grid = place(grid, split, door_y, jnp.int32(door_code("yellow", "locked")))
        grid = place(grid, key // rows + 1, key % rows + 1, jnp.int32(object_code("key", "yellow")))
        return new_state(grid, agent // rows + 1, agent % rows + 1, direction, 0), jnp.bool_(True)


def door_key(id: str, size: int) -> DoorKey:
    """DoorKey of side ``size``."""
    return DoorKey(id, size, size, TaskRules(max_steps=10 * size**2, doors=True, reach_goal=True), DOOR_KEY)
