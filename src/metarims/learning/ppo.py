"""Proximal policy optimization on spans of recurrent experience (Schulman et al., 2017; paper, equation 1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from metarims.agents.agent import Agent, policy_entropy
from metarims.agents.core import State
from metarims.agents.elements import Elements
from metarims.agents.reading import is_drawn, read_spans
from metarims.config import PPO
from metarims.gridworld.types import Observation
from metarims.learning.devices import mean
from metarims.learning.rollout import take_log_prob

LOSS_TERMS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")
"""What ``compute_loss`` reports."""


class Spans(NamedTuple):
    """Contiguous pieces of experience, time-major: L steps of each of P spans."""

    observation: Observation
    is_first: Bool[Array, "L P"]
    action: Int[Array, "L P"]
    log_prob: Float[Array, "L P"]
    value: Float[Array, "L P"]
    advantage: Float[Array, "L P"]
    returns: Float[Array, "L P"]
    core: State
    """The recurrent state before each span: leading axis P."""
    features: Float[Array, "L P D"] | Elements | None = None
    """Outputs of the encoder, and ..."""
    core_outputs: Float[Array, "L P O"] | None = None
    """... of the core, where they are known (``precompute``)."""


def precompute(
    agent: Agent, mission_tokens: Int[Array, "num_missions L"], spans: Spans, groups: Sequence[str]
) -> Spans:
    """The spans with what is the same in every epoch while only these groups of parameters change: the features where
    the encoder is frozen, the core's outputs where both are. The loss and its gradient stay the same."""
    if "encoder" in groups:
        return spans
    tables, features = encode(agent, mission_tokens, spans.observation)
    if not agent.core.groups().keys().isdisjoint(groups):
        return spans._replace(features=features)
    return spans._replace(core_outputs=agent.unroll_core(tables, features, spans.core, spans.is_first)[1][0])


def encode(
    agent: Agent, mission_tokens: Int[Array, "num_missions L"], observation: Observation
) -> tuple[Any, Float[Array, "T P D"] | Elements]:
    """What the agent looks up (``Agent.tables``), and the features or elements of the observations of spans."""
    if not is_drawn(observation):
        tables = agent.tables(mission_tokens)
        return tables, agent.encode(tables, observation)
    tables, rows = read_spans(agent.encoder, observation.mission)
    return tables, agent.encode(tables, observation._replace(mission=rows))


def compute_loss(
    agent: Agent, mission_tokens: Int[Array, "num_missions L"], spans: Spans, ppo: PPO, axes: tuple[str, ...] = ()
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The loss to minimize, -L_clip + c1 L_value - c2 entropy, and its terms by name.

    With ``axes`` (of shards) it is this shard's; the minibatch's is the mean over shards.
    """
    core_outputs = spans.core_outputs
    if core_outputs is None:
        if spans.features is None:
            tables, features = encode(agent, mission_tokens, spans.observation)
        else:
            tables, features = agent.tables(mission_tokens), spans.features
        core_outputs = agent.unroll_core(tables, features, spans.core, spans.is_first)[1][0]
    logits, value = agent.policy(core_outputs), agent.value(core_outputs)[..., 0]
    ratio = jnp.exp(take_log_prob(logits, spans.action) - spans.log_prob)
    policy_loss = compute_policy_loss(ratio, spans.advantage, ppo.clip, normalize=ppo.normalize_advantages, axes=axes)
    value_loss = compute_value_loss(value, spans.value, spans.returns, ppo.clip if ppo.clip_value else None)
    entropy = policy_entropy(logits).mean()
    loss = policy_loss + ppo.value_coef * value_loss - ppo.entropy_coef * entropy
    approx_kl = (ratio - 1 - jnp.log(ratio)).mean()
    clipped = (jnp.abs(ratio - 1) > ppo.clip).mean(dtype=jnp.float32)
    return loss, dict(zip(LOSS_TERMS, (policy_loss, value_loss, entropy, approx_kl, clipped), strict=True))


def compute_policy_loss(
    ratio: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    clip: float,
    *,
    normalize: bool,
    axes: tuple[str, ...] = (),
) -> Float[Array, ""]:
    """-mean(min(r A, clip(r, 1 - e, 1 + e) A)); ``normalize`` standardizes the advantages (of all shards) first."""
    if normalize:
        advantage = advantage - mean(advantage, axes)
        advantage = advantage / (jnp.sqrt(mean(advantage**2, axes)) + 1e-8)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage).mean()


def compute_value_loss(
    value: Float[Array, "*B"], old_value: Float[Array, "*B"], returns: Float[Array, "*B"], clip: float | None
) -> Float[Array, ""]:
    """Mean squared error, or with ``clip`` the larger of that and the error of the value held near the old one."""
    error = (value - returns) ** 2
    if clip is not None:
        clipped = old_value + jnp.clip(value - old_value, -clip, clip)
        error = jnp.maximum(error, (clipped - returns) ** 2)
    return error.mean()
