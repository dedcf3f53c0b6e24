"""Step by step, our environments and Farama's are the same."""

import pytest
from tests.gridworld.replay import mismatches
from tests.gridworld.selection import ALL, KINDS, ROOMS

from metarims.gridworld import make

pytestmark = pytest.mark.usefixtures("quick_module")

SEEN = ("steps", "paid", "ended", "failed", "partly done")


def check(id: str, num_steps: int, seed: int, rgb_every: int = 10) -> dict[str, int]:
    result = mismatches(make(id), num_steps, seed, rgb_every)
    print(id, result)
    assert {name: number for name, number in result.items() if name not in SEEN and number} == {}
    assert result["steps"] >= num_steps
    assert result["ended"] > 0
    return result


@pytest.mark.parametrize("id", [*KINDS, *ROOMS])
def test_steps_equal_faramas(id: str) -> None:
    seen = check(id, 1500, seed=1)
    if id == "BabyAI-GoToLocalS5N2-v0":  # The comparison sees successes, and episodes without.
        assert seen["ended"] > seen["paid"] > 0


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", ALL)
def test_ten_thousand_steps_equal_faramas(id: str) -> None:
    """Pixels of every 50th step: they are a function of the codes, whose pictures are compared one by one elsewhere."""
    check(id, 10_000, seed=2, rgb_every=50)
