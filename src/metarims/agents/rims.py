"""Recurrent independent mechanisms: modules that compete for the input and communicate (paper, section 2.1).

One step is four stages: attend to the input, select the active modules, step their cells, communicate.
"""

import copy
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from metarims.agents.attention import Communication, ElementAttention, InputAttention, rank
from metarims.agents.core import ModuleMetrics, zero_where
from metarims.agents.elements import ElementInputs, ElementSizes
from metarims.agents.fast_gradients import multiply, project
from metarims.agents.layers import forget_one, init_fan_in, step_gru, step_lstm
from metarims.agents.router import Router, make_router
from metarims.core_settings import RIMSettings, RouterKind


class RIMState(NamedTuple):
    hidden: Float[Array, "B M H"]
    cell: Float[Array, "B M H"]
    """Of an LSTM; a GRU leaves it at zero."""
    random_bits: UInt32[Array, "B 2"] | None = None
    """Where the router draws: learning replays the same draws. They run on through episodes' ends."""


class RIMInputs(NamedTuple):
    """Projections of the input that need no state: keys, and the values already multiplied by the modules' weights."""

    keys: Float[Array, "*B hk"]
    gates: Float[Array, "*B M heads GH"]


class RIMModules(eqx.Module):
    """The recurrent weights of all modules, each with its own."""

    from_input: Float[Array, "M heads value GH"]
    from_hidden: Float[Array, "M H GH"]
    bias: Float[Array, "M GH"]


class RIMAttention(eqx.Module):
    """Both attentions: the parameters that the paper learns slowly."""

    input: InputAttention | ElementAttention
    communication: Communication | None


class RIMCore(eqx.Module):
    """N modules of which k are active at each step."""

    modules: RIMModules
    attention: RIMAttention
    router: Router = eqx.field(static=True)
    cell: Literal["lstm", "gru"] = eqx.field(static=True)
    input_gate: Literal["null_slot", "modules", "none"] = eqx.field(static=True)
    """How strongly a module reads (``RIMSettings.input_gate``)."""
    mask_inactive_inputs: bool = eqx.field(static=True)
    """Inactive modules get a zero input, so that their candidate states know nothing of it (as in a public cell)."""
    average_input: bool = eqx.field(static=True, default=False)
    """Each module reads the input with the mean of all modules' attention weights."""

    def __init__(
        self,
        input_dim: int | ElementSizes,
        settings: RIMSettings,
        *,
        mask_inactive_inputs: bool = False,
        key: PRNGKeyArray,
    ):
        key_attend, key_communicate, key_input, key_hidden = jax.random.split(key, 4)
        num_modules, module_dim, input_heads = settings.num_modules, settings.module_dim, settings.input_heads
        self.cell, self.mask_inactive_inputs = settings.cell, mask_inactive_inputs
        self.input_gate = settings.input_gate
        value_dim = settings.value_dim if isinstance(input_dim, ElementSizes) else settings.value_dim or input_dim
        gates_dim = (4 if self.cell == "lstm" else 3) * module_dim
        self.modules = RIMModules(
            from_input=init_fan_in(key_input, (num_modules, input_heads, value_dim, gates_dim)) * input_heads**-0.5,
            from_hidden=init_fan_in(key_hidden, (num_modules, module_dim, gates_dim)),
            bias=forget_one(num_modules, module_dim) if self.cell == "lstm" else jnp.zeros((num_modules, gates_dim)),
        )
        self.attention = RIMAttention(
            input=ElementAttention(input_dim, settings, key=key_attend)
            if isinstance(input_dim, ElementSizes)
            else InputAttention(input_dim, settings, key=key_attend),
            communication=Communication(settings, key=key_communicate) if settings.communication_heads else None,
        )
        self.router = make_router(num_modules, settings.num_active, settings.router)

    def groups(self) -> dict[str, eqx.Module]:
        return {"modules": self.modules, "attention": self.attention}

    @property
    def num_modules(self) -> int:
        return self.modules.from_hidden.shape[0]

    @property
    def output_dim(self) -> int:
        return self.num_modules * self.modules.from_hidden.shape[1]

    @property
    def num_active(self) -> int:
        return self.router.num_active

    def with_active(self, num_active: int, *, drawn: bool = False) -> "RIMCore":
        """The same weights with fewer active modules (``Router.with_active``)."""
        return self._changed("router", self.router.with_active(num_active, drawn=drawn))

    def with_router(self, kind: RouterKind) -> "RIMCore":
        """The same weights with another way to select active modules (``Router.with_kind``)."""
        return self._changed("router", self.router.with_kind(kind))

    def with_average_input(self) -> "RIMCore":
        """The same weights with ``average_input``."""
        return self._changed("average_input", True)

    def _changed(self, name: str, value: Any) -> "RIMCore":
        core = copy.copy(self)
        object.__setattr__(core, name, value)
        return core

    def initial_state(self, num_envs: int, key: PRNGKeyArray | None = None) -> RIMState:
        """``key``: for other random bits than those that the weights give, which differ between agents."""
        zeros = jnp.zeros((num_envs, self.num_modules, self.modules.from_hidden.shape[1]))
        if not self.router.draws:
            return RIMState(zeros, zeros)
        bits = jax.lax.bitcast_convert_type(self.attention.input.query_bias.reshape(-1)[:2], jnp.uint32)
        if key is not None:
            bits = bits + jax.random.bits(key, (2,), jnp.uint32)
        return RIMState(zeros, zeros, jnp.arange(2 * num_envs, dtype=jnp.uint32).reshape(-1, 2) + bits)

    def reset(self, state: RIMState, done: Bool[Array, " B"]) -> RIMState:
        return zero_where(done, state._replace(random_bits=None))._replace(random_bits=state.random_bits)

    def with_tiles(self, tiles: Float[Array, "60 C"]) -> "RIMCore":
        if isinstance(self.attention.input, InputAttention):
            return self
        return eqx.tree_at(
            lambda core: core.attention.input.elements, self, self.attention.input.elements.with_tiles(tiles)
        )

    def project_inputs(self, x: Any) -> RIMInputs | ElementInputs:
        attention = self.attention.input
        if isinstance(attention, ElementAttention):
            return attention.elements.project_elements(x)
        heads = attention.num_heads
        values = [x] * heads if attention.value is None else jnp.split(project(x, attention.value), heads, axis=-1)
        weights = jnp.moveaxis(self.modules.from_input, 0, 2).reshape(heads, values[0].shape[-1], -1)
        gates = [
            project(value, weight).reshape(*x.shape[:-1], self.num_modules, -1)
            for value, weight in zip(values, weights, strict=True)
        ]
        return RIMInputs(attention.project_keys(x), jnp.stack(gates, axis=-2))

    def step(self, inputs: Any, state: RIMState) -> tuple[RIMState, tuple[Float[Array, "B O"], ModuleMetrics]]:
        hidden, cell = jnp.swapaxes(state.hidden, 0, 1), jnp.swapaxes(state.cell, 0, 1)
        # Attend to the input. The query and the recurrent part of the gates share one product over the state.
        weights = jnp.concatenate([self.attention.input.query, self.modules.from_hidden], axis=-1)
        products = multiply(hidden, weights)
        queries, recurrent = jnp.split(products, [self.attention.input.query.shape[-1]], axis=-1)
        gates, scores, strength, elements = self._attend(queries + self.attention.input.query_bias[:, None], inputs)
        # Select the active modules.
        active, random_bits = self.router.select(rank(scores), state.random_bits)
        is_active = active[..., None]
        gates = jnp.where(is_active, gates, 0.0) if self.mask_inactive_inputs else gates
        # Step the cells. Others can attend to inactive modules' candidate states, which learn nothing from that.
        new_hidden, new_cell = self._step_cells(gates, recurrent, hidden, cell)
        new_hidden = jnp.where(is_active, new_hidden, jax.lax.stop_gradient(new_hidden))
        # Communicate.
        communication = jnp.zeros((hidden.shape[1], self.num_modules, self.num_modules))
        if self.attention.communication is not None:
            message, communication = self.attention.communication(new_hidden)
            new_hidden = new_hidden + message
        hidden = jnp.swapaxes(jnp.where(is_active, new_hidden, hidden), 0, 1)
        cell = jnp.swapaxes(jnp.where(is_active, new_cell, cell), 0, 1)
        metrics = ModuleMetrics(active.T, strength.mean(axis=-1).T, communication, elements)
        return RIMState(hidden, cell, random_bits), (hidden.reshape(hidden.shape[0], -1), metrics)

    def _attend(
        self, queries: Float[Array, "M B hk"], inputs: Any
    ) -> tuple[
        Float[Array, "M B GH"], Float[Array, "M B heads"], Float[Array, "M B heads"], Float[Array, "B M E"] | None
    ]:
        """The input's part of the gates, the scores that select modules, how strongly each module reads, and its
        attention to every element of a set."""
        attention = self.attention.input
        if isinstance(attention, InputAttention):
            scores = attention.score(queries, inputs.keys)
            strength = self._average(self._gate(scores))
            return jnp.einsum("mbh,bmho->mbo", strength, inputs.gates), scores, strength, None
        read, weights, scores = attention.read(queries, inputs)
        strength = self._gate(scores)
        read = self._average(strength[..., None] * read).reshape(*queries.shape[:2], -1)
        gates = multiply(read, self.modules.from_input.reshape(self.num_modules, read.shape[-1], -1))
        elements = self._average(jax.lax.stop_gradient(strength[..., None] * weights)).mean(2)
        return gates, scores, self._average(strength), jnp.swapaxes(elements, 0, 1)

    def _average(self, x: Float[Array, "M B *rest"]) -> Float[Array, "M B *rest"]:
        """The same, or the mean over modules (``average_input``)."""
        return jnp.broadcast_to(x.mean(0), x.shape) if self.average_input else x

    def _gate(self, scores: Float[Array, "M B heads"]) -> Float[Array, "M B heads"]:
        if self.input_gate == "none":
            return jnp.ones_like(scores)
        return jax.nn.sigmoid(scores) if self.input_gate == "null_slot" else jax.nn.softmax(scores, axis=0)

    def _step_cells(
        self,
        inputs: Float[Array, "M B GH"],
        recurrent: Float[Array, "M B GH"],
        hidden: Float[Array, "M B H"],
        cell: Float[Array, "M B H"],
    ) -> tuple[Float[Array, "M B H"], Float[Array, "M B H"]]:
        bias = self.modules.bias[:, None]
        if self.cell == "lstm":
            return step_lstm(inputs + recurrent + bias, cell)
        return step_gru(inputs + bias, recurrent, hidden), cell
