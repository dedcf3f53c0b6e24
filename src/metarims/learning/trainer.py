"""The trainer: nested timescales over one batch of environments, for all seeds at once, on one device or several.

Experience comes in rollouts of the fastest timescale. A schedule says which timescales learn after which rollout; one
iteration of it is Algorithm 1 of the paper. A chunk of iterations is one compiled program, in which acting occurs once,
however many timescales there are.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray

from metarims.agents.agent import Agent, make_agent
from metarims.config import Config, core_settings
from metarims.errors import invalid
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.registry import make_envs, time_limit
from metarims.learning.devices import Layout, is_key, total
from metarims.learning.diagnostics import summarize_activity
from metarims.learning.guard import TERMS, Fault, record_fault
from metarims.learning.returns import discount
from metarims.learning.rollout import Actor, Episodes, Rollout, collect_rollout, init_actor, sum_over_time
from metarims.learning.timescales import Learner, append_rollout, last_steps, make_learners

RUN_ONCE = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs but once: optimizing it would take longer than it runs."""

Learned: TypeAlias = tuple[dict[str, Array], Fault]
"""Results of an update: the means of its losses, and its first fault."""

LATEST_SUCCESSES = 100
"""How many successful episodes their mean length looks back on (a moving average)."""

RESEEDED = 2**31
"""Numbers from here on, folded into a key, give keys that no split of it gives."""


class TrainState(NamedTuple):
    """Everything that training changes. In a trainer's hands every leaf has a leading axis of seeds; where there are
    several shards of environments, those that belong to a shard have an axis of shards after it."""

    agent: Agent
    optimizers: tuple[Any, ...]
    """Optimiser state of every timescale, fastest first."""
    actor: Actor
    key: PRNGKeyArray
    num_rollouts: Int[Array, ""]
    """How many rollouts there were."""
    success_length: Float[Array, ""] | None
    """Mean length of the latest successful episodes, where the discount depends on it (``PPO.discount``)."""


_IS_SHARDED: dict[str, Any] = dict.fromkeys(TrainState._fields, False) | {"actor": True, "key": True}
SHARDED = TrainState(**_IS_SHARDED)
"""What of a state belongs to a shard of environments."""


class Trainer:
    """Trains the agents of one configuration, chunk by chunk; every state that goes in stays valid."""

    frames_per_chunk: int
    """Environment steps per seed."""
    updates_per_chunk: int
    """Rollouts of the fastest timescale, each with the updates after it."""
    terms: tuple[str, ...]
    """What is checked for numerical faults: the names to which the metric ``fault/term`` points."""
    run_chunk: Callable[[Any], tuple[Any, dict[str, Any]]]
    """The state after a chunk, and its metrics by name, one value per seed. ``fault/update``, ``fault/term`` and
    ``fault/value`` describe the first numerical fault (``guard.record_fault``)."""

    def __init__(self, config: Config, num_devices: int = 1):
        self.config = config
        self.layout = Layout(len(config.seeds), config.ppo.shards, num_devices)
        self.learners = make_learners(config, self.layout.axes)
        self.envs = make_envs(
            config.env,
            config.ppo.num_envs // config.ppo.shards,
            words=config.words,
            max_words=config.max_words,
            max_missions=config.max_missions,
            keep=max(learner.loop.rollout for learner in self.learners),
            reads=config.network.mission_dim > 0,
        )
        self.time_limit = time_limit(config.env)
        self.schedule = make_schedule(self.learners, reuse=config.slow_data == "reuse")
        self.frames_per_iteration = len(self.schedule) * self.learners[0].loop.rollout * config.ppo.num_envs
        iterations = math.ceil(config.record_every / self.frames_per_iteration)
        self.iterations_per_chunk = min(iterations, math.ceil(config.frames / self.frames_per_iteration))
        self.frames_per_chunk = self.iterations_per_chunk * self.frames_per_iteration
        self.num_chunks = math.ceil(config.frames / self.frames_per_chunk)
        self.updates_per_chunk = self.iterations_per_chunk * len(self.schedule)
        self.terms = tuple(f"{learner.name}/{term}" for learner in self.learners for term in TERMS)
        # Environments outside of the program are stepped for all seeds at once.
        side_by_side = jax.default_backend() != "cpu" or not self.envs.can_checkpoint
        self._program = self.layout.spread(self._run_chunk, SHARDED, side_by_side=side_by_side)
        self.run_chunk = in_32_bits(self.envs.checked(self._program))
        self._act = jax.jit(self._collect)  # Traced once, though its shapes are asked for before it is used.
        if not self.envs.can_checkpoint and (config.ppo.shards, num_devices) != (1, 1):
            field, value = ("ppo.shards", config.ppo.shards) if config.ppo.shards > 1 else ("devices", num_devices)
            raise invalid(field, value, f"{config.env} is stepped on the host and needs 1")
        if not self.envs.can_checkpoint and config.on_nan == "restart":
            remedy = "is stepped on the host and cannot be rewound; it needs --on-nan stop"
            raise invalid("on_nan", config.on_nan, f"{config.env} {remedy}")

    @in_32_bits
    def init(self) -> TrainState:
        """The state before the first chunk, for all seeds."""
        keys = jax.vmap(jax.random.key)(jnp.array(self.config.seeds))
        return self._place(self.envs.checked(jax.jit(jax.vmap(self._init), compiler_options=RUN_ONCE))(keys))

    @in_32_bits
    def load_weights(self, state: TrainState, agents: Sequence[Agent]) -> TrainState:
        """The first state, but with the weights of these agents, one per seed, which have the shapes of its own."""
        leaves = zip(*map(jax.tree.leaves, agents), strict=True)
        weights = jax.tree.structure(state.agent).unflatten(jnp.stack(of_seeds) for of_seeds in leaves)
        return self._place(state._replace(agent=weights))

    @in_32_bits
    def compile(self, state: TrainState) -> None:
        """Have the program ready that ``run_chunk`` runs on such a state: JAX keeps it."""
        jitted: Any = inspect.unwrap(self._program, stop=lambda program: hasattr(program, "lower"))
        jitted.lower(state).compile()

    def to_checkpoint(self, state: TrainState) -> TrainState:
        """What a checkpoint must hold: everything, but no environments that live outside of the program."""
        return state if self.envs.can_checkpoint else state._replace(actor=None)  # pyright: ignore

    @in_32_bits
    def resume(self, checkpoint: TrainState) -> tuple[TrainState, str]:
        """The state to resume from, and a note where it is not exactly the checkpoint's."""
        if self.envs.can_checkpoint:
            return self._place(checkpoint), ""
        note = f"{self.config.env} is stepped on the host, where environments cannot be restored: new episodes begin."
        return self.envs.checked(jax.jit(jax.vmap(self._restart_episodes), compiler_options=RUN_ONCE))(checkpoint), note

    @in_32_bits
    def reseed(self, state: TrainState, numbers: Sequence[int]) -> TrainState:
        """The same state with other actions and minibatches drawn from here on; ``numbers``: one per seed, which say
        what others. Levels come in the order in which they would have come."""
        fresh = jax.vmap(_reseed_key)(state.key, jnp.array(numbers))
        return self._place(state._replace(key=fresh))

    @in_32_bits
    def select_seeds(self, seeds: Sequence[bool], state: TrainState, other: TrainState) -> TrainState:
        """``state`` for the seeds that are marked, ``other`` for the rest, of which host environments stay."""
        if not self.envs.can_checkpoint:
            state = state._replace(actor=other.actor)
        return self._place(select_by_seed(jnp.array(seeds), state, other))

    @in_32_bits
    def agent(self, state: TrainState, index: int) -> Agent:
        """The agent of one seed, by its place in ``config.seeds``."""
        return self.layout.gather(jax.tree.map(lambda leaf: leaf[index], state.agent))

    def rate(self, num_rollouts: Int[Array, ""]) -> Float[Array, ""] | float:
        """The learning rates by now, as a fraction of those at the beginning (``PPO.lr_schedule``)."""
        if self.config.ppo.lr_schedule == "constant":
            return 1.0
        steps_per_rollout = self.learners[0].loop.rollout * self.config.ppo.num_envs
        return jax.lax.rsqrt(1 + num_rollouts * (steps_per_rollout / self.config.ppo.lr_decay_steps))

    def gamma(self, success_length: Float[Array, ""] | None) -> Float[Array, ""] | float:
        """The discount, given the mean length of successful episodes (``PPO.discount``)."""
        return discount(self.config.ppo, success_length, self.time_limit)

    @in_32_bits
    def make_agent(self, key: PRNGKeyArray) -> Agent:
        """A fresh agent for this task."""
        return make_agent(
            self.config.network,
            core_settings(self.config),
            num_actions=self.envs.num_actions,
            num_words=len(self.envs.vocabulary),
            key=key,
        )

    def _init(self, key: PRNGKeyArray) -> TrainState:
        key_agent, key_env, key_run = jax.random.split(key, 3)
        agent = self.make_agent(key_agent)
        optimizers = tuple(learner.init(agent) for learner in self.learners)
        adapts = self.config.ppo.discount == "success_length"
        length = jnp.float32(self.time_limit or self.envs.max_steps) if adapts else None
        if self.config.ppo.shards == 1:
            return TrainState(agent, optimizers, init_actor(agent, self.envs, key_env), key_run, jnp.int32(0), length)
        keys_env, keys_run = (jax.random.split(key, self.config.ppo.shards) for key in (key_env, key_run))
        actors = jax.vmap(lambda key: init_actor(agent, self.envs, key))(keys_env)
        return TrainState(agent, optimizers, actors, keys_run, jnp.int32(0), length)

    def _place(self, state: TrainState) -> TrainState:
        return self.layout.place(state, SHARDED)

    def _restart_episodes(self, state: TrainState) -> TrainState:
        key, key_env = jax.random.split(state.key)
        return state._replace(actor=init_actor(state.agent, self.envs, key_env), key=key)

    def _run_chunk(self, state: TrainState) -> tuple[TrainState, dict[str, Num[Array, ""]]]:
        learns = jnp.array([[i in indices for i in range(len(self.learners))] for indices in self.schedule])
        learns = jnp.tile(learns, (self.iterations_per_chunk, 1))
        _, blank, _ = jax.eval_shape(self._act, state)
        longest = max(learner.loop.rollout for learner in self.learners) // self.learners[0].loop.rollout
        history = jax.tree.map(lambda leaf: jnp.zeros((longest * leaf.shape[0], *leaf.shape[1:]), leaf.dtype), blank)
        history = history._replace(bootstrap_value=jnp.zeros(blank.bootstrap_value.shape))
        (state, _), (sums, learned) = jax.lax.scan(self._run_rollout, (state, history), learns)
        losses = {
            name: value.sum() / learns[:, i].sum()
            for i, (terms, _) in enumerate(learned)
            for name, value in terms.items()
        }
        faults = record_fault([fault for _, fault in learned])
        episodes, activity = total(sum_over_time(sums, time_axes=1), self.layout.axes)
        tasks = self.envs.tasks
        record = summarize(episodes, tasks if len(tasks) > 1 else ()) | losses | faults
        return state, record | summarize_activity(activity, self.frames_per_chunk)

    def _run_rollout(self, carry: tuple[TrainState, Rollout], learns: Bool[Array, " timescales"]):
        """Act for one rollout, then let the timescales learn whose turn it is; skipped ones report zeros."""
        state, history = carry
        state, rollout, sums = self._act(state)
        state = self._follow_lengths(state, sums[0])
        history = append_rollout(history, rollout)
        learned = []
        for index, learner in enumerate(self.learners):
            data = last_steps(history, learner.loop.rollout)
            if all(index in indices for indices in self.schedule):
                state, found = self._learn(state, index, data)
            else:
                state, found = self._learn_if(learns[index], state, index, data)
            learned.append(found)
        return (state, history), (sums, tuple(learned))

    def _collect(self, state: TrainState) -> tuple[TrainState, Rollout, tuple[Episodes, Any]]:
        key, key_act = jax.random.split(state.key)
        actor, rollout, sums = collect_rollout(
            state.agent,
            state.agent.tables(self.envs.mission_tokens(state.actor.env)),
            self.envs,
            state.actor,
            key_act,
            num_steps=self.learners[0].loop.rollout,
            span=self.learners[0].loop.span,
            carry=self.config.recurrent_state == "carry",
        )
        return state._replace(actor=actor, key=key, num_rollouts=state.num_rollouts + 1), rollout, sums

    def _follow_lengths(self, state: TrainState, episodes: Episodes) -> TrainState:
        """The state with the mean length of successful episodes moved towards that of a rollout's."""
        if state.success_length is None:
            return state
        successes, steps = total((episodes.successes.sum(), episodes.success_length.sum()), self.layout.axes)
        weight = 1 - (1 - 1 / LATEST_SUCCESSES) ** successes.astype(jnp.float32)
        mean = steps / jnp.maximum(successes, 1)
        return state._replace(success_length=state.success_length + weight * (mean - state.success_length))

    def _learn(self, state: TrainState, index: int, rollout: Rollout) -> tuple[TrainState, Learned]:
        key, key_learn = jax.random.split(state.key)
        tokens = self.envs.mission_tokens(state.actor.env)
        agent, optimizer, learned = self.learners[index].update(
            state.agent,
            state.optimizers[index],
            tokens,
            rollout,
            key_learn,
            self.rate(state.num_rollouts),
            self.gamma(state.success_length),
        )
        optimizers = (*state.optimizers[:index], optimizer, *state.optimizers[index + 1 :])
        return state._replace(agent=agent, optimizers=optimizers, key=key), learned

    def _learn_if(
        self, turn: Bool[Array, ""], state: TrainState, index: int, rollout: Rollout
    ) -> tuple[TrainState, Learned]:
        """The turn is the same for all seeds, so that under ``vmap`` this stays a branch: skipping costs nothing."""
        skipped = self.learners[index].skip()
        return jax.lax.cond(turn, lambda: self._learn(state, index, rollout), lambda: (state, skipped))


@jax.jit
def select_by_seed(seeds: Bool[Array, " S"], tree: Any, other: Any) -> Any:
    """Leaves of ``tree`` for the seeds that are marked, of ``other`` for the rest; every leaf has an axis of seeds."""

    def pick(leaf, other):
        chosen = jnp.where(seeds.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, other)
        return jax.random.clone(chosen) if is_key(leaf) else chosen

    return jax.tree.map(pick, tree, other)


def _reseed_key(key: PRNGKeyArray, number: Int[Array, ""]) -> PRNGKeyArray:
    if key.ndim:  # Of several shards.
        return jax.vmap(_reseed_key, in_axes=(0, None))(key, number)
    return jax.random.fold_in(key, jnp.uint32(RESEEDED) + number.astype(jnp.uint32))


def make_schedule(learners: Sequence[Learner], *, reuse: bool) -> tuple[tuple[int, ...], ...]:
    """For every rollout of one iteration of the slowest timescale, the timescales that learn after it.

    A slower timescale learns when the next faster one has seen as many steps as it wants. It learns from those same
    steps (``reuse``), or from as many fresh ones, on which the faster timescales do not learn (Algorithm 1, line 8).
    """
    base = learners[0].loop.rollout
    schedule: tuple[tuple[int, ...], ...] = ((0,),)
    for index in range(1, len(learners)):
        ratio = max(1, learners[index].loop.rollout // learners[index - 1].loop.rollout)
        schedule = schedule * ratio
        if reuse:
            schedule = (*schedule[:-1], (*schedule[-1], index))
        else:
            schedule = (*schedule, *[()] * (learners[index].loop.rollout // base - 1), (index,))
    return schedule


def make_trainer(config: Config, num_devices: int = 1) -> Trainer:
    """The trainer of a configuration; unknown environments and impossible settings are ``UserError``."""
    return Trainer(config, num_devices)


def summarize(episodes: Episodes, tasks: Sequence[str] = ()) -> dict[str, Num[Array, ""]]:
    """What the episodes that ended came to, over all tasks and for each that is named; where none did, means are 0."""
    metrics = _means(jax.tree.map(jnp.sum, episodes))
    for index, task in enumerate(tasks):
        of_task = _means(jax.tree.map(lambda leaf, i=index: leaf[i], episodes))
        metrics |= {f"{name}/{task}": value for name, value in of_task.items()}
    return metrics


def _means(episodes: Episodes) -> dict[str, Num[Array, ""]]:
    count = jnp.maximum(episodes.number, 1)
    return {
        "episodes": episodes.number,
        "return": episodes.returns / count,
        "success": episodes.successes / count,
        "episode_length": episodes.length / count,
    }
