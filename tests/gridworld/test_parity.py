"""Step by step, our world and Farama's are the same."""

import pytest
from tests.gridworld.replay import mismatches
from tests.gridworld.selection import ALL, FEW

from metarims.gridworld import make

SEEN = ("steps", "paid", "ended")


def check(id: str, num_steps: int, seed: int) -> None:
    result = mismatches(make(id), num_steps, seed)
    assert {name: number for name, number in result.items() if name not in SEEN and number} == {}
    assert result["steps"] >= num_steps
    assert result["ended"] >= 1


@pytest.mark.parametrize("id", FEW)
def test_steps_equal_faramas(id: str) -> None:
    check(id, 1500, seed=1)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", ALL)
def test_ten_thousand_steps_equal_faramas(id: str) -> None:
    check(id, 10_000, seed=2)


@pytest.mark.parametrize("id", ["BabyAI-GoToLocal-v0", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaCrossingS9N1-v0"])
def test_the_comparison_sees_successes_and_failures(id: str) -> None:
    result = mismatches(make(id), 3000, seed=3)
    assert result["paid"] > 0
    assert result["ended"] > result["paid"]
