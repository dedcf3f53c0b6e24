"""One timescale's learning: experience in spans, and gradient steps of the groups it owns."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from metarims.agents.agent import Agent, change_group, group_mask, select_group
from metarims.agents.fast_gradients import fast_gradients
from metarims.config import PPO, Config, Loop, loops
from metarims.errors import UserError
from metarims.learning.devices import average
from metarims.learning.guard import Fault, find_fault, no_fault
from metarims.learning.ppo import LOSS_TERMS, Spans, compute_loss, precompute
from metarims.learning.returns import compute_advantages
from metarims.learning.rollout import Rollout
from metarims.rules import GROUPS, RULES


class _Epochs(NamedTuple):
    """The state of an update between two epochs."""

    done: Int[Array, ""]
    own: Any
    optimizer: optax.OptState
    approx_kl: Float[Array, ""]
    """Divergence from the policy that acted, in the last epoch. It is above zero from the beginning where a faster
    timescale has learned from the same data."""
    metrics: dict[str, Float[Array, ""]]
    """Sums over the epochs."""
    fault: Fault


@dataclass(frozen=True)
class Learner:
    """A timescale made ready: the groups it trains, how, and its optimiser.

    Groups that it does not own enter the loss as constants: they cost no gradient, and no optimiser state is kept.
    """

    name: str
    groups: tuple[str, ...]
    loop: Loop
    ppo: PPO
    lr_multipliers: tuple[tuple[str, float], ...] = ()
    """Learning rates of groups, as fractions of the loop's, where they are not 1."""
    axes: tuple[str, ...] = ()
    """The mapped axes of shards of environments."""

    def split(self, agent: Agent) -> tuple[Agent, Agent]:
        """The agent's parameters that this timescale trains, and the rest; each of the agent's shape, with gaps."""
        return eqx.partition(agent, group_mask(agent, self.groups))

    @property
    def trained_groups(self) -> tuple[str, ...]:
        """The groups owned without those whose learning rate is zero."""
        multipliers = dict(self.lr_multipliers)
        return tuple(group for group in self.groups if multipliers.get(group, 1))

    @property
    def changes_policy(self) -> bool:
        """Whether the policy depends on what this timescale trains, which is not only the value head."""
        return self.trained_groups != ("value",)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.loop.max_grad_norm),
            optax.scale_by_adam(eps=self.ppo.adam_eps),
            optax.scale_by_learning_rate(self.loop.learning_rate),
        )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What a gradient step reports."""
        return (*LOSS_TERMS, "explained_variance", "grad_norm", *(f"grad_norm/{group}" for group in self.groups))

    def skip(self) -> tuple[dict[str, Float[Array, ""]], Fault]:
        """What ``update`` reports where it is skipped: zeros, and no fault."""
        names = (*self.metric_names, "epochs", "learning_rate", "gamma")
        return {f"{self.name}/{name}": jnp.zeros(()) for name in names}, no_fault()

    def init(self, agent: Agent) -> optax.OptState:
        """Fresh optimiser state for the groups owned."""
        own: Any = self.split(agent)[0]
        return self.optimizer.init(own)

    def update(
        self,
        agent: Agent,
        optimizer_state: optax.OptState,
        mission_tokens: Int[Array, "num_missions L"],
        rollout: Rollout,
        key: PRNGKeyArray,
        rate: Float[Array, ""] | float = 1.0,
        gamma: Float[Array, ""] | float | None = None,
    ) -> tuple[Agent, optax.OptState, tuple[dict[str, Float[Array, ""]], Fault]]:
        """Learn from one rollout, in minibatches, until the policy has moved far enough or the epochs are over.

        ``rate``: the learning rate as a fraction of that at the beginning; ``gamma``: the discount, if it is not the
        constant of the settings. Metrics are means over the gradient steps,
        the fault is the first. Each shard gives its part to every minibatch; all take the same step, by the mean of
        their gradients.
        """
        spans = precompute(
            agent, mission_tokens, cut_spans(rollout, self.loop.span, self.ppo, gamma), self.trained_groups
        )
        moments = measure_moments(spans.value, spans.returns)
        num_spans = spans.is_first.shape[1]
        own: Any
        own, frozen = self.split(agent)

        def step(carry, chosen):
            own, optimizer_state = carry
            batch = select_spans(spans, chosen)

            def loss(own):
                return compute_loss(eqx.combine(own, frozen), mission_tokens, batch, self.ppo, self.axes)

            with fast_gradients():
                (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(own)
            gradient = self._zero_frozen(gradient)
            metrics, gradient, pooled = average((metrics, gradient, moments), self.axes)
            metrics["explained_variance"] = explained_variance(pooled)
            metrics["grad_norm"] = optax.global_norm(gradient)
            for group in self.groups:
                metrics[f"grad_norm/{group}"] = optax.global_norm(select_group(gradient, group))
            updates, optimizer_state = self.optimizer.update(gradient, optimizer_state)
            own = optax.apply_updates(own, self._scale_groups(updates, rate))
            return (own, optimizer_state), metrics

        keys = jax.random.split(key, self.loop.epochs)
        order = jax.vmap(lambda k: jax.random.permutation(k, num_spans))(keys)
        order = order.reshape(self.loop.epochs, self.loop.minibatches, -1)

        def run_epoch(now: _Epochs) -> _Epochs:
            (own, optimizer_state), metrics = jax.lax.scan(step, (now.own, now.optimizer), order[now.done])
            fault = find_fault(metrics, own)
            return _Epochs(
                done=now.done + 1,
                own=own,
                optimizer=optimizer_state,
                approx_kl=metrics["approx_kl"].mean(),
                metrics={name: now.metrics[name] + value.mean() for name, value in metrics.items()},
                fault=jax.tree.map(lambda old, new: jnp.where(now.fault.found, old, new), now.fault, fault),
            )

        def continues(now: _Epochs) -> Bool[Array, ""]:
            far = ~(now.approx_kl <= self.ppo.target_kl) if self.ppo.target_kl and self.changes_policy else False
            return (now.done < self.loop.epochs) & ~jnp.asarray(far)

        zero = jnp.zeros(())
        sums = dict.fromkeys(self.metric_names, zero)
        start = _Epochs(jnp.int32(0), own, optimizer_state, zero, sums, no_fault())
        end = jax.lax.while_loop(continues, run_epoch, start)
        metrics = {f"{self.name}/{name}": value / end.done for name, value in end.metrics.items()}
        metrics[f"{self.name}/epochs"] = end.done.astype(jnp.float32)
        metrics[f"{self.name}/gamma"] = jnp.float32(self.ppo.gamma if gamma is None else gamma)
        metrics[f"{self.name}/learning_rate"] = jnp.float32(self.loop.learning_rate * rate)
        return eqx.combine(end.own, frozen), end.optimizer, (metrics, end.fault)

    def _zero_frozen(self, gradient: Any) -> Any:
        """The gradient with zeros for groups that are not trained, so that they take no part in its norm."""
        for group in set(self.groups) - set(self.trained_groups):
            gradient = change_group(gradient, group, jnp.zeros_like)
        return gradient

    def _scale_groups(self, updates: Any, rate: Float[Array, ""] | float) -> Any:
        updates = jax.tree.map(lambda leaf: leaf * rate, updates)
        for group, multiplier in self.lr_multipliers:
            updates = change_group(updates, group, lambda leaf, m=multiplier: leaf * m)
        return updates


def make_learners(config: Config, axes: tuple[str, ...] = ()) -> tuple[Learner, ...]:
    """The learners of an agent's rule, fastest first; ``axes``: the mapped axes of shards."""
    rule = RULES[config.agent]
    multipliers = {
        group: multiplier * rule.lr_multipliers.get(group, 1.0)
        for group, multiplier in dataclasses.asdict(config.lr_multipliers).items()
    }
    learners = []
    for index, (timescale, (name, loop)) in enumerate(zip(rule.timescales, loops(config), strict=True)):
        groups = set(timescale.groups)
        if not rule.places_encoder and index in {"fast": (0,), "slow": (1,), "both": (0, 1)}[config.encoder_speed]:
            groups.add("encoder")
        ordered = tuple(group for group in GROUPS if group in groups)
        if not ordered:
            raise UserError(f"The timescale {timescale.name} of {config.agent} trains nothing: give it a group.")
        own = tuple((group, multipliers[group]) for group in ordered if multipliers[group] != 1)
        learners.append(Learner(name, ordered, loop, config.ppo, own, axes))
    return tuple(learners)


def cut_spans(rollout: Rollout, span: int, ppo: PPO, gamma: Float[Array, ""] | float | None = None) -> Spans:
    """A rollout as spans contiguous in time: span s of environment b is column s * B + b."""
    advantages, returns = compute_advantages(
        rollout.reward * ppo.reward_scale,
        rollout.value,
        rollout.terminated,
        rollout.truncated,
        rollout.truncation_value,
        rollout.bootstrap_value,
        gamma=ppo.gamma if gamma is None else gamma,
        gae_lambda=ppo.gae_lambda,
    )
    num_steps, num_kept = rollout.is_first.shape[0], jax.tree.leaves(rollout.core)[0].shape[0]
    every = span * num_kept // num_steps  # So many of the rollout's recurrent states one span covers.

    def cut(leaf):
        pieces = leaf.reshape(num_steps // span, span, *leaf.shape[1:])
        return jnp.swapaxes(pieces, 0, 1).reshape(span, -1, *leaf.shape[2:])

    return Spans(
        observation=jax.tree.map(cut, rollout.observation),
        is_first=cut(rollout.is_first),
        action=cut(rollout.action),
        log_prob=cut(rollout.log_prob),
        value=cut(rollout.value),
        advantage=cut(advantages),
        returns=cut(returns),
        core=jax.tree.map(lambda leaf: leaf[::every].reshape(-1, *leaf.shape[2:]), rollout.core),
    )


def select_spans(spans: Spans, chosen: Int[Array, " P"]) -> Spans:
    """Some of the spans, by column."""
    core = jax.tree.map(lambda leaf: leaf[chosen], spans.core)
    return jax.tree.map(lambda leaf: leaf[:, chosen], spans._replace(core=()))._replace(core=core)


def append_rollout(history: Rollout, rollout: Rollout) -> Rollout:
    """The history, as long as before: its oldest steps make room for those of ``rollout``, which follow its last."""

    def append(old, new):
        return jnp.concatenate([old[new.shape[0] :], new])

    steps = jax.tree.map(append, history._replace(bootstrap_value=()), rollout._replace(bootstrap_value=()))
    return steps._replace(bootstrap_value=rollout.bootstrap_value)


def last_steps(history: Rollout, num_steps: int) -> Rollout:
    """The last ``num_steps`` steps of a history, and the recurrent states kept during them."""
    total = history.is_first.shape[0]

    def cut(leaf):
        return leaf[leaf.shape[0] - leaf.shape[0] * num_steps // total :]

    return jax.tree.map(cut, history._replace(bootstrap_value=()))._replace(bootstrap_value=history.bootstrap_value)


def measure_moments(values: Float[Array, "*B"], returns: Float[Array, "*B"]) -> Float[Array, "2 2"]:
    """First and second moments of the errors of the values, and of the returns: what shards can average."""
    both = jnp.stack([returns - values, returns]).reshape(2, -1)
    return jnp.stack([both.mean(1), (both**2).mean(1)])


def explained_variance(moments: Float[Array, "2 2"]) -> Float[Array, ""]:
    """1 - Var(return - value) / Var(return): 1 is a perfect critic, 0 one that knows nothing."""
    errors, returns = jnp.maximum(moments[1] - moments[0] ** 2, 0)
    return 1 - errors / (returns + 1e-8)
