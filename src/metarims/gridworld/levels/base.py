"""What a level is: static data, and how to draw a world of it."""

import dataclasses
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray, UInt32

from metarims.gridworld.missions import tokenize
from metarims.gridworld.physics import ACTIONS
from metarims.gridworld.state import EnvState
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, WALL


@dataclasses.dataclass(frozen=True)
class Level:
    """A task: everything static about it. Hashable; subclasses add their sizes and ``attempt``."""

    id: str
    """Farama's id."""
    width: int
    height: int
    rule: TaskRules
    num_words: int
    """Random words that one attempt at a level uses."""
    missions: tuple[str, ...] = dataclasses.field(compare=False, repr=False)
    """Every instruction the level can give; ``EnvState.mission`` is a row of it."""
    num_actions: int = dataclasses.field(default=len(ACTIONS), kw_only=True)
    num_obstacles: int = dataclasses.field(default=0, kw_only=True)
    """Obstacles that move by themselves."""

    @property
    def max_steps(self) -> int:
        """Steps after which an episode is truncated."""
        return self.rule.max_steps

    @cached_property
    def mission_tokens(self) -> np.ndarray:
        """[num_missions, 13] the missions as tokens, 0 = padding."""
        return np.stack([tokenize(text) for text in self.missions])

    def rules_of(self, world: EnvState) -> TaskRules:
        """The rules that govern this world."""
        del world
        return self.rule

    @property
    def sources(self) -> "tuple[Level, ...]":
        """The levels that worlds are drawn from: itself, or the parts of a mixture."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """How often each source is drawn."""
        return (1.0,)

    def adopt(self, source: int, world: EnvState) -> EnvState:
        """A world of one of the sources as a world of this level."""
        del source
        return world

    def attempt(self, words: UInt32[Array, "n"]) -> tuple[EnvState, Bool[Array, ""]]:
        """Draw a world; False where Farama would throw the whole level away and begin again."""
        raise NotImplementedError

    def reset(self, key: PRNGKeyArray) -> EnvState:
        """A new world, drawn with Farama's distribution: attempts until one is kept."""

        def again(carry):
            key, _, _ = carry
            key, key_level = jax.random.split(key)
            return key, *self.attempt(jax.random.bits(key_level, (self.num_words,)))

        first = again((key, None, None))
        _, world, _ = jax.lax.while_loop(lambda carry: ~carry[2], again, first)
        return world


def walled_room(width: int, height: int) -> np.ndarray:
    """An empty room: walls around."""
    grid = np.full((width, height), EMPTY, np.uint8)
    grid[[0, -1], :] = WALL
    grid[:, [0, -1]] = WALL
    return grid
