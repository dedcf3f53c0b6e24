"""Uniform draws from a row of random bits: one call of the generator serves a whole level."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt32


def multiply_high(bits: UInt32[Array, "*n"], bound: Any) -> Int32[Array, "*n"]:
    """Uniform integer in [0, bound), bound < 2**16: the high half of bits x bound (bias below bound / 2**32)."""
    bound = jnp.asarray(bound, jnp.uint32)
    high = (bits >> 16) * bound + (((bits & 0xFFFF) * bound) >> 16)
    return (high >> 16).astype(jnp.int32)


class RandomStream:
    """Reads random numbers one after the other while a level is traced; an exhausted row is an ``IndexError``.

    Without ``bits`` it gives zeros, and only counts what is read.
    """

    def __init__(self, bits: UInt32[Array, " n"] | None):
        self._bits = bits
        self.used = 0

    def take(self, number: int) -> UInt32[Array, " {number}"]:
        """The next ``number`` of 32 random bits each."""
        self.used += number
        if self._bits is None:
            return jnp.zeros(number, jnp.uint32)
        if self.used > self._bits.shape[0]:
            raise IndexError(f"a level draws more than its {self._bits.shape[0]} random numbers")
        return self._bits[self.used - number : self.used]

    def randint(self, bound: Any) -> Int32[Array, ""]:
        """Uniform integer in [0, bound)."""
        return multiply_high(self.take(1)[0], bound)

    def randint_pair(self, bound: Any, other: Any) -> tuple[Int32[Array, ""], Int32[Array, ""]]:
        """Two independent uniform integers, in [0, bound) and [0, other), from one number; bound x other < 2**16."""
        both = self.randint(bound * other)
        return both // other, both % other

    def randints(self, number: int, bound: Any) -> Int32[Array, " {number}"]:
        """Independent uniform integers in [0, bound)."""
        return multiply_high(self.take(number), bound)


ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def random_bits(seed: UInt32[Array, "2"], block: Any, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Block number ``block`` of the random bits of ``seed``: any block at once, without those before it."""
    number = math.prod(shape)
    counts = jnp.arange(-(-number // 2), dtype=jnp.uint32)
    bits = threefry(seed, jnp.full_like(counts, block), counts)
    return jnp.concatenate(bits)[:number].reshape(shape)


def threefry(
    seed: UInt32[Array, "2"], high: UInt32[Array, " n"], low: UInt32[Array, " n"]
) -> tuple[UInt32[Array, " n"], UInt32[Array, " n"]]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), the generator of jax's own keys, of a counter's two halves.

    Written out here because on CPU jax compiles it as a loop over arrays in memory, which costs 15 times as much.
    """
    keys = seed[0], seed[1], seed[0] ^ seed[1] ^ jnp.uint32(0x1BD11BDA)
    high, low = high + keys[0], low + keys[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            high += low
            low = (low << rotation | low >> (32 - rotation)) ^ high
        high += keys[(group + 1) % 3]
        low += keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return high, low
