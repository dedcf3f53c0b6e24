"""Memory: an object seen in the first room decides which end of the hallway to go to."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import place
from metarims.gridworld.missions import MEMORY
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, LANDMARK, TARGET, WALL, object_code

GREEN_KEY, GREEN_BALL = object_code("key", "green"), object_code("ball", "green")


@dataclasses.dataclass(frozen=True)
class Memory(Level):
    """The hallway's length is fixed, or random."""

    random_length: bool = False

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size = self.width
        middle = size // 2
        end = 4 + stream.randint(size - 6) if self.random_length else jnp.int32(size - 3)
        agent_x = 1 + stream.randint(end)
        x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
        beside = (y == middle - 1) | (y == middle + 1)
        room = ((x >= 1) & (x <= 4) & ((y == middle - 2) | (y == middle + 2))) | ((x == 4) & beside)
        hallway = (x >= 5) & (x < end) & beside
        crossway = ((x == end) & (y != middle)) | (x == end + 2)
        grid = jnp.where(room | hallway | crossway, jnp.uint8(WALL), jnp.asarray(walled_room(size, size)))

        cue, top = stream.randint(2), stream.randint(2)
        grid = place(grid, 1, middle - 1, _object(cue))
        grid = place(grid, end + 1, middle - 2, _object(top))
        grid = place(grid, end + 1, middle + 2, _object(1 - top))
        right, wrong = jnp.int32(EMPTY | TARGET), jnp.int32(EMPTY | LANDMARK)
        grid = place(grid, end + 1, middle - 1, jnp.where(cue == top, right, wrong))
        grid = place(grid, end + 1, middle + 1, jnp.where(cue == top, wrong, right))
        return new_state(grid, agent_x, middle, 0), jnp.bool_(True)


def _object(choice):
    return jnp.where(choice == 0, GREEN_KEY, GREEN_BALL)


def memory(id: str, size: int, random_length: bool = False) -> Memory:
    """Memory of side ``size``."""
    rules = TaskRules(max_steps=5 * size**2, memory=True)
    return Memory(id, size, size, rules, MEMORY, random_length=random_length)
