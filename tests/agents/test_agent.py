"""The agent as a whole: its groups, its unrolling, and its first outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import count_parameters, group_mask, make_agent
from metarims.agents.lstm import LSTMCore
from metarims.config import Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.gridworld import VOCABULARY, make
from metarims.gridworld.types import Observation
from metarims.rules import GROUPS

pytestmark = pytest.mark.usefixtures("quick_module")

LEVEL = make("BabyAI-GoToObjS4-v0")
TOKENS = jnp.asarray(LEVEL.mission_tokens)
SMALL = Network(
    image_dim=4,
    word_dim=3,
    mission_dim=4,
    feature_dim=8,
    head_dim=5,
)
CORES = {
    "rim": RIMSettings(
        num_modules=3,
        num_active=2,
        module_dim=4,
        key_dim=4,
        value_dim=4,
        communication_heads=2,
        communication_dim=4,
    ),
    "lstm": LSTMSettings(hidden_dim=6),
}
STEPS, ENVS = 5, 3


def begin(core, network=SMALL):
    """A function from a key to a fresh agent."""
    return lambda key: make_agent(network, CORES[core], num_actions=7, num_words=len(VOCABULARY), key=key)


def build(core):
    """An agent with random weights, drawn on the host."""
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(begin(core), jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


@pytest.fixture(scope="module", params=["rim", "lstm"])
def agent(request):
    return build(request.param)


@pytest.fixture(scope="module")
def history():
    draw = np.random.default_rng(0)
    observation = Observation(
        jnp.asarray(draw.integers(0, 41, (STEPS, ENVS, 7, 7)), jnp.uint8),
        jnp.zeros((STEPS, ENVS), jnp.int8),
        jnp.asarray(draw.integers(0, len(LEVEL.missions), (STEPS, ENVS)), jnp.int16),
    )
    return observation, jnp.asarray([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]], bool)


def test_unrolling_equals_stepping_resets_included(agent, history):
    observation, is_first = history
    tables = jax.jit(lambda a: a.tables(TOKENS))(agent)
    draw = np.random.default_rng(1)
    start = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), jnp.float32), agent.initial_state(ENVS))
    last, together = jax.jit(lambda a: a.unroll(tables, observation, start, is_first))(agent)
    step = jax.jit(lambda a, o, s, b: a.step(tables, o, a.reset(s, b)))
    state = start
    for t in range(STEPS):
        state, alone = step(agent, jax.tree.map(lambda leaf, t=t: leaf[t], observation), state, is_first[t])
        for ours, theirs in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(theirs[t], ours, atol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_a_reset_forgets_all_that_came_before(agent, history):
    """After a reset in the first step, the state before the span no longer matters; without, it does."""
    observation, _ = history
    tables = jax.jit(lambda a: a.tables(TOKENS))(agent)
    run = jax.jit(lambda a, s, b: a.unroll(tables, observation, s, b)[1].value)
    is_first = np.zeros((STEPS, ENVS), bool)
    is_first[0, 0] = True
    blank = agent.initial_state(ENVS)
    filled = jax.tree.map(lambda leaf: leaf + 0.7, blank)
    fresh, old = (np.asarray(run(agent, state, jnp.asarray(is_first))) for state in (blank, filled))
    np.testing.assert_array_equal(fresh[:, 0], old[:, 0])
    assert (fresh[:, 1:] != old[:, 1:]).all()


def test_the_groups_hold_every_parameter_once(agent):
    masks = [jax.tree.leaves(group_mask(agent, (group,))) for group in GROUPS]
    owners = np.sum(masks, axis=0)
    assert (owners == 1).all()
    sizes = [leaf.size for leaf in jax.tree.leaves(agent)]
    assert sum(count_parameters(agent).values()) == sum(sizes)
    both = jax.tree.leaves(group_mask(agent, ("policy", "attention")))
    np.testing.assert_array_equal(both, np.array(masks[2]) | np.array(masks[3]))


def test_the_groups_hold_what_their_names_say(agent):
    paths = {group: [] for group in GROUPS}
    for group in GROUPS:
        marked = jax.tree_util.tree_flatten_with_path(group_mask(agent, (group,)))[0]
        paths[group] = [jax.tree_util.keystr(path) for path, own in marked if own]
    modular = count_parameters(agent)["attention"] > 0
    assert all(path.startswith(".encoder.") for path in paths["encoder"])
    assert all(path.startswith(".core.modules.") for path in paths["modules"])
    assert all(path.startswith(".policy.") for path in paths["policy"])
    assert all(path.startswith(".value.") for path in paths["value"])
    assert {path.split(".")[3] for path in paths["attention"]} == ({"input", "communication"} if modular else set())


def test_parameters_are_counted_by_hand():
    lstm, rim = count_parameters(build("lstm")), count_parameters(build("rim"))
    assert lstm["modules"] == 4 * 6 * (8 + 6 + 1)
    assert lstm["attention"] == 0
    assert lstm["policy"] == 6 * 5 + 5 + 5 * 7 + 7
    assert lstm["value"] == 6 * 5 + 5 + 5 * 1 + 1
    assert rim["modules"] == 3 * 16 * (4 + 4 + 1)
    read = 3 * (4 + 1) * 4 + 8 * 4 + 8 * 4
    talk = 3 * 4 * 4 * 4 + 2
    assert rim["attention"] == read + talk
    words = (len(VOCABULARY) + 1) * 3 + 3 * 12 + 4 * 12 + 12
    film = 4 * 2 * 8 + 4 * 4 + 4
    assert rim["encoder"] == lstm["encoder"] == 192 * 4 + 4 + words + film + 49 * 4 * 8 + 4 * 8 + 8


def test_a_fresh_policy_hardly_prefers_any_action(history):
    observation, is_first = history
    fresh = jax.jit(begin("rim"))(jax.random.key(0))
    run = jax.jit(lambda a: a.unroll(a.tables(TOKENS), observation, a.initial_state(ENVS), is_first)[1])
    output = run(fresh)
    probabilities = np.asarray(jax.nn.softmax(output.logits))
    assert probabilities.shape == (STEPS, ENVS, 7)
    assert 0 < np.abs(probabilities - 1 / 7).max() < 0.01
    assert output.value.shape == (STEPS, ENVS)
    assert len(np.unique(output.value)) == STEPS * ENVS


def test_a_head_is_a_perceptron_or_a_linear_map():
    agent = build("lstm")
    x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    head = agent.policy
    expected = np.tanh(x @ np.asarray(head.hidden) + np.asarray(head.hidden_bias)) @ np.asarray(head.output)
    np.testing.assert_allclose(head(jnp.asarray(x)), expected + np.asarray(head.bias), atol=1e-6)
    shapes = jax.eval_shape(begin("lstm", Network(head_dim=0)), jax.random.key(0))
    assert (shapes.policy.hidden, shapes.policy.output.shape) == (None, (6, 7))
    assert (shapes.value.hidden, shapes.value.output.shape) == (None, (6, 1))


def test_the_lstm_cell_equals_the_textbook():
    """Hochreiter & Schmidhuber, 1997, with a forget gate: numpy, gates input, forget, candidate, output."""
    core = jax.eval_shape(lambda key: LSTMCore(4, LSTMSettings(3), key=key), jax.random.key(0))
    draw = np.random.default_rng(2)
    core = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), jnp.float32), core)
    x, h, c = (draw.normal(size=(2, size)).astype(np.float32) for size in (4, 3, 3))
    state = core.initial_state(2)._replace(hidden=jnp.asarray(h), cell=jnp.asarray(c))
    after, (output, metrics) = jax.jit(lambda core, x, s: core.step(core.project_inputs(x), s))(core, x, state)
    weights = jax.tree.map(np.float64, core.modules)
    gates = x @ weights.from_input + h @ weights.from_hidden + weights.bias
    enter, forget, candidate, out = np.split(gates, 4, axis=-1)
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    cell = sigmoid(forget) * c + sigmoid(enter) * np.tanh(candidate)
    np.testing.assert_allclose(after.cell, cell, atol=1e-6)
    np.testing.assert_allclose(output, sigmoid(out) * np.tanh(cell), atol=1e-6)
    np.testing.assert_array_equal(after.hidden, output)
    assert metrics == ()


def test_the_lstms_forget_gate_begins_open():
    enter, forget, candidate, output = np.split(
        np.asarray(LSTMCore(4, LSTMSettings(3), key=jax.random.key(0)).modules.bias), 4
    )
    np.testing.assert_array_equal(forget, 1)
    for gate in (enter, candidate, output):
        np.testing.assert_array_equal(gate, 0)
