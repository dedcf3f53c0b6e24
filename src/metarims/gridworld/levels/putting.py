"""Put one object near, or next to, another: MiniGrid's PutNear and BabyAI's PutNextLocal."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from metarims.gridworld.dice import Dice
from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import all_reachable, around, distinct, insert, nth, place, skip
from metarims.gridworld.missions import PUT_NEAR, PUT_NEXT
from metarims.gridworld.rules import Rule
from metarims.gridworld.tiles import EMPTY, KEY, LANDMARK, TARGET
from metarims.gridworld.world import World, new_world


@dataclasses.dataclass(frozen=True)
class PutNear(Level):
    """Different objects, no two of them touching; then the agent."""

    num_objects: int = 0

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[World, Bool[Array, ""]]:
        """Every level is kept."""
        dice, size = Dice(words), self.width
        things = distinct(dice, self.num_objects, 18)
        grid = jnp.asarray(walled_room(size, size))
        move, fixed = _two_of(dice, self.num_objects)
        x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
        free = grid == EMPTY
        for index, thing in enumerate(things):
            cell = nth(free.reshape(-1), dice.below(free.sum(dtype=jnp.int32)))
            cx, cy = cell // size, cell % size
            free &= (jnp.abs(x - cx) > 1) | (jnp.abs(y - cy) > 1)
            flag = jnp.where(move == index, TARGET, jnp.where(fixed == index, LANDMARK, 0))
            grid = place(grid, cx, cy, (KEY + thing) | flag)
        cell = nth((grid == EMPTY).reshape(-1), dice.below((size - 2) ** 2 - self.num_objects))
        mission = _pair(jnp.stack(things), move, fixed)
        return new_world(grid, cell // size, cell % size, dice.below(4), mission), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class PutNextLocal(Level):
    """The agent, then different objects, neither under nor beside it."""

    num_objects: int = 0

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[World, Bool[Array, ""]]:
        """Kept if all objects can be reached and the two are not beside each other already."""
        dice, side = Dice(words), self.width - 2
        agent = dice.below(side * side)
        direction = dice.below(4)
        holes = around(agent, side)
        num_free = side * side - sum(exists.astype(jnp.int32) for _, exists in holes)
        things = distinct(dice, self.num_objects, 18)
        move, fixed = _two_of(dice, self.num_objects)
        grid = jnp.asarray(walled_room(self.width, self.height))
        taken, cells = [], []
        for index, thing in enumerate(things):
            rank = skip(dice.below(num_free - index), [(other, True) for other in taken])
            taken = insert(taken, rank)
            cells.append(skip(rank, holes))
            flag = jnp.where(move == index, TARGET, jnp.where(fixed == index, LANDMARK, 0))
            grid = place(grid, cells[-1] // side + 1, cells[-1] % side + 1, (KEY + thing) | flag)
        a, b = jnp.stack(cells)[move], jnp.stack(cells)[fixed]
        apart = jnp.abs(a // side - b // side) + jnp.abs(a % side - b % side) > 1
        world = new_world(grid, agent // side + 1, agent % side + 1, direction, _pair(jnp.stack(things), move, fixed))
        return world, all_reachable(cells, agent, side) & apart


def _two_of(dice: Dice, number: int):
    move, fixed = distinct(dice, 2, number)
    return move, fixed


def _pair(things, move, fixed):
    """Row of the mission that names these two."""
    first, second = things[move], things[fixed]
    return 17 * first + second - (second > first)


def put_near(id: str, size: int, num_objects: int) -> PutNear:
    """PutNear; its time limit is five times the side, not its square."""
    rule = Rule(max_steps=5 * size, see_through=True, near=True)
    return PutNear(id, size, size, rule, 4 + 2 * num_objects, PUT_NEAR, num_objects=num_objects)


def put_next_local(id: str, room_size: int = 8, num_objects: int = 8) -> PutNextLocal:
    """PutNextLocal; two walks, so twice the time."""
    rule = Rule(max_steps=2 * room_size**2, next_to=True)
    return PutNextLocal(id, room_size, room_size, rule, 4 + 2 * num_objects, PUT_NEXT, num_objects=num_objects)
