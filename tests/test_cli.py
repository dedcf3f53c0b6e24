"""The command line as a user meets it: exit codes, sentences, and files."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from math import nan
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import pytest

from metarims import __version__, cli, presets
from metarims.commands.common import program
from metarims.runs.folder import read_config
from metarims.runs.training import TrainResult
from metarims.runtime import cache_folder, enable_compile_cache

CACHE = Path(__file__).parents[1] / ".cache"
SMALL = ["--preset", "debug", "--frames", "2048", "--agent", "vanilla"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module", autouse=True)
def environment(quick_module):
    """One compile cache for all, and a wide terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
        patch.setenv("METARIMS_CACHE", str(CACHE))
        patch.setenv("COLUMNS", "200")
        yield


def metarims(*arguments):
    """Run the program in this process."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error), pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, arguments)))
    return Done(ended.value.code, out.getvalue(), error.getvalue())


CHECKED = 'import jaxtyping; jaxtyping.install_import_hook("metarims", "beartype.beartype"); '
"""As in conftest.py: the checks change the names of inner functions, and only equal programs share the cache."""


def spawn(*arguments, before=""):
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", before + "from metarims.cli import main; main()", *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def complaint(capsys, *arguments):
    """Run in this process; bad input must exit with 2 and one sentence."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, arguments)))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two seeds, and what training it printed."""
    out = tmp_path_factory.mktemp("cli") / "run"
    done = metarims("train", *SMALL, "--seeds", 0, 1, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_help_names_the_commands():
    done = spawn("--help")
    assert done.returncode == 0
    for command in ("train", "evaluate", "view", "plot", "envs", "params", "doctor", "demo"):
        assert command in done.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("study", "--help")])
def test_help_says_what_studies_are(arguments):
    text = " ".join(metarims(*arguments).stdout.split())
    assert "The paper's figures and tables" in text
    assert "Union" not in text


def test_help_imports_no_jax():
    code = "import sys; from metarims import cli\ntry: cli.main(['train', '--help'])\nexcept SystemExit: pass\n"
    done = subprocess.run([sys.executable, "-c", code + "assert 'jax' not in sys.modules"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_every_setting_is_a_flag(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = capsys.readouterr().out
    for flag in ("--network.module-dim", "--ppo.gae-lambda", "--fast.span", "--slow.learning-rate", "--seeds", "--out"):
        assert flag in text


def test_training_prints_its_figures(run):
    _, text = run
    assert "vanilla on BabyAI-GoToRedBallNoDists-v0, 2,048 steps, 2 seeds" in text
    assert "Compiled in" in text
    for part in (
        "step       2,048",
        "frames/s",
        "success",
        "return",
        "fast/value_loss",
        "left",
        "Finished: 2,048 steps",
    ):
        assert part in text


def test_training_writes_its_folder(run):
    out, _ = run
    config = json.loads((out / "config.json").read_text())
    assert config["seeds"] == [0, 1]
    assert config["network"]["feature_dim"] == presets.PRESETS["debug"].network.feature_dim
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["env_steps"]) for row in rows] == [(s, n) for n in range(512, 2049, 512) for s in (0, 1)]


def test_the_same_command_goes_on_to_the_same_bits(run, tmp_path):
    """Trained in two stretches, in two processes, with the real learner: every file as in one stretch."""
    out, _ = run
    half = [*SMALL, "--seeds", 0, 1, "--out", tmp_path / "run"]
    half[half.index("2048")] = "1024"
    assert metarims("train", *half).returncode == 0
    done = spawn("train", *SMALL, "--seeds", 0, 1, "--out", tmp_path / "run", before=CHECKED)
    assert "going on from step 1,024" in done.stdout
    agents = [f"agents/{name}" for name in sorted(path.name for path in (out / "agents").glob("*.safetensors"))]
    assert len(agents) == 4, "the last and the best of both seeds"
    for name in ("config.json", "metrics.jsonl", *agents):
        assert (tmp_path / "run" / name).read_bytes() == (out / name).read_bytes(), name


def test_a_finished_run_says_so(run):
    out, _ = run
    done = metarims("train", *SMALL, "--seeds", 0, 1, "--out", out)
    assert done.returncode == 0
    assert "already finished" in done.stdout


@pytest.fixture
def broken(monkeypatch):
    """The second seed's agent is not a number from the beginning."""
    from metarims.learning.trainer import Trainer

    init = Trainer.init

    def poison(self):
        state = init(self)
        weights = state.agent.value.output
        return state._replace(agent=eqx.tree_at(lambda agent: agent.value.output, state.agent, weights.at[1].set(nan)))

    monkeypatch.setattr(Trainer, "init", poison)


def test_a_seed_that_fails_is_told_and_the_other_ends_as_ever(run, broken, tmp_path):
    healthy, _ = run
    out = tmp_path / "run"
    command = ("train", *SMALL, "--seeds", 0, 1, "--out", out)
    done = metarims(*command)
    assert done.returncode == 3
    told = "Fault: Seed 1 stopped: fast/policy_loss became nan in update 1 (environment step 128). Its agent of step 0"
    assert told in done.stdout
    assert "Finished: 2,048 steps" in done.stdout
    assert f"a numerical fault stopped seed 1: see {out / 'events.jsonl'}" in done.stderr
    agent = "agents/seed-0.safetensors"
    assert (out / agent).read_bytes() == (healthy / agent).read_bytes()
    others = [line for line in (healthy / "metrics.jsonl").read_text().splitlines() if json.loads(line)["seed"] == 0]
    assert (out / "metrics.jsonl").read_text().splitlines() == others
    again = metarims(*command)
    assert again.returncode == 3
    assert "Seed 1 stopped after step 0 and stays so" in again.stdout


def test_a_seed_begins_anew_three_times(run, broken, tmp_path):
    healthy, _ = run
    done = metarims("train", *SMALL, "--seeds", 0, 1, "--out", tmp_path, "--on-nan", "restart")
    assert done.returncode == 3
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(event["event"], event["restarts"]) for event in events] == [
        ("restart", 1),
        ("restart", 2),
        ("restart", 3),
        ("stop", 3),
    ]
    assert all(event["text"] in done.stdout for event in events)
    others = [line for line in (healthy / "metrics.jsonl").read_text().splitlines() if json.loads(line)["seed"] == 0]
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == others


def test_evaluation_in_both_worlds(run, tmp_path):
    out, _ = run
    for place in ("jax", "farama"):
        done = metarims("evaluate", out, "--backend", place, "--episodes", 12, "--json", tmp_path / "found.json")
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / "found.json").read_text())
        assert (found["runs"], found["best"], found["seed"]) == ([str(out)], False, 0)
        seeds = [(row["policy"], row["seed"]) for row in found["rows"]]
        assert seeds == [(policy, seed) for policy in ("greedy", "sampled") for seed in (0, 1, "all")]
        for result in (row for row in found["rows"] if row["seed"] != "all"):
            assert (result["in"], result["env_steps"]) == (place, 2048)
            assert result["episodes"] == 12 == len(result["episode_return"])
            assert result["success"] == sum(result["episode_success"]) / 12
            assert result["success_low"] <= result["success"] <= result["success_high"]
            assert f"{result['success']:.3f} [" in done.stdout
        assert "all" in done.stdout


def test_one_agents_file_elsewhere_needs_no_flags(run, tmp_path):
    out, _ = run
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((out / "agents/seed-1.safetensors").read_bytes())
    done = metarims("evaluate", moved, "--env", "BabyAI-GoToLocalS5N2-v0", "--backend", "jax", "--episodes", 5)
    assert done.returncode == 0, done.stderr
    assert "vanilla on BabyAI-GoToLocalS5N2-v0" in done.stdout


def test_seeds_of_one_experiment_that_were_trained_apart_are_evaluated_together(run, tmp_path, capsys):
    out, _ = run
    files = [out / f"agents/seed-{seed}.safetensors" for seed in (0, 1)]
    found = []
    for paths in ([out], files):
        flags = ("--backend", "jax", "--episodes", 6, "--policy", "sampled", "--json", tmp_path / "found.json")
        done = metarims("evaluate", *paths, *flags)
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / "found.json").read_text()))
    assert found[0]["rows"] == found[1]["rows"]
    assert [row["seed"] for row in found[0]["rows"]] == [0, 1, "all"]
    assert found[1]["runs"] == [str(file) for file in files]
    assert "both hold seed 1: leave one out" in complaint(capsys, "evaluate", out, files[1])


def test_agents_can_be_played_otherwise_than_they_learnt(run, tmp_path):
    out, _ = run
    ablation = "--temperature", "inf", "--no-memory", "--no-mission"
    asked = "--backend", "jax", "--episodes", 8, "--policy", "sampled", "--json", tmp_path / "found.json"
    done = metarims("evaluate", out, *asked, *ablation)
    assert done.returncode == 0, done.stderr
    assert "temperature inf, without memory, without words" in " ".join(done.stdout.split())
    first = json.loads((tmp_path / "found.json").read_text())["rows"][0]
    assert (first["temperature"], first["forgetful"], first["deaf"]) == ("inf", True, True)
    done = metarims("view", out, *ablation, "--episodes", 1, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "seed 1, sampled at temperature inf, without memory, without words" in (tmp_path / "page.html").read_text()


def test_a_manner_of_playing_that_cannot_be_is_one_sentence(run, capsys):
    out, _ = run
    assert "temperature is 0: it must be at least 0.001" in complaint(capsys, "evaluate", out, "--temperature", 0)
    for command in ("evaluate", "view"):
        error = complaint(capsys, command, out, "--backend", "jax", "--policy", "greedy", "--temperature", 2)
        assert "temperature is 2, but the greedy policy's actions are the same at every temperature" in error
    error = complaint(capsys, "view", "--env", "BabyAI-GoToObj-v0", "--random", "--no-mission")
    assert "--random plays without an agent: leave out --no-mission" in error


def test_a_run_and_its_agents_files_have_the_same_figures(run, tmp_path):
    out, _ = run
    flags = ("--backend", "jax", "--episodes", 8, "--policy", "sampled", "--json", tmp_path / "found.json")
    for seed in (0, 1):
        found = []
        for path in (out, out / f"agents/seed-{seed}.safetensors"):
            done = metarims("evaluate", path, *flags)
            assert done.returncode == 0, done.stderr
            rows = json.loads((tmp_path / "found.json").read_text())["rows"]
            found += [row for row in rows if row["seed"] == seed]
        assert found[0] == found[1]


def test_the_best_agents_on_the_way_can_be_asked_for(run, tmp_path):
    out, _ = run
    files = [out / f"agents/best-seed-{seed}.safetensors" for seed in (0, 1)]
    flags = ("--backend", "jax", "--episodes", 8, "--policy", "sampled", "--json", tmp_path / "found.json")
    done = metarims("evaluate", out, "--best", *flags)
    assert done.returncode == 0, done.stderr
    together = json.loads((tmp_path / "found.json").read_text())
    assert together["best"]
    steps = [row["env_steps"] for row in together["rows"][:2]]
    assert f"Best on the way: seed 0 at step {steps[0]:,}, seed 1 at step {steps[1]:,}." in done.stdout
    assert metarims("evaluate", files[0], *flags).returncode == 0
    assert json.loads((tmp_path / "found.json").read_text())["rows"][0] == together["rows"][0]
    refused = metarims("evaluate", files[0], "--best")
    assert refused.returncode == 2
    assert "leave it out" in refused.stderr


def test_view_writes_one_page(run, tmp_path):
    out, _ = run
    done = metarims("view", out, "--episodes", 2, "--out", tmp_path / "new/page.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "new/page.html").read_text().lower()
    assert "Wrote" in done.stdout


def test_plot_draws_a_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run[0], "run")
    done = metarims("plot", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Wrote run/learning.png."
    assert Path("run/learning.png").read_bytes().startswith(b"\x89PNG")
    shutil.copytree(run[0], "other")
    done = metarims("plot", "run", "other", "--metric", "fast/value_loss")
    assert done.stdout == "Wrote learning-fast-value_loss.png.\n"
    assert metarims("plot", "run", "--out", "new/curves.svg").returncode == 0
    assert Path("new/curves.svg").read_bytes().startswith(b"<?xml")


def test_what_cannot_be_plotted_is_one_sentence(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run[0], "run")
    assert "Unknown metric 'sucess'. Did you mean success" in complaint(capsys, "plot", "run", "--metric", "sucess")
    assert "'curves.gif' ends in none of .svg, .pdf, .png" in complaint(capsys, "plot", "run", "--out", "curves.gif")
    assert "Could not write the picture in run/config.json" in complaint(
        capsys, "plot", "run", "--out", "run/config.json/a.png"
    )
    Path("run/metrics.jsonl").write_text('{"seed": 0, "env_st')
    assert "run has no metrics yet" in complaint(capsys, "plot", "run")
    Path("run/metrics.jsonl").write_text('{"seed": 0, "env_st\n{"seed": 0, "env_steps": 9}\n')
    assert "Line 1 of run/metrics.jsonl is not JSON" in complaint(capsys, "plot", "run")
    Path("run/metrics.jsonl").unlink()
    assert "run has no metrics yet" in complaint(capsys, "plot", "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_doctor_names_what_matters():
    done = metarims("doctor")
    assert done.returncode == 0
    for word in ("metarims", "jax", "minigrid", "python", "devices", "cores", "memory", "compile cache", "free disk"):
        assert word in done.stdout


def test_a_platform_that_jax_cannot_use_is_one_sentence(tmp_path):
    """JAX complains of a name that it knows, and of one that it does not, in different ways."""

    def run(platform, *arguments):
        command = [sys.executable, "-m", "metarims.cli", *arguments]
        environment = os.environ | {"JAX_PLATFORMS": platform}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    train = ["train", *SMALL, "--out", "run"]
    for platform, arguments in (("cuda", train), ("nothing", ["params"])):
        done = run(platform, *arguments)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"metarims: JAX_PLATFORMS is '{platform}', and JAX cannot compute there: ")
        assert len(done.stderr.splitlines()) == 1
    done = run("cuda", "doctor")
    assert done.returncode == 0
    assert "none: JAX_PLATFORMS is 'cuda'" in done.stdout
    assert "free disk" in done.stdout, "all else is told"


def test_a_run_can_be_begun_like_another(run, tmp_path):
    out, _ = run
    done = metarims("train", "--config-from", out, "--seeds", "7", "--frames", "1024", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    wanted = dataclasses.replace(read_config(out), seeds=(7,), frames=1024)
    assert read_config(tmp_path / "run") == wanted


def test_settings_without_effect_are_told(tmp_path):
    asked = ["--slow-data", "fresh", "--slow.epochs", "2", "--network.num-modules", "4", "--ppo.gamma", "0.9"]
    done = metarims("train", *SMALL, *asked, "--frames", "512", "--out", tmp_path / "run")
    assert done.returncode == 0
    assert done.stderr == "Note: without effect for vanilla: network.num_modules, slow.epochs, slow_data.\n"


def test_params_puts_agents_of_equal_cost_together(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["params", "vanilla", "modular", "metarims", "--network.lstm-dim", "4"])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    lstm = 4 * 4 * (64 + 4 + 1)
    assert ["parameters, modules", f"{lstm:,}", "62,080"] in rows
    assert ["parameters, attention", "0", "31,904"] in rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--agent", "metarim"), "Unknown agent 'metarim'. Did you mean metarims"),
        (("train", "--preset", "papper"), "Unknown preset 'papper'. Did you mean paper"),
        (("train", "--preset=papper"), "Unknown preset 'papper'. Did you mean paper"),
        (("train", "--config-from", "nowhere"), "nowhere is not a run folder: it has no config.json"),
        (
            ("train", "--preset", "debug", "--config-from", "nowhere"),
            "Both --preset debug and --config-from nowhere are given",
        ),
        (("train", "--init-from", "nobody"), "init_from is nobody, and nothing is there: name a run's folder"),
        (("train", "--agent", "vanilla", "--init-from", "doorkey"), "its core is rim (metarims), not lstm (vanilla)"),
        (("train", "--env", "BabyAI-GoToLokal-v0"), "Unknown environment 'BabyAI-GoToLokal-v0'. Did you mean BabyAI-"),
        (("train", "--fast.span", "7"), "fast.span (7) does not divide fast.rollout (40)"),
        (("train", "--network.num-active", "9"), "network.num_active is 9, but there are only 5 modules"),
        (("train", "--frames", "0"), "frames is 0: it must be greater than zero"),
        (("train", "--seeds", "1", "1"), "must be distinct"),
        (("train", "--ppo.gamma", "nan"), "ppo.gamma is nan"),
        (("train", "--fraems", "5"), "--frames"),
        (("train", "--frames", "many"), "--frames: many is not a whole number"),
        (("train", "--frames", "2.5"), "--frames: 2.5 is not a whole number"),
        (("train", "--encoder-speed", "medium"), "medium"),
        (("trian",), "Unknown command 'trian'. Did you mean train?"),
        ((), "train"),
        (("evaluate", "nowhere"), "There is no agent at nowhere"),
        (("evaluate", "."), "is not a run folder: it has no config.json"),
        (("params", "vanila"), "Unknown agent 'vanila'. Did you mean vanilla?"),
        (("view", "nowhere"), "There is no agent at nowhere"),
        (("view",), "Name a run, or an agent that comes with the package (--agent "),
        (("view",), "or give --env ID --random"),
        (("view", "here", "--agent", "doorkey"), "Both here and --agent doorkey are named"),
        (("evaluate", "--agent", "metarims"), "No agent named 'metarims' comes with the package, but doorkey, "),
        (("view", "--agent", "metarims"), "To play a run's agents, name its folder instead of --agent"),
        (("plot",), "No run: name at least one run's folder"),
        (("plot", "nowhere"), "nowhere is not a run folder: it has no config.json"),
        (("view", "--random"), "--random needs a task: name it with --env"),
        (("view", "here", "--random", "--env", "BabyAI-GoToObj-v0"), "leave out here, or --random"),
        (("view", "--random", "--env", "BabyAI-GoToObjj-v0"), "Did you mean BabyAI-GoToObj-v0"),
        (("view", "--random", "--env", "BabyAI-BossLevel-v0", "--backend", "jax"), "view it with --backend farama"),
        (("study", "run", "fig99"), "metarims study list lists them all"),
        (("study", "list", "fig99"), "Unknown study 'fig99'. Did you mean fig9 or fig8 or fig7?"),
        (("study", "list", "--scale", "smoke"), "no study is named: metarims study list NAME --scale smoke"),
        (("study", "list", "fig9", "--scale", "large"), "Expected one of"),
        (("train", "--env", "qqq"), "Unknown environment 'qqq'. metarims envs lists them all"),
        (("train", "--env", "BabyAI-GoToObj-v0+BabyAI-GoToObj-v0"), "occurs twice in the mixture"),
        (("train", "--env", "BabyAI-GoToObj-v0*x+BabyAI-GoToLocal-v0"), "weight of BabyAI-GoToObj-v0 is 'x'"),
        (("train", "--env", "BabyAI-GoToObj-v0+BabyAI-GoTo-v0"), "leave it out of the mixture"),
        (("train", "--env", "BabyAI-GoToObj-v0+"), "has a part without a name: write ID+ID"),
        (("evaluate", "nowhere", "--json", "."), "--json . is a folder: name a file in it"),
        (("plot", "nowhere", "--out", "."), "--out . is a folder: name a file in it"),
        (("study", "report", "x" * 5000), "cannot be used: file name too long"),
        (("view", "--env", "BabyAI-GoToObj-v0", "--random", "--episodes", "9" * 30), "at most 10,000 can be played"),
        (("study", "run", "fig9", "--workers", "-1"), "workers is -1: it must be 1 or more, or 0 for the default"),
        (("params", "--network.module-dim", "10000000000"), "No metarims of these sizes can be built"),
        (("train", "--env", "no_such_module:Task-v0"), "The module no_such_module cannot be imported"),
        (("train", "--seeds", "-1"), "must be distinct integers from 0"),
        (("train", "--words", "gem"), "words are for tasks that are stepped on the host"),
        (("train", "--env", "BabyAI-GoTo-v0", "--words", "Gem"), "words holds 'Gem'"),
        (("train", "--env", "BabyAI-GoTo-v0", "--words", "gem", "gem"), "words holds 'gem' twice"),
        (("train", "--max-missions", "-3"), "max_missions is -3"),
        (("train", "--log", "tensorbord"), "Unknown logger 'tensorbord'. Did you mean tensorboard?"),
        (("train", "--on-nan", "ignore"), "ignore"),
        (("train", "--env", "BabyAI-GoTo-v0", "--on-nan", "restart"), "it needs --on-nan stop"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in " ".join(complaint(capsys, *arguments).split())
    assert not (tmp_path / "runs").exists(), "nothing is written for bad input"


@pytest.mark.parametrize(("written", "seeds"), [("2048", ["0", "1e1"]), ("2_048", ["0,10"]), ("2.048e3", ["0,", "10"])])
def test_whole_numbers_as_people_write_them(written, seeds, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("metarims.runs.training.train", lambda config, *_: asked.append(config) or TrainResult(True, 0))
    arguments = ("train", "--frames", written, "--seeds", *seeds, "--out", tmp_path / "run")
    assert metarims(*arguments).returncode == 0
    assert (asked[0].frames, asked[0].seeds) == (2048, (0, 10))


def test_a_reader_that_leaves_ends_no_training(tmp_path):
    """As ``metarims train | head -1`` does: nothing more is said, and all is saved."""
    words = ["train", "--preset", "debug", "--frames", "2048", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "metarims.cli", *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as training:
        assert training.stdout is not None
        training.stdout.readline()
        training.stdout.close()
        assert training.wait(timeout=300) == 0
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) > 1
    assert list((tmp_path / "run/agents").iterdir())


def test_a_program_of_ones_own_is_the_one_that_goes_on(monkeypatch):
    """A script that adds a rule and calls ``main``: metarims alone does not know the rule."""
    for argument, expected in (("/bin/metarims", "metarims"), ("my rule.py", "python 'my rule.py'")):
        monkeypatch.setattr(sys, "argv", [argument])
        assert program() == expected


def test_the_version_is_told():
    assert metarims("--version") == (0, f"metarims {__version__}\n", "")


def test_bad_requests_on_a_good_run(capsys, run):
    out, _ = run
    assert "episodes is 0" in complaint(capsys, "evaluate", out, "--episodes", 0, "--backend", "jax")
    assert "seed is -1" in complaint(capsys, "evaluate", out, "--seed", -1)
    assert "Unknown environment 'x'" in complaint(capsys, "evaluate", out, "--env", "x", "--backend", "jax")
    assert "Unknown Farama environment 'BabyAI-GoToLocal'" in complaint(
        capsys, "evaluate", out, "--env", "BabyAI-GoToLocal"
    )
    assert "episodes is 0" in complaint(capsys, "view", out, "--episodes", 0)
    assert "seeds = 0 1, not 0" in complaint(capsys, "train", *SMALL, "--out", out)


def test_a_cache_that_cannot_be_written_is_not_fatal(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METARIMS_CACHE", str(tmp_path / "file/cache"))
    assert "cannot be written" in enable_compile_cache()
    done = metarims("doctor")
    assert done.returncode == 0
    assert "cannot be written" in done.stdout


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("METARIMS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("METARIMS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg/metarims"


def test_the_paper_preset_is_the_papers():
    """Section 4 of the paper's appendix leaves PPO open: BabyAI's, whose gamma, lambda and reward the paper uses."""
    paper = presets.PRESETS["paper"]
    assert dataclasses.asdict(paper.ppo) == {
        "num_envs": 64,
        "shards": 1,
        "gamma": 0.99,
        "gae_lambda": 0.99,
        "clip": 0.2,
        "clip_value": True,
        "value_coef": 0.5,
        "entropy_coef": 0.01,
        "reward_scale": 20.0,
        "normalize_advantages": False,
        "adam_eps": 1e-5,
        "rate_horizon": 0,
        "target_kl": 0.0,
    }
    for loop, rollout, span in ((paper.fast, 40, 20), (paper.slow, 80, 80)):
        assert (loop.rollout, loop.span, loop.epochs) == (rollout, span, 4)
        assert (loop.learning_rate, loop.max_grad_norm) == (1e-4, 0.5)
        assert paper.ppo.num_envs * loop.rollout // loop.minibatches == 1280
    assert (paper.encoder_speed, paper.slow_data, paper.recurrent_state) == ("fast", "fresh", "reset")
    assert (paper.network.num_modules, paper.network.num_active, paper.network.lstm_dim) == (5, 3, 128)


def test_the_compilers_own_log_is_silent_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    metarims("envs")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    metarims("envs")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_the_demo_speaks_before_it_computes(monkeypatch, tmp_path):
    monkeypatch.setattr("metarims.demo.run_demo", lambda folder: 0)
    done = metarims("demo", "--out", tmp_path)
    assert done == (0, "Three agents learn one task of BabyAI, and are then measured.\n", "")


def test_interrupted_from_the_keyboard(monkeypatch, capsys):
    def interrupt(self, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Doctor, "run", interrupt)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 130
    assert "interrupted" in capsys.readouterr().err


USERS_TASK = """
import gymnasium
from minigrid.envs import EmptyEnv

class Flaky(EmptyEnv):
    breaks_after, steps = 150, 0
    def __init__(self, **kwargs):
        super().__init__(size=5, max_steps=20, **kwargs)
    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.mission = "find the shiny gem"
        return self.gen_obs(), {}
    def step(self, action):
        self.steps += 1
        if self.steps > Flaky.breaks_after:
            raise ValueError("out of gems")
        return super().step(action)

gymnasium.register("Flaky-v0", entry_point=Flaky)
"""


@pytest.fixture
def users_task(tmp_path_factory):
    """The folder of a module with a task of the user's own; it breaks after so many steps of one environment."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "gems.py").write_text(USERS_TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield folder
        sys.modules.pop("gems", None)


def test_a_users_own_task_from_training_to_viewing(users_task, capsys):
    """It breaks on the way: what was saved is kept, and the same command goes on from there."""
    words, env = ("--words", "shiny", "gem"), ("--env", "gems:Flaky-v0")
    small = (*SMALL, *env, "--fast.rollout", 32, "--fast.span", 4)
    assert "words that are not in the vocabulary: name them with --words shiny" in complaint(
        capsys, "train", *small, "--out", users_task / "wordless"
    )
    error = complaint(capsys, "train", *small, *words)
    assert error.count("\n") == 1
    assert (
        "gems:Flaky-v0 failed: ValueError: out of gems. Training stopped after step 1,024; the checkpoint at" in error
    )

    sys.modules["gems"].Flaky.breaks_after = 10**9
    done = metarims("train", *small, *words)
    assert done.returncode == 0, done.stderr
    assert "going on from step 1,024" in done.stdout
    assert "Note: gems:Flaky-v0 is stepped on the host, where environments cannot be restored" in done.stdout
    out = users_task / "runs/vanilla-gems-Flaky-v0"
    assert f"metarims evaluate {out.relative_to(users_task)} --env gems:Flaky-v0" in done.stdout
    assert "name the task yourself, with --env" in complaint(capsys, "evaluate", out), "files import nothing"
    done = metarims("evaluate", out, *env, "--episodes", 3, "--policy", "sampled")
    assert "vanilla on gems:Flaky-v0 in Farama's environment, 3 episodes" in done.stdout
    assert "evaluate with --backend farama" in complaint(capsys, "evaluate", out, *env, "--backend", "jax")
    done = metarims("view", out / "agents/seed-0.safetensors", *env, "--episodes", 1)
    assert done.returncode == 0, done.stderr
    assert "find the shiny gem" in (out / "agents/episodes.html").read_text()


def test_envs_lists_every_task(monkeypatch):
    done = metarims("envs")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    assert lines["BabyAI-GoToLocal-v0"] == ["8x8", "64", "36", "13", "native"]
    assert lines["BabyAI-BossLevel-v0"] == ["22x22", "576+", "-", "-", "host"]
    assert lines["MiniGrid-UnlockPickup-v0"] == ["11x6", "288", "6", "10", "host"]
    assert len({len(line) - len(line.split()[-1]) for line in done.stdout.splitlines()[:-2]}) == 1, "aligned"
    found = {entry["id"]: entry for entry in json.loads(metarims("envs", "--json").stdout)}
    assert found["BabyAI-GoToLocal-v0"]["num_missions"] == 36
    assert set(found) <= set(lines)


@pytest.mark.parametrize("place", ["jax", "farama"])
def test_a_random_agent_can_be_watched_without_a_run(tmp_path, place):
    done = metarims(
        "view", "--random", "--env", "MiniGrid-Dynamic-Obstacles-5x5-v0", "--backend", place, "--episodes", 2,
        "--out", tmp_path / "page.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert "A random agent on MiniGrid-Dynamic-Obstacles-5x5-v0" in text
    assert '"values":[null' in text


def test_a_changed_default_names_what_differs(run, capsys):
    """As after an update of the package: every difference, both values, and the flags that go on with the run."""
    out, _ = run
    path = out / "config.json"
    before = path.read_text()
    assert json.loads(before)["metarims"] == cli_version()
    held = json.loads(before) | {"metarims": "0.0.9", "slow_factor": 0.125}
    held["ppo"] |= {"clip": 0.3, "clip_value": True}
    path.write_text(json.dumps(held))
    error = complaint(capsys, "train", *SMALL, "--seeds", 0, 1, "--out", out)
    path.write_text(before)
    assert f"a run of metarims 0.0.9 (this is {cli_version()}) with ppo.clip = 0.3, not 0.2; ppo.clip_value" in error
    assert "add --ppo.clip 0.3 --ppo.clip-value --slow-factor 0.125 to go on with that run" in error


def cli_version():
    from metarims import __version__

    return __version__
