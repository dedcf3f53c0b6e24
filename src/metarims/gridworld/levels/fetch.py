"""A room with objects, one of them wanted: Fetch, and MiniGrid's GoToObject."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place_all
from metarims.gridworld.missions import FETCH, GO_TO
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import KEY, LANDMARK, TARGET


@dataclasses.dataclass(frozen=True)
class Fetch(Level):
    """Objects (repeats allowed) and the agent on different cells; objects equal to the wanted one do as well."""

    num_objects: int = 0

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        side = self.width - 2
        places = distinct(stream.take(self.num_objects + 1), side * side)
        cells, agent = places[:-1], places[-1]
        things = stream.randints(self.num_objects, 12)
        wanted = things[stream.randint(self.num_objects)]
        values = (KEY + things) | jnp.where(things == wanted, TARGET, 0)
        room = jnp.asarray(walled_room(self.width, self.height))
        grid = place_all(room, cells // side + 1, cells % side + 1, values)
        mission = 12 * stream.randint(5) + wanted
        return new_state(grid, agent // side + 1, agent % side + 1, stream.randint(4), mission), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class GoToObject(Level):
    """Different objects and the agent on different cells; the mission's place is where one of them was at first."""

    num_objects: int = 0

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        side = self.width - 2
        things = distinct(stream.take(self.num_objects), 18)
        places = distinct(stream.take(self.num_objects + 1), side * side)
        cells, agent = places[:-1], places[-1]
        wanted = stream.randint(self.num_objects)
        values = (KEY + things) | jnp.where(jnp.arange(self.num_objects) == wanted, LANDMARK, 0)
        room = jnp.asarray(walled_room(self.width, self.height))
        grid = place_all(room, cells // side + 1, cells % side + 1, values)
        state = new_state(grid, agent // side + 1, agent % side + 1, stream.randint(4), things[wanted])
        return state, jnp.bool_(True)


def fetch(id: str, size: int, num_objects: int) -> Fetch:
    """Fetch of side ``size``."""
    rules = TaskRules(max_steps=5 * size**2, see_through=True, fetch=True)
    return Fetch(id, size, size, rules, FETCH, num_objects=num_objects)


def go_to_object(id: str, size: int, num_objects: int = 2) -> GoToObject:
    """GoToObject of side ``size``."""
    rules = TaskRules(max_steps=5 * size**2, see_through=True, done_beside=True)
    return GoToObject(id, size, size, rules, GO_TO[:18], num_objects=num_objects)
