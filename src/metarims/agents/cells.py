"""The recurrent cells' arithmetic, given their gates' pre-activations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def step_lstm(
    gates: Float[Array, "*B H4"], cell: Float[Array, "*B H"]
) -> tuple[Float[Array, "*B H"], Float[Array, "*B H"]]:
    """New hidden and cell state from the gates' pre-activations."""
    enter, forget, candidate, output = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    return jax.nn.sigmoid(output) * jnp.tanh(cell), cell


def forget_one(*shape: int) -> Float[Array, "*M H4"]:
    """Zero biases but for the forget gate's, which are one, so that memory lasts from the start."""
    bias = jnp.zeros((*shape[:-1], 4, shape[-1]))
    return bias.at[..., 1, :].set(1.0).reshape(*shape[:-1], 4 * shape[-1])


def step_gru(
    inputs: Float[Array, "*B H3"], recurrent: Float[Array, "*B H3"], hidden: Float[Array, "*B H"]
) -> Float[Array, "*B H"]:
    """New hidden state of a GRU (Cho et al., 2014), gates in the order reset, update, candidate."""
    reset_x, update_x, new_x = jnp.split(inputs, 3, axis=-1)
    reset_h, update_h, new_h = jnp.split(recurrent, 3, axis=-1)
    update = jax.nn.sigmoid(update_x + update_h)
    candidate = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
    return (1 - update) * candidate + update * hidden
