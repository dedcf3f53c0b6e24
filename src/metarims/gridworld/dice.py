"""Uniform draws from a row of random words: one call of the generator serves a whole level."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt32


def multiply_high(word: UInt32[Array, "*n"], bound: Any) -> Int32[Array, "*n"]:
    """Uniform integer in [0, bound), bound < 2**16: the high half of word x bound (bias below bound / 2**32)."""
    bound = jnp.asarray(bound, jnp.uint32)
    high = (word >> 16) * bound + (((word & 0xFFFF) * bound) >> 16)
    return (high >> 16).astype(jnp.int32)


class Dice:
    """Reads random words one after the other. Tracing-time object; an exhausted row is an ``IndexError``."""

    def __init__(self, words: UInt32[Array, "n"]):
        self._words = words
        self.used = 0

    def take(self, number: int) -> UInt32[Array, "{number}"]:
        """The next ``number`` words themselves."""
        if self.used + number > self._words.shape[0]:
            raise IndexError(f"a level draws more than its {self._words.shape[0]} random words")
        self.used += number
        return self._words[self.used - number : self.used]

    def below(self, bound: Any) -> Int32[Array, ""]:
        """Uniform integer in [0, bound)."""
        return multiply_high(self.take(1)[0], bound)

    def below_both(self, bound: Any, other: Any) -> tuple[Int32[Array, ""], Int32[Array, ""]]:
        """Two independent uniform integers, in [0, bound) and [0, other), from one word; bound x other < 2**16."""
        both = self.below(bound * other)
        return both // other, both % other

    def several_below(self, number: int, bound: Any) -> Int32[Array, "{number}"]:
        """Independent uniform integers in [0, bound)."""
        return multiply_high(self.take(number), bound)
