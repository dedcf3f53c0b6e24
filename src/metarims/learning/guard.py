"""Numerical faults: where a loss, a gradient or the parameters first are no longer numbers, or too large to mean any.

The guard only reads, and only what stands in memory anyway: the terms of every gradient step, of which an update keeps
the means, and the parameters that it leaves. A healthy run is the same to the bit with and without it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Num

MAX_GRAD_NORM = 1e6
"""A gradient of a larger norm, before it is clipped, is that of a loss that explodes."""

_LARGEST = float(np.finfo(np.float32).max)
LIMITS = {
    "policy_loss": _LARGEST,
    "value_loss": _LARGEST,
    "entropy": _LARGEST,
    "grad_norm": MAX_GRAD_NORM,
    "parameters": _LARGEST,
}
"""What is watched, and the largest magnitude that is sound; of the parameters, their joint norm."""

TERMS = tuple(LIMITS)


class Fault(NamedTuple):
    """The first fault of an update, or of each of T updates; where none is ``found`` the rest has no meaning."""

    found: Bool[Array, "*T"]
    term: Int[Array, "*T"]
    """Index into ``TERMS``."""
    value: Float[Array, "*T"]


def no_fault() -> Fault:
    """Of an update that went well."""
    return Fault(jnp.zeros((), bool), jnp.zeros((), jnp.int32), jnp.zeros(()))


def find_fault(metrics: dict[str, Float[Array, " steps"]], parameters: Any) -> Fault:
    """The first of an update's gradient steps, then the first term in it, that is at fault; parameters come last."""
    *names, _ = TERMS
    steps = jnp.stack([metrics[name] for name in names], axis=1)
    values = jnp.append(steps, optax.global_norm(parameters))
    terms = np.append(np.tile(np.arange(len(names)), len(steps)), len(names))
    bad = ~(jnp.abs(values) <= np.array(list(LIMITS.values()), np.float32)[terms])  # This way round for NaN.
    first = jnp.argmax(bad)
    return Fault(bad.any(), jnp.asarray(terms)[first], values[first])


def record_fault(faults: Sequence[Fault]) -> dict[str, Num[Array, ""]]:
    """The record's ``fault/...`` of a chunk, from those of each timescale in each of its updates.

    ``update``: the first at fault, counted from 1 within the chunk; 0 where there is none. ``term``: which, as an
    index into the terms of all timescales, one after the other. ``value``: what it came to.
    """
    by_update = zip(*faults, strict=True)
    found, term, value = (jnp.stack(parts, axis=1).reshape(-1) for parts in by_update)
    first, any_found = jnp.argmax(found), found.any()
    record = {
        "fault/update": first // len(faults) + 1,
        "fault/term": first % len(faults) * len(TERMS) + term[first],
        "fault/value": value[first],
    }
    return {name: jnp.where(any_found, entry, 0) for name, entry in record.items()}
