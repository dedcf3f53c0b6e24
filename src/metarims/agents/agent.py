"""An agent: encoder, recurrent core, policy head and value head, and the named groups of its parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarims.agents.core import Core, CoreMetrics, State, unroll
from metarims.agents.encoder import Encoder, Tables
from metarims.agents.init import init_fan_in
from metarims.agents.lstm import LSTMCore
from metarims.agents.products import project
from metarims.agents.rims import RIMCore
from metarims.config import GROUPS, Network
from metarims.errors import unknown_name
from metarims.gridworld.types import Observation, Pixels


class AgentOutput(NamedTuple):
    """What an agent says at a step."""

    logits: Float[Array, "*B A"]
    value: Float[Array, "*B"]
    metrics: CoreMetrics


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
    """A recurrent actor-critic for 7x7 views and mission sentences."""

    encoder: Encoder
    core: Core
    policy: Head
    value: Head

    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> Tables:
        """What ``step`` and ``unroll`` look up; compute it once per call, with the current weights."""
        return self.encoder.tables(mission_tokens)

    def initial_state(self, num_envs: int) -> State:
        """The recurrent state at the beginning of an episode."""
        return self.core.initial_state(num_envs)

    def reset(self, state: State, done: Bool[Array, " B"]) -> State:
        """The recurrent state with a fresh beginning where an episode has ended."""
        return self.core.reset(state, done)

    def encode(self, tables: Tables, observation: Observation | Pixels) -> Float[Array, "*B D"]:
        """What the core reads of observations."""
        return self.encoder(tables, observation)

    def step(self, tables: Tables, observation: Observation | Pixels, state: State) -> tuple[State, AgentOutput]:
        """One step of a batch of environments."""
        read = self.core.read(self.encode(tables, observation))
        state, (x, metrics) = self.core.step(read, state)
        return state, AgentOutput(self.policy(x), self.value(x)[..., 0], metrics)

    def unroll(
        self, tables: Tables, observation: Observation, state: State, is_first: Bool[Array, "T B"]
    ) -> tuple[State, AgentOutput]:
        """A span of steps (leading axes T B); where ``is_first``, the state is reset before the step."""
        state, (x, metrics) = unroll(self.core, self.encode(tables, observation), state, is_first)
        return state, AgentOutput(self.policy(x), self.value(x)[..., 0], metrics)


def policy_entropy(logits: Float[Array, "*B A"]) -> Float[Array, "*B"]:
    """The entropy of a policy, in nats: log A where it draws by chance, 0 where it has no choice."""
    log_probs = jax.nn.log_softmax(logits)
    return -(jnp.exp(log_probs) * log_probs).sum(-1)


def _make_rims(network: Network, key: PRNGKeyArray) -> RIMCore:
    net = network
    return RIMCore(
        net.feature_dim,
        net.num_modules,
        net.num_active,
        net.module_dim,
        cell=net.cell,
        input_heads=net.input_heads,
        key_dim=net.key_dim,
        value_dim=net.value_dim,
        communication_heads=net.communication_heads,
        communication_dim=net.communication_dim,
        communication_gate=net.communication_gate,
        key_init_scale=net.key_init_scale,
        message_init_scale=net.message_init_scale,
        router=net.router,
        key=key,
    )


CORES: dict[str, Callable[[Network, PRNGKeyArray], Core]] = {
    "rim": _make_rims,
    "lstm": lambda network, key: LSTMCore(network.feature_dim, network.lstm_dim, key=key),
}
"""How the core of an agent is made, by the name that rules give it. It reads ``feature_dim`` numbers. A new core is a
new entry."""


def make_agent(network: Network, core: str, *, num_actions: int, num_words: int, key: PRNGKeyArray) -> Agent:
    """A fresh agent. ``num_words`` is the size of the vocabulary (token 0, padding, not counted).

    A core that is not in ``CORES`` is a ``UserError``.
    """
    if core not in CORES:
        raise unknown_name("core", core, CORES)
    key_encoder, key_core, key_policy, key_value = jax.random.split(key, 4)
    net = network
    encoder = Encoder(
        num_words,
        image_dim=net.image_dim,
        word_dim=net.word_dim,
        mission_dim=net.mission_dim,
        feature_dim=net.feature_dim,
        fusion=net.fusion,
        mission_init_scale=net.mission_init_scale,
        feature_rms_limit=net.feature_rms_limit,
        key=key_encoder,
    )
    recurrent = CORES[core](net, key_core)
    return Agent(
        encoder=encoder,
        core=recurrent,
        policy=Head(recurrent.output_dim, net.head_dim, num_actions, 0.01, key=key_policy),
        value=Head(recurrent.output_dim, net.head_dim, 1, 1.0, key=key_value),
    )


def select_group(agent: Any, group: str) -> Any:
    """The subtree of an agent (or of a tree of its shape) that holds one named group of parameters."""
    return getattr(agent.core if group in ("modules", "attention") else agent, group)


def change_group(agent: Any, group: str, change: Callable[[Any], Any]) -> Any:
    """The agent (or a tree of its shape) with each leaf of one group changed; of a group that it lacks (an LSTM has no
    attention) nothing."""
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
    return {
        group: sum(leaf.size for leaf in jax.tree.leaves(select_group(agent, group)) if eqx.is_array(leaf))
        for group in GROUPS
    }
