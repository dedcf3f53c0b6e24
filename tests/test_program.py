"""The program in processes of its own, and whole trainings: resumed, interrupted by faults, on a user's environment."""

import json
import os
import shutil
import subprocess
import sys
from math import nan

import equinox as eqx
import pytest
from tests.test_cli import RUN, environment, metarims, refused, succeeds  # noqa: F401  (a fixture)

pytestmark = pytest.mark.process

CHECKED = 'import jaxtyping; jaxtyping.install_import_hook("metarims", "beartype.beartype"); '
"""As in conftest.py: the checks change the names of inner functions, and only equal programs share the cache."""


def spawn(*arguments, before="", **variables):
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", before + "from metarims.cli import main; main()", *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_help_imports_no_jax_and_the_package_is_a_program():
    code = "import sys; from metarims import cli\ntry: cli.main(['train', '--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    done = subprocess.run([sys.executable, "-m", "metarims", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("metarims ")


def test_lost_output_and_a_notebooks_backend_spoil_no_work(run_copy, tmp_path):
    """A finished run, so that nothing is trained: with closed and full streams, and as a notebook exports it."""
    program = f'{sys.executable} -c "from metarims.cli import main; main()"'
    train = f"{program} train {' '.join(map(str, RUN))} --out {run_copy}"
    backend = "module://matplotlib_inline.backend_inline"
    for command, code in {
        f"{train} > /dev/full": 0,
        f"{train} >&- 2>&-": 0,
        f"{train} <&- >&- 2> /dev/full": 0,
        f"{program} envs > /dev/full": 2,
        f"{program} envs | head -1": 0,
        f"MPLBACKEND={backend} {program} plot {run_copy} --out {tmp_path}/figure.svg": 0,
        f"MPLBACKEND=nothing {sys.executable} -c 'import metarims.views.plots'": 0,
    }.items():
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=200)
        assert done.returncode == code, (command, done.stderr)
        assert "Traceback" not in done.stderr
    assert (tmp_path / "figure.svg").exists()


def test_the_same_command_resumes_with_the_same_bits(trained_run, run_copy):
    """Trained in two parts, in two processes, as after a kill: every file is as from one training."""
    agents = [f"agents/{path.name}" for path in sorted((trained_run / "agents").glob("*.safetensors"))]
    assert len(agents) == 4, "the last and the best of both seeds"
    *_, last = sorted((run_copy / "checkpoints").iterdir())
    shutil.rmtree(last)
    for name in agents:
        (run_copy / name).unlink()
    done = spawn("train", *RUN, "--out", run_copy, before=CHECKED)
    assert done.returncode == 0, done.stderr
    for words in (
        "metarims on BabyAI-GoToRedBallNoDists-v0",
        "1,024",
        "frames/s",
        "success",
        "fast/value_loss",
        "2,048",
    ):
        assert words in done.stdout
    for name in ("config.json", "metrics.jsonl", *agents):
        assert (run_copy / name).read_bytes() == (trained_run / name).read_bytes(), name


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


def test_a_seed_that_fails_is_reported_and_the_other_is_unchanged(trained_run, broken, tmp_path):
    done = metarims("train", *RUN, "--out", tmp_path)
    assert done.returncode == 3
    (event,) = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (event["event"], event["seed"], event["env_steps"]) == ("stop", 1, 128)
    agent = "agents/seed-0.safetensors"
    assert (tmp_path / agent).read_bytes() == (trained_run / agent).read_bytes()
    others = [
        line for line in (trained_run / "metrics.jsonl").read_text().splitlines() if json.loads(line)["seed"] == 0
    ]
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == others
    assert metarims("train", *RUN, "--out", tmp_path).returncode == 3, "seed 1 stays stopped"


def test_a_platform_that_jax_cannot_use(tmp_path):
    """JAX complains about a name that it knows, and about one that it does not, in different ways."""
    for platform, arguments in (("cuda", ["train", *RUN, "--out", tmp_path / "run"]), ("nothing", ["params"])):
        done = spawn(*arguments, JAX_PLATFORMS=platform)
        assert done.returncode == 2, done.stderr
        *waiting, error = done.stderr.splitlines()
        assert all(line.endswith(" ...") for line in waiting)
        assert f"JAX_PLATFORMS is '{platform}'" in error
    done = spawn("doctor", JAX_PLATFORMS="cuda")
    assert done.returncode == 0
    assert "none: JAX_PLATFORMS is 'cuda'" in done.stdout


def test_a_reader_that_leaves_ends_no_training(tmp_path):
    """As ``metarims train | head -1`` does: nothing more is printed, and all is saved."""
    command = [sys.executable, "-c", CHECKED + "from metarims.cli import main; main()", "train", *RUN, "--out", "run"]
    variables = {"PYTHONUNBUFFERED": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, "env": os.environ | variables}
    with subprocess.Popen(command, **pipes) as training:
        assert training.stdout is not None
        training.stdout.readline()
        training.stdout.close()
        assert training.wait(timeout=300) == 0
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) > 1
    assert list((tmp_path / "run/agents").iterdir())


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
def users_task(tmp_path, monkeypatch):
    """The folder of a module with a user's own environment, which fails after so many steps."""
    (tmp_path / "gems.py").write_text(USERS_TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("gems", None)


def test_a_users_own_task_from_training_to_viewing(users_task):
    """It fails on the way: what was saved is kept, and the same command resumes."""
    words, env = ("--words", "shiny", "gem"), ("--env", "gems:Flaky-v0")
    train = "train", "--preset", "debug", "--agent", "vanilla", "--frames", 2048, *env, "--fast.rollout", 32
    assert "--words shiny" in refused(*train, "--out", users_task / "wordless")
    error = refused(*train, *words)
    assert all(word in error.splitlines()[-1] for word in ("gems:Flaky-v0", "ValueError: out of gems", "1,024"))

    sys.modules["gems"].Flaky.breaks_after = 10**9
    text = succeeds(*train, *words)
    assert "1,024" in text
    out = users_task / "runs/vanilla-gems-Flaky-v0"
    assert f" evaluate {out.relative_to(users_task)} --env gems:Flaky-v0" in text
    assert "--env" in refused("evaluate", out), "files import nothing"
    assert "gems:Flaky-v0" in succeeds("evaluate", out, *env, "--episodes", 3, "--policy", "sampled")
    assert "--backend farama" in refused("evaluate", out, *env, "--backend", "jax")
    succeeds("view", out / "agents/seed-0.safetensors", *env, "--episodes", 1)
    assert "find the shiny gem" in (out / "agents/episodes.html").read_text()
