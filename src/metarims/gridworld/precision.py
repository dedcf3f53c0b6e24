"""Computing in 32 bits, whatever ``JAX_ENABLE_X64`` says: levels, agents and results do not depend on that switch."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

Args, Result = ParamSpec("Args"), TypeVar("Result")


def in_32_bits(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """``function`` with JAX's default types of 32 bits while it runs or is traced."""

    @wraps(function)
    def run(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return run
