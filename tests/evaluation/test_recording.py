import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import make_agent
from metarims.config import PPO
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.evaluation.ablations import Ablation
from metarims.evaluation.modules import replay
from metarims.evaluation.recording import add_advantages, record_agents, record_episodes, record_random
from metarims.gridworld import VOCABULARY, make, tiles, tokenize
from metarims.gridworld.tiles import AGENT, LAVA, WALL
from metarims.gridworld.types import Observation
from metarims.presets import PRESETS
from metarims.runs.export import SavedAgent

pytestmark = pytest.mark.usefixtures("quick_module")

ENV = "BabyAI-GoToLocalS5N2-v0"
SMALL = PRESETS["debug"].network
CORES = {"rim": RIMSettings(), "lstm": LSTMSettings()}


def new_agent(core="rim", num_actions=7):
    return make_agent(SMALL, CORES[core], num_actions=num_actions, num_words=len(VOCABULARY), key=jax.random.key(0))


@pytest.fixture(scope="module")
def agent():
    return new_agent()


@pytest.fixture(scope="module", params=["jax", "farama"])
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def episodes(agent, backend):
    return record_episodes(agent, ENV, 6, greedy=False, backend=backend, seed=3)


def test_shapes_and_ends(episodes, backend):
    level = make(ENV)
    for episode in episodes:
        steps, modules = len(episode.actions), CORES["rim"].num_modules
        assert episode.backend == backend
        assert episode.env == ENV
        assert episode.grid.shape == (steps + 1, level.width, level.height)
        assert episode.view.shape == (steps + 1, 7, 7)
        assert episode.position.shape == (steps + 1, 2)
        assert episode.policy.shape == (steps, 7)
        assert episode.active.shape == episode.input_attention.shape == (steps, modules)
        assert episode.communication.shape == (steps, modules, modules)
        assert episode.terminated != episode.truncated
        assert episode.truncated == (steps == level.max_steps and episode.rewards[-1] == 0)
        assert (episode.rewards[:-1] == 0).all()
    assert len({episode.level_seed for episode in episodes}) == len(episodes)


def test_an_agent_that_sees_its_own_episodes_again_has_the_same_modules_act(agent):
    episodes = record_episodes(agent, ENV, 6, greedy=False, seed=3)
    for episode, active in zip(episodes, replay(agent, ENV, episodes), strict=True):
        np.testing.assert_array_equal(active, episode.active)
    other = make_agent(SMALL, CORES["rim"], num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(1))
    found = replay(other, ENV, episodes)
    assert [len(active) for active in found] == [len(episode.actions) for episode in episodes]
    assert any((active != episode.active).any() for episode, active in zip(episodes, found, strict=True))


def test_codes_are_tile_codes(episodes):
    for episode in episodes:
        assert episode.grid.dtype == episode.view.dtype == np.uint8
        assert episode.grid.max() < AGENT
        assert (episode.grid[:, 0] == WALL).all()
        assert LAVA not in episode.grid
        assert (episode.view[:, 3, 6] >= AGENT).all()


def test_probabilities_and_active_modules(episodes):
    for episode in episodes:
        np.testing.assert_allclose(episode.policy.sum(-1), 1, atol=1e-5)
        assert (episode.active.sum(-1) == CORES["rim"].num_active).all()


def test_the_agent_moves_as_its_actions_say(episodes):
    turns = {0: -1, 1: 1}
    moved = 0
    for episode in episodes:
        for step, action in enumerate(episode.actions):
            here, there = episode.position[step], episode.position[step + 1]
            assert episode.direction[step + 1] == (episode.direction[step] + turns.get(int(action), 0)) % 4
            ahead = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[episode.direction[step]]
            assert (there == here).all() or (action == 2 and (there == here + ahead).all())
            moved += int((there != here).any())
    assert moved >= 5


@jax.jit
def step(agent, tokens, seen, state):
    return agent.step(agent.tables(tokens), seen, state)


def check_values(agent, episode, state):
    """The episode's values are those of the tile codes, from ``state`` on; returns the state that it leaves."""
    tokens, values = jnp.asarray(tokenize(episode.mission)[None]), []
    for view, direction in zip(episode.view[:-1], episode.direction[:-1], strict=True):
        seen = Observation(jnp.asarray(view[None]), jnp.asarray(direction[None]), jnp.zeros(1, int))
        state, output = step(agent, tokens, seen, state)
        values.append(float(output.value[0]))
    np.testing.assert_allclose(values, episode.values, atol=1e-5)
    return state


def test_values_are_those_of_the_views_shown(agent, episodes):
    """Also in Farama, where the agent read pixels."""
    for episode in episodes[:3]:
        check_values(agent, episode, agent.initial_state(1))


def test_a_state_that_was_carried_in_training_is_carried_from_episode_to_episode(agent, episodes, backend):
    """On the levels that an agent plays whose state is reset."""
    config = dataclasses.replace(PRESETS["debug"], env=ENV, recurrent_state="carry")
    saved = SavedAgent(agent, config, 0, 0, 7, len(VOCABULARY))
    state = agent.initial_state(1)
    for plain, carried in zip(episodes, record_agents([saved], None, backend, 6, greedy=False, seed=3), strict=True):
        state = check_values(agent, carried, state)
        np.testing.assert_array_equal(carried.grid[0], plain.grid[0])
        assert (carried.mission, carried.level_seed) == (plain.mission, plain.level_seed)


def test_the_same_seed_records_the_same_episodes(agent, episodes, backend):
    again = record_episodes(agent, ENV, 6, greedy=False, backend=backend, seed=3)
    for one, other in zip(episodes, again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    other = record_episodes(agent, ENV, 6, greedy=False, backend=backend, seed=4)
    assert any(not np.array_equal(a.grid[0], b.grid[0]) for a, b in zip(episodes, other, strict=True))


def test_more_episodes_begin_with_the_same(agent, episodes, backend):
    few = record_episodes(agent, ENV, 2, greedy=False, backend=backend, seed=3)
    for one, other in zip(few, episodes, strict=False):
        assert (one.level_seed, one.mission) == (other.level_seed, other.mission)
        np.testing.assert_array_equal(one.grid[0], other.grid[0])


def test_agents_are_recorded_as_they_are_asked_to_play(agent, backend):
    """Of the first episode: its probabilities are those from which actions are drawn, its values those of its state."""
    config = dataclasses.replace(PRESETS["debug"], env=ENV)
    saved = SavedAgent(agent, config, 0, 0, 7, len(VOCABULARY))
    ablation = Ablation(np.inf, no_memory=True, no_mission=True)
    (episode,) = record_agents([saved], None, backend, 1, greedy=False, seed=3, ablation=ablation)
    np.testing.assert_allclose(episode.policy, 1 / 7, rtol=1e-6)
    for view, direction, value in zip(episode.view, episode.direction, episode.values, strict=False):
        seen = Observation(jnp.asarray(view[None]), jnp.asarray(direction[None]), jnp.zeros(1, int))
        _, output = step(agent, jnp.zeros((1, 13), int), seen, agent.initial_state(1))
        np.testing.assert_allclose(output.value[0], value, atol=1e-5)
    with pytest.raises(UserError, match="does not change the greedy policy"):
        record_agents([saved], None, backend, 1, greedy=True, ablation=ablation)


def test_advantages_are_those_of_training(agent, backend):
    """By hand: A = delta + gamma lambda A', and 0 after a terminal step."""
    config = dataclasses.replace(PRESETS["debug"], env=ENV)
    ppo = dataclasses.replace(config.ppo, gamma=0.9, discount="constant", gae_lambda=0.8, reward_scale=20.0)
    saved = SavedAgent(agent, dataclasses.replace(config, ppo=ppo), 0, 0, 7, len(VOCABULARY))
    for episode in record_agents([saved], None, backend, 4, greedy=False, seed=3):
        after = 0.0 if episode.terminated else episode.values[-1]
        expected, advantage = [], 0.0
        for reward, value in zip(episode.rewards[::-1], episode.values[::-1], strict=True):
            advantage = 20 * reward + 0.9 * after - value + 0.72 * advantage
            expected.append(advantage)
            after = value
        np.testing.assert_allclose(episode.advantages, expected[::-1], atol=1e-4)


def test_the_discount_of_advantages_follows_the_length_of_successes(episodes):
    """A reward at the end of a mean successful episode counts a tenth at its beginning, but gamma is the most."""
    solved = [episode for episode in episodes if episode.success] or [
        episodes[0]._replace(terminated=True, rewards=np.ones(len(episodes[0].actions)))
    ]
    gamma = 0.1 ** (1 / np.mean([len(episode.actions) for episode in solved]))

    def advantages(ppo):
        return add_advantages(solved, ppo, None)[0].advantages

    constant = dataclasses.replace(PPO(), discount="constant", gamma=gamma)
    np.testing.assert_allclose(advantages(PPO(gamma=1.0)), advantages(constant), rtol=1e-5)
    low = dataclasses.replace(PPO(), gamma=gamma / 2)
    assert not np.allclose(advantages(low), advantages(constant))
    np.testing.assert_array_equal(advantages(low), advantages(dataclasses.replace(low, discount="constant")))


def test_the_attention_of_a_set_agent_to_each_element_is_recorded(backend):
    network = dataclasses.replace(SMALL, input="set")
    key = jax.random.key(0)
    reader = make_agent(network, RIMSettings(), num_actions=7, num_words=len(VOCABULARY), key=key)
    episode = record_episodes(reader, ENV, 1, greedy=False, backend=backend, seed=3)[0]
    assert episode.element_attention.shape == (len(episode.actions), 5, 50)
    np.testing.assert_allclose(episode.element_attention.sum(-1), episode.input_attention, atol=1e-5)
    averaged = Ablation(input_attention="average")
    same = record_episodes(reader, ENV, 1, greedy=False, backend=backend, seed=3, ablation=averaged)[0]
    np.testing.assert_allclose(same.element_attention[0, 0], episode.element_attention[0].mean(0), atol=1e-6)
    assert np.ptp(same.element_attention, axis=1).max() == 0


def test_an_lstm_agent_has_no_modules(backend):
    episode = record_episodes(new_agent("lstm"), ENV, 1, greedy=True, backend=backend)[0]
    steps = len(episode.actions)
    assert episode.active.shape == (steps, 0)
    assert episode.communication.shape == (steps, 0, 0)


def test_bad_requests_are_refused(agent):
    config = PRESETS["debug"]
    with pytest.raises(UserError, match="episodes is 0"):
        record_episodes(agent, ENV, 0, greedy=True)
    with pytest.raises(UserError, match="seed is -1"):
        record_episodes(agent, ENV, 1, greedy=True, seed=-1)
    with pytest.raises(UserError, match=r"'BabyAI-GoToLokal-v0'\. Did you mean BabyAI-GoToLocal-v0"):
        record_episodes(agent, "BabyAI-GoToLokal-v0", 1, greedy=True)
    small = SavedAgent(new_agent(num_actions=3), config, 0, 0, 3, len(VOCABULARY))
    with pytest.raises(UserError, match=r"has 3 actions, but .* has 7"):
        record_agents([small], ENV, "jax", 1, greedy=True)


def test_obstacles_move_by_themselves_in_our_world():
    for episode in record_random("MiniGrid-Dynamic-Obstacles-5x5-v0", "jax", 3):
        balls = (episode.grid >= tiles.BALL) & (episode.grid < tiles.BOX)
        assert (balls.sum((1, 2)) == 2).all()
        assert len(np.unique(balls.reshape(len(balls), -1), axis=0)) > 1
        assert episode.policy.shape[1] == 3


def test_a_mixture_is_recorded_task_by_task():
    episodes = record_random("BabyAI-GoToObjS4-v0*5+MiniGrid-Empty-5x5-v0", "farama", 3)
    assert [episode.env for episode in episodes] == ["BabyAI-GoToObjS4-v0"] * 2 + ["MiniGrid-Empty-5x5-v0"]
    assert all(np.isnan(episode.values).all() for episode in episodes)
