"""DoorKey: take the key, open the door in the splitting wall, reach the goal."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from metarims.gridworld.dice import Dice
from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place
from metarims.gridworld.missions import DOOR_KEY
from metarims.gridworld.rules import Rule
from metarims.gridworld.tiles import GOAL, WALL, door_code, object_code
from metarims.gridworld.world import World, new_world


@dataclasses.dataclass(frozen=True)
class DoorKey(Level):
    """A wall splits the room; the agent and the yellow key are left of it, the goal is bottom right."""

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[World, Bool[Array, ""]]:
        """Every layout is kept; the door is never in the bottom row."""
        dice, size = Dice(words), self.width
        split = 2 + dice.below(size - 4)
        rows = size - 2
        agent, key = distinct(dice.take(2), (split - 1) * rows)
        direction = dice.below(4)
        door_y = 1 + dice.below(size - 3)

        room = walled_room(size, size)
        room[size - 2, size - 2] = GOAL
        grid = jnp.where(jnp.arange(size)[:, None] == split, jnp.uint8(WALL), jnp.asarray(room))
        grid = place(grid, split, door_y, jnp.int32(door_code("yellow", "locked")))
        grid = place(grid, key // rows + 1, key % rows + 1, jnp.int32(object_code("key", "yellow")))
        return new_world(grid, agent // rows + 1, agent % rows + 1, direction, 0), jnp.bool_(True)


def door_key(id: str, size: int) -> DoorKey:
    """DoorKey of side ``size``."""
    return DoorKey(id, size, size, Rule(max_steps=10 * size**2, doors=True, reach=True), 5, DOOR_KEY)
