"""Collecting experience: an agent acts in a batch of environments."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from metarims.agents.agent import Agent
from metarims.agents.core import State
from metarims.agents.encoder import EmbeddingTables
from metarims.agents.reading import by_row, is_drawn, read_again, update_mission_rows
from metarims.gridworld.types import Observation, VectorEnv
from metarims.learning.diagnostics import measure_activity


class Actor(NamedTuple):
    """The state of acting between two steps."""

    env: PyTree
    """State of the batch of environments."""
    observation: Observation
    is_first: Bool[Array, " B"]
    """Whether ``observation`` is the first of an episode."""
    core: State
    episode_return: Float[Array, " B"]
    """Reward so far in the running episode."""
    episode_length: Int[Array, " B"]
    """Steps so far in the running episode."""


class Rollout(NamedTuple):
    """Experience, time-major. Views are kept as tile codes, 49 bytes each, where pixels would be 9,408."""

    observation: Observation
    is_first: Bool[Array, "T B"]
    action: Int[Array, "T B"]
    log_prob: Float[Array, "T B"]
    value: Float[Array, "T B"]
    reward: Float[Array, "T B"]
    terminated: Bool[Array, "T B"]
    truncated: Bool[Array, "T B"]
    truncation_value: Float[Array, "T B"]
    """Value of the final view of a truncated episode; zero elsewhere."""
    bootstrap_value: Float[Array, " B"]
    """Value of the observation after the last step."""
    core: State
    """The recurrent state before every span: leading axes T/span, B."""


class Episodes(NamedTuple):
    """Sums over the episodes that ended; in a mixture, over those of each of its K tasks."""

    number: Int[Array, "*K"]
    returns: Float[Array, "*K"]
    successes: Int[Array, "*K"]
    length: Int[Array, "*K"]
    success_length: Int[Array, "*K"]
    """Steps of the successful ones."""


class _Truncations(NamedTuple):
    """Episodes truncated during a rollout: what is needed to compute the value of their final view."""

    observation: Observation
    core: State
    read: Any
    """Where missions are drawn: what the agent read of each (``EmbeddingTables.film`` and ``missions``)."""
    number: Int[Array, " B"]


def init_actor(agent: Agent, envs: VectorEnv, key: PRNGKeyArray) -> Actor:
    """An actor at the beginning of its first episodes."""
    env, observation = envs.reset(key)
    return Actor(
        env=env,
        observation=observation,
        is_first=jnp.ones(envs.num_envs, bool),
        core=agent.initial_state(envs.num_envs, jax.random.fold_in(key, 1)),
        episode_return=jnp.zeros(envs.num_envs),
        episode_length=jnp.zeros(envs.num_envs, jnp.int32),
    )


def collect_rollout(
    agent: Agent,
    tables: EmbeddingTables,
    envs: VectorEnv,
    actor: Actor,
    key: PRNGKeyArray,
    *,
    num_steps: int,
    span: int,
    carry: bool,
) -> tuple[Actor, Rollout, tuple[Episodes, Any]]:
    """Act for ``num_steps``; ``carry`` keeps the recurrent state across episodes' ends."""
    # No episode is truncated before max_steps, a mixture's shortest limit: so many final views are kept.
    num_slots = 1 + (num_steps - 1) // envs.max_steps
    drawn = is_drawn(actor.observation) and tables.missions is not None
    if drawn:
        tables = agent.tables(actor.observation.mission)

    def step(scan_carry, _):
        actor, truncations, key, updated = scan_carry
        key, key_act = jax.random.split(key)
        is_first = jnp.zeros_like(actor.is_first) if carry else actor.is_first
        known = tables if updated is None else updated
        seen = by_row(actor.observation) if drawn else actor.observation
        core, output = agent.step(known, seen, agent.reset(actor.core, is_first))
        action = jax.random.categorical(key_act, output.logits)
        env, time_step = envs.step(actor.env, action)
        done = time_step.terminated | time_step.truncated
        if drawn:
            updated = read_again(agent, updated, time_step.observation.mission, done)
        elif updated is not None:
            updated = update_mission_rows(
                agent, updated, envs.mission_tokens(env), envs.missions_changed(env), time_step
            )
        episode_return = actor.episode_return + time_step.reward
        episode_length = actor.episode_length + 1
        transition = {
            "observation": actor.observation,
            "is_first": is_first,
            "action": action,
            "log_prob": take_log_prob(output.logits, action),
            "value": output.value,
            "reward": time_step.reward,
            "terminated": time_step.terminated,
            "truncated": time_step.truncated,
            "slot": truncations.number,
        }
        success = time_step.terminated & (time_step.reward > 0)
        episodes = count_episodes(done, episode_return, success, episode_length, _tasks(envs, actor.env))
        actor = Actor(
            env=env,
            observation=time_step.observation,
            is_first=done,
            core=core,
            episode_return=jnp.where(done, 0, episode_return),
            episode_length=jnp.where(done, 0, episode_length),
        )
        activity = measure_activity(output.metrics, transition["observation"])
        final = time_step.final_observation
        read = (known.film, known.missions) if drawn else None
        truncations = _keep_truncations(truncations, final, core, read, time_step.truncated)
        return (actor, truncations, key, updated), (transition, episodes, activity)

    def collect_span(scan_carry, _):
        core = scan_carry[0].core
        scan_carry, outputs = jax.lax.scan(step, scan_carry, length=span)
        return scan_carry, (core, outputs)

    def stack(leaf):
        return jnp.stack([leaf] * num_slots)

    truncations = _Truncations(
        observation=jax.tree.map(stack, actor.observation),
        core=jax.tree.map(stack, actor.core),
        read=jax.tree.map(stack, (tables.film, tables.missions)) if drawn else None,
        number=jnp.zeros(envs.num_envs, jnp.int32),
    )
    # Where missions change, the tables are updated as that happens; elsewhere they stay outside of the loop.
    start = actor, truncations, key, (tables if envs.missions_change or drawn else None)
    (actor, truncations, _, updated), (cores, (steps, *sums)) = jax.lax.scan(
        collect_span, start, length=num_steps // span
    )
    steps = jax.tree.map(lambda leaf: leaf.reshape(num_steps, *leaf.shape[2:]), steps)
    slot_values, bootstrap_value = _value_ends(agent, tables if updated is None else updated, actor, truncations, carry)
    slot = steps.pop("slot")
    truncation_value = jnp.take_along_axis(slot_values, jnp.minimum(slot, num_slots - 1), axis=0)
    rollout = Rollout(
        **steps,
        truncation_value=jnp.where(steps["truncated"], truncation_value, 0),
        bootstrap_value=bootstrap_value,
        core=cores,
    )
    episodes, activity = sum_over_time(sums, time_axes=2)
    return actor, rollout, (episodes, activity)


def count_episodes(
    done: Bool[Array, " B"],
    returns: Float[Array, " B"],
    success: Bool[Array, " B"],
    length: Int[Array, " B"],
    tasks: Bool[Array, "B K"] | None = None,
) -> Episodes:
    """Sums over the environments whose episode is ``done``; ``tasks``: which of K tasks each of them played."""
    if tasks is None:
        tasks = jnp.ones((done.shape[0], 1), bool)
        return jax.tree.map(lambda sums: sums[0], count_episodes(done, returns, success, length, tasks))
    ends = done[:, None] & tasks
    return Episodes(
        number=ends.sum(0),
        returns=jnp.where(ends, returns[:, None], 0).sum(0),
        successes=(success[:, None] & tasks).sum(0),
        length=jnp.where(ends, length[:, None], 0).sum(0),
        success_length=jnp.where(success[:, None] & tasks, length[:, None], 0).sum(0),
    )


def sum_over_time(sums: PyTree, time_axes: int) -> PyTree:
    """The sums over the leading axes of time."""
    return jax.tree.map(lambda leaf: leaf.sum(tuple(range(time_axes))), sums)


def _tasks(envs: VectorEnv, env: PyTree) -> Bool[Array, "B K"] | None:
    """Which task of a mixture each environment plays."""
    return envs.task(env)[:, None] == jnp.arange(len(envs.tasks)) if len(envs.tasks) > 1 else None


def take_log_prob(logits: Float[Array, "*B A"], action: Int[Array, "*B"]) -> Float[Array, "*B"]:
    """Log-probability of the chosen actions."""
    one_hot = jax.nn.one_hot(action, logits.shape[-1], dtype=bool)
    return jnp.where(one_hot, jax.nn.log_softmax(logits), 0).sum(-1)


def _keep_truncations(
    truncations: _Truncations, final: Observation, core: State, read: Any, truncated: Bool[Array, " B"]
) -> _Truncations:
    """Keep final view and state of the environments truncated now, each in its next free slot."""

    def keep(slots, now):
        here = truncated & (jnp.arange(slots.shape[0])[:, None] == truncations.number)
        return jnp.where(here.reshape(*here.shape, *[1] * (slots.ndim - 2)), now, slots)

    return _Truncations(
        observation=jax.tree.map(keep, truncations.observation, final),
        core=jax.tree.map(keep, truncations.core, core),
        read=jax.tree.map(keep, truncations.read, read),
        number=truncations.number + truncated,
    )


def _value_ends(
    agent: Agent, tables: EmbeddingTables, actor: Actor, truncations: _Truncations, carry: bool
) -> tuple[Float[Array, "num_slots B"], Float[Array, " B"]]:
    """Values of the final views kept, and of the observation after the last step, in one call."""
    core = actor.core if carry else agent.reset(actor.core, actor.is_first)

    def join(slots, now):
        return jnp.concatenate([slots, now[None]]).reshape(-1, *now.shape[1:])

    observation = jax.tree.map(join, truncations.observation, actor.observation)
    if truncations.read is not None:
        film, missions = jax.tree.map(join, truncations.read, (tables.film, tables.missions))
        tables, observation = tables._replace(film=film, missions=missions), by_row(observation)
    _, output = agent.step(tables, observation, jax.tree.map(join, truncations.core, core))
    values = output.value.reshape(-1, actor.is_first.shape[0])
    return values[:-1], values[-1]
