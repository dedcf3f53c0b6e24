"""The floor of a step of the world: the bytes and operations it takes, and how fast this machine's core does them.

Counted from the program as it is traced for one environment, without resets; measured on one core, in arrays that fit
into its second-level cache, as the worlds of a thousand environments do.
"""

import json
import math
import os
import sys
import time

import jax
import jax.numpy as jnp
from jax.extend import core

from metarims.gridworld import make, task_rules
from metarims.gridworld import observation as obs

MOVES = {"broadcast_in_dim", "reshape", "squeeze", "slice", "concatenate", "transpose", "convert_element_type", "iota"}
MOVES |= {"copy", "copy_p", "pjit", "jit", "dynamic_slice", "dynamic_update_slice", "scatter", "stop_gradient"}
"""Operations that only move or rename values, or hold others."""


def count(jaxpr: core.Jaxpr) -> dict[str, int]:
    """Arithmetic operations on single numbers, and look-ups (gathers)."""
    total = {"operations": 0, "lookups": 0}
    for equation in jaxpr.eqns:
        name, times = equation.primitive.name, equation.params.get("length", 1)
        for inner in _inner(equation.params):
            for kind, number in count(inner).items():
                total[kind] += times * number
        size = sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
        if name == "gather":
            total["lookups"] += size
        elif name not in MOVES and not any(True for _ in _inner(equation.params)):
            total["operations"] += size
    return total


def _inner(params: dict):
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, core.Jaxpr):
                yield one


def work(task: str) -> dict[str, int]:
    """What one step of one environment takes: rules and view."""
    level = make(task)
    world = jax.eval_shape(level.reset, jax.random.key(0))
    words = jax.ShapeDtypeStruct((level.num_obstacles,), jnp.uint32)

    def step(world, action, words):
        outcome = task_rules.step(level, world, action, words)
        return outcome, obs.observe(level, outcome.state).codes

    closed, shapes = jax.make_jaxpr(step, return_shape=True)(world, jax.ShapeDtypeStruct((), jnp.int32), words)
    size = lambda tree: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))  # noqa: E731
    # The world is read and written; the view is written, and for pixels read again.
    return count(closed.jaxpr) | {"bytes": size(world) + 4 + size(shapes), "rgb_bytes": 49 + 56 * 56 * 3}


def rate(function, argument, amount: float, seconds: float) -> float:
    """Amount per CPU-second."""
    function = jax.jit(function)
    jax.block_until_ready(function(argument))
    calls, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        jax.block_until_ready(function(argument))
        calls += 1
    return calls * amount / (time.process_time() - began)


def ceilings(seconds: float) -> dict[str, float]:
    """Bytes copied, byte operations and look-ups per CPU-second of one core."""
    number, rounds = 2**17, 64
    numbers = jnp.arange(number, dtype=jnp.uint8)
    places = (jnp.arange(number, dtype=jnp.int32) * 40503) % number

    def chain(values):
        for turn in range(rounds):
            values = (values ^ jnp.uint8(turn + 1)) + values
        return values

    def repeat(step):
        return lambda start: jax.lax.fori_loop(0, 32, lambda _, values: step(values), start)

    return {
        "bytes_per_s": rate(repeat(lambda v: v[::-1]), numbers, 32 * 2 * number, seconds),
        "operations_per_s": rate(repeat(chain), numbers, 32 * 2 * rounds * number, seconds),
        "lookups_per_s": rate(
            repeat(lambda v: v.at[places].get(mode="promise_in_bounds")), numbers, 32 * number, seconds
        ),
    }


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    *tasks, budget = sys.argv[1:]
    print(json.dumps({"ceilings": ceilings(float(budget)), "work": {task: work(task) for task in tasks}}))
