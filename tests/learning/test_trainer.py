"""Whole chunks of training: seeds together, the count of frames, repeatability, and that it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.config import PPO, Config
from metarims.errors import UserError
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.learning.returns import discount
from metarims.learning.rollout import Episodes
from metarims.learning.trainer import SHARDED, make_trainer, summarize


def copy(state):
    """A copy that may be given away: a chunk takes over its input's memory."""
    return jax.tree.map(jnp.copy, state)


def plain(tree):
    """Leaves as numpy arrays, random keys as their words."""
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def pair(small, quick_module):
    """Two seeds with two loops, one after the other for one chunk of two cycles."""
    trainer = make_trainer(small.config("metalstm", seeds=(3, 5), record_every=512))
    start = trainer.init()
    kept = copy(start)
    return trainer, kept, *trainer.run_chunk(start)


@pytest.fixture(scope="module")
def alone(small, quick_module):
    """The second of them by itself."""
    trainer = make_trainer(small.config("metalstm", seeds=(5,), record_every=512))
    start, compiled = trainer.init(), []
    trainer.compile(start)

    def listen(event, duration, **_):
        compiled.extend([event] * event.startswith("/jax/core/compile/"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        end = trainer.run_chunk(start)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == [], "what was compiled before its first chunk is not compiled again"
    return trainer, *end


def test_a_seed_learns_the_same_after_others_as_alone(pair, alone):
    _, _, *together = pair
    assert_same_seed(jax.tree.map(lambda leaf: leaf[1:], together), alone[1:])


def test_a_seed_learns_the_same_in_a_batch_of_seeds_as_alone(pair, alone):
    """As accelerators do it."""
    trainer, start, _, _ = pair
    run_batch = trainer.layout.spread(trainer._run_chunk, SHARDED, side_by_side=True)
    assert_same_seed(jax.tree.map(lambda leaf: leaf[1:], run_batch(copy(start))), alone[1:])


@pytest.mark.slow
def test_modular_seeds_learn_the_same_together_as_alone(small):
    seeds = (1, 7, 4)
    train = lambda *chosen: (t := make_trainer(small.config("metarims", seeds=chosen))).run_chunk(t.init())  # noqa: E731
    together = train(*seeds)
    for index, seed in enumerate(seeds):
        assert_same_seed(jax.tree.map(lambda leaf, i=index: leaf[i : i + 1], together), train(seed))


def assert_same_seed(together, alone):
    """What is discrete (levels, actions, counts) is the same; what is not, to rounding."""
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(alone)[0]]
    for name, ours, theirs in zip(names, plain(together), plain(alone), strict=True):
        if np.issubdtype(ours.dtype, np.floating):
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-4, err_msg=name)
        elif ".buffer" not in name:  # how many levels lie in stock may differ, not which come next
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_seeds_differ(pair):
    _, start, after, metrics = pair
    for state in (start, after):
        codes = np.asarray(state.actor.observation.codes)
        assert (codes[0] != codes[1]).any()
        weights = np.asarray(state.agent.policy.output)
        assert (weights[0] != weights[1]).any()
    assert metrics["fast/value_loss"][0] != metrics["fast/value_loss"][1]


def test_the_same_state_gives_the_same_chunk_bit_for_bit(pair):
    trainer, start, after, metrics = pair
    again = trainer.run_chunk(copy(start))
    for ours, theirs in zip(plain((after, metrics)), plain(again), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_metrics_are_finite_and_name_both_loops(pair):
    _, _, _, metrics = pair
    assert all(value.shape == (2,) and np.isfinite(value).all() for value in metrics.values())
    terms = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "grad_norm", "explained_variance")
    terms += ("epochs", "learning_rate", "gamma")
    expected = {f"{loop}/{term}" for loop in ("fast", "slow") for term in terms}
    owners = {learner.name: learner.groups for learner in pair[0].learners}
    expected |= {f"{loop}/grad_norm/{group}" for loop, groups in owners.items() for group in groups}
    assert {name for name in metrics if not name.startswith("modules/")} == expected | {
        "episodes",
        "return",
        "success",
        "episode_length",
        "fault/update",
        "fault/term",
        "fault/value",
    }
    assert (metrics["episodes"] > 0).all()
    assert (metrics["fast/entropy"] < np.log(7)).all()
    assert (metrics["fast/entropy"] > 1).all(), "a mean over the phases in which the loop learned, not over all"
    assert (metrics["slow/entropy"] > 1).all()
    for loop, groups in owners.items():
        squares = sum(metrics[f"{loop}/grad_norm/{group}"] ** 2 for group in groups)
        assert (np.sqrt(squares) <= 1.01 * metrics[f"{loop}/grad_norm"]).all(), "means of parts, mean of the whole"


def count_steps(state, metrics):
    """Environment steps per seed since the beginning: those of ended episodes and of running ones."""
    return metrics["episodes"] * metrics["episode_length"] + state.actor.episode_length.sum(axis=1)


def test_every_environment_step_counts_as_a_frame(pair):
    """Two fast rollouts of 8 steps and 16 of the slow loop's own, times 8 environments, in each cycle."""
    trainer, _, state, metrics = pair
    assert trainer.frames_per_chunk == 2 * (2 * 8 + 16) * 8
    np.testing.assert_allclose(count_steps(state, metrics), trainer.frames_per_chunk, rtol=1e-6)


def test_learning_rates_fall_with_the_steps_of_a_seed(small, pair):
    """Of two seeds, after 8 phases of 8 steps of 8 environments each; in each cycle of four phases the fast loop learns
    after the first two, the slow one after the last."""
    trainer, _, state, metrics = pair
    np.testing.assert_array_equal(state.num_rollouts, [8, 8])
    for learner, phases in zip(trainer.learners, ([1, 2, 5, 6], [4, 8]), strict=True):
        rates = learner.loop.learning_rate / np.sqrt(1 + 64 * np.array(phases) / trainer.config.ppo.lr_decay_steps)
        np.testing.assert_allclose(metrics[f"{learner.name}/learning_rate"], [rates.mean()] * 2, rtol=1e-6)
    ppo = PPO(num_envs=8, lr_decay_steps=256)
    assert make_trainer(small.config(ppo=ppo)).rate(state.num_rollouts[0]) == pytest.approx(1 / 3**0.5)
    assert (
        make_trainer(small.config(ppo=dataclasses.replace(ppo, lr_schedule="constant"))).rate(state.num_rollouts[0])
        == 1
    )


def test_the_discount_follows_the_successes_within_bounds(small):
    """A tenth at the end of a mean success; a ten-thousandth at the time limit, of a mixture's longest, at least; gamma
    at most. A fresh agent's successes are taken to last as long as the limit."""
    trainer = make_trainer(small.config(env="BabyAI-GoToObj-v0+MiniGrid-FourRoomsS13-v0"))
    gammas = [float(trainer.gamma(jnp.float32(length))) for length in (2, 50, 1000)]
    assert gammas == pytest.approx([1e-4 ** (1 / 100), 0.1 ** (1 / 50), 0.99])
    assert trainer.init().success_length[0] == 100
    assert discount(PPO(gamma=0.9), jnp.float32(2), 1000) == pytest.approx(0.9)
    assert discount(PPO(), jnp.float32(2), None) == pytest.approx(0.1**0.5)
    assert discount(PPO(discount="constant"), jnp.float32(2), 100) == 0.99


def test_steps_that_both_loops_learn_from_count_once(small):
    reuse = make_trainer(small.config("metalstm", slow_data="reuse", record_every=256))
    assert reuse.frames_per_chunk == 2 * (2 * 8) * 8


@pytest.mark.slow
def test_a_slow_loop_that_reuses_steps_learns_and_takes_none(small):
    reuse = make_trainer(small.config("metalstm", slow_data="reuse", record_every=256))
    before = reuse.init()
    kept = np.asarray(before.agent.value.output)
    state, metrics = reuse.run_chunk(before)
    np.testing.assert_allclose(count_steps(state, metrics), reuse.frames_per_chunk, rtol=1e-6)
    assert (np.asarray(state.agent.value.output) != kept).any()


def test_chunks_cover_the_frames_asked_for(small):
    trainer = make_trainer(small.config("vanilla", frames=1000, record_every=300))
    assert (trainer.frames_per_iteration, trainer.iterations_per_chunk) == (64, 5)
    assert trainer.num_chunks == 4
    assert isinstance(trainer.frames_per_chunk, int)
    short = make_trainer(small.config("vanilla", frames=100, record_every=10**6))
    assert (short.frames_per_chunk, short.num_chunks) == (128, 1)


def test_an_agent_is_that_of_its_seed(pair):
    trainer, _, state, _ = pair
    for index in range(2):
        agent = trainer.agent(state, index)
        np.testing.assert_array_equal(agent.core.modules.bias, state.agent.core.modules.bias[index])
        assert agent.core.modules.bias.shape == (4 * 8,)


def test_an_unknown_environment_is_bad_input(small):
    with pytest.raises(UserError, match=r"Unknown environment 'BabyAI-GoToLocal'.*BabyAI-GoToLocal-v0"):
        make_trainer(small.config(env="BabyAI-GoToLocal"))


def test_a_line_of_metrics_by_hand():
    sums = Episodes(*map(jnp.asarray, (4, 2.0, 3, 100, 60)))
    line = {name: float(value) for name, value in summarize(sums).items()}
    assert line == {"episodes": 4, "return": 0.5, "success": 0.75, "episode_length": 25}
    none = Episodes(*map(jnp.asarray, (0, 0.0, 0, 0, 0)))
    assert set(map(float, summarize(none).values())) == {0.0}


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["vanilla", "modular", "metarims"])
def test_an_easy_task_is_learned(agent):
    """Go to the red ball among grey things, from 60,000 steps at the defaults; success begins at about 0.24."""
    trainer = make_trainer(Config(agent, "BabyAI-GoToRedBallGrey-v0", frames=60_000))
    state = trainer.init()
    for _ in range(trainer.num_chunks):
        state, _ = trainer.run_chunk(state)
    found = evaluate_jax(trainer.agent(state, 0), trainer.envs.level, 256, evaluation_key(0), greedy=False)
    assert found.success.mean() > 0.8
