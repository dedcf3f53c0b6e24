"""Reading missions that are not all in a table from the start.

Some are drawn with each level: while acting, what was read is kept beside the environments until an episode ends; in
learning each mission of a minibatch is read once. Those of environments on the host come up in the middle of a rollout.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Integer

from metarims.agents.encoder import EmbeddingTables, Encoder, read_missions
from metarims.gridworld.batching import with_batch_rule
from metarims.gridworld.types import Observation, TimeStep

CHUNK = 8
"""Missions read at a time, at least."""


def is_drawn(observation: Any) -> bool:
    """Whether the mission of an observation is its words, not the row of a table."""
    return isinstance(observation, Observation) and observation.mission.ndim > observation.direction.ndim


def by_row(observation: Observation) -> Observation:
    """The same observation with the number of its environment as the row of its mission."""
    return observation._replace(mission=jnp.arange(observation.direction.size).reshape(observation.direction.shape))


def read_again(agent: Any, tables: Any, tokens: Integer[Array, "B L"], fresh: Bool[Array, " B"]) -> Any:
    """Tables with one row per environment, after the missions of the ``fresh`` ones have changed."""
    if getattr(tables, "missions", None) is None:
        return tables
    number = fresh.shape[0]
    size = min(number, max(CHUNK, number // 16))

    def go(carry):
        tables, left = carry
        chosen = jnp.nonzero(left, size=size, fill_value=number)[0]
        tables = _set_rows(tables, chosen, agent.tables(tokens.at[chosen].get(mode="clip")))
        return tables, left.at[chosen].set(False, mode="drop")

    return jax.lax.while_loop(lambda carry: carry[1].any(), go, (tables, fresh))[0]


def _set_rows(tables: EmbeddingTables, rows: Int[Array, " n"], new: EmbeddingTables) -> EmbeddingTables:
    """The tables with these rows of missions replaced; rows beyond the end are dropped."""
    film = None if tables.film is None else tables.film.at[rows].set(new.film, mode="drop")
    missions = None if tables.missions is None else tables.missions.at[rows].set(new.missions, mode="drop")
    return tables._replace(film=film, missions=missions)


def update_mission_rows(
    agent: Any, tables: Any, mission_tokens: Int[Array, "R L"], changed: Bool[Array, ""], time_step: TimeStep
) -> Any:
    """An agent's tables after a step that may have ``changed`` rows of the table of missions: those it refers to, anew.

    For several seeds at once it is done for all, or, mostly, for none. Agents that read no missions need none.
    """
    if tables.missions is None:
        return tables
    rows = jnp.concatenate([time_step.observation.mission, time_step.final_observation.mission])
    return _update(agent, tables, mission_tokens, rows, changed)


def _write(agent, tables, mission_tokens, rows):
    return _set_rows(tables, rows, agent.tables(mission_tokens[rows]))


def _write_all(*args):
    return jax.lax.cond(args[-1].any(), jax.vmap(_write), lambda *args: args[1], *args[:-1])


def _write_one(*args):
    return jax.lax.cond(args[-1], _write, lambda *args: args[1], *args[:-1])


_update = with_batch_rule(_write_all, _write_one)


def read_spans(encoder: Encoder, tokens: Integer[Array, "T P L"]) -> tuple[EmbeddingTables, Int[Array, "T P"]]:
    """Tables of the missions that occur in spans of experience, and their rows; each run of a mission is read once."""
    steps, spans, length = tokens.shape
    tables = encoder.tables(jnp.zeros((1, length), jnp.int32))
    if encoder.mission is None:
        return tables, jnp.zeros((steps, spans), jnp.int32)
    is_new = jnp.concatenate([jnp.ones((1, spans), bool), (tokens[1:] != tokens[:-1]).any(-1)]).T.reshape(-1)
    rows = (jnp.cumsum(is_new, dtype=jnp.int32) - 1).reshape(spans, steps).T
    first = jnp.nonzero(is_new, size=steps * spans, fill_value=0)[0]
    distinct = jnp.swapaxes(tokens, 0, 1).reshape(-1, length)[first].astype(jnp.int32)
    number = is_new.sum(dtype=jnp.int32)
    read: Any = _read(max(CHUNK, spans // 4), encoder.mission_weights(), distinct, number)
    return tables._replace(film=read[0], missions=read[1]), rows


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _read(size: int, weights: Any, tokens: Integer[Array, "N L"], number: Int[Array, ""]) -> Any:
    """What ``read_missions`` gives for the first ``number`` missions, so many at a time; zeros for the rest."""
    padded = jnp.pad(tokens, ((0, -len(tokens) % size), (0, 0)))
    shapes = jax.eval_shape(read_missions, weights, padded)
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def go(carry):
        start, found = carry
        new = read_missions(weights, jax.lax.dynamic_slice_in_dim(padded, start, size))
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return start + size, jax.tree.map(write, found, new)

    return jax.lax.while_loop(lambda carry: carry[0] < number, go, (jnp.int32(0), blank))[1]


def _read_forward(size, weights, tokens, number):
    return _read(size, weights, tokens, number), (weights, tokens, number)


def _read_backward(size, residuals, gradient):
    weights, tokens, number = residuals
    padded = jnp.pad(tokens, ((0, -len(tokens) % size), (0, 0)))

    def go(carry):
        start, total = carry
        here = jax.lax.dynamic_slice_in_dim(padded, start, size)
        _, pull = jax.vjp(lambda weights: read_missions(weights, here), weights)
        (part,) = pull(jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), gradient))
        return start + size, jax.tree.map(jnp.add, total, part)

    zero = jax.tree.map(jnp.zeros_like, weights)
    return jax.lax.while_loop(lambda carry: carry[0] < number, go, (jnp.int32(0), zero))[1], None, None


_read.defvjp(_read_forward, _read_backward)
