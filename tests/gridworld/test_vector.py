"""Automatic resets: new levels each time, nothing lost of the old ones, seeds apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import VecEnv, make, task_rules
from metarims.gridworld import observation as obs
from metarims.gridworld.physics import FORWARD, LEFT, TOGGLE
from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import EMPTY, GOAL, TARGET

pytestmark = pytest.mark.usefixtures("quick_module")

GO_TO = make("BabyAI-GoToLocal-v0")


def play(vector: VecEnv, key, num_steps: int):
    """Random play: [T, B] worlds before each step, and the time steps."""
    key_reset, key_act = jax.random.split(key)
    state, _ = vector.reset(key_reset)
    actions = jax.random.randint(key_act, (num_steps, vector.num_envs), 0, vector.num_actions)

    def one(state, action):
        after, step = vector.step(state, action)
        return after, (state.env, step, action, after.env)

    return jax.lax.scan(one, state, actions)


@pytest.fixture(scope="module")
def played():
    vector = VecEnv(GO_TO, 32)
    state, history = jax.jit(lambda key: play(vector, key, 300))(jax.random.key(0))
    return vector, state, jax.tree.map(np.asarray, history)


def test_every_reset_draws_another_level(played) -> None:
    _, _, (_, step, _, after) = played
    ended = step.terminated | step.truncated
    levels = np.concatenate([after.grid[ended].reshape(ended.sum(), -1), after.x[ended][:, None]], 1)
    assert len(levels) > 100
    assert len(np.unique(levels, axis=0)) == len(levels)
    assert (after.step_count[ended] == 0).all()
    assert (after.carrying[ended] == EMPTY).all()


def flat(tree):
    """[T, B] as one axis, on the device."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])), tree)


def test_the_final_observation_is_kept(played) -> None:
    vector, _, (before, step, action, after) = played
    result = jax.jit(jax.vmap(lambda w, a: task_rules.step(vector.level, w, a)))(flat(before), flat(action))
    look = jax.jit(lambda world: obs.observe(vector.level, world))
    for name, expected in (("final_observation", look(result.world)), ("observation", look(flat(after)))):
        seen = flat(getattr(step, name))
        for ours, theirs in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(result.reward, step.reward.reshape(-1))
    running = ~(step.terminated | step.truncated)
    np.testing.assert_array_equal(step.observation.codes[running], step.final_observation.codes[running])
    assert (step.observation.codes[~running] != step.final_observation.codes[~running]).any()


def corner(goal_ahead: bool, step_count: int) -> EnvState:
    """Empty 5x5: the agent faces the goal, or the wall."""
    level = make("MiniGrid-Empty-5x5-v0")
    world = jax.jit(level.reset)(jax.random.key(0))
    pose = {"x": jnp.int8(2 if goal_ahead else 1), "y": jnp.int8(3 if goal_ahead else 1)}
    return world._replace(**pose, direction=jnp.int8(0 if goal_ahead else 3), step_count=jnp.int16(step_count))


@pytest.mark.parametrize(
    ("goal_ahead", "step_count", "terminated", "truncated", "reward"),
    [
        (True, 9, True, False, 1 - 0.9 * 10 / 100),
        (False, 99, False, True, 0.0),
        (True, 99, True, True, 0.1),
        (False, 9, False, False, 0.0),
    ],
)
def test_terminated_and_truncated_are_two_things(goal_ahead, step_count, terminated, truncated, reward) -> None:
    vector = VecEnv(make("MiniGrid-Empty-5x5-v0"), 1)
    state, _ = jax.jit(vector.reset)(jax.random.key(0))
    world = jax.tree.map(lambda leaf: leaf[None], corner(goal_ahead, step_count))
    state, step = jax.jit(vector.step)(state._replace(env=world), jnp.array([FORWARD]))
    assert (bool(step.terminated[0]), bool(step.truncated[0])) == (terminated, truncated)
    assert float(step.reward[0]) == pytest.approx(reward, abs=1e-6)
    assert int(state.env.step_count[0]) == (0 if terminated or truncated else step_count + 1)


def test_seeds_trained_together_see_what_they_see_alone() -> None:
    vector = VecEnv(make("BabyAI-GoToLocalS5N2-v0"), 16)
    keys = lambda: jax.random.split(jax.random.key(7), 3)  # noqa: E731
    together = jax.jit(jax.vmap(lambda key: play(vector, key, 150)[1]))(keys())
    alone = jax.jit(lambda key: play(vector, key, 150)[1])
    for seed, key in enumerate(keys()):
        for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone(key)), strict=True):
            np.testing.assert_array_equal(ours[seed], theirs)


def test_shards_of_seeds_see_what_they_see_alone() -> None:
    vector = VecEnv(make("BabyAI-GoToLocalS5N2-v0"), 8)
    keys = lambda: jax.random.split(jax.random.key(7), (3, 2))  # noqa: E731
    together = jax.jit(jax.vmap(jax.vmap(lambda key: play(vector, key, 100)[1])))(keys())
    alone = jax.jit(lambda key: play(vector, key, 100)[1])
    for seed, shards in enumerate(keys()):
        for shard, key in enumerate(shards):
            for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone(key)), strict=True):
                np.testing.assert_array_equal(ours[seed, shard], theirs)


def test_all_episodes_may_end_at_once() -> None:
    """More ends than the pool holds: it is filled as often as needed."""
    vector = VecEnv(make("BabyAI-PickupLoc-v0"), 40, batch=8)
    state, _ = jax.jit(vector.reset)(jax.random.key(3))
    late = state._replace(env=state.env._replace(step_count=jnp.full(40, 63, jnp.int16)))
    after, step = jax.jit(vector.step)(late, jnp.full(40, LEFT))
    assert step.truncated.all()
    assert (after.env.step_count == 0).all()
    grids = np.concatenate([np.asarray(state.env.grid), np.asarray(after.env.grid)]).reshape(80, -1)
    assert len(np.unique(grids, axis=0)) == 80


def test_levels_come_in_batches_at_the_rate_of_ends(played) -> None:
    """No more levels are drawn than ends need, up to one batch in stock and those that are thrown away."""
    vector, state, (_, step, _, _) = played
    needed = vector.num_envs + int((step.terminated | step.truncated).sum())
    drawn = int(state.buffer.batch[0]) * 8
    assert needed <= drawn <= (needed + 2 * 8) / 0.75


def test_obstacles_wander_anew_at_every_step() -> None:
    vector = VecEnv(make("MiniGrid-Dynamic-Obstacles-16x16-v0"), 4)
    _, (worlds, _, _, _) = jax.jit(lambda key: play(vector, key, 20))(jax.random.key(1))
    moved = (worlds.obstacles[1:] != worlds.obstacles[:-1]).mean()
    assert moved > 0.8


@pytest.mark.parametrize(
    ("num_envs", "batch", "sentence"),
    [(0, None, "num_envs is 0"), (-2, None, "num_envs is -2: it must be at least 1"), (4, 0, "batch is 0")],
)
def test_a_wrong_size_is_a_sentence(num_envs, batch, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        VecEnv(GO_TO, num_envs, batch)


def test_a_wrong_number_of_actions_is_a_sentence() -> None:
    vector = VecEnv(make("MiniGrid-Empty-5x5-v0"), 3)
    state, _ = jax.eval_shape(vector.reset, jax.random.key(0))
    with pytest.raises(UserError, match=r"shape \(2,\): 3 are needed"):
        jax.eval_shape(vector.step, state, jnp.zeros(2, jnp.int32))


@pytest.mark.parametrize("id", ["BabyAI-GoToLocl-v0", "MiniGrid-DoorKey-7x7-v0", ""])
def test_an_unknown_id_is_a_sentence(id: str) -> None:
    with pytest.raises(UserError, match=f"Unknown environment '{id}'. (Did you mean|.*lists them all)"):
        make(id)


def test_flags_never_reach_the_eye() -> None:
    vector = VecEnv(make("MiniGrid-MemoryS7-v0"), 4)
    state, observation = jax.jit(vector.reset)(jax.random.key(0))
    assert ((state.env.grid & TARGET) != 0).any()
    assert int(observation.codes.max()) < 60
    _, step = jax.jit(vector.step)(state, jnp.full(4, TOGGLE))
    assert int(step.observation.codes.max()) < 60
    assert (np.asarray(state.env.grid) != GOAL).all()
