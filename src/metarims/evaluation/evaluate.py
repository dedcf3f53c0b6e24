"""How well an agent does: exactly N episodes, each played to its end, in our world or in Farama's.

Every slot of a batch plays a number of episodes that is fixed beforehand. To stop when N have ended, whichever they
are, would count short episodes too often.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree, Shaped

from metarims.agents.agent import AgentOutput, policy_entropy
from metarims.errors import UserError, format_value, unknown_name
from metarims.gridworld import VecEnv
from metarims.gridworld.missions import MissionFormat
from metarims.gridworld.types import FIRST_EVALUATION_SEED, Observation, Pixels

EVALUATION_DOMAIN = (0x6576616C, 0x75617465)
"""The two words of the key from which every evaluation's come. A training seed's key has a first word of 0."""

BACKENDS = {"farama": "Farama's environment", "jax": "JAX environment"}

MAX_EPISODES = 10_000_000
"""Of one evaluation."""

BATCH_JAX, BATCH_FARAMA = 256, 32

CARRIED = 10
"""Episodes for each slot, at least, where the recurrent state is carried from one to the next."""


LEAST_TEMPERATURE = 1e-3
"""Below it the sampled policy is the greedy one, and logits could overflow."""


class Ablation(NamedTuple):
    """What is taken from an agent, or changed in its policy, while it is evaluated."""

    temperature: float = 1.0
    """Divides the policy's logits: above 1 the sampled policy is more uniform, at infinity it is uniform."""
    no_memory: bool = False
    """Reset the recurrent state at every step."""
    no_mission: bool = False
    """Replace all mission tokens by padding."""

    def check(self, greedy: bool) -> None:
        """Raise ``UserError`` unless the temperature is valid for this policy."""
        if not self.temperature >= LEAST_TEMPERATURE:
            raise UserError(
                f"temperature is {self.temperature:g}: it must be at least {LEAST_TEMPERATURE:g}. For the likeliest "
                "action at each step choose the greedy policy.",
                field="temperature",
                value=self.temperature,
            )
        if greedy and self.temperature != 1:
            raise UserError(
                f"temperature is {self.temperature:g}, but it does not change the greedy policy: leave it out, or "
                "choose the sampled policy.",
                field="temperature",
                value=self.temperature,
            )

    def describe(self, policy: str) -> list[str]:
        """The policy, with its temperature, and each ablation."""
        sampled = policy if self.temperature == 1 else f"{policy} at temperature {self.temperature:g}"
        return [sampled] + ["without memory"] * self.no_memory + ["without mission"] * self.no_mission


NO_ABLATION = Ablation()


class Evaluation(NamedTuple):
    """N episodes of one agent."""

    success: Bool[np.ndarray, " N"]
    """The episode terminated with a positive last reward."""
    returns: Float[np.ndarray, " N"]
    """Undiscounted."""
    lengths: Int[np.ndarray, " N"]
    entropies: Float[np.ndarray, " N"]
    """Of the policy, in nats, mean over the episode's steps; NaN in Farama's environment, where it is not measured."""


def evaluation_key(seed: int) -> PRNGKeyArray:
    """The key of an evaluation: the same seed gives the same levels and draws, none of them training's."""
    root = jax.random.wrap_key_data(jnp.array(EVALUATION_DOMAIN, jnp.uint32), impl="threefry2x32")
    key = jax.random.fold_in(root, seed >> 32)
    return jax.random.fold_in(key, seed & 0xFFFFFFFF)


def check_seed(seed: int) -> None:
    """Raise ``UserError`` unless it can be the seed of an evaluation."""
    if not 0 <= seed < 2**31:
        raise UserError(f"seed is {seed}: it must lie between 0 and 2147483647.")


def levels_of(seed: int, trained: int) -> int:
    """Which levels an evaluation of this seed plays with the agent of a training seed: the seed of their key.

    So an agent plays the same ones beside others and alone, and no two agents of a run play one level.
    """
    return (seed << 32) + trained


def first_farama_seed(seed: int, trained: int) -> int:
    """Where these levels begin in Farama's environments; there is room for ``MAX_EPISODES`` before the next ones."""
    return FIRST_EVALUATION_SEED + levels_of(seed, trained) * MAX_EPISODES


def choose(
    logits: Float[Array, "B A"], key: PRNGKeyArray, greedy: Bool[Array, ""], temperature: Float[Array, ""] | float
) -> Int[Array, " B"]:
    """The likeliest action, or one drawn from the policy at a temperature."""
    return jnp.where(greedy, jnp.argmax(logits, axis=-1), jax.random.categorical(key, logits / temperature))


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
    """Play ``num_episodes`` in our world; one compiled program.

    ``carry``: the recurrent state runs on from a slot's episode to its next (see ``count_slots``).
    """
    check_episodes(num_episodes)
    ablation.check(greedy)
    num_envs = count_slots(num_episodes, BATCH_JAX, carry)
    quota = num_episodes // num_envs + (np.arange(num_envs) < num_episodes % num_envs)
    settings = jnp.asarray(greedy), jax.tree.map(jnp.asarray, ablation), jnp.asarray(carry)
    played = _play(agent, level, num_envs, int(quota.max()), jnp.asarray(quota), key, *settings)
    counted = np.arange(quota.max()) < quota[:, None]
    return Evaluation(*(np.asarray(leaf)[counted] for leaf in played))


class _Slots(NamedTuple):
    """Where the batch stands; Q episodes at most per slot."""

    env: PyTree
    observation: Observation
    core: PyTree
    is_first: Bool[Array, " B"]
    returns: Float[Array, " B"]
    lengths: Int[Array, " B"]
    entropies: Float[Array, " B"]
    """Sum over the running episode."""
    ended: Int[Array, " B"]
    """Episodes that this slot has finished."""
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
    tables = agent.tables(jnp.where(ablation.no_mission, 0, jnp.asarray(level.mission_tokens)))

    def step(now: _Slots) -> _Slots:
        key, key_act = jax.random.split(now.key)
        fresh = (now.is_first & ~carry) | ablation.no_memory
        core, output = agent.step(tables, now.observation, agent.reset(now.core, fresh))
        env, after = envs.step(now.env, choose(output.logits, key_act, greedy, ablation.temperature))
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
        return _Slots(env, after.observation, core, ends, returns, lengths, entropies, ended, results, key)

    key_levels, key_run = jax.random.split(key)
    env, observation = envs.reset(key_levels)
    zero, none = jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
    shape = num_envs, most
    results = jnp.zeros(shape, bool), jnp.zeros(shape), jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
    is_first, core = jnp.ones(num_envs, bool), agent.initial_state(num_envs)
    start = _Slots(env, observation, core, is_first, zero, none, zero, none, results, key_run)
    return jax.lax.while_loop(lambda now: jnp.any(now.ended < quota), step, start).results


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
    """Play the level seeds from ``first_seed`` on in the real environment, each once, from pixels and mission text.

    ``carry``: the recurrent state runs on from a slot's episode to its next (see ``count_slots``).
    """
    from metarims.gridworld.farama import FaramaBatch, play

    check_episodes(num_episodes)
    ablation.check(greedy)
    batch = FaramaBatch(env_id, count_slots(num_episodes, BATCH_FARAMA, carry), mission_format)
    act = PixelPolicy(agent, batch.num_envs, evaluation_key(first_seed % 2**64), greedy, ablation)

    def policy(pixels: Pixels, mission_tokens: np.ndarray, is_first: np.ndarray) -> np.ndarray:
        return act(pixels, mission_tokens, is_first & (not carry))

    seeds = range(first_seed, first_seed + num_episodes)
    episodes = sorted(play(batch, seeds, policy), key=lambda episode: episode.seed)
    return Evaluation(
        np.array([episode.success for episode in episodes]),
        np.array([episode.episode_return for episode in episodes]),
        np.array([episode.length for episode in episodes]),
        np.full(len(episodes), np.nan),
    )


def count_slots(num_episodes: int, most: int, carry: bool) -> int:
    """How many environments share the episodes.

    A slot's first episode begins from a zero state. Where the state is carried, slots are so few that at most one
    episode in ``CARRIED`` does; of fewer episodes than that, one.
    """
    return min(max(1, num_episodes // CARRIED) if carry else num_episodes, most)


class PixelPolicy:
    """An agent as a function from pictures and mission words to actions.

    It keeps the recurrent state, which is reset where ``is_first``.
    """

    def __init__(self, agent: Any, num_envs: int, key: PRNGKeyArray, greedy: bool, ablation: Ablation = NO_ABLATION):
        self.agent, self.key, self.greedy = agent, key, jnp.asarray(greedy)
        self.ablation = jax.tree.map(jnp.asarray, ablation)
        self.state = agent.initial_state(num_envs)
        self.output: Any = None
        """What the agent said last."""

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
    """One step of an agent: the key and the recurrent state to go on with, what it says, and its actions.

    Where ``is_first``, its state is reset before.
    """
    key, key_act = jax.random.split(key)
    tables = agent.tables(jnp.where(ablation.no_mission, 0, mission_tokens))
    state, output = agent.step(tables, seen, agent.reset(state, is_first | ablation.no_memory))
    return key, state, output, choose(output.logits, key_act, greedy, ablation.temperature)


def check_backend(backend: str) -> None:
    """Raise ``UserError`` unless ``where`` is a place to play in: our world or Farama's."""
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)


def check_episodes(num_episodes: int, most: int = MAX_EPISODES) -> None:
    """Raise ``UserError`` unless so many episodes can be played."""
    if num_episodes < 1:
        raise UserError(f"episodes is {num_episodes}: at least one must be played.")
    if num_episodes > most:
        raise UserError(f"episodes is {format_value(num_episodes)}: at most {most:,} can be played.")
