"""Fetch: several keys and balls, one of them wanted."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from metarims.gridworld.dice import Dice
from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import distinct, place_all
from metarims.gridworld.missions import FETCH
from metarims.gridworld.rules import Rule
from metarims.gridworld.tiles import KEY, TARGET
from metarims.gridworld.world import World, new_world


@dataclasses.dataclass(frozen=True)
class Fetch(Level):
    """Objects (repeats allowed) and the agent on different cells; objects equal to the wanted one do as well."""

    num_objects: int = 0

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[World, Bool[Array, ""]]:
        """Every level is kept."""
        dice, side = Dice(words), self.width - 2
        places = distinct(dice.take(self.num_objects + 1), side * side)
        cells, agent = places[:-1], places[-1]
        things = dice.several_below(self.num_objects, 12)
        wanted = things[dice.below(self.num_objects)]
        values = (KEY + things) | jnp.where(things == wanted, TARGET, 0)
        room = jnp.asarray(walled_room(self.width, self.height))
        grid = place_all(room, cells // side + 1, cells % side + 1, values)
        mission = 12 * dice.below(5) + wanted
        return new_world(grid, agent // side + 1, agent % side + 1, dice.below(4), mission), jnp.bool_(True)


def fetch(id: str, size: int, num_objects: int) -> Fetch:
    """Fetch of side ``size``."""
    rule = Rule(max_steps=5 * size**2, see_through=True, fetch=True)
    return Fetch(id, size, size, rule, 2 * num_objects + 4, FETCH, num_objects=num_objects)
