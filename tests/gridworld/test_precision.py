"""``JAX_ENABLE_X64`` changes no level, no agent and no result; nor do strict promotion and another random generator."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import make_agent
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.gridworld import VOCABULARY, VecEnv, make
from metarims.gridworld.gym import GymEnv
from metarims.gridworld.types import Observation, Pixels
from metarims.presets import PRESETS

pytestmark = pytest.mark.usefixtures("quick_module")

IDS = ("BabyAI-GoToObjS4-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0", "BabyAI-GoToObjS4-v0*2+MiniGrid-Empty-5x5-v0")


def both(run):
    """What ``run`` returns without the switches and with them."""
    plain = jax.tree.map(np.asarray, run())
    with (
        jax.enable_x64(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
    ):
        return plain, jax.tree.map(np.asarray, run())


def random_key(*numbers: int):
    """One key; or as many as there are numbers."""
    bits = np.array([(0, number) for number in numbers], np.uint32)
    return jax.random.wrap_key_data(bits if len(bits) > 1 else bits[0], impl="threefry2x32")


def assert_same(plain, wide) -> None:
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(wide), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("id", IDS)
def test_worlds_do_not_depend_on_it(id: str) -> None:
    """Alone, under ``vmap``, and ``vmap`` of what is compiled already; actions have the switch's own type."""
    envs = VecEnv(make(id), 3)

    def play(key):
        state, observation = envs.reset(key)

        def step(state, action):
            state, time_step = envs.step(state, jnp.full(3, action))
            return state, time_step

        return observation, jax.lax.scan(step, state, jnp.arange(30) % 3)[1]

    def run():
        resets = jax.jit(jax.vmap(make(id).reset))
        return jax.jit(play)(random_key(0)), jax.vmap(jax.jit(play))(random_key(1, 2)), resets(random_key(3, 4, 5))

    assert_same(*both(run))


def test_environments_for_gymnasium_do_not_depend_on_it() -> None:
    def run():
        env = GymEnv("MiniGrid-Dynamic-Obstacles-5x5-v0")
        first, _ = env.reset(seed=3)
        return first, [env.step(action)[:3] for action in (0, 1, 0, 2)]

    plain, wide = both(run)
    jax.tree.map(np.testing.assert_array_equal, plain, wide)


@pytest.mark.parametrize("core", [RIMSettings(), LSTMSettings(), RIMSettings(router="random")])
def test_agents_do_not_depend_on_it(core) -> None:
    """Weights, outputs for codes and pictures, and gradients."""
    rng = np.random.default_rng(0)
    tokens, codes = rng.integers(1, 9, (4, 5)), rng.integers(0, 41, (6, 4, 7, 7)).astype(np.uint8)
    pictures = rng.integers(0, 255, (4, 56, 56, 3)).astype(np.uint8)

    def run():
        sizes = {"num_actions": 7, "num_words": len(VOCABULARY)}
        agent = make_agent(PRESETS["debug"].network, core, **sizes, key=random_key(1))
        state, rows = agent.initial_state(4, random_key(2)), jnp.arange(4)
        seen = Observation(jnp.asarray(codes), jnp.zeros((6, 4), int), jnp.tile(rows, (6, 1)))

        def loss(agent):
            tables = agent.tables(jnp.asarray(tokens))
            end, output = agent.unroll(tables, seen, state, jnp.zeros((6, 4), bool))
            _, last = agent.step(tables, Pixels(jnp.asarray(pictures), rows), end)
            return (output.value**2).sum() + last.logits[:, 0].sum(), (output.logits, last.logits)

        (_, outputs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(agent)
        return agent, outputs, gradient

    plain, wide = both(run)
    assert_same(*(jax.tree.leaves(found[:2]) for found in (plain, wide)))
    for one, other in zip(jax.tree.leaves(plain[2]), jax.tree.leaves(wide[2]), strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


SCRIPT = """
import dataclasses, sys
from metarims.evaluation.recording import record_agents
from metarims.evaluation.tables import evaluate_agents
from metarims.presets import PRESETS
from metarims.runs.folder import load_agents
from metarims.runs.training import train
import tests.gridworld.user_tasks
env, out = "Users-Stages-v0", sys.argv[1]
train(dataclasses.replace(PRESETS["debug"], env=env, frames=512), out, progress=False)
agents = load_agents(out)
print(evaluate_agents(agents, env, "farama", 20))
print(record_agents(agents, env, "farama", 2, False))
print(open(f"{out}/metrics.jsonl").read())
"""


@pytest.mark.process
def test_training_and_evaluation_do_not_depend_on_it(tmp_path) -> None:
    printed = []
    switches = {
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_THREEFRY_PARTITIONABLE": "0",
    }
    for index, changed in enumerate(({}, switches)):
        command = [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT, str(tmp_path / str(index))]
        path = f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"
        env = os.environ | {"PYTHONPATH": path} | changed
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
