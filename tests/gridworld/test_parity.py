"""Step by step, our environments and Farama's are the same."""

from collections import Counter

import pytest
from tests.gridworld.replay import mismatches
from tests.gridworld.selection import ALL, KINDS, ROOMS

from metarims.gridworld import make

pytestmark = pytest.mark.usefixtures("quick_module")

SEEN = ("steps", "paid", "ended", "failed", "partly done")
UNPAID = ("MiniGrid-Playground-v0",)
"""Nothing is a success there."""


def check(id: str, num_steps: int, seed: int, **how: int) -> Counter[str]:
    result = mismatches(make(id), num_steps, seed, **how)
    assert {name: number for name, number in result.items() if name not in SEEN and number} == {}
    assert result["steps"] >= num_steps
    assert result["ended"] > 0
    return Counter(result)


@pytest.mark.parametrize("id", [*KINDS, *ROOMS])
def test_steps_equal_faramas(id: str) -> None:
    seen = check(id, 1500, seed=1)
    if id == "BabyAI-GoToLocalS5N2-v0":  # The comparison sees successes, and episodes without.
        assert seen["ended"] > seen["paid"] > 0


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", ALL)
def test_ten_thousand_steps_equal_faramas(id: str, record_property) -> None:
    """Of random players, then of Farama's bot, where it can play; random players again while nobody had success.

    Pixels of every 50th step: they are a function of the codes, whose pictures are compared one by one elsewhere.
    """
    seen = Counter[str]()
    for seed in range(2, 12):
        seen += check(id, 10_000, seed, rgb_every=50, by_bot=8 if seed == 3 else 0)
        if seed >= 3 and (seen["paid"] or id in UNPAID):
            break
    record_property("seen", f"{id}: " + ", ".join(f"{name} {seen[name]:,}" for name in SEEN))
    assert seen["paid"] or id in UNPAID
