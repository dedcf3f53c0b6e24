"""Environments that are not what they should be are user errors, whatever they answer."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from tests.fuzz.environments import Cheese, play_farama, play_host

from metarims.errors import UserError


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"space": Discrete(3, start=5)}, "has the action space .* only Discrete ones from 0 on"),
        ({"space": None}, "has the action space None"),
        ({"begin seen": {"mission": 3}}, "Strange-v0 failed: AttributeError"),
        ({"max_steps": "many"}, "Strange-v0 failed: ValueError"),
        ({"fails": {"reset": KeyError("x")}}, "Strange-v0 failed: KeyError: 'x'"),
        ({"begin seen": {"direction": np.zeros(2)}}, "faces array.* directions are 0 to 3"),
        ({"step seen": {"direction": 4}}, "faces 4: MiniGrid's directions are 0 to 3"),
        ({"begin seen": {"image": np.full((7, 7, 3), -1)}}, r"shows a tile .type -1, colour -1, state -1. that no"),
        ({"step is": None}, "Strange-v0 failed: TypeError"),
    ],
)
def test_played_for_training(odd, message):
    with pytest.raises(UserError, match=message):
        play_host(odd)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"fails": ValueError("stuck\nfast")}, "Drawn-v0 failed: ValueError: stuck.$"),
        ({"keywords": {"agent_view_size": 5}}, r"image has shape \(5, 5, 3\)"),
        ({"thing": lambda: Cheese("red")}, "Drawn-v0 failed|no tile code means"),
        ({"answer": lambda answer: answer[:3]}, "Drawn-v0 failed: ValueError"),
    ],
)
def test_played_for_evaluation(odd, message):
    with pytest.raises(UserError, match=message):
        play_farama(odd)


def test_what_is_not_strange_is_played():
    play_host({})
    play_farama({})
    assert gymnasium.spec("Strange-v0").kwargs == {}
