"""What every recurrent core offers, and how a core runs over a span."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from metarims.agents.products import transposed

State = Any
"""A core's recurrent state: a pytree whose leaves begin with the environments' axis B."""


class CoreMetrics(NamedTuple):
    """What the modules did; an LSTM has none (M = 0)."""

    active: Bool[Array, "*B M"]
    """Which modules acted."""
    input_attention: Float[Array, "*B M"]
    """Attention of each module to the input rather than to the null slot, mean over heads."""
    communication: Float[Array, "*B M M"]
    """Attention of each module (first M) to all modules' candidate states, its own too (second M), mean over heads.
    What an idle module attends to has no effect; zeros where modules do not talk."""


@runtime_checkable
class Core(Protocol):
    """A recurrent core. ``read`` is what of a step needs no state, and so runs for a whole span at once."""

    @property
    def output_dim(self) -> int: ...
    def initial_state(self, num_envs: int) -> State: ...
    def reset(self, state: State, done: Bool[Array, " B"]) -> State: ...
    def read(self, x: Float[Array, "*B D"]) -> PyTree: ...
    def step(self, read: PyTree, state: State) -> tuple[State, tuple[Float[Array, "B O"], CoreMetrics]]: ...


def zero_where(done: Bool[Array, " B"], state: State) -> State:
    """The state with zeros where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(done.reshape(-1, *[1] * (leaf.ndim - 1)), 0, leaf), state)


def multiply(x: Float[Array, "*M B I"], weights: Float[Array, "*M I O"]) -> Float[Array, "*M B O"]:
    """``x @ weights`` for weights that a step applies to what depends on the state.

    It is a plain product, but within ``unroll`` the weights' gradient is then computed for the whole span at once; a
    scan would add it up step by step, a third of a long span's time where batches are small. So the weights must come
    from the core's parameters alone: gradients through weights that depend on the state or on the input would be lost.
    """
    return (_product.get() or jnp.matmul)(x, weights)


def unroll(
    core: Core, x: Float[Array, "T B D"], state: State, begins: Bool[Array, "T B"]
) -> tuple[State, tuple[Float[Array, "T B O"], CoreMetrics]]:
    """Run the core over a span; where ``begins``, the state is reset before the step."""
    return _unroll(core, core.read(x), state, begins)


@jax.custom_vjp
def _unroll(core, read, state, begins):
    return _scan(core, read, state, begins)


def _scan(core, read, state, begins):
    def step(state, inputs):
        read, begin = inputs
        return core.step(read, core.reset(state, begin))

    return jax.lax.scan(step, state, (read, begins))


def _unroll_forward(core, read, state, begins):
    """To every product of every step a zero is added, by which the products' gradients are then known."""
    first = jax.tree.map(lambda leaf: leaf[0], read)
    pairs = _products(core, first, state)
    products = [jax.eval_shape(jnp.matmul, *pair) for pair in pairs]
    zeros = [jnp.zeros((begins.shape[0], *product.shape), product.dtype) for product in products]
    transposes = [transposed(weights) for _, weights in pairs]

    def run(core, read, state, zeros):
        def step(state, inputs):
            read, begin, zeros = inputs
            factors = []

            def product(x, weights):
                factors.append(x)
                index = len(factors) - 1
                return _multiply(x, jax.lax.stop_gradient(weights), transposes[index]) + zeros[index]

            with _multiplying_by(product):
                state, output = core.step(read, core.reset(state, begin))
            return state, (output, factors)

        state, (output, factors) = jax.lax.scan(step, state, (read, begins, zeros))
        return (state, output), factors

    outputs, pull_back, factors = jax.vjp(run, core, read, state, zeros, has_aux=True)
    return outputs, (pull_back, factors, core, first, state)


def _unroll_backward(residuals, cotangents):
    pull_back, factors, core, first, state = residuals
    core_bar, read_bar, state_bar, products_bar = pull_back(cotangents)
    weights_bar = [
        transposed(_join_steps(x)) @ _join_steps(product) for x, product in zip(factors, products_bar, strict=True)
    ]
    _, pull_back = jax.vjp(lambda core: [weights for _, weights in _products(core, first, state)], core)
    core_bar = jax.tree.map(jnp.add, core_bar, *pull_back(weights_bar))
    return core_bar, read_bar, state_bar, None


def _join_steps(rows: Float[Array, "T *M B I"]) -> Float[Array, "*M TB I"]:
    """A span's rows one under another."""
    rows = jnp.moveaxis(rows, 0, -3)
    return rows.reshape(*rows.shape[:-3], -1, rows.shape[-1])


_unroll.defvjp(_unroll_forward, _unroll_backward)


@jax.custom_vjp
def _multiply(x, weights, transpose):
    """A product whose backward pass finds the weights transposed already, rather than at every step."""
    return x @ weights


_multiply.defvjp(
    lambda x, weights, transpose: (x @ weights, transpose),
    lambda transpose, product_bar: (product_bar @ transpose, None, None),
)


def _products(core: Core, read: PyTree, state: State) -> list[tuple[Array, Array]]:
    """Factors and weights of every product in one step, in order."""
    found = []

    def product(x, weights):
        found.append((x, weights))
        return x @ weights

    with _multiplying_by(product):
        core.step(read, state)
    return found


_product: ContextVar[Callable[[Array, Array], Array] | None] = ContextVar("product", default=None)


@contextmanager
def _multiplying_by(product: Callable[[Array, Array], Array]) -> Iterator[None]:
    """While a step is traced here, ``multiply`` is this function."""
    token = _product.set(product)
    try:
        yield
    finally:
        _product.reset(token)
