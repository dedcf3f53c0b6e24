"""Files of version 0.1 (in ``before``, written by commit dcb5f49): agents act as they did, runs resume."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from metarims import pretrained
from metarims.gridworld.types import Observation
from metarims.runs import checkpoints
from metarims.runs.export import load_agent
from metarims.runs.folder import load_agents, read_config
from metarims.runs.metrics_log import read_chunks, read_metrics
from metarims.runs.training import train
from metarims.upgrade import upgrade_metrics

BEFORE = Path(__file__).with_name("before")
RUNS = ("metarims", "vanilla")


@pytest.mark.parametrize("name", [*RUNS, *pretrained.names()])
def test_agents_act_as_before(name):
    """Policy and value of three environments over five steps; the shipped agents were converted."""
    with np.load(BEFORE / "outputs.npz") as recorded:
        given = {key: recorded[key] for key in ("codes", "direction")}
        expected = {key: recorded[f"{name}/{key}"] for key in ("tokens", "logits", "values")}
    agent = (load_agents(BEFORE / name)[0] if name in RUNS else load_agent(pretrained.find(name))).agent
    tables, state = agent.tables(jnp.asarray(expected["tokens"])), agent.initial_state(3)
    for step in range(5):
        seen = Observation(jnp.asarray(given["codes"][step]), jnp.asarray(given["direction"][step]), jnp.arange(3))
        state, output = agent.step(tables, seen, state)
        np.testing.assert_allclose(output.logits, expected["logits"][step], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(output.value, expected["values"][step], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_settings_and_metrics_have_todays_names(name):
    config, rows = read_config(BEFORE / name), read_metrics(BEFORE / name)
    assert (config.agent, config.frames, len(rows)) == (name, 2048, 4)
    assert "fast/approx_kl" in rows[0]
    assert "fast/kl" not in rows[0]
    assert ("modules/load_imbalance" in rows[0]) == (name == "metarims")
    if name == "metarims":
        assert rows[0]["modules/normalized_communication_entropy"] == pytest.approx(1.0975833 / np.log(3))
        assert "modules/active_0" not in rows[0]
        before = json.loads((BEFORE / name / "metrics.jsonl").read_text().splitlines()[0])
        for metric in ("active", "input_attention"):
            old = [before[f"modules/{metric}_{m}"] for m in (0, 1, 2)]
            assert [rows[0][f"modules/{metric}_{m}"] for m in (1, 2, 3)] == old
        assert upgrade_metrics(rows[0]) == rows[0], "today's rows stay"
    assert len(read_chunks(BEFORE / name)) == 4


@pytest.mark.usefixtures("quick_compilation")
def test_a_checkpoint_has_every_array_of_todays_state():
    from metarims.learning.trainer import make_trainer

    trainer = make_trainer(read_config(BEFORE / "metarims"))
    state = trainer.init()
    template = {"training": state, "best": [trainer.agent(state, 0)]}
    found = checkpoints.restore(BEFORE / "metarims/checkpoints", template)
    assert found.problems == ()
    assert found.notes["env_steps"] == 2048
    (saved,) = load_agents(BEFORE / "metarims")
    restored = trainer.agent(found.state["training"], 0)
    loaded = trainer.agent(trainer.load_weights(state, [saved.agent]), 0)
    for agent in (restored, loaded):
        np.testing.assert_array_equal(agent.policy.output, saved.agent.policy.output)


@pytest.mark.usefixtures("quick_compilation")
def test_a_run_resumes_as_it_would_have(tmp_path):
    shutil.copytree(BEFORE / "vanilla", tmp_path / "run")
    config = dataclasses.replace(read_config(tmp_path / "run"), frames=2560)
    assert train(config, tmp_path / "run").env_steps == 2560
    (row,) = read_metrics(tmp_path / "run")[4:]
    expected = upgrade_metrics(json.loads((BEFORE / "vanilla/continued.jsonl").read_text().splitlines()[0]))
    assert row.keys() - {"agent", "fast/gamma"} == expected.keys()  # These came later.
    for name, value in expected.items():
        assert row[name] == (value if value is None else pytest.approx(value, rel=0.05, abs=1e-3)), name


def test_without_orbax_a_checkpoint_says_how_to_resume(tmp_path, monkeypatch):
    from metarims.errors import UserError

    monkeypatch.setitem(__import__("sys").modules, "orbax.checkpoint.experimental.v1", None)
    with pytest.raises(UserError, match="pip install orbax-checkpoint") as refused:
        checkpoints.restore(BEFORE / "vanilla/checkpoints", {})
    assert refused.value.field == "checkpoint"
