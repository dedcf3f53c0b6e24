"""Several tasks in one batch: each plays by its own rules, as often as it should."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

from metarims.errors import UserError
from metarims.gridworld import VecEnv, make, mix, task_rules
from metarims.gridworld import observation as obs
from metarims.gridworld.tiles import WALL

pytestmark = pytest.mark.usefixtures("quick_module")

IDS = (
    "BabyAI-GoToLocalS5N2-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-Dynamic-Obstacles-5x5-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "BabyAI-PickupDist-v0",
    "MiniGrid-MemoryS7-v0",
)


@pytest.fixture(scope="module")
def mixture():
    return mix([make(id) for id in IDS])


@partial(jax.jit, static_argnums=0)
def run(env, worlds, actions, words):
    """Rewards, ends and views of many worlds."""

    def one(worlds, inputs):
        result = jax.vmap(lambda w, a, r: task_rules.step_with_bits(env, w, a, r))(worlds, *inputs)
        return result.world, (*result[1:], obs.observe(env, result.world).codes)

    return jax.lax.scan(one, worlds, (actions, words))[1]


@pytest.mark.parametrize("source", range(len(IDS)))
def test_a_world_in_a_mixture_behaves_as_alone(mixture, source: int) -> None:
    """The same actions and random words lead to the same rewards, ends and views."""
    level = mixture.levels[source]
    key_level, key_act, key_words = jax.random.split(jax.random.key(source), 3)
    worlds = jax.jit(jax.vmap(level.reset))(jax.random.split(key_level, 64))
    worlds = worlds._replace(step_count=worlds.step_count + (level.max_steps - 30))  # so that time runs out as well
    actions = jax.random.randint(key_act, (40, 64), 0, level.num_actions)
    words = jax.random.bits(key_words, (40, 64, mixture.num_obstacles))

    alone = run(level, worlds, actions, words[..., : level.num_obstacles])
    mixed = run(mixture, jax.vmap(lambda w: mixture.adopt(source, w))(worlds), actions, words)
    assert alone[2][29].all()
    assert not alone[2][28].any()
    for ours, theirs in zip(mixed, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_episodes_follow_the_weights_even_where_levels_are_thrown_away() -> None:
    """PutNextLocal throws away levels whose two objects are beside each other, DoorKey none."""
    mixture = make("BabyAI-PutNextLocalS5N3-v0*3 + MiniGrid-DoorKey-5x5-v0")
    vector = VecEnv(mixture, 64)
    late = lambda state: state._replace(  # noqa: E731
        env=state.env._replace(step_count=jnp.full(64, 1000, jnp.int16))
    )

    def all_end(state, _):
        state, step = vector.step(late(state), jnp.zeros(64, jnp.int32))
        return state, (state.env.task, step.truncated)

    state, observation = jax.jit(vector.reset)(jax.random.key(0))
    _, (tasks, truncated) = jax.jit(lambda state: jax.lax.scan(all_end, state, None, 60))(state)
    assert truncated.all()
    tasks = np.append(np.asarray(tasks).reshape(-1), state.env.task)
    assert binomtest(int((tasks == 0).sum()), len(tasks), 0.75).pvalue > 0.001
    assert observation.mission.max() < len(mixture.missions)


def test_the_time_limit_of_a_mixture_is_one_before_which_no_episode_is_truncated(mixture) -> None:
    assert mixture.max_steps == min(level.max_steps for level in mixture.levels) == 25
    assert max(level.max_steps for level in mixture.levels) == 360


def test_missions_are_one_table_without_repeats(mixture) -> None:
    both = mix([make("MiniGrid-Empty-5x5-v0"), make("MiniGrid-Dynamic-Obstacles-5x5-v0")])
    assert both.missions == ("get to the green goal square",)
    for level, rows in zip(mixture.levels, mixture.mission_rows, strict=True):
        assert tuple(mixture.missions[row] for row in rows) == level.missions
    assert len(set(mixture.missions)) == len(mixture.missions)


def test_smaller_grids_are_padded_with_walls(mixture) -> None:
    world = mixture.adopt(0, jax.jit(mixture.levels[0].reset)(jax.random.key(0)))
    assert world.grid.shape == (7, 7)
    assert (world.grid[5:] == WALL).all()
    assert (world.grid[:, 5:] == WALL).all()


def test_a_single_world_of_a_mixture_can_be_drawn(mixture) -> None:
    worlds = jax.jit(jax.vmap(mixture.reset))(jax.random.split(jax.random.key(1), 60))
    assert set(np.asarray(worlds.task).tolist()) == set(range(len(IDS)))


@pytest.mark.parametrize(
    ("id", "sentence"),
    [
        ("BabyAI-GoToObj-v0+BabyAI-GoToOj-v0", "Did you mean BabyAI-GoToObj-v0"),
        ("BabyAI-GoToObj-v0*x+BabyAI-GoToLocal-v0", "weight of BabyAI-GoToObj-v0 is 'x'"),
        ("BabyAI-GoToObj-v0*0+BabyAI-GoToLocal-v0", "greater than zero"),
        ("BabyAI-GoToObj-v0*-1+BabyAI-GoToLocal-v0", "greater than zero"),
        ("BabyAI-GoToObj-v0*nan+BabyAI-GoToLocal-v0", "greater than zero and finite"),
        ("BabyAI-GoToObj-v0*+BabyAI-GoToLocal-v0", "weight of BabyAI-GoToObj-v0 is ''"),
        ("BabyAI-GoToObj-v0+", "has a part without a name"),
        ("BabyAI-GoToObj-v0+BabyAI-GoToObj-v0", "occurs twice"),
    ],
)
def test_a_wrong_mixture_is_a_sentence(id: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make(id)


def test_a_mixture_needs_levels_and_a_weight_for_each() -> None:
    with pytest.raises(UserError, match="at least one level"):
        mix([])
    with pytest.raises(UserError, match="1 levels has 2 weights"):
        mix([make("BabyAI-GoToObj-v0")], [1.0, 2.0])
