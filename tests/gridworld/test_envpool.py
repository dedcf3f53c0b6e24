"""A second oracle: EnvPool's own MiniGrid, in C++, plays the same steps (collected only where it is installed)."""

import numpy as np
import pytest
from tests.gridworld.envpool_play import record_envpool
from tests.gridworld.replay import replay
from tests.gridworld.selection import ALL

from metarims.gridworld import make
from metarims.gridworld.tiles import SYMBOLS


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("id", [id for id in ALL if "FourRoomsS13" not in id])  # ours alone
def test_steps_equal_envpools(id: str) -> None:
    """All but one thing: on a success in the last step EnvPool reports the time limit only, Farama and we both."""
    level = make(id)
    history = record_envpool(level, 2_000, seed=4)
    observation, reward, terminated, truncated, _ = replay(level, history)
    np.testing.assert_array_equal(SYMBOLS[observation.codes], history.image)
    np.testing.assert_array_equal(observation.direction, history.direction)
    np.testing.assert_array_equal(observation.mission, history.mission)
    np.testing.assert_allclose(reward, history.reward, atol=1e-6)
    np.testing.assert_array_equal(truncated, history.truncated)
    np.testing.assert_array_equal(terminated & ~truncated, history.terminated)
    assert len(reward) >= 2_000
