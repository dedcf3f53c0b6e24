"""Seeds and shards of environments over several devices: the same numbers as on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.config import PPO, Loop
from metarims.errors import UserError
from metarims.learning.devices import Layout
from metarims.learning.timescales import make_learners
from metarims.learning.trainer import make_trainer

PLAY = Path(__file__).with_name("devices_play.py")
SLOW = pytest.mark.slow


def play(case: str, num_devices: int) -> dict:
    """Two chunks in a process that has so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}"}
    environment = os.environ | flags | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    command = [sys.executable, str(PLAY), case, str(num_devices)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.process
@pytest.mark.parametrize(
    "case", ["vanilla/2/2", *(pytest.param(c, marks=SLOW) for c in ("metarims/2/2", "modular/1/4"))]
)
def test_four_devices_give_the_numbers_of_one(case):
    """Agent, number of seeds, number of shards."""
    one, four = play(case, 1), play(case, 4)
    assert one["devices"] == 1
    assert four["devices"] == 4
    assert one["episodes"] == four["episodes"]
    assert np.min(one["episodes"]) > 0
    for name, values in one["metrics"].items():
        np.testing.assert_allclose(four["metrics"][name], values, rtol=2e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(four["agent"], one["agent"], rtol=1e-3, atol=1e-5)


def test_shards_take_together_the_step_of_one_program_on_all(small, quick_module):
    """With one minibatch per epoch nothing is drawn by lot."""
    loop = Loop(span=4, rollout=8, epochs=2, minibatches=1)
    config = small.config("vanilla", fast=loop, ppo=PPO(num_envs=8, normalize_advantages=True))
    agent, envs = small.random_agent("lstm"), small.short_episodes(5, 8)
    rollout = small.collect_twice(agent, envs, num_steps=8, span=4, carry=False).rollouts[1]
    rollout = rollout._replace(reward=jax.random.normal(jax.random.key(4), rollout.reward.shape))
    tokens = jnp.asarray(envs.level.mission_tokens)
    (alone,), (together,) = make_learners(config), make_learners(config, ("shards",))
    expected = jax.jit(alone.update)(agent, alone.init(agent), tokens, rollout, jax.random.key(0))

    def halve(leaf, axis):
        return jnp.stack(jnp.split(leaf, 2, axis))

    halves = jax.tree.map(lambda leaf: halve(leaf, 1), rollout._replace(bootstrap_value=()))
    halves = halves._replace(bootstrap_value=halve(rollout.bootstrap_value, 0))
    update = jax.vmap(together.update, in_axes=(None, None, None, 0, None), out_axes=None, axis_name="shards")
    found = jax.jit(update)(agent, together.init(agent), tokens, halves, jax.random.key(0))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6)


def test_shards_draw_sets_of_their_own(small, quick_module):
    """Of the random router: those of two groups of environments have nothing to do with each other."""
    state = make_trainer(small.config("random", ppo=PPO(num_envs=4, shards=2), seeds=(0, 1))).init()
    dice = np.asarray(state.actor.core.random_bits).reshape(-1, 2)
    assert len(dice) == 2 * 4
    assert len(np.unique(dice, axis=0)) == len(dice)


def test_devices_that_cannot_be_used_are_a_sentence():
    with pytest.raises(UserError, match=r"devices is 9: JAX finds only \d+"):
        Layout(1, 1, 9)
    with pytest.raises(UserError, match="devices is 0"):
        Layout(1, 1, 0)


def test_a_task_on_the_host_stays_on_one_device(small):
    with pytest.raises(UserError) as error:
        make_trainer(small.config(env="minigrid:BabyAI-BossLevel-v0", ppo=PPO(num_envs=8, shards=2)))
    assert error.value.field == "ppo.shards"
