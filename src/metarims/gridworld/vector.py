"""Many worlds in step, with automatic resets whose cost follows the rate at which episodes end.

New levels are drawn a batch at a time into a small pool. Environments whose episode ended take from the pool; only when
it is empty is the next batch drawn. What Farama would reject and draw again is left out of the pool, so nobody waits.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, Int32, PRNGKeyArray, UInt8, UInt32

from metarims.errors import UserError
from metarims.gridworld import rules, sight
from metarims.gridworld.levels.base import Level
from metarims.gridworld.world import World
from metarims.types import VIEW, Observation, TimeStep


class Fresh(NamedTuple):
    """Worlds at the start of an episode, with the first view of each (so that it is computed once per level)."""

    world: World
    codes: UInt8[Array, "P 7 7"]


class Pool(NamedTuple):
    """Levels ready to be played, first in, first out: entry ``head`` is the next, ``size`` are left."""

    fresh: Fresh
    head: Int32[Array, ""]
    size: Int32[Array, ""]
    batch: Int32[Array, ""]
    """How many batches have been drawn: with ``seed`` it determines the next one."""
    seed: UInt32[Array, "2"]


class VectorState(NamedTuple):
    """The batch of environments."""

    world: World
    pool: Pool
    key: PRNGKeyArray
    """For worlds that move by themselves."""


class VectorWorld:
    """``num_envs`` environments of one level; ``reset`` and ``step`` are pure functions for jit, vmap and scan.

    Under ``vmap`` over seeds each seed sees exactly what it would see alone.
    """

    def __init__(self, env: Level, num_envs: int, batch: int | None = None):
        """``batch``: how many levels are drawn at a time (default: an eighth of the environments, at least 8)."""
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: it must be at least 1.")
        self.env, self.num_envs = env, num_envs
        self.batch = batch or max(8, -(-num_envs // 8))
        self._supply = custom_vmap(self._supply_one)
        self._supply.def_vmap(self._supply_many)

    def reset(self, key: PRNGKeyArray) -> tuple[VectorState, Observation]:
        """New levels for all, and what the agents see."""
        key, key_levels = jax.random.split(key)
        blank, none = _blank(self.env), jnp.int32(0)
        # Plain words: jax's check for reused keys cannot look inside ``custom_vmap``.
        pool = Pool(_tile(blank, 2 * self.batch), none, none, none, jax.random.key_data(key_levels))
        pool, playing = self._supply(pool, _tile(blank, self.num_envs), jnp.ones(self.num_envs, bool))
        return VectorState(playing.world, pool, key), _observation(playing)

    def step(self, state: VectorState, actions: Int[Array, "B"]) -> tuple[VectorState, TimeStep]:
        """One step of each; ended environments begin a new level at once."""
        key, outcome = self._advance(state, actions)
        final = sight.observe(self.env, outcome.world)
        ended = outcome.terminated | outcome.truncated
        pool, playing, waiting = _serve(state.pool, Fresh(outcome.world, final.codes), ended)
        pool, playing = self._supply(pool, playing, waiting)
        time_step = TimeStep(_observation(playing), outcome.reward, outcome.terminated, outcome.truncated, final)
        return VectorState(playing.world, pool, key), time_step

    def _advance(self, state: VectorState, actions: Int[Array, "B"]) -> tuple[PRNGKeyArray, rules.Outcome]:
        """The step itself; random words are drawn, in one call for all, only where something moves by itself."""
        if not self.env.num_obstacles:
            return state.key, jax.vmap(lambda w, a: rules.step(self.env, w, a))(state.world, actions)
        key, key_wander = jax.random.split(state.key)
        words = jax.random.bits(key_wander, (self.num_envs, self.env.num_obstacles))
        step = jax.vmap(lambda w, a, r: rules.step_with_words(self.env, w, a, r))
        return key, step(state.world, actions, words)

    def _supply_one(self, pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh]:
        """Draw batches of levels and hand them out until nobody waits."""

        def again(carry):
            pool, playing, waiting = carry
            return _serve(self._restock(pool), playing, waiting)

        carry = jax.lax.while_loop(lambda carry: carry[2].any(), again, (pool, playing, waiting))
        return carry[0], carry[1]

    def _supply_many(self, axis_size: int, in_batched: Any, *args: Any):
        """The same for several seeds at once: all restock when one must, so that no batch of levels is thrown away."""

        def full(batched, leaf):
            return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        def again(carry):
            pool, playing, waiting = carry
            return jax.vmap(_serve)(jax.vmap(self._restock)(pool), playing, waiting)

        carry = jax.tree.map(full, tuple(in_batched), args)
        pool, playing, _ = jax.lax.while_loop(lambda carry: carry[2].any(), again, carry)
        return (pool, playing), jax.tree.map(lambda _: True, (pool, playing))

    def _restock(self, pool: Pool) -> Pool:
        """Add a batch of new levels at the end of the queue, if there is room for one."""
        key = jax.random.fold_in(jax.random.wrap_key_data(pool.seed), pool.batch)
        world, kept = jax.vmap(self.env.attempt)(jax.random.bits(key, (self.batch, self.env.num_words)))
        new = Fresh(world, sight.observe(self.env, world).codes)
        room = pool.size <= self.batch
        place = jnp.arange(2 * self.batch)
        nth_kept = jnp.argsort(~kept)[jnp.clip(place - pool.size, 0, self.batch - 1)]
        old = (pool.head + place) % (2 * self.batch)

        def lay(held, drawn):
            from_old = (place < pool.size) | ~room
            return jnp.where(from_old.reshape(-1, *[1] * (held.ndim - 1)), held[old], drawn[nth_kept])

        return Pool(
            fresh=jax.tree.map(lay, pool.fresh, new),
            head=jnp.zeros_like(pool.head),
            size=pool.size + jnp.where(room, kept.sum(dtype=jnp.int32), 0),
            batch=pool.batch + room,
            seed=pool.seed,
        )


def _serve(pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh, Bool[Array, "B"]]:
    """Give levels from the head of the queue to those who wait, as far as they last."""
    rank = jnp.cumsum(waiting, dtype=jnp.int32)
    gets = waiting & (rank <= pool.size)
    capacity = pool.fresh.codes.shape[0]
    slot = (pool.head + jnp.clip(rank - 1, 0, capacity - 1)) % capacity

    def give(held, own):
        taken = held.at[slot].get(mode="promise_in_bounds")
        return jnp.where(gets.reshape(-1, *[1] * (own.ndim - 1)), taken, own)

    playing = jax.tree.map(give, pool.fresh, playing)
    given = jnp.minimum(rank[-1], pool.size)
    pool = pool._replace(head=(pool.head + given) % capacity, size=pool.size - given)
    return pool, playing, waiting & ~gets


def _observation(playing: Fresh) -> Observation:
    return Observation(playing.codes, playing.world.direction, playing.world.mission)


def _blank(env: Level) -> Fresh:
    shape = jax.eval_shape(env.attempt, jax.ShapeDtypeStruct((env.num_words,), jnp.uint32))[0]
    world = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    return Fresh(world, jnp.zeros((VIEW, VIEW), jnp.uint8))


def _tile(fresh: Fresh, number: int) -> Fresh:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), fresh)
