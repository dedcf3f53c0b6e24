"""Computing in 32 bits, whatever ``JAX_ENABLE_X64`` says: levels, agents and results do not depend on that switch.

Nor do they depend on JAX's choice of random numbers (``JAX_DEFAULT_PRNG_IMPL``, ``JAX_THREEFRY_PARTITIONABLE``), and
nothing fails where ``JAX_NUMPY_RANK_PROMOTION`` and ``JAX_NUMPY_DTYPE_PROMOTION`` are strict, as some set them for
their own code.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def in_32_bits(function: AnyFunction) -> AnyFunction:
    """``function`` with JAX's default types of 32 bits, its default promotion and its default random numbers, while it
    runs or is traced."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with (
            jax.enable_x64(False),
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
            jax.default_prng_impl("threefry2x32"),
            jax.threefry_partitionable(True),
        ):
            return function(*args, **kwargs)

    return run  # pyright: ignore[reportReturnType]
