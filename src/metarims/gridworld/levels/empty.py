"""A room with a goal in its corner: Empty, and Dynamic-Obstacles with balls that move about."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place_all
from metarims.gridworld.missions import GOAL_SQUARE
from metarims.gridworld.obstacles import OBSTACLE
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import GOAL


@dataclasses.dataclass(frozen=True)
class GoalRoom(Level):
    """The goal is bottom right; the agent top left facing right, or anywhere; obstacles on other cells."""

    random_start: bool = False

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        side = self.width - 2
        num_free = side * side - 1  # the goal is the last cell
        agent, direction = jnp.int32(0), jnp.int32(0)
        if self.random_start:
            agent, direction = stream.randint(num_free), stream.randint(4)
        room = walled_room(self.width, self.height)
        room[side, side] = GOAL
        cells = distinct(stream.take(self.num_obstacles), num_free - 1)
        cells += cells >= agent
        x, y = cells // side + 1, cells % side + 1
        grid = place_all(jnp.asarray(room), x, y, jnp.full_like(x, OBSTACLE))
        state = new_state(grid, agent // side + 1, agent % side + 1, direction, 0, x * self.height + y)
        return state, jnp.bool_(True)


def empty(id: str, size: int, random_start: bool = False) -> GoalRoom:
    """Empty of side ``size``."""
    rules = TaskRules(max_steps=4 * size**2, see_through=True, reach_goal=True)
    return GoalRoom(id, size, size, rules, GOAL_SQUARE, random_start=random_start)


def dynamic_obstacles(id: str, size: int, num_obstacles: int, random_start: bool = False) -> GoalRoom:
    """Dynamic-Obstacles of side ``size``; three actions."""
    rules = TaskRules(max_steps=4 * size**2, see_through=True, reach_goal=True, collision_ends=True)
    return GoalRoom(
        *(id, size, size, rules, GOAL_SQUARE),
        random_start=random_start,
        num_actions=3,
        num_obstacles=num_obstacles,
    )
