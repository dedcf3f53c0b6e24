"""Rows of a table, with a gradient that is fast on every device."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from metarims.agents.fast_gradients import with_fast_gradient


def _lookup_backward(residuals, gradient):
    rows, table = residuals
    flat, gradient = rows.reshape(-1), gradient.reshape(-1, gradient.shape[-1])

    def scatter(flat, gradient):
        zeros = jnp.zeros((table.shape[0], gradient.shape[-1]), gradient.dtype)
        return zeros.at[flat].add(gradient, mode="promise_in_bounds")

    def multiply(flat, gradient):
        return jax.nn.one_hot(flat, table.shape[0], dtype=gradient.dtype, axis=0) @ gradient

    summed = jax.lax.platform_dependent(flat, gradient, cpu=scatter, default=multiply)
    return summed, np.zeros(rows.shape, jax.dtypes.float0)


@with_fast_gradient(_lookup_backward)
def _lookup(table, rows):
    return table.at[rows].get(mode="promise_in_bounds"), (rows, jnp.zeros((table.shape[0], 0), table.dtype))


def lookup(table: Float[Array, "R D"], rows: Integer[Array, "*B"]) -> Float[Array, "*B D"]:
    """Rows of a table; every row number must exist.

    The fast gradient is a sum over equal rows. On CPU a scatter is 3 to 9 times faster than a product with one-hot
    rows; on accelerators, where a scatter's order of summation varies and few rows collide, it is the product.
    """
    return _lookup(table, rows.astype(jnp.int32))
