"""What strangers send is data: it runs nothing, leaves its folder nowhere, and stays text on a page."""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz import samples
from tests.runs import fake

import metarims
from metarims.errors import UserError
from metarims.evaluation.recording import record_agents
from metarims.evaluation.tables import evaluate_agents
from metarims.fields import to_json
from metarims.runs.export import load_agent, save_agent
from metarims.runs.folder import RunFolder
from metarims.runs.progress import Progress
from metarims.studies.results import read_results
from metarims.studies.study_page import write_study_page

SOURCE = Path(metarims.__file__).parent
RUNS_CODE = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
    "torch",
    "yaml",
    "code",
    "codeop",
}
CALLS_CODE = {"eval", "exec", "compile", "__import__"}
NETWORK = {"socket", "ssl", "http", "urllib", "requests", "aiohttp", "ftplib", "smtplib"}
EVIL = "</script><img src=x onerror=alert(1)>\"'&"


def sources():
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_nothing_that_is_read_can_be_code():
    """Modules are imported by name for a task that the user names as ``module:id``, and for our own public names."""
    trees = sources()
    assert len(trees) > 50
    assert not {(name, module) for name, tree in trees.items() for module in imported(tree) if module in RUNS_CODE}
    named = {name: {node.func.id for node in ast.walk(tree) if _is_plain_call(node)} for name, tree in trees.items()}
    assert not {name for name, calls in named.items() if calls & CALLS_CODE}
    assert {name for name, tree in trees.items() if "import_module" in set(called(tree))} == {
        "__init__.py",
        "gridworld/registry.py",
    }
    assert not {name for name, tree in trees.items() if "allow_pickle" in ast.dump(tree)}


def _is_plain_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def test_nothing_speaks_to_a_network():
    """Only the name of this machine is asked for; of several hosts the address in ``--coordinator`` is tried, and that
    of a Ray cluster; what ``--log wandb`` sends is that library's."""
    users = {
        (name, module)
        for name, tree in sources().items()
        for module in imported(tree)
        if module.split(".")[0] in NETWORK
    }
    harmless = {
        "runs/folder.py": {"gethostname"},
        "runs/hosts.py": {"has_dualstack_ipv6", "AF_INET6", "AF_INET", "create_server", "create_connection"},
        "runs/signals.py": {"socketpair", "socket", "SHUT_WR"},
        "runs/workers.py": {"create_connection"},
    }
    assert users == {(name, "socket") for name in harmless}
    for name, uses in harmless.items():
        assert set(re.findall(r"\bsocket\.(\w+)", (SOURCE / name).read_text())) == uses


WATCH = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto", "urllib.Request"):
        sys.stderr.write(f"NETWORK {event} {arguments}\\n")
sys.addaudithook(watch)
from metarims.cli import main
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("command", [("study", "report"), ("evaluate",), ("train",)], ids=lambda command: command[0])
def test_no_command_connects_to_anything(tmp_path, command):
    samples.command_line_folder(tmp_path)
    rest = {"study": ["study"], "evaluate": ["run", "--env", "no such task"], "train": ["--env", "BabyAI-BosLevel-v0"]}
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *command, *rest[command[0]]],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == (0 if command[0] == "study" else 2), done.stderr
    assert "NETWORK" not in done.stderr


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module in the current folder that leaves a trace when it is imported, and an agent's file that names it."""
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    monkeypatch.chdir(tmp_path)
    saved = samples.real_agent("vanilla")
    path = tmp_path / "agent.safetensors"
    save_agent(path, saved._replace(config=dataclasses.replace(saved.config, env="trap:Task-v0")))
    return path


@pytest.mark.parametrize("where", ["farama", "jax"])
def test_an_agent_cannot_have_a_module_imported(trap, where):
    agents = [load_agent(trap)]
    for play in (evaluate_agents, record_agents):
        last = (False,) if play is record_agents else ()
        with pytest.raises(UserError, match=r"names the task trap:Task-v0, .* name the task yourself, with --env"):
            play(agents, None, where, 1, *last)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "speed.jsonl", "events.jsonl", "run.lock"])
def test_a_run_does_not_write_through_links(tmp_path, name):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to("../precious")
    with pytest.raises(UserError, match=f"{name} is a link"), RunFolder(tmp_path / "run", fake.SMALL):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_files_replace_links_and_do_not_follow_them(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    for name in ("config.json", ".config.json.00000000.tmp"):
        (tmp_path / "run" / name).symlink_to("../precious")
    (tmp_path / "run/config.json").unlink()
    with RunFolder(tmp_path / "run", fake.SMALL):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
    assert json.loads((tmp_path / "run/config.json").read_text())["agent"] == "vanilla"


def test_names_in_files_are_no_paths(tmp_path):
    """Tensors, plans and studies called ``../..`` are refused, or are names like any other."""
    samples.study_folder(tmp_path / "study")
    (tmp_path / "study/study.json").write_text(json.dumps({"study": "../fig9", "scale": "smoke"}))
    with pytest.raises(UserError, match=r"Unknown study '../fig9'"):
        read_results(tmp_path / "study")
    from metarims.studies.study_folder import result_path

    assert result_path(tmp_path, "../../etc/passwd").resolve().is_relative_to(tmp_path)


def test_a_study_s_page_shows_markup_as_text(tmp_path):
    folder, harmless = tmp_path / "study", tmp_path / "harmless"
    samples.study_folder(harmless)
    for path in samples.study_folder(folder):
        found = json.loads((folder / path).read_text())
        found |= {
            "label": EVIL,
            "commit": EVIL,
            "trained_by": [EVIL, EVIL * 2],
            "date": EVIL,
            "versions": {EVIL: EVIL},
            "stages": [EVIL],
        }
        found["rows"] = [[0, EVIL, EVIL, 0.5]]
        found["records"]["raster"]["env"] = EVIL
        found["configs"] = [{EVIL: EVIL, "seeds": [0]}]
        (folder / path).write_text(json.dumps(found))
    text = write_study_page(tmp_path / "report.html", read_results(folder)).read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
    plain = write_study_page(tmp_path / "plain.html", read_results(harmless)).read_text(encoding="utf-8")
    assert text.count("<script") == plain.count("<script")


def test_sentences_cannot_steer_a_terminal():
    text = str(UserError("Unknown field 'a\nb\x1b[2J\u202e\ud800'."))
    assert text == r"Unknown field 'a\nb\x1b[2J\u202e\ud800'."
    assert len(str(UserError("x" * 10**6))) < 3000


def test_a_name_is_no_markup_on_the_terminal(capsys):
    Progress().begin(fake.SMALL, 1200, ("Checkpoint runs/[/x]/[red]1 is damaged.",))
    assert "Note: Checkpoint runs/[/x]/[red]1 is damaged." in capsys.readouterr().out


def test_settings_of_a_stranger_are_compared_not_taken(tmp_path):
    (tmp_path / "config.json").write_text(to_json(dataclasses.replace(fake.SMALL, env="trap:Task-v0")))
    (tmp_path / "metrics.jsonl").write_text("{}")
    with pytest.raises(UserError, match="env = trap:Task-v0, not"), RunFolder(tmp_path, fake.SMALL):
        pass
