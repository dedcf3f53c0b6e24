"""Missions that come up for the first time in the middle of a rollout (environments on the host)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from metarims.gridworld.batching import with_batch_rule
from metarims.gridworld.types import TimeStep


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
    new = agent.tables(mission_tokens[rows])
    film = None if tables.film is None else tables.film.at[rows].set(new.film)
    return tables._replace(film=film, missions=tables.missions.at[rows].set(new.missions))


def _write_all(*args):
    return jax.lax.cond(args[-1].any(), jax.vmap(_write), lambda *args: args[1], *args[:-1])


def _write_one(*args):
    return jax.lax.cond(args[-1], _write, lambda *args: args[1], *args[:-1])


_update = with_batch_rule(_write_all, _write_one)
