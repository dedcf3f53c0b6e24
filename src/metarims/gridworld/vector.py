"""Many worlds in step, with automatic resets whose cost follows the rate at which episodes end.

New levels are drawn a batch at a time into a small pool. Environments whose episode ended take from the pool; only when
it is empty is the next batch drawn. What Farama would reject and draw again is left out of the pool, so nobody waits.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, Int32, PRNGKeyArray, UInt8, UInt32

from metarims.errors import UserError
from metarims.gridworld import observation as obs
from metarims.gridworld import task_rules
from metarims.gridworld.levels.base import Level
from metarims.gridworld.prng import random_bits
from metarims.gridworld.state import EnvState
from metarims.gridworld.types import VIEW, Observation, TimeStep


class Fresh(NamedTuple):
    """Worlds at the start of an episode, with the first view of each (so that it is computed once per level)."""

    world: EnvState
    codes: UInt8[Array, "P 7 7"]
    then: UInt8[Array, "P"]
    """The source of the level to be played after this one."""


class Pool(NamedTuple):
    """Levels ready to be played: one queue, first in, first out, for each of the K sources, all in one array.

    Each source has room for two batches in ``fresh``; a queue holds the places of the levels that are kept.
    """

    fresh: Fresh
    queue: Int32[Array, "P"]
    """Places in ``fresh``; each source's queue has its own part, as in ``fresh``."""
    head: Int32[Array, "K"]
    """Where each queue begins, counted from the begin of its part; it wraps round."""
    size: Int32[Array, "K"]
    """How many levels are left in each queue."""
    latest: Int32[Array, "K"]
    """How many levels of each source's latest batch were kept. While a queue is longer than this, levels of the batch
    before are in it, whose place the next batch would take."""
    batch: Int32[Array, "K"]
    """How many batches have been drawn: with ``seed`` it determines the next one; even ones go to the first place."""
    seed: UInt32[Array, "2"]
    words: tuple[UInt32[Array, "R n"], ...]
    """Each source's random words for its next batch. Held here so that they lie in memory before they are read: XLA
    would otherwise compute them anew for every use, which makes levels three times dearer on CPU."""


class VecEnvState(NamedTuple):
    """The batch of environments."""

    world: EnvState
    pool: Pool
    then: UInt8[Array, "B"]
    """The source of each environment's next level."""
    seed: UInt32[Array, "2"]
    """For worlds that move by themselves: with ``moves`` it determines the next move."""
    moves: UInt32[Array, ""]


class VecEnv:
    """``num_envs`` environments of one level; ``reset`` and ``step`` are pure functions for jit, vmap and scan.

    Under ``vmap`` over seeds each seed sees exactly what it would see alone. The level may be a mixture of several: the
    task of each environment is then ``state.world.task``.
    """

    def __init__(self, env: Level, num_envs: int, batch: int | None = None):
        """``batch``: how many levels are drawn at a time (default: a quarter of the environments, at least 4)."""
        for name, number in (("num_envs", num_envs), ("batch", 1 if batch is None else batch)):
            if number < 1:
                raise UserError(f"{name} is {number}: it must be at least 1.")
        self.env, self.num_envs = env, num_envs
        total, share = sum(env.weights), batch or -(-num_envs // 4)
        self.batch_sizes = tuple(batch or max(4, round(share * weight / total)) for weight in env.weights)
        self._starts = np.concatenate([[0], 2 * np.cumsum(self.batch_sizes)])
        """Where each queue's place begins; it holds two batches."""
        self._supply = custom_vmap(self._supply_one)
        self._supply.def_vmap(self._supply_many)
        self._supply_groups = custom_vmap(self._supply_several)
        self._supply_groups.def_vmap(self._supply_groups_many)

    def reset(self, key: PRNGKeyArray) -> tuple[VecEnvState, Observation]:
        """New levels for all, and what the agents see."""
        key_moves, key_levels, key_tasks = jax.random.split(key, 3)
        blank, none = _blank(self.env), jnp.zeros(len(self.batch_sizes), jnp.int32)
        # Plain words: jax's check for reused keys cannot look inside ``custom_vmap``.
        queue = jnp.zeros(int(self._starts[-1]), jnp.int32)
        seed = jax.random.key_data(key_levels)
        words = tuple(self._draw_words(seed, source, 0) for source in range(len(self.batch_sizes)))
        pool = Pool(_tile(blank, len(queue)), queue, none, none, none, none, seed, words)
        tasks = self._draw_tasks(jax.random.bits(key_tasks, (self.num_envs,)))
        playing = _tile(blank, self.num_envs)._replace(then=tasks)
        pool, playing = self._supply(pool, playing, jnp.ones(self.num_envs, bool))
        seed = jax.random.key_data(key_moves)
        return VecEnvState(playing.world, pool, playing.then, seed, jnp.uint32(0)), _observation(playing)

    def step(self, state: VecEnvState, actions: Int[Array, "B"]) -> tuple[VecEnvState, TimeStep]:
        """One step of each; ended environments begin a new level at once."""
        if actions.shape != (self.num_envs,):
            raise UserError(f"Actions have the shape {actions.shape}: {self.num_envs} are needed, one per environment.")
        result = self._advance(state, actions)
        final = obs.observe(self.env, result.world)
        ended = result.terminated | result.truncated
        pool, playing = self._supply(state.pool, Fresh(result.world, final.codes, state.then), ended)
        time_step = TimeStep(_observation(playing), result.reward, result.terminated, result.truncated, final)
        return VecEnvState(playing.world, pool, playing.then, state.seed, state.moves + 1), time_step

    def _advance(self, state: VecEnvState, actions: Int[Array, "B"]) -> task_rules.StepResult:
        """The step itself; random words are drawn, in one call for all, only where something moves by itself."""
        if not self.env.num_obstacles:
            return jax.vmap(lambda w, a: task_rules.step(self.env, w, a))(state.world, actions)
        words = random_bits(state.seed, state.moves, (self.num_envs, self.env.num_obstacles))
        step = jax.vmap(lambda w, a, r: task_rules.step_with_bits(self.env, w, a, r))
        return step(state.world, actions, words)

    def _supply_one(self, pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh]:
        """Give new levels to those who wait; draw some first where there are too few."""
        return _supply(self._restock, self._is_short, self._serve, pool, playing, waiting)

    def _supply_several(self, *args: Any) -> tuple[Pool, Fresh]:
        """The same for several batches at once: all restock when one must, so that no level drawn is thrown away."""
        return _supply(jax.vmap(self._restock), jax.vmap(self._is_short), jax.vmap(self._serve), *args)

    def _supply_many(self, axis_size: int, in_batched: Any, *args: Any):
        """Under ``vmap``."""
        out = self._supply_groups(*_broadcast(axis_size, in_batched, args))
        return out, jax.tree.map(lambda _: True, out)

    def _supply_groups_many(self, axis_size: int, in_batched: Any, *args: Any):
        """Under ``vmap`` once more: all are members of one larger group."""
        args = _broadcast(axis_size, in_batched, args)
        members = len(args[2][0])
        merged = jax.tree.map(lambda leaf: leaf.reshape(axis_size * members, *leaf.shape[2:]), args)
        out = self._supply_groups(*merged)
        out = jax.tree.map(lambda leaf: leaf.reshape(axis_size, members, *leaf.shape[1:]), out)
        return out, jax.tree.map(lambda _: True, out)

    def _is_short(self, pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> Bool[Array, ""]:
        """Do more wait than there are levels, and is there room for another batch of them?"""
        wants = waiting[:, None] & (playing.then[:, None] == jnp.arange(len(self.batch_sizes)))
        return ((wants.sum(0) > pool.size) & (pool.size <= pool.latest)).any()

    def _restock(self, pool: Pool) -> Pool:
        """Add a batch of new levels at the end of each queue, where one of the two places for batches is free."""
        for source in range(len(self.batch_sizes)):
            pool = self._restock_source(pool, source)
        return pool

    def _restock_source(self, pool: Pool, source: int) -> Pool:
        """A batch more of one source, where there is room for it."""
        batch, start = self.batch_sizes[source], int(self._starts[source])
        number, size, room = pool.batch[source], pool.size[source], pool.size[source] <= pool.latest[source]
        new, kept = self._draw(source, pool.words[source])
        first = start + number % 2 * batch

        def lay(held, drawn):
            as_it_was = jax.lax.dynamic_slice_in_dim(held, first, batch)
            return jax.lax.dynamic_update_slice_in_dim(held, jnp.where(room, drawn, as_it_was), first, 0)

        turn = (pool.head[source] + size + jnp.cumsum(kept, dtype=jnp.int32) - 1) % (2 * batch)
        ends = jnp.where(kept & room, start + turn, len(pool.queue))
        added = jnp.where(room, kept.sum(dtype=jnp.int32), 0)
        number += room
        words = list(pool.words)
        words[source] = self._draw_words(pool.seed, source, number)
        return Pool(
            fresh=jax.tree.map(lay, pool.fresh, new),
            queue=pool.queue.at[ends].set(first + jnp.arange(batch), mode="drop"),
            head=pool.head,
            size=pool.size.at[source].add(added),
            latest=pool.latest.at[source].set(jnp.where(room, added, pool.latest[source])),
            batch=pool.batch.at[source].set(number),
            seed=pool.seed,
            words=tuple(words),
        )

    def _draw(self, source: int, words: UInt32[Array, "R n"]) -> tuple[Fresh, Bool[Array, "R"]]:
        """A batch of one source from its random words, and which of its levels are kept."""
        world, kept = jax.vmap(self.env.sources[source].attempt)(words[:, 1:])
        world = jax.vmap(lambda world: self.env.adopt(source, world))(world)
        return Fresh(world, obs.observe(self.env, world).codes, self._draw_tasks(words[:, 0])), kept

    def _draw_words(self, seed: UInt32[Array, "2"], source: int, batch: Any) -> UInt32[Array, "R n"]:
        """The random words of one batch of one source."""
        shape = self.batch_sizes[source], self.env.sources[source].num_words + 1
        return random_bits(seed, len(self.batch_sizes) * batch + source, shape)

    def _draw_tasks(self, words: UInt32[Array, "n"]) -> UInt8[Array, "n"]:
        """A source for each random word, by weight."""
        shares = np.cumsum(self.env.weights)[:-1] / np.sum(self.env.weights)
        bounds = np.minimum(np.floor(shares * 2.0**32), 2**32 - 1).astype(np.uint32)
        return (words[:, None] >= bounds).sum(1, dtype=jnp.uint8)

    def _serve(self, pool: Pool, playing: Fresh, waiting: Bool[Array, "B"]) -> tuple[Pool, Fresh, Bool[Array, "B"]]:
        """Give levels from the head of their source's queue to those who wait, as far as they last."""
        source = playing.then.astype(jnp.int32)
        wants = waiting[:, None] & (source[:, None] == jnp.arange(len(self.batch_sizes)))
        ranks = jnp.cumsum(wants, axis=0, dtype=jnp.int32)
        rank = ranks[:, 0] if len(self.batch_sizes) == 1 else jnp.take_along_axis(ranks, source[:, None], 1)[:, 0]
        capacity = 2 * np.array(self.batch_sizes)
        gets = waiting & (rank <= pool.size[source])
        turn = (pool.head[source] + jnp.maximum(rank - 1, 0)) % jnp.asarray(capacity)[source]
        slot = pool.queue[turn + jnp.asarray(self._starts)[source]]

        def give(held, own):
            taken = held.at[slot].get(mode="promise_in_bounds")
            return jnp.where(gets.reshape(-1, *[1] * (own.ndim - 1)), taken, own)

        given = jnp.minimum(ranks[-1], pool.size)
        pool_left = pool._replace(head=(pool.head + given) % capacity, size=pool.size - given)
        return pool_left, jax.tree.map(give, pool.fresh, playing), waiting & ~gets


def _supply(restock: Any, is_short: Any, serve: Any, pool: Pool, playing: Fresh, waiting: Any) -> tuple[Pool, Fresh]:
    """Mostly one round: draw until there are enough, then give. Where more wait than the pool can hold, again."""

    def fill(pool):
        return jax.lax.while_loop(lambda pool: is_short(pool, playing, waiting).any(), restock, pool)

    def again(carry):
        pool, playing, waiting = carry
        return serve(restock(pool), playing, waiting)

    def rounds(carry):
        pool, playing, waiting = carry
        carry = serve(fill(pool), playing, waiting)
        return jax.lax.while_loop(lambda carry: carry[2].any(), again, carry)

    # Worlds are computed once before a condition; else XLA would compute them anew for every use in ``serve``.
    return jax.lax.cond(waiting.any(), rounds, lambda carry: carry, (pool, playing, waiting))[:2]


def _broadcast(axis_size: int, batched: Any, args: Any) -> Any:
    """The arguments of a function under ``vmap``, each with the mapped axis."""

    def full(batched, leaf):
        return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return jax.tree.map(full, tuple(batched), args)


def _observation(playing: Fresh) -> Observation:
    return Observation(playing.codes, playing.world.direction, playing.world.mission)


def _blank(env: Level) -> Fresh:
    source = env.sources[0]
    shape = jax.eval_shape(source.attempt, jax.ShapeDtypeStruct((source.num_words,), jnp.uint32))[0]
    shape = jax.eval_shape(lambda world: env.adopt(0, world), shape)
    world = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    return Fresh(world, jnp.zeros((VIEW, VIEW), jnp.uint8), jnp.uint8(0))


def _tile(fresh: Fresh, number: int) -> Fresh:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), fresh)
