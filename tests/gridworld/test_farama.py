"""Evaluation in the real environments: every level seed once, whatever the batch."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import make, tokenize
from metarims.gridworld import observation as obs
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import FaramaBatch, play
from metarims.gridworld.missions import MissionFormat

ID = "BabyAI-GoToObjS4-v0"


def walker(pixels, tokens, began) -> np.ndarray:
    """Acts by what it sees alone."""
    return (pixels.image.reshape(len(began), -1).sum(1) // 7 + tokens.sum(1)) % 3


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_an_episode_depends_on_its_level_seed_alone(num_envs: int) -> None:
    episodes = sorted(play(FaramaBatch(ID, num_envs), range(100, 107), walker))
    assert [episode.seed for episode in episodes] == list(range(100, 107))
    assert episodes == sorted(play(FaramaBatch(ID, 2), range(100, 107), walker))


class Shaped(gymnasium.RewardWrapper):
    """Pays a little for every step."""

    def reward(self, reward):
        return float(reward) + 0.1


def test_rewards_on_the_way_make_no_success_of_a_time_limit() -> None:
    plain, shaped = FaramaBatch(ID, 4), FaramaBatch(ID, 4)
    shaped.envs = [Shaped(env) for env in shaped.envs]  # pyright: ignore[reportAttributeAccessIssue]
    played = []
    for batch in (plain, shaped):
        draw = np.random.default_rng(0)
        played.append(play(batch, range(12), lambda *_, draw=draw: draw.integers(0, 3, 4)))
    pairs = list(zip(*played, strict=True))
    assert {episode.success for episode, _ in pairs} == {True, False}
    for without, paid in pairs:
        assert paid.episode_return > 0
        assert paid.success == without.success == without.terminated


def test_each_lane_is_told_when_a_level_begins() -> None:
    is_first = []

    def policy(pixels, tokens, began):
        is_first.append(began.copy())
        return np.full(2, 1)

    episodes = list(play(FaramaBatch(ID, 2), range(5), policy))
    assert np.sum(is_first) == 5
    assert is_first[0].all()
    assert not is_first[1].any()
    assert all(episode.truncated != episode.success for episode in episodes)
    assert all(episode.length == 16 for episode in episodes if episode.truncated)


def test_a_lane_whose_episode_is_over_waits() -> None:
    batch = FaramaBatch(ID, 2)
    pixels, tokens = batch.reset([3, 4])
    assert pixels.image.shape == (2, 56, 56, 3)
    np.testing.assert_array_equal(tokens[0], tokenize(batch.missions[0]))
    while batch.active.all():
        step = batch.step([1, 2])
    over = int(np.flatnonzero(~batch.active)[0])
    frozen = step.pixels.image[over]
    later = batch.step([1, 2])
    np.testing.assert_array_equal(later.pixels.image[over], frozen)
    assert later.reward[over] == 0
    assert not later.terminated[over]


def test_the_worlds_behind_the_pixels_can_be_seen() -> None:
    level = make("BabyAI-GoToLocal-v0")
    batch = FaramaBatch(level.id, 2)
    pixels, _ = batch.reset([5, 6])
    for index in range(2):
        world = jax.tree.map(jnp.asarray, state_from_farama(batch.envs[index]))
        codes = jax.jit(lambda world: obs.observe(level, world).codes)(world)
        np.testing.assert_array_equal(obs.render_host(np.asarray(codes)), pixels.image[index])


def test_bad_requests_are_user_errors() -> None:
    for request in (
        lambda: FaramaBatch("BabyAI-GoToObjj-v0", 1),
        lambda: FaramaBatch(ID, 0),
        lambda: FaramaBatch(ID, 2).reset([1, 2, 3]),
        lambda: FaramaBatch("BabyAI-OpenDoor-v0", 1, MissionFormat(("go", "to"))).reset([0]),
    ):
        with pytest.raises(UserError):
            request()
