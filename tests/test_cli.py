"""The command line as a user meets it: exit codes, sentences, and files."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from metarims import cli, presets
from metarims.runtime import cache_folder, enable_compile_cache

CACHE = Path(__file__).parents[1] / ".cache"
SMALL = ["--preset", "debug", "--frames", "2048", "--agent", "vanilla"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module", autouse=True)
def environment():
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
    for command in ("train", "evaluate", "view", "doctor", "demo"):
        assert command in done.stdout


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
    for name in ("config.json", "metrics.jsonl", "agents/seed-0.safetensors", "agents/seed-1.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (out / name).read_bytes(), name


def test_a_finished_run_says_so(run):
    out, _ = run
    done = metarims("train", *SMALL, "--seeds", 0, 1, "--out", out)
    assert done.returncode == 0
    assert "already finished" in done.stdout


def test_evaluation_in_both_worlds(run, tmp_path):
    out, _ = run
    for place in ("jax", "farama"):
        done = metarims("evaluate", out, "--in", place, "--episodes", 12, "--json", tmp_path / "found.json")
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / "found.json").read_text())
        assert [(r["policy"], r["seed"]) for r in results] == [(p, s) for p in ("greedy", "sampled") for s in (0, 1)]
        for result in results:
            assert result["in"] == place
            assert result["episodes"] == 12 == len(result["episode_return"])
            assert result["success"] == sum(result["episode_success"]) / 12
            assert result["success_low"] <= result["success"] <= result["success_high"]
            assert f"{result['success']:.3f} [" in done.stdout
        assert "all" in done.stdout


def test_one_agents_file_elsewhere_needs_no_flags(run, tmp_path):
    out, _ = run
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((out / "agents/seed-1.safetensors").read_bytes())
    done = metarims("evaluate", moved, "--env", "BabyAI-GoToLocalS5N2-v0", "--in", "jax", "--episodes", 5)
    assert done.returncode == 0, done.stderr
    assert "vanilla on BabyAI-GoToLocalS5N2-v0" in done.stdout


def test_view_writes_one_page(run, tmp_path):
    out, _ = run
    done = metarims("view", out, "--episodes", 2, "--out", tmp_path / "new/page.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "new/page.html").read_text().lower()
    assert "Wrote" in done.stdout


def test_doctor_names_what_matters():
    done = metarims("doctor")
    assert done.returncode == 0
    for word in ("metarims", "jax", "minigrid", "python", "devices", "cores", "memory", "compile cache", "free disk"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--agent", "metarim"), "Unknown agent 'metarim'. Did you mean metarims"),
        (("train", "--preset", "papper"), "Unknown preset 'papper'. Did you mean paper"),
        (("train", "--preset=papper"), "Unknown preset 'papper'. Did you mean paper"),
        (("train", "--env", "BabyAI-GoToLokal-v0"), "Unknown environment 'BabyAI-GoToLokal-v0'. Did you mean BabyAI-"),
        (("train", "--fast.span", "7"), "fast.span (7) does not divide fast.rollout (40)"),
        (("train", "--network.num-active", "9"), "network.num_active is 9, but there are only 5 modules"),
        (("train", "--frames", "0"), "frames is 0: it must be greater than zero"),
        (("train", "--seeds", "1", "1"), "must be distinct"),
        (("train", "--ppo.gamma", "nan"), "ppo.gamma is nan"),
        (("train", "--fraems", "5"), "--frames"),
        (("train", "--frames", "many"), "many"),
        (("train", "--encoder-speed", "medium"), "medium"),
        (("trian",), "train"),
        ((), "train"),
        (("evaluate", "nowhere"), "There is no agent at nowhere"),
        (("evaluate", "."), "is not a run folder: it has no config.json"),
        (("view", "nowhere"), "There is no agent at nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in " ".join(complaint(capsys, *arguments).split())
    assert not (tmp_path / "runs").exists(), "nothing is written for bad input"


def test_bad_requests_on_a_good_run(capsys, run):
    out, _ = run
    assert "episodes is 0" in complaint(capsys, "evaluate", out, "--episodes", 0, "--in", "jax")
    assert "seed is -1" in complaint(capsys, "evaluate", out, "--seed", -1)
    assert "Unknown environment 'x'" in complaint(capsys, "evaluate", out, "--env", "x", "--in", "jax")
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
        "gamma": 0.99,
        "gae_lambda": 0.99,
        "clip": 0.2,
        "clip_value": True,
        "value_coef": 0.5,
        "entropy_coef": 0.01,
        "reward_scale": 20.0,
        "normalize_advantages": False,
        "adam_eps": 1e-5,
    }
    for loop, rollout, span in ((paper.fast, 40, 20), (paper.slow, 80, 80)):
        assert (loop.rollout, loop.span, loop.epochs) == (rollout, span, 4)
        assert (loop.learning_rate, loop.max_grad_norm) == (1e-4, 0.5)
        assert paper.ppo.num_envs * loop.rollout // loop.minibatches == 1280
    assert (paper.encoder_speed, paper.slow_data, paper.at_episode_end) == ("fast", "fresh", "reset")
    assert (paper.network.num_modules, paper.network.num_active, paper.network.lstm_dim) == (5, 3, 128)


def test_interrupted_from_the_keyboard(monkeypatch, capsys):
    def interrupt(self, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Doctor, "run", interrupt)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 130
    assert "interrupted" in capsys.readouterr().err
