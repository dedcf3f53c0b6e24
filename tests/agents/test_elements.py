"""The input as a set: cells and mission as elements, and what it shares with the vector and the LSTM."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import make_agent
from metarims.agents.core import ModuleMetrics, unroll
from metarims.agents.elements import EPSILON, TEMPERATURE, Elements, ElementSizes, ElementTable
from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.lstm import LSTMCore
from metarims.agents.rims import RIMCore
from metarims.config import Config, Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.gridworld import observation as obs
from metarims.gridworld.tiles import EMPTY, UNSEEN, WALL
from metarims.gridworld.types import Observation, Pixels

pytestmark = pytest.mark.usefixtures("quick_module")

ENVS, QUERIES, KEY, VALUE = 3, 4, 5, 6
SIZES = ElementSizes(tile_dim=7, mission_dim=8)
NETWORK = Network(input="set", image_dim=7, word_dim=4, mission_dim=8, head_dim=4)
CORES = {
    "lstm": LSTMSettings(6, input_heads=QUERIES, key_dim=KEY, value_dim=VALUE),
    "rim": RIMSettings(3, 2, 4, input_heads=2, key_dim=KEY, value_dim=VALUE, communication_heads=0),
}


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), jnp.float32)


def codes(*shape):
    return jnp.asarray(np.random.default_rng(1).integers(0, 60, (*shape, 49)), jnp.uint8)


def test_a_query_reads_the_mean_of_values_by_the_softmax_of_its_scores():
    table = ElementTable(SIZES, QUERIES, KEY, VALUE, key=jax.random.key(0))
    tiles, mission, queries, cells = normal(60, 7), normal(ENVS, 8), normal(ENVS, QUERIES, KEY), codes(ENVS)
    bound = table.with_tiles(tiles)
    salience = normal(ENVS, 49, seed=2)
    reading = bound.read(queries, bound.project_elements(Elements(cells, mission, salience)))
    rows, places, word = tiles @ table.tile, table.place, mission @ table.mission
    for env in range(ENVS):
        elements = np.concatenate([rows[np.asarray(cells[env])] + places, word[env][None]])
        keys, values = elements[:, :KEY], elements[:, KEY:]
        for query in range(QUERIES):
            asked = np.asarray(queries[env, query])
            cosines = keys @ asked / np.sqrt(((keys**2).sum(1) + EPSILON) * ((asked**2).sum() + EPSILON))
            weights = np.exp(cosines / TEMPERATURE + np.append(salience[env], 0))
            attention = weights / weights.sum()
            np.testing.assert_allclose(reading.attention[env, query], attention, atol=1e-5)
            read = attention @ values
            read /= np.sqrt((read**2).mean() + EPSILON)
            np.testing.assert_allclose(reading.values[env, query], read, atol=1e-4)
            np.testing.assert_allclose(reading.score[env, query], np.log(weights.mean()), atol=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_pictures_and_codes_are_the_same_set(core):
    agent = make_agent(NETWORK, CORES[core], num_actions=7, num_words=9, key=jax.random.key(0))
    grid = jnp.asarray(np.random.default_rng(2).integers(0, 41, (ENVS, 7, 7)), jnp.uint8)
    rows, state = jnp.array([0, 1, 1]), agent.initial_state(ENVS)
    tables = agent.tables(jnp.array([[1, 2, 0], [3, 4, 5]]))
    _, of_codes = agent.step(tables, Observation(grid, jnp.zeros(ENVS), rows), state)
    _, of_pixels = agent.step(tables, Pixels(jnp.asarray(obs.render_host(np.asarray(grid))), rows), state)
    np.testing.assert_allclose(of_codes.logits, of_pixels.logits, atol=1e-5)
    np.testing.assert_allclose(of_codes.value, of_pixels.value, atol=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_fast_gradients_of_a_set_are_the_plain_ones(core):
    """Codes that occur several times, and every parameter of the agent that can matter."""
    agent = make_agent(NETWORK, CORES[core], num_actions=7, num_words=9, key=jax.random.key(0))
    observation = Observation(
        codes(5, ENVS).reshape(5, ENVS, 7, 7) % 9, jnp.zeros((5, ENVS)), jnp.zeros((5, ENVS), int)
    )
    is_first = jnp.zeros((5, ENVS), bool).at[2, 1].set(True)

    def loss(agent):
        tables = agent.tables(jnp.array([[1, 2]]))
        _, output = agent.unroll(tables, observation, agent.initial_state(ENVS), is_first)
        return (output.logits**2).sum() * 100 + (output.value**2).sum()

    plain = jax.grad(loss)(agent)
    with fast_gradients():
        fast = jax.grad(loss)(agent)
    for ours, theirs in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 + 1e-4 * np.abs(theirs).max())
    assert all((leaf != 0).any() for leaf in jax.tree.leaves((fast.core.groups(), fast.encoder.salience)))


def test_a_fresh_set_attracts_attention_to_objects():
    salience = np.asarray(
        make_agent(NETWORK, CORES["rim"], num_actions=7, num_words=9, key=jax.random.key(0))
        .tables(jnp.array([[1, 2]]))
        .salience
    )
    nothing = [UNSEEN, EMPTY, WALL]
    assert salience[nothing].max() < np.delete(salience, nothing).min() - 1


def test_a_modules_attention_to_the_elements_adds_up_to_that_to_the_input():
    agent = make_agent(NETWORK, CORES["rim"], num_actions=7, num_words=9, key=jax.random.key(0))
    observation = Observation(codes(ENVS).reshape(ENVS, 7, 7), jnp.zeros(ENVS), jnp.zeros(ENVS, int))
    _, output = agent.step(agent.tables(jnp.array([[1, 2]])), observation, agent.initial_state(ENVS))
    metrics = output.metrics
    assert isinstance(metrics, ModuleMetrics)
    assert metrics.element_attention.shape == (ENVS, 3, 50)
    np.testing.assert_allclose(metrics.element_attention.sum(-1), metrics.input_attention, atol=1e-5)


def test_one_module_without_gate_values_and_communication_is_the_lstm():
    settings = RIMSettings(1, 1, 8, value_dim=0, input_gate="none", communication_heads=0)
    rim = RIMCore(6, settings, key=jax.random.key(0))
    lstm = LSTMCore(6, LSTMSettings(8), key=jax.random.key(1))
    modules = rim.modules
    rim = eqx.tree_at(lambda rim: rim.modules.bias, rim, normal(*modules.bias.shape))
    lstm = eqx.tree_at(
        lambda lstm: (lstm.modules.from_input, lstm.modules.from_hidden, lstm.modules.bias),
        lstm,
        (modules.from_input[0, 0], modules.from_hidden[0], rim.modules.bias[0]),
    )
    x, is_first = normal(9, ENVS, 6), jnp.zeros((9, ENVS), bool).at[4, 0].set(True)
    _, (ours, _) = unroll(rim, x, rim.initial_state(ENVS), is_first)
    _, (theirs, _) = unroll(lstm, x, lstm.initial_state(ENVS), is_first)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_settings_that_cannot_be_combined_are_refused():
    with pytest.raises(UserError) as error:
        Config(network=NETWORK, core=dataclasses.replace(CORES["rim"], value_dim=0))
    assert error.value.field == "core.value_dim"
