"""A level with some of its missions: those that speak of certain things, or all others.

``BabyAI-GoToLocal-v0?without=red_key,green_ball`` never asks for these two, ``?only=red_key,green_ball`` for nothing
else. So an agent can be tested on compositions that it was not trained on.
"""

import dataclasses
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from metarims.errors import UserError, unknown_name
from metarims.gridworld.levels.base import Level
from metarims.gridworld.missions import split_words
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState

OPTIONS = ("without", "only")


@dataclasses.dataclass(frozen=True)
class Restricted(Level):
    """The levels of ``base`` whose mission has one of the phrases, or none of them."""

    base: Level = dataclasses.field(kw_only=True)
    phrases: tuple[tuple[str, ...], ...] = dataclasses.field(kw_only=True)
    """Words that follow each other in a mission."""
    only: bool = dataclasses.field(kw_only=True)

    @property
    def note(self) -> str:
        return self.base.note

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """That of the base; discarded if the mission is not one of ours."""
        state, accepted = self.base.attempt(stream)
        return state, accepted & (self._has_phrase(state) == self.only)

    def _has_phrase(self, state: EnvState) -> Bool[Array, ""]:
        if state.tokens is None:
            return jnp.asarray(self._rows)[state.mission]
        number = {word: token for token, word in enumerate(self.vocabulary, start=1)}
        found = jnp.bool_(False)
        for phrase in self.phrases:
            starts = state.tokens.shape[0] - len(phrase) + 1
            fits = [state.tokens[at : at + starts] == number[word] for at, word in enumerate(phrase)]
            found |= jnp.stack(fits).all(0).any()
        return found

    def allows(self, mission: str) -> bool:
        """Whether it is one of these missions."""
        words = split_words(mission)
        return any(_follows(phrase, words) for phrase in self.phrases) == self.only

    @cached_property
    def _rows(self) -> Bool[np.ndarray, " num_missions"]:
        """Which missions of the base have a phrase."""
        return np.array([self.allows(mission) == self.only for mission in self.missions])


def _follows(phrase: tuple[str, ...], words: list[str]) -> bool:
    return any(tuple(words[at : at + len(phrase)]) == phrase for at in range(len(words)))


def restrict(base: Level, id: str) -> Restricted:
    """The level that ``id`` names (``BASE?without=PHRASE,PHRASE`` or ``?only=``; ``_`` stands for a space).

    An unknown option, and phrases that leave no mission or change nothing, raise ``UserError``.
    """
    option, equals, listed = id.partition("?")[2].partition("=")
    if option not in OPTIONS:
        raise unknown_name(f"option of {base.id}", option, OPTIONS)
    phrases = tuple(tuple(phrase.split("_")) for phrase in listed.split(",") if phrase)
    if not equals or not phrases:
        raise UserError(f"{id} names nothing: write {base.id}?{option}=red_key,green_ball.", field="env", value=id)
    fields: dict[str, Any] = {field.name: getattr(base, field.name) for field in dataclasses.fields(Level)}
    fields["id"] = id
    level = Restricted(**fields, base=base, phrases=phrases, only=option == "only")
    for phrase in phrases:
        known = set(phrase) <= set(base.vocabulary)
        if not known or not (base.drawn_words or any(_follows(phrase, split_words(text)) for text in base.missions)):
            raise UserError(
                f"No mission of {base.id} has the words '{' '.join(phrase)}': see metarims envs for a mission.",
                field="env",
                value=id,
            )
    if not base.drawn_words and not any(level.allows(mission) for mission in base.missions):
        raise UserError(f"{id} leaves no mission: name fewer things.", field="env", value=id)
    return level
