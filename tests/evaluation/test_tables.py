"""What an evaluation says: the levels that it plays, its rows, and its file."""

import dataclasses
import io
import json
from itertools import product
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from minigrid.envs import EmptyEnv
from rich.console import Console
from tests.evaluation.test_evaluate import ENV, biased

from metarims import __version__
from metarims.errors import UserError
from metarims.evaluation import tables
from metarims.evaluation.ablations import NO_ABLATION, Ablation
from metarims.evaluation.evaluate import (
    MAX_EPISODES,
    Evaluation,
    evaluation_key,
    first_farama_seed,
    levels_of,
)
from metarims.evaluation.recording import record_agents
from metarims.evaluation.tables import (
    Result,
    evaluate_agents,
    evaluate_experiments,
    load_experiments,
    make_rows,
    print_table,
    write_json,
)
from metarims.gridworld import VOCABULARY
from metarims.gridworld.types import FIRST_EVALUATION_SEED
from metarims.presets import PRESETS
from metarims.runs.export import SavedAgent


@pytest.fixture(scope="module")
def agents():
    """Of three training seeds, which act alike."""
    agent, config = biased(left=0.25, right=0.15, forward=0.6), dataclasses.replace(PRESETS["debug"], env=ENV)
    return [SavedAgent(agent, config, seed, 100 + seed, 7, len(VOCABULARY)) for seed in (4, 5, 9)]


@pytest.mark.parametrize("where", ["jax", "farama"])
def test_an_agent_plays_the_same_levels_alone_and_beside_others(agents, where):
    together = evaluate_agents(agents, None, where, 12, ["sampled"], seed=3)
    (alone,) = evaluate_agents(agents[1:2], None, where, 12, ["sampled"], seed=3)
    for ours, theirs in zip(together[1].evaluation, alone.evaluation, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    lengths = [tuple(result.evaluation.lengths) for result in together]
    assert len(set(lengths)) == 3, "agents that act alike play levels of their own"


def test_in_farama_more_episodes_begin_with_the_same(agents):
    few, more = (evaluate_agents(agents[:1], None, "farama", number, ["greedy"], seed=1)[0] for number in (3, 8))
    np.testing.assert_array_equal(few.evaluation.lengths, more.evaluation.lengths[:3])


def test_no_two_pairs_of_seeds_share_a_level():
    pairs = list(product((0, 1, 2, 2**31 - 1), repeat=2))
    firsts = sorted(first_farama_seed(seed, trained) for seed, trained in pairs)
    assert firsts[0] == FIRST_EVALUATION_SEED
    assert min(np.diff(firsts)) >= MAX_EPISODES
    keys = {tuple(np.asarray(evaluation_key(levels_of(*pair))._base_array).tolist()) for pair in pairs}
    assert len(keys) == len(pairs)
    assert all(words[0] != 0 for words in keys), "a training seed's key begins with 0"


class Foreign(EmptyEnv):
    """Its missions have words that no agent knows."""

    def __init__(self, **kwargs):
        super().__init__(size=5, max_steps=5, **kwargs)

    def reset(self, **kwargs):
        seen, info = super().reset(**kwargs)
        self.mission = "dos i'r sgwâr gwyrdd"
        return seen | {"mission": self.mission}, info


gymnasium.register("ForeignGoal-v0", entry_point=Foreign)


def test_who_reads_no_missions_plays_whatever_they_say(agents):
    reader = agents[0]
    config = dataclasses.replace(reader.config, network=dataclasses.replace(reader.config.network, mission_dim=0))
    wordless = reader._replace(config=config)
    for saved, ablation in ((wordless, NO_ABLATION), (reader, Ablation(no_mission=True))):
        (found,) = evaluate_agents([saved], "ForeignGoal-v0", "farama", 3, ["sampled"], ablation=ablation)
        assert len(found.evaluation.lengths) == 3
        assert record_agents([saved], "ForeignGoal-v0", "farama", 1, greedy=False, ablation=ablation)
    with pytest.raises(UserError, match="not in the vocabulary"):
        evaluate_agents([reader], "ForeignGoal-v0", "farama", 3, ["sampled"])


def test_seeds_of_one_experiment_are_put_together_and_others_apart(agents, monkeypatch):
    ours, longer = agents[0].config, dataclasses.replace(agents[0].config, frames=7, seeds=(5, 9))
    held = {
        "a": [agents[0]._replace(config=ours)],
        "b": [saved._replace(config=longer) for saved in agents[1:]],
        "c": [agents[1]._replace(config=dataclasses.replace(ours, encoder_speed="both", recurrent_state="carry"))],
    }
    monkeypatch.setattr(tables, "load_agents", lambda path, best: held[str(path)])
    held["d"] = [agents[0]._replace(config=dataclasses.replace(ours, agent="modular"))]

    def seeds(*names):
        found = load_experiments([Path(name) for name in names])
        return {label: [saved.seed for saved in loaded] for label, loaded in found.items()}

    agent = ours.agent
    assert seeds("a", "b") == {agent: [4, 5, 9]}
    assert seeds("a", "c", "b") == {f"{agent}, a and 1 more": [4, 5, 9], f"{agent}, c": [5]}
    assert seeds("a", "d") == {agent: [4], "modular": [4]}
    with pytest.raises(UserError, match="a is named twice"):
        seeds("a", "b", "a")


def test_different_agents_share_levels_and_a_table(agents, tmp_path):
    """Each under its label, with a row for all of its seeds."""
    (one,) = evaluate_experiments({"x": agents[:1]}, ENV, "jax", 4, ["sampled"])
    both = evaluate_experiments({"x": agents[:2], "y [b]": agents[:1]}, ENV, "jax", 4, ["sampled"])
    assert [(found.agent, found.seed) for found in both] == [("x", 4), ("x", 5), ("y [b]", 4)]
    for found in (both[0], both[2]):
        np.testing.assert_array_equal(found.evaluation.lengths, one.evaluation.lengths)
    assert [(row.results[0].agent, row.seed) for row in make_rows(both)] == [
        ("x", 4),
        ("x", 5),
        ("x", "all"),
        ("y [b]", 4),
    ]
    text = text_of(both)
    assert f"x and y [b] on {ENV}" in text
    assert "y [b]" in text.split("success")[1]
    write_json(tmp_path / "found.json", both, [Path("a")], best=False, seed=0)
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["agent"] for row in rows] == ["x", "x", "x", "y [b]"]
    assert [row.get("env_steps") for row in rows] == [104, 105, None, 104]
    assert not any("episode_success" in row for row in rows)


def test_that_agents_are_of_different_steps_is_said():
    assert "different numbers of steps, 101 to 103." in text_of([result(1, 2), result(3, 2)])
    assert "different numbers of steps" not in text_of([result(1, 2), result(1, 2, "greedy")])


def result(seed, success, policy="sampled", ablation=NO_ABLATION, env=ENV):
    """Of four episodes."""
    success = np.arange(4) < success
    played = Evaluation(success, success * 0.5, np.full(4, 7), np.full(4, np.nan))
    return Result("vanilla", seed, env, "jax", policy, played, ablation, 100 + seed)


def text_of(results):
    text = io.StringIO()
    print_table(results, Console(file=text, width=120))
    return text.getvalue()


def test_the_file_has_every_row_of_the_table(tmp_path):
    results = [result(seed, seed, policy) for policy in ("greedy", "sampled") for seed in (1, 2, 3)]
    write_json(tmp_path / "found.json", results, [Path("runs/x")], best=True, seed=8, episodes=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert {name: found[name] for name in found if name != "rows"} == {
        "metarims": __version__,
        "runs": ["runs/x"],
        "best": True,
        "seed": 8,
    }
    assert [(row["policy"], row["seed"]) for row in found["rows"]] == [
        (policy, seed) for policy in ("greedy", "sampled") for seed in (1, 2, 3, "all", "over seeds")
    ]
    printed = [line.split("│") for line in text_of(results).splitlines() if line.startswith("│")]
    for row, (_, policy, seed, success, mean_return, length, _) in zip(found["rows"], printed, strict=True):
        assert (row["policy"], str(row["seed"])) == (policy.strip(), seed.strip())
        interval = f"{row['success']:.3f} [{row['success_low']:.3f}, {row['success_high']:.3f}]"
        assert interval == success.strip()
        assert f"{row['mean_return']:.3f} {row['mean_length']:.1f}" == f"{mean_return.strip()} {length.strip()}"
        assert row["episodes"] == (4 if isinstance(row["seed"], int) else 12)
    assert [row["env_steps"] for row in found["rows"] if isinstance(row["seed"], int)] == [101, 102, 103] * 2
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text().partition("## `metarims evaluate`")[2]
    assert [name for name in found | found["rows"][0] if f"`{name}`" not in page] == [], "every field is explained"


def test_how_agents_were_played_is_named_as_the_flags_are():
    how = Ablation(np.inf, no_memory=True, no_mission=True)
    (row,) = map(tables.as_dict, make_rows([result(0, 2, ablation=how)]))
    assert (row["temperature"], row["no_memory"], row["no_mission"]) == ("inf", True, True)
    modules = Ablation(messages="off", input_attention="average", router="random")
    (row,) = map(tables.as_dict, make_rows([result(0, 2, ablation=modules)]))
    assert (row["messages"], row["input_attention"], row["router"]) == ("off", "average", "random")
    assert ", without messages, input attention averaged, random modules active\n" in text_of(
        [result(0, 2, ablation=modules)]
    )
    results = [result(0, 2, "greedy", Ablation(no_memory=True)), result(0, 2, ablation=Ablation(2.0, no_memory=True))]
    assert [tables.as_dict(row)["temperature"] for row in make_rows(results)] == [1.0, 2.0]
    assert "episodes per seed and policy, without memory, sampled at temperature 2\n" in text_of(results)
    assert "temperature" not in text_of(results[:1])


def test_that_a_task_has_one_mission_is_said_where_it_is_played_without_words():
    no_mission, door = Ablation(no_mission=True), "MiniGrid-DoorKey-5x5-v0"
    assert f"{door} has only one mission" in text_of([result(0, 2, ablation=no_mission, env=door)])
    assert "only one mission" not in text_of([result(0, 2, ablation=no_mission, env="BabyAI-GoToLocal-v0")])
    assert "only one mission" not in text_of([result(0, 2, env=door)])
