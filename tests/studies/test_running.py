"""Studies run as a user runs them, at the smallest scale: they end, report, and do nothing twice."""

import errno
import gzip
import io
import json
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console
from tests.fuzz.samples import tiny_agent

from metarims import cli, runtime
from metarims.errors import UserError
from metarims.fields import to_json
from metarims.runs import provenance
from metarims.runs.signals import StopRequest
from metarims.runs.training import TrainResult
from metarims.studies import jobs
from metarims.studies.catalogue import STUDIES
from metarims.studies.plans import Plan, Stage
from metarims.studies.results import collect
from metarims.studies.running import run_study
from metarims.studies.scales import scale
from metarims.studies.study_folder import claim_study_folder, error_path, result_path, stage_path

IN_EVERY_TEST = ("fig9", "demo")
NEEDS_SUCCESS = ("fig11",)
"""Studies with claims about solved episodes, of which an agent that hardly trained has too few."""


def metarims(*words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    command = [sys.executable, "-m", "metarims.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)


def run(name, folder):
    done = metarims("study", "run", name, "--scale", "smoke", "--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.process if name in IN_EVERY_TEST else pytest.mark.slow) for name in STUDIES],
)
def test_a_study_ends_reports_and_does_nothing_twice(name, tmp_path, capsys) -> None:
    said = run(name, tmp_path)
    page = (tmp_path / "report.html").read_text()
    scores = json.loads(gzip.decompress((tmp_path / "scores.json.gz").read_bytes()))
    assert scores["missing"] == []
    assert "not measured" not in said or name in NEEDS_SUCCESS, "every claim found its numbers"
    assert STUDIES[name].title in page
    assert not re.search(r"(src|href)=[\"']?https?:", page), "nothing is loaded from outside"
    moved = tmp_path / "elsewhere" / "scores.json.gz"
    moved.parent.mkdir()
    moved.write_bytes((tmp_path / "scores.json.gz").read_bytes())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    again = "study", "run", name, "--scale", "smoke", "--out", str(tmp_path)
    for arguments in (("study", "report", str(moved)), again):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
    assert (tmp_path / "report.html").read_text() == page
    links = re.findall(r'<a href="([^"#]+)"', page)
    if name == "demo":
        assert links == []
        assert 'id="viewer-data"' in page
        assert "success rate" in page.lower()
    else:
        assert len(links) == len(scores["plans"])
        assert all("viewer-data" in (tmp_path / link).read_text() for link in links)
    alone = moved.with_name("report.html").read_text()
    assert "<a href" not in alone, "links lead only where episodes are"
    assert alone[alone.index("<h2>Numbers") :] == page[page.index("<h2>Numbers") :]
    number = "1 plan" if len(before) == 1 else f"{len(before)} plans"
    assert f"{number}, {len(before)} already finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == before


@pytest.mark.process
def test_a_plan_that_fails_is_listed_and_can_be_run_again(tmp_path) -> None:
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    path = result_path(tmp_path, plan.name)
    folder = stage_path(tmp_path, plan.name, 0, plan.stages[0].env)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("[]")
    done = metarims("study", "run", "fig9", "--scale", "smoke", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "failed    metarims" in done.stdout
    assert "config.json must be an object with fields, not []" in " ".join(done.stdout.split())
    assert "1 plan failed" in done.stderr
    assert path.with_name("error.txt").exists()
    page = (tmp_path / "report.html").read_text()
    assert f"Not finished or failed; rerun the command to resume:</strong> {plan.name}" in page


class Ending:
    """A work that ends in this way when it is first asked."""

    def __init__(self, how, why=""):
        self.how, self.why = how, why

    def end(self):
        return self.how

    def stop(self):
        pass


class FakeWorkers:
    """Whoever takes a job does nothing but end; ``start(job)`` makes the work."""

    retries = 0

    def __init__(self, start, capacity=1):
        self.begin, self.capacity, self.jobs, self.at_once = start, capacity, [], []

    def start(self, job, at_once):
        self.jobs.append(job)
        self.at_once.append(at_once)
        return self.begin(job)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def run_faked(folder, workers, stop=None, name="fig9", only=()):
    """How it ended, and what was said."""
    said = io.StringIO()
    console = Console(file=said, width=10_000)
    ended = run_study(STUDIES[name], scale("smoke"), folder, workers, console, stop or StopRequest(), only)
    return ended, said.getvalue()


def write_result(folder, change=lambda settings: settings, **more):
    """A result as an earlier call left it, with settings that were changed, and more in it."""
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    claim_study_folder(folder, STUDIES["fig9"], scale("smoke"))
    configs = [change(json.loads(to_json(plan.config(0, scale("smoke")))))]
    stages = [stage.env for stage in plan.stages]
    empty = {"rows": [], "records": {}, "curves": [[]], "stopped": [], "seconds": 1.0}
    empty |= {"commit": "", "date": "", "versions": {}}
    path = result_path(folder, plan.name)
    path.parent.mkdir(parents=True)
    about = {"label": plan.label, "plan": plan.name, "stages": stages, "configs": configs}
    path.write_text(json.dumps(empty | about | more))
    return plan.name


TODAY = {"measures": ["deactivation"], "episodes": 4, "learnt": 0.0}


@pytest.mark.parametrize("more", [{}, {"measured": TODAY}], ids=["before it was written down", "as today"])
def test_a_result_of_todays_settings_and_measures_counts(tmp_path, more):
    name = write_result(tmp_path, **more)
    assert run_faked(tmp_path, FakeWorkers(None))[0] == ((name,), (), ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found | {"frames": 7}, r"settings \(frames = 7, not [\d,]+\): name another folder"),
        (lambda found: found | {"seeds": [9]}, "seeds = 9, not "),
        (lambda found: found | {"ppo": found["ppo"] | {"gamma": 0.5}}, r"ppo\.gamma = 0\.5, not 0\.99"),
        (lambda found: found | {"lost": 1}, r"of another version: Unknown field in its settings 'lost'"),
        (lambda found: found | {"fast": 3}, r"of another version: its settings.fast must be an object"),
    ],
)
def test_a_result_of_other_settings_is_refused_before_anything_runs(tmp_path, change, message):
    name = write_result(tmp_path, change)
    workers = FakeWorkers(lambda job: Ending("ended"))
    with pytest.raises(UserError, match=rf"holds a result of {re.escape(name)} .*{message}.* with --out"):
        run_faked(tmp_path, workers)
    assert workers.jobs == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 100}, r"\(episodes = 100, not 4\)"),
        ({"measures": ["learning", "values"]}, r"\(measures = learning, values, not deactivation\)"),
        ({"episodes": 9, "learnt": 0.8}, r"\(episodes = 9, not 4; learnt = 0\.8, not 0\.0\)"),
    ],
)
def test_what_was_measured_otherwise_is_refused_and_measured_again_where_it_is_removed(tmp_path, change, message):
    name = write_result(tmp_path, measured=TODAY | change)
    workers, path = FakeWorkers(lambda job: Ending("failed")), result_path(tmp_path, name)
    with pytest.raises(
        UserError, match=rf"was measured differently {message}: .* --out, or remove {re.escape(str(path))}"
    ):
        run_faked(tmp_path, workers)
    assert workers.jobs == []
    path.unlink()
    run_faked(tmp_path, workers)
    assert [job.plan for job in workers.jobs] == [name]


def test_a_new_folder_goes_on_from_collected_results(tmp_path):
    """The one file is enough to go on elsewhere: only plans that are missing in it are given away."""
    name = write_result(tmp_path / "first")
    fresh = tmp_path / "second" / "scores.json.gz"
    fresh.parent.mkdir()
    fresh.write_bytes(collect(tmp_path / "first").read_bytes())
    assert run_faked(fresh.parent, FakeWorkers(None))[0].finished == (name,)
    assert result_path(fresh.parent, name).read_bytes() == result_path(tmp_path / "first", name).read_bytes()
    result_path(fresh.parent, name).unlink()
    workers = FakeWorkers(lambda job: Ending("failed", "why"))
    assert run_faked(fresh.parent, workers)[0].failed == (name,), "a result that was removed is run again"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "fig7"}, "holds the study fig7 at scale smoke, not fig9 at scale smoke: name another folder"),
        ({"plans": [{"plan": "another"}]}, "holds results of another"),
        ({"plans": [{"label": 3}]}, r"plans\[0\].label is 3: it must be text"),
        ({"plans": [{"configs": []}]}, "has 1 stages, 1 curves and 0 configs"),
        ({"plans": [{"configs": [{"seeds": [9]}]}]}, r"scores\.json\.gz holds .* other settings \(.*seeds = 9, not"),
        ({"plans": [{"measured": TODAY | {"episodes": 9}}]}, r"\(episodes = 9, not 4\): name another .* --out\.$"),
    ],
)
def test_collected_results_of_something_else_are_refused_and_kept(tmp_path, change, message):
    write_result(tmp_path / "first")
    found = json.loads(gzip.decompress(collect(tmp_path / "first").read_bytes()))
    if "plans" in change:
        change = {"plans": [found["plans"][0] | change["plans"][0]]}
    path = tmp_path / "second" / "scores.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps(found | change).encode()))
    with pytest.raises(UserError, match=message):
        run_faked(path.parent, FakeWorkers(None))
    assert list(path.parent.iterdir()) == [path]


def test_only_the_plans_of_some_labels_run(tmp_path):
    workers = FakeWorkers(lambda job: Ending("failed", "why"))
    ended = run_faked(tmp_path, workers, name="fig8", only=("slowlr",))[0]
    assert {job.plan for job in workers.jobs} == set(ended.failed)
    assert ended.failed
    assert all(name.startswith("slowlr_on_") for name in ended.failed)
    assert ended.left == ()
    with pytest.raises(UserError, match=r"Unknown label 'slowrl'\. Did you mean slowlr\?"):
        run_faked(tmp_path, workers, name="fig8", only=("slowrl",))


@pytest.mark.parametrize(("capacity", "at_once"), [(1, 1), (3, 3), (16, 6)])
def test_cores_are_shared_by_no_more_plans_than_there_are(tmp_path, capacity, at_once):
    """Six plans; of one of them alone all cores are."""
    workers = FakeWorkers(lambda job: Ending("failed"), capacity)
    run_faked(tmp_path, workers, name="fig8")
    assert workers.at_once == [at_once] * 6
    alone = FakeWorkers(lambda job: Ending("failed"), capacity)
    run_faked(tmp_path / "alone", alone)
    assert alone.at_once == [1]


def test_the_reason_of_a_failure_is_todays(tmp_path):
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    old = error_path(tmp_path, plan.name)
    old.parent.mkdir(parents=True)
    old.write_text("an old reason")
    workers = FakeWorkers(lambda job: Ending("died", "its process was killed by SIGKILL"))
    ended, said = run_faked(tmp_path, workers)
    assert ended.failed == (plan.name,)
    assert f"failed    {plan.name}  its process was killed by SIGKILL" in said
    assert not old.exists()


def test_a_plan_that_ends_as_a_stop_comes_is_stopped(tmp_path):
    """A terminal's Ctrl-C reaches all processes at once: a plan may have ended before this one looks."""
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    stop = StopRequest()

    class Stopped(Ending):
        def end(self):
            stop.requested = True
            return "ended"

    ended, said = run_faked(tmp_path, FakeWorkers(lambda job: Stopped("ended")), stop)
    assert ended == ((), (), (plan.name,))
    assert f"stopped   {plan.name}" in said


@pytest.mark.usefixtures("quick_compilation")
def test_a_result_that_cannot_be_written_is_a_reason(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runtime, "enable_compile_cache", lambda: None)
    monkeypatch.setattr(jobs, "run_plan", lambda *_: {})
    monkeypatch.setattr(jobs, "write_atomic", full)
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    why = jobs.run_job(jobs.PlanJob("fig9", "smoke", plan.name, str(tmp_path)))
    assert why.startswith("Could not write the result in ")
    assert "no space is left on the disk" in why


@pytest.mark.usefixtures("quick_compilation")
def test_a_fault_of_ours_is_told_in_a_line_and_kept_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "enable_compile_cache", lambda: None)
    monkeypatch.setattr(jobs, "run_plan", lambda *_: {}["first\nsecond"])
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    assert jobs.run_job(jobs.PlanJob("fig9", "smoke", plan.name, str(tmp_path))).startswith("KeyError: 'first")
    assert "Traceback" in error_path(tmp_path, plan.name).read_text()


def test_a_plans_seconds_and_commits_are_those_of_all_its_attempts(tmp_path, monkeypatch):
    """Training was interrupted twice, and the last attempt found it finished; meanwhile something was committed."""
    task = "BabyAI-GoToObj-v0"
    plan, size = Plan("metarims", "metarims", (Stage(task), Stage(task)), ()), scale("smoke")
    first = '{"seconds": 100, %s, "commit": "one"}\n{"seconds": 50.5, %s, "commit": "two-dirty"}\n'
    second = '{"seconds": 7, %s}\n?\n{"seconds": 0, %s, "commit": "one"}\n{"seconds": 0, %s, "commit": ""}\n'
    for index, content in enumerate((first, second)):
        run = stage_path(tmp_path, plan.name, index, task)
        run.mkdir(parents=True)
        (run / "speed.jsonl").write_text(content.replace("%s", '"compile_seconds": 1, "frames_per_second": 2'))
    head = ["today"]

    def train(*_, **__):
        head.append("later")
        return TrainResult(True, 1)

    monkeypatch.setattr(provenance, "commit", lambda: head[-1])
    monkeypatch.setattr(jobs, "train", train)
    monkeypatch.setattr(jobs, "load_agents", lambda path: [tiny_agent()])
    monkeypatch.setattr(jobs, "read_metrics", lambda path: [])
    monkeypatch.setattr(jobs, "write_episodes", lambda *_: None)
    found = jobs.run_plan(plan, size, tmp_path, StopRequest())
    assert 157.5 <= found["seconds"] < 160
    assert (found["commit"], found["trained_by"]) == ("today", ["one", "two-dirty", "unknown"])
    assert found["measured"] == {"measures": [], "episodes": size.episodes, "learnt": size.learnt}
