"""BabyAI's "go to" levels: one room, an agent, some objects."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import all_reachable, place_all, spread_out
from metarims.gridworld.missions import GO_TO
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import KEY, TARGET, object_code

RED_BALL = object_code("ball", "red")
GREY_KEY = object_code("key", "grey")


@dataclasses.dataclass(frozen=True)
class GoTo(Level):
    """Go to an object among others; equal objects are all targets, and the mission then says "a"."""

    num_objects: int = 0
    goal: Literal["any", "red ball"] = "any"
    """The mission names one of the objects, or always the red ball (which is then the first object)."""
    grey: bool = False
    """The objects beside the red ball are grey."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Agent anywhere; objects one by one, neither under nor beside it; kept if all of them can be reached."""
        side = self.width - 2
        agent, direction = stream.randint_pair(side * side, 4)
        cells, codes, target = self._objects(stream, agent)
        matches = codes == target
        several = matches.sum() > 1
        room = jnp.asarray(walled_room(self.width, self.height))
        values = jnp.where(matches, codes | TARGET, codes)
        grid = place_all(room, cells // side + 1, cells % side + 1, values)
        by_name = target - KEY + 18 * several
        mission = several & (len(self.missions) > 1) if self.goal == "red ball" else by_name
        state = new_state(grid, agent // side + 1, agent % side + 1, direction, mission)
        accepted = all_reachable(cells, agent, side) if self.num_objects > 1 else jnp.bool_(True)
        return state, accepted

    def _objects(
        self, stream: RandomStream, agent: Int32[Array, ""]
    ) -> tuple[Int32[Array, " n"], Int32[Array, " n"], Int32[Array, ""]]:
        """Cells and codes of the objects, and the code that the mission names."""
        number = self.num_objects
        kinds = 3 if self.grey else 18
        cells, things = spread_out(stream.take(number), agent, self.width - 2, kinds)
        codes = GREY_KEY + 6 * things if self.grey else KEY + things
        if self.goal == "red ball":
            return cells, codes.at[0].set(RED_BALL), jnp.int32(RED_BALL)
        return cells, codes, codes[stream.randint(number)]


def go_to_local(id: str, room_size: int = 8, num_dists: int = 8) -> GoTo:
    """Go to one of ``num_dists`` objects."""
    missions = GO_TO if num_dists > 1 else GO_TO[:18]
    return GoTo(id, room_size, room_size, _rules(room_size), missions, num_objects=num_dists)


def go_to_red_ball(id: str, num_dists: int = 7, grey: bool = False) -> GoTo:
    """Go to the red ball, among ``num_dists`` others."""
    red_ball = GO_TO[RED_BALL - KEY], GO_TO[RED_BALL - KEY + 18]
    missions = red_ball[:1] if grey or not num_dists else red_ball
    return GoTo(id, 8, 8, _rules(8), missions, num_objects=num_dists + 1, goal="red ball", grey=grey)


def _rules(room_size: int) -> TaskRules:
    return TaskRules(max_steps=room_size**2, go_to=True)
