import dataclasses
import json
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy

from metarims.agents.agent import make_agent
from metarims.errors import UserError
from metarims.fields import to_json
from metarims.gridworld import VOCABULARY
from metarims.presets import PRESETS
from metarims.runs.export import FORMAT, SavedAgent, load_agent, named_arrays, save_agent

DEBUG = PRESETS["debug"]


def saved_agent(name="metarims"):
    config = dataclasses.replace(DEBUG, agent=name)
    agent = make_agent(config.network, config.core, num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(3))
    return SavedAgent(agent, config, seed=4, env_steps=5_000_000_000, num_actions=7, num_words=len(VOCABULARY))


@pytest.fixture
def path(tmp_path):
    save_agent(tmp_path / "agent.safetensors", saved_agent())
    return tmp_path / "agent.safetensors"


def rewrite(path, arrays=None, about=None, metadata=None):
    """Change the tensors or the metadata of an agent's file."""
    with safetensors.safe_open(path, framework="numpy") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = json.loads(file.metadata()[FORMAT])
    held = (arrays or (lambda a: a))(held)
    known = (about or (lambda a: a))(known)
    path.write_bytes(safetensors.numpy.save(held, metadata=metadata or {FORMAT: json.dumps(known)}))


@pytest.mark.parametrize("name", ["metarims", "vanilla"])
def test_an_agent_comes_back_whole(tmp_path, name):
    before = saved_agent(name)
    save_agent(tmp_path / "a.safetensors", before)
    after = load_agent(tmp_path / "a.safetensors")
    assert after[1:] == before[1:]
    assert jax.tree.structure(after.agent) == jax.tree.structure(before.agent)
    jax.tree.map(np.testing.assert_array_equal, after.agent, before.agent)


def test_the_same_agent_is_the_same_file(tmp_path, path):
    save_agent(tmp_path / "again.safetensors", saved_agent())
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_parameters_have_readable_names():
    names = named_arrays(saved_agent().agent)
    assert {"policy.bias", "value.output", "encoder.mission.words"} <= set(names)


def test_the_network_comes_from_the_file(tmp_path):
    wide = saved_agent()
    config = dataclasses.replace(wide.config, network=dataclasses.replace(wide.config.network, head_dim=11))
    agent = make_agent(config.network, config.core, num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(0))
    save_agent(tmp_path / "a.safetensors", wide._replace(agent=agent, config=config))
    assert load_agent(tmp_path / "a.safetensors").agent.policy.hidden.shape[1] == 11


def spoil(name):
    """Ways in which a file is not an agent, and what is said."""

    def drop(arrays):
        arrays.pop("policy.bias")
        return arrays

    cases = {
        "missing tensor": ({"arrays": drop}, "policy.bias is absent"),
        "extra tensor": ({"arrays": lambda a: a | {"backdoor": np.zeros(2)}}, "backdoor is"),
        "shape": ({"arrays": lambda a: a | {"policy.bias": np.zeros(8, np.float32)}}, r"float32\[8\].*\[7\]"),
        "dtype": ({"arrays": lambda a: a | {"policy.bias": np.zeros(7, np.float64)}}, "policy.bias is float64"),
        "nan": ({"arrays": lambda a: a | {"policy.bias": np.full(7, np.nan, np.float32)}}, "policy.bias holds numbers"),
        "foreign": ({"metadata": {"format": "pt"}}, "its metadata has no 'metarims-agent-2' .found: format."),
        "not json": ({"metadata": {FORMAT: "{"}}, "not valid JSON"),
        "deep json": ({"metadata": {FORMAT: "[" * 100_000}}, "not valid JSON"),
        "a list": ({"metadata": {FORMAT: "[1]"}}, "it must be an object"),
        "no config": ({"about": lambda a: {k: v for k, v in a.items() if k != "config"}}, "has no config"),
        "config list": ({"about": lambda a: a | {"config": []}}, "config must be an object"),
        "unknown field": ({"about": lambda a: a | {"config": a["config"] | {"evil": 1}}}, "Unknown field .*'evil'"),
        "unknown agent": ({"about": lambda a: a | {"config": a["config"] | {"agent": "os"}}}, "Unknown agent 'os'"),
        "text count": ({"about": lambda a: a | {"num_actions": "7"}}, "num_actions is .7.: it must be a whole number"),
        "huge count": ({"about": lambda a: a | {"num_words": 10**9}}, "num_words is 1000000000"),
        "other count": ({"about": lambda a: a | {"num_actions": 6}}, r"policy\.\w+ is float32"),
        "negative": ({"about": lambda a: a | {"seed": -1}}, "seed is -1"),
        "huge net": (
            {"about": lambda a: a | {"config": a["config"] | {"network": {"feature_dim": 10**12}}}},
            "settings",
        ),
    }
    return cases if name is None else cases[name]


@pytest.mark.parametrize("name", list(spoil(None)))
def test_what_is_not_exactly_an_agent_is_refused(path, name):
    change, message = spoil(name)
    rewrite(path, **change)
    with pytest.raises(UserError, match=message):
        load_agent(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        (10**6).to_bytes(8, "little") + b"{}",
        pickle.dumps(Bomb()),
        to_json(DEBUG).encode(),
    ],
    ids=["empty", "short", "ones", "huge header", "long header", "pickle", "json"],
)
def test_other_files_are_refused_and_never_run(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"not a readable safetensors file .*: name a run's folder, or"):
        load_agent(tmp_path / "a.safetensors")


def test_flipped_header_bytes_are_a_sentence_or_the_same_agent(path):
    data, original = path.read_bytes(), load_agent(path)
    header = int.from_bytes(data[:8], "little")
    generator = np.random.default_rng(0)
    refused = 0
    for at in generator.integers(0, 8 + header, 150):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(generator.integers(8)))]) + data[at + 1 :])
        try:
            found = load_agent(path)
        except UserError:
            refused += 1
        else:
            assert jax.tree.structure(found.agent) == jax.tree.structure(original.agent)
    assert refused > 50


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_agent(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_agent(tmp_path)


def test_an_agent_keeps_its_own_words(tmp_path):
    words = (*VOCABULARY[:-1], "gem")
    save_agent(tmp_path / "a.safetensors", saved_agent()._replace(words=words))
    assert load_agent(tmp_path / "a.safetensors").vocabulary == words
    assert saved_agent().vocabulary == VOCABULARY
    for wrong, message in (("gem", "words is .* a list"), (["gem"], "different words"), ([1, 2], "words.0. is 1")):
        rewrite(tmp_path / "a.safetensors", about=lambda known, wrong=wrong: known | {"words": wrong})
        with pytest.raises(UserError, match=message):
            load_agent(tmp_path / "a.safetensors")


def test_a_flipped_bit_in_the_parameters_is_noticed(path):
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for at in range(begin, len(data), (len(data) - begin) // 40):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UserError, match=r"is damaged: it does not match its checksum|not finite"):
            load_agent(path)


def test_a_file_without_a_checksum_is_an_agent(path):
    before = load_agent(path).agent
    rewrite(path, about=lambda known: {name: value for name, value in known.items() if name != "sha256"})
    jax.tree.map(np.testing.assert_array_equal, load_agent(path).agent, before)
