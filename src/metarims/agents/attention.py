"""The two attentions of recurrent independent mechanisms: of modules to the input, and of modules to each other.

Arrays inside a core are module-major, "M B ...": one batched matrix product over modules is about twice as fast so.
"""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarims.agents.elements import ElementInputs, ElementSizes, ElementTable
from metarims.agents.fast_gradients import multiply, project, with_fast_gradient
from metarims.agents.layers import init_fan_in
from metarims.core_settings import RIMSettings


class InputAttention(eqx.Module):
    """Each module queries the input and a null slot (key 0, value 0).

    a_m = softmax([q_m . k / sqrt(d), 0]), whose first entry is sigmoid(q_m . k / sqrt(d)) (paper, section 2.1). With a
    temperature T the score is cos(q_m, k) / T instead: bounded, so that no module is shut off for good.
    """

    query: Float[Array, "M H hk"]
    query_bias: Float[Array, "M hk"]
    """Without it all queries are zero when an episode begins, all scores are equal, and the first k modules are active
    whatever the input."""
    key: Float[Array, "D hk"]
    value: Float[Array, "D hv"] | None
    num_heads: int = eqx.field(static=True)
    temperature: float = eqx.field(static=True)
    """0: scaled products."""

    def __init__(self, input_dim: int, settings: RIMSettings, *, key: PRNGKeyArray):
        num_modules, num_heads, key_dim = settings.num_modules, settings.input_heads, settings.key_dim
        key_q, key_b, key_k, key_v = jax.random.split(key, 4)
        self.query = init_fan_in(key_q, (num_modules, settings.module_dim, num_heads * key_dim))
        self.query_bias = jax.random.normal(key_b, (num_modules, num_heads * key_dim))
        self.temperature, value_dim = settings.input_temperature, settings.value_dim
        scale = 1.0 if self.temperature else settings.key_init_scale
        self.key = init_fan_in(key_k, (input_dim, num_heads * key_dim), scale)
        self.value = init_fan_in(key_v, (input_dim, num_heads * value_dim)) if value_dim else None
        self.num_heads = num_heads

    def project_keys(self, x: Float[Array, "*B D"]) -> Float[Array, "*B hk"]:
        """The input's keys of all heads, ready for ``score``."""
        keys = project(x, self.key)
        return normalize(self._by_head(keys)).reshape(keys.shape) if self.temperature else keys

    def score(self, queries: Float[Array, "M B hk"], keys: Float[Array, "B hk"]) -> Float[Array, "M B heads"]:
        """Score of the input for each module, per head; its sigmoid is the attention weight of the input, and the
        rest of one is that of the null slot."""
        queries, keys = self._by_head(queries), self._by_head(keys)
        if self.temperature:
            return jnp.einsum("mbhd,bhd->mbh", normalize(queries), keys) / self.temperature
        return jnp.einsum("mbhd,bhd->mbh", queries, keys) * keys.shape[-1] ** -0.5

    def _by_head(self, x: Float[Array, "*B hk"]) -> Float[Array, "*B heads k"]:
        return x.reshape(*x.shape[:-1], self.num_heads, -1)


class ElementAttention(eqx.Module):
    """Each module asks the elements of the input, by queries from its state and from the mission."""

    elements: ElementTable
    query: Float[Array, "M H hk"]
    query_bias: Float[Array, "M hk"]
    num_heads: int = eqx.field(static=True)

    def __init__(self, sizes: ElementSizes, settings: RIMSettings, *, key: PRNGKeyArray):
        num_modules, num_heads, key_dim = settings.num_modules, settings.input_heads, settings.key_dim
        key_q, key_b, key_e = jax.random.split(key, 3)
        self.query = init_fan_in(key_q, (num_modules, settings.module_dim, num_heads * key_dim))
        self.query_bias = jax.random.normal(key_b, (num_modules, num_heads * key_dim))
        self.elements = ElementTable(sizes, num_modules * num_heads, key_dim, settings.value_dim, key=key_e)
        self.num_heads = num_heads

    def read(
        self, queries: Float[Array, "M B hk"], inputs: ElementInputs
    ) -> tuple[Float[Array, "M B heads v"], Float[Array, "M B heads E"], Float[Array, "M B heads"]]:
        """What every head reads, its softmax over the elements, and the score of the whole set."""
        num_modules, num_envs, _ = queries.shape
        queries = jnp.swapaxes(queries, 0, 1).reshape(num_envs, -1)
        queries = queries if inputs.queries is None else queries + inputs.queries
        reading = self.elements.read(queries.reshape(num_envs, num_modules * self.num_heads, -1), inputs)

        def by_module(x):
            return jnp.swapaxes(x.reshape(num_envs, num_modules, self.num_heads, *x.shape[2:]), 0, 1)

        return by_module(reading.values), by_module(reading.attention), by_module(reading.score)


def rank(scores: Float[Array, "M B heads"]) -> Float[Array, "M B"]:
    """Numbers that order the modules by their mean attention over heads: with one head its scores, with several how
    many modules attend less.

    Each pair of modules i, j is compared by the sum over heads of sigmoid(i) - sigmoid(j), that is sigmoid(i)
    sigmoid(-j) - sigmoid(-i) sigmoid(j), relative to the largest of these products: float32 orders modules where it
    rounds their attention to 0 or 1.
    """
    num_modules, num_heads = scores.shape[0], scores.shape[-1]
    if num_heads == 1:
        return scores[..., 0]
    scores = jax.lax.stop_gradient(scores)
    i, j = np.triu_indices(num_modules, 1)
    attended, missed = jax.nn.log_sigmoid(scores), jax.nn.log_sigmoid(-scores)
    more, less = (
        jnp.where(scores[i] == scores[j], jnp.finfo(scores.dtype).min, product)
        for product in (attended[i] + missed[j], missed[i] + attended[j])
    )
    largest = jnp.maximum(more, less).max(axis=-1, keepdims=True)
    gap = (jnp.exp(more - largest) - jnp.exp(less - largest)).sum(axis=-1)
    first, second = (jnp.asarray(np.eye(num_modules)[:, index], scores.dtype) for index in (i, j))
    return first @ (gap > 0).astype(scores.dtype) + second @ (gap < 0).astype(scores.dtype)


def choose_top_k(scores: Float[Array, " M *B"], num_active: int) -> Bool[Array, " M *B"]:
    """The ``num_active`` modules with the highest scores; of equal ones the first. No gradient flows through it.

    Counts for each module how many beat it: M is small, and ``lax.top_k`` is slow on CPU.
    """
    scores = jax.lax.stop_gradient(scores)
    index = jnp.arange(scores.shape[0]).reshape(-1, *[1] * (scores.ndim - 1))
    ahead = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & (index[None] < index[:, None]))
    return ahead.sum(axis=1) < num_active


def _columns(x: Float[Array, "*B N"]) -> list[Float[Array, "*B 1"]]:
    return jnp.split(x, x.shape[-1], axis=-1)


def _softmax_backward(attention, gradient):
    return (attention * (gradient - sum(_columns(attention * gradient))),)


@with_fast_gradient(_softmax_backward)
def softmax(scores: Float[Array, "*B N"]) -> tuple[Float[Array, "*B N"], Any]:
    """Softmax over a short last axis, whose sums are written out: XLA's CPU library takes 0.2 us for each."""
    largest = functools.reduce(jnp.maximum, _columns(scores))
    weights = jnp.exp(scores - jax.lax.stop_gradient(largest))
    attention = weights / sum(_columns(weights))
    return attention, attention


def _match_backward(residuals, gradient):
    query, key = residuals
    key_bar = jnp.moveaxis(query, 0, -1) @ gradient  # B heads d N
    return jnp.einsum("bhmn,nbhd->mbhd", gradient, key), jnp.moveaxis(key_bar, -1, 0)


@with_fast_gradient(_match_backward)
def match(
    query: Float[Array, "M B heads d"], key: Float[Array, "N B heads d"]
) -> tuple[Float[Array, "B heads M N"], Any]:
    """Products of each module's query with each module's key.

    The keys' fast gradient is a product with the modules' axis last: left alone, XLA's CPU compiler sums it number by
    number, and training takes a tenth longer.
    """
    return jnp.einsum("mbhd,nbhd->bhmn", query, key), (query, key)


_SMALL = 1e-6
"""Added to the squares of lengths: keeps the gradient of ``normalize`` finite at zero."""


def _normalize_backward(residuals, gradient):
    direction, scale = residuals
    return (scale * (gradient - direction * sum(_columns(direction * gradient))),)


@with_fast_gradient(_normalize_backward)
def normalize(x: Float[Array, "*B d"]) -> tuple[Float[Array, "*B d"], Any]:
    """The vectors of a short last axis scaled to length one (L2)."""
    scale = jax.lax.rsqrt(sum(_columns(x * x)) + _SMALL)
    return x * scale, (x * scale, scale)


class Communication(eqx.Module):
    """Active modules attend to all modules and add the message to their state (paper, section 2.1).

    Queries, keys and values come from the candidate states by weights of each module's own. With a temperature, the
    scores are cosines of queries and keys divided by it; states are small, and plain products of them leave the
    attention uniform.
    """

    query: Float[Array, "M H C"]
    key: Float[Array, "M H C"]
    value: Float[Array, "M H C"]
    output: Float[Array, "M C H"]
    gate: Float[Array, "M C H"] | None
    log_temperature: Float[Array, " heads"] | None
    """None: scores are scaled products (Vaswani et al., 2017)."""
    num_heads: int = eqx.field(static=True)

    def __init__(self, settings: RIMSettings, *, key: PRNGKeyArray):
        num_modules, module_dim, dim = settings.num_modules, settings.module_dim, settings.communication_dim
        key_q, key_k, key_v, key_o, key_g = jax.random.split(key, 5)
        self.query = init_fan_in(key_q, (num_modules, module_dim, dim))
        self.key = init_fan_in(key_k, (num_modules, module_dim, dim))
        self.value = init_fan_in(key_v, (num_modules, module_dim, dim))
        self.output = init_fan_in(key_o, (num_modules, dim, module_dim), settings.message_init_scale)
        self.gate = init_fan_in(key_g, (num_modules, dim, module_dim)) if settings.communication_gate else None
        heads, temperature = settings.communication_heads, settings.communication_temperature
        self.log_temperature = jnp.full(heads, math.log(temperature)) if settings.communication_norm else None
        self.num_heads = settings.communication_heads

    def __call__(self, hidden: Float[Array, "M B H"]) -> tuple[Float[Array, "M B H"], Float[Array, "B M M"]]:
        """The message to each module, and its attention to each module (mean over heads)."""
        weights = jnp.concatenate([self.query, self.key, self.value], axis=-1)
        projected = multiply(hidden, weights)
        query, key, value = jnp.split(projected.reshape(*hidden.shape[:2], 3 * self.num_heads, -1), 3, axis=2)
        if self.log_temperature is None:
            scores = match(query, key) * query.shape[-1] ** -0.5
        else:
            scores = match(normalize(query) * jnp.exp(-self.log_temperature)[:, None], normalize(key))
        attention = softmax(scores)
        received = jnp.einsum("bhmn,nbhd->mbhd", attention, value).reshape(*hidden.shape[:2], -1)
        message = multiply(received, self.output)
        if self.gate is not None:
            message = jnp.tanh(message) * jax.nn.sigmoid(multiply(received, self.gate))
        return message, attention.mean(axis=1)
