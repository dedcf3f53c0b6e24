"""Environments on the host: the same episodes behind a compiled interface, and errors that surface from there."""

import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.envs import EmptyEnv

from metarims.errors import UserError
from metarims.gridworld import VOCABULARY, VecEnv
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.host_env import HostVecEnv, HostVector, read_spec, time_limit
from metarims.gridworld.mission_table import MissionTable
from metarims.gridworld.missions import BABYAI_VOCABULARY
from metarims.gridworld.registry import make, make_envs, resolve
from metarims.gridworld.types import FIRST_EVALUATION_SEED, VectorEnv

pytestmark = pytest.mark.usefixtures("quick_module")

ID = "BabyAI-OpenDoor-v0"


class Moody(EmptyEnv):
    """Says something new in each episode; breaks, or ends too early, when told to."""

    breaks_at, ends_at, first_wins_at = 10**9, 10**9, 10**9

    def __init__(self, **kwargs):
        super().__init__(size=5, max_steps=6, **kwargs)
        self.episode = 0

    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.episode += 1
        self.mission = f"go to the {' '.join(BABYAI_VOCABULARY[self.episode % 40 : self.episode % 40 + 2])}"
        return self.gen_obs(), {}

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.step_count >= self.breaks_at:
            raise ValueError("the door is stuck")
        if self.episode == 1 and self.step_count >= self.first_wins_at:
            return observation, 1.0, True, False, info
        return observation, reward, terminated, truncated or self.step_count >= self.ends_at, info


gymnasium.register("Moody-v0", entry_point=Moody)


@pytest.fixture
def moody():
    """Its class, to be told what to do; afterwards it behaves again."""
    yield Moody
    Moody.breaks_at = Moody.ends_at = Moody.first_wins_at = 10**9


def play(envs, num_seeds, num_steps):
    """Step random actions, all seeds in one compiled program; returns the seeds' first view, actions and steps."""

    def run(key):
        key_reset, key_act = jax.random.split(key)
        actions = jax.random.randint(key_act, (num_steps, envs.num_envs), 0, envs.num_actions)
        state, observation = envs.reset(key_reset)
        state, steps = jax.lax.scan(envs.step, state, actions)
        return observation, actions, steps, state

    return jax.block_until_ready(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), num_seeds)))


def test_every_seed_plays_its_own_environments() -> None:
    """What comes out of the compiled program is what the environments give when stepped by hand."""
    envs = HostVecEnv(ID, 2)
    observation, actions, steps, state = play(envs, 2, 20)
    envs.check()
    assert np.asarray(state.clock).tolist() == [20, 20]
    keys = jax.vmap(lambda key: jax.random.split(key)[0])(jax.random.split(jax.random.key(5), 2))
    for index in range(2):
        alone = HostVector(ID, 2, MissionTable(BABYAI_VOCABULARY, 72, 64))
        first = alone.reset(int(jax.random.bits(keys[index], (), jnp.uint32)))
        np.testing.assert_array_equal(observation.codes[index], first.codes)
        for t in range(20):
            step = alone.step(np.asarray(actions[index, t]))
            np.testing.assert_array_equal(steps.observation.codes[index, t], step.observation.codes)
            np.testing.assert_array_equal(steps.observation.direction[index, t], step.observation.direction)
            np.testing.assert_allclose(steps.reward[index, t], step.reward)
            said = alone.table.tokens[step.observation.mission]
            heard = state.missions[index][steps.observation.mission[index, t]]
            np.testing.assert_array_equal(heard[:, : said.shape[1]], said[:, : heard.shape[1]])
    codes = np.asarray(observation.codes)
    assert (codes[0] != codes[1]).any()


def test_an_old_state_cannot_be_stepped_again() -> None:
    envs = HostVecEnv("Moody-v0", 1)
    state, _ = jax.jit(envs.reset)(jax.random.key(0))
    step = jax.jit(envs.step)
    step(state, jnp.zeros(1, jnp.int32))[1].reward.block_until_ready()
    envs.check()
    step(state, jnp.zeros(1, jnp.int32))[1].reward.block_until_ready()
    with pytest.raises(UserError, match="stepped twice"):
        envs.check()


def test_an_error_of_the_environment_is_kept_until_asked_for(moody) -> None:
    envs = HostVecEnv("Moody-v0", 2)
    moody.breaks_at = 3
    _, _, steps, _ = play(envs, 1, 6)
    assert (np.asarray(steps.observation.codes)[0, 3:] == 0).all()
    with pytest.raises(UserError, match=r"Moody-v0 failed: ValueError: the door is stuck\.$"):
        envs.check()


def test_the_time_limit_must_hold(moody) -> None:
    envs = HostVecEnv("Moody-v0", 2)
    assert envs.max_steps == 6
    moody.ends_at = 4
    play(envs, 1, 6)
    with pytest.raises(UserError, match="truncated an episode after 4 steps, although its time limit was read as 6"):
        envs.check()


def test_the_time_limit_counts_from_the_last_episodes_end_also_after_a_success(moody) -> None:
    envs = HostVecEnv("Moody-v0", 2)
    moody.first_wins_at, moody.ends_at = 3, 4
    play(envs, 1, 8)
    with pytest.raises(UserError, match="truncated an episode after 4 steps"):
        envs.check()


def test_missions_of_long_ago_make_room() -> None:
    table = MissionTable(BABYAI_VOCABULARY, 5, capacity=3, keep=10)
    assert [table.row(f"go to the {word}", now) for now, word in enumerate(("key", "ball", "box"))] == [0, 1, 2]
    assert table.take_change()
    assert table.row("go to the key", 12) == 0
    assert not table.take_change()
    assert table.row("open the door", 12) == 1, "heard at 1, which is more than ten steps ago"
    assert table.take_change()
    words = [BABYAI_VOCABULARY[token - 1] for token in table.tokens[1] if token]
    assert words == ["open", "the", "door"]
    assert table.row("go to the ball", 13) == 2
    with pytest.raises(UserError) as error:
        table.row("go to the red door", 14)
    assert (error.value.field, error.value.value) == ("max_missions", 3)


def test_a_row_may_be_given_away_once_it_is_older_than_the_experience_that_is_kept() -> None:
    table = MissionTable(BABYAI_VOCABULARY, 5, capacity=1, keep=10)
    table.row("go to the key", 0)
    with pytest.raises(UserError):
        table.row("go to the ball", 10)
    assert table.row("go to the ball", 11) == 0


def test_missions_that_cannot_be_read_are_user_errors() -> None:
    table = MissionTable(BABYAI_VOCABULARY, 5, 4)
    with pytest.raises(UserError, match="--words shiny gem ") as error:
        table.row("fetch a shiny gem")
    assert (error.value.field, error.value.value) == ("words", "fetch a shiny gem")
    with pytest.raises(UserError) as error:
        table.row("go to the red key, then")
    assert (error.value.field, error.value.value) == ("max_words", 5)
    assert MissionTable((*BABYAI_VOCABULARY, "shiny", "gem"), 5, 4).row("fetch a shiny gem") == 0
    assert HostVecEnv("Moody-v0", 1, words=("shiny", "key")).vocabulary == (*BABYAI_VOCABULARY, "shiny")


def test_missions_that_nobody_reads_may_say_anything() -> None:
    table = MissionTable(None, 1, capacity=1, keep=10)
    assert {table.row(mission, 0) for mission in ("fetch a shiny gem", "go to the red key", "")} == {0}
    assert not table.take_change()
    assert (table.tokens == 0).all()
    envs = HostVecEnv("Moody-v0", 4, max_words=2, max_missions=2, keep=50, reads=False)
    _, _, steps, state = play(envs, 1, 20)
    envs.check()
    assert (np.asarray(steps.observation.mission) == 0).all()
    assert (np.asarray(state.missions) == 0).all()


def test_a_table_that_is_too_small_is_a_user_error() -> None:
    envs = HostVecEnv("Moody-v0", 4, max_missions=2, keep=50)
    play(envs, 1, 20)
    with pytest.raises(UserError) as error:
        envs.check()
    assert (error.value.field, error.value.value) == ("max_missions", 2)


@pytest.mark.parametrize("id", ["BabyAI-BossLevel-v0", "BabyAI-OpenDoor-v0", "MiniGrid-LockedRoom-v0"])
def test_no_episode_ends_before_the_time_limit_nor_speaks_longer(id: str) -> None:
    env = make_farama(id)
    spec = read_spec(env)
    for seed in range(100, 120):
        mission = quiet_reset(env, seed)["mission"]
        assert spec.max_steps <= env.unwrapped.max_steps
        assert len(mission.split()) <= spec.max_words
    assert time_limit(gymnasium.wrappers.TimeLimit(env, 7)) == 7


def test_level_seeds_of_training_are_none_of_evaluations(monkeypatch) -> None:
    seeds = []

    def note(env, seed=None):
        seeds.append(seed)
        return quiet_reset(env, seed)

    monkeypatch.setattr("metarims.gridworld.host_env.quiet_reset", note)
    HostVector("Moody-v0", 64, MissionTable(BABYAI_VOCABULARY, 9, 64)).reset(1)
    assert len(set(seeds)) == 64
    assert max(seeds) < FIRST_EVALUATION_SEED


def test_any_id_makes_worlds() -> None:
    ours = make_envs("BabyAI-GoToObj-v0", 2)
    assert isinstance(ours, VecEnv)
    assert ours.vocabulary == VOCABULARY
    state, _ = jax.eval_shape(ours.reset, jax.random.key(0))
    assert ours.mission_tokens(state).shape == (18, 5)
    assert isinstance(make_envs("BabyAI-GoToObj-v0+BabyAI-GoToLocal-v0", 2), VecEnv)
    assert isinstance(make_envs("Moody-v0", 2), HostVecEnv)


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("BabyAI-BosLevel-v0", {}),
        ("nowhere:X-v0", {}),
        ("minigrid:Empty-v0", {}),
        ("BabyAI-GoToObj-v0", {"words": ("gem",)}),
        ("BabyAI-GoToObj-v0+Moody-v0", {}),
        ("CartPole-v1", {}),
        ("Moody-v0", {"max_words": 2}),
    ],
)
def test_what_cannot_be_played_is_a_user_error(id: str, settings: dict) -> None:
    def play():
        envs = make_envs(id, 1, **settings)
        jax.block_until_ready(jax.jit(envs.reset)(jax.random.key(0)))
        envs.check()

    with pytest.raises(UserError):
        play()


SCRIPTS = {
    "asks": "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--size', required=True)\n"
    "parser.parse_args()",
    "ends": "import sys\nsys.exit('no display')",
    "breaks": "import nothing_of_that_name",
    "wrong": "def (",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_module_that_runs_as_a_script_is_named(script: str, tmp_path, monkeypatch, capsys) -> None:
    """What it prints of its own usage is not taken for ours."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metarims", "train", "--env", "x"])
    (tmp_path / f"task_{script}.py").write_text(SCRIPTS[script])
    with pytest.raises(UserError) as error:
        resolve(f"task_{script}:X-v0")
    assert (error.value.field, error.value.value) == ("env", f"task_{script}")
    assert sys.argv[0] == "metarims"
    assert capsys.readouterr() == ("", "")


def test_a_module_may_read_arguments_and_speak(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metarims", "train", "--env", "x"])
    code = "import argparse, sys, tests.gridworld.user_tasks\nargparse.ArgumentParser().parse_args()\n"
    (tmp_path / "task_good.py").write_text(code + "print('welcome', file=sys.stderr)")
    assert resolve("task_good:Users-Room-v0") == "host"
    assert capsys.readouterr().err == "welcome\n"


def test_an_id_is_resolved_once_with_the_nearest_names_for_an_unknown_one() -> None:
    asked = ("BabyAI-GoToObj-v0", "A+B", "Moody-v0", "minigrid:BabyAI-BossLevel-v0", "minigrid:Moody-v0")
    assert [resolve(id) for id in asked] == ["level", "mixture", "host", "host", "host"]
    for ask in (resolve, make, make_farama, lambda id: make_envs(id, 1)):
        with pytest.raises(UserError, match="BabyAI-GoToLocal-v0") as error:
            ask("BabyAI-GoToLokal-v0")
        assert error.value.value == "BabyAI-GoToLokal-v0"
    with pytest.raises(UserError, match="elsewhere"):
        make("minigrid:BabyAI-BossLevel-v0", "play it elsewhere")


def test_both_kinds_of_environments_keep_the_protocol() -> None:
    for envs in (make_envs("BabyAI-GoToObj-v0", 2), make_envs("Moody-v0", 2)):
        assert isinstance(envs, VectorEnv)
        state, observation = jax.eval_shape(envs.reset, jax.random.key(0))
        assert observation.codes.shape == (2, 7, 7)
        assert jax.eval_shape(envs.task, state).shape == (2,)
        assert jax.eval_shape(envs.mission_tokens, state).shape == envs.mission_tokens().shape
        assert jax.eval_shape(envs.missions_changed, state).shape == ()
        assert envs.can_checkpoint != envs.missions_change
