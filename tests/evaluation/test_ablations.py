"""What ablations of modules change in an agent, in both worlds, and where they are refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.evaluation.test_recording import CORES, ENV, SMALL, new_agent

from metarims.agents.agent import make_agent
from metarims.core_settings import RIMSettings
from metarims.errors import UserError
from metarims.evaluation.ablations import Ablation
from metarims.evaluation.evaluate import evaluate_farama, evaluate_jax, evaluation_key
from metarims.evaluation.recording import record_episodes
from metarims.gridworld import VOCABULARY, make

pytestmark = pytest.mark.usefixtures("quick_module")


@pytest.fixture(scope="module")
def agent():
    """One whose modules talk, attend to the input and move for different reasons: all weights are large."""
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(new_agent)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.6, leaf.shape), jnp.float32), shapes)


def played(agent, backend, **changes):
    return record_episodes(agent, ENV, 3, False, backend, seed=3, ablation=Ablation(**changes))


@pytest.mark.parametrize("backend", ["jax", "farama"])
def test_each_ablation_changes_what_it_names_and_leaves_the_rest(agent, backend):
    episodes = {
        name: played(agent, backend, **changes)
        for name, changes in {
            "as trained": {},
            "averaged": {"messages": "average"},
            "off": {"messages": "off"},
            "same input": {"input_attention": "average"},
            "fixed": {"router": "fixed"},
            "random": {"router": "random"},
            "all": {"router": "all"},
        }.items()
    }
    first = {name: found[0] for name, found in episodes.items()}
    talk = {name: np.abs(episode.communication - 1 / 5).max() for name, episode in first.items()}
    assert talk["averaged"] < 1e-6
    assert (first["off"].communication == 0).all()
    assert min(talk[name] for name in ("as trained", "same input", "fixed", "random", "all")) > 0.1
    spread = {name: np.ptp(episode.input_attention, axis=1).max() for name, episode in first.items()}
    assert spread["same input"] == 0
    assert min(spread[name] for name in spread if name != "same input") > 0.1
    assert (first["fixed"].active == [True, True, True, False, False]).all()
    assert first["all"].active.all()
    drawn = np.concatenate([episode.active for episode in episodes["random"]])
    assert (drawn.sum(-1) == 3).all()
    assert len(np.unique(drawn, axis=0)) > 5
    # At the first step all agents see the same: modules are selected by their own attention, whatever is averaged.
    for name in ("averaged", "off", "same input"):
        np.testing.assert_array_equal(first[name].active[0], first["as trained"].active[0])
    values = [round(float(first[name].values[0]), 5) for name in ("as trained", "averaged", "off", "same input", "all")]
    assert len(set(values)) == len(values), "each changes the value"


def test_without_messages_an_agent_plays_like_one_whose_messages_are_zero(agent):
    silent = eqx.tree_at(lambda a: a.core.attention.communication.output, agent, replace_fn=jnp.zeros_like)
    asked = ((agent, Ablation(messages="off")), (silent, Ablation()))
    ours = [evaluate_jax(a, make(ENV), 16, evaluation_key(0), False, ablation=how) for a, how in asked]
    theirs = [evaluate_farama(a, ENV, 4, 3, False, ablation=how) for a, how in asked]
    for one, other in (ours, theirs):
        np.testing.assert_array_equal(one.lengths, other.lengths)
        np.testing.assert_array_equal(one.returns, other.returns)


LSTM, SILENT = CORES["lstm"], RIMSettings(communication_heads=0)
ALL, RANDOM = RIMSettings(router="all"), RIMSettings(router="random")


@pytest.mark.parametrize(
    ("core", "changes", "message"),
    [
        (LSTM, {"messages": "off"}, r"messages is off, but this agent's core \(LSTMCore\) has no"),
        (LSTM, {"input_attention": "average"}, r"input_attention is average, but this agent's core"),
        (LSTM, {"router": "all"}, r"router is all, but this agent's core"),
        (SILENT, {"messages": "average"}, r"messages is average, but this agent's modules do not communicate"),
        (ALL, {"router": "fixed"}, r"router is 'fixed': all modules of this agent are active"),
        (RIMSettings(num_active=5), {"router": "random"}, r"router is 'random': all modules"),
        (RANDOM, {"router": "random"}, r"router is 'random': this agent selects its modules so"),
        (RIMSettings(), {"messages": "loud"}, r"Unknown messages 'loud'"),
    ],
)
def test_what_changes_nothing_is_refused(core, changes, message):
    refused = make_agent(SMALL, core, num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(0))
    with pytest.raises(UserError, match=message) as error:
        evaluate_jax(refused, make(ENV), 1, evaluation_key(0), False, ablation=Ablation(**changes))
    assert error.value.field in changes
