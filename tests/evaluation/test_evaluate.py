import dataclasses
import io
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from metarims.agents.agent import AgentOutput
from metarims.errors import UserError
from metarims.evaluation import evaluate, tables
from metarims.evaluation.ablations import LEAST_TEMPERATURE, Ablation
from metarims.evaluation.evaluate import Evaluation, evaluate_farama, evaluate_jax, evaluation_key
from metarims.gridworld import VOCABULARY, make
from metarims.gridworld.types import Pixels
from metarims.presets import PRESETS
from metarims.runs.export import SavedAgent

pytestmark = pytest.mark.usefixtures("quick_module")

ENV = "BabyAI-GoToRedBallNoDists-v0"
MANY = 256
"""Equal numbers of episodes share one compiled program."""


class Biased(eqx.Module):
    """Acts by fixed odds; its recurrent state counts the steps since the last reset and is its value."""

    logits: jax.Array

    def tables(self, mission_tokens):
        return mission_tokens

    def initial_state(self, num_envs):
        return jnp.zeros(num_envs)

    def reset(self, state, done):
        return jnp.where(done, 0, state)

    def step(self, tables, observation, state):
        num_envs = len(state)
        image = observation.image if isinstance(observation, Pixels) else observation.codes
        assert image.shape[0] == num_envs
        logits = jnp.broadcast_to(self.logits, (num_envs, 7))
        return state + 1, AgentOutput(logits, state, ())


def biased(**odds):
    names = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
    return Biased(jnp.log(jnp.array([odds.get(name, 1e-9) for name in names])))


@pytest.fixture(scope="module")
def wanderer():
    return biased(left=0.25, right=0.15, forward=0.6)


@pytest.mark.parametrize("num_episodes", [5, 300])
def test_exactly_so_many_episodes_are_counted(wanderer, num_episodes):
    found = evaluate_jax(wanderer, make(ENV), num_episodes, evaluation_key(0), greedy=False)
    assert [len(leaf) for leaf in found] == [num_episodes] * 4
    assert (found.lengths >= 1).all()
    assert (found.lengths <= make(ENV).max_steps).all()


def test_return_success_and_length_agree(wanderer):
    """BabyAI pays 1 - 0.9 n / n_max on success and nothing else."""
    found = evaluate_jax(wanderer, make(ENV), MANY, evaluation_key(0), greedy=False)
    expected = np.where(found.success, 1 - 0.9 * found.lengths / make(ENV).max_steps, 0)
    np.testing.assert_allclose(found.returns, expected, atol=1e-6)
    assert (found.lengths[~found.success] == make(ENV).max_steps).all()


def test_short_episodes_do_not_count_too_often(wanderer, monkeypatch):
    """Few slots with many episodes each, and one episode per slot, must show the same success rate."""
    one_each = evaluate_jax(wanderer, make(ENV), MANY, evaluation_key(1), greedy=False).success
    monkeypatch.setattr(evaluate, "BATCH_JAX", 8)
    many_each = evaluate_jax(wanderer, make(ENV), 256, evaluation_key(2), greedy=False).success
    p = (one_each.mean() + many_each.mean()) / 2
    assert 0.1 < p < 0.9
    assert abs(one_each.mean() - many_each.mean()) < 4 * (2 * p * (1 - p) / 256) ** 0.5


def test_both_worlds_agree_on_an_agent_that_sees_nothing(wanderer):
    ours = evaluate_jax(wanderer, make(ENV), MANY, evaluation_key(0), greedy=False)
    theirs = evaluate_farama(wanderer, ENV, 100, 5, greedy=False)
    p = ours.success.mean()
    assert abs(theirs.success.mean() - p) < 4 * (p * (1 - p) * (1 / 100 + 1 / MANY)) ** 0.5
    spread = (ours.lengths.var() / MANY + theirs.lengths.var() / 100) ** 0.5
    assert abs(ours.lengths.mean() - theirs.lengths.mean()) < 4 * spread


def test_greedy_takes_the_likeliest_action_always():
    turner = biased(left=0.6, forward=0.4)
    ours = evaluate_jax(turner, make(ENV), MANY, evaluation_key(0), greedy=True)
    theirs = evaluate_farama(turner, ENV, 5, 0, greedy=True)
    for found in (ours, theirs):
        short = found.lengths < make(ENV).max_steps
        assert (found.lengths[short] <= 4).all(), "whoever only turns meets the ball at once or never"
    sampled = evaluate_jax(turner, make(ENV), MANY, evaluation_key(0), greedy=False)
    assert (sampled.lengths > 4).any()
    assert sampled.success.mean() > ours.success.mean()


def test_the_same_key_gives_the_same_episodes_and_another_key_others(wanderer):
    first, again, other = (
        evaluate_jax(wanderer, make(ENV), MANY, evaluation_key(seed), greedy=False) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.lengths, again.lengths)
    assert (first.lengths != other.lengths).any()


def test_evaluation_keys_are_not_keys_of_training():
    data = [tuple(jax.random.key_data(evaluation_key(seed)).tolist()) for seed in (0, 1, 2**31 - 1, 2**31, 2**40)]
    assert len(set(data)) == 5
    assert all(words[0] != 0 for words in data), "a training seed's key begins with 0"
    assert evaluate.EVALUATION_DOMAIN[0] != 0


def test_a_farama_episode_depends_on_its_seed_alone():
    turner = biased(right=0.6, forward=0.4)
    together = evaluate_farama(turner, ENV, 32, 100, greedy=True)
    alone = evaluate_farama(turner, ENV, 1, 117, greedy=True)
    assert together.lengths[17] == alone.lengths[0]
    assert together.success[17] == alone.success[0]


class Probe(NamedTuple):
    is_first: list
    values: list


def test_the_recurrent_state_begins_anew_with_each_episode(wanderer, monkeypatch):
    probe, act = Probe([], []), evaluate.act

    def spy(agent, pixels, mission_tokens, state, is_first, *how):
        result = act(agent, pixels, mission_tokens, state, is_first, *how)
        probe.is_first.append(np.asarray(is_first))
        probe.values.append(np.asarray(result[2].value))
        return result

    monkeypatch.setattr(evaluate, "act", spy)
    monkeypatch.setattr(evaluate, "BATCH_FARAMA", 4)
    evaluate_farama(wanderer, ENV, 12, 0, greedy=False)
    is_first, values = np.stack(probe.is_first), np.stack(probe.values)
    assert is_first.sum() == 12
    assert (values[is_first] == 0).all()
    assert (values[1:][~is_first[1:]] == values[:-1][~is_first[1:]] + 1).all()


class Patient(Biased):
    """Stands still for its first hundred steps by its own count, which no episode has, and then wanders."""

    def step(self, tables, observation, state):
        after, output = super().step(tables, observation, state)
        still = jnp.zeros(7).at[6].set(1e9)
        return after, output._replace(logits=jnp.where(state[:, None] < 100, still, output.logits))


@pytest.mark.parametrize("where", ["jax", "farama"])
def test_a_state_that_was_carried_in_training_is_carried_in_evaluation(wanderer, where):
    """Whose first episode is in vain succeeds later if it remembers, and only then."""
    for setting in ("reset", "carry"):
        config = dataclasses.replace(PRESETS["debug"], env=ENV, recurrent_state=setting)
        saved = SavedAgent(Patient(wanderer.logits), config, 0, 0, num_actions=7, num_words=len(VOCABULARY))
        (result,) = tables.evaluate_agents([saved], None, where, 20, ["sampled"])
        success = result.evaluation.success
        assert len(success) == 20
        assert not success[0]
        assert success.any() == (setting == "carry")


@pytest.mark.parametrize(
    ("num_episodes", "carry", "slots"),
    [(9, False, 9), (300, False, 256), (1, True, 1), (9, True, 1), (35, True, 3), (9000, True, 256)],
)
def test_of_ten_episodes_with_a_carried_state_at_most_one_begins_from_zero(num_episodes, carry, slots):
    assert evaluate.count_slots(num_episodes, 256, carry) == slots


def test_no_episodes_is_bad_input(wanderer):
    with pytest.raises(UserError, match="episodes is 0"):
        evaluate_jax(wanderer, make(ENV), 0, evaluation_key(0), greedy=True)
    with pytest.raises(UserError, match="episodes is -3"):
        evaluate_farama(wanderer, ENV, -3, 0, greedy=True)


class Listening(Biased):
    """Wanders as long as its mission has words; otherwise it stands still."""

    def step(self, tables, observation, state):
        state, output = super().step(tables, observation, state)
        still = jnp.zeros(7).at[6].set(1e9)
        return state, output._replace(logits=jnp.where((tables > 0).any(), output.logits, still))


def test_without_hearing_the_mission_has_no_words(wanderer):
    listener, no_mission = Listening(wanderer.logits), Ablation(no_mission=True)
    assert evaluate_jax(listener, make(ENV), 64, evaluation_key(0), greedy=False).success.any()
    assert not evaluate_jax(listener, make(ENV), 64, evaluation_key(0), greedy=False, ablation=no_mission).success.any()
    assert evaluate_farama(listener, ENV, 20, 3, greedy=False).success.any()
    assert not evaluate_farama(listener, ENV, 20, 3, greedy=False, ablation=no_mission).success.any()


class Novice(Biased):
    """Waits at every step that is the first it knows of."""

    def step(self, tables, observation, state):
        after, output = super().step(tables, observation, state)
        still = jnp.zeros(7).at[6].set(1e9)
        return after, output._replace(logits=jnp.where(state[:, None] > 0, output.logits, still))


def test_without_memory_every_step_is_the_first(wanderer):
    novice = Novice(wanderer.logits)
    whole = evaluate_jax(novice, make(ENV), 64, evaluation_key(0), greedy=False)
    assert whole.success.any()
    no_memory = evaluate_jax(novice, make(ENV), 64, evaluation_key(0), greedy=False, ablation=Ablation(no_memory=True))
    assert not no_memory.success.any()
    assert (no_memory.entropies == 0).all(), "it always waits"
    theirs = [
        evaluate_farama(novice, ENV, 20, 3, greedy=False, ablation=Ablation(no_memory=no_memory)).success.any()
        for no_memory in (False, True)
    ]
    assert theirs == [True, False]
    moving = entropy(np.array([0.25, 0.15, 0.6]))
    np.testing.assert_allclose(whole.entropies, moving * (1 - 1 / whole.lengths), rtol=1e-4)


def entropy(odds):
    return -np.sum(odds * np.log(odds))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, np.inf])
def test_a_temperature_makes_policies_more_and_less_even(temperature):
    odds = np.array([0.3, 0.1, 0.2, 0.05, 0.05, 0.25, 0.05])
    agent = Biased(jnp.log(jnp.asarray(odds)))
    found = evaluate_jax(agent, make(ENV), MANY, evaluation_key(0), greedy=False, ablation=Ablation(temperature))
    tempered = odds ** (1 / temperature)
    np.testing.assert_allclose(found.entropies, entropy(tempered / tempered.sum()), rtol=1e-4)


def test_a_temperature_decides_what_is_drawn():
    """Who nearly always turns meets the ball late or never; by chance it goes forward, too."""
    turner = biased(left=0.999, forward=0.001)
    cold, warm = (
        evaluate_jax(turner, make(ENV), MANY, evaluation_key(0), greedy=False, ablation=Ablation(temperature))
        for temperature in (1.0, np.inf)
    )
    assert warm.success.mean() > cold.success.mean() + 0.1
    theirs = evaluate_farama(turner, ENV, 32, 0, greedy=False, ablation=Ablation(np.inf))
    assert theirs.success.any()


@pytest.mark.parametrize("temperature", [0.0, 1e-38, -2.0, np.nan])
def test_a_temperature_at_which_nothing_could_be_computed_is_refused(wanderer, temperature):
    with pytest.raises(UserError, match=r"temperature is .*: it must be at least 0.001"):
        evaluate_jax(wanderer, make(ENV), 1, evaluation_key(0), greedy=False, ablation=Ablation(temperature))
    with pytest.raises(UserError, match=r"temperature is .*: it must be at least 0.001"):
        evaluate_farama(wanderer, ENV, 1, 0, greedy=False, ablation=Ablation(temperature))


def test_at_the_least_temperature_the_likeliest_action_is_drawn():
    turner = biased(left=0.6, forward=0.4)
    ablation = Ablation(LEAST_TEMPERATURE)
    drawn = evaluate_jax(turner, make(ENV), MANY, evaluation_key(0), greedy=False, ablation=ablation)
    assert (drawn.entropies == 0).all()
    greedy = evaluate_jax(turner, make(ENV), MANY, evaluation_key(0), greedy=True)
    np.testing.assert_array_equal(drawn.lengths, greedy.lengths)


@pytest.mark.parametrize("temperature", [1e-3, 2.0, np.inf])
def test_the_likeliest_action_is_the_same_at_every_temperature(temperature):
    logits = jnp.array([[0.0, 3.0, 1.0]])
    assert evaluate.sample_actions(logits, jax.random.key(0), jnp.bool_(True), temperature) == 1


@pytest.mark.parametrize("where", ["jax", "farama"])
def test_a_temperature_is_for_drawn_actions_alone(wanderer, where):
    number = MANY if where == "jax" else 6
    config = dataclasses.replace(PRESETS["debug"], env=ENV)
    saved = SavedAgent(wanderer, config, 0, 0, num_actions=7, num_words=len(VOCABULARY))
    found = tables.evaluate_agents([saved], None, where, number, ablation=Ablation(np.inf))
    assert [(result.policy, result.ablation.temperature) for result in found] == [("greedy", 1), ("sampled", np.inf)]
    (plain,) = tables.evaluate_agents([saved], None, where, number, ["greedy"])
    np.testing.assert_array_equal(found[0].evaluation.lengths, plain.evaluation.lengths)
    with pytest.raises(UserError, match="temperature is inf, but it does not change the greedy policy"):
        tables.evaluate_agents([saved], None, where, number, ["greedy"], ablation=Ablation(np.inf))


MIXTURE = "BabyAI-GoToObj-v0*2+MiniGrid-Dynamic-Obstacles-5x5-v0"


def of_a_mixture():
    config = dataclasses.replace(PRESETS["debug"], env=MIXTURE)
    return SavedAgent(None, config, seed=0, env_steps=0, num_actions=7, num_words=len(VOCABULARY))


def test_an_agent_of_a_mixture_may_play_each_of_its_tasks():
    tables.check_actions(of_a_mixture(), "MiniGrid-Dynamic-Obstacles-5x5-v0", 3)
    with pytest.raises(UserError, match="The agent has 7 actions, but MiniGrid-Dynamic-Obstacles-6x6-v0 has 3"):
        tables.check_actions(of_a_mixture(), "MiniGrid-Dynamic-Obstacles-6x6-v0", 3)


def test_a_mixture_is_evaluated_task_by_task(monkeypatch):
    played = Evaluation(np.array([True, False]), np.array([0.5, 0.0]), np.array([3, 9]), np.array([1.0, 1.0]))
    monkeypatch.setattr(tables, "_evaluate", lambda *settings: played)
    results = tables.evaluate_agents([of_a_mixture()], None, "jax", 2)
    first, second = "BabyAI-GoToObj-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0"
    assert [(result.env, result.policy) for result in results] == [
        (env, policy) for env in (first, second) for policy in ("greedy", "sampled")
    ]
    text = io.StringIO()
    tables.print_table(results, Console(file=text, width=120))
    assert f"metarims on {first} (JAX environment), 2 episodes" in text.getvalue()
    assert text.getvalue().count("0.500 [") == 4


def test_a_task_on_the_host_has_no_world_of_ours():
    with pytest.raises(UserError, match=r"minigrid:BabyAI-GoTo-v0.* evaluate with --backend farama"):
        tables.evaluate_agents([of_a_mixture()], "minigrid:BabyAI-GoTo-v0", "jax", 2)
    with pytest.raises(UserError, match="The observations of CartPole-v1 have no 'image'"):
        tables.evaluate_agents([of_a_mixture()], "CartPole-v1", "farama", 2)


def test_places_and_policies_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match=r"Unknown policy 'Greedy'. Did you mean greedy"):
        tables.evaluate_agents([of_a_mixture()], None, "jax", 2, ("Greedy",))
    with pytest.raises(UserError, match=r"Unknown backend 'frama'. Did you mean farama"):
        evaluate.check_backend("frama")


@pytest.mark.parametrize("where", ["farama", "jax"])
def test_an_agent_with_other_actions_is_refused_in_either_world(where):
    with pytest.raises(UserError, match="The agent has 7 actions, but MiniGrid-Dynamic-Obstacles-6x6-v0 has 3"):
        tables.evaluate_agents([of_a_mixture()], "MiniGrid-Dynamic-Obstacles-6x6-v0", where, 2)


def test_an_agent_that_does_not_know_the_words_of_a_task_is_refused():
    locked = "MiniGrid-LockedRoom-v0"
    with pytest.raises(UserError, match=f"does not know all words of {locked} \\(after room from unlock\\)"):
        tables.evaluate_agents([of_a_mixture()], locked, "jax", 2)
    tables.check_words(of_a_mixture(), locked, Ablation(no_mission=True))
    tables.check_words(of_a_mixture(), "MiniGrid-GoToDoor-5x5-v0")
