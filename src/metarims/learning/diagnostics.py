"""Statistics of the core for the record: which modules are active, their attention, and its mutual information."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarims.agents.core import Metrics, ModuleMetrics
from metarims.gridworld.tiles import NUM_TILES
from metarims.gridworld.types import VIEW, Observation

MOST_MODULES = 8
"""With more modules there are too many sets to count: their mutual information is left out."""


class Activity(NamedTuple):
    """Sums over steps and environments."""

    active: Float[Array, " M"]
    attention: Float[Array, " M"]
    """Attention to the input rather than to the null slot."""
    input_entropy: Float[Array, ""]
    """Of that attention (of its mean over heads), mean over modules; nats."""
    communication_entropy: Float[Array, ""]
    """Of the active modules' attention to all modules (of its mean over heads) as a fraction of log M, mean over the
    active. NaN where modules do not communicate, and for one module."""
    counts: Float[Array, "sets tiles"]
    """How often each set of active modules (a binary number, module 0 lowest) met each tile before the agent."""


def measure_activity(metrics: Metrics, observation: Observation) -> Activity | dict[str, Float[Array, ""]]:
    """One step of a batch of environments; of a core without modules the sums of what it reports."""
    if not isinstance(metrics, ModuleMetrics):
        return {name: value.astype(jnp.float32).sum() for name, value in dict(metrics).items()}
    active = metrics.active.astype(jnp.float32)
    attention = metrics.input_attention
    communicates = metrics.communication.any(-1) & (active.shape[-1] > 1)
    entropy = jnp.where(communicates, _entropy(metrics.communication) / jnp.log(max(2, active.shape[-1])), jnp.nan)
    return Activity(
        active=active.sum(0),
        attention=attention.sum(0),
        input_entropy=(_entropy(jnp.stack([attention, 1 - attention], axis=-1))).mean(-1).sum(),
        communication_entropy=(jnp.where(metrics.active, entropy, 0).sum(-1) / active.sum(-1)).sum(),
        counts=_count_sets(metrics, observation),
    )


def summarize_activity(activity: Activity | Mapping[str, Float[Array, ""]], steps: int) -> dict[str, Float[Array, ""]]:
    """The record's ``modules/...`` (or ``core/...``) of so many environment steps.

    ``active_m``: share of steps at which module m is active; the first is module 1. ``input_attention_m``: its mean
    attention to the input. ``input_entropy``: nats. ``normalized_communication_entropy``: 0 if each active module
    attends to one module, 1 if to all alike; inactive modules do not count, as their attention has no effect.
    ``load_imbalance``: C_A = M/(M-1) sum_m max(0, 1/M - p_m), p the modules' shares of all activity; 0 if all are
    active alike, 1 if one alone is (Mittal et al., 2022). ``mutual_information``: in nats, of the set of active
    modules and the tile before the agent, corrected for the number of observations (Miller, 1955).
    """
    if not isinstance(activity, Activity):
        return {f"core/{name}": value / steps for name, value in activity.items()}
    num_modules = activity.active.shape[0]
    found = {f"modules/active_{m + 1}": activity.active[m] / steps for m in range(num_modules)}
    found |= {f"modules/input_attention_{m + 1}": activity.attention[m] / steps for m in range(num_modules)}
    found["modules/input_entropy"] = activity.input_entropy / steps
    found["modules/normalized_communication_entropy"] = activity.communication_entropy / steps
    if num_modules > 1:
        found["modules/load_imbalance"] = measure_load_imbalance(activity.active)
    if activity.counts.shape[0]:
        found["modules/mutual_information"] = measure_mutual_information(activity.counts)
    return found


def measure_load_imbalance(active: Float[Array, " M"]) -> Float[Array, ""]:
    """C_A of how often each module was active."""
    number = active.shape[0]
    shares = active / active.sum()
    return number / (number - 1) * jnp.maximum(0, 1 / number - shares).sum()


def measure_mutual_information(counts: Float[Array, "X Y"]) -> Float[Array, ""]:
    """Mutual information of two variables counted together, in nats, with Miller's correction of its bias."""
    total = counts.sum()
    rows, columns = counts.sum(1), counts.sum(0)
    plain = _entropy(rows / total) + _entropy(columns / total) - _entropy((counts / total).reshape(-1))
    excess = (counts > 0).sum() - (rows > 0).sum() - (columns > 0).sum() + 1
    return plain - excess / (2 * total)


def _count_sets(metrics: ModuleMetrics, observation: Observation) -> Float[Array, "sets tiles"]:
    num_modules = metrics.active.shape[-1]
    if num_modules > MOST_MODULES:
        return jnp.zeros((0, NUM_TILES))
    chosen = (metrics.active * 2 ** jnp.arange(num_modules)).sum(-1)
    ahead = observation.codes[:, VIEW // 2, VIEW - 2]
    return jax.nn.one_hot(chosen, 2**num_modules).T @ jax.nn.one_hot(ahead, NUM_TILES)


def _entropy(shares: Float[Array, "*B n"]) -> Float[Array, "*B"]:
    return -(shares * jnp.log(jnp.where(shares > 0, shares, 1))).sum(-1)
