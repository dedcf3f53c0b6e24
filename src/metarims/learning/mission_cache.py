"""Missions that are heard for the first time in the middle of a rollout (environments on the host)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from metarims.gridworld.types import TimeStep


def update_mission_rows(agent: Any, tables: Any, state: Any, time_step: TimeStep) -> Any:
    """An agent's tables after a step on the host: rows of missions that were just heard are computed anew.

    For several seeds at once it is done for all, or, mostly, for none. Agents that read no missions need none.
    """
    if tables.missions is None:
        return tables
    return _renew(agent, tables, state, (time_step.observation.mission, time_step.final_observation.mission))


@custom_vmap
def _renew(agent, tables, state, missions):
    return jax.lax.cond(state.changed, _write, lambda *args: args[1], agent, tables, state, missions)


@_renew.def_vmap
def _renew_many(num_seeds, in_batched, *args):
    def full(batched, leaf):
        return leaf if batched else jnp.broadcast_to(leaf, (num_seeds, *leaf.shape))

    args = jax.tree.map(full, tuple(in_batched), args)
    out = jax.lax.cond(args[2].changed.any(), jax.vmap(_write), lambda *args: args[1], *args)
    return out, jax.tree.map(lambda _: True, out)


def _write(agent, tables, state, missions):
    rows = jnp.concatenate(missions)
    fresh = agent.tables(state.missions[rows])
    film = None if tables.film is None else tables.film.at[rows].set(fresh.film)
    return tables._replace(film=film, missions=tables.missions.at[rows].set(fresh.missions))
