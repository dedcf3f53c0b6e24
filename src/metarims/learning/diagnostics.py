"""What the modules do while an agent acts, for the record: who acts, how they attend, and what the choice tells."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarims.agents.core import CoreMetrics
from metarims.gridworld.tiles import NUM_TILES
from metarims.gridworld.types import VIEW, Observation

MOST_MODULES = 8
"""Of more modules the sets that can act are too many to be counted one by one; their information is left out."""


class Activity(NamedTuple):
    """Sums over steps and environments."""

    active: Float[Array, " M"]
    attention: Float[Array, " M"]
    """Attention to the input rather than to the null slot."""
    input_entropy: Float[Array, ""]
    """Of that choice (of its mean over heads), mean over modules; nats."""
    communication_entropy: Float[Array, ""]
    """Of the active modules' attention to all modules (of its mean over heads), mean over the active; nats. NaN where
    modules do not talk."""
    meetings: Float[Array, "sets tiles"]
    """How often each set of active modules (a binary number, module 0 lowest) stood before each tile."""


def measure_activity(metrics: CoreMetrics, observation: Observation) -> Activity | None:
    """One step of a batch of environments; None for an agent without modules."""
    num_modules = metrics.active.shape[-1]
    if not num_modules:
        return None
    active = metrics.active.astype(jnp.float32)
    share = metrics.input_attention
    heard = jnp.where(metrics.communication.any(-1), _entropy(metrics.communication), jnp.nan)
    return Activity(
        active=active.sum(0),
        attention=share.sum(0),
        input_entropy=(_entropy(jnp.stack([share, 1 - share], axis=-1))).mean(-1).sum(),
        communication_entropy=(jnp.where(metrics.active, heard, 0).sum(-1) / active.sum(-1)).sum(),
        meetings=_count_meetings(metrics, observation),
    )


def summarize_activity(activity: Activity, steps: int) -> dict[str, Float[Array, ""]]:
    """The record's ``modules/...`` of so many environment steps.

    ``active_m``: share of steps at which module m acts. ``input_attention_m``: its mean attention to the input.
    ``input_entropy``, ``communication_entropy``: nats. ``collapse``: C_A = M/(M-1) sum_m max(0, 1/M - p_m), p the
    modules' shares of all acting; 0 if all act alike, 1 if one alone does (Mittal et al., 2022). ``information``:
    mutual information, in nats, of the set that acts and the tile before the agent, corrected for the number of
    observations (Miller, 1955).
    """
    num_modules = activity.active.shape[0]
    found = {f"modules/active_{m}": activity.active[m] / steps for m in range(num_modules)}
    found |= {f"modules/input_attention_{m}": activity.attention[m] / steps for m in range(num_modules)}
    found["modules/input_entropy"] = activity.input_entropy / steps
    found["modules/communication_entropy"] = activity.communication_entropy / steps
    if num_modules > 1:
        found["modules/load_imbalance"] = measure_collapse(activity.active)
    if activity.meetings.shape[0]:
        found["modules/mutual_information"] = measure_information(activity.meetings)
    return found


def measure_collapse(active: Float[Array, " M"]) -> Float[Array, ""]:
    """C_A of how often each module acted."""
    number = active.shape[0]
    shares = active / active.sum()
    return number / (number - 1) * jnp.maximum(0, 1 / number - shares).sum()


def measure_information(counts: Float[Array, "X Y"]) -> Float[Array, ""]:
    """Mutual information of two variables counted together, in nats, with Miller's correction of its bias."""
    total = counts.sum()
    rows, columns = counts.sum(1), counts.sum(0)
    plain = _entropy(rows / total) + _entropy(columns / total) - _entropy((counts / total).reshape(-1))
    excess = (counts > 0).sum() - (rows > 0).sum() - (columns > 0).sum() + 1
    return plain - excess / (2 * total)


def _count_meetings(metrics: CoreMetrics, observation: Observation) -> Float[Array, "sets tiles"]:
    num_modules = metrics.active.shape[-1]
    if num_modules > MOST_MODULES:
        return jnp.zeros((0, NUM_TILES))
    chosen = (metrics.active * 2 ** jnp.arange(num_modules)).sum(-1)
    ahead = observation.codes[:, VIEW // 2, VIEW - 2]
    return jax.nn.one_hot(chosen, 2**num_modules).T @ jax.nn.one_hot(ahead, NUM_TILES)


def _entropy(shares: Float[Array, "*B n"]) -> Float[Array, "*B"]:
    return -(shares * jnp.log(jnp.where(shares > 0, shares, 1))).sum(-1)
