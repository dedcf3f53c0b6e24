"""The pretrained agents are small, and solve their tasks as often as the README says."""

import pytest

from metarims import pretrained
from metarims.errors import UserError
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.gridworld import make
from metarims.runs.export import load_agent
from metarims.runs.folder import load_agents

LEAST = {"doorkey": 0.95, "dynamic-obstacles": 0.5, "goto-local": 0.95}
"""Success of the sampled policy over 100 episodes; chance is far below."""


def test_what_is_there_is_small() -> None:
    assert set(pretrained.names()) == set(LEAST)
    assert all(pretrained.find(name).stat().st_size < 2**20 for name in pretrained.names())


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", LEAST)
def test_they_play(name) -> None:
    saved = load_agent(pretrained.find(name))
    found = evaluate_jax(saved.agent, make(saved.config.env), 100, evaluation_key(7), greedy=False)
    assert found.success.mean() >= LEAST[name]


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match=r"dorkey.*doorkey"):
        load_agents("dorkey")
