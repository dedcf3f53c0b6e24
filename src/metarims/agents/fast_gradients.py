"""Gradients at full speed, which the learner asks for by ``fast_gradients``; elsewhere all gradients are JAX's own.

Left alone, XLA's CPU compiler multiplies by a transposed matrix at a third of the speed, or number by number where the
matrix is small; and a scan adds up its weights' gradients step by step. The gradients written out here are right at
first order, and refuse to be differentiated again. JAX's own are right at any order, in forward mode, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jaxtyping import Array, Float, PyTree

from metarims.errors import UserError

Step = Callable[[Any, Any, Any], tuple[Any, Any]]
"""(module, state, inputs of one step) -> (state, outputs of the step)."""

_fast: ContextVar[bool] = ContextVar("fast", default=False)


@contextmanager
def fast_gradients() -> Iterator[None]:
    """What is traced here has fast gradients of first order; to differentiate them again is a ``UserError``."""
    token = _fast.set(True)
    try:
        yield
    finally:
        _fast.reset(token)


def with_fast_gradient(backward: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorate a function of arrays that returns its output and residuals; who calls it gets the output alone.

    Within ``fast_gradients`` its gradient is ``backward(residuals, gradient)``, as for ``jax.custom_vjp``; elsewhere
    JAX's own.
    """

    def decorate(forward: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
        fast = jax.custom_vjp(lambda *args: forward(*args)[0])
        fast.defvjp(forward, lambda residuals, gradient: _first_order_only(backward(residuals, gradient)))

        @wraps(forward)
        def call(*args):
            return fast(*args) if _fast.get() else forward(*args)[0]

        return call

    return decorate


def _first_order_only(gradients: Any) -> Any:
    """The same values, which cannot be differentiated."""
    return jax.tree.map(lambda leaf: leaf if leaf.dtype == jax.dtypes.float0 else _opaque(leaf), gradients)


@jax.custom_jvp
def _opaque(gradient):
    return gradient


@_opaque.defjvp
def _refuse(primals, tangents):
    raise UserError(
        "fast_gradients gives first derivatives only: for second derivatives trace outside of it.",
        field="fast_gradients",
    )


def _project_backward(factors, product_bar):
    x, weights = factors
    rows, rows_bar = x.reshape(-1, x.shape[-1]), product_bar.reshape(-1, product_bar.shape[-1])
    return product_bar @ _transposed(weights), _transposed(rows) @ rows_bar


@with_fast_gradient(_project_backward)
def project(x: Float[Array, "*B I"], weights: Float[Array, "I O"]) -> tuple[Float[Array, "*B O"], Any]:
    """``x @ weights``, for weights that apply to many rows at once."""
    return x @ weights, (x, weights)


def _transposed(matrices: Float[Array, "*M I O"]) -> Float[Array, "*M O I"]:
    """The transposes as arrays of their own, which the compiler does not undo."""
    return jax.lax.optimization_barrier(jnp.swapaxes(matrices, -1, -2))


def multiply(x: Float[Array, "*M B I"], weights: Float[Array, "*M I O"]) -> Float[Array, "*M B O"]:
    """``x @ weights``, for weights that a step of ``scan`` applies to what depends on the state.

    A plain product; but within ``fast_gradients`` the weights' gradient is computed for all steps of ``scan`` at once.
    Added up step by step it takes a third of a long span's time where batches are small.
    """
    return (_product.get() or jnp.matmul)(x, weights)


def scan(step: Step, module: PyTree, state: PyTree, inputs: PyTree) -> tuple[Any, Any]:
    """``jax.lax.scan`` over ``step(module, state, inputs)``.

    Within ``fast_gradients`` the products called ``multiply`` have fast gradients, if their weights depend on the
    module alone and if they can be seen (in a step that is jitted or checkpointed they cannot).
    """
    if _fast.get() and _has_fast_products(step, module, state, inputs):
        return _scan(step, module, state, inputs)
    return jax.lax.scan(partial(step, module), state, inputs)


def _has_fast_products(step: Step, module: PyTree, state: PyTree, inputs: PyTree) -> bool:
    """Whether a step has products, all visible, with weights that do not depend on the state or the inputs."""
    first = jax.tree.map(lambda leaf: leaf[0], inputs)
    jaxpr = jax.make_jaxpr(lambda *args: _products(step, *args))(module, state, first).jaxpr
    varying = set(jaxpr.invars[len(jax.tree.leaves(module)) :])
    for equation in jaxpr.eqns:
        if any(isinstance(variable, Var) and variable in varying for variable in equation.invars):
            varying.update(equation.outvars)
    factors, weights = jaxpr.outvars[::2], jaxpr.outvars[1::2]
    inner = set(jaxpr.constvars)  # Factors of products within another trace are unknown out here.
    return bool(weights) and not any(
        isinstance(variable, Var) and variable in outside
        for variables, outside in ((factors, inner), (weights, inner | varying))
        for variable in variables
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(step, module, state, inputs):
    return jax.lax.scan(partial(step, module), state, inputs)


def _scan_forward(step, module, state, inputs):
    """To every product of every step a zero is added, by which the products' gradients are then known."""
    first = jax.tree.map(lambda leaf: leaf[0], inputs)
    num_steps = jax.tree.leaves(inputs)[0].shape[0]
    pairs = _products(step, module, state, first)
    products = [jax.eval_shape(jnp.matmul, *pair) for pair in pairs]
    zeros = [jnp.zeros((num_steps, *product.shape), product.dtype) for product in products]
    transposes = [_transposed(weights) for _, weights in pairs]

    def run(module, state, inputs, zeros):
        def step_keeping_factors(state, inputs):
            inputs, zeros = inputs
            factors = []

            def product(x, weights):
                factors.append(x)
                index = len(factors) - 1
                return _multiply(x, jax.lax.stop_gradient(weights), transposes[index]) + zeros[index]

            with _multiplying_by(product):
                state, outputs = step(module, state, inputs)
            return state, (outputs, factors)

        state, (outputs, factors) = jax.lax.scan(step_keeping_factors, state, (inputs, zeros))
        return (state, outputs), factors

    result, pull_back, factors = jax.vjp(run, module, state, inputs, zeros, has_aux=True)
    return result, (pull_back, factors, module, state, first)


def _scan_backward(step, residuals, cotangents):
    pull_back, factors, module, state, first = residuals
    module_bar, state_bar, inputs_bar, products_bar = pull_back(cotangents)
    weights_bar = [
        _transposed(_join_steps(x)) @ _join_steps(product) for x, product in zip(factors, products_bar, strict=True)
    ]
    _, pull_back = jax.vjp(lambda module: [weights for _, weights in _products(step, module, state, first)], module)
    module_bar = jax.tree.map(jnp.add, module_bar, *pull_back(weights_bar))
    return _first_order_only((module_bar, state_bar, inputs_bar))


_scan.defvjp(_scan_forward, _scan_backward)


def _join_steps(rows: Float[Array, "T *M B I"]) -> Float[Array, "*M TB I"]:
    """The rows of all steps, one under another."""
    rows = jnp.moveaxis(rows, 0, -3)
    return rows.reshape(*rows.shape[:-3], -1, rows.shape[-1])


@jax.custom_vjp
def _multiply(x, weights, transpose):
    """A product whose backward pass finds the weights transposed already, rather than at every step."""
    return x @ weights


_multiply.defvjp(
    lambda x, weights, transpose: (x @ weights, transpose),
    lambda transpose, product_bar: (product_bar @ transpose, None, None),
)


def _products(step: Step, module: PyTree, state: PyTree, inputs: PyTree) -> list[tuple[Array, Array]]:
    """Factors and weights of every product in one step, in order."""
    found = []

    def product(x, weights):
        found.append((x, weights))
        return x @ weights

    with _multiplying_by(product):
        step(module, state, inputs)
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
