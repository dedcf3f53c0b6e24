"""Levels drawn ahead of time, so that the cost of automatic resets follows the rate at which episodes end.

New levels are drawn a batch at a time. Environments whose episode ended take from the buffer; it is refilled only when
it has too few. A level that Farama would reject and draw again is left out, so that no environment waits for it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from metarims.gridworld import observation as obs
from metarims.gridworld.batching import with_batch_rule
from metarims.gridworld.levels.base import Level
from metarims.gridworld.prng import random_bits
from metarims.gridworld.state import EnvState
from metarims.gridworld.types import VIEW


class ResetState(NamedTuple):
    """Environments at the start of an episode, with their first views (so that each is computed once per level)."""

    env: EnvState
    codes: UInt8[Array, "P 7 7"]
    next_source: UInt8[Array, " P"]
    """The source of the level to be played after this one."""


class BufferState(NamedTuple):
    """One queue, first in, first out, for each of the K sources of levels, all in one array.

    Each source has room for two batches in ``slots``; its queue holds the slots of the levels that were accepted.
    """

    slots: ResetState
    queue: Int32[Array, " P"]
    """Numbers of slots; each source's queue has its own part, as in ``slots``."""
    head: Int32[Array, " K"]
    """Where each queue begins, counted from the begin of its part; it wraps round."""
    size: Int32[Array, " K"]
    """How many levels are left in each queue."""
    latest: Int32[Array, " K"]
    """How many levels of each source's latest batch were accepted. A queue that is longer than this holds levels of
    the batch before, whose slots the next batch would take."""
    batch: Int32[Array, " K"]
    """How many batches were drawn: with ``seed`` it determines the next one; even ones go to the first half."""
    seed: UInt32[Array, "2"]
    bits: tuple[UInt32[Array, "R n"], ...]
    """Each source's random bits for its next batch. Held here so that they lie in memory before they are read: XLA
    would otherwise compute them anew for every use, which makes levels three times as costly on CPU."""


class ResetBuffer:
    """Draws the levels of ``level`` (or of a mixture's sources), ``batch_sizes`` at a time, one size per source."""

    def __init__(self, level: Level, batch_sizes: tuple[int, ...]):
        self.level, self.batch_sizes = level, batch_sizes
        self._starts = np.concatenate([[0], 2 * np.cumsum(batch_sizes)])
        """Where each source's part of the slots begins."""
        parts = self._refill, self._is_short, self._hand_out
        # Of several buffers all are refilled when one must be, so that no level drawn is thrown away.
        self.take = with_batch_rule(partial(_take, *map(jax.vmap, parts)), partial(_take, *parts))
        """(buffer, playing, waiting [B]) -> (buffer, playing): a new level for each environment that waits."""

    def init(self, seed: UInt32[Array, "2"]) -> BufferState:
        """An empty buffer."""
        none = jnp.zeros(len(self.batch_sizes), jnp.int32)
        bits = tuple(self._draw_bits(seed, source, 0) for source in range(len(self.batch_sizes)))
        num_slots = int(self._starts[-1])
        queue = jnp.zeros(num_slots, jnp.int32)
        return BufferState(self.blank(num_slots), queue, none, none, none, none, seed, bits)

    def blank(self, number: int) -> ResetState:
        """Arrays for ``number`` environments."""
        env = jax.eval_shape(lambda state: self.level.embed(0, state), self.level.sources[0].blank)
        env = jax.tree.map(lambda leaf: jnp.zeros((number, *leaf.shape), leaf.dtype), env)
        return ResetState(env, jnp.zeros((number, VIEW, VIEW), jnp.uint8), jnp.zeros(number, jnp.uint8))

    def draw_sources(self, bits: UInt32[Array, " n"]) -> UInt8[Array, " n"]:
        """A source for each random number, by weight."""
        shares = np.cumsum(self.level.weights)[:-1] / np.sum(self.level.weights)
        bounds = np.minimum(np.floor(shares * 2.0**32), 2**32 - 1).astype(np.uint32)
        return (bits[:, None] >= bounds).sum(1, dtype=jnp.uint8)

    def _is_short(self, buffer: BufferState, playing: ResetState, waiting: Bool[Array, " B"]) -> Bool[Array, ""]:
        """Whether more wait than there are levels, and there is room for another batch."""
        wants = waiting[:, None] & (playing.next_source[:, None] == jnp.arange(len(self.batch_sizes)))
        return ((wants.sum(0) > buffer.size) & (buffer.size <= buffer.latest)).any()

    def _refill(self, buffer: BufferState) -> BufferState:
        """Add a batch of new levels at the end of each queue that has room for it."""
        for source in range(len(self.batch_sizes)):
            buffer = self._refill_source(buffer, source)
        return buffer

    def _refill_source(self, buffer: BufferState, source: int) -> BufferState:
        batch, start = self.batch_sizes[source], int(self._starts[source])
        number, size = buffer.batch[source], buffer.size[source]
        room = size <= buffer.latest[source]
        new, accepted = self._draw(source, buffer.bits[source])
        first = start + number % 2 * batch

        def write(held, drawn):
            as_it_was = jax.lax.dynamic_slice_in_dim(held, first, batch)
            return jax.lax.dynamic_update_slice_in_dim(held, jnp.where(room, drawn, as_it_was), first, 0)

        turn = (buffer.head[source] + size + jnp.cumsum(accepted, dtype=jnp.int32) - 1) % (2 * batch)
        ends = jnp.where(accepted & room, start + turn, len(buffer.queue))
        added = jnp.where(room, accepted.sum(dtype=jnp.int32), 0)
        number += room
        bits = list(buffer.bits)
        bits[source] = self._draw_bits(buffer.seed, source, number)
        return BufferState(
            slots=jax.tree.map(write, buffer.slots, new),
            queue=buffer.queue.at[ends].set(first + jnp.arange(batch), mode="drop"),
            head=buffer.head,
            size=buffer.size.at[source].add(added),
            latest=buffer.latest.at[source].set(jnp.where(room, added, buffer.latest[source])),
            batch=buffer.batch.at[source].set(number),
            seed=buffer.seed,
            bits=tuple(bits),
        )

    def _draw(self, source: int, bits: UInt32[Array, "R n"]) -> tuple[ResetState, Bool[Array, " R"]]:
        """A batch of one source from its random bits, and which of its levels are accepted."""
        env, accepted = jax.vmap(self.level.sources[source].draw)(bits[:, 1:])
        env = jax.vmap(lambda state: self.level.embed(source, state))(env)
        return ResetState(env, obs.observe(self.level, env).codes, self.draw_sources(bits[:, 0])), accepted

    def _draw_bits(self, seed: UInt32[Array, "2"], source: int, batch: Any) -> UInt32[Array, "R n"]:
        """The random bits of one batch of one source."""
        shape = self.batch_sizes[source], self.level.sources[source].num_draws + 1
        return random_bits(seed, len(self.batch_sizes) * batch + source, shape)

    def _hand_out(self, buffer: BufferState, playing: ResetState, waiting: Bool[Array, " B"]):
        """Give levels from the head of their source's queue to those who wait, as far as they last; who still waits."""
        source = playing.next_source.astype(jnp.int32)
        wants = waiting[:, None] & (source[:, None] == jnp.arange(len(self.batch_sizes)))
        ranks = jnp.cumsum(wants, axis=0, dtype=jnp.int32)
        rank = ranks[:, 0] if len(self.batch_sizes) == 1 else jnp.take_along_axis(ranks, source[:, None], 1)[:, 0]
        capacity = 2 * np.array(self.batch_sizes)
        gets = waiting & (rank <= buffer.size[source])
        turn = (buffer.head[source] + jnp.maximum(rank - 1, 0)) % jnp.asarray(capacity)[source]
        slot = buffer.queue[turn + jnp.asarray(self._starts)[source]]

        def give(held, own):
            taken = held.at[slot].get(mode="promise_in_bounds")
            return jnp.where(gets.reshape(-1, *[1] * (own.ndim - 1)), taken, own)

        given = jnp.minimum(ranks[-1], buffer.size)
        left = buffer._replace(head=(buffer.head + given) % capacity, size=buffer.size - given)
        return left, jax.tree.map(give, buffer.slots, playing), waiting & ~gets


def _take(refill: Any, is_short: Any, hand_out: Any, *start: Any) -> tuple[BufferState, ResetState]:
    """Mostly one round: refill until there are enough levels, then hand out. Where more wait than fit, again."""

    def fill(buffer, playing, waiting):
        return jax.lax.while_loop(lambda buffer: is_short(buffer, playing, waiting).any(), refill, buffer)

    def again(carry):
        buffer, playing, waiting = carry
        return hand_out(refill(buffer), playing, waiting)

    def rounds(carry):
        buffer, playing, waiting = carry
        carry = hand_out(fill(buffer, playing, waiting), playing, waiting)
        return jax.lax.while_loop(lambda carry: carry[2].any(), again, carry)

    # States are computed once before a condition; else XLA would compute them anew for every use in ``hand_out``.
    return jax.lax.cond(start[2].any(), rounds, lambda carry: carry, start)[:2]
