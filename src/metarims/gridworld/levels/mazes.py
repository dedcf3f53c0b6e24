"""MiniGrid's WFC mazes: walls that Farama's generator drew beforehand; start and goal are drawn anew.

The wheel of minigrid 3.2.0 lacks the pictures that its generator learns from, so its own environments cannot be reset.
``tests/gridworld/make_mazes.py`` made the file.
"""

import dataclasses
from functools import cache, cached_property
from importlib.resources import files

import jax.numpy as jnp
import numpy as np

from metarims.gridworld.levels.base import Drawn, Level, MakeLevel
from metarims.gridworld.levels.placing import nth, place
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, GOAL, WALL

SIZE = 25
PRESETS = ("MazeSimple", "DungeonMazeScaled", "RoomsFabric", "ObstaclesBlackdots", "ObstaclesAngular", "ObstaclesHogs3")
IDS = tuple(f"MiniGrid-WFC-{preset}-v0" for preset in PRESETS)
FILE = str(files("metarims.gridworld") / "mazes.npz")


@dataclasses.dataclass(frozen=True)
class Maze(Level):
    """Free cells are all connected; Farama draws start, goal and direction uniformly once the walls stand."""

    @cached_property
    def walls(self) -> np.ndarray:
        """[N, 25, 25] the mazes of the file."""
        packed = _bank()[self.id]
        return np.unpackbits(packed, axis=1, count=SIZE * SIZE).reshape(-1, SIZE, SIZE) == 1

    @property
    def note(self) -> str:
        number = len(_bank()[self.id])
        return (
            f"{self.id} has {number} mazes, drawn beforehand by Farama's generator: each is played in one episode of "
            f"{number}, with a new start and goal."
        )

    def attempt(self, stream: RandomStream) -> Drawn:
        """Every maze of the file equally often."""
        walls = jnp.asarray(self.walls)[stream.randint(len(self.walls))]
        free = ~walls.reshape(-1)
        number = free.sum(dtype=jnp.int32)
        agent, goal = stream.randint(number), stream.randint(number - 1)
        goal += goal >= agent
        agent, goal = nth(free, agent), nth(free, goal)
        grid = jnp.where(walls, jnp.uint8(WALL), jnp.uint8(EMPTY))
        grid = place(grid, goal // SIZE, goal % SIZE, GOAL)
        return new_state(grid, agent // SIZE, agent % SIZE, stream.randint(4)), True


@cache
def _bank() -> dict[str, np.ndarray]:
    """The walls of each id's mazes as rows of bits."""
    with np.load(FILE) as data:
        return dict(data)


def _maze(id: str) -> Maze:
    rules = TaskRules(max_steps=20 * SIZE, reach_goal=True)
    return Maze(id, SIZE, SIZE, rules, ("traverse the maze to get to the goal",))


LEVELS: dict[str, MakeLevel] = dict.fromkeys(IDS, _maze)
