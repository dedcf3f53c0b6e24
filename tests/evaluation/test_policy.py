"""A policy acts as the agent does in the library's own evaluation."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from minigrid.wrappers import RGBImgPartialObsWrapper

import metarims
import metarims.gridworld.gym
from metarims import pretrained
from metarims.errors import UserError
from metarims.evaluation.policy import Policy
from metarims.evaluation.recording import record_episodes
from metarims.gridworld import VOCABULARY
from metarims.runs.folder import load_agents

pytestmark = pytest.mark.usefixtures("quick_module")

ID = "MiniGrid-DoorKey-5x5-v0"


@pytest.fixture(scope="module")
def saved():
    return load_agents(pretrained.find("doorkey"))[0]


@pytest.fixture
def policy(saved):
    return Policy(saved, "greedy")


def test_it_plays_the_recorded_episode(saved, policy):
    """In Farama's environment, of which it gets symbols, and pictures from the wrapper."""
    (recorded,) = record_episodes(saved.agent, ID, 1, greedy=True, backend="farama")
    assert len(set(recorded.actions.tolist())) > 1
    for wrapper in (lambda env: env, RGBImgPartialObsWrapper):
        env = wrapper(gymnasium.make(ID, disable_env_checker=True))
        observation, _ = env.reset(seed=recorded.level_seed)
        policy.reset()
        for action in recorded.actions:
            chosen = policy.act(observation)
            assert chosen == action
            assert type(chosen) is int
            observation, *_ = env.step(chosen)


def test_a_batch_is_as_many_alone(saved, policy):
    """With resets where an episode begins; missions are tokens, or the same as text."""
    envs = gymnasium.make_vec(f"metarims/{ID}", 3)
    observation, _ = envs.reset(seed=1)
    alone = [Policy(saved, "greedy") for _ in range(3)]
    begun, resets = np.ones(3, bool), 0
    for _ in range(40):
        actions = policy.act(observation, begun)
        for index, one in enumerate(alone):
            if begun[index]:
                one.reset()
                resets += 1
            mission = " ".join(VOCABULARY[token - 1] for token in observation["mission"][index] if token)
            assert one.act({"image": observation["image"][index], "mission": mission}) == actions[index]
        observation, _, terminated, truncated, _ = envs.step(actions)
        begun = terminated | truncated
    assert resets > 3


def test_a_carried_state_is_kept_where_an_episode_begins(saved):
    config = dataclasses.replace(saved.config, recurrent_state="carry")
    carried, kept = Policy(saved._replace(config=config), "greedy"), Policy(saved, "greedy")
    envs = gymnasium.make_vec(f"metarims/{ID}", 3)
    observation, _ = envs.reset(seed=1)
    for _ in range(10):
        actions = kept.act(observation)
        np.testing.assert_array_equal(carried.act(observation, np.ones(3, bool)), actions)
        observation, *_ = envs.step(actions)


def test_where_an_agent_is_found(run_copy):
    assert metarims.Policy is Policy
    assert metarims.Policy.load("doorkey").saved.config.env.startswith("MiniGrid-DoorKey")
    assert [Policy.load(run_copy, agent_seed=seed).saved.seed for seed in (None, 1)] == [0, 1]
    assert Policy.load(run_copy / "agents/seed-1.safetensors").saved.seed == 1
    assert Policy.load(run_copy, best=True).num_actions == 7
    for source, settings in (("doorkay", {}), (run_copy, {"agent_seed": 7}), (run_copy, {"policy": "best"})):
        with pytest.raises(UserError):
            Policy.load(source, **settings)


def test_what_cannot_be_read_is_a_user_error(policy):
    image, mission = np.full((7, 7, 3), (1, 0, 0), np.uint8), "go to the red ball"
    policy.act({"image": image, "mission": mission})
    for observation, settings in (
        ({"mission": mission}, {}),
        ({"image": image}, {}),
        ({"image": image[:5], "mission": mission}, {}),
        ({"image": image, "mission": "fetch a shiny gem"}, {}),
        ({"image": image, "mission": np.array([999])}, {}),
        ({"image": image[None], "mission": [mission, mission]}, {}),
        ({"image": np.stack([image] * 2), "mission": [mission] * 2}, {}),
        ({"image": image, "mission": mission}, {"is_first": [True, False]}),
        ({"image": image + np.uint8([2, 0, 0]), "mission": mission}, {}),
    ):
        with pytest.raises(UserError):
            policy.act(observation, **settings)
