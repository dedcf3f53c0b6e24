"""Many worlds in step, with automatic resets whose cost follows the rate at which episodes end.

New levels are drawn a batch at a time into a small pool. Environments whose episode ended take from the pool; only when
it is empty is the next batch drawn. What Farama would reject and draw again is left out of the pool, so nobody waits.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, Int32, PRNGKeyArray, UInt8

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
    """Levels ready to be played; the first ``count`` are."""

    fresh: Fresh
    count: Int32[Array, ""]
    key: PRNGKeyArray


class VectorState(NamedTuple):
    """The batch of environments."""

    world: World
    pool: Pool


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
        pool = Pool(_tile(blank, 2 * self.batch), jnp.int32(0), key)
        playing = _tile(blank, self.num_envs)
        pool, playing, _ = self._supply(pool, playing, jnp.ones(self.num_envs, bool))
        return VectorState(playing.world, pool), _observation(playing.world, playing.codes)

    def step(self, state: VectorState, actions: Int[Array, "B"]) -> tuple[VectorState, TimeStep]:
        """One step of each; ended environments begin a new level at once."""
        world, reward, terminated, truncated = jax.vmap(lambda w, a: rules.step(self.env, w, a))(state.world, actions)
        final = jax.vmap(lambda w: sight.observe(self.env, w))(world)
        pool, playing, waiting = _serve(state.pool, Fresh(world, final.codes), terminated | truncated)
        pool, playing, _ = self._supply(pool, playing, waiting)
        observation = _observation(playing.world, playing.codes)
        return VectorState(playing.world, pool), TimeStep(observation, reward, terminated, truncated, final)

    def _supply_one(self, pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]):
        """Draw batches of levels and hand them out until nobody waits."""

        def again(carry):
            pool, playing, waiting = carry
            return _serve(self._restock(pool), playing, waiting)

        return jax.lax.while_loop(lambda carry: carry[2].any(), again, (pool, playing, waiting))

    def _supply_many(self, axis_size: int, in_batched: Any, pool: Pool, playing: Fresh, waiting: Bool[Array, "S B"]):
        """The same for several seeds at once: all restock when one must, so that no batch of levels is thrown away."""

        def full(batched, leaf):
            return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        carry = jax.tree.map(full, tuple(in_batched), (pool, playing, waiting))

        def again(carry):
            pool, playing, waiting = carry
            return jax.vmap(_serve)(jax.vmap(self._restock)(pool), playing, waiting)

        out = jax.lax.while_loop(lambda carry: carry[2].any(), again, carry)
        return out, jax.tree.map(lambda _: True, out)

    def _restock(self, pool: Pool) -> Pool:
        """Put a batch of new levels on top of the pool, if there is room for one."""
        key, key_levels = jax.random.split(pool.key)
        words = jax.random.bits(key_levels, (self.batch, self.env.num_words))
        world, kept = jax.vmap(self.env.attempt)(words)
        codes = jax.vmap(lambda w: sight.observe(self.env, w).codes)(world)
        order = jnp.argsort(~kept)  # the kept ones first
        room = pool.count <= self.batch
        start = jnp.minimum(pool.count, self.batch)

        def put(held, new):
            old = jax.lax.dynamic_slice_in_dim(held, start, self.batch)
            return jax.lax.dynamic_update_slice_in_dim(held, jnp.where(room, new[order], old), start, 0)

        fresh = jax.tree.map(put, pool.fresh, Fresh(world, codes))
        return Pool(fresh, pool.count + jnp.where(room, kept.sum(dtype=jnp.int32), 0), key)


def _serve(pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh, Bool[Array, "B"]]:
    """Give levels from the top of the pool to those who wait, as far as they last."""
    rank = jnp.cumsum(waiting, dtype=jnp.int32)
    gets = waiting & (rank <= pool.count)
    slot = jnp.maximum(pool.count - rank, 0)

    def give(held, own):
        taken = held.at[slot].get(mode="promise_in_bounds")
        return jnp.where(gets.reshape(-1, *[1] * (own.ndim - 1)), taken, own)

    playing = jax.tree.map(give, pool.fresh, playing)
    count = jnp.maximum(pool.count - rank[-1], 0)
    return pool._replace(count=count), playing, waiting & ~gets


def _observation(world: World, codes: UInt8[Array, "B 7 7"]) -> Observation:
    return Observation(codes, world.direction, world.mission)


def _blank(env: Level) -> Fresh:
    shape = jax.eval_shape(env.attempt, jax.ShapeDtypeStruct((env.num_words,), jnp.uint32))[0]
    world = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    return Fresh(world, jnp.zeros((VIEW, VIEW), jnp.uint8))


def _tile(fresh: Fresh, number: int) -> Fresh:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), fresh)
