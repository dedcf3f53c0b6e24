"""Measures on made-up training: what each number says where the answer is known."""

import types

import numpy as np
import pytest
from tests.fuzz.samples import tiny_agent

from metarims.evaluation.evaluate import Evaluation
from metarims.studies import measures
from metarims.studies.plans import Stage, Trained
from metarims.studies.scales import SCALES

LAPTOP = SCALES["laptop"]


def lines(successes, steps=100):
    """Rows of metrics, of each seed one success per chunk; None where no episode ended, fewer where it was stopped."""
    return [
        {"seed": seed, "env_steps": steps * (chunk + 1), "success": success, "return": success}
        for seed, of_seed in successes.items()
        for chunk, success in enumerate(of_seed)
    ]


def trained(*stages, agents=()):
    return Trained(tuple(Stage(f"task {n}") for n in range(len(stages))), agents, tuple(map(lines, stages)))


def numbers(found, name):
    return {row.seed: row.value for row in found.rows if row.name == name}


def test_areas_are_over_the_same_steps_for_all_seeds():
    """A seed whose first episode ends late and one that a fault stopped early go on level to either end."""
    found = measures.learning(
        trained({1: [0.0, 0.5, 1.0, 1.0], 2: [None, 0.5, 1.0, 1.0], 3: [0.0, 0.5], 4: [None, None]}), LAPTOP
    )
    areas = numbers(found, "area of success")
    assert areas == pytest.approx({1: 2 / 3, 2: (0.5 + 0.75 + 1) / 3, 3: (0.25 + 0.5 + 0.5) / 3})
    assert numbers(found, "last success") == {1: 1.0, 2: 1.0, 3: 0.5}


def test_frames_to_recover():
    """Nine tenths of the mean of the last three chunks; never is infinite, and who had learnt nothing is left out."""
    before = {1: [0.2, 1.0, 0.9, 0.8], 2: [1.0] * 4, 3: [0.1] * 4, 4: [1.0] * 4}
    after = {1: [0.1, 0.80, 0.82, 0.9], 2: [0.1, 0.2, 0.3, 0.4], 3: [0.9] * 4, 4: [None, 0.95, 1.0, 1.0]}
    found = numbers(measures.recovery(trained(before, after), LAPTOP), "frames to recover")
    assert found == {1: 300, 2: np.inf, 4: 100}


def test_only_what_had_been_learnt_can_be_lost(monkeypatch):
    """The first seed falls from 1.0 to 0.7; the second was at 0.2 and stays there."""
    success = {("first", 1): 1.0, ("last", 1): 0.7, ("first", 2): 0.2, ("last", 2): 0.2}

    def evaluate(agents, env, scale, suffix):
        return [measures.Score(a.seed, f"success{suffix}", env, success[a.stage, a.seed]) for a in agents]

    monkeypatch.setattr(measures, "_evaluate", evaluate)
    agents = tuple([types.SimpleNamespace(seed=seed, stage=stage) for seed in (1, 2)] for stage in ("first", "last"))
    found = measures.retention(trained({1: [1.0]}, {1: [1.0]}, agents=agents), LAPTOP)
    assert numbers(found, "success lost") == {1: pytest.approx(0.3)}
    assert numbers(found, "success after stage 2") == {1: 0.7, 2: 0.2}


def test_only_agents_that_learnt_the_large_room_can_lose_something_in_the_small_one(monkeypatch):
    """The first seed succeeds in 0.9 and 0.7; the second, with 0.1 in both, has lost nothing that it had."""
    success = {("hard", 1): 0.9, ("easy", 1): 0.7, ("hard", 2): 0.1, ("easy", 2): 0.1}

    def evaluate(agents, env, scale, suffix):
        return [measures.Score(a.seed, "success", env, success[env, a.seed]) for a in agents]

    monkeypatch.setattr(measures, "_evaluate", evaluate)
    agents = ([types.SimpleNamespace(seed=seed) for seed in (1, 2)],)
    found = measures.backward_transfer("hard", "easy")(trained({1: [1.0]}, agents=agents), LAPTOP)
    assert numbers(found, "success lost") == {1: pytest.approx(0.2)}
    assert len([row for row in found.rows if row.name == "success"]) == 4


def test_success_is_measured_with_each_ablation_of_the_modules(monkeypatch):
    """Made-up rates; the entropy is the mean of a seed's last three chunks."""

    def evaluate(agent, level, number, key, greedy, ablation, carry):
        rate = 0.5 if ablation.messages == "off" else 1.0
        return Evaluation(np.arange(number) < rate * number, np.ones(number), np.full(number, 5), np.ones(number))

    monkeypatch.setattr(measures, "evaluate_jax", evaluate)
    seed = tiny_agent().seed
    rows = [{"seed": seed, "modules/normalized_communication_entropy": e} for e in (0.1, 0.7, 0.8, 0.9)]
    stages = (Stage("MiniGrid-DoorKey-5x5-v0"),)
    found = measures.modules_ablated(Trained(stages, ([tiny_agent()],), (rows,)), LAPTOP)
    assert numbers(found, "episode length without messages") == {seed: 5.0}
    assert numbers(found, "success without messages") == {seed: 0.5}
    assert numbers(found, "success") == numbers(found, "success with random modules") == {seed: 1.0}
    assert numbers(found, "entropy of communication") == {seed: pytest.approx(0.8)}


def test_frames_to_each_threshold():
    """The first seed reaches 0.9 with its third chunk; the second nothing at all."""
    found = measures.milestones(trained({1: [0.2, 0.6, 0.92, 0.98], 2: [0.1] * 4}), LAPTOP)
    reached = {name: numbers(found, f"frames to {name}") for name in ("0.5", "0.9", "0.99")}
    assert reached == {"0.5": {1: 200, 2: np.inf}, "0.9": {1: 300, 2: np.inf}, "0.99": {1: np.inf, 2: np.inf}}


def evaluated(success):
    """A stand-in for evaluation with these rates by task (and name of the score)."""

    def evaluate(agents, env, scale, suffix, *_):
        return [measures.Score(a.seed, f"success{suffix}", env, success[env, suffix]) for a in agents]

    return evaluate


def test_what_is_lost_on_held_out_compositions(monkeypatch):
    """Agents that have not learnt the task lose nothing."""
    agents = ([types.SimpleNamespace(seed=1)],)
    measure = measures.composition("task", "seen", "held out")
    for seen, lost in ((0.9, {1: pytest.approx(0.4)}), (0.3, {})):
        monkeypatch.setattr(measures, "_evaluate", evaluated({("seen", ""): seen, ("held out", ""): 0.5}))
        assert numbers(measure(trained({1: [1.0]}, agents=agents), LAPTOP), "success lost") == lost


def test_transfer_between_stages_by_hand(monkeypatch):
    """Two tasks, twice. After the stages the first has success .8, .5, .9, .7, the second .3, .6, .4, 1.0; an untrained
    agent succeeds in .1."""
    rates = {"task 0": (0.8, 0.5, 0.9, 0.7), "task 1": (0.3, 0.6, 0.4, 1.0)}
    table = {(env, f" after stage {n + 1}"): rate for env, of_env in rates.items() for n, rate in enumerate(of_env)}
    monkeypatch.setattr(measures, "_evaluate", evaluated(table))
    monkeypatch.setattr(measures, "_untrained", lambda config: [None])
    monkeypatch.setattr(measures, "make", lambda env: env)
    tenth = Evaluation(np.arange(10) < 1, np.ones(10), np.full(10, 5), np.ones(10))
    monkeypatch.setattr(measures, "evaluate_jax", lambda *_, **__: tenth)
    stages = tuple(Stage(f"task {n % 2}") for n in range(4))
    agents = tuple([types.SimpleNamespace(seed=1, config=None)] for _ in stages)
    curves = ([0.0, 0.4], [0.0, 0.2], [0.6, 0.8], [0.4, 0.8])
    metrics = tuple(lines({1: curve}) for curve in curves)
    found = measures.continual(Trained(stages, agents, metrics), LAPTOP)
    assert numbers(found, "backward transfer") == {1: pytest.approx(0.7 - 0.9)}
    assert numbers(found, "forward transfer") == {1: pytest.approx(0.3 - 0.1)}
    assert numbers(found, "savings") == {1: pytest.approx(((0.7 - 0.2) + (0.6 - 0.1)) / 2)}


def test_sets_that_tell_tasks_apart(monkeypatch):
    """One module per task: log 2 nats, of which half is lost to chance, where an episode is paired with one of its own
    task; before training one set for both tasks says nothing."""

    def record(saved, env, number):
        active = np.eye(2, dtype=bool)[int(env[-1])]
        steps = types.SimpleNamespace(active=np.tile(active, (5, 1)), actions=np.zeros(5))
        return [steps] * number

    monkeypatch.setattr(measures, "_record", record)
    monkeypatch.setattr(measures, "_untrained", lambda config: [None])
    monkeypatch.setattr(measures, "replay", lambda agent, env, episodes: [np.ones((5, 2), bool) for _ in episodes])
    agents = ([types.SimpleNamespace(seed=1, agent=None, config=None)],)
    found = measures.task_information("task 0", "task 1")(trained({1: [1.0]}, agents=agents), LAPTOP)
    assert 0.3 < numbers(found, measures.TASK_INFORMATION)[1] < np.log(2)
    assert numbers(found, f"{measures.TASK_INFORMATION}, untrained agent")[1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([1.0] * 5, 0.0),
        ([1, 2, 3, 4], 1.0),
        ([4, 3, 2, 1], -1.0),
        ([2.0] + [1.0] * 9, -0.52),
        ([1.0] * 9 + [2.0], 0.52),
    ],
)
def test_the_rise_of_a_value_with_ties(heights, expected):
    assert measures._rank_correlation(np.array(heights, float)) == pytest.approx(expected, abs=0.005)


def test_of_a_greedy_player_no_entropy_is_told(monkeypatch):
    """What it plays has none, whatever is that of its policy."""

    def evaluate(agent, level, number, key, greedy, **_):
        return Evaluation(np.full(number, True), np.ones(number), np.full(number, 5), np.ones(number))

    monkeypatch.setattr(measures, "evaluate_jax", evaluate)
    found = measures.ablations("MiniGrid-DoorKey-5x5-v0")(trained({1: [1.0]}, agents=([tiny_agent()],)), LAPTOP)
    conditions = {
        name: [row.condition for row in found.rows if row.name == name] for name in ("success", "entropy of the policy")
    }
    assert conditions["success"] == [*measures.CONDITIONS, "greedy", measures.EQUAL_ENTROPY]
    assert conditions["entropy of the policy"] == [*measures.CONDITIONS, measures.EQUAL_ENTROPY]


def test_the_temperature_at_which_a_policy_is_as_even_as_asked():
    """Of a policy over two actions whose logits lie one apart; out of reach, it goes as far as it may."""

    def entropy(temperature):
        odds = 1 / (1 + np.exp(-1 / temperature))
        return -odds * np.log(odds) - (1 - odds) * np.log(1 - odds)

    for temperature in (0.5, 1.0, 3.0):
        assert measures.find_temperature(entropy, entropy(temperature)) == pytest.approx(temperature, rel=0.02)
    assert measures.find_temperature(entropy, 2.0) > 15
    assert measures.find_temperature(entropy, 0.0) < 1 / 15
