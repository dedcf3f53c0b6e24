"""What every recurrent core offers, and how a core runs over a span."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from metarims.agents.products import scan

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
    def groups(self) -> Mapping[str, PyTree]: ...
    def initial_state(self, num_envs: int) -> State: ...
    def reset(self, state: State, done: Bool[Array, " B"]) -> State: ...
    def read(self, x: Float[Array, "*B D"]) -> PyTree: ...
    def step(self, read: PyTree, state: State) -> tuple[State, tuple[Float[Array, "B O"], CoreMetrics]]: ...


def zero_where(done: Bool[Array, " B"], state: State) -> State:
    """The state with zeros where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(done.reshape(-1, *[1] * (leaf.ndim - 1)), 0, leaf), state)


def unroll(
    core: Core, x: Float[Array, "T B D"], state: State, is_first: Bool[Array, "T B"]
) -> tuple[State, tuple[Float[Array, "T B O"], CoreMetrics]]:
    """Run the core over a span; where ``is_first``, the state is reset before the step."""
    return scan(_step, core, state, (core.read(x), is_first))


def _step(core: Core, state: State, inputs: tuple[PyTree, Bool[Array, " B"]]) -> Any:
    read, begin = inputs
    return core.step(read, core.reset(state, begin))
