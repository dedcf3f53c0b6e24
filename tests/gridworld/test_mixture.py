"""Several tasks in one batch: each plays by its own rules, as often as it should."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest
from tests.gridworld.toys import numbered

from metarims.errors import UserError
from metarims.gridworld import VecEnv, make, mix, task_rules
from metarims.gridworld import observation as obs
from metarims.gridworld.tiles import WALL

pytestmark = pytest.mark.usefixtures("quick_module")

IDS = (
    "BabyAI-GoToLocalS5N2-v0",
    "MiniGrid-Dynamic-Obstacles-5x5-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "BabyAI-PickupDist-v0",
    "MiniGrid-MemoryS7-v0",
)


@pytest.fixture(scope="module")
def mixture():
    return mix([make(id) for id in IDS])


@partial(jax.jit, static_argnums=0)
def run(env, states, actions, bits):
    """Rewards, ends and views of many environments."""

    def one(states, inputs):
        result = jax.vmap(partial(task_rules.step, env))(states, *inputs)
        return result.state, (*result[1:], obs.observe(env, result.state).codes)

    return jax.lax.scan(one, states, (actions, bits))[1]


@pytest.mark.parametrize("source", range(3))
def test_an_environment_of_a_mixture_behaves_as_alone(mixture, source: int) -> None:
    """The same actions and random bits lead to the same rewards, ends and views, in a smaller grid or among walls."""
    level = mixture.parts[source]
    key_level, key_act, key_bits = jax.random.split(jax.random.key(source), 3)
    states = jax.jit(jax.vmap(level.reset))(jax.random.split(key_level, 64))
    states = states._replace(step_count=states.step_count + (level.max_steps - 30))  # so that time runs out as well
    actions = jax.random.randint(key_act, (40, 64), 0, level.num_actions)
    bits = jax.random.bits(key_bits, (40, 64, mixture.num_obstacles))

    alone = run(level, states, actions, bits[..., : level.num_obstacles])
    mixed = run(mixture, jax.vmap(lambda state: mixture.embed(source, state))(states), actions, bits)
    assert alone[2][29].all()
    assert not alone[2][28].any()
    for ours, theirs in zip(mixed, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_each_task_keeps_its_rules(mixture) -> None:
    for source, level in enumerate(mixture.parts):
        state = jax.eval_shape(level.reset, jax.random.key(0))._replace(task=jnp.uint8(source))
        rules = mixture.rules_of(state)
        for name in set(rules._fields) - {"doors", "walled"}:
            assert getattr(rules, name) == getattr(level.rules, name), name
    assert mixture.rules.doors
    assert mixture.rules.walled
    assert mixture.max_steps == min(level.max_steps for level in mixture.parts) == 25


def test_episodes_follow_the_weights_even_where_levels_are_thrown_away() -> None:
    mixture = mix([numbered(4, id="A"), numbered(16, id="B")], [3.0, 1.0])
    envs = VecEnv(mixture, 64)
    late = lambda state: state._replace(  # noqa: E731
        env=state.env._replace(step_count=jnp.full(64, 1000, jnp.int16))
    )

    def all_end(state, _):
        state, step = envs.step(late(state), jnp.zeros(64, jnp.int32))
        return state, (envs.task(state), step.truncated)

    state, _ = jax.jit(envs.reset)(jax.random.key(0))
    _, (tasks, truncated) = jax.jit(lambda state: jax.lax.scan(all_end, state, None, 60))(state)
    assert truncated.all()
    tasks = np.append(np.asarray(tasks).reshape(-1), envs.task(state))
    assert envs.tasks == ("A", "B")
    assert binomtest(int((tasks == 0).sum()), len(tasks), 0.75).pvalue > 0.001
    single = jax.jit(jax.vmap(mixture.reset))(jax.random.split(jax.random.key(1), 200))
    assert binomtest(int((single.task == 0).sum()), 200, 0.75).pvalue > 0.001


def test_missions_are_one_table_without_repeats(mixture) -> None:
    both = mix([make("MiniGrid-Empty-5x5-v0"), make("MiniGrid-Dynamic-Obstacles-5x5-v0")])
    assert both.missions == ("get to the green goal square",)
    for level, rows in zip(mixture.parts, mixture.mission_rows, strict=True):
        assert tuple(mixture.missions[row] for row in rows) == level.missions
    assert len(set(mixture.missions)) == len(mixture.missions)


def test_smaller_grids_are_padded_with_walls_and_missions_and_obstacles_renumbered(mixture) -> None:
    level = mixture.parts[1]
    state = jax.jit(level.reset)(jax.random.key(0))
    padded = mixture.embed(1, state)
    assert padded.grid.shape == (7, 7)
    np.testing.assert_array_equal(padded.grid[:5, :5], state.grid)
    assert (padded.grid[5:] == WALL).all()
    assert (padded.grid[:, 5:] == WALL).all()
    assert mixture.missions[padded.mission] == level.missions[state.mission]
    np.testing.assert_array_equal(padded.obstacles // 7, state.obstacles // 5)
    np.testing.assert_array_equal(padded.obstacles % 7, state.obstacles % 5)
    assert (mixture.embed(0, jax.jit(mixture.parts[0].reset)(jax.random.key(0))).obstacles == -1).all()


@pytest.mark.parametrize(
    "id",
    [
        "BabyAI-GoToObj-v0+BabyAI-GoToOj-v0",
        "BabyAI-GoToObj-v0*x+BabyAI-GoToLocal-v0",
        "BabyAI-GoToObj-v0*0+BabyAI-GoToLocal-v0",
        "BabyAI-GoToObj-v0*-1+BabyAI-GoToLocal-v0",
        "BabyAI-GoToObj-v0*nan+BabyAI-GoToLocal-v0",
        "BabyAI-GoToObj-v0*+BabyAI-GoToLocal-v0",
        "BabyAI-GoToObj-v0+",
        "BabyAI-GoToObj-v0+BabyAI-GoToObj-v0",
        "BabyAI-GoToObj-v0+minigrid:BabyAI-BossLevel-v0",
    ],
)
def test_a_wrong_mixture_is_a_user_error(id: str) -> None:
    with pytest.raises(UserError) as error:
        make(id)
    assert error.value.field in ("env", "environment")


def test_a_mixture_needs_levels_and_a_weight_for_each() -> None:
    for levels, weights in (([], None), ([make("BabyAI-GoToObj-v0")], [1.0, 2.0])):
        with pytest.raises(UserError):
            mix(levels, weights)
