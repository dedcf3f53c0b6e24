"""The documentation holds: commands parse, programs run, metrics are explained, flags exist, links resolve."""

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from textwrap import dedent

import jax
import pytest

from metarims import cli
from metarims.agents.agent import CORES
from metarims.config import Config
from metarims.errors import UserError
from metarims.gridworld.registry import resolve, tasks
from metarims.learning.rollout import Episodes
from metarims.learning.trainer import summarize
from metarims.presets import PRESETS
from metarims.rules import GROUPS, RULES
from metarims.runs.faults import Event
from metarims.runs.folder import differences
from metarims.runs.loggers import LOGGERS
from metarims.studies.catalogue import STUDIES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "howto").glob("*.md"))
SHELL = ("sh", "bash")
"""Languages of blocks that hold commands."""


def blocks(page, *languages):
    """The fenced blocks of a page in these languages."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [dedent(text) for _, language, text in found if language in languages]


def test_fences_stand_on_lines_of_their_own():
    """A formatter that joins lines would turn a block of commands into text."""
    for page in PAGES:
        assert not re.findall(r"^.*```\w* .*$", page.read_text(), re.MULTILINE), name(page)


def name(page):
    return str(page.relative_to(ROOT))


# Commands


def commands(page):
    """Every command of a page as words, without comments, variables set before it and redirections."""
    for block in blocks(page, *SHELL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


@pytest.mark.parametrize("page", [pytest.param(page, id=name(page)) for page in PAGES if [*commands(page)]])
def test_commands_parse(page):
    for words in commands(page):
        check_command(*words)


@cache
def check_command(*words):
    program, *arguments = words
    if program == "srun":
        check_command(*arguments)
    elif program == "metarims":
        check_metarims(arguments)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= {*targets}
    elif program == "pip":
        assert arguments[0] == "install"
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        assert {extra for word in arguments for extra in re.findall(r"\w+", word.partition("[")[2])} <= {*extras}
    elif program == "python":
        assert arguments[0].startswith(("examples/", "benchmarks/"))
        assert (ROOT / arguments[0]).is_file()
    elif program == "source":  # The environment that the Makefile makes.
        assert arguments == [".venv/bin/activate"]
        assert "\nVENV := .venv\n" in (ROOT / "Makefile").read_text()
    elif program == "sbatch":
        wrapped = arguments[arguments.index("--wrap") + 1]
        check_command(*shlex.split(wrapped.replace("$agent", "modular").replace("$SLURM_ARRAY_TASK_ID", "3")))
    else:
        assert program in ("tensorboard", "ray", "export", "for", "done"), "not a program that the pages may name"


def check_metarims(arguments):
    """The program's own parser takes them, and what they name exists."""
    if {"--help", "--help-all"} & {*arguments}:
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()):
            cli.parse(arguments)
        assert ended.value.code == 0
        return
    if "--config-from" in arguments:  # A run that the page had made.
        index = arguments.index("--config-from")
        arguments = arguments[:index] + arguments[index + 2 :]
    parsed = cli.parse(arguments)
    env = parsed.config.env if isinstance(parsed, cli.TrainCommand) else getattr(parsed, "env", None)
    for task in tasks(env or "") if env and ":" not in env else ():
        resolve(task)
    assert {*getattr(parsed, "log", ())} <= {*LOGGERS}
    assert not isinstance(parsed, cli.StudyRunCommand) or parsed.name in STUDIES


@pytest.mark.parametrize(
    "line",
    [
        "metarims train --agent metarim",
        "srun metarims train --sedes 0",
        "metarims train --env BabyAI-GoToLokal-v0",
        "metarims train --log tensorbord",
        "make everything",
        "pip install '.[cuda11]'",
        "python examples/nothing.py",
        "rm -r runs",
    ],
)
def test_a_wrong_command_is_noticed(line, capsys):
    with pytest.raises((AssertionError, UserError, SystemExit)):
        check_command(*shlex.split(line))


def shortened(words):
    """The same command, small enough to run here; None where other tests run it, or it needs what is not here."""
    program, *arguments = words[1:] if words[0] == "srun" else words
    if program == "python" and "examples/custom_rule.py" in arguments:
        program, start = arguments[1], [sys.executable, "examples/custom_rule.py"]
    elif program == "metarims":
        program, start = arguments[0], [sys.executable, "-m", "metarims.cli"]
    else:
        return None
    rest = arguments[arguments.index(program) + 1 :]
    if program == "demo" or rest[:1] == ["run"] or "--hosts" in rest or rest == ["report", "runs/table1-laptop"]:
        return None
    if program == "train" and not {"--help", "--help-all"} & {*rest}:
        rest = ["debug" if word == "demo" else word for word in rest]
        preset = [] if {"--preset", "--config-from"} & {*rest} else ["--preset", "debug"]
        rest = [*preset, *rest, "--frames", "4096"]
    if program in ("evaluate", "view", "report"):
        rest += ["--episodes", "2"]
    return [*start, program, *rest]


def pages_with_commands():
    for page in PAGES:
        if short := [found for words in commands(page) if (found := shortened(words))]:
            yield pytest.param(short, id=name(page))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("lines", pages_with_commands())
def test_the_commands_of_a_page_work_one_after_another(lines, tmp_path):
    """Each with few frames and episodes, in an empty folder that holds no more than the checkout's own."""
    for folder in ("benchmarks", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    environment = os.environ | {"WANDB_MODE": "offline", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), ".")))
    for words in lines:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


# Programs


def trains(block):
    """Whether a block compiles a trainer, which takes long."""
    return bool(re.search(r"\b(run_chunk|train)\(", block))


def shorten(block):
    """The same program with fewer frames and one seed."""
    return re.sub(r"frames=[\d_]+", "frames=640", block).replace("seeds=(0, 1, 2)", "seeds=(0,)")


@pytest.fixture
def unchanged():
    """What a program registers is gone afterwards."""
    before = [(table, dict(table)) for table in (CORES, RULES, STUDIES)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


def execute(page, programs):
    """Run the blocks of a page one after another, in one namespace; skip where one imports Flax, which is not here."""
    names = {"__name__": page.stem}
    for block in programs:
        if "from flax import" in block:
            pytest.importorskip("flax")
        exec(compile(block, str(page), "exec"), names)


def pages_with_programs(slow):
    found = [(page, any(map(trains, blocks(page, "python")))) for page in PAGES if blocks(page, "python")]
    return [pytest.param(page, id=name(page)) for page, has_slow in found if has_slow or not slow]


@pytest.mark.usefixtures("unchanged", "quick_compilation")
@pytest.mark.parametrize("page", pages_with_programs(slow=False))
def test_programs_that_do_not_train_run(page, capsys):
    execute(page, [block for block in blocks(page, "python") if not trains(block)])


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("page", pages_with_programs(slow=True))
def test_programs_that_train_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    execute(page, map(shorten, blocks(page, "python")))


# Metrics

METRICS = ROOT / "docs" / "metrics.md"


def explained(section):
    """The names in the first column of a section's tables."""
    text = METRICS.read_text().split(f"\n## `{section}`\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def general(metric):
    """A metric's name as the page has it."""
    loops = {timescale.name for rule in RULES.values() for timescale in rule.timescales}
    metric = re.sub(rf"^({'|'.join(loops)})/", "LOOP/", metric)
    metric = re.sub(rf"/({'|'.join(GROUPS)})$", "/GROUP", metric)
    metric = re.sub(r"^(modules/\w+)_\d+$", r"\1_M", metric)
    return re.sub(r"^(episodes|return|success|episode_length)/.*", r"\1/TASK", metric)


def test_every_metric_is_explained_and_no_other(trained_run):
    """The names are those that a run writes, and those of a mixture."""
    of_tasks = summarize(Episodes(*(jax.numpy.zeros(2),) * 5), ("one task", "another"))
    written = {general(metric) for metric in names_in(trained_run / "metrics.jsonl") | of_tasks.keys()}
    names = explained("metrics.jsonl")
    assert set(names) == written
    assert len(names) == len(written), "each stands once"
    assert names_in(trained_run / "speed.jsonl") <= set(explained("speed.jsonl"))


def names_in(file):
    """All names in a file of JSON lines."""
    return set().union(*map(json.loads, file.read_text().splitlines()))


def test_every_field_of_an_event_is_explained():
    assert explained("events.jsonl") == list(Event._fields)


# Settings and links


def test_the_defaults_beside_the_papers():
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \| (\S+) \|$", (ROOT / "docs" / "details.md").read_text(), re.MULTILINE)
    ours, paper = Config(), PRESETS["paper"]
    assert {setting for setting, *_ in rows} == set(differences(ours, paper))
    for setting, *said in rows:
        for config, text in zip((ours, paper), said, strict=True):
            value = config
            for part in setting.split("."):
                value = getattr(value, part)
            shown = ("yes" if value else "no") if isinstance(value, bool) else str(value)
            assert text == shown.removesuffix(".0")


@pytest.mark.parametrize("page", [pytest.param(page, id=name(page)) for page in PAGES])
def test_links_lead_to_files_and_headings(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"\w+:", target):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target
    for scores in re.findall(r"`(?:benchmarks/scores/)?([\w.-]+\.json(?:\.gz)?)`", prose):
        known = (ROOT / "benchmarks" / "scores" / scores).is_file() or scores in RUN_FILES
        assert known, f"{scores} is neither committed nor written by a run"


RUN_FILES = ("config.json", "wandb.json", "scores.json.gz", "result.json", "doorkey.json")


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w -]", "", title.lower()).strip() for title in titles]
    return [title.replace(" ", "-") for title in plain]


@cache
def flags():
    """Every flag that a command's help lists."""
    listed = io.StringIO()
    commands = "train", "train --agent vanilla", "evaluate", "view", "plot", "study run", "study list", "study report"
    for command, option in itertools.product(commands, ("--help", "--help-all")):
        with pytest.raises(SystemExit), contextlib.redirect_stdout(listed):
            cli.parse([*command.split(), option])
    return set(re.findall(r"--[a-z][\w.-]*", listed.getvalue()))


@pytest.mark.parametrize("page", [pytest.param(page, id=name(page)) for page in PAGES])
def test_flags_named_in_the_text_exist(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    programs = " ".join(line for line in page.read_text().splitlines() if line.startswith(("#SBATCH", "sbatch")))
    for code in re.findall(r"`([^`]+)`", prose):
        if code.startswith("--") or code.startswith("metarims "):
            for flag in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                stem = flag.removesuffix(".GROUP").rstrip(".")
                known = flag in flags() or any(other.startswith(stem + ".") for other in flags())
                assert known or flag in programs, flag
