"""Automatic resets: each drawn level is played once and in order, final observations stay, seeds do not mix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.gridworld.toys import numbered, numbers_in_order

from metarims.errors import UserError
from metarims.gridworld import VecEnv, make, task_rules
from metarims.gridworld import observation as obs
from metarims.gridworld.physics import FORWARD, LEFT
from metarims.gridworld.state import new_state

pytestmark = pytest.mark.usefixtures("quick_module")

BATCH = 4


def play(envs: VecEnv, key, num_steps: int):
    """Random play: the first state, the last, and [T, B] of states before, time steps, actions and states after."""
    key_reset, key_act = jax.random.split(key)
    start, _ = envs.reset(key_reset)
    actions = jax.random.randint(key_act, (num_steps, envs.num_envs), 0, envs.num_actions)

    def one(state, action):
        after, step = envs.step(state, action)
        return after, (state.env, step, action, after.env)

    end, history = jax.lax.scan(one, start, actions)
    return start, end, history


@pytest.fixture(scope="module")
def envs():
    """Half of the levels are thrown away; at first more environments wait than the buffer holds levels."""
    return VecEnv(numbered(), 12, BATCH)


@pytest.fixture(scope="module")
def alone(envs):
    """Four seeds, each by itself."""
    run = jax.jit(lambda key: play(envs, key, 60))
    return [jax.tree.map(np.asarray, run(key)) for key in jax.random.split(jax.random.key(7), 4)]


def test_every_level_that_is_kept_is_played_once_and_in_order(envs, alone) -> None:
    for start, end, (_, step, _, after) in alone:
        ended = step.terminated | step.truncated
        played = [*start.env.mission.tolist(), *after.mission[ended].tolist()]
        assert len(played) > 120
        assert played == numbers_in_order(envs.level, jnp.asarray(end.buffer.seed), BATCH, len(played))
        # No more batches are drawn than are needed: about half of the levels are kept, one batch may lie in stock.
        assert len(played) <= int(end.buffer.batch[0]) * BATCH <= (len(played) + 2 * BATCH) / 0.4


def test_an_ended_episode_begins_anew_and_a_running_one_goes_on(alone) -> None:
    for _, _, (before, step, _, after) in alone:
        ended = step.terminated | step.truncated
        assert step.terminated.any()
        assert (step.truncated & ~step.terminated).any()
        np.testing.assert_array_equal(after.step_count, np.where(ended, 0, before.step_count + 1))
        np.testing.assert_array_equal(after.mission[~ended], before.mission[~ended])
        assert before.step_count.max() == 5


def test_the_final_observation_is_that_of_the_step_and_the_next_that_of_the_new_level(envs, alone) -> None:
    flat = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(60 * 12, *leaf.shape[2:])), tree)  # noqa: E731
    before, step, action, after = alone[0][2]
    result = jax.jit(jax.vmap(lambda state, action: task_rules.step(envs.level, state, action)))(
        flat(before), flat(action)
    )
    look = jax.jit(lambda state: obs.observe(envs.level, state))
    for name, expected in (("final_observation", look(result.state)), ("observation", look(flat(after)))):
        for ours, theirs in zip(flat(getattr(step, name)), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for name in ("reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(result, name), flat(getattr(step, name)))
    ended = step.terminated | step.truncated
    assert (step.observation.codes[ended] != step.final_observation.codes[ended]).any()


def test_seeds_and_their_shards_see_together_what_they_see_alone(envs, alone) -> None:
    run = jax.jit(jax.vmap(jax.vmap(lambda key: play(envs, key, 60))))
    # How many levels lie in stock may differ, not which come next.
    together = run(jax.random.split(jax.random.key(7), (2, 2)))[2]
    together = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(4, *leaf.shape[2:]), together)
    for seed, (*_, history) in enumerate(alone):
        for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(history), strict=True):
            np.testing.assert_array_equal(ours[seed], theirs)


def test_terminated_and_truncated_are_two_things() -> None:
    level = numbered(max_steps=100)
    grid = jax.jit(level.reset)(jax.random.key(0)).grid
    at_goal, at_wall = new_state(grid, 2, 1, 0), new_state(grid, 1, 1, 3)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), at_goal, at_wall, at_goal, at_wall)
    states = states._replace(step_count=jnp.array([9, 99, 99, 9], jnp.int16))
    result = jax.jit(jax.vmap(lambda state: task_rules.step(level, state, jnp.int32(FORWARD))))(states)
    assert result.terminated.tolist() == [True, False, True, False]
    assert result.truncated.tolist() == [False, True, True, False]
    assert result.reward.tolist() == pytest.approx([1 - 0.9 * 10 / 100, 0, 0.1, 0], abs=1e-6)


def test_obstacles_move_anew_at_every_step_and_in_every_environment() -> None:
    envs = VecEnv(make("MiniGrid-Dynamic-Obstacles-5x5-v0"), 4)
    still = lambda state, _: (envs.step(state, jnp.full(4, LEFT))[0], state.env.obstacles)  # noqa: E731
    state, _ = jax.jit(envs.reset)(jax.random.key(1))
    end, cells = jax.lax.scan(still, state, None, 30)
    assert int(end.moves) == 30
    once = jax.jit(jax.vmap(lambda moves: still(state._replace(moves=moves), None)[0].env.obstacles))
    assert len(np.unique(once(jnp.arange(30, dtype=jnp.uint32)).reshape(30, -1), axis=0)) > 3
    moved = np.asarray(cells[1:] != cells[:-1])
    assert moved.mean() > 0.7
    assert (cells[10:] != cells[10:, :1]).any((0, 2))[1:].all()


def test_wrong_sizes_are_user_errors() -> None:
    for num_envs, batch, field, value in ((0, None, "num_envs", 0), (-2, None, "num_envs", -2), (4, 0, "batch", 0)):
        with pytest.raises(UserError) as error:
            VecEnv(numbered(), num_envs, batch)
        assert (error.value.field, error.value.value) == (field, value)
    envs = VecEnv(numbered(), 3)
    state, _ = jax.eval_shape(envs.reset, jax.random.key(0))
    with pytest.raises(UserError) as error:
        jax.eval_shape(envs.step, state, jnp.zeros(2, jnp.int32))
    assert error.value.field == "actions"
