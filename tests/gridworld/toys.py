"""Levels that compile in a moment and can be told apart."""

import dataclasses

import jax
import jax.numpy as jnp

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.prng import multiply_high, random_bits
from metarims.gridworld.state import new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import GOAL


@dataclasses.dataclass(frozen=True)
class Numbered(Level):
    """A room of 5 x 5 with the goal in a corner. Each level has a number, its ``mission``; so many of 16 are kept."""

    kept: int = 16

    def attempt(self, stream):
        number, keep = stream.randint(2**15), stream.randint(16) < self.kept
        room = walled_room(5, 5)
        room[3, 1] = GOAL
        return new_state(jnp.asarray(room), 1 + number % 2, 1, number % 4, number), keep


def numbered(kept: int = 8, max_steps: int = 6, id: str = "Numbered-v0") -> Numbered:
    """Short episodes."""
    rules = TaskRules(max_steps=max_steps, reach_goal=True)
    return Numbered(id, 5, 5, rules, ("get to the green goal square",), kept=kept)


@dataclasses.dataclass(frozen=True)
class Worded(Numbered):
    """The same; its mission is drawn: the digits of the number, to the base of 8, as words."""

    def attempt(self, stream):
        state, keep = super().attempt(stream)
        digits = state.mission.astype(jnp.int32) // jnp.array([1, 8, 64, 512]) % 8
        return state._replace(mission=jnp.int16(0), tokens=(1 + digits).astype(jnp.uint8)), keep


def worded(max_steps: int = 6) -> Worded:
    """Short episodes, each with its own mission of four words."""
    rules = TaskRules(max_steps=max_steps, reach_goal=True)
    return Worded("Worded-v0", 5, 5, rules, (), drawn_words=4)


def numbers_in_order(level: Numbered, seed, batch: int, count: int) -> list[int]:
    """The numbers of the levels that are kept of one after another of the batches that a seed determines."""
    blocks = jax.jit(jax.vmap(lambda block: random_bits(seed, block, (batch, 3))))(jnp.arange(200, dtype=jnp.uint32))
    _, number, keep = blocks.reshape(-1, 3).T
    return multiply_high(number, 2**15)[multiply_high(keep, 16) < level.kept].tolist()[:count]
