"""What every recurrent core offers, and how a core runs over a span."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from metarims.agents.fast_gradients import scan
from metarims.errors import invalid

State = Any
"""A core's recurrent state: a pytree whose leaves begin with the environments' axis B."""


class ModuleMetrics(NamedTuple):
    """What the modules of a modular core did."""

    active: Bool[Array, "*B M"]
    """Which modules were active."""
    input_attention: Float[Array, "*B M"]
    """Attention of each module to the input rather than to the null slot, mean over heads."""
    communication: Float[Array, "*B M M"]
    """Attention of each module (first M) to all modules' candidate states, its own too (second M), mean over heads.
    That of an inactive module has no effect; zeros where modules do not communicate."""
    element_attention: Float[Array, "*B M E"] | None = None
    """Where the input is a set: the attention of each module to each element, mean over heads; over all elements it
    sums to ``input_attention``. First the 49 cells of the view in the order [x, y], then the mission."""


Metrics = ModuleMetrics | Mapping[str, Array] | tuple[()]
"""What a core reports at a step: ``ModuleMetrics``, which the record, the viewer and the studies use; a dictionary of
numbers per environment, whose means the record holds as ``core/NAME``; or nothing."""


@runtime_checkable
class Core(Protocol):
    """A recurrent core. ``project_inputs`` is the part of a step that needs no state; it runs for a whole span at once.
    Its x are features (leading axes and D); of a core that can read sets also ``Elements``.
    ``groups`` returns the parameters as ``modules``, ``attention`` or both. ``key`` is for cores with random states."""

    @property
    def output_dim(self) -> int: ...
    def groups(self) -> Mapping[str, PyTree]: ...
    def initial_state(self, num_envs: int, key: PRNGKeyArray | None = None) -> State: ...
    def reset(self, state: State, done: Bool[Array, " B"]) -> State: ...
    def project_inputs(self, x: Any) -> PyTree: ...
    def step(self, inputs: PyTree, state: State) -> tuple[State, tuple[Float[Array, "B O"], Metrics]]: ...


def zero_where(done: Bool[Array, " B"], state: State) -> State:
    """The state with zeros where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(done.reshape(-1, *[1] * (leaf.ndim - 1)), 0, leaf), state)


def unroll(
    core: Core, x: Any, state: State, is_first: Bool[Array, "T B"], *, checkpoint_every: int = 0
) -> tuple[State, tuple[Float[Array, "T B O"], Metrics]]:
    """Run the core over a span; where ``is_first``, the state is reset before the step.

    x: features T B D, or ``Elements`` of leading axes T B for a core that reads sets.

    It can be differentiated any number of times, forward and in reverse (the learner traces it within
    ``fast_gradients``, for first derivatives only). With ``checkpoint_every`` steps the backward pass keeps only the
    states between such pieces of the span and computes the rest again (``jax.checkpoint``): less memory, more time.
    Raises ``UserError`` unless it divides T.
    """
    inputs = core.project_inputs(x), is_first
    if not checkpoint_every:
        return scan(_step, core, state, inputs)
    num_steps = is_first.shape[0]
    if checkpoint_every < 0 or num_steps % checkpoint_every:
        raise invalid("checkpoint_every", checkpoint_every, f"it must divide the {num_steps} steps of the span")

    @jax.checkpoint
    def run_piece(state, inputs):
        return jax.lax.scan(lambda state, inputs: _step(core, state, inputs), state, inputs)

    pieces = jax.tree.map(lambda leaf: leaf.reshape(-1, checkpoint_every, *leaf.shape[1:]), inputs)
    state, outputs = jax.lax.scan(run_piece, state, pieces)
    return state, jax.tree.map(lambda leaf: leaf.reshape(num_steps, *leaf.shape[2:]), outputs)


def _step(core: Core, state: State, step_inputs: tuple[PyTree, Bool[Array, " B"]]) -> Any:
    inputs, is_first = step_inputs
    return core.step(inputs, core.reset(state, is_first))
