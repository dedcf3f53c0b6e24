"""Initial weights."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray


def init_fan_in(key: PRNGKeyArray, shape: tuple[int, ...], scale: float = 1.0) -> Float[Array, "..."]:
    """Normal weights of variance scale^2 / fan-in; the fan-in is the last axis but one, leading axes are copies.

    Public RIM code draws one fan-in over all modules, or 0.01 x normal; the first selections are then noise
    and the modules' inputs are several times too small.
    """
    return jax.random.normal(key, shape) * (scale * shape[-2] ** -0.5)
