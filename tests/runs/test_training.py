import dataclasses
import io
import json
import os
import shutil
import signal
import threading
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

import metarims
from metarims import __version__
from metarims.config import Config
from metarims.errors import UserError
from metarims.runs import callbacks, checkpoints, provenance, training
from metarims.runs.export import load_agent
from metarims.runs.folder import describe, load_agents, read_config
from metarims.runs.progress import Progress
from metarims.runs.signals import StopRequest


class Callback:
    def __init__(self, act=None):
        self.act, self.problems, self.start, self.reports = act, (), None, []

    def begin(self, config, env_steps, problems):
        self.start, self.problems = env_steps, problems

    def chunk(self, report):
        self.reports.append(report)
        if self.act:
            self.act(report)


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_after(chunk):
    def act(report):
        if report.chunk == chunk:
            raise Killed

    return Callback(act)


@pytest.fixture
def whole(tmp_path, train, snapshot):
    """What an uninterrupted run leaves."""
    train(tmp_path / "whole")
    return snapshot(tmp_path / "whole")


def test_a_run_leaves_config_metrics_checkpoints_and_agents(tmp_path, train):
    callback = Callback()
    outcome = train(tmp_path / "run", callback=callback)
    assert outcome == (True, 1200, ())
    assert json.loads((tmp_path / "run/config.json").read_text())["seeds"] == [3, 5]
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["chunk"], row["env_steps"]) for row in rows] == [
        (seed, chunk, chunk * 100) for chunk in range(1, 13) for seed in (3, 5)
    ]
    assert any(row["success"] is None for row in rows), "an undefined success rate is null"
    assert checkpoints.chunks(tmp_path / "run/checkpoints") == [9, 12], "the last two are kept"
    assert sorted(path.name for path in (tmp_path / "run/agents").iterdir()) == [
        "best-seed-3.safetensors",
        "best-seed-5.safetensors",
        "seed-3.safetensors",
        "seed-5.safetensors",
    ]


def test_the_agent_with_the_highest_return_before_a_checkpoint_is_kept(tmp_path, fake, train):
    """A checkpoint comes every third chunk; the agent of that moment stands for the three."""
    train(tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    for seed in (3, 5):
        returns = np.array([row["return"] for row in rows if row["seed"] == seed]).reshape(4, 3).mean(1)
        chunk = 3 * (1 + int(returns.argmax()))
        train(tmp_path / "short", dataclasses.replace(fake.SMALL, frames=100 * chunk))
        kept, expected = (
            load_file(tmp_path / name)
            for name in (f"run/agents/best-seed-{seed}.safetensors", f"short/agents/seed-{seed}.safetensors")
        )
        np.testing.assert_equal(kept, expected)
        shutil.rmtree(tmp_path / "short")


@pytest.mark.parametrize("chunks", [1, 2, 4, 7, 8])
def test_at_its_end_a_run_chooses_among_its_last_chunks_too(tmp_path, fake, train, chunks):
    train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=100 * chunks))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    ends = [*range(3, chunks, 3), chunks]
    for seed in (3, 5):
        returns = [row["return"] for row in rows if row["seed"] == seed]
        means = [np.mean(returns[3 * index : end]) for index, end in enumerate(ends)]
        assert (
            load_agent(tmp_path / f"run/agents/best-seed-{seed}.safetensors", fake.build).env_steps
            == 100 * ends[int(np.argmax(means))]
        )


def test_a_run_that_is_stopped_chooses_at_regular_checkpoints_alone(tmp_path, train):
    stops = Callback(lambda report: os.kill(os.getpid(), signal.SIGTERM) if report.chunk == 2 else None)
    train(tmp_path / "run", callback=stops)
    assert not list((tmp_path / "run/agents").glob("best-*"))
    with pytest.raises(
        UserError, match=r"no best agent yet .* every 3 chunks \(checkpoint_every\) and at the run's end"
    ):
        load_agents(tmp_path / "run", best=True)


@pytest.mark.parametrize("chunk", [1, 3, 4, 6, 11, 12])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, train, snapshot, whole, chunk):
    with pytest.raises(Killed):
        train(tmp_path / "run", callback=kill_after(chunk))
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == (chunk - 1) // 3 * 300
    assert snapshot(tmp_path / "run") == whole


def test_one_program_serves_every_chunk_also_of_a_run_that_goes_on(tmp_path, train):
    with pytest.raises(Killed):
        train(tmp_path / "run", callback=kill_after(5))
    compiled = []

    def listen(event, duration, **_):
        compiled.extend([event] * event.endswith("backend_compile_duration"))

    callback = Callback(lambda report: compiled.append(report.chunk))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        train(tmp_path / "run", callback=callback)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert [entry for entry in compiled[compiled.index(4) :] if isinstance(entry, str)] == []
    assert [report.chunk for report in callback.reports] == list(range(4, 13))


@pytest.mark.parametrize("chunks", [2, 5, 6, 10])
def test_training_longer_is_the_same_run(tmp_path, fake, train, snapshot, whole, chunks):
    """Its best agents, too."""
    train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=100 * chunks))
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == 100 * chunks
    assert {**snapshot(tmp_path / "run")} == whole


def test_a_finished_run_is_left_as_it_is(tmp_path, train, snapshot):
    train(tmp_path / "run")
    before = snapshot(tmp_path / "run")
    (tmp_path / "run/agents/seed-3.safetensors").unlink()
    callback = Callback()
    assert train(tmp_path / "run", callback=callback) == (True, 1200, ())
    assert not callback.reports
    assert snapshot(tmp_path / "run") == before, "a lost agent is exported again"


def test_a_run_folder_can_be_moved(tmp_path, train, snapshot, whole):
    with pytest.raises(Killed):
        train(tmp_path / "here", callback=kill_after(7))
    (tmp_path / "here").rename(tmp_path / "there")
    train(tmp_path / "there")
    assert snapshot(tmp_path / "there") == whole


def test_a_run_stays_in_its_folder_when_the_current_folder_changes(tmp_path, train, snapshot, whole, monkeypatch):
    """As where a user's environment or callback changes it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    train("run", callback=Callback(lambda report: os.chdir(tmp_path / "elsewhere")))
    assert snapshot(tmp_path / "run") == whole
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_chunk_saves_and_returns(tmp_path, train, snapshot, whole, number):
    callback = Callback(lambda report: os.kill(os.getpid(), number) if report.chunk == 4 else None)
    before = signal.getsignal(number)
    assert train(tmp_path / "run", callback=callback) == (False, 400, ())
    assert signal.getsignal(number) is before
    assert checkpoints.chunks(tmp_path / "run/checkpoints") == [3, 4]
    train(tmp_path / "run")
    assert snapshot(tmp_path / "run") == whole


@pytest.mark.parametrize("reading", range(6))
def test_a_stop_between_any_two_looks_for_one_leaves_nothing_unsaved(tmp_path, fake, reading):
    class Late(StopRequest):
        """Asked for just before this reading."""

        requested = property(lambda self: next(self.readings) >= reading, lambda self, value: None)
        readings = iter(range(100))

    callback = Callback()
    outcome = training.train(fake.SMALL, tmp_path, callback, fake.FakeTrainer, Late())
    assert not outcome.finished
    saved = checkpoints.chunks(tmp_path / "checkpoints")
    assert outcome.env_steps == 100 * len(callback.reports) == 100 * max(saved, default=0)


def test_a_signal_while_compiling_ends_the_run_before_a_chunk(tmp_path, fake, train, snapshot, whole, monkeypatch):
    with pytest.raises(Killed):
        train(tmp_path / "run", callback=kill_after(4))
    for out, steps in (("run", 300), ("new", 0)):
        callback = Callback()
        with monkeypatch.context() as patch:
            patch.setattr(fake.FakeTrainer, "compile", lambda *_: os.kill(os.getpid(), signal.SIGINT))
            assert train(tmp_path / out, callback=callback) == (False, steps, ())
        assert not callback.reports
        train(tmp_path / out)
        assert snapshot(tmp_path / out) == whole


def test_who_watches_is_told_of_compiling_if_it_can_be(tmp_path, train):
    class Listener(Callback):
        def __init__(self):
            super().__init__(lambda report: heard.append(report.chunk))

        def compiling(self):
            heard.append("compiling")

        def begin(self, config, env_steps, problems):
            heard.append(f"from {env_steps}")

        def compiled(self, seconds):
            heard.append("compiled")

    heard = []
    with pytest.raises(Killed):
        train(tmp_path / "run", callback=callbacks.Callbacks(Listener(), kill_after(4)))
    assert heard == ["compiling", "from 0", "compiled", 1, 2, 3, 4]
    heard = []
    train(tmp_path / "run", callback=Listener())
    assert heard == ["compiling", "from 300", "compiled", *range(4, 13)]
    heard = []
    train(tmp_path / "run", callback=Listener())
    assert heard == ["compiling", "from 1200"], "a finished run compiles no more"


def test_compiling_counts_as_part_of_the_first_chunk_but_not_of_its_speed(tmp_path, train, monkeypatch, fake):
    now = iter(range(10**6))  # Each look at the clock is a second later.
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))
    monkeypatch.setattr(fake.FakeTrainer, "compile", lambda self, state: [next(now) for _ in range(6)])
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    first, second, *_ = callback.reports
    assert [first.compile_seconds, second.compile_seconds] == [7, 0]
    assert [first.seconds, second.seconds] == [8, 1]
    assert first.frames_per_second == second.frames_per_second


def test_every_chunk_names_the_code_that_trained_it(tmp_path, train, fake, monkeypatch):
    """Two commits train one run."""
    for commit, frames in (("one", 600), ("two", 1200)):
        monkeypatch.setattr(provenance, "commit", lambda commit=commit: commit)
        train(tmp_path, dataclasses.replace(fake.SMALL, frames=frames))
    chunks = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [chunk["commit"] for chunk in chunks] == ["one"] * 6 + ["two"] * 6
    assert {chunk["version"] for chunk in chunks} == {__version__}


def test_a_run_goes_on_to_the_end_of_a_chunk(tmp_path, fake, train):
    callback = Callback()
    assert train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=450), callback).env_steps == 500
    assert [report.end_steps for report in callback.reports] == [500] * 5


def test_another_configuration_is_refused_with_its_first_difference(tmp_path, fake, train):
    train(tmp_path / "run")
    other = dataclasses.replace(
        fake.SMALL, ppo=dataclasses.replace(fake.SMALL.ppo, gamma=0.5), record_every=200, frames=2000
    )
    with pytest.raises(UserError, match=r"run with ppo\.gamma = 0\.99, not 0\.5"):
        train(tmp_path / "run", other)
    other = dataclasses.replace(fake.SMALL, seeds=(3, 5, 7))
    with pytest.raises(UserError, match="run with seeds = 3 5, not 3 5 7"):
        train(tmp_path / "run", other)


def test_a_folder_that_was_only_claimed_is_free_for_other_settings(tmp_path, fake, train, snapshot, whole):
    """As a run leaves it that is refused, or killed, before its first chunk."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_bytes(describe(dataclasses.replace(fake.SMALL, seeds=(9,))))
    train(tmp_path / "run")
    assert snapshot(tmp_path / "run") == whole


@pytest.mark.parametrize("name", ["metrics.jsonl", "speed.jsonl", "events.jsonl"])
def test_what_another_program_left_is_not_overwritten(tmp_path, train, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("theirs")
    with pytest.raises(UserError, match=rf"run has no config.json, but {name}, which a run would overwrite"):
        train(tmp_path / "run")
    assert (tmp_path / "run" / name).read_text() == "theirs"


def test_fewer_frames_leave_the_record_of_a_longer_run(tmp_path, fake, train, snapshot, whole):
    train(tmp_path / "run")
    assert train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=500)) == (True, 1200, ())
    assert snapshot(tmp_path / "run") == whole
    assert read_config(tmp_path / "run").frames == fake.SMALL.frames


def test_a_folder_of_runs_names_them(tmp_path, train):
    train(tmp_path / "demo/one")
    for folder in (tmp_path, tmp_path / "demo"):
        with pytest.raises(UserError, match=r"is not a run folder: .* Did you mean .*demo/one\?"):
            read_config(folder)
    with pytest.raises(UserError, match="Train a run first: metarims train --out "):
        read_config(tmp_path / "nowhere")


def test_a_second_writer_is_refused(tmp_path, train):
    refusals = []

    def second(report):
        with pytest.raises(UserError, match=f"being written by process {os.getpid()} on") as refused:
            train(tmp_path / "run")
        refusals.append(refused)

    train(tmp_path / "run", callback=Callback(second))
    assert len(refusals) == 12


def test_training_outside_the_main_thread(tmp_path, train):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(train(tmp_path / "run")))
    thread.start()
    thread.join()
    assert outcomes == [(True, 1200, ())]


def test_a_task_without_episodes_has_no_means():
    """In a mixture each task is judged by its own episodes."""
    run = SimpleNamespace(chunk=1, env_steps=10)
    values = {"episodes": 3, "episodes/a": 3, "episodes/b": 0, "success": 0.5, "success/a": 0.5, "success/b": 0.0}
    row = training._Run._row(run, 0, 7, {name: np.array([value]) for name, value in values.items()})  # pyright: ignore
    assert row == {"seed": 7, "chunk": 1, "env_steps": 10} | values | {"success/b": None}
    text = io.StringIO()
    progress = Progress(Console(file=text, width=200))
    progress.begin(Config(env="a+b"), 0, ())
    progress.chunk(callbacks.ChunkReport(1, 10, 20, 5.0, 0.0, [row], 2.0))
    assert "success 0.500" in text.getvalue()
    assert "success/a 0.500  success/b -" in text.getvalue()


def test_notes_that_are_not_of_a_run_are_damage(tmp_path, train, snapshot):
    train(tmp_path / "run")
    whole = snapshot(tmp_path / "run")
    path = tmp_path / "run/checkpoints/00000012/manifest.json"
    manifest = json.loads(path.read_text())["manifest"]
    of_one_seed = {name: values[:1] for name, values in manifest["notes"]["best"].items()}
    damage = (
        ("metrics", {"bytes": "all"}),
        ("faults", {"restarts": 3}),
        ("best", of_one_seed | {"more": 1}),
        ("chunk", None),
    )
    for part, wrong in damage:
        path.write_bytes(checkpoints.seal(manifest | {"notes": manifest["notes"] | {part: wrong}}))
        train(tmp_path / "run")
        assert snapshot(tmp_path / "run") == whole


def test_too_little_memory_is_a_sentence(tmp_path, train, fake, monkeypatch):
    def run_chunk(self, state):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte.")

    monkeypatch.setattr(fake.FakeTrainer, "run_chunk", run_chunk)
    with pytest.raises(UserError, match=r"does not fit into memory: .* Training stopped after step 0"):
        train(tmp_path / "run")


@pytest.mark.parametrize("progress", [True, False])
def test_training_from_python_prints_its_progress(tmp_path, fake, capsys, progress):
    options = {} if progress else {"progress": False}
    metarims.train(fake.SMALL, tmp_path, make_trainer=fake.FakeTrainer, **options)
    printed = capsys.readouterr().out
    assert (printed.count("frames/s") == 12) == progress
    assert bool(printed) == progress
