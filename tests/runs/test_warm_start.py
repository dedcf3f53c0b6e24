"""Runs that begin with trained agents."""

import dataclasses
import shutil

import numpy as np
import pytest

from metarims.config import PPO, Config, Loop, LRMultipliers, Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.runs.export import named_arrays
from metarims.runs.folder import load_agents
from metarims.runs.training import train

SMALL = Config(
    agent="vanilla",
    env="BabyAI-GoToObjS4-v0",
    frames=128,
    seeds=(3, 5),
    record_every=128,
    network=Network(image_dim=4, word_dim=4, mission_dim=4, feature_dim=8, head_dim=4),
    core=LSTMSettings(8),
    ppo=PPO(num_envs=8),
    fast=Loop(span=4, rollout=16, epochs=1, minibatches=2),
)
FROZEN = dataclasses.replace(SMALL, lr_multipliers=LRMultipliers(0.0, 0.0, 0.0, 0.0, 0.0))
"""Agents that stay as they begin."""

pytestmark = pytest.mark.usefixtures("quick_module")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with seeds 3 and 5."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    train(SMALL, folder)
    return folder


def weights(path):
    """By seed, the parameters of a run's agents."""
    return {
        saved.seed: {name: np.asarray(leaf) for name, leaf in named_arrays(saved.agent).items()}
        for saved in load_agents(path)
    }


def test_each_seed_begins_with_the_agent_of_that_seed(tmp_path, trained):
    train(dataclasses.replace(FROZEN, seeds=(5, 3), init_from=str(trained)), tmp_path / "run")
    found, wanted = weights(tmp_path / "run"), weights(trained)
    for seed in (3, 5):
        np.testing.assert_equal(found[seed], wanted[seed])


@pytest.mark.slow
def test_all_seeds_begin_with_one_agent(tmp_path, trained):
    file = trained / "agents/seed-5.safetensors"
    train(dataclasses.replace(FROZEN, seeds=(0, 1), init_from=str(file)), tmp_path / "run")
    for found in weights(tmp_path / "run").values():
        np.testing.assert_equal(found, weights(trained)[5])


def test_a_run_goes_on_when_the_agents_that_it_began_with_are_gone(tmp_path, trained):
    source = tmp_path / "source"
    shutil.copytree(trained, source)
    config = dataclasses.replace(SMALL, init_from=str(source))
    train(dataclasses.replace(config, frames=256), tmp_path / "whole")
    train(config, tmp_path / "run")
    shutil.rmtree(source)
    assert train(dataclasses.replace(config, frames=256), tmp_path / "run").env_steps == 256
    for seed, found in weights(tmp_path / "run").items():
        np.testing.assert_equal(found, weights(tmp_path / "whole")[seed])
        assert any((found[name] != start).any() for name, start in weights(trained)[seed].items())


@pytest.mark.slow
def test_a_folder_that_was_only_claimed_takes_other_agents_to_begin_with(tmp_path, trained):
    run = tmp_path / "run"
    train(dataclasses.replace(SMALL, init_from=str(trained)), run)
    for left in ("metrics.jsonl", "speed.jsonl"):
        (run / left).unlink()
    for left in ("checkpoints", "agents"):
        shutil.rmtree(run / left)
    file = trained / "agents/seed-5.safetensors"
    train(dataclasses.replace(FROZEN, init_from=str(file)), run)
    np.testing.assert_equal(weights(run)[3], weights(trained)[5])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"init_from": "doorkay"}, "init_from is doorkay, and nothing is there"),
        ({"init_from": "doorkey"}, "its core is rim"),
        ({"seeds": (3, 4)}, "whose agents have the seeds 3 5, not 4"),
        ({"agent": "modular", "core": RIMSettings()}, r"its core is lstm \(vanilla\), not rim \(modular\)"),
        ({"env": "MiniGrid-Dynamic-Obstacles-5x5-v0"}, "it has 7 actions, and MiniGrid-Dynamic-Obstacles-5x5-v0 3"),
        ({"core": LSTMSettings(16)}, "core.hidden_dim = 8, not 16"),
    ],
)
def test_agents_that_cannot_go_on_are_refused_before_training(tmp_path, trained, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        train(dataclasses.replace(SMALL, **({"init_from": str(trained)} | changes)), tmp_path / "run")
    assert not (tmp_path / "run/metrics.jsonl").exists()
