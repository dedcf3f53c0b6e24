"""Recurrent independent mechanisms: modules that compete for the input and talk (paper, section 2.1).

One step is four stages: read, choose, step, talk.
"""

import copy
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from metarims.agents.attention import Communication, InputAttention, choose_top_k, rank
from metarims.agents.cells import forget_one, step_gru, step_lstm
from metarims.agents.core import CoreMetrics, zero_where
from metarims.agents.init import init_fan_in
from metarims.agents.products import multiply, project
from metarims.core_settings import RIMSettings
from metarims.errors import UserError


class RIMState(NamedTuple):
    hidden: Float[Array, "B M H"]
    cell: Float[Array, "B M H"]
    """Of an LSTM; a GRU leaves it at zero."""
    dice: UInt32[Array, "B 2"] | None = None
    """Where sets are drawn, so that learning replays those that acted; it runs on through episodes' ends."""


class RIMRead(NamedTuple):
    """What of reading the input needs no state: keys, and the values already carried through the modules' weights."""

    keys: Float[Array, "*B hk"]
    gates: Float[Array, "*B M heads GH"]


class RIMModules(eqx.Module):
    """The recurrent weights of all modules, each with its own."""

    from_input: Float[Array, "M heads value GH"]
    from_hidden: Float[Array, "M H GH"]
    bias: Float[Array, "M GH"]


class RIMAttention(eqx.Module):
    """Both attentions: the parameters that the paper learns slowly."""

    input: InputAttention
    communication: Communication | None


class RIMCore(eqx.Module):
    """N modules of which k act at each step."""

    modules: RIMModules
    attention: RIMAttention
    num_active: int = eqx.field(static=True)
    num_candidates: int = eqx.field(static=True)
    """So many modules attend most, and of these the active ones are drawn; as many as act where nothing is drawn."""
    fixed: bool = eqx.field(static=True)
    """The first modules count as those that attend most."""
    cell: Literal["lstm", "gru"] = eqx.field(static=True)
    mask_inactive_inputs: bool = eqx.field(static=True)
    """Inactive modules read zeros, so that what is heard of them knows nothing of the input (a public cell's way)."""

    def __init__(self, input_dim: int, settings: RIMSettings, *, mask_inactive_inputs: bool = False, key: PRNGKeyArray):
        key_read, key_talk, key_input, key_hidden = jax.random.split(key, 4)
        num_modules, module_dim, input_heads = settings.num_modules, settings.module_dim, settings.input_heads
        self.cell, self.mask_inactive_inputs = settings.cell, mask_inactive_inputs
        gates_dim = (4 if self.cell == "lstm" else 3) * module_dim
        self.modules = RIMModules(
            from_input=init_fan_in(key_input, (num_modules, input_heads, settings.value_dim, gates_dim))
            * input_heads**-0.5,
            from_hidden=init_fan_in(key_hidden, (num_modules, module_dim, gates_dim)),
            bias=forget_one(num_modules, module_dim) if self.cell == "lstm" else jnp.zeros((num_modules, gates_dim)),
        )
        self.attention = RIMAttention(
            input=InputAttention(input_dim, settings, key=key_read),
            communication=Communication(settings, key=key_talk) if settings.communication_heads else None,
        )
        self.num_active = num_modules if settings.router == "all" else settings.num_active
        self.num_candidates = num_modules if settings.router == "random" else self.num_active
        self.fixed = settings.router == "fixed"

    def groups(self) -> dict[str, eqx.Module]:
        return {"modules": self.modules, "attention": self.attention}

    @property
    def num_modules(self) -> int:
        return self.modules.from_hidden.shape[0]

    @property
    def output_dim(self) -> int:
        return self.num_modules * self.modules.from_hidden.shape[1]

    def with_active(self, num_active: int, *, drawn: bool = False) -> "RIMCore":
        """The same weights, of which fewer modules act at a step: of those that act now the ones that attend most, or
        some that are drawn anew at each step.

        Where sets are drawn already, fewer can only be drawn too; otherwise a ``UserError``.
        """
        if self.num_candidates > self.num_active and not drawn:
            raise UserError("The sets of this core are drawn: fewer cannot be those that attend most; say drawn=True.")
        core = copy.copy(self)
        object.__setattr__(core, "num_active", num_active)
        object.__setattr__(core, "num_candidates", self.num_candidates if drawn else num_active)
        return core

    def initial_state(self, num_envs: int) -> RIMState:
        zeros = jnp.zeros((num_envs, self.num_modules, self.modules.from_hidden.shape[1]))
        dice = self._dice(num_envs) if self.num_candidates > self.num_active else None
        return RIMState(zeros, zeros, dice)

    def _dice(self, num_envs: int) -> UInt32[Array, "B 2"]:
        """Other numbers for each environment, and for each agent: weights tell agents apart."""
        salt = jax.lax.bitcast_convert_type(self.attention.input.query_bias.reshape(-1)[:2], jnp.uint32)
        return jnp.arange(2 * num_envs, dtype=jnp.uint32).reshape(-1, 2) + salt

    def reset(self, state: RIMState, done: Bool[Array, " B"]) -> RIMState:
        return zero_where(done, state._replace(dice=None))._replace(dice=state.dice)

    def read(self, x: Float[Array, "*B D"]) -> RIMRead:
        heads = self.attention.input.num_heads
        values = jnp.split(project(x, self.attention.input.value), heads, axis=-1)
        weights = jnp.moveaxis(self.modules.from_input, 0, 2).reshape(heads, values[0].shape[-1], -1)
        gates = [
            project(value, weight).reshape(*x.shape[:-1], self.num_modules, -1)
            for value, weight in zip(values, weights, strict=True)
        ]
        return RIMRead(project(x, self.attention.input.key), jnp.stack(gates, axis=-2))

    def step(self, read: RIMRead, state: RIMState) -> tuple[RIMState, tuple[Float[Array, "B O"], CoreMetrics]]:
        hidden, cell = jnp.swapaxes(state.hidden, 0, 1), jnp.swapaxes(state.cell, 0, 1)
        # Read. The query and the recurrent part of the gates share one product over the state.
        weights = jnp.concatenate([self.attention.input.query, self.modules.from_hidden], axis=-1)
        products = multiply(hidden, weights)
        queries, recurrent = jnp.split(products, [self.attention.input.query.shape[-1]], axis=-1)
        scores = self.attention.input.score(queries + self.attention.input.query_bias[:, None], read.keys)
        attention = jax.nn.sigmoid(scores)
        inputs = jnp.einsum("mbh,bmho->mbo", attention, read.gates)
        # Choose.
        active, dice = self._choose(rank(scores), state.dice)
        act = active[..., None]
        inputs = jnp.where(act, inputs, 0.0) if self.mask_inactive_inputs else inputs
        # Step. Inactive candidates can be heard, but learn nothing from being heard.
        new_hidden, new_cell = self._step_cells(inputs, recurrent, hidden, cell)
        new_hidden = jnp.where(act, new_hidden, jax.lax.stop_gradient(new_hidden))
        # Talk.
        heard = jnp.zeros((hidden.shape[1], self.num_modules, self.num_modules))
        if self.attention.communication is not None:
            message, heard = self.attention.communication(new_hidden)
            new_hidden = new_hidden + message
        hidden = jnp.swapaxes(jnp.where(act, new_hidden, hidden), 0, 1)
        cell = jnp.swapaxes(jnp.where(act, new_cell, cell), 0, 1)
        metrics = CoreMetrics(active.T, attention.mean(axis=-1).T, heard)
        return RIMState(hidden, cell, dice), (hidden.reshape(hidden.shape[0], -1), metrics)

    def _choose(
        self, scores: Float[Array, "M B"], dice: UInt32[Array, "B 2"] | None
    ) -> tuple[Bool[Array, "M B"], UInt32[Array, "B 2"] | None]:
        if self.num_active == self.num_modules:
            return jnp.ones(scores.shape, bool), dice
        if self.fixed:
            scores = jnp.zeros_like(scores)  # Of equal ones the first win.
        if dice is None:
            return choose_top_k(scores, self.num_active), dice
        rolls, dice = draw_uniform(dice, self.num_modules)
        if self.num_candidates < self.num_modules:
            rolls = jnp.where(choose_top_k(scores, self.num_candidates), rolls, -1.0)
        return choose_top_k(rolls, self.num_active), dice

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


def draw_uniform(dice: UInt32[Array, "B 2"], num_modules: int) -> tuple[Float[Array, "M B"], UInt32[Array, "B 2"]]:
    """A uniform number for every module of every environment, and the dice for the next step."""

    def roll(words):
        key, key_roll = jax.random.split(jax.random.wrap_key_data(words))
        return jax.random.uniform(key_roll, (num_modules,)), jax.random.key_data(key)

    return jax.vmap(roll, out_axes=(-1, 0))(dice)
