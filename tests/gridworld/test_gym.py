"""Our environments for Gymnasium, and Gymnasium's behind our interface."""

import copy
import pickle
import subprocess
import sys
import tempfile
import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pygame
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from minigrid import wrappers

from metarims.errors import UserError
from metarims.gridworld import VOCABULARY, VecEnv, ids, make
from metarims.gridworld import observation as obs
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.farama_copy import FaramaCopy
from metarims.gridworld.gym import GymEnv, GymVectorEnv
from metarims.gridworld.host_env import HostVector
from metarims.gridworld.listing import entries
from metarims.gridworld.mission_table import MissionTable
from metarims.gridworld.missions import BABYAI_VOCABULARY, LONGEST_MISSION
from metarims.gridworld.symbols import codes_from_symbols
from metarims.gridworld.tiles import SYMBOLS
from metarims.gridworld.types import as_actions

pytestmark = pytest.mark.usefixtures("quick_module")

ID = "BabyAI-GoToObjS4-v0"


@pytest.fixture(scope="module")
def envs():
    return gymnasium.make_vec(f"metarims/{ID}", num_envs=3)


@pytest.mark.parametrize("rgb", [False, True])
def test_gymnasiums_checker_accepts_one_environment(rgb: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*render modes.*|.*human.*|.*different from the unwrapped.*")
        check_env(gymnasium.make(f"metarims/{ID}", rgb=rgb, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("id", ["MiniGrid-MultiRoom-N2-S4-v0", "MiniGrid-DistShift1-v0", "BabyAI-PickupLoc-v0"])
def test_the_picture_of_the_world_is_faramas(id: str) -> None:
    """Also on an open door, beside lava and with something in the hand."""
    env = make_farama(id).unwrapped
    quiet_reset(env, 1)
    rng = np.random.default_rng(0)
    for count in range(40):
        if count % 4 == 0:
            copy = FaramaCopy(make(id), state_from_farama(env))
            np.testing.assert_array_equal(copy.get_frame(), env.get_frame())
        _, _, terminated, truncated, _ = env.step(rng.choice([0, 1, 2, 2, 2, 3, 5, 5]))
        if terminated or truncated:
            quiet_reset(env)


def test_a_window_shows_the_world_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr("pygame.time.wait", lambda _: None)
    window, array = (gymnasium.make(f"metarims/{ID}", render_mode=mode) for mode in ("human", "rgb_array"))
    for env in (window, array):
        env.reset(seed=3)
    for action in (1, 2, 0):
        window.step(action)
        array.step(action)
        shown = pygame.surfarray.array3d(pygame.display.get_surface())
        np.testing.assert_array_equal(np.swapaxes(shown, 0, 1), array.render())
    assert window.render() is None
    assert pygame.display.get_caption()[0] == array.unwrapped.level.missions[int(array.unwrapped.state.mission)]
    window.close()
    assert pygame.display.get_surface() is None


def test_a_batch_is_what_its_spaces_say(envs) -> None:
    """Also behind the wrapper of episode statistics that CleanRL's loops use."""
    assert isinstance(envs.unwrapped, GymVectorEnv)
    observation, info = envs.reset(seed=3)
    assert envs.observation_space.contains(observation)
    assert info == {}
    again, _ = envs.reset(seed=3)
    for name, values in observation.items():
        np.testing.assert_array_equal(values, again[name])
    envs.action_space.seed(0)
    wrapped, ended, returns, paid = RecordEpisodeStatistics(envs), 0, [], 0.0
    for _ in range(60):
        observation, reward, terminated, truncated, info = wrapped.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert (reward.shape, terminated.dtype, truncated.dtype) == ((3,), bool, bool)
        over = terminated | truncated
        assert ("final_obs" in info) == over.any()
        for index in np.flatnonzero(over):
            ended += 1
            assert envs.single_observation_space.contains(
                {**info["final_obs"][index], "direction": int(info["final_obs"][index]["direction"])}
            )
            assert info["_final_obs"][index]
            returns.append(info["episode"]["r"][index])
            paid += reward[index]
    assert len(returns) == ended > 5
    assert sum(returns) == pytest.approx(paid)


def test_at_an_episodes_end_info_has_the_form_of_gymnasiums_own_vector_environments(envs) -> None:
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    theirs = gymnasium.make_vec("BabyAI-GoToObjS4-v0", 3, vectorization_mode="sync", vector_kwargs=same_step)
    found = []
    for one in (envs, theirs):
        one.reset(seed=0)
        while True:
            _, _, terminated, truncated, info = one.step(np.full(3, 6))
            if (over := terminated | truncated).any():
                break
            assert info == {}
        assert info["final_info"] == {}
        np.testing.assert_array_equal(info["_final_info"], over)
        np.testing.assert_array_equal(info["_final_obs"], over)
        found.append({name: type(value) for name, value in info.items()})
    assert found[0] == found[1]


@pytest.mark.parametrize("action", [2, np.int8(2), np.array(2), jnp.int32(2), jnp.uint8(2)])
def test_any_whole_number_is_an_action(action) -> None:
    env = GymEnv(ID)
    env.reset(seed=0)
    for wrong in (jnp.float32(2), 2.0, True, jnp.int32(7), -1, [2], "2"):
        with pytest.raises(UserError) as error:
            env.step(wrong)
        assert error.value.field == "action"
    where = env.agent_pos
    ahead = env.grid.get(*env.front_pos) is None
    env.step(action)
    assert (env.agent_pos != where) == ahead
    assert env.step_count == 1


def test_outside_jit_actions_are_checked_and_inside_only_their_kind() -> None:
    envs = VecEnv(make(ID), 2)
    state, _ = envs.reset(jax.random.key(0))
    with pytest.raises(UserError):
        envs.step(state, jnp.array([0, 7]))
    for wrong in (jnp.array([0, 7]), np.array([-1, 0]), jnp.zeros(2), jnp.zeros(3, int), np.zeros(2, bool)):
        with pytest.raises(UserError) as error:
            as_actions(wrong, 2, 7)
        assert error.value.field == "actions"
    assert as_actions(np.array([6, 0]), 2, 7).tolist() == [6, 0]
    after, _ = jax.jit(envs.step)(state, jnp.array([9, -4]))
    np.testing.assert_array_equal(after.env.grid, state.env.grid)
    for part in ("x", "y", "direction"):
        np.testing.assert_array_equal(getattr(after.env, part), getattr(state.env, part))
    with pytest.raises(UserError):
        jax.jit(lambda actions: as_actions(actions, 2, 7))(jnp.zeros(2))


@pytest.mark.parametrize("id", ["MiniGrid-DoorKey-5x5-v0", "BabyAI-PickupLoc-v0"])
def test_pictures_and_attributes_are_those_of_faramas_environment(id: str) -> None:
    ours = gymnasium.make(f"metarims/{id}", render_mode="rgb_array", tile_size=16)
    ours.reset(seed=4)
    for action in (0, 2, 3, 2):
        ours.step(action)
        base, state = ours.unwrapped, ours.unwrapped._state
        codes = np.asarray(obs.observe(base.level, state).codes)
        np.testing.assert_array_equal(base.get_frame(tile_size=8, agent_pov=True), obs.render_host(codes))
        np.testing.assert_array_equal(base.gen_obs()["image"], SYMBOLS[codes])
        assert ours.render().shape == (16 * base.height, 16 * base.width, 3)
        assert base.mission == base.level.missions[int(state.mission)]
        assert (base.agent_pos, base.agent_dir) == ((int(state.x), int(state.y)), int(state.direction))
    farama = make_farama(id)
    farama.reset(seed=0)
    assert base.max_steps == farama.unwrapped.max_steps
    with pytest.raises(AttributeError):
        base.no_such_thing  # noqa: B018


@pytest.mark.parametrize(
    "wrapper", [wrappers.RGBImgObsWrapper, wrappers.FullyObsWrapper, wrappers.ActionBonus, wrappers.SymbolicObsWrapper]
)
def test_minigrids_wrappers_work(wrapper) -> None:
    env = wrapper(gymnasium.make(f"metarims/{ID}"))
    env.reset(seed=0)
    observation, *_ = env.step(2)
    assert np.asarray(observation["image"]).shape == env.observation_space["image"].shape


def test_make_vec_takes_gymnasiums_arguments() -> None:
    envs = gymnasium.make_vec(f"metarims/{ID}", 3, max_episode_steps=5, render_mode="rgb_array", tile_size=4)
    envs.reset(seed=0)
    for count in range(1, 12):
        *_, truncated, _ = envs.step([1, 1, 1])
        assert (truncated == (count % 5 == 0)).all()
    pictures = envs.render()
    assert [picture.shape for picture in pictures] == [(16, 16, 3)] * 3
    assert GymVectorEnv(ID, 2).vector.max_steps == make(ID).max_steps
    assert GymVectorEnv(ID, 2, max_episode_steps=10**6).vector.max_steps == make(ID).max_steps
    with pytest.raises(UserError):
        GymVectorEnv(ID, 2, max_episode_steps=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize(
    "make_one",
    [
        lambda: gymnasium.make("metarims/MiniGrid-Dynamic-Obstacles-5x5-v0", render_mode="rgb_array"),
        lambda: gymnasium.make_vec(f"metarims/{ID}", 2, max_episode_steps=4),
    ],
)
def test_a_copy_goes_on_as_the_environment_does(make_one, copied) -> None:
    """Also into other levels, and what happens to one does not happen to the other; nothing is compiled again."""
    env = make_one()
    env.reset(seed=2)
    env.step(env.action_space.sample())
    env.render()
    actions = [env.action_space.sample() for _ in range(12)]

    def play(one):
        seen = []
        for action in actions:
            observation, reward, terminated, truncated, _ = one.step(action)
            seen.append((observation["image"], reward, terminated, truncated))
            if np.ndim(terminated) == 0 and (terminated or truncated):
                seen.append(one.reset()[0]["image"])
        return seen

    other = copied(env)
    first = play(env)
    compiled = []
    listen = lambda event, _, **__: compiled.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    again = play(other)
    make_one().reset(seed=0)
    jax.monitoring.unregister_event_duration_listener(listen)
    for ours, theirs in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not [event for event in compiled if event.startswith("/jax/core/compile/")]


@pytest.mark.process
def test_processes_forked_after_jax_ran_are_refused() -> None:
    """A child that would hang says so instead; one that is spawned works."""
    code = """
import gymnasium, jax.numpy as jnp, metarims.gridworld.gym, sys
print(jnp.ones(3).sum())
if __name__ == "__main__":
    kwargs = {"context": sys.argv[1]}
    envs = gymnasium.make_vec("metarims/MiniGrid-Empty-5x5-v0", 2, vectorization_mode="async", vector_kwargs=kwargs)
    print(envs.reset(seed=0)[0]["image"].shape)
    envs.close()
"""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(code)
        file.flush()
        runs = [
            subprocess.run(
                [sys.executable, file.name, context], capture_output=True, text=True, timeout=200, check=False
            )
            for context in ("fork", "spawn")
        ]
    assert "forked after JAX had started" in runs[0].stderr
    assert runs[0].returncode
    assert runs[1].stdout.splitlines()[-1] == "(2, 7, 7, 3)", runs[1].stderr


def test_wrong_actions_and_seeds_are_user_errors(envs) -> None:
    one, batch = GymEnv(ID), GymVectorEnv(ID, 2)
    for env, action in ((one, 0), (one, 9), (batch, [0, 0])):
        with pytest.raises(UserError):  # before reset
            env.step(action)
    envs.reset(seed=0)
    for actions in ([0, 7, 0], [0, -1, 0], [0, 0], [0, 0.5, 0], ["left", "right", "left"], None):
        with pytest.raises(UserError) as error:
            envs.step(actions)
        assert error.value.field == "actions"
    with pytest.raises(UserError):
        envs.reset(seed=[1, 2])
    with pytest.raises(UserError):
        GymVectorEnv(ID, 0)
    for env in (one, envs):
        with pytest.raises(gymnasium.error.Error):
            env.reset(seed=-1)
    with pytest.raises(gymnasium.error.Error):
        envs.reset(seed="seven")
    with pytest.raises(UserError):
        GymVectorEnv("BabyAI-GoToObjS4-v9", 2)
    with pytest.raises(gymnasium.error.Error):
        gymnasium.make("metarims/BabyAI-GoToObjS4-v9")


@pytest.mark.parametrize("id", ["BabyAI-BossLevel-v0", "BabyAI-GoToImpUnlock-v0", "MiniGrid-KeyCorridorS3R1-v0"])
def test_levels_that_are_not_ours_run_on_the_host(id: str) -> None:
    host, other = (HostVector(id, 3, MissionTable(BABYAI_VOCABULARY, LONGEST_MISSION, 64)) for _ in range(2))
    first, again = host.reset(7), other.reset(7)
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rng = np.random.default_rng(0)
    for _ in range(30):
        step = host.step(rng.integers(0, 7, 3))
        tokens = host.table.tokens[step.observation.mission]
        words = " ".join(BABYAI_VOCABULARY[token - 1] for token in tokens[0] if token)
        assert words == host.table.missions[step.observation.mission[0]].replace(",", "")


def test_a_users_own_subclass_runs_on_the_host_with_resets() -> None:
    gymnasium.register("Short-v0", gymnasium.spec("BabyAI-GoToObj-v0").entry_point, kwargs={"max_steps": 3})
    host = HostVector("Short-v0", 2, MissionTable(BABYAI_VOCABULARY, 5, 64))
    first = host.reset(0)
    for count in range(1, 10):
        step = host.step([0, 1])
        assert (step.truncated == (count % 3 == 0)).all()
        same = (step.observation.codes == step.final_observation.codes).all()
        assert same == (count % 3 != 0)
    assert len(host.table.missions) > 1
    assert host.table.tokens.shape[0] >= len(host.table.missions)
    assert first.codes.shape == (2, 7, 7)


def test_codes_read_from_symbols_are_those_we_draw() -> None:
    """Also with something in the hand."""
    env = make_farama("BabyAI-PickupLoc-v0").unwrapped
    observation = quiet_reset(env, 4)
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        codes = codes_from_symbols(observation["image"])
        np.testing.assert_array_equal(SYMBOLS[codes], observation["image"])
        np.testing.assert_array_equal(obs.render_host(codes), env.get_frame(tile_size=8, agent_pov=True))
        held += env.carrying is not None
        observation, _, terminated, truncated, _ = env.step(rng.choice([0, 1, 2, 2, 3]))
        if terminated or truncated:
            observation = quiet_reset(env)
    assert held > 0


def test_what_cannot_be_read_is_a_user_error() -> None:
    with pytest.raises(UserError):
        codes_from_symbols(np.ones((7, 7, 3), np.uint8) * (3, 2, 0))  # a floor tile
    with pytest.raises(UserError):
        codes_from_symbols(np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(UserError) as error:
        HostVector("BabyAI-OpenDoor-v0", 1, MissionTable(("go", "to"), 9, 64)).reset(0)
    assert error.value.field == "words"
    with pytest.raises(UserError):
        HostVector(ID, 0, MissionTable((), 9, 64))


def test_the_catalogue_lists_every_id_with_its_facts() -> None:
    everything = {entry.id: entry for entry in entries()}
    ours = {id: entry for id, entry in everything.items() if entry.native}
    local = ours["BabyAI-GoToLocal-v0"]
    assert (local.size, local.max_steps, local.num_actions) == ("8x8", 64, 7)
    assert (local.num_missions, local.num_words) == (36, 13)
    boss = ours["BabyAI-BossLevel-v0"]
    assert (boss.native, boss.max_steps_varies, boss.num_missions) == (True, True, None)
    assert boss.example
    assert set(ours) == set(ids())
    assert len(make("BabyAI-PickupLoc-v0").missions) == ours["BabyAI-PickupLoc-v0"].num_missions
    assert set(BABYAI_VOCABULARY) > set(VOCABULARY)
