"""Evaluation of an agent over exactly N complete episodes, in our environments or Farama's.

Each slot of a batch plays a fixed number of episodes: to stop once any N have ended would over-represent short ones.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree, Shaped

from metarims.agents.agent import AgentOutput, policy_entropy
from metarims.agents.reading import by_row, read_again
from metarims.errors import invalid, unknown_name
from metarims.evaluation.ablations import NO_ABLATION, Ablation
from metarims.gridworld import VecEnv
from metarims.gridworld.missions import MissionFormat
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.types import FIRST_EVALUATION_SEED, Observation, Pixels

EVALUATION_DOMAIN = (0x6576616C, 0x75617465)
"""The root key of all evaluations. The first word of a training seed's key is 0."""

BACKENDS = {"farama": "Farama's environment", "jax": "JAX environment"}

MAX_EPISODES = 10_000_000
"""Per evaluation."""

BATCH_JAX, BATCH_FARAMA = 256, 32

CARRIED = 10
"""Minimum number of episodes per slot where the recurrent state is carried over."""


class Evaluation(NamedTuple):
    """N episodes of an agent."""

    success: Bool[np.ndarray, " N"]
    """The episode terminated with a positive last reward."""
    returns: Float[np.ndarray, " N"]
    """Undiscounted."""
    lengths: Int[np.ndarray, " N"]
    entropies: Float[np.ndarray, " N"]
    """Of the policy, in nats, mean over steps; NaN for Farama's environments."""


@in_32_bits
def evaluation_key(seed: int) -> PRNGKeyArray:
    """The key of an evaluation, disjoint from all training keys."""
    root = jax.random.wrap_key_data(jnp.array(EVALUATION_DOMAIN, jnp.uint32), impl="threefry2x32")
    key = jax.random.fold_in(root, seed >> 32)
    return jax.random.fold_in(key, seed & 0xFFFFFFFF)


def check_seed(seed: int) -> None:
    """Raise ``UserError`` unless the seed is valid."""
    if not 0 <= seed < 2**31:
        raise invalid("seed", seed, "it must lie between 0 and 2147483647")


def levels_of(seed: int, trained: int) -> int:
    """The seed of the levels that the agent of a training seed plays: the same alone and beside others, and no two
    agents of a run share a level."""
    return (seed << 32) + trained


def first_farama_seed(seed: int, trained: int) -> int:
    """Where these levels begin in Farama's environments (``evaluation_seeds``); the next agent's are ``MAX_EPISODES``
    later."""
    return FIRST_EVALUATION_SEED + levels_of(seed, trained) * MAX_EPISODES


def evaluation_seeds(first: int, number: int) -> list[int]:
    """``number`` level seeds from ``first`` on. NumPy takes none of 2^32 or more: there they begin again at
    ``FIRST_EVALUATION_SEED``."""
    circle = 2**32 - FIRST_EVALUATION_SEED
    seeds = range(first, first + number)
    return [seed if seed < 2**32 else FIRST_EVALUATION_SEED + (seed - FIRST_EVALUATION_SEED) % circle for seed in seeds]


def sample_actions(
    logits: Float[Array, "B A"], key: PRNGKeyArray, greedy: Bool[Array, ""], temperature: Float[Array, ""] | float
) -> Int[Array, " B"]:
    """The most likely action, or one sampled at a temperature."""
    return jnp.where(greedy, jnp.argmax(logits, axis=-1), jax.random.categorical(key, logits / temperature))


@in_32_bits
def evaluate_jax(
    agent: Any,
    level: Any,
    num_episodes: int,
    key: PRNGKeyArray,
    greedy: bool,
    *,
    ablation: Ablation = NO_ABLATION,
    carry: bool = False,
) -> Evaluation:
    """Play ``num_episodes`` in our environment, as one compiled program. ``carry``: the recurrent state carries over
    between a slot's episodes (``count_slots``)."""
    check_episodes(num_episodes)
    ablation.check(greedy)
    agent = ablation.apply(agent)
    num_envs = count_slots(num_episodes, BATCH_JAX, carry)
    quota = num_episodes // num_envs + (np.arange(num_envs) < num_episodes % num_envs)
    settings = jnp.asarray(greedy), jax.tree.map(jnp.asarray, ablation.of_policy), jnp.asarray(carry)
    played = _play(agent, level, num_envs, int(quota.max()), jnp.asarray(quota), key, *settings)
    counted = np.arange(quota.max()) < quota[:, None]
    return Evaluation(*(np.asarray(leaf)[counted] for leaf in played))


class _Slots(NamedTuple):
    """The state of the batch; at most Q episodes per slot."""

    env: PyTree
    observation: Observation
    read: Any
    """Where missions are drawn: the agent's tables, one row per slot."""
    core: PyTree
    is_first: Bool[Array, " B"]
    returns: Float[Array, " B"]
    lengths: Int[Array, " B"]
    entropies: Float[Array, " B"]
    """Sum over the running episode."""
    ended: Int[Array, " B"]
    """Finished episodes."""
    results: tuple[Shaped[Array, "B Q"], ...]
    """Success, return, length and mean entropy of each finished episode."""
    key: PRNGKeyArray


@eqx.filter_jit
def _play(
    agent: Any,
    level: Any,
    num_envs: int,
    most: int,
    quota: Int[Array, " B"],
    key: PRNGKeyArray,
    greedy: Bool[Array, ""],
    ablation: Ablation,
    carry: Bool[Array, ""],
) -> tuple[Shaped[Array, "B Q"], ...]:
    envs, slot = VecEnv(level, num_envs), jnp.arange(num_envs)
    drawn = level.drawn_words > 0
    table = agent.tables(jnp.where(ablation.no_mission, 0, jnp.asarray(level.mission_tokens)))

    def tokens_of(observation: Observation) -> Int[Array, "B L"]:
        return jnp.where(ablation.no_mission, 0, observation.mission)

    def step(now: _Slots) -> _Slots:
        key, key_act = jax.random.split(now.key)
        fresh = (now.is_first & ~carry) | ablation.no_memory
        tables, seen = (now.read, by_row(now.observation)) if drawn else (table, now.observation)
        core, output = agent.step(tables, seen, agent.reset(now.core, fresh))
        env, after = envs.step(now.env, sample_actions(output.logits, key_act, greedy, ablation.temperature))
        returns, lengths = now.returns + after.reward, now.lengths + 1
        entropies = now.entropies + policy_entropy(output.logits / ablation.temperature)
        ends = after.terminated | after.truncated
        place = jnp.where(ends & (now.ended < quota), now.ended, most)  # Beyond the last column: dropped.
        found = after.terminated & (after.reward > 0), returns, lengths, entropies / lengths
        results = tuple(
            held.at[slot, place].set(new, mode="drop") for held, new in zip(now.results, found, strict=True)
        )
        returns, lengths, entropies = (jnp.where(ends, 0, running) for running in (returns, lengths, entropies))
        ended = now.ended + ends
        read = read_again(agent, now.read, tokens_of(after.observation), ends) if drawn else None
        return _Slots(env, after.observation, read, core, ends, returns, lengths, entropies, ended, results, key)

    key_levels, key_run = jax.random.split(key)
    env, observation = envs.reset(key_levels)
    zero, none = jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
    shape = num_envs, most
    results = jnp.zeros(shape, bool), jnp.zeros(shape), jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
    is_first, core = jnp.ones(num_envs, bool), agent.initial_state(num_envs)
    read = agent.tables(tokens_of(observation)) if drawn else None
    start = _Slots(env, observation, read, core, is_first, zero, none, zero, none, results, key_run)
    return jax.lax.while_loop(lambda now: jnp.any(now.ended < quota), step, start).results


@in_32_bits
def evaluate_farama(
    agent: Any,
    env_id: str,
    num_episodes: int,
    first_seed: int,
    greedy: bool,
    mission_format: MissionFormat = MissionFormat(),  # noqa: B008  (a constant)
    *,
    ablation: Ablation = NO_ABLATION,
    carry: bool = False,
) -> Evaluation:
    """Play each level seed from ``first_seed`` on (``evaluation_seeds``) once in Gymnasium's environment, from pictures
    and mission text. ``carry`` as in ``evaluate_jax``."""
    from metarims.gridworld.farama import FaramaBatch, play

    check_episodes(num_episodes)
    ablation.check(greedy)
    batch = FaramaBatch(env_id, count_slots(num_episodes, BATCH_FARAMA, carry), mission_format)
    act = PixelPolicy(agent, batch.num_envs, evaluation_key(first_seed % 2**64), greedy, ablation)

    def policy(pixels: Pixels, mission_tokens: np.ndarray, is_first: np.ndarray) -> np.ndarray:
        return act(pixels, mission_tokens, is_first & (not carry))

    seeds = evaluation_seeds(first_seed, num_episodes)
    place = {seed: index for index, seed in enumerate(seeds)}
    episodes = sorted(play(batch, seeds, policy), key=lambda episode: place[episode.seed])
    return Evaluation(
        np.array([episode.success for episode in episodes]),
        np.array([episode.episode_return for episode in episodes]),
        np.array([episode.length for episode in episodes]),
        np.full(len(episodes), np.nan),
    )


def count_slots(num_episodes: int, most: int, carry: bool) -> int:
    """The number of environments. A slot's first episode starts from a zero state: where the state is carried over,
    there are so few slots that this is at most one episode in ``CARRIED``."""
    return min(max(1, num_episodes // CARRIED) if carry else num_episodes, most)


class PixelPolicy:
    """An agent and its recurrent state (reset where ``is_first``): a function from pixels and missions to actions."""

    @in_32_bits
    def __init__(self, agent: Any, num_envs: int, key: PRNGKeyArray, greedy: bool, ablation: Ablation = NO_ABLATION):
        self.agent, self.key, self.greedy = ablation.apply(agent), key, jnp.asarray(greedy)
        self.ablation = jax.tree.map(jnp.asarray, ablation.of_policy)
        self.state = self.agent.initial_state(num_envs)
        self.output: Any = None
        """The agent's last output."""

    @in_32_bits
    def __call__(
        self, pixels: Pixels, mission_tokens: Int[np.ndarray, "B L"], is_first: Bool[np.ndarray, " B"]
    ) -> Int[np.ndarray, " B"]:
        pixels = Pixels(jnp.asarray(pixels.image), jnp.asarray(pixels.mission))
        played = jnp.asarray(mission_tokens), self.state, jnp.asarray(is_first), self.key, self.greedy, self.ablation
        self.key, self.state, self.output, action = act(self.agent, pixels, *played)
        return np.asarray(action)


@eqx.filter_jit
def act(
    agent: Any,
    seen: Observation | Pixels,
    mission_tokens: Integer[Array, "num_missions L"],
    state: PyTree,
    is_first: Bool[Array, " B"],
    key: PRNGKeyArray,
    greedy: Bool[Array, ""],
    ablation: Ablation,
) -> tuple[PRNGKeyArray, PyTree, AgentOutput, Int[Array, " B"]]:
    """One step of an agent: next key and recurrent state (reset before where ``is_first``), output and actions."""
    key, key_act = jax.random.split(key)
    tables = agent.tables(jnp.where(ablation.no_mission, 0, mission_tokens))
    state, output = agent.step(tables, seen, agent.reset(state, is_first | ablation.no_memory))
    return key, state, output, sample_actions(output.logits, key_act, greedy, ablation.temperature)


def check_backend(backend: str) -> None:
    """Raise ``UserError`` for an unknown backend."""
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)


def check_episodes(num_episodes: int, most: int = MAX_EPISODES) -> None:
    """Raise ``UserError`` unless the number is valid."""
    if num_episodes < 1:
        raise invalid("episodes", num_episodes, "at least one must be played")
    if num_episodes > most:
        raise invalid("episodes", num_episodes, f"at most {most:,} can be played")
