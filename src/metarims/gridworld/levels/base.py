"""What a level is: static data, and how to draw its initial state."""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray, UInt32

from metarims.errors import UserError, invalid
from metarims.gridworld.missions import BABYAI_VOCABULARY, MAX_WORDS, VOCABULARY, split_words, tokenize
from metarims.gridworld.physics import ACTIONS
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, WALL

Drawn: TypeAlias = tuple[EnvState, Any]
"""The state in which an episode begins, and whether Farama would keep it rather than draw the whole level anew."""

LONGEST_EPISODE = 2**15 - 1
"""As far as a state counts its steps."""

ATTEMPTS = 4096
"""Of a user's own level, before it is played."""


@dataclasses.dataclass(frozen=True)
class Level:
    """A task: everything static about it. Hashable; subclasses add their settings and ``attempt``."""

    id: str
    """Farama's id."""
    width: int
    height: int
    rules: TaskRules
    missions: tuple[str, ...] = dataclasses.field(compare=False, repr=False)
    """Every instruction the level can give; ``EnvState.mission`` is a row of it."""
    num_actions: int = dataclasses.field(default=len(ACTIONS), kw_only=True)
    num_obstacles: int = dataclasses.field(default=0, kw_only=True)
    """Obstacles that move by themselves."""
    drawn_words: int = dataclasses.field(default=0, kw_only=True)
    """Where missions are too many to be listed: the words of the longest. ``missions`` is then empty, and a state has
    its own (``EnvState.tokens``)."""

    parts: "tuple[Level, ...]" = dataclasses.field(default=(), kw_only=True)
    """The levels of a mixture."""
    weights: tuple[float, ...] = dataclasses.field(default=(1.0,), kw_only=True)
    """How often each of ``sources`` is drawn."""

    def __post_init__(self):
        if self.rules.max_steps > LONGEST_EPISODE:
            limit = f"max_steps is {self.rules.max_steps:,} for {self.id}: it must be {LONGEST_EPISODE:,} or less."
            raise UserError(limit, field="max_steps", value=self.rules.max_steps)

    def __reduce__(self) -> Any:
        """Copies and pickles of our own levels are made by their id: they are equal, so nothing is compiled again."""
        from metarims.gridworld.registry import is_ours, make

        if not is_ours(self.id):
            return super().__reduce__()
        ours = make(self.id)
        names = [field.name for field in dataclasses.fields(self)]
        changed = {name: getattr(self, name) for name in names if getattr(self, name) is not getattr(ours, name, None)}
        return _make_again, (self.id, changed)

    @property
    def max_steps(self) -> int:
        """Steps after which an episode is truncated."""
        return self.rules.max_steps

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """``VOCABULARY``, or the longer ``BABYAI_VOCABULARY`` if the missions need it, and what even that lacks."""
        if self.drawn_words:
            return BABYAI_VOCABULARY
        spoken = {word for text in self.missions for word in split_words(text)}
        if spoken <= set(VOCABULARY):
            return VOCABULARY
        return (*BABYAI_VOCABULARY, *sorted(spoken.difference(BABYAI_VOCABULARY)))

    @cached_property
    def mission_tokens(self) -> np.ndarray:
        """[num_missions, max_words] the missions as tokens of ``vocabulary``, 0 = padding; max_words is 13, or that of
        the longest mission. Where missions are drawn, one row of padding."""
        if self.drawn_words:
            return np.zeros((1, max(MAX_WORDS, self.drawn_words)), np.int32)
        max_words = max(MAX_WORDS, *(len(split_words(text)) for text in self.missions))
        return np.stack([tokenize(text, self.vocabulary, max_words) for text in self.missions])

    def texts(self, state: EnvState) -> list[str]:
        """The missions of a batch of states, letter by letter."""
        if state.tokens is None:
            return [self.missions[row] for row in np.asarray(state.mission)]
        return [self.spell(row) for row in np.asarray(state.tokens)]

    def text(self, state: EnvState) -> str:
        """The mission of one state."""
        return self.texts(jax.tree.map(lambda leaf: np.asarray(leaf)[None], state))[0]

    def spell(self, tokens: np.ndarray) -> str:
        """The text of a mission that is drawn."""
        words = [self.vocabulary[token - 1] for token in tokens if token]
        return " ".join(words).replace(" then ", ", then ")

    @property
    def note(self) -> str:
        """What one should know before playing it; mostly empty."""
        return ""

    def rules_of(self, state: EnvState) -> TaskRules:
        """The rules by which this environment is played."""
        del state
        return self.rules

    @property
    def sources(self) -> "tuple[Level, ...]":
        """The levels that are drawn: itself, or the parts of a mixture."""
        return self.parts or (self,)

    def embed(self, source: int, state: EnvState) -> EnvState:
        """The state of a level of one of the sources as a state of this level."""
        del source
        return state

    def attempt(self, stream: RandomStream) -> Drawn:
        """Draw a level."""
        raise NotImplementedError

    @cached_property
    def num_draws(self) -> int:
        """Random numbers (of 32 bits) that one attempt uses, counted by tracing it."""
        stream = RandomStream(None)
        jax.eval_shape(in_32_bits(lambda: self.attempt(stream)))
        return stream.used

    @cached_property
    def blank(self) -> EnvState:
        """The shapes of one state of this level."""
        bits = jax.ShapeDtypeStruct((self.num_draws,), jnp.uint32)
        return jax.eval_shape(lambda bits: self.draw(bits)[0], bits)

    @in_32_bits
    def check_accepted(self) -> None:
        """Raise ``UserError`` if no attempt of many is accepted: to draw a level would take for ever."""
        bits = jax.random.bits(jax.random.key(0), (ATTEMPTS, self.num_draws))
        if not jax.jit(jax.vmap(lambda bits: self.draw(bits)[1]))(bits).any():
            raise invalid("env", self.id, f"of {ATTEMPTS:,} levels drawn it keeps none; let it keep what can be played")

    @in_32_bits
    def draw(self, bits: UInt32[Array, " n"]) -> tuple[EnvState, Bool[Array, ""]]:
        """One attempt from ``num_draws`` random numbers."""
        state, accepted = self.attempt(RandomStream(bits))
        return state, jnp.asarray(accepted)

    @in_32_bits
    def reset(self, key: PRNGKeyArray) -> EnvState:
        """A new level, drawn with Farama's distribution: attempts until one is accepted."""

        def again(carry):
            key, _, _ = carry
            key, key_level = jax.random.split(key)
            return key, *self.draw(jax.random.bits(key_level, (self.num_draws,)))

        first = again((key, None, None))
        _, state, _ = jax.lax.while_loop(lambda carry: ~carry[2], again, first)
        return state


def walled_room(width: int, height: int) -> np.ndarray:
    """An empty room: walls around."""
    grid = np.full((width, height), EMPTY, np.uint8)
    grid[[0, -1], :] = WALL
    grid[:, [0, -1]] = WALL
    return grid


@dataclasses.dataclass(frozen=True)
class GridLevel(Level):
    """A level that a function draws."""

    draw_grid: Callable[[RandomStream], Drawn] = dataclasses.field(kw_only=True, repr=False)

    def attempt(self, stream: RandomStream) -> Drawn:
        return self.draw_grid(stream)


MakeLevel: TypeAlias = Callable[[str], Level]
"""Makes the level of an id."""


def grid_level(
    draw: Callable[[RandomStream, int], Drawn],
    size: int,
    missions: tuple[str, ...],
    max_steps: int,
    *,
    width: int | None = None,
    height: int | None = None,
    num_actions: int = len(ACTIONS),
    num_obstacles: int = 0,
    **rules: Any,
) -> MakeLevel:
    """What makes a level that ``draw(stream, size)`` draws, on ``size`` x ``size`` cells unless ``width`` or ``height``
    say otherwise; ``rules``: fields of ``TaskRules``."""
    return lambda id: GridLevel(
        *(id, width or size, height or size, TaskRules(max_steps=max_steps, **rules), missions),
        num_actions=num_actions,
        num_obstacles=num_obstacles,
        draw_grid=partial(_draw_sized, draw, size),
    )


def _make_again(id: str, changed: dict[str, Any]) -> Level:
    from metarims.gridworld.registry import make

    return dataclasses.replace(make(id), **changed)


def _draw_sized(draw: Callable[[RandomStream, int], Drawn], size: int, stream: RandomStream) -> Drawn:
    """A function of this module, so that levels can be pickled."""
    return draw(stream, size)
