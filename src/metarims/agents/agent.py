"""An agent: encoder, recurrent core, policy head and value head, and the named groups of its parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarims.agents.core import Core, Metrics, State, unroll
from metarims.agents.elements import Elements, ElementSizes
from metarims.agents.encoder import EmbeddingTables, Encoder
from metarims.agents.fast_gradients import project
from metarims.agents.layers import init_fan_in
from metarims.agents.lstm import LSTMCore
from metarims.agents.rims import RIMCore
from metarims.config import Network
from metarims.core_settings import CORES, CoreSettings, LSTMSettings, RIMSettings
from metarims.errors import UserError, unknown_name
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.types import Observation, Pixels
from metarims.rules import GROUPS


class AgentOutput(NamedTuple):
    """Outputs of an agent at a step."""

    logits: Float[Array, "*B A"]
    value: Float[Array, "*B"]
    metrics: Metrics


class Head(eqx.Module):
    """A linear map, or a perceptron with one hidden layer; a small ``scale`` of the last weights keeps first outputs
    near zero."""

    hidden: Float[Array, "I H"] | None
    hidden_bias: Float[Array, " H"] | None
    output: Float[Array, "H O"]
    bias: Float[Array, " O"]

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, scale: float, *, key: PRNGKeyArray):
        key_hidden, key_output = jax.random.split(key)
        self.hidden = init_fan_in(key_hidden, (input_dim, hidden_dim)) if hidden_dim else None
        self.hidden_bias = jnp.zeros(hidden_dim) if hidden_dim else None
        self.output = init_fan_in(key_output, (hidden_dim or input_dim, output_dim), scale)
        self.bias = jnp.zeros(output_dim)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        if self.hidden is not None and self.hidden_bias is not None:
            x = jnp.tanh(project(x, self.hidden) + self.hidden_bias)
        return project(x, self.output) + self.bias


class Agent(eqx.Module):
    """A recurrent actor-critic for 7x7 views and missions."""

    encoder: Encoder
    core: Core
    policy: Head
    value: Head

    def groups(self) -> dict[str, Any]:
        """The named parameter groups, as subtrees."""
        return {"encoder": self.encoder, **self.core.groups(), "policy": self.policy, "value": self.value}

    @in_32_bits
    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> EmbeddingTables:
        """What ``step`` and ``unroll`` look up, computed from the current weights; once per call."""
        return self.encoder.tables(jax.lax.convert_element_type(mission_tokens, jnp.int32))

    @in_32_bits
    def initial_state(self, num_envs: int, key: PRNGKeyArray | None = None) -> State:
        """The recurrent state at the beginning of an episode; ``key``: for cores that draw random numbers."""
        return self.core.initial_state(num_envs, key)

    @in_32_bits
    def reset(self, state: State, done: Bool[Array, " B"]) -> State:
        """The recurrent state, initial again where an episode has ended."""
        return self.core.reset(state, done)

    @in_32_bits
    def encode(self, tables: EmbeddingTables, observation: Observation | Pixels) -> Float[Array, "*B D"] | Elements:
        """Features of observations (or their elements): the input of the core."""
        return self.encoder(tables, observation)

    @in_32_bits
    def step(
        self, tables: EmbeddingTables, observation: Observation | Pixels, state: State
    ) -> tuple[State, AgentOutput]:
        """One step of a batch of environments."""
        core = self.core_with_tiles(tables)
        state, (x, metrics) = core.step(core.project_inputs(self.encode(tables, observation)), state)
        return state, AgentOutput(self.policy(x), self.value(x)[..., 0], metrics)

    @in_32_bits
    def unroll(
        self, tables: EmbeddingTables, observation: Observation, state: State, is_first: Bool[Array, "T B"]
    ) -> tuple[State, AgentOutput]:
        """A span of steps (leading axes T B); where ``is_first``, the state is reset before the step."""
        state, (x, metrics) = self.unroll_core(tables, self.encode(tables, observation), state, is_first)
        return state, AgentOutput(self.policy(x), self.value(x)[..., 0], metrics)

    def unroll_core(
        self,
        tables: Any,
        features: Float[Array, "T B D"] | Elements,
        state: State,
        is_first: Bool[Array, "T B"],
    ) -> tuple[State, tuple[Float[Array, "T B O"], Metrics]]:
        """The core's part of ``unroll``, from what ``encode`` returned."""
        return unroll(self.core_with_tiles(tables), features, state, is_first)

    def core_with_tiles(self, tables: Any) -> Any:
        """The core as ``step`` runs it: one that reads sets has looked up, once per call, what it reads of tiles."""
        core: Any = self.core
        return core.with_tiles(tables.tiles) if self.encoder.lists_elements else core


@in_32_bits
def policy_entropy(logits: Float[Array, "*B A"]) -> Float[Array, "*B"]:
    """The entropy of a policy, in nats: from 0 (deterministic) to log A (uniform)."""
    log_probs = jax.nn.log_softmax(logits)
    return -(jnp.exp(log_probs) * log_probs).sum(-1)


MakeCore = Callable[[Any, Any, PRNGKeyArray], Core]
"""(settings, width of the features, key) -> core; of a set its ``ElementSizes``."""

_MAKE: dict[type[CoreSettings], MakeCore] = {
    RIMSettings: lambda settings, input_dim, key: RIMCore(input_dim, settings, key=key),
    LSTMSettings: lambda settings, input_dim, key: LSTMCore(input_dim, settings, key=key),
}


def register_core(name: str, settings: type[CoreSettings], make: MakeCore) -> None:
    """Add a core: rules may then name it, and its settings are flags and part of ``config.json``.

    ``settings`` is a frozen dataclass of the core's own, each field with a default; ``make(settings, input_dim, key)``
    makes a fresh core that reads ``input_dim`` features.
    """
    if name in CORES or settings in _MAKE:
        raise UserError(
            f"The core {name} or its settings {settings.__name__} exist already: choose others.", field=name
        )
    CORES[name], _MAKE[settings] = settings, make


@in_32_bits
def make_agent(network: Network, core: CoreSettings, *, num_actions: int, num_words: int, key: PRNGKeyArray) -> Agent:
    """A fresh agent. ``num_words`` is the size of the vocabulary (token 0, padding, not counted)."""
    if type(core) not in _MAKE:
        raise unknown_name("settings of a core", type(core).__name__, [kind.__name__ for kind in _MAKE])
    key_encoder, key_core, key_policy, key_value = jax.random.split(key, 4)
    sizes = network.feature_dim if network.input == "vector" else ElementSizes(network.image_dim, network.mission_dim)
    recurrent = _MAKE[type(core)](core, sizes, key_core)
    _check_groups(recurrent, core)
    return Agent(
        encoder=Encoder(num_words, network, key=key_encoder),
        core=recurrent,
        policy=Head(recurrent.output_dim, network.head_dim, num_actions, 0.01, key=key_policy),
        value=Head(recurrent.output_dim, network.head_dim, 1, 1.0, key=key_value),
    )


def _check_groups(core: Core, settings: CoreSettings) -> None:
    """Raise ``UserError`` unless the core's groups are those of its settings and hold all of its parameters."""
    name, groups = type(core).__name__, core.groups()
    if set(groups) != set(settings.groups) or not set(groups) <= {"modules", "attention"}:
        raise UserError(
            f"The groups of {name} are {', '.join(groups)}, and of {type(settings).__name__} "
            f"{', '.join(settings.groups)}: they must be the same, of modules and attention.",
            field="groups",
            value=tuple(groups),
        )
    if len(_arrays(groups)) != len(_arrays(core)):
        raise UserError(f"{name}.groups() must hold every parameter of the core, each once.", field="groups")


def _arrays(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]


def select_group(agent: Any, group: str) -> Any:
    """The subtree of an agent (or of a tree of its shape) that holds one named group of parameters; None where the
    agent lacks it (an LSTM has no attention)."""
    return agent.groups().get(group)


def change_group(agent: Any, group: str, change: Callable[[Any], Any]) -> Any:
    """The agent (or a tree of its shape) with each leaf of one group changed; without that group it stays as it is."""
    if select_group(agent, group) is None:
        return agent
    return eqx.tree_at(lambda a: select_group(a, group), agent, jax.tree.map(change, select_group(agent, group)))


def group_mask(agent: Agent, groups: tuple[str, ...]) -> Agent:
    """A tree of the agent's shape: True at the arrays of these groups, False elsewhere."""
    mask = jax.tree.map(lambda _: False, agent)
    for group in groups:
        mask = change_group(mask, group, lambda _: True)
    return mask


def count_parameters(agent: Agent) -> dict[str, int]:
    """Number of parameters in each group."""
    return {group: sum(leaf.size for leaf in _arrays(select_group(agent, group))) for group in GROUPS}
