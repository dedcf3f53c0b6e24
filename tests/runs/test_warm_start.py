"""Runs whose agents start from the weights of trained ones."""

import dataclasses
import shutil
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.agent import make_agent
from metarims.config import Config, Network, core_settings
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.gridworld import VOCABULARY, make
from metarims.learning.trainer import Trainer
from metarims.runs import training
from metarims.runs.export import named_arrays
from metarims.runs.folder import load_agents

SMALL = Config(
    agent="vanilla",
    env="BabyAI-GoToObjS4-v0",
    frames=128,
    seeds=(3, 5),
    network=Network(image_dim=4, word_dim=4, mission_dim=4, feature_dim=8, head_dim=4),
    core=LSTMSettings(8),
)


class AddingTrainer(Trainer):
    """Its agents are the library's own; a chunk adds one to every parameter."""

    frames_per_chunk, updates_per_chunk, terms, step = 128, 1, ("fast/value_loss",), 1.0

    def __init__(self, config):
        self.config = config
        self.envs = SimpleNamespace(num_actions=make(config.env).num_actions, vocabulary=VOCABULARY)

    def init(self):
        config, counts = self.config, {"num_actions": self.envs.num_actions, "num_words": len(VOCABULARY)}
        keys = map(jax.random.key, config.seeds)
        return self._stack([make_agent(config.network, core_settings(config), **counts, key=key) for key in keys])

    def _stack(self, agents):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *agents)

    def load_weights(self, state, agents):
        return self._stack(agents)

    def compile(self, state):
        pass

    def run_chunk(self, state):
        zeros = np.zeros(len(self.config.seeds))
        names = ("return", "success", "fault/update", "fault/term", "fault/value")
        state = jax.tree.map(lambda leaf: leaf + self.step if eqx.is_array(leaf) else leaf, state)
        return state, dict.fromkeys(names, zeros) | {"episodes": zeros.astype(int)}

    def agent(self, state, index):
        return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, state)

    def to_checkpoint(self, state):
        return state

    def resume(self, kept):
        return kept, ""

    def reseed(self, state, numbers):
        raise NotImplementedError

    select_seeds = reseed


class FrozenTrainer(AddingTrainer):
    step = 0.0


def train(config, out, make_trainer=AddingTrainer):
    return training.train(config, out, make_trainer=make_trainer)


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
    train(dataclasses.replace(SMALL, seeds=(5, 3), init_from=str(trained)), tmp_path / "run", FrozenTrainer)
    found, wanted = weights(tmp_path / "run"), weights(trained)
    for seed in (3, 5):
        np.testing.assert_equal(found[seed], wanted[seed])


def test_all_seeds_begin_with_one_agent(tmp_path, trained):
    file = trained / "agents/seed-5.safetensors"
    train(dataclasses.replace(SMALL, seeds=(0, 1), init_from=str(file)), tmp_path / "run", FrozenTrainer)
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


def test_a_folder_that_was_only_claimed_takes_other_agents_to_begin_with(tmp_path, trained):
    run = tmp_path / "run"
    train(dataclasses.replace(SMALL, init_from=str(trained)), run)
    for left in ("metrics.jsonl", "speed.jsonl"):
        (run / left).unlink()
    for left in ("checkpoints", "agents"):
        shutil.rmtree(run / left)
    file = trained / "agents/seed-5.safetensors"
    train(dataclasses.replace(SMALL, init_from=str(file)), run, FrozenTrainer)
    np.testing.assert_equal(weights(run)[3], weights(trained)[5])


class OtherWords(AddingTrainer):
    """Its task has other words; begins with the weights as they are."""

    step, words = 0.0, ("gem", *reversed(VOCABULARY[:5]), "shiny")

    def __init__(self, config):
        super().__init__(config)
        self.envs.vocabulary = self.words


class Notes:
    """Keeps what a run reports at its beginning."""

    found = ()

    def begin(self, config, env_steps, problems):
        self.found = problems

    def chunk(self, report):
        pass


def test_shared_words_keep_what_was_learned_of_them(tmp_path, trained):
    config, notes = dataclasses.replace(SMALL, init_from=str(trained)), Notes()
    training.train(config, tmp_path / "run", notes, OtherWords)
    assert any("7 words" in note and "know 5; 2 begin fresh: gem shiny" in note for note in notes.found)
    name = "encoder.mission.words"
    for seed, found in weights(tmp_path / "run").items():
        before = weights(trained)[seed]
        assert found[name].shape == (8, 4)
        np.testing.assert_array_equal(found[name][0], before[name][0])
        np.testing.assert_array_equal(found[name][2:7], before[name][5:0:-1])
        assert (np.abs(found[name][[1, 7]]).sum(1) > 0).all()
        for other in before.keys() - {name}:
            np.testing.assert_array_equal(found[other], before[other])
    training.train(dataclasses.replace(config, frames=256), tmp_path / "run", notes, OtherWords)
    assert not any("begin fresh" in note for note in notes.found)


def test_agents_without_missions_begin_any_task(tmp_path):
    silent = dataclasses.replace(SMALL, network=dataclasses.replace(SMALL.network, mission_dim=0))
    train(silent, tmp_path / "first")
    config, notes = dataclasses.replace(silent, init_from=str(tmp_path / "first")), Notes()
    training.train(config, tmp_path / "run", notes, OtherWords)
    for seed, found in weights(tmp_path / "run").items():
        np.testing.assert_equal(found, weights(tmp_path / "first")[seed])
    assert notes.found == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"init_from": "doorkay"}, "init_from is 'doorkay': it does not exist"),
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
