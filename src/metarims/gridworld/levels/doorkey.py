"""DoorKey: take the key, open the door in the splitting wall, reach the goal."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from metarims.gridworld.dice import Dice
from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import skip
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
        agent = dice.below((split - 1) * rows)
        direction = dice.below(4)
        door_y = 1 + dice.below(size - 3)
        key = skip(dice.below((split - 1) * rows - 1), [(agent, True)])

        room = walled_room(size, size)
        room[size - 2, size - 2] = GOAL
        x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
        grid = jnp.where(x == split, jnp.uint8(WALL), jnp.asarray(room))
        grid = jnp.where((x == split) & (y == door_y), jnp.uint8(door_code("yellow", "locked")), grid)
        key_here = (x == key // rows + 1) & (y == key % rows + 1)
        grid = jnp.where(key_here, jnp.uint8(object_code("key", "yellow")), grid)
        return new_world(grid, agent // rows + 1, agent % rows + 1, direction, 0), jnp.bool_(True)


def door_key(id: str, size: int) -> DoorKey:
    """DoorKey of side ``size``."""
    return DoorKey(id, size, size, Rule(max_steps=10 * size**2, doors=True, reach=True), 5, DOOR_KEY)
