"""What a rollout keeps, replayed step by step; what a core that only counts reads in it."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.gridworld import toys

from metarims.agents.reading import by_row, is_drawn, read_spans
from metarims.config import PPO
from metarims.evaluation import evaluate
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.gridworld import VecEnv, make, mix
from metarims.learning.timescales import append_rollout, cut_spans, last_steps

pytestmark = pytest.mark.usefixtures("quick_module")

STEPS, SPAN, ENVS, LIMIT = 24, 4, 4, 5
ODDS = [0.2, 0.2, 0.5, 0.04, 0.02, 0.02, 0.02]


def collect(small, agent, carry):
    return small.collect_twice(agent, small.short_episodes(LIMIT, ENVS), num_steps=STEPS, span=SPAN, carry=carry)


@pytest.fixture(scope="module")
def counted(small):
    """By a counting core whose state is reset at an episode's end."""
    return collect(small, small.counting_agent(ODDS), carry=False)


@pytest.fixture(scope="module")
def carried(small):
    """By a counting core whose state is carried on."""
    return collect(small, small.counting_agent(ODDS), carry=True)


@pytest.fixture(scope="module")
def modular(small):
    return collect(small, small.random_agent("rim"), carry=False)


@pytest.fixture(scope="module")
def mixed(small):
    """Most of the episodes have a short time limit, the others one that no rollout reaches."""
    envs = VecEnv(mix([small.short_level(LIMIT), make("MiniGrid-DoorKey-5x5-v0")], [9.0, 1.0]), ENVS)
    return small.collect_twice(small.random_agent("rim"), envs, num_steps=STEPS, span=SPAN, carry=False)


@pytest.fixture(scope="module")
def worded(small):
    """Each level has a mission of its own."""
    envs = VecEnv(toys.worded(LIMIT), ENVS)
    return small.collect_twice(small.random_agent("rim"), envs, num_steps=STEPS, span=SPAN, carry=False)


@pytest.fixture(params=["counted", "carried", "modular", "mixed", "worded"])
def collected(request):
    return request.getfixturevalue(request.param)


def done_of(rollout):
    return np.asarray(rollout.terminated | rollout.truncated)


def steps_since_reset(collected):
    """[2 T, B] by plain counting over both rollouts."""
    done = np.concatenate([done_of(rollout) for rollout in collected.rollouts])
    count, rows = np.zeros(ENVS), []
    for row in done:
        rows.append(count)
        count = count + 1 if collected.carry else np.where(row, 0, count + 1)
    return np.array(rows), count


def test_several_time_limits_and_several_successes_occur(counted):
    """Else the tests below could not fail; the second rollout has as many cuts as it can have."""
    for rollout in counted.rollouts:
        assert rollout.terminated.sum() > 2
        assert rollout.truncated.sum(axis=0).max() >= 3
    assert STEPS % LIMIT != 0


def test_as_many_time_limits_as_fit_are_kept(small):
    """An agent that only waits is cut off in steps 1, 6, 11, 16 and 21 of a rollout of 24 that begins in the fourth."""
    waits = collect(small, small.counting_agent([0.01 / 6] * 6 + [0.99]), carry=True)
    second = waits.rollouts[1]
    cuts = np.asarray(second.truncated[:, np.asarray(second.truncated.sum(axis=0) == 5)])
    assert cuts.shape[1] > 0
    np.testing.assert_array_equal(np.flatnonzero(cuts[:, 0]), [0, 5, 10, 15, 20])
    expected = np.where(second.truncated, STEPS + 1 + np.arange(STEPS)[:, None], 0)
    np.testing.assert_array_equal(second.truncation_value, expected)


def test_a_short_task_of_a_mixture_is_cut_off_several_times(mixed):
    """Else the replay below could not tell one final view from another."""
    for rollout in mixed.rollouts:
        several = np.asarray(rollout.truncation_value)[:, np.asarray(rollout.truncated.sum(axis=0) > 1)]
        assert several.shape[1] > 0
        assert all(len(set(column[column != 0])) > 1 for column in several.T)


def test_a_counting_core_counts_from_each_reset(counted, carried):
    for collected in (counted, carried):
        rows, last = steps_since_reset(collected)
        values = np.concatenate([rollout.value for rollout in collected.rollouts])
        np.testing.assert_array_equal(values, rows)
        np.testing.assert_array_equal(collected.rollouts[1].bootstrap_value, last)
    assert steps_since_reset(counted)[0].max() == LIMIT - 1
    assert steps_since_reset(carried)[0].max() == 2 * STEPS - 1


def test_the_final_view_counts_as_one_more_step_of_the_ended_episode(counted, carried):
    for collected in (counted, carried):
        for rollout in collected.rollouts:
            np.testing.assert_array_equal(rollout.truncation_value, np.where(rollout.truncated, rollout.value + 1, 0))


def test_begins_mark_the_first_steps_of_episodes_where_the_state_is_reset(counted, carried):
    first, second = counted.rollouts
    assert first.is_first[0].all()
    np.testing.assert_array_equal(first.is_first[1:], done_of(first)[:-1])
    np.testing.assert_array_equal(second.is_first[0], done_of(first)[-1])
    np.testing.assert_array_equal(second.is_first[1:], done_of(second)[:-1])
    assert not any(rollout.is_first.any() for rollout in carried.rollouts)


@jax.jit
def unroll(agent, tokens, spans):
    tables, observation = agent.tables(tokens), spans.observation
    if is_drawn(observation):
        tables, rows = read_spans(agent.encoder, observation.mission)
        observation = observation._replace(mission=rows)
    return agent.unroll(tables, observation, spans.core, spans.is_first)[1]


@pytest.mark.parametrize("span", [2 * SPAN, STEPS])
def test_spans_begin_with_the_state_of_their_first_step(collected, span):
    """Unrolled over spans of any length, both rollouts give the values and log-probabilities kept in them."""
    empty = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), collected.rollouts[0])
    history = append_rollout(append_rollout(empty, collected.rollouts[0]), collected.rollouts[1])
    spans = cut_spans(last_steps(history, 2 * STEPS), span, PPO())
    assert spans.is_first.shape == (span, 2 * STEPS // span * ENVS)
    output = unroll(collected.agent, jnp.asarray(collected.envs.level.mission_tokens), spans)
    np.testing.assert_allclose(output.value, spans.value, atol=1e-5)
    chosen = np.take_along_axis(jax.nn.log_softmax(output.logits), np.asarray(spans.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen, spans.log_prob, atol=1e-5)


def test_missions_that_are_drawn_change_with_the_level_and_matter(worded):
    rollout = worded.rollouts[0]
    mission, done = np.asarray(rollout.observation.mission), done_of(rollout)[:-1]
    changed = (mission[1:] != mission[:-1]).any(-1)
    assert not changed[~done].any()
    assert changed[done].mean() > 0.9
    spans = cut_spans(rollout, STEPS, PPO())
    others = spans._replace(observation=spans.observation._replace(mission=spans.observation.mission[:, ::-1]))
    values = [unroll(worded.agent, jnp.zeros((1, 4), int), found).value for found in (spans, others)]
    assert np.abs(values[0] - values[1]).max() > 1e-3


@jax.jit
def step(agent, tokens, observation, core):
    if is_drawn(observation):
        tokens, observation = observation.mission, by_row(observation)
    return agent.step(agent.tables(tokens), observation, core)


@partial(jax.jit, static_argnames="envs")
def advance(envs, env, actions):
    return envs.step(env, actions)


def test_a_rollout_replayed_step_by_step_is_the_same(collected):
    """Views, rewards and ends from the environments alone; values and final values from the agent stepped by hand."""
    agent, envs = collected.agent, collected.envs
    act = lambda *now: step(agent, jnp.asarray(envs.level.mission_tokens), *now)  # noqa: E731
    actor = collected.actors[0]
    env, observation, core = actor.env, actor.observation, actor.core
    is_first = np.ones(ENVS, bool)
    for rollout in collected.rollouts:
        for t in range(STEPS):
            if t % SPAN == 0:
                kept = jax.tree.map(lambda leaf, t=t: leaf[t // SPAN], rollout.core)
                assert_close(kept, core)
            core = core if collected.carry else zero(core, is_first)
            for name, ours in observation._asdict().items():
                np.testing.assert_array_equal(getattr(rollout.observation, name)[t], ours)
            core, output = act(observation, core)
            np.testing.assert_allclose(rollout.value[t], output.value, atol=1e-5)
            env, time_step = advance(envs, env, rollout.action[t])
            np.testing.assert_array_equal(rollout.reward[t], time_step.reward)
            np.testing.assert_array_equal(rollout.terminated[t], time_step.terminated)
            np.testing.assert_array_equal(rollout.truncated[t], time_step.truncated)
            final = act(time_step.final_observation, core)[1].value
            np.testing.assert_allclose(rollout.truncation_value[t], np.where(time_step.truncated, final, 0), atol=1e-5)
            is_first, observation = np.asarray(time_step.terminated | time_step.truncated), time_step.observation
        fresh = core if collected.carry else zero(core, is_first)
        np.testing.assert_allclose(rollout.bootstrap_value, act(observation, fresh)[1].value, atol=1e-5)
    end = collected.actors[2]
    np.testing.assert_array_equal(end.observation.codes, observation.codes)
    assert_close(end.core, core)


def zero(core, is_first):
    """The state with zeros where an episode begins."""
    keep = lambda leaf: ~is_first.reshape(-1, *[1] * (leaf.ndim - 1))  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.asarray(np.where(keep(leaf), leaf, np.float32(0))), core)


def assert_close(ours, theirs):
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_episodes_are_summed_over_their_whole_length(counted):
    """An episode that spans two rollouts counts once, with all its steps and rewards."""
    rewards = np.concatenate([rollout.reward for rollout in counted.rollouts])
    terminated = np.concatenate([rollout.terminated for rollout in counted.rollouts])
    done = np.concatenate([done_of(rollout) for rollout in counted.rollouts])
    total = jax.tree.map(lambda a, b: np.asarray(a + b), *counted.episodes)
    assert total.number == done.sum()
    assert total.successes == (terminated & (rewards > 0)).sum()
    assert total.length == sum(np.flatnonzero(column)[-1] + 1 for column in done.T)
    assert total.returns == pytest.approx(rewards.sum(), abs=1e-4)
    np.testing.assert_array_equal(
        counted.actors[2].episode_length, [len(column) - 1 - np.flatnonzero(column)[-1] for column in done.T]
    )


def test_a_rollout_keeps_codes_not_pixels(modular):
    """Per environment step: 49 tile codes, a heading and a mission; pixels would be 9,408 bytes."""
    rollout = modular.rollouts[0]
    per_step = [leaf.nbytes / (STEPS * ENVS) for leaf in rollout.observation]
    assert per_step[0] == 49
    assert sum(per_step) == 49 + 1 + 2
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(rollout)) / (STEPS * ENVS) < 200


def test_the_state_is_reset_between_episodes_of_an_evaluation(small, monkeypatch):
    """Whoever waits eleven steps, by its own count, and then walks about, never succeeds before the twelfth."""
    agent = small.counting_agent([1.0] * 7)
    # After n steps the logits of turning and walking are 20 n - 210, those of waiting 0.
    per_step, bias = jnp.array([[20.0, 0, 20, 0, 0, 0, 0]]), jnp.array([-210.0, -1e9, -210, -1e9, -1e9, -1e9, 0])
    agent = eqx.tree_at(lambda a: (a.policy.output, a.policy.bias), agent, (per_step, bias))
    monkeypatch.setattr(evaluate, "BATCH_JAX", 8)
    found = evaluate_jax(agent, small.short_level(20), 64, evaluation_key(0), greedy=False)
    assert 0.1 < found.success.mean() < 0.9
    assert found.lengths.min() >= 12
    assert (found.lengths[~found.success] == 20).all()
