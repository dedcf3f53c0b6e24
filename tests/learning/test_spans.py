"""Every reshape on arrays that say where they come from: entry [t, b] is 1000 t + b."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.config import PPO, Config, Loop, loops
from metarims.gridworld.types import Observation
from metarims.learning import timescales
from metarims.learning.ppo import LOSS_TERMS
from metarims.learning.rollout import Rollout
from metarims.learning.timescales import (
    append_rollout,
    cut_spans,
    explained_variance,
    last_steps,
    make_learners,
    measure_moments,
    select_spans,
)
from metarims.learning.trainer import make_schedule
from metarims.rules import GROUPS

pytestmark = pytest.mark.usefixtures("quick_module")

ENVS = 3


def wide(array, *shape):
    """The array, repeated along new last axes."""
    return jnp.broadcast_to(array.reshape(*array.shape, *[1] * len(shape)), (*array.shape, *shape))


def coded_rollout(num_steps, kept_every, start=0):
    """A rollout of which every array tells time and environment; recurrent states are kept every few steps."""
    time, env = start + np.arange(num_steps)[:, None], np.arange(ENVS)[None]
    code = jnp.asarray(1000 * time + env)
    number = code.astype(jnp.float32)
    return Rollout(
        observation=Observation(wide(jnp.asarray(time % 60 + 0 * env, jnp.uint8), 7, 7), code, code),
        is_first=jnp.zeros((num_steps, ENVS), bool),
        action=code,
        log_prob=number,
        value=number,
        reward=number,
        terminated=jnp.ones((num_steps, ENVS), bool),  # every step an episode: advantages tell of one step each
        truncated=jnp.zeros((num_steps, ENVS), bool),
        truncation_value=jnp.zeros((num_steps, ENVS)),
        bootstrap_value=jnp.asarray(1000.0 * (start + num_steps) + env[0], jnp.float32),
        core={"hidden": wide(number[::kept_every], 2), "cell": number[::kept_every]},
    )


def expected_codes(num_steps, span, start=0):
    """[L, P] codes of the spans: column s * B + b holds steps s L ... s L + L - 1 of environment b."""
    columns = [
        [1000 * (start + s * span + t) + b for t in range(span)] for s in range(num_steps // span) for b in range(ENVS)
    ]
    return np.array(columns).T


@pytest.mark.parametrize(
    ("num_steps", "span", "kept_every"), [(12, 4, 4), (12, 12, 4), (12, 6, 2), (12, 3, 3), (4, 4, 4)]
)
def test_spans_are_contiguous_in_time_and_begin_with_their_own_state(num_steps, span, kept_every):
    spans = cut_spans(coded_rollout(num_steps, kept_every), span, PPO(reward_scale=2.0))
    codes = expected_codes(num_steps, span)
    np.testing.assert_array_equal(spans.action, codes)
    for leaf in (spans.log_prob, spans.value, spans.observation.mission, spans.observation.direction):
        np.testing.assert_array_equal(leaf, codes)
    np.testing.assert_array_equal(spans.observation.codes[..., 3, 5], codes // 1000 % 60)
    np.testing.assert_array_equal(spans.core["hidden"][:, 1], codes[0])
    np.testing.assert_array_equal(spans.core["cell"], codes[0])
    np.testing.assert_array_equal(spans.returns, 2 * codes)  # an episode of one step returns its reward, scaled
    np.testing.assert_array_equal(spans.advantage, codes)
    assert spans.is_first.shape == codes.shape


def test_a_history_ends_with_what_was_collected_last():
    """Phases of 4 steps in a history of 12: the oldest leave, the order in time stays, states too."""
    history = jax.tree.map(lambda leaf: jnp.zeros_like(leaf), coded_rollout(12, 2))
    for start in (0, 4, 8, 12, 16):
        history = append_rollout(history, coded_rollout(4, 2, start))
    assert_same(history, coded_rollout(12, 2, start=8))
    assert_same(last_steps(history, 12), coded_rollout(12, 2, start=8))
    assert_same(last_steps(history, 8), coded_rollout(8, 2, start=12))
    assert_same(last_steps(history, 4), coded_rollout(4, 2, start=16))


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_a_slow_span_covers_several_phases_without_a_gap():
    """Four phases of the fast loop make one span of the slow one, which begins with the first phase's first state."""
    history = jax.tree.map(lambda leaf: jnp.zeros_like(leaf), coded_rollout(16, 2))
    for start in (20, 24, 28, 32):
        history = append_rollout(history, coded_rollout(4, 2, start))
    spans = cut_spans(last_steps(history, 16), 16, PPO())
    np.testing.assert_array_equal(spans.action, expected_codes(16, 16, start=20))
    np.testing.assert_array_equal(spans.core["cell"], expected_codes(16, 16, start=20)[0])


def learners(*rollouts):
    return [timescales.Learner(str(i), (), Loop(span=1, rollout=r), PPO()) for i, r in enumerate(rollouts)]


@pytest.mark.parametrize(
    ("rollouts", "reuse", "expected"),
    [
        ((40,), False, [(0,)]),
        ((40, 80), False, [(0,), (0,), (), (1,)]),
        ((40, 80), True, [(0,), (0, 1)]),
        ((40, 40), False, [(0,), (1,)]),
        ((40, 40), True, [(0, 1)]),
        # Three speeds: the slowest learns on fresh steps too.
        ((1, 2, 4), False, [(0,), (0,), (), (1,), (0,), (0,), (), (1,), (), (), (), (2,)]),
        ((1, 2, 4), True, [(0,), (0, 1), (0,), (0, 1, 2)]),
    ],
)
def test_who_learns_after_which_phase(rollouts, reuse, expected):
    """Algorithm 1: the fast loop, then fresh steps of which the slow loop alone learns; or its steps once more."""
    assert list(make_schedule(learners(*rollouts), reuse=reuse)) == expected


def test_selected_spans_stay_whole():
    spans = cut_spans(coded_rollout(12, 4), 4, PPO())
    chosen = np.array([7, 0, 3])
    batch = select_spans(spans, jnp.asarray(chosen))
    codes = expected_codes(12, 4)[:, chosen]
    np.testing.assert_array_equal(batch.action, codes)
    np.testing.assert_array_equal(batch.observation.mission, codes)
    np.testing.assert_array_equal(batch.core["hidden"][:, 0], codes[0])


@pytest.mark.parametrize("agent", ["metarims", "metalstm", "metaflip"])
def test_slow_spans_are_four_times_the_fast_ones(agent):
    fast, slow = (learner.loop.span for learner in make_learners(Config(agent=agent)))
    assert slow == 4 * fast


def test_every_epoch_covers_every_span_once_in_an_order_of_its_own(small, monkeypatch):
    seen = []

    def spy(spans, chosen):
        jax.debug.callback(lambda columns: seen.append(np.asarray(columns)), chosen, ordered=True)

    monkeypatch.setattr(timescales, "select_spans", spy)
    terms = dict.fromkeys(LOSS_TERMS, jnp.zeros(()))
    monkeypatch.setattr(timescales, "compute_loss", lambda agent, *_: (agent.value.bias.sum(), dict(terms)))
    loop = Loop(span=4, rollout=16, epochs=3, minibatches=4)
    learner, agent = timescales.Learner("fast", GROUPS, loop, PPO()), small.random_agent("lstm")
    words = jnp.ones((1, 2), int)
    update = jax.jit(lambda rollout, key: learner.update(agent, learner.init(agent), words, rollout, key)[2])
    jax.block_until_ready(update(coded_rollout(16, 4), jax.random.key(0)))
    jax.effects_barrier()
    assert [len(chosen) for chosen in seen] == [3] * 12
    epochs = np.array(seen).reshape(3, 12)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), [np.arange(12)] * 3)
    assert len(np.unique(epochs, axis=0)) == 3


def test_loops_are_those_of_the_rule():
    assert [name for name, _ in loops(Config(agent="modular"))] == ["fast"]
    assert [name for name, _ in loops(Config(agent="metarims"))] == ["fast", "slow"]


def test_explained_variance_by_hand():
    """Returns 1, 3 vary by 1; errors 0, 1 vary by 1/4."""
    assert float(explained_variance(measure_moments(jnp.array([1.0, 2.0]), jnp.array([1.0, 3.0])))) == pytest.approx(
        0.75
    )
    assert float(explained_variance(measure_moments(jnp.array([1.0, 3.0]), jnp.array([1.0, 3.0])))) == pytest.approx(1)
    assert float(explained_variance(measure_moments(jnp.array([5.0, 5.0]), jnp.array([1.0, 3.0])))) == pytest.approx(0)
