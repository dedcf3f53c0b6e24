"""Users' environments: what is measured and shown is what an agent was trained on."""

import numpy as np
import pytest
import tests.gridworld.user_tasks  # noqa: F401  (registers them)

from metarims.errors import UserError
from metarims.evaluation.evaluate import (
    MAX_EPISODES,
    evaluate_farama,
    evaluation_seeds,
    first_farama_seed,
)
from metarims.evaluation.recording import RandomAgent, record_random
from metarims.gridworld import tokenize
from metarims.gridworld.farama import FaramaBatch, make_farama
from metarims.gridworld.host_env import HostVector, read_spec
from metarims.gridworld.mission_table import MissionTable
from metarims.gridworld.missions import BABYAI_VOCABULARY, MissionFormat
from metarims.gridworld.observation import render_host
from metarims.gridworld.types import FIRST_EVALUATION_SEED
from metarims.views.episode_page import viewer_data
from metarims.views.packing import pack_episode

WORDS = MissionFormat(BABYAI_VOCABULARY, 9)


def begin_both(name: str) -> tuple[HostVector, FaramaBatch]:
    """The same level in training and in evaluation, and their first observations."""
    id = f"Users-{name}-v0"
    host, batch = HostVector(id, 1, MissionTable(BABYAI_VOCABULARY, 9, 64)), FaramaBatch(id, 1, WORDS)
    host.first = host.reset(3)  # pyright: ignore[reportAttributeAccessIssue]
    batch.reset([int(np.random.SeedSequence(3).generate_state(1)[0]) % FIRST_EVALUATION_SEED])
    return host, batch


@pytest.mark.parametrize(
    "name", ["Room", "Mirrored", "BlindInSteps", "SameArray", "Stages", "LooksLikeFaramas", "Sizes", "DoneTwice"]
)
def test_an_agent_is_evaluated_on_what_it_is_trained_on(name: str) -> None:
    host, batch = begin_both(name)
    seen, pixels = host.first, batch.pixels()  # pyright: ignore[reportAttributeAccessIssue]
    for action in (2, 0, 2, 1, 2, 2):
        np.testing.assert_array_equal(render_host(np.asarray(seen.codes)), pixels.image)
        np.testing.assert_array_equal(host.table.tokens[seen.mission], batch.mission_tokens)
        step, theirs = host.step([action]), batch.step([action])
        assert (step.reward, step.terminated, step.truncated) == theirs[1:]
        if step.terminated | step.truncated:
            break
        seen, pixels = step.observation, theirs.pixels


def test_what_the_world_shows_is_not_what_a_mirrored_agent_gets() -> None:
    _, mirrored = begin_both("Mirrored")
    _, plain = begin_both("Room")
    assert (mirrored.pixels().image != plain.pixels().image).any()


def test_an_observation_that_is_a_picture_is_seen_as_it_is() -> None:
    pictures, plain = (FaramaBatch(f"Users-{name}-v0", 1, WORDS) for name in ("Pictures", "Room"))
    np.testing.assert_array_equal(pictures.reset([5])[0].image, plain.reset([5])[0].image)
    with pytest.raises(UserError, match="is a picture"):
        record_random("Users-Pictures-v0", "farama", 1)


def test_the_end_of_an_episode_in_one_array_is_not_the_next_ones_beginning() -> None:
    same, plain = (begin_both(name)[0] for name in ("SameArray", "Room"))
    for _ in range(8):
        step, expected = same.step([1]), plain.step([1])
    assert expected.truncated.all()
    np.testing.assert_array_equal(step.final_observation.codes, expected.final_observation.codes)
    assert (step.final_observation.codes != step.observation.codes).any()


def test_terminated_wins_over_truncated() -> None:
    host, batch = begin_both("DoneTwice")
    for _ in range(8):
        step, theirs = host.step([1]), batch.step([1])
    for end in (step, theirs):
        assert end.terminated.all()
        assert not end.truncated.any()
    evaluation = evaluate_farama(RandomAgent(7), "Users-DoneTwice-v0", 20, 0, greedy=False)
    assert 0 < evaluation.success.sum() < 20
    np.testing.assert_array_equal(evaluation.success, evaluation.returns > 0)


def test_missions_that_change_are_read_and_shown_step_by_step() -> None:
    _, batch = begin_both("Stages")
    said = [batch.missions[0]]
    for _ in range(7):
        batch.step([0])
        said.append(batch.missions[0])
        np.testing.assert_array_equal(batch.mission_tokens[0], tokenize(said[-1], BABYAI_VOCABULARY, 9))
    assert said == ["go to the ball", *["go to the red ball"] * 3, *["open the blue door"] * 4]
    episode = next(e for e in record_random("Users-Stages-v0", "farama", 9) if e.truncated)
    assert episode.mission == said[0]
    assert list(episode.mission_changes) == [(1, said[1]), (4, said[4])]
    assert pack_episode(episode)["missions"] == [[1, said[1]], [4, said[4]]]


@pytest.mark.parametrize("name", ["LooksLikeFaramas", "Sizes", "Furnished"])
def test_any_grid_can_be_shown(name: str) -> None:
    episodes = record_random(f"Users-{name}-v0", "farama", 9)
    env = make_farama(f"Users-{name}-v0")
    for episode in episodes:
        env.reset(seed=episode.level_seed)
        base = env.unwrapped
        assert episode.grid[0].shape == (base.width, base.height)
        assert episode.position[0].tolist() == list(base.agent_pos)
    assert len({episode.grid.shape[1:] for episode in episodes}) == (3 if name == "Sizes" else 1)
    found = evaluate_farama(RandomAgent(7), f"Users-{name}-v0", 9, episodes[0].level_seed, greedy=True)
    assert (found.lengths == 8).all()  # It turns left.


def test_an_environment_without_a_grid_can_be_evaluated_but_not_viewed() -> None:
    found = evaluate_farama(RandomAgent(9), "Users-TwoArms-v0", 200, 0, greedy=False)
    assert 0 < found.success.sum() < 60
    with pytest.raises(UserError, match="viewing needs its grid"):
        record_random("Users-TwoArms-v0", "farama", 1)


def test_actions_beyond_minigrids_have_names() -> None:
    (episode,) = record_random("Users-Room-v0", "farama", 1)
    packed = pack_episode(episode)
    assert viewer_data([packed])["actionNames"][-1] == "done"
    assert viewer_data([{**packed, "choices": 9}])["actionNames"][7:] == ["action 7", "action 8"]


def test_attributes_that_only_look_like_faramas_are_not_read() -> None:
    assert read_spec(make_farama("Users-LooksLikeFaramas-v0")) == (7, 8, 13)


@pytest.mark.parametrize(("seed", "trained"), [(0, 0), (1, 0), (0, 329), (7, 2**31 - 1), (2**31 - 1, 2**31 - 1)])
def test_level_seeds_of_evaluations_fit_numpy(seed: int, trained: int) -> None:
    first = first_farama_seed(seed, trained)
    for seeds in (evaluation_seeds(first, 3), evaluation_seeds(first + MAX_EPISODES - 3, 3)):
        assert len(set(seeds)) == 3
        assert all(FIRST_EVALUATION_SEED <= seed < 2**32 for seed in seeds)
    assert evaluate_farama(RandomAgent(7), "Users-NumpySeed-v0", 2, first, greedy=True).lengths.shape == (2,)
    record_random("Users-NumpySeed-v0", "farama", 2, seed)


def test_agents_of_a_run_play_different_levels() -> None:
    seeds = [seed for trained in range(500) for seed in evaluation_seeds(first_farama_seed(1, trained), 100)]
    assert len(set(seeds)) == 50_000
    assert evaluation_seeds(2**32 - 1, 2) == [2**32 - 1, FIRST_EVALUATION_SEED]
    assert evaluation_seeds(17, 2) == [17, 18]
