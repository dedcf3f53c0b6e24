"""The LSTM core: the baseline that every modular core is held against (Hochreiter & Schmidhuber, 1997)."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarims.agents.cells import forget_one, step_lstm
from metarims.agents.core import zero_where
from metarims.agents.fast_gradients import multiply, project
from metarims.agents.init import init_fan_in
from metarims.gridworld.precision import in_32_bits


class LSTMState(NamedTuple):
    hidden: Float[Array, "B H"]
    cell: Float[Array, "B H"]


class LSTMModule(eqx.Module):
    """The weights of one LSTM; gates in the order input, forget, candidate, output."""

    from_input: Float[Array, "D H4"]
    from_hidden: Float[Array, "H H4"]
    bias: Float[Array, " H4"]


class LSTMCore(eqx.Module):
    """One LSTM over the features. Its parameters are the group ``modules``; it has no attention."""

    modules: LSTMModule

    @in_32_bits
    def __init__(self, input_dim: int, dim: int, *, key: PRNGKeyArray):
        key_input, key_hidden = jax.random.split(key)
        self.modules = LSTMModule(
            from_input=init_fan_in(key_input, (input_dim, 4 * dim)),
            from_hidden=init_fan_in(key_hidden, (dim, 4 * dim)),
            bias=forget_one(dim),
        )

    def groups(self) -> dict[str, LSTMModule]:
        return {"modules": self.modules}

    @property
    def output_dim(self) -> int:
        return self.modules.from_hidden.shape[0]

    @in_32_bits
    def initial_state(self, num_envs: int, key: PRNGKeyArray | None = None) -> LSTMState:
        zeros = jnp.zeros((num_envs, self.output_dim))
        return LSTMState(zeros, zeros)

    def reset(self, state: LSTMState, done: Bool[Array, " B"]) -> LSTMState:
        return zero_where(done, state)

    @in_32_bits
    def project_inputs(self, x: Float[Array, "*B D"]) -> Float[Array, "*B H4"]:
        return project(x, self.modules.from_input) + self.modules.bias

    @in_32_bits
    def step(
        self, inputs: Float[Array, "B H4"], state: LSTMState
    ) -> tuple[LSTMState, tuple[Float[Array, "B H"], tuple[()]]]:
        hidden, cell = step_lstm(inputs + multiply(state.hidden, self.modules.from_hidden), state.cell)
        return LSTMState(hidden, cell), (hidden, ())
