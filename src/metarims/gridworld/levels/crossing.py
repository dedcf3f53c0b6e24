"""LavaCrossing and SimpleCrossing: rivers of lava or walls across the room, each with one opening."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place
from metarims.gridworld.missions import LAVA_CROSSING, SIMPLE_CROSSING
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, GOAL, LAVA, WALL


@dataclasses.dataclass(frozen=True)
class Crossing(Level):
    """Rivers on even coordinates; the openings follow a random path of crossings from corner to corner."""

    num_rivers: int = 1
    material: int = LAVA

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size, number = self.width, self.num_rivers
        half = (size - 3) // 2  # rivers per orientation
        rivers = jnp.sort(distinct(stream.take(number), 2 * half))
        upright = (rivers < half).sum(dtype=jnp.int32)
        at = 2 + 2 * (rivers % half)

        room = walled_room(size, size)
        room[size - 2, size - 2] = GOAL
        x, y = jnp.arange(size)[:, None, None], jnp.arange(size)[None, :, None]
        wet = jnp.where(rivers < half, x == at, y == at).any(-1)
        inside = jnp.zeros((size, size), bool).at[1:-1, 1:-1].set(True)
        grid = jnp.where(wet & inside, jnp.uint8(self.material), jnp.asarray(room))

        # Borders between which the openings lie: 0, the rivers in order, and the far wall.
        places = jnp.append(at, size - 1)
        order = jnp.arange(number + 1)
        columns = jnp.append(0, jnp.where(order < upright, places, size - 1))
        shifted = places[jnp.minimum(order + upright, number)]
        rows = jnp.append(0, jnp.where(order < number - upright, shifted, size - 1))

        column, row = jnp.int32(0), jnp.int32(0)
        for done in range(number):
            eastward = stream.randint(number - done) < upright - column  # a uniformly shuffled path
            free_x = columns[column] + 1 + stream.randint(columns[column + 1] - columns[column] - 1)
            free_y = rows[row] + 1 + stream.randint(rows[row + 1] - rows[row] - 1)
            open_x = jnp.where(eastward, columns[column + 1], free_x)
            open_y = jnp.where(eastward, free_y, rows[row + 1])
            grid = place(grid, open_x, open_y, jnp.int32(EMPTY))
            column, row = column + eastward, row + ~eastward
        return new_state(grid, 1, 1, 0), jnp.bool_(True)


def crossing(id: str, size: int, num_rivers: int, lava: bool) -> Crossing:
    """A crossing of side ``size``."""
    missions = LAVA_CROSSING if lava else SIMPLE_CROSSING
    rules = TaskRules(max_steps=4 * size**2, reach_goal=True)
    material = LAVA if lava else WALL
    return Crossing(id, size, size, rules, missions, num_rivers=num_rivers, material=material)
