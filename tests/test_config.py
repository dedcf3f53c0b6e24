"""Settings that cannot work are said in a sentence that names field, value and remedy; the rest survives JSON."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from metarims.config import PPO, Config, Loop, LRMultipliers, Network, for_agent, loops
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.fields import from_dict, to_json
from metarims.presets import PRESETS
from metarims.rules import RULES
from metarims.upgrade import upgrade_config

FAST, SLOW = Loop(span=20, rollout=40, minibatches=8), Loop(span=80, rollout=80, minibatches=8)
BASE = Config(fast=FAST, slow=SLOW, ppo=PPO(num_envs=64), core=RIMSettings(num_modules=5, num_active=3))
SIZES = ("image_dim", "word_dim", "feature_dim")
CORE_SIZES = ("num_modules", "num_active", "module_dim", "input_heads", "key_dim", "communication_dim")


def fast(**changes):
    return {"fast": dataclasses.replace(FAST, **changes)}


def slow(**changes):
    return {"slow": dataclasses.replace(SLOW, **changes)}


def network(**changes):
    return {"network": dataclasses.replace(BASE.network, **changes)}


def core(**changes):
    return {"core": dataclasses.replace(BASE.core, **changes)}


BAD = [
    ({"agent": "metarim"}, "agent"),
    ({"seeds": ()}, "seeds"),
    ({"seeds": (1, 1)}, "seeds"),
    ({"seeds": (-1,)}, "seeds"),
    ({"seeds": (2**31,)}, "seeds"),
    ({"frames": 0}, "frames"),
    ({"record_every": -5}, "record_every"),
    ({"checkpoint_every": 0}, "checkpoint_every"),
    ({"ppo": PPO(num_envs=0)}, "ppo.num_envs"),
    ({"ppo": PPO(clip=0.0)}, "ppo.clip"),
    ({"ppo": PPO(reward_scale=float("nan"))}, "ppo.reward_scale"),
    ({"ppo": PPO(adam_eps=float("inf"))}, "ppo.adam_eps"),
    ({"ppo": PPO(gamma=1.01)}, "ppo.gamma"),
    ({"ppo": PPO(gae_lambda=-0.1)}, "ppo.gae_lambda"),
    ({"ppo": PPO(value_coef=-1.0)}, "ppo.value_coef"),
    ({"ppo": PPO(entropy_coef=float("nan"))}, "ppo.entropy_coef"),
    (network(mission_dim=-1), "network.mission_dim"),
    (network(head_dim=-1), "network.head_dim"),
    (core(communication_temperature=0.0), "core.communication_temperature"),
    (core(communication_heads=-2), "core.communication_heads"),
    (core(num_active=6), "core.num_active"),
    (
        core(communication_heads=5, communication_dim=32),
        "core.communication_heads",
    ),
    *[(network(**{name: 0}), f"network.{name}") for name in SIZES],
    *[(core(**{name: 0}), f"core.{name}") for name in CORE_SIZES],
    ({"agent": "vanilla", "core": LSTMSettings(0)}, "core.hidden_dim"),
    ({"agent": "vanilla", **core(num_modules=4)}, "core"),
    *[(fast(**{f.name: type(getattr(FAST, f.name))(0)}), f"fast.{f.name}") for f in dataclasses.fields(Loop)],
    *[(slow(**{f.name: type(getattr(SLOW, f.name))(0)}), f"slow.{f.name}") for f in dataclasses.fields(Loop)],
    (fast(span=30, rollout=40), "fast.span"),
    (slow(span=60, rollout=80), "slow.span"),
    (fast(minibatches=7), "fast.minibatches"),
    (slow(minibatches=7), "slow.minibatches"),
    (slow(span=90, rollout=90), "fast.span"),
    (slow(span=60, rollout=60), "fast.rollout"),
    ({"lr_multipliers": LRMultipliers(value=-0.5)}, "lr_multipliers.value"),
    ({"ppo": PPO(lr_decay_steps=0)}, "ppo.lr_decay_steps"),
]


@pytest.mark.parametrize(("changes", "field"), BAD)
def test_what_cannot_work_is_said(changes, field):
    with pytest.raises(UserError) as error:
        dataclasses.replace(BASE, **changes)
    assert error.value.field == field


def test_a_loop_that_the_agent_does_not_use_is_not_checked():
    config = dataclasses.replace(BASE, agent="vanilla", **slow(span=7))
    assert [name for name, _ in loops(config)] == ["fast"]
    with pytest.raises(UserError) as error:
        dataclasses.replace(config, agent="metalstm")
    assert (error.value.field, error.value.value) == ("slow.span", 7)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    assert from_dict(Config, json.loads(to_json(PRESETS[name]))) == PRESETS[name]


def test_every_field_survives_json():
    config = Config(
        agent="slowlr",
        env="MiniGrid-DoorKey-5x5-v0",
        seeds=(4, 2),
        network=Network(fusion="concat"),
        core=RIMSettings(cell="gru", communication_gate=True),
        ppo=PPO(clip_value=False, gamma=0.5),
        fast=Loop(span=10, rollout=20, learning_rate=3e-4),
        encoder_speed="both",
        slow_data="reuse",
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
    odd = {"frames": 2e5, "seeds": range(2), "record_every": np.int64(512)}
    config = from_python(**odd, ppo__gamma=1, ppo__num_envs=64.0, core__key_init_scale=np.float32(0.5))
    assert from_dict(Config, json.loads(to_json(config))) == config
    found = (
        config.frames,
        config.seeds,
        config.record_every,
        config.core.key_init_scale,
        config.ppo.num_envs,
        config.ppo.gamma,
    )
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
        ({"core__cell": "LSTM"}, r"^core.cell is 'LSTM': it must be one of lstm, gru"),
        ({"core": {"num_modules": 5}}, r"core is \{'num_modules': 5\}: the core of metarims has RIMSettings"),
        ({"network": {"head_dim": 5}}, r"^network is \{'head_dim': 5\}: it must be a Network"),
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
        ({"core": {"hidden_dim": 4}}, r"Unknown field in config.core 'hidden_dim'"),
        ({"agent": "vanilla", "core": {"num_modules": 4}}, r"Unknown field in config.core 'num_modules'"),
        ({"agent": ["vanilla"], "core": {}}, r"agent is \['vanilla'\]: it must be of type str"),
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


def test_twenty_thousand_words_are_checked_at_once():
    words = tuple(f"word{number}" for number in range(20_000))
    assert Config(words=words).words == words
    with pytest.raises(UserError) as error:
        Config(words=(*words, "word7"))
    assert (error.value.field, error.value.value) == ("words", "word7")


def test_another_agent_has_the_settings_of_its_own_core():
    """Defaults of one core become those of the other; ``for_agent`` drops what the other does not have."""
    assert Config().core == RIMSettings()
    assert dataclasses.replace(Config(), agent="vanilla").core == LSTMSettings()
    sized = Config("modular", core=RIMSettings(num_modules=4))
    assert for_agent(sized, "metaflip").core == sized.core
    assert for_agent(sized, "vanilla").core == LSTMSettings()


BEFORE = {
    "network": {
        "image_dim": 8,
        "word_dim": 7,
        "mission_dim": 9,
        "fusion": "concat",
        "feature_dim": 16,
        "feature_limit": 0.5,
        "lstm_dim": 24,
        "num_modules": 4,
        "num_active": 2,
        "module_dim": 12,
        "cell": "gru",
        "input_heads": 2,
        "key_dim": 10,
        "value_dim": 20,
        "communication_heads": 3,
        "communication_dim": 15,
        "communication_gate": True,
        "router": "fixed",
        "mission_scale": 0.5,
        "key_scale": 0.25,
        "message_scale": 0.75,
        "head_dim": 11,
    },
    "rates": {"encoder": 1.0, "modules": 1.0, "attention": 0.3, "policy": 2.0, "value": 1.0},
    "slow_factor": 0.1,
    "at_episode_end": "carry",
    "ppo": {"gamma": 0.99, "rate_horizon": 1234},
}
"""Settings as version 0.1.0 wrote them, most of them not its defaults."""


@pytest.mark.parametrize("agent", RULES)
def test_settings_of_before_are_read(agent):
    config = from_dict(Config, upgrade_config(BEFORE | {"agent": agent}))
    rim = RIMSettings(
        *(4, 2, 12, "gru", 2, 10, 20),
        communication_heads=3,
        communication_dim=15,
        communication_gate=True,
        router="fixed",
        key_init_scale=0.25,
        message_init_scale=0.75,
        communication_norm=False,
    )
    network = Network(
        image_dim=8,
        word_dim=7,
        mission_dim=9,
        fusion="concat",
        film_layers=1,
        feature_dim=16,
        feature_rms_limit=0.5,
        mission_init_scale=0.5,
        head_dim=11,
    )
    attention = 0.3 * 0.1 / 0.25 if agent == "slowlr" else 0.3
    assert config == Config(
        agent=agent,
        network=network,
        core=rim if RULES[agent].core == "rim" else LSTMSettings(24),
        ppo=PPO(lr_decay_steps=1234, discount="constant"),
        lr_multipliers=LRMultipliers(attention=attention, policy=2.0),
        recurrent_state="carry",
    )
    assert upgrade_config(json.loads(to_json(config))) == json.loads(to_json(config))


def test_a_rate_that_stayed_before_still_stays():
    ppo = from_dict(Config, upgrade_config({"ppo": {"rate_horizon": 0}})).ppo
    assert (ppo.lr_schedule, ppo.lr_decay_steps) == ("constant", 300_000)
