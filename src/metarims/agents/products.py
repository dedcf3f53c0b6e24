"""Matrix products whose gradients XLA's CPU compiler computes at full speed.

Left alone, it multiplies by a transposed matrix at a third of the speed, or number by number where the matrix is small.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def project(x: Float[Array, "*B I"], weights: Float[Array, "I O"]) -> Float[Array, "*B O"]:
    """``x @ weights``, for weights that apply to many rows at once; its gradients find their factors transposed."""
    return x @ weights


def _project_backward(factors, product_bar):
    x, weights = factors
    rows, rows_bar = x.reshape(-1, x.shape[-1]), product_bar.reshape(-1, product_bar.shape[-1])
    return product_bar @ transposed(weights), transposed(rows) @ rows_bar


project.defvjp(lambda x, weights: (x @ weights, (x, weights)), _project_backward)


def transposed(matrices: Float[Array, "*M I O"]) -> Float[Array, "*M O I"]:
    """The transposes as arrays of their own, which the compiler does not undo."""
    return jax.lax.optimization_barrier(jnp.swapaxes(matrices, -1, -2))
