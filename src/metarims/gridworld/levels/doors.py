"""GoToDoor and RedBlueDoors: a room with doors in its walls."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place
from metarims.gridworld.missions import GO_TO_DOOR, RED_BLUE_DOORS
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import DOOR, EMPTY, LANDMARK, TARGET, WALL, door_code


@dataclasses.dataclass(frozen=True)
class GoToDoor(Level):
    """A room of random width and height at the top left of the grid, a door of another colour in each of its walls."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept; what lies outside of the room is empty."""
        size = self.width
        width, height = 5 + stream.randint(size - 4), 5 + stream.randint(size - 4)
        x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
        edge = (x == 0) | (x == width - 1) | (y == 0) | (y == height - 1)
        grid = jnp.where(edge & (x < width) & (y < height), jnp.uint8(WALL), jnp.uint8(EMPTY))
        door_x = [2 + stream.randint(width - 4), 2 + stream.randint(width - 4), jnp.int32(0), width - 1]
        door_y = [jnp.int32(0), height - 1, 2 + stream.randint(height - 4), 2 + stream.randint(height - 4)]
        colors, wanted = distinct(stream.take(4), 6), stream.randint(4)
        for index in range(4):
            flag = jnp.where(index == wanted, LANDMARK, 0)
            grid = place(grid, door_x[index], door_y[index], (DOOR + 3 * colors[index] + 1) | flag)
        cell = stream.randint((width - 2) * (height - 2))
        agent_x, agent_y = cell // (height - 2) + 1, cell % (height - 2) + 1
        return new_state(grid, agent_x, agent_y, stream.randint(4), colors[wanted]), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class RedBlueDoors(Level):
    """A square room in the middle of a hall twice as wide, a red door in its left wall, a blue one in its right."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size, side = self.height, self.height - 2
        left = size // 2
        hall = walled_room(self.width, size)
        hall[[left, left + size - 1], :] = WALL
        cell, direction = stream.randint(side * side), stream.randint(4)
        red, blue = door_code("red", "closed") | LANDMARK, door_code("blue", "closed") | TARGET
        grid = place(jnp.asarray(hall), left, 1 + stream.randint(side), jnp.int32(red))
        grid = place(grid, left + size - 1, 1 + stream.randint(side), jnp.int32(blue))
        return new_state(grid, left + 1 + cell // side, 1 + cell % side, direction), jnp.bool_(True)


def go_to_door(id: str, size: int) -> GoToDoor:
    """GoToDoor on a grid of side ``size``, which the largest rooms fill."""
    rules = TaskRules(max_steps=4 * size**2, see_through=True, doors=True, walled=False, done_beside=True)
    return GoToDoor(id, size, size, rules, GO_TO_DOOR)


def red_blue_doors(id: str, size: int) -> RedBlueDoors:
    """RedBlueDoors with a room of side ``size``."""
    rules = TaskRules(max_steps=20 * size**2, doors=True, open_after=True)
    return RedBlueDoors(id, 2 * size, size, rules, RED_BLUE_DOORS)
