"""What an agent costs: parameters of every group, and operations of every part, counted in the traced program."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from metarims.agents.agent import Agent, count_parameters
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.types import VIEW, Observation


class Cost(NamedTuple):
    """Sizes of one agent."""

    parameters: dict[str, int]
    """In each group."""
    flops: dict[str, int]
    """Floating-point operations of the matrix products of one forward pass for one frame: encoder, core, policy and
    value. A product of [a, b] and [b, c] counts 2abc."""
    table_flops: int
    """The same of ``Agent.tables`` and ``core_with_tiles``, computed once per call for all tiles and missions."""


@in_32_bits
def measure_cost(agent: Agent, mission_tokens: Integer[Array, "num_missions L"]) -> Cost:
    """The agent's cost on a task with these missions; nothing is computed, only traced: an agent of shapes will do."""
    one = Observation(jnp.zeros((1, VIEW, VIEW), jnp.uint8), jnp.zeros(1, jnp.int8), jnp.zeros(1, jnp.int32))

    def encode(agent, tables):
        return agent.encode(tables, one)

    def step_core(core, features, state):
        return core.step(core.project_inputs(features), state)

    def prepare(agent, tables):
        return agent.core_with_tiles(tables)

    tables = jax.eval_shape(lambda agent, tokens: agent.tables(tokens), agent, mission_tokens)
    state = jax.eval_shape(lambda agent: agent.initial_state(1), agent)
    output = jax.ShapeDtypeStruct((1, agent.core.output_dim), jnp.float32)
    flops = {
        "encoder": count_flops(encode, agent, tables),
        "core": count_flops(
            step_core, jax.eval_shape(prepare, agent, tables), jax.eval_shape(encode, agent, tables), state
        ),
        "policy": count_flops(lambda agent, x: agent.policy(x), agent, output),
        "value": count_flops(lambda agent, x: agent.value(x), agent, output),
    }
    table_flops = count_flops(lambda agent, tokens: agent.tables(tokens), agent, mission_tokens)
    table_flops += count_flops(prepare, agent, tables)
    return Cost(count_parameters(agent), flops, table_flops)


def count_flops(function: Any, *args: Any) -> int:
    """Floating-point operations of the matrix products in a function of arrays (or of their shapes)."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sizes = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * equation.outvars[0].aval.size * math.prod(sizes)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += _count(inner) * equation.params.get("length", 1)
    return total
