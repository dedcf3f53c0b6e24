"""The LSTM core: the baseline that every modular core is held against (Hochreiter & Schmidhuber, 1997)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarims.agents.core import zero_where
from metarims.agents.elements import ElementInputs, ElementSizes, ElementTable
from metarims.agents.fast_gradients import multiply, project
from metarims.agents.layers import forget_one, init_fan_in, step_lstm
from metarims.core_settings import LSTMSettings


class LSTMState(NamedTuple):
    hidden: Float[Array, "B H"]
    cell: Float[Array, "B H"]


class ElementQueries(eqx.Module):
    """What an LSTM asks of the elements: queries from its state and from the mission."""

    elements: ElementTable
    query: Float[Array, "H Qk"]
    query_bias: Float[Array, " Qk"]


class LSTMModule(eqx.Module):
    """The weights of one LSTM; gates in the order input, forget, candidate, output."""

    from_input: Float[Array, "D H4"]
    from_hidden: Float[Array, "H H4"]
    bias: Float[Array, " H4"]
    reading: ElementQueries | None
    """Where the input is a set."""


class LSTMCore(eqx.Module):
    """One LSTM over the features, or over what it reads from a set by as many queries as it has heads.

    Its parameters are the group ``modules``.
    """

    modules: LSTMModule
    num_queries: int = eqx.field(static=True)

    def __init__(self, input_dim: int | ElementSizes, settings: LSTMSettings, *, key: PRNGKeyArray):
        key_input, key_hidden = jax.random.split(key)
        dim, queries, reading = settings.hidden_dim, settings.input_heads, None
        if isinstance(input_dim, ElementSizes):
            key_elements, key_query, key_bias = jax.random.split(jax.random.fold_in(key, 1), 3)
            width = queries * settings.key_dim
            reading = ElementQueries(
                ElementTable(input_dim, queries, settings.key_dim, settings.value_dim, key=key_elements),
                init_fan_in(key_query, (dim, width)),
                jax.random.normal(key_bias, (width,)),
            )
            input_dim = queries * settings.value_dim
        self.modules = LSTMModule(
            from_input=init_fan_in(key_input, (input_dim, 4 * dim)),
            from_hidden=init_fan_in(key_hidden, (dim, 4 * dim)),
            bias=forget_one(dim),
            reading=reading,
        )
        self.num_queries = queries

    def groups(self) -> dict[str, LSTMModule]:
        return {"modules": self.modules}

    @property
    def output_dim(self) -> int:
        return self.modules.from_hidden.shape[0]

    def initial_state(self, num_envs: int, key: PRNGKeyArray | None = None) -> LSTMState:
        zeros = jnp.zeros((num_envs, self.output_dim))
        return LSTMState(zeros, zeros)

    def reset(self, state: LSTMState, done: Bool[Array, " B"]) -> LSTMState:
        return zero_where(done, state)

    def project_inputs(self, x: Any) -> Float[Array, "*B H4"] | ElementInputs:
        if self.modules.reading is not None:
            return self.modules.reading.elements.project_elements(x)
        return project(x, self.modules.from_input) + self.modules.bias

    def step(self, inputs: Any, state: LSTMState) -> tuple[LSTMState, tuple[Float[Array, "B H"], tuple[()]]]:
        if self.modules.reading is None:
            gates = inputs + multiply(state.hidden, self.modules.from_hidden)
        else:
            gates = self._read(self.modules.reading, inputs, state.hidden) + self.modules.bias
        hidden, cell = step_lstm(gates, state.cell)
        return LSTMState(hidden, cell), (hidden, ())

    def with_tiles(self, tiles: Float[Array, "60 C"]) -> "LSTMCore":
        if self.modules.reading is None:
            return self
        return eqx.tree_at(
            lambda core: core.modules.reading.elements, self, self.modules.reading.elements.with_tiles(tiles)
        )

    def _read(
        self, reading: ElementQueries, inputs: ElementInputs, hidden: Float[Array, "B H"]
    ) -> Float[Array, "B H4"]:
        """Pre-activations of the gates, from what the queries read and from the state."""
        weights = jnp.concatenate([reading.query, self.modules.from_hidden], axis=-1)
        queries, recurrent = jnp.split(multiply(hidden, weights), [reading.query.shape[-1]], axis=-1)
        queries = queries + reading.query_bias
        queries = queries if inputs.queries is None else queries + inputs.queries
        read = reading.elements.read(queries.reshape(hidden.shape[0], self.num_queries, -1), inputs).values
        return multiply(read.reshape(hidden.shape[0], -1), self.modules.from_input) + recurrent
