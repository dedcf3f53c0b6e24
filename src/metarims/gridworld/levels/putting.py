"""Put one object near, or next to, another: MiniGrid's PutNear and BabyAI's PutNextLocal."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import all_reachable, distinct, nth, place, place_all, spread_out
from metarims.gridworld.missions import PUT_NEAR, PUT_NEXT
from metarims.gridworld.prng import RandomStream, multiply_high
from metarims.gridworld.state import EnvState, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, KEY, LANDMARK, TARGET


@dataclasses.dataclass(frozen=True)
class PutNear(Level):
    """Different objects, no two of them touching; then the agent."""

    num_objects: int = 0

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        size = self.width
        things, move, fixed = _choose(stream, self.num_objects)
        values = _flagged(things, move, fixed)
        x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]

        def put(carry, item):
            grid, free = carry
            bits, value = item
            cell = nth(free.reshape(-1), multiply_high(bits, free.sum(dtype=jnp.int32)))
            cx, cy = cell // size, cell % size
            free &= (jnp.abs(x - cx) > 1) | (jnp.abs(y - cy) > 1)
            return (place(grid, cx, cy, value), free), None

        room = jnp.asarray(walled_room(size, size))
        (grid, _), _ = jax.lax.scan(put, (room, room == EMPTY), (stream.take(self.num_objects), values))
        cell = nth((grid == EMPTY).reshape(-1), stream.randint((size - 2) ** 2 - self.num_objects))
        mission = _pair(things, move, fixed)
        return new_state(grid, cell // size, cell % size, stream.randint(4), mission), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class PutNextLocal(Level):
    """The agent, then different objects, neither under nor beside it."""

    num_objects: int = 0

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Kept if all objects can be reached and the two are not beside each other already."""
        side = self.width - 2
        agent, direction = stream.randint(side * side), stream.randint(4)
        things, move, fixed = _choose(stream, self.num_objects)
        cells = spread_out(stream.take(self.num_objects), agent, side)
        room = jnp.asarray(walled_room(self.width, self.height))
        grid = place_all(room, cells // side + 1, cells % side + 1, _flagged(things, move, fixed))
        a, b = cells[move], cells[fixed]
        apart = jnp.abs(a // side - b // side) + jnp.abs(a % side - b % side) > 1
        state = new_state(grid, agent // side + 1, agent % side + 1, direction, _pair(things, move, fixed))
        return state, all_reachable(cells, agent, side) & apart


def _choose(stream: RandomStream, number: int):
    """Different things (0 ... 17), which one to move, and which other to put it near."""
    things, pair = distinct(stream.take(number), 18), distinct(stream.take(2), number)
    return things, pair[0], pair[1]


def _flagged(things, move, fixed):
    order = jnp.arange(things.shape[0])
    return (KEY + things) | jnp.where(order == move, TARGET, jnp.where(order == fixed, LANDMARK, 0))


def _pair(things, move, fixed):
    """Row of the mission that names these two."""
    first, second = things[move], things[fixed]
    return 17 * first + second - (second > first)


def put_near(id: str, size: int, num_objects: int) -> PutNear:
    """PutNear; its time limit is five times the side, not its square."""
    rules = TaskRules(max_steps=5 * size, see_through=True, put_near=True)
    return PutNear(id, size, size, rules, PUT_NEAR, num_objects=num_objects)


def put_next_local(id: str, room_size: int = 8, num_objects: int = 8) -> PutNextLocal:
    """PutNextLocal; two walks, so twice the time."""
    rules = TaskRules(max_steps=2 * room_size**2, put_next=True)
    return PutNextLocal(id, room_size, room_size, rules, PUT_NEXT, num_objects=num_objects)
