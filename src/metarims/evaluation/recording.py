"""Recording episodes with everything that the viewer shows."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, UInt8

from metarims.agents.agent import AgentOutput
from metarims.agents.core import Metrics, ModuleMetrics
from metarims.agents.reading import by_row
from metarims.config import PPO
from metarims.evaluation.ablations import NO_ABLATION, Ablation
from metarims.evaluation.episodes import EpisodeRecord
from metarims.evaluation.evaluate import (
    PixelPolicy,
    act,
    check_backend,
    check_episodes,
    check_seed,
    evaluation_key,
    evaluation_seeds,
)
from metarims.evaluation.tables import carries, check_actions, check_words, count_actions, mission_format, tasks_of
from metarims.gridworld import make, task_rules
from metarims.gridworld import observation as obs
from metarims.gridworld.missions import MissionFormat
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.registry import tasks, time_limit
from metarims.gridworld.tiles import CODE
from metarims.gridworld.types import FIRST_EVALUATION_SEED, Observation, Pixels
from metarims.learning.returns import compute_advantages, discount
from metarims.runs.export import SavedAgent

LEVEL_KEYS = 1
"""Folded into an evaluation's key: the levels of recorded episodes."""


MAX_EPISODES = 10_000
"""Of one task: all stay in memory."""

VIEW_ELSEWHERE = "view it with --backend farama"
"""The remedy for a task that is not native."""


class Snapshot(NamedTuple):
    """A batch of environments at one moment, on the host."""

    grid: Sequence[UInt8[np.ndarray, "W H"]]
    """Rooms may differ in size."""
    position: Sequence[Int[np.ndarray, "2"]]
    direction: Sequence[int]
    view: Sequence[UInt8[np.ndarray, "7 7"]]
    mission: Sequence[str]


def record_agents(
    agents: Sequence[SavedAgent],
    env: str | None,
    backend: Literal["jax", "farama"],
    num_episodes: int,
    greedy: bool,
    seed: int = 0,
    *,
    ablation: Ablation = NO_ABLATION,
) -> list[EpisodeRecord]:
    """``num_episodes`` of each agent, all on the same levels; ``env`` None is the training task. The tasks of a
    mixture share the episodes."""
    check_episodes(num_episodes, MAX_EPISODES)
    check_backend(backend)
    episodes = []
    for saved in agents:
        played = tasks_of(saved, env)
        for task in played:
            check_actions(saved, task, count_actions(task, backend, VIEW_ELSEWHERE))
            if backend == "jax":
                check_words(saved, task, ablation)
        recorded: list[EpisodeRecord] = []
        for task, share in share_out(num_episodes, played):
            how = {"carry": carries(saved), "ablation": ablation}
            words = mission_format(saved, task, ablation)
            recorded += record_episodes(saved.agent, task, share, greedy, backend, seed, words, **how)
        episodes += add_advantages(recorded, saved.config.ppo, time_limit("+".join(played)))
    return episodes


def add_advantages(episodes: Sequence[EpisodeRecord], ppo: PPO, limit: int | None) -> list[EpisodeRecord]:
    """One agent's episodes with advantages as in training on tasks with this time limit; a discount that depends on the
    length of its successful episodes (``PPO.discount``) is that of the successful ones among these."""
    lengths = [len(episode.actions) for episode in episodes if episode.success]
    gamma = float(discount(ppo, float(np.mean(lengths)) if lengths else None, limit))
    return [episode._replace(advantages=_advantages(episode, ppo, gamma)) for episode in episodes]


def _advantages(episode: EpisodeRecord, ppo: PPO, gamma: float) -> Float[np.ndarray, " T"]:
    """Generalized advantages; where time ran out, the value after the last step is taken to be that before it."""
    last = np.arange(len(episode.actions)) == len(episode.actions) - 1
    rewards = episode.rewards[:, None] * np.float32(ppo.reward_scale)
    values, terminated = jnp.asarray(episode.values)[:, None], jnp.asarray(last & episode.terminated)[:, None]
    truncated = jnp.asarray(last & (not episode.terminated))[:, None]
    known = jnp.asarray(rewards), values, terminated, truncated, values, values[-1]
    advantages, _ = compute_advantages(*known, gamma=gamma, gae_lambda=ppo.gae_lambda)
    return np.asarray(advantages[:, 0])


class RandomAgent(eqx.Module):
    """Acts uniformly at random. It has the interface of ``agents.agent.Agent``, no parameters and no modules, and its
    value is NaN."""

    num_actions: int = eqx.field(static=True)

    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> None:
        """No tables."""

    def initial_state(self, num_envs: int) -> Float[Array, " B"]:
        """One unused number per environment: a random agent has no recurrent state."""
        return jnp.zeros(num_envs)

    def reset(self, state: Float[Array, " B"], done: Bool[Array, " B"]) -> Float[Array, " B"]:
        """Unchanged."""
        return state

    def step(
        self, tables: None, observation: Observation | Pixels, state: Float[Array, " B"]
    ) -> tuple[Any, AgentOutput]:
        """Uniform logits."""
        batch = len(state)
        return state, AgentOutput(jnp.zeros((batch, self.num_actions)), jnp.full(batch, jnp.nan), ())


def record_random(env: str, backend: Literal["jax", "farama"], num_episodes: int, seed: int = 0) -> list[EpisodeRecord]:
    """Episodes of a uniformly random agent. A mixture's tasks share the episodes."""
    check_episodes(num_episodes, MAX_EPISODES)
    check_backend(backend)
    episodes = []
    for task, share in share_out(num_episodes, tasks(env)):
        agent = RandomAgent(count_actions(task, backend, VIEW_ELSEWHERE))
        episodes += record_episodes(agent, task, share, False, backend, seed, MissionFormat(None))
    return episodes


def share_out(num_episodes: int, tasks: Sequence[str]) -> list[tuple[str, int]]:
    """The number of episodes of each task that has any; the first tasks get the remainder."""
    shares = [num_episodes // len(tasks) + (index < num_episodes % len(tasks)) for index in range(len(tasks))]
    return [(task, share) for task, share in zip(tasks, shares, strict=True) if share]


@in_32_bits
def record_episodes(
    agent: Any,
    env: str,
    num_episodes: int,
    greedy: bool,
    backend: Literal["jax", "farama"] = "jax",
    seed: int = 0,
    mission_format: MissionFormat = MissionFormat(),  # noqa: B008  (a constant)
    *,
    carry: bool = False,
    ablation: Ablation = NO_ABLATION,
) -> list[EpisodeRecord]:
    """Play ``num_episodes`` levels chosen by ``seed``, in parallel; with ``carry`` in sequence, each from the last
    recurrent state."""
    check_episodes(num_episodes, MAX_EPISODES)
    check_backend(backend)
    check_seed(seed)
    ablation.check(greedy)
    first = FIRST_EVALUATION_SEED + seed * MAX_EPISODES
    seed_of = evaluation_seeds(first, num_episodes) if backend == "farama" else range(num_episodes)
    key = evaluation_key(seed)
    num_envs = 1 if carry else num_episodes
    if backend == "farama":
        player: JaxBackend | FaramaBackend = FaramaBackend(
            agent, env, num_envs, first, key, greedy, mission_format, ablation
        )
    else:
        player = JaxBackend(agent, env, num_envs, key, greedy, ablation)
    episodes = []
    for number in range(0, num_episodes, num_envs):
        player.begin(number)
        played = _play(player, num_envs, carry, ablation.temperature)
        episodes += [
            _cut(played, index, env=env, backend=backend, level_seed=seed_of[number + index])
            for index in range(num_envs)
        ]
    return episodes


class JaxBackend:
    """Our environment; ``decide`` returns the agent's actions and output. Level seeds are episode numbers."""

    def __init__(self, agent: Any, env: str, num_envs: int, key: PRNGKeyArray, greedy: bool, ablation: Ablation):
        self.agent, self.level, self.num_envs = ablation.apply(agent), make(env), num_envs
        self.how = jnp.asarray(greedy), jax.tree.map(jnp.asarray, ablation.of_policy)
        key_levels, self.key = jax.random.split(key)
        self.key_levels = jax.random.fold_in(key_levels, LEVEL_KEYS)
        self.state = self.agent.initial_state(num_envs)
        self.missions: Sequence[str] = ()

    def begin(self, first: int) -> None:
        self.world, self.observation = _begin(self.level, first + jnp.arange(self.num_envs), self.key_levels)
        self.missions = self.level.texts(self.world)

    def snapshot(self) -> Snapshot:
        world = jax.tree.map(np.asarray, self.world)
        position, views = np.stack([world.x, world.y], -1), np.asarray(self.observation.codes)
        return Snapshot(list(world.grid & CODE), list(position), world.direction.tolist(), list(views), self.missions)

    def decide(self, is_first: Bool[np.ndarray, " B"]) -> tuple[Int[np.ndarray, " B"], Any]:
        tokens, seen = jnp.asarray(self.level.mission_tokens), self.observation
        if self.level.drawn_words:
            tokens, seen = seen.mission, by_row(seen)
        known = tokens, self.state, jnp.asarray(is_first), self.key, *self.how
        self.key, self.state, output, actions = act(self.agent, seen, *known)
        return np.asarray(actions), output

    def step(self, actions: Int[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.key, outcome, self.observation = _step(self.level, self.world, jnp.asarray(actions), self.key)
        self.world = outcome.state
        return np.asarray(outcome.reward), np.asarray(outcome.terminated), np.asarray(outcome.truncated)


@eqx.filter_jit
def _begin(level, numbers, key):
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
    world = jax.vmap(level.reset)(keys)
    return world, jax.vmap(lambda w: obs.observe(level, w))(world)


@eqx.filter_jit
def _step(level, world, actions, key):
    key, key_world = jax.random.split(key)
    keys = jax.random.split(key_world, len(actions))
    bits = jax.vmap(lambda key: jax.random.bits(key, (level.num_obstacles,)))(keys)
    outcome = jax.vmap(partial(task_rules.step, level))(world, actions, bits)
    return key, outcome, jax.vmap(lambda w: obs.observe(level, w))(outcome.state)


class FaramaBackend:
    """The same for Gymnasium's environments, observed as pictures."""

    def __init__(
        self,
        agent: Any,
        env: str,
        num_envs: int,
        first_seed: int,
        key: PRNGKeyArray,
        greedy: bool,
        mission_format: MissionFormat,
        ablation: Ablation,
    ):
        from metarims.gridworld.farama import FaramaBatch

        self.batch, self.first_seed = FaramaBatch(env, num_envs, mission_format), first_seed
        self.policy = PixelPolicy(agent, num_envs, key, greedy, ablation)

    def begin(self, first: int) -> None:
        self.batch.reset(evaluation_seeds(self.first_seed + first, self.batch.num_envs))

    def snapshot(self) -> Snapshot:
        scenes = [self.batch.scene(index) for index in range(self.batch.num_envs)]
        return Snapshot(*map(list, zip(*scenes, strict=True)), mission=list(self.batch.missions))  # pyright: ignore

    def decide(self, is_first: Bool[np.ndarray, " B"]) -> tuple[Int[np.ndarray, " B"], Any]:
        actions = self.policy(self.batch.pixels(), self.batch.mission_tokens, is_first)
        return actions, self.policy.output

    def step(self, actions: Int[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step = self.batch.step(actions)
        return step.reward, step.terminated, step.truncated


class _Played(NamedTuple):
    """A batch of episodes, time-major, each valid up to its end."""

    snapshots: list[Snapshot]
    outputs: list[Any]
    temperature: float
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


def _play(player: JaxBackend | FaramaBackend, num_envs: int, carry: bool, temperature: float) -> _Played:
    """Step all episodes until each has ended."""
    is_first, active = np.full(num_envs, not carry), np.ones(num_envs, bool)
    snapshots, outputs, steps = [player.snapshot()], [], []
    while active.any():
        actions, output = player.decide(is_first)
        reward, terminated, truncated = player.step(actions)
        snapshots.append(player.snapshot())
        outputs.append(jax.tree.map(np.asarray, output))
        steps.append((actions, reward, terminated, truncated))
        active &= ~(terminated | truncated)
        is_first = np.zeros(num_envs, bool)
    columns = [np.stack(column) for column in zip(*steps, strict=True)]
    return _Played(snapshots, outputs, temperature, *columns)


def _cut(played: _Played, index: int, **known: Any) -> EpisodeRecord:
    """One episode of the batch, up to its end."""
    length = int(np.argmax((played.terminated | played.truncated)[:, index])) + 1
    snapshots = played.snapshots[: length + 1]
    outputs = played.outputs[:length]
    missions = [snapshot.mission[index] for snapshot in snapshots]
    return EpisodeRecord(
        **known,
        mission=missions[0],
        mission_changes=[(t, missions[t]) for t in range(1, length + 1) if missions[t] != missions[t - 1]],
        grid=np.stack([snapshot.grid[index] for snapshot in snapshots]),
        position=np.stack([snapshot.position[index] for snapshot in snapshots]).astype(np.int32),
        direction=np.array([snapshot.direction[index] for snapshot in snapshots], np.int32),
        view=np.stack([snapshot.view[index] for snapshot in snapshots]),
        actions=played.actions[:length, index].astype(np.int32),
        rewards=played.rewards[:length, index].astype(np.float32),
        values=np.array([output.value[index] for output in outputs], np.float32),
        policy=np.stack([_softmax(output.logits[index] / played.temperature) for output in outputs]),
        **_module_metrics([output.metrics for output in outputs], index),
        terminated=bool(played.terminated[length - 1, index]),
        truncated=bool(played.truncated[length - 1, index]),
    )


def _module_metrics(metrics: Sequence[Metrics], index: int) -> dict[str, Any]:
    """The modules' part of an episode; a core that reports none has no modules (M = 0)."""
    modules = [found for found in metrics if isinstance(found, ModuleMetrics)]
    if not modules:
        none = np.zeros((len(metrics), 0, 0), np.float32)
        return {"active": none.any(-1), "input_attention": none.sum(-1), "communication": none}
    known = [name for name in ModuleMetrics._fields if getattr(modules[0], name) is not None]
    return {name: np.stack([getattr(found, name)[index] for found in modules]) for name in known}


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()
