"""FourRooms: two walls, four gaps, agent and goal anywhere."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import nth, place
from metarims.gridworld.missions import FOUR_ROOMS
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, GOAL, WALL


@dataclasses.dataclass(frozen=True)
class FourRooms(Level):
    """One gap in each half of the two middle walls; the agent may start in a gap."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size = self.width
        middle = size // 2
        room = walled_room(size, size)
        room[middle, :] = WALL
        room[:, middle] = WALL
        grid = jnp.asarray(room)
        near, far = middle - 1, size - 2 - middle
        grid = place(grid, middle, 1 + stream.randint(near), jnp.int32(EMPTY))
        grid = place(grid, 1 + stream.randint(near), middle, jnp.int32(EMPTY))
        grid = place(grid, middle + 1 + stream.randint(far), middle, jnp.int32(EMPTY))
        grid = place(grid, middle, middle + 1 + stream.randint(far), jnp.int32(EMPTY))
        num_free = int((room == EMPTY).sum()) + 4
        agent = stream.randint(num_free)
        goal = stream.randint(num_free - 1)
        goal += goal >= agent
        free = (grid == EMPTY).reshape(-1)
        agent, goal = nth(free, agent), nth(free, goal)
        grid = place(grid, goal // size, goal % size, jnp.int32(GOAL))
        return new_state(grid, agent // size, agent % size, stream.randint(4)), jnp.bool_(True)


def four_rooms(id: str, size: int = 19) -> FourRooms:
    """FourRooms; Farama's time limit is 100 whatever the size."""
    return FourRooms(id, size, size, TaskRules(max_steps=100, reach_goal=True), FOUR_ROOMS)
