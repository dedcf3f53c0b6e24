"""Functions that bring their own rule for ``jax.vmap``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from metarims.gridworld.precision import in_32_bits


def with_batch_rule(many: Callable[..., Any], one: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of arrays that becomes ``many`` under ``vmap``: all its arguments and results have a leading axis.

    Without ``vmap`` it is ``one``, by default ``many`` with an axis of length 1. Nested ``vmap`` joins its axes.
    """

    many = in_32_bits(many)  # The rules below run where ``vmap`` does, outside of what traced the function.

    def call_alone(*args: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], many(*jax.tree.map(lambda leaf: leaf[None], args)))

    def join(size: int, batched: Any, *args: Any) -> tuple[Any, Any]:
        args = _broadcast(size, batched, args)
        members = jax.tree.leaves(args)[0].shape[1]
        joined = jax.tree.map(lambda leaf: leaf.reshape(size * members, *leaf.shape[2:]), args)
        out = jax.tree.map(lambda leaf: leaf.reshape(size, members, *leaf.shape[1:]), inner(*joined))
        return out, jax.tree.map(lambda _: True, out)

    def batch(size: int, batched: Any, *args: Any) -> tuple[Any, Any]:
        out = inner(*_broadcast(size, batched, args))
        return out, jax.tree.map(lambda _: True, out)

    inner, outer = custom_vmap(many), custom_vmap(in_32_bits(one) if one else call_alone)
    inner.def_vmap(join)
    outer.def_vmap(batch)
    return outer


def _broadcast(size: int, batched: Any, args: tuple[Any, ...]) -> Any:
    """Every argument with the mapped axis."""

    def full(batched: bool, leaf: Any) -> Any:
        return leaf if batched else jnp.broadcast_to(leaf, (size, *leaf.shape))

    return jax.tree.map(full, tuple(batched), args)
