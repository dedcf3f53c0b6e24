"""Learning on the host, and on mixtures: missions keep their meaning, and every task has its own figures."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.envs import EmptyEnv

from metarims.config import PPO, Loop
from metarims.gridworld.missions import BABYAI_VOCABULARY
from metarims.learning.rollout import Episodes, count_episodes
from metarims.learning.trainer import make_trainer, summarize


class Talker(EmptyEnv):
    """Short episodes, each with a mission of its own."""

    def __init__(self, **kwargs):
        super().__init__(size=5, max_steps=5, **kwargs)

    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.mission = " ".join(BABYAI_VOCABULARY[self.np_random.integers(48)] for _ in range(4))
        return self.gen_obs(), {}


gymnasium.register("Talker-v0", entry_point=Talker)


@pytest.fixture(scope="module")
def talked(small, quick_module):
    """Two chunks of two seeds, with so few rows for missions that they are given away again and again."""
    loop = Loop(span=4, rollout=8, epochs=1, minibatches=1)
    config = small.config(
        "vanilla", env="Talker-v0", seeds=(0, 1), ppo=PPO(num_envs=4), fast=loop, record_every=96, max_missions=24
    )
    trainer = make_trainer(config)
    start = trainer.init()
    trainer.compile(start)
    middle, first = trainer.run_chunk(start)
    kept = jax.tree.map(jnp.copy, trainer.to_checkpoint(middle))
    end, second = trainer.run_chunk(middle)
    return trainer, kept, end, (first, second)


def test_what_is_learned_from_is_what_was_heard(talked):
    """With one gradient step per rollout, the policy that learns is the one that acted, if it hears the same words."""
    *_, metrics = talked
    for chunk in metrics:
        assert np.abs(np.asarray(chunk["fast/approx_kl"])).max() < 1e-6
        assert (np.asarray(chunk["fast/clip_fraction"]) == 0).all()
        assert (np.asarray(chunk["fast/grad_norm"]) > 0).all()


def test_rows_were_given_away(talked):
    trainer, _, end, metrics = talked
    episodes = sum(int(chunk["episodes"][0]) for chunk in metrics)
    assert episodes > 24, "so that most missions are forgotten again"
    assert (np.asarray(end.actor.env.missions).any(-1).sum(-1) <= 24).all()
    assert np.asarray(metrics[0]["episode_length"]).max() <= 5
    assert len(trainer.envs.vocabulary) == len(BABYAI_VOCABULARY)


def test_going_on_begins_new_episodes_with_the_same_agent(talked):
    trainer, kept, *_ = talked
    assert kept.actor is None
    state, note = trainer.resume(kept)
    assert "Talker-v0" in note
    assert np.asarray(state.actor.is_first).all()
    for ours, theirs in zip(
        jax.tree.leaves((state.agent, state.optimizers)), jax.tree.leaves((kept.agent, kept.optimizers)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_seed_is_held_while_its_environments_go_on(talked):
    """They cannot go back, and all seeds' are stepped by one clock."""
    trainer, kept, *_ = talked
    state, _ = trainer.resume(kept._replace(key=jax.random.clone(kept.key)))
    before = jax.tree.map(jnp.copy, state._replace(key=jax.random.clone(state.key)))
    after, _ = trainer.run_chunk(state)
    held = trainer.select_seeds([False, True], before, after)
    for now, was, other in zip(*map(jax.tree.leaves, (held.agent, before.agent, after.agent)), strict=True):
        np.testing.assert_array_equal(now[1], was[1])
        np.testing.assert_array_equal(now[0], other[0])
    trainer.run_chunk(held)


class Foreign(Talker):
    """Its missions have words of a language of their own."""

    def reset(self, **kwargs):
        seen, info = super().reset(**kwargs)
        self.mission = f"ogd {self.np_random.integers(1000)}"
        return seen | {"mission": self.mission}, info


gymnasium.register("Foreign-v0", entry_point=Foreign)


def test_an_agent_that_reads_no_missions_learns_whatever_they_say(small, quick_module):
    loop, no_mission = (
        Loop(span=4, rollout=8, epochs=1, minibatches=1),
        dataclasses.replace(small.network, mission_dim=0),
    )
    config = small.config(
        "vanilla", env="Foreign-v0", network=no_mission, ppo=PPO(num_envs=4), fast=loop, record_every=32
    )
    trainer = make_trainer(dataclasses.replace(config, max_missions=1, max_words=1))
    _, metrics = trainer.run_chunk(trainer.init())
    assert abs(float(metrics["fast/approx_kl"][0])) < 1e-6
    assert metrics["fast/grad_norm/encoder"][0] > 0


def test_native_tasks_compile_without_calls_to_the_host(small):
    trainer = make_trainer(small.config("vanilla"))
    state = trainer.init()
    assert trainer.to_checkpoint(state) is state
    resumed, note = trainer.resume(state)
    assert resumed is state
    assert note == ""
    assert "callback" not in jax.jit(trainer.run_chunk).lower(state).as_text()


@pytest.fixture(scope="module")
def mixed(small, quick_module):
    """A chunk on two tasks, one of which has fewer actions and another mission."""
    env = "BabyAI-GoToObjS4-v0*3+MiniGrid-Dynamic-Obstacles-5x5-v0"
    trainer = make_trainer(small.config("vanilla", env=env, record_every=1024))
    return trainer, trainer.run_chunk(trainer.init())[1]


def test_a_mixture_tells_its_tasks_apart(mixed):
    trainer, metrics = mixed
    assert trainer.envs.num_actions == 7
    both = [f"{name}/{task}" for task in trainer.envs.tasks for name in ("episodes", "success", "return")]
    assert set(both) <= set(metrics)
    episodes = [float(metrics[f"episodes/{task}"][0]) for task in trainer.envs.tasks]
    assert sum(episodes) == metrics["episodes"][0]
    assert min(episodes) > 0
    for name in ("success", "return", "episode_length"):
        parts = [float(metrics[f"{name}/{task}"][0]) for task in trainer.envs.tasks]
        np.testing.assert_allclose(metrics[name][0], np.dot(parts, episodes) / sum(episodes), rtol=1e-5)
    assert metrics["return/MiniGrid-Dynamic-Obstacles-5x5-v0"][0] < 0 <= metrics["return/BabyAI-GoToObjS4-v0"][0]


def test_episodes_are_counted_for_their_own_task():
    done, success = jnp.array([True, True, False, True]), jnp.array([False, True, False, False])
    tasks = jnp.array([[True, False], [False, True], [True, False], [True, False]])
    found = count_episodes(done, jnp.array([1.0, 2.0, 4.0, 8.0]), success, jnp.array([3, 5, 7, 9]), tasks)
    for sums, expected in zip(found, ([2, 1], [9.0, 2.0], [0, 1], [12, 5], [0, 5]), strict=True):
        np.testing.assert_array_equal(sums, expected)
    metrics = summarize(found, ("a", "b"))
    assert metrics["episodes"] == 3
    assert metrics["return"] == pytest.approx(11 / 3)
    assert metrics["success/b"] == 1
    assert metrics["episode_length/a"] == 6
    none = Episodes(*(jnp.zeros(2, leaf.dtype) for leaf in found))
    assert summarize(none, ("a", "b"))["return/a"] == 0
