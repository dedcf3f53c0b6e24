"""Computing in 32 bits, whatever ``JAX_ENABLE_X64`` says: levels, agents and results do not depend on that switch."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def in_32_bits(function: AnyFunction) -> AnyFunction:
    """``function`` with JAX's default types of 32 bits while it runs or is traced."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return run  # pyright: ignore[reportReturnType]
