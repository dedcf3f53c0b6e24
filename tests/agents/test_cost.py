"""Parameters and operations, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from metarims.agents.agent import make_agent
from metarims.agents.cost import count_flops, measure_cost
from metarims.config import Config, Network, core_settings
from metarims.core_settings import LSTMSettings, RIMSettings

pytestmark = pytest.mark.usefixtures("quick_module")

TOKENS = jnp.zeros((10, 4), jnp.int32)


def cost_of(agent, **sizes):
    config = Config(agent=agent, **sizes)
    make = lambda key: make_agent(config.network, core_settings(config), num_actions=7, num_words=49, key=key)  # noqa: E731
    return measure_cost(jax.eval_shape(make, jax.random.key(0)), TOKENS)


def test_products_in_loops_count_as_often_as_they_run():
    def function(x):
        return jax.lax.scan(lambda carry, _: (carry @ x, None), x, length=5)[0] @ x

    assert count_flops(function, jnp.zeros((3, 3))) == 6 * 2 * 27


def test_operations_of_an_lstm_by_hand():
    flops = cost_of("vanilla", network=Network(image_dim=4, feature_dim=8, head_dim=5), core=LSTMSettings(6)).flops
    assert flops["core"] == 2 * (8 + 6) * 4 * 6
    assert flops["policy"] == 2 * (6 * 5 + 5 * 7)
    assert flops["value"] == 2 * (6 * 5 + 5 * 1)
    assert flops["encoder"] == 2 * 49 * 4 * (8 + 4)  # The dense layer, and the mix between two FiLM layers.


def test_operations_of_modules_by_hand():
    sizes = {"num_modules": 3, "num_active": 2, "module_dim": 4, "key_dim": 5, "value_dim": 6}
    core = RIMSettings(communication_heads=2, communication_dim=10, **sizes)
    found = cost_of("modular", network=Network(feature_dim=8), core=core).flops["core"]
    read = 8 * 5 + 8 * 6 + 3 * 6 * 16
    ask, match, recur, take = 3 * 4 * 5, 3 * 5, 3 * 4 * 16, 3 * 16
    talk = 3 * 4 * 30 + 9 * 10 + 9 * 10 + 3 * 10 * 4
    assert found == 2 * (read + ask + match + recur + take + talk)


@pytest.mark.parametrize("agent", ["vanilla", "metarims"])
def test_what_is_read_of_tiles_is_computed_once_for_all_frames(agent):
    """Where the input is a set: keys and values of 60 tiles, of C features each."""
    narrow, wide = (cost_of(agent, network=Network(input="set", image_dim=size)) for size in (8, 24))
    assert narrow.flops["core"] == wide.flops["core"] > 0
    both = sum(getattr(core_settings(Config(agent=agent)), name) for name in ("key_dim", "value_dim"))
    assert wide.table_flops - narrow.table_flops >= 2 * 60 * (24 - 8) * both


@pytest.mark.parametrize("agent", ["modular", "metarims", "random", "dense"])
def test_agents_that_are_compared_are_of_one_size(agent):
    """Parameters of `vanilla` and of the modular agents match within 5 %."""
    ours, theirs = (sum(cost_of(name).parameters.values()) for name in (agent, "vanilla"))
    assert abs(ours / theirs - 1) < 0.05
