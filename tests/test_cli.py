"""The command line as a user meets it, in this process: exit codes, errors, files. ``test_program.py`` starts it."""

import dataclasses
import errno
import io
import itertools
import json
import os
import re
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conftest import CACHE

from metarims import __version__, cli, presets
from metarims.cli import expand_home
from metarims.commands.common import print_notes, program, status
from metarims.commands.train import TrainCommand
from metarims.errors import UserError
from metarims.gridworld import make
from metarims.runs.folder import read_config
from metarims.runs.training import TrainResult, train
from metarims.runtime import cache_folder, enable_compile_cache

RUN = ["--preset", "debug", "--frames", "2048", "--seeds", "0", "1"]
"""The settings of ``trained_run``."""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module", autouse=True)
def environment(quick_module):
    """One compile cache for all, and a wide terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARIMS_CACHE", str(CACHE))
        patch.setenv("COLUMNS", "200")
        yield


def metarims(*arguments):
    """Run the program in this process."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error), pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, arguments)))
    return Done(ended.value.code, out.getvalue(), error.getvalue())


def succeeds(*arguments):
    """What the program prints."""
    done = metarims(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments):
    """The error for invalid input: exit code 2 and no traceback."""
    done = metarims(*arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def evaluated(tmp_path, *arguments):
    """What ``metarims evaluate`` writes: in JAX, sampled actions, unless other flags follow."""
    file = tmp_path / "found.json"
    flags = ("--backend", "jax", "--episodes", 6, "--policy", "sampled", "--json", file, "--json-episodes")
    text = succeeds("evaluate", *flags, *arguments)
    return json.loads(file.read_text()), text


def test_the_expert_plays_beside_a_run(trained_run, tmp_path):
    found, text = evaluated(tmp_path, trained_run, "expert", "--env", "BabyAI-GoToObj-v0")
    assert [row["agent"] for row in found["rows"]][-1] == "expert"
    assert found["rows"][-1]["success"] == 1
    assert "expert on BabyAI-GoToObj-v0 (JAX environment), 6 episodes" in text


@pytest.mark.parametrize("backend", ["jax", "farama"])
def test_a_person_plays(monkeypatch, backend):
    """In a room of 3 x 3 cells: right, down, and there is the goal; a key that means nothing does nothing."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("wwxdwwn"))
    text = succeeds("play", "--env", "MiniGrid-Empty-5x5-v0", "--backend", backend)
    assert "get to the green goal square" in text
    assert "step 5 of 100" in text
    assert "step 6 of 100" not in text
    assert ">>" in text
    assert "return 0.955" in text
    assert "1 episodes played, 1 solved" in text


def test_whoever_plays_mazes_is_told_how_many_there_are(capsys):
    print_notes("MiniGrid-WFC-MazeSimple-v0+MiniGrid-Empty-5x5-v0")
    told = capsys.readouterr().err
    number = len(make("MiniGrid-WFC-MazeSimple-v0").walls)
    assert told.startswith(f"Note: MiniGrid-WFC-MazeSimple-v0 has {number} mazes")
    assert "Empty" not in told
    print_notes("BabyAI-BossLevel-v0")
    assert capsys.readouterr().err == ""


def test_playing_an_unknown_environment_is_refused():
    assert "MiniGrid-Empty-5x5-v0" in refused("play", "--env", "MiniGrid-Empty-5x5-v3")


def test_help_names_the_commands_and_every_setting():
    text = succeeds("--help")
    assert all(command in text for command in cli.COMMANDS)
    assert "Union" not in succeeds("study", "--help")
    text = succeeds("train", "--help-all")
    for flag in ("--core.module-dim", "--ppo.gae-lambda", "--fast.span", "--slow.learning-rate", "--seeds", "--out"):
        assert flag in text
    assert not any(odd in " ".join(text.split()) for odd in ("default: )", "default: '')", "``"))


@pytest.mark.parametrize("width", [80, 140])
def test_help_of_train_fits_and_is_short(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text, whole = succeeds("train", "--help"), succeeds("train", "--help-all")
    listed = set(re.findall(r"^│ (--[a-z-]+)", text, re.MULTILINE))
    assert listed == {"--agent", "--env", "--frames", "--seeds", "--out", "--preset", "--devices", "--log"}
    assert "--help-all" in text
    commands = [[], *([name] for name in cli.COMMANDS), *(["study", name] for name in cli.STUDY)]
    helps = [succeeds(*words, "--help") for words in commands]
    assert max(len(line) for text in (whole, *helps) for line in text.splitlines()) <= width


def test_help_is_wrapped_by_the_width_alone(monkeypatch):
    """The next word would not have fitted, wherever the docstring's own lines end."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line[1:-1].rstrip() for line in succeeds("train", "--help-all").splitlines() if line.startswith("│")]
    indent, wrapped = " " * 26, 0
    for line, following in itertools.pairwise(lines):
        if line.startswith(indent) and following.startswith(indent):
            wrapped += 1
            assert len(line) + 1 + len(following.split()[0]) > 77, line
    assert wrapped > 50


def test_the_version():
    assert metarims("--version") == (0, f"metarims {__version__}\n", "")


def test_a_finished_run_is_left_as_it_is(run_copy):
    before = (run_copy / "metrics.jsonl").read_bytes()
    assert "finished" in succeeds("train", *RUN, "--out", run_copy)
    assert (run_copy / "metrics.jsonl").read_bytes() == before


@pytest.fixture
def asked(monkeypatch):
    """The configurations that ``metarims train`` trains, with training left out."""
    configs = []
    monkeypatch.setattr(
        "metarims.runs.training.train", lambda config, *_: configs.append(config) or TrainResult(True, 0)
    )
    return configs


@pytest.mark.parametrize(
    ("written", "seeds"),
    [("2048", ["0", "1e1"]), ("2_048", ["0,10"]), ("2.048e3", ["0,", "10"]), ("2.048k", ["0", "0.01k"])],
)
def test_whole_numbers_as_people_write_them(written, seeds, asked, tmp_path):
    succeeds("train", "--frames", written, "--seeds", *seeds, "--out", tmp_path / "run")
    assert (asked[0].frames, asked[0].seeds) == (2048, (0, 10))


@pytest.mark.parametrize("no", ["False", "false"])
def test_truth_values_as_sweeps_write_them(no, asked, tmp_path):
    given = [f"--ppo.normalize_advantages={no}", "--ppo.clip-value=True", f"--core.communication-norm={no}"]
    succeeds("train", "--agent", "metarims", *given, "--out", tmp_path / "run")
    assert (asked[0].ppo.clip_value, asked[0].ppo.normalize_advantages) == (True, False)
    assert asked[0].core.communication_norm is False
    for wrong in ("--ppo.clip=True", "--ppo.clip-valu=False"):
        assert metarims("train", wrong, "--out", tmp_path / "run").returncode == 2


def test_a_run_can_take_the_settings_of_another(trained_run, asked, tmp_path):
    succeeds("train", "--config-from", trained_run, "--seeds", "7", "--frames", "1024", "--out", tmp_path)
    assert asked == [dataclasses.replace(read_config(trained_run), seeds=(7,), frames=1024)]


def test_settings_without_effect_are_reported(asked, tmp_path):
    given = ["--slow-data", "fresh", "--slow.epochs", "2", "--fast.epochs", "8", "--ppo.gamma", "0.9"]
    done = metarims("train", "--preset", "debug", "--agent", "vanilla", *given, "--out", tmp_path)
    assert done.returncode == 0
    named = [name for name in ("fast.epochs", "slow.epochs", "slow_data", "gamma") if name in done.stderr]
    assert named == ["slow.epochs", "slow_data"]


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (TrainResult(False, 512), 0, ("512", "To resume: ")),
        (TrainResult(True, 2048, (1,)), 3, ("seed 1", "events.jsonl")),
        (TrainResult(True, 512, (0, 1)), 3, ("seeds 0 1", "events.jsonl")),
    ],
)
def test_how_training_ended(monkeypatch, tmp_path, result, code, words):
    monkeypatch.setattr("metarims.runs.training.train", lambda *_, **__: result)
    done = metarims("train", *RUN, "--out", tmp_path)
    assert done.returncode == code
    assert all(word in done.stdout + done.stderr for word in words)


def test_evaluation_with_both_backends(trained_run, tmp_path):
    for backend in ("jax", "farama"):
        found, text = evaluated(
            tmp_path, trained_run, "--backend", backend, "--policy", "both" if backend == "jax" else "sampled"
        )
        assert (found["runs"], found["best"], found["seed"]) == ([str(trained_run)], False, 0)
        policies = ("greedy", "sampled") if backend == "jax" else ("sampled",)
        seeds = [(row["policy"], row["seed"]) for row in found["rows"]]
        assert seeds == [(policy, seed) for policy in policies for seed in (0, 1, "all")]
        for result in (row for row in found["rows"] if row["seed"] != "all"):
            assert (result["backend"], result["env_steps"]) == (backend, 2048)
            assert result["episodes"] == 6 == len(result["episode_return"])
            assert result["success"] == sum(result["episode_success"]) / 6
            assert result["success_low"] <= result["success"] <= result["success_high"]
            assert f"{result['success']:.3f} [" in text


def test_a_run_and_files_of_its_agents_give_the_same_figures(trained_run, tmp_path):
    """Of the last agents, together or one by one, and of the best; wherever the files are."""
    files = [trained_run / f"agents/seed-{seed}.safetensors" for seed in (0, 1)]
    together, _ = evaluated(tmp_path, trained_run)
    apart, _ = evaluated(tmp_path, *files)
    assert together["rows"] == apart["rows"]
    assert apart["runs"] == [str(file) for file in files]
    rows = evaluated(tmp_path, trained_run, files[1])[0]["rows"]  # One table, in which an agent may be named twice.
    of_run, of_file = (row for row in rows if row["seed"] == 1)
    assert (of_run["agent"], of_file["agent"]) == ("metarims, run", "metarims, seed-1.safetensors")
    assert of_file | {"agent": ""} == of_run | {"agent": ""}
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(files[1].read_bytes())
    assert evaluated(tmp_path, moved)[0]["rows"][0] == together["rows"][1]
    best, text = evaluated(tmp_path, trained_run, "--best")
    assert best["best"]
    assert all(f"seed {row['seed']} at step {row['env_steps']:,}" in text for row in best["rows"][:2])
    file = trained_run / "agents/best-seed-0.safetensors"
    assert evaluated(tmp_path, file)[0]["rows"][0] == best["rows"][0]
    assert "--best" in refused("evaluate", file, "--best")


def test_agents_can_be_played_with_ablations(trained_run, tmp_path):
    ablation = "--temperature", "inf", "--no-memory", "--no-mission", "--router", "random"
    found, text = evaluated(tmp_path, trained_run, *ablation)
    assert "inf" in text
    first = found["rows"][0]
    assert first["temperature"] == "inf"
    assert first["no_memory"]
    assert first["no_mission"]
    assert (first["messages"], first["input_attention"], first["router"]) == (None, None, "random")
    page = tmp_path / "new/page.html"
    assert f"Wrote {page}" in succeeds("view", trained_run, *ablation, "--episodes", 1, "--out", page)
    assert "seed 1, sampled at temperature inf" in page.read_text()


def test_runs_are_compared_in_one_table_and_on_one_page(trained_run, run_copy, tmp_path):
    """With itself under another name: the same figures beside each other."""
    found, text = evaluated(tmp_path, trained_run, run_copy)
    assert "agent" in text.splitlines()[2]
    for one, other in zip(found["rows"][:3], found["rows"][3:], strict=True):
        assert one.pop("agent") != other.pop("agent")
        assert one == other
    page = tmp_path / "both.html"
    flags = ("--episodes", 1, "--backend", "jax")
    succeeds("view", trained_run, run_copy, *flags, "--out", page, "--gif", tmp_path / "both.gif", "--tile", 8)
    labels = [f"metarims, {path}, seed {seed}, sampled" for path in (trained_run, run_copy) for seed in (0, 1)]
    assert all(page.read_text().count(label) == 1 for label in labels)
    assert (tmp_path / "both.gif").read_bytes()[:3] == b"GIF"
    report = tmp_path / "report.html"
    succeeds("report", trained_run, run_copy, "--episodes", 4, "--recorded", 2, "--backend", "jax", "--out", report)
    text = report.read_text()
    assert text.count("success in training") >= 1
    for path in (trained_run, run_copy):
        assert text.count(f'"label":"metarims, {path}, seed 0"') == 2


def test_plot_draws_a_run(trained_run, run_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Wrote run/learning.png" in succeeds("plot", "run")
    assert Path("run/learning.png").read_bytes().startswith(b"\x89PNG")
    text = succeeds("plot", "run", trained_run, "--metric", "fast/value_loss", "--out", "new/curves.svg")
    assert "Wrote new/curves.svg" in text
    assert Path("new/curves.svg").read_bytes().startswith(b"<?xml")


def test_plot_lists_metrics(trained_run):
    names = succeeds("plot", trained_run, "--list").split()
    assert {"success", "return", "fast/entropy"} <= set(names)
    assert not {"agent", "seed", "env_steps"} & set(names)


def test_what_cannot_be_plotted(run_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "'sucess'" in refused("plot", "run", "--metric", "sucess")
    assert "curves.gif" in refused("plot", "run", "--out", "curves.gif")
    assert "run/config.json" in refused("plot", "run", "--out", "run/config.json/a.png")
    Path("run/metrics.jsonl").write_text('{"seed": 0, "env_st')
    assert "run has no metrics" in refused("plot", "run")
    Path("run/metrics.jsonl").write_text('{"seed": 0, "env_st\n{"seed": 0, "env_steps": 9}\n')
    assert "Line 1 of run/metrics.jsonl" in refused("plot", "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("backend", ["jax", "farama"])
def test_a_random_agent_can_be_viewed_without_a_run(tmp_path, backend):
    page, env = tmp_path / "page.html", "MiniGrid-Dynamic-Obstacles-5x5-v0"
    succeeds("view", "random", "--env", env, "--backend", backend, "--episodes", 2, "--out", page)
    assert env in page.read_text()
    assert '"values":[null' in page.read_text()


def test_envs_lists_every_environment():
    lines = {line.split()[0]: line.split()[1:] for line in succeeds("envs").splitlines() if line}
    assert lines["BabyAI-GoToLocal-v0"] == ["8x8", "64", "36", "13", "native", *["go", "to", "the", "red", "key"]]
    assert lines["BabyAI-BossLevel-v0"][:5] == ["22x22", "576+", "-", "-", "native"]
    assert lines["MiniGrid-UnlockPickup-v0"][:5] == ["11x6", "288", "6", "10", "native"]
    found = {entry["id"]: entry for entry in json.loads(succeeds("envs", "--json"))}
    assert found["BabyAI-GoToLocal-v0"]["num_missions"] == 36
    assert set(found) <= set(lines)


def test_params_puts_agents_of_equal_cost_together():
    text = succeeds("params", "vanilla", "modular", "metarims", "--core.hidden-dim", "4")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    lstm = 4 * 4 * (64 + 4 + 1)
    assert ["parameters, modules", f"{lstm:,}", "62,080"] in rows
    assert ["parameters, attention", "0", "31,908"] in rows


def test_doctor_and_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METARIMS_CACHE", str(tmp_path / "file/cache"))
    assert "cannot be written" in enable_compile_cache()
    text = succeeds("doctor")
    for word in ("metarims", "jax", "minigrid", "python", "devices", "cores", "memory", "compile cache", "free disk"):
        assert f"\n{word}" in f"\n{text}"
    assert "cannot be written" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--agent", "metarim"), ("'metarim'", "metarims")),
        (("train", "--preset", "papper"), ("'papper'", "paper")),
        (("train", "--preset=papper"), ("'papper'", "paper")),
        (("train", "--config-from", "nowhere"), ("nowhere", "config.json")),
        (("train", "--preset", "debug", "--config-from", "nowhere"), ("--preset debug", "--config-from nowhere")),
        (("train", "--init-from", "nobody"), ("init_from", "nobody")),
        (("train", "--agent", "vanilla", "--init-from", "doorkey"), ("rim", "lstm")),
        (("train", "--env", "BabyAI-GoToLokal-v0"), ("'BabyAI-GoToLokal-v0'", "BabyAI-GoToLocal-v0")),
        (("train", "--fast.span", "7"), ("fast.span is 7", "fast.rollout (40)")),
        (("train", "--seeds", "1", "1"), ("seeds",)),
        (("train", "--fraems", "5"), ("--frames",)),
        (("train", "--lr", "1e-3"), ("--lr", "--fast.learning-rate")),
        (("train", "--learning-rate", "1e-3"), ("Unknown flag --learning-rate", "--slow.learning-rate")),
        (("train", "--total_timesteps=5"), ("--total-timesteps", "--frames")),
        (("train", "--ent-coef", "0"), ("--ent-coef", "--ppo.entropy-coef")),
        (("evaluate", "x", "--num-episodes", "5"), ("--num-episodes", "--episodes")),
        (("study", "run", "fig9", "--scal", "smoke"), ("--scal", "--scale")),
        (("train", "--nothing"), ("--nothing", "metarims train --help")),
        (("train", "--agent", "vanilla", "--core.num-modules", "4"), ("vanilla", "'num-modules'", "input-heads")),
        (("train", "--core.num-active", "0"), ("core.num_active is 0", "1 or more")),
        (("train", "--frames", "many"), ("--frames", "many")),
        (("train", "--frames", "2.5"), ("--frames", "2.5")),
        (("train", "--encoder-speed", "medium"), ("medium",)),
        (("trian",), ("'trian'", "train")),
        ((), ("train",)),
        (("evaluate", "nowhere"), ("nowhere",)),
        (("evaluate", "."), ("config.json",)),
        (("evaluate", "nowhere", "--json", "."), ("--json .",)),
        (("evaluate", "metarims"), ("metarims", "doorkey")),
        (("evaluate", "expert"), ("expert", "--env")),
        (("evaluate", "expert", "--env", "BabyAI-GoToObj-v0", "--no-memory"), ("--no-memory",)),
        (("evaluate", "expert", "--env", "MiniGrid-Empty-5x5-v0"), ("BabyAI",)),
        (("evaluate", "x" * 5000), ("xxx", "too long")),
        (("view",), ("run", "doorkey", "random", "--env")),
        (("view", "random"), ("random", "--env")),
        (("view", "here", "random", "--env", "BabyAI-GoToObj-v0"), ("here", "random")),
        (("view", "random", "--env", "BabyAI-GoToObj-v0", "--no-mission"), ("--no-mission", "random")),
        (("view", "random", "--env", "minigrid:BabyAI-BossLevel-v0", "--backend", "jax"), ("--backend farama",)),
        (("view", "random", "--env", "BabyAI-GoToObj-v0", "--episodes", "9" * 30), ("episodes", "10,000")),
        (("view", "expert", "--env", "BabyAI-GoToObj-v0"), ("expert", "doorkey")),
        (("view", "doorkey", "--best"), ("--best", "doorkey")),
        (("view", "doorkey", "--gif", "a.mp4"), ("--gif a.mp4", ".gif")),
        (("view", "doorkey", "--out", "a.gif"), ("--out a.gif", ".html")),
        (("view", "doorkey", "--fps", "3"), ("--fps", "--gif")),
        (("report",), ("run", "doorkey")),
        (("report", "doorkey", "--recorded", "-1"), ("recorded is -1",)),
        (("params", "vanila"), ("'vanila'", "vanilla")),
        (("params", "vanilla", "--core.num-modules=4"), ("vanilla", "'num-modules'", "input-heads")),
        (("params", "--core.module-dim", "10000000000"), ("metarims", "--core")),
        (("plot",), ("run",)),
        (("plot", "nowhere"), ("nowhere",)),
        (("plot", "nowhere", "--out", "."), ("--out .",)),
        (("study", "run", "fig99"), ("fig99", "study list")),
        (("study", "list", "fig99"), ("'fig99'", "fig9")),
        (("study", "list", "fig9", "--scale", "large"), ("large",)),
        (("study", "report", "x" * 5000), ("xxx", "too long")),
        (("study", "run", "fig9", "--workers", "-1"), ("workers", "-1")),
        (("study", "run", "fig9", "--cpus", "2"), ("cpus", "--on ray")),
        (("train", "--env", "qqq"), ("'qqq'", "metarims envs")),
        (("train", "--env", "BabyAI-GoToObj-v0+BabyAI-GoToObj-v0"), ("BabyAI-GoToObj-v0", "twice")),
        (("train", "--env", "BabyAI-GoToObj-v0*x+BabyAI-GoToLocal-v0"), ("BabyAI-GoToObj-v0*x", "number")),
        (("train", "--env", "BabyAI-GoToObj-v0+minigrid:BabyAI-GoTo-v0"), ("minigrid:BabyAI-GoTo-v0", "mixture")),
        (("train", "--env", "no_such_module:Task-v0"), ("no_such_module",)),
        (("train", "--words", "gem"), ("words",)),
        (("train", "--env", "minigrid:BabyAI-GoTo-v0", "--words", "gem", "gem"), ("words", "'gem'")),
        (("train", "--max-missions", "-3"), ("max_missions", "-3")),
        (("train", "--log", "tensorbord"), ("'tensorbord'", "tensorboard")),
        (("train", "--on-nan", "ignore"), ("ignore",)),
    ],
)
def test_invalid_input_names_the_argument_and_writes_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    error = " ".join(refused(*arguments).split())
    assert all(word in error for word in words), error
    assert not (tmp_path / "runs").exists()


def test_errors_carry_the_argument_and_its_value():
    for arguments, field, value in (
        (["train", "--preset", "debug", "--config-from", "x"], "--config-from", Path("x")),
        (["view", "here"], "AGENT", "here"),
        (["study", "run", "fig9", "--workers", "-1"], "workers", -1),
        (["study", "run", "fig9", "--gpus", "1"], "gpus", 1.0),
    ):
        with pytest.raises(UserError) as error:
            cli.parse(arguments).run("")
        assert (error.value.field, error.value.value) == (field, value)


def test_invalid_requests_on_a_good_run(trained_run):
    jax = ("evaluate", trained_run, "--backend", "jax")
    assert "episodes is 0" in refused(*jax, "--episodes", 0)
    assert "seed is -1" in refused(*jax, "--seed", -1)
    assert "'x'" in refused(*jax, "--env", "x")
    assert "'BabyAI-GoToLocal'" in refused("evaluate", trained_run, "--env", "BabyAI-GoToLocal")
    assert "temperature is 0" in refused("evaluate", trained_run, "--temperature", 0)
    for command in ("evaluate", "view"):
        error = refused(command, trained_run, "--backend", "jax", "--policy", "greedy", "--temperature", 2)
        assert "temperature is 2" in error
    assert "seeds = 0 1" in refused("train", *RUN[:-1], "--out", trained_run)


def test_a_changed_default_names_what_differs(run_copy):
    """As after an update of the package: each difference with both values, and the flags that resume the run."""
    held = json.loads((run_copy / "config.json").read_text()) | {"metarims": "0.0.9", "encoder_speed": "slow"}
    held["ppo"] |= {"clip": 0.3, "clip_value": True}
    (run_copy / "config.json").write_text(json.dumps(held))
    error = refused("train", *RUN, "--out", run_copy)
    assert all(words in error for words in ("0.0.9", __version__, "ppo.clip = 0.3", "0.2", "ppo.clip_value"))
    assert "--ppo.clip 0.3 --ppo.clip-value --encoder-speed slow" in error


def test_a_program_of_ones_own_is_named_in_the_commands_that_resume(monkeypatch):
    """A script that adds a rule and calls ``main``: metarims alone does not know the rule."""
    mine = str(Path(cli.__file__).with_name("__main__.py"))
    for argument, expected in (
        ("/bin/metarims", "metarims"),
        (mine, "metarims"),
        ("my rule.py", "python 'my rule.py'"),
    ):
        monkeypatch.setattr(sys, "argv", [argument])
        assert program() == expected


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("METARIMS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("METARIMS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg/metarims"


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch):
    """As one whose number the system does not know."""
    for name in ("METARIMS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert cache_folder() is None
    assert "no home folder" in enable_compile_cache()
    assert "no home folder" in succeeds("doctor")


def test_a_home_folder_behind_a_flag(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    words = ["--out=~/x", "--out=~", "--out=a~/x", "~/x", "--env=~ada/x", "--core.size=~/1"]
    wanted = ["--out=/home/ada/x", "--out=/home/ada", "--out=a~/x", "~/x", "--env=~ada/x", "--core.size=/home/ada/1"]
    assert [expand_home(word) for word in words] == wanted


@pytest.mark.parametrize("out", ["s3://bucket/run", "gs:/x", os.fsdecode(b"runs/\xff"), "file/x"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    commands = [("train", "--preset", "debug"), ("study", "run", "fig9"), ("demo",)]
    for command in commands if out != "file/x" else ():  # There the folder itself is refused, when it is made.
        assert "out is" in refused(*command, "--out", out)
    for command, flag in (("evaluate", "--json"), ("view", "--out"), ("view", "--gif"), ("report", "--out")):
        assert flag in refused(command, "doorkey", flag, out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UserError, match=r"out is|Cannot write"):
        train(presets.PRESETS["debug"], out)


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("envs",), 2), (("--version",), 2), (("train", "--preset", "debug"), 0)]
)
def test_output_that_cannot_be_written_ends_no_training(arguments, code, monkeypatch):
    """What is printed is lost; a command that has nothing but that to give fails with a sentence."""
    monkeypatch.setattr(TrainCommand, "run", lambda self, command: print("Finished") or 0)
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", errors)
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == code
    assert ("No space left on device" in errors.getvalue()) == (code == 2)


def test_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as end:
        cli.main(["envs"])
    assert end.value.code == 0
    assert sys.stdout is None


def test_the_paper_preset_is_the_papers():
    """Section 4 of the paper's appendix leaves PPO open: BabyAI's, whose gamma, lambda and reward the paper uses."""
    paper = presets.PRESETS["paper"]
    ppo = dataclasses.asdict(paper.ppo)
    assert [ppo[name] for name in ("num_envs", "gamma", "gae_lambda", "clip", "clip_value")] == [
        64,
        0.99,
        0.99,
        0.2,
        True,
    ]
    assert [ppo[name] for name in ("value_coef", "entropy_coef", "reward_scale", "adam_eps")] == [0.5, 0.01, 20.0, 1e-5]
    assert not ppo["normalize_advantages"]
    assert not ppo["target_kl"]
    for loop, rollout, span in ((paper.fast, 40, 20), (paper.slow, 80, 80)):
        assert (loop.rollout, loop.span, loop.epochs) == (rollout, span, 4)
        assert (loop.learning_rate, loop.max_grad_norm) == (1e-4, 0.5)
        assert paper.ppo.num_envs * loop.rollout // loop.minibatches == 1280
    assert (paper.encoder_speed, paper.slow_data, paper.recurrent_state) == ("fast", "fresh", "reset")
    core = dataclasses.asdict(paper.core)
    assert (core["num_modules"], core["num_active"]) == (5, 3)


def test_the_compilers_log_is_silent_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    metarims("--version")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    metarims("--version")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_the_demo_speaks_before_it_computes(monkeypatch, tmp_path):
    """A plan that fails (code 1 of a study) is an error of the demo."""
    monkeypatch.setattr("metarims.commands.study.StudyRunCommand.run", lambda *_: 1)
    code, said, _ = metarims("demo", "--out", tmp_path)
    assert (code, said.count("\n")) == (2, 1)


def test_interrupted_from_the_keyboard(monkeypatch):
    def interrupt(self, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.DoctorCommand, "run", interrupt)
    done = metarims("doctor")
    assert done.returncode == 130
    assert "interrupted" in done.stderr


def test_what_a_terminal_shows_while_it_waits(monkeypatch):
    """What is done, and for how long; names are no markup."""
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", shown)
    with status("Starting [x]") as change:
        time.sleep(0.3)
        change("Playing y[/z]")
        time.sleep(0.3)
    assert "Starting [x] ... 0 s" in shown.getvalue()
    assert "Playing y[/z] ... " in shown.getvalue()


def test_what_a_log_holds_of_waiting(capsys):
    with status("Starting [x]") as change:
        change("Playing y[/z]")
    assert capsys.readouterr().err == "Starting [x] ...\nPlaying y[/z] ...\n"
