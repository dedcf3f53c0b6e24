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
    """Levels ready to be played; the first ``size`` are."""

    fresh: Fresh
    size: Int32[Array, ""]


class VectorState(NamedTuple):
    """The batch of environments."""

    world: World
    pool: Pool
    key: PRNGKeyArray


class VectorWorld:
    """``num_envs`` environments of one level; ``reset`` and ``step`` are pure functions for jit, vmap and scan."""

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
        blank = _blank(self.env)
        key, key_levels = jax.random.split(key)
        pool = Pool(_tile(blank, 2 * self.batch), jnp.int32(0))
        everybody = jnp.ones(self.num_envs, bool)
        pool, playing = self._supply(_seed(key_levels), pool, _tile(blank, self.num_envs), everybody)
        return VectorState(playing.world, pool, key), _observation(playing.world, playing.codes)

    def step(self, state: VectorState, actions: Int[Array, "B"]) -> tuple[VectorState, TimeStep]:
        """One step of each; ended environments begin a new level at once."""
        world, reward, terminated, truncated = jax.vmap(lambda w, a: rules.step(self.env, w, a))(state.world, actions)
        final = jax.vmap(lambda w: sight.observe(self.env, w))(world)
        key, key_levels = jax.random.split(state.key)
        pool, playing, waiting = _serve(state.pool, Fresh(world, final.codes), terminated | truncated)
        pool, playing = self._supply(_seed(key_levels), pool, playing, waiting)
        observation = _observation(playing.world, playing.codes)
        return VectorState(playing.world, pool, key), TimeStep(observation, reward, terminated, truncated, final)

    def _supply_one(self, seed: UInt32[Array, "2"], pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]):
        """Draw batches of levels and hand them out until nobody waits."""

        def again(carry):
            batch, pool, playing, waiting = carry
            return batch + 1, *_serve(self._restock(seed, batch, pool), playing, waiting)

        carry = jnp.int32(0), pool, playing, waiting
        _, pool, playing, _ = jax.lax.while_loop(lambda carry: carry[-1].any(), again, carry)
        return pool, playing

    def _supply_many(self, axis_size: int, in_batched: Any, *args: Any):
        """The same for several seeds at once: all restock when one must, so that no batch of levels is thrown away."""

        def full(batched, leaf):
            return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        seed, pool, playing, waiting = jax.tree.map(full, tuple(in_batched), args)

        def again(carry):
            batch, pool, playing, waiting = carry
            stocked = jax.vmap(self._restock, in_axes=(0, None, 0))(seed, batch, pool)
            return batch + 1, *jax.vmap(_serve)(stocked, playing, waiting)

        carry = jnp.int32(0), pool, playing, waiting
        _, pool, playing, _ = jax.lax.while_loop(lambda carry: carry[-1].any(), again, carry)
        return (pool, playing), jax.tree.map(lambda _: True, (pool, playing))

    def _restock(self, seed: UInt32[Array, "2"], batch: Int32[Array, ""], pool: Pool) -> Pool:
        """Put a batch of new levels on top of the pool, if there is room for one."""
        key = jax.random.fold_in(jax.random.wrap_key_data(seed), batch)
        world, kept = jax.vmap(self.env.attempt)(jax.random.bits(key, (self.batch, self.env.num_words)))
        codes = jax.vmap(lambda w: sight.observe(self.env, w).codes)(world)
        order = jnp.argsort(~kept)  # the kept ones first
        room = pool.size <= self.batch
        start = jnp.minimum(pool.size, self.batch)

        def put(held, new):
            old = jax.lax.dynamic_slice_in_dim(held, start, self.batch)
            return jax.lax.dynamic_update_slice_in_dim(held, jnp.where(room, new[order], old), start, 0)

        fresh = jax.tree.map(put, pool.fresh, Fresh(world, codes))
        return Pool(fresh, pool.size + jnp.where(room, kept.sum(dtype=jnp.int32), 0))


def _seed(key: PRNGKeyArray) -> UInt32[Array, "2"]:
    # Plain words: jax's check for reused keys cannot look inside ``custom_vmap``.
    return jax.random.key_data(key)


def _serve(pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh, Bool[Array, "B"]]:
    """Give levels from the top of the pool to those who wait, as far as they last."""
    rank = jnp.cumsum(waiting, dtype=jnp.int32)
    gets = waiting & (rank <= pool.size)
    slot = jnp.maximum(pool.size - rank, 0)

    def give(held, own):
        taken = held.at[slot].get(mode="promise_in_bounds")
        return jnp.where(gets.reshape(-1, *[1] * (own.ndim - 1)), taken, own)

    playing = jax.tree.map(give, pool.fresh, playing)
    size = jnp.maximum(pool.size - rank[-1], 0)
    return pool._replace(size=size), playing, waiting & ~gets


def _observation(world: World, codes: UInt8[Array, "B 7 7"]) -> Observation:
    return Observation(codes, world.direction, world.mission)


def _blank(env: Level) -> Fresh:
    shape = jax.eval_shape(env.attempt, jax.ShapeDtypeStruct((env.num_words,), jnp.uint32))[0]
    world = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    return Fresh(world, jnp.zeros((VIEW, VIEW), jnp.uint8))


def _tile(fresh: Fresh, number: int) -> Fresh:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), fresh)
