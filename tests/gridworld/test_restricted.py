"""Levels with some of their missions: what is left out is never asked for, and the rest is as before."""

import pickle

import jax
import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import make
from metarims.gridworld.farama import make_farama

pytestmark = pytest.mark.usefixtures("quick_module")


def missions(id: str, number: int = 300) -> list[str]:
    level = make(id)
    states = jax.jit(jax.vmap(level.reset))(jax.random.split(jax.random.key(0), number))
    return level.texts(states)


@pytest.mark.parametrize("base", ["BabyAI-GoToLocal-v0", "BabyAI-GoToSeqS5R2-v0"])
def test_missions_that_are_left_out_are_the_only_ones_of_the_other_half(base: str) -> None:
    """With missions in a table, and with missions that are drawn word by word."""

    def speaks(mission: str) -> bool:
        return "red key" in mission or "green ball" in mission

    seen, held_out = (missions(f"{base}?{option}=red_key,green_ball") for option in ("without", "only"))
    assert not any(map(speaks, seen))
    assert all(map(speaks, held_out))
    assert {mission for mission in missions(base) if not speaks(mission)} & set(seen)
    assert make(f"{base}?only=red_key").vocabulary == make(base).vocabulary


def test_a_copy_is_equal() -> None:
    level = make("BabyAI-GoToLocal-v0?only=red_key")
    assert pickle.loads(pickle.dumps(level)) == level


def test_the_other_missions_keep_their_shares() -> None:
    """GoToObjS4 asks for each of 18 things equally often; without three of them, for each of 15."""
    found = missions("BabyAI-GoToObjS4-v0?without=red_key,green_ball,blue_box", 3000)
    counts = np.unique(found, return_counts=True)[1]
    assert len(counts) == 15
    assert np.abs(counts - 200).max() < 60


def test_faramas_environment_is_restricted_too() -> None:
    env = make_farama("BabyAI-GoToLocal-v0?only=red_key")
    first, again = (env.reset(seed=3)[0] for _ in range(2))
    assert "red key" in first["mission"]
    np.testing.assert_array_equal(first["image"], again["image"])
    assert all("red key" in env.reset()[0]["mission"] for _ in range(3))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("with=red_key", "without"),
        ("without=", "names nothing"),
        ("without=red_kay", "red kay"),
        ("without=go_to", "leaves no mission"),
    ],
)
def test_options_that_mean_nothing_are_errors(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(f"BabyAI-GoToLocal-v0?{option}")
