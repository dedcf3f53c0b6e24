"""Settings that cannot work are said in a sentence that names field, value and remedy; the rest survives JSON."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from metarims.config import PPO, Config, Loop, LRMultipliers, Network, loops
from metarims.errors import UserError
from metarims.fields import from_dict, to_json
from metarims.presets import PRESETS

FAST, SLOW = Loop(span=20, rollout=40, minibatches=8), Loop(span=80, rollout=80, minibatches=8)
BASE = Config(fast=FAST, slow=SLOW, ppo=PPO(num_envs=64), network=Network(num_modules=5, num_active=3))
SIZES = (
    "image_dim",
    "word_dim",
    "feature_dim",
    "lstm_dim",
    "num_modules",
    "num_active",
    "module_dim",
    "input_heads",
    "key_dim",
    "value_dim",
    "communication_dim",
)


def fast(**changes):
    return {"fast": dataclasses.replace(FAST, **changes)}


def slow(**changes):
    return {"slow": dataclasses.replace(SLOW, **changes)}


def network(**changes):
    return {"network": dataclasses.replace(BASE.network, **changes)}


BAD = [
    ({"agent": "metarim"}, r"Unknown agent 'metarim'. Did you mean metarims"),
    ({"seeds": ()}, r"seeds is empty: name at least one seed"),
    ({"seeds": (1, 1)}, r"seeds \(1, 1\) must be distinct"),
    ({"seeds": (-1,)}, r"seeds \(-1,\) must be .* from 0"),
    ({"seeds": (2**31,)}, r"seeds \(2147483648,\) must be .* to 2147483647"),
    ({"frames": 0}, r"frames is 0: it must be greater than zero"),
    ({"record_every": -5}, r"record_every is -5"),
    ({"checkpoint_every": 0}, r"checkpoint_every is 0"),
    ({"ppo": PPO(num_envs=0)}, r"ppo.num_envs is 0"),
    ({"ppo": PPO(clip=0.0)}, r"ppo.clip is 0.0"),
    ({"ppo": PPO(reward_scale=float("nan"))}, r"ppo.reward_scale is nan"),
    ({"ppo": PPO(adam_eps=float("inf"))}, r"ppo.adam_eps is inf: it must be .* finite"),
    ({"ppo": PPO(gamma=1.01)}, r"ppo.gamma is 1.01: it must lie between 0 and 1"),
    ({"ppo": PPO(gae_lambda=-0.1)}, r"ppo.gae_lambda is -0.1: it must lie between 0 and 1"),
    ({"ppo": PPO(value_coef=-1.0)}, r"ppo.value_coef is -1.0: it must be zero or more"),
    ({"ppo": PPO(entropy_coef=float("nan"))}, r"ppo.entropy_coef is nan: it must be zero or more"),
    (network(mission_dim=-1), r"network.mission_dim is -1: it must be zero or more"),
    (network(head_dim=-1), r"network.head_dim is -1: it must be zero or more"),
    (network(communication_heads=-2), r"network.communication_heads is -2: it must be zero or more"),
    (network(num_active=6), r"network.num_active is 6, but there are only 5 modules \(network.num_modules"),
    (
        network(communication_heads=5, communication_dim=32),
        r"network.communication_heads \(5\) does not divide network.communication_dim \(32\)",
    ),
    *[(network(**{name: 0}), rf"network.{name} is 0: it must be greater than zero") for name in SIZES],
    *[(fast(**{f.name: type(getattr(FAST, f.name))(0)}), rf"fast.{f.name} is 0") for f in dataclasses.fields(Loop)],
    *[(slow(**{f.name: type(getattr(SLOW, f.name))(0)}), rf"slow.{f.name} is 0") for f in dataclasses.fields(Loop)],
    (fast(span=30, rollout=40), r"fast.span \(30\) does not divide fast.rollout \(40\)"),
    (slow(span=60, rollout=80), r"slow.span \(60\) does not divide slow.rollout \(80\)"),
    (fast(minibatches=7), r"fast.minibatches \(7\) does not divide the 128 spans .*ppo.num_envs 64"),
    (slow(minibatches=7), r"slow.minibatches \(7\) does not divide the 64 spans .*slow.rollout 80 / slow.span 80"),
    (slow(span=90, rollout=90), r"fast.span \(20\) does not divide slow.span \(90\)"),
    (slow(span=60, rollout=60), r"fast.rollout \(40\) does not divide slow.rollout \(60\)"),
    ({"lr_multipliers": LRMultipliers(value=-0.5)}, r"lr_multipliers.value is -0.5: it must be zero or more"),
    ({"slow_factor": 0.0}, r"slow_factor is 0.0: it must be greater than 0 and at most 1"),
    ({"slow_factor": 1.5}, r"slow_factor is 1.5: it must be greater than 0 and at most 1"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_what_cannot_work_is_said(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        dataclasses.replace(BASE, **changes)


def test_a_loop_that_the_agent_does_not_use_is_not_checked():
    config = dataclasses.replace(BASE, agent="vanilla", **slow(span=7))
    assert [name for name, _ in loops(config)] == ["fast"]
    with pytest.raises(UserError, match=r"slow.span \(7\)"):
        dataclasses.replace(config, agent="metalstm")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    assert from_dict(Config, json.loads(to_json(PRESETS[name]))) == PRESETS[name]


def test_every_field_survives_json():
    config = Config(
        agent="slowlr",
        env="MiniGrid-DoorKey-5x5-v0",
        seeds=(4, 2),
        network=Network(cell="gru", fusion="concat", communication_gate=True),
        ppo=PPO(clip_value=False, gamma=0.5),
        fast=Loop(span=10, rollout=20, learning_rate=3e-4),
        encoder_speed="both",
        slow_data="reuse",
        slow_factor=0.75,
        lr_multipliers=LRMultipliers(policy=0.5),
        recurrent_state="carry",
    )
    again = from_dict(Config, json.loads(to_json(config)))
    assert again == config
    assert isinstance(again.seeds, tuple)


def from_python(**changes):
    """A configuration as Python makes it where nobody checks types, as these tests do: behind their back.
    ``ppo__gamma``: of a section."""
    config = copy.deepcopy(BASE)
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        object.__setattr__(getattr(config, section) if section else config, field, value)
    config.__post_init__()
    return config


def test_settings_from_python_are_what_a_file_would_hold():
    odd = {"frames": 2e5, "seeds": range(2), "record_every": np.int64(512), "slow_factor": np.float32(0.5)}
    config = from_python(**odd, ppo__gamma=1, ppo__num_envs=64.0)
    assert from_dict(Config, json.loads(to_json(config))) == config
    found = config.frames, config.seeds, config.record_every, config.slow_factor, config.ppo.num_envs, config.ppo.gamma
    assert found == (200_000, (0, 1), 512, 0.5, 64, 1)
    assert [type(value) for value in found] == [int, tuple, int, float, int, float]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"frames": "100"}, r"^frames is '100': it must be of type int"),
        ({"frames": 1.5}, r"^frames is 1.5: it must be of type int"),
        ({"frames": float("nan")}, r"^frames is nan: it must be of type int"),
        ({"seeds": 3}, r"^seeds is 3: it must be a list"),
        ({"seeds": ["x"]}, r"^seeds\[0\] is 'x': it must be of type int"),
        ({"words": "walk"}, r"^words is 'walk': it must be a list"),
        ({"agent": None}, r"^agent is None: it must be of type str"),
        ({"env": 5}, r"^env is 5: it must be of type str"),
        ({"slow_data": "Reuse"}, r"^slow_data is 'Reuse': it must be one of fresh, reuse"),
        ({"network__cell": "LSTM"}, r"^network.cell is 'LSTM': it must be one of lstm, gru"),
        ({"network": {"num_modules": 5}}, r"^network is \{'num_modules': 5\}: it must be a Network"),
        ({"ppo__gamma": "a"}, r"^ppo.gamma is 'a': it must be of type float"),
        ({"ppo__clip_value": 1}, r"^ppo.clip_value is 1: it must be of type bool"),
    ],
)
def test_settings_of_another_type_from_python_are_a_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        from_python(**changes)


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"agnt": "vanilla"}, r"Unknown field in config 'agnt'. Did you mean agent"),
        ({"ppo": {"gama": 0.9}}, r"Unknown field in config.ppo 'gama'. Did you mean gamma"),
        ({"frames": "many"}, r"config.frames is 'many': it must be of type int"),
        ({"frames": True}, r"config.frames is True: it must be of type int"),
        ({"frames": 1.5}, r"config.frames is 1.5: it must be of type int"),
        ({"ppo": {"gamma": "high"}}, r"config.ppo.gamma is 'high': it must be of type float"),
        ({"ppo": {"clip_value": 1}}, r"config.ppo.clip_value is 1: it must be of type bool"),
        ({"ppo": 3}, r"config.ppo must be an object with fields, not 3"),
        ({"seeds": 3}, r"config.seeds is 3: it must be a list"),
        ({"seeds": [0, "x"]}, r"config.seeds\[1\] is 'x': it must be of type int"),
        ({"slow_data": "old"}, r"config.slow_data is 'old': it must be one of fresh, reuse"),
        ({"fast": {"span": 20}}, r"config.fast.rollout is missing"),
        ({"fast": {}}, r"config.fast.span is missing"),
        ([1], r"config must be an object with fields, not \[1\]"),
        ({"ppo": {"gamma": 10**400}}, r"config.ppo.gamma is 1000.*: it must be below 1.8e308"),
        ({"frames": nested(900)}, r"config.frames is \[\[\[\[\[\[\[?...\]+: it must be of type int"),
        ({"a\nb": 1}, r"^Unknown field in config 'a\\nb'[^\n]*$"),
        ({"fast": {"span": 4, "rollout": 4, "learning_rate": 1e300}}, r"fast.learning_rate is 1e\+300: .*below 3e38"),
        ({"frames": -1}, r"frames is -1"),
    ],
)
def test_a_damaged_configuration_is_said(values, sentence):
    with pytest.raises(UserError, match=sentence):
        from_dict(Config, values)


def test_whole_numbers_are_welcome_where_fractions_are():
    gamma = from_dict(Config, {"ppo": {"gamma": 1}}).ppo.gamma
    assert (gamma, type(gamma)) == (1.0, float)


def test_a_hundred_thousand_words_are_checked_at_once():
    words = tuple(f"word{number}" for number in range(100_000))
    assert Config(words=words).words == words
    with pytest.raises(UserError, match="words holds 'word7' twice"):
        Config(words=(*words, "word7"))
