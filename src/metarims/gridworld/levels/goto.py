"""BabyAI's "go to" levels: one room, an agent, some objects."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from metarims.gridworld.dice import Dice
from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import all_reachable, around, insert, skip
from metarims.gridworld.missions import GO_TO
from metarims.gridworld.rules import Rule
from metarims.gridworld.tiles import KEY, TARGET, object_code
from metarims.gridworld.world import World, new_world

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

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[World, Bool[Array, ""]]:
        """Agent anywhere; objects one by one, neither under nor beside it; kept if all of them can be reached."""
        dice, side = Dice(words), self.width - 2
        agent = dice.below(side * side)
        direction = dice.below(4)
        holes = around(agent, side)
        num_free = side * side - sum(exists.astype(jnp.int32) for _, exists in holes)

        taken, cells, codes = [], [], []
        for index in range(self.num_objects):
            rank = skip(dice.below(num_free - index), [(rank, True) for rank in taken])
            taken = insert(taken, rank)
            cells.append(skip(rank, holes))
            codes.append(self._code(dice, index))

        target = self._target(dice, codes)
        matches = [code == target for code in codes]
        several = sum(match.astype(jnp.int32) for match in matches) > 1
        grid = jnp.asarray(walled_room(self.width, self.height))
        place = jnp.arange(self.width)[:, None] * self.height + jnp.arange(self.height)
        for cell, code, match in zip(cells, codes, matches, strict=True):
            here = place == (cell // side + 1) * self.height + cell % side + 1
            grid = jnp.where(here, jnp.where(match, code | TARGET, code).astype(jnp.uint8), grid)
        mission = target - KEY + 18 * several
        if len(self.missions) < len(GO_TO):
            mission = several & (len(self.missions) > 1) if self.goal == "red ball" else target - KEY
        world = new_world(grid, agent // side + 1, agent % side + 1, direction, mission)
        kept = all_reachable(cells, agent, side) if self.num_objects > 1 else jnp.bool_(True)
        return world, kept

    def _code(self, dice: Dice, index: int):
        if self.goal == "red ball" and index == 0:
            return jnp.int32(RED_BALL)
        return GREY_KEY + 6 * dice.below(3) if self.grey else KEY + dice.below(18)

    def _target(self, dice: Dice, codes: list):
        if self.goal == "red ball":
            return jnp.int32(RED_BALL)
        return jnp.stack(codes)[dice.below(len(codes))]


def go_to_local(id: str, room_size: int = 8, num_dists: int = 8) -> GoTo:
    """Go to one of ``num_dists`` objects."""
    missions = GO_TO if num_dists > 1 else GO_TO[:18]
    words = 3 + 2 * num_dists
    return GoTo(id, room_size, room_size, _rule(room_size), words, missions, num_objects=num_dists)


def go_to_red_ball(id: str, num_dists: int = 7, grey: bool = False) -> GoTo:
    """Go to the red ball, among ``num_dists`` others."""
    red_ball = GO_TO[RED_BALL - KEY], GO_TO[RED_BALL - KEY + 18]
    missions = red_ball[:1] if grey or not num_dists else red_ball
    words = 3 + 2 * num_dists
    return GoTo(id, 8, 8, _rule(8), words, missions, num_objects=num_dists + 1, goal="red ball", grey=grey)


def _rule(room_size: int) -> Rule:
    return Rule(max_steps=room_size**2, face=True)
