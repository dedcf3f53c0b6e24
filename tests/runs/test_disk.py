"""Disks that are full, forbidden or damaged."""

import contextlib
import dataclasses
import os
import resource
import shutil
from types import SimpleNamespace

import pytest

from metarims.errors import UserError
from metarims.runs import checkpoints, files, metrics_log, training


class Callback:
    def __init__(self):
        self.start, self.problems, self.chunks = None, (), 0

    def begin(self, config, env_steps, problems):
        self.start, self.problems = env_steps, problems

    def chunk(self, report):
        self.chunks += 1


@contextlib.contextmanager
def no_file_longer_than(num_bytes):
    """The system refuses longer files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def whole(tmp_path, train, snapshot):
    train(tmp_path / "whole")
    return snapshot(tmp_path / "whole")


@pytest.mark.parametrize("num_bytes", [1, 600, 1500, 2000, 2500])
def test_a_disk_that_fills_up_costs_nothing_written_before(tmp_path, train, snapshot, whole, num_bytes):
    with no_file_longer_than(num_bytes), pytest.raises(UserError, match=r"(Could not|Cannot) write") as failure:
        train(tmp_path / "run")
    assert "exceed the size" in str(failure.value) or "no space" in str(failure.value)
    lines = (tmp_path / "run/metrics.jsonl").read_bytes() if (tmp_path / "run/metrics.jsonl").exists() else b""
    assert lines == b"" or lines.endswith(b"\n"), "no half line is left"
    for chunk in checkpoints.chunks(tmp_path / "run/checkpoints"):
        assert checkpoints.verify(tmp_path / f"run/checkpoints/{chunk:08d}")[1] is None
    assert not list((tmp_path / "run").rglob("*.tmp"))
    train(tmp_path / "run")
    assert snapshot(tmp_path / "run") == whole


def test_the_disk_fills_up_in_a_later_stretch(tmp_path, fake, train, snapshot, whole):
    train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=600))
    before = snapshot(tmp_path / "run")
    with no_file_longer_than(1000), pytest.raises(UserError, match=r"write"):
        train(tmp_path / "run")
    assert snapshot(tmp_path / "run") == before
    train(tmp_path / "run")
    assert snapshot(tmp_path / "run") == whole


def test_too_little_space_is_said_before_training(tmp_path, train, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    callback = Callback()
    with pytest.raises(UserError, match=r"has 1 MiB free, but this run needs about 16 MiB"):
        train(tmp_path / "run", callback=callback)
    assert callback.start is None
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_a_folder_that_is_moved_meanwhile_is_said(tmp_path, train, fake, snapshot, whole):
    def move(config):
        (tmp_path / "run").rename(tmp_path / "elsewhere")

    class Moved(fake.FakeTrainer):
        def init(self):
            move(self.config)
            return super().init()

    with pytest.raises(UserError, match=r"run cannot be written to: no such file or directory. Was it moved\?"):
        training.train(fake.SMALL, tmp_path / "run", make_trainer=Moved)
    train(tmp_path / "elsewhere")
    assert snapshot(tmp_path / "elsewhere") == whole


def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path, train):
    (tmp_path / "file").write_text("not a folder")
    callback = Callback()
    with pytest.raises(UserError, match=r"Cannot write to the run folder .*file/run: not a directory"):
        train(tmp_path / "file/run", callback=callback)
    assert callback.start is None


def test_reasons_are_in_plain_words():
    assert files.describe_error(OSError(28, "No space left on device")) == "no space is left on the disk"
    assert files.describe_error(ValueError("RESOURCE_EXHAUSTED: Failed")) == "no space is left on the disk"
    assert files.describe_error(PermissionError(13, "Permission denied")) == "writing there is not permitted"
    assert files.describe_error(ValueError("first line.\nsecond")) == "first line"
    assert files.describe_error(ValueError()) == "ValueError"


@pytest.mark.parametrize("name", [checkpoints.MANIFEST, checkpoints.STATE])
def test_training_falls_back_from_a_damaged_checkpoint_and_says_so(tmp_path, train, snapshot, fake, whole, name):
    train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=900))
    (tmp_path / "run/checkpoints/00000009" / name).write_bytes(b"\x00" * 10)
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == 600
    assert "00000009 is damaged" in callback.problems[0]
    assert snapshot(tmp_path / "run") == whole


def test_training_begins_again_when_no_checkpoint_is_whole(tmp_path, train, snapshot, whole):
    train(tmp_path / "run")
    for chunk in (9, 12):
        (tmp_path / f"run/checkpoints/{chunk:08d}" / checkpoints.STATE).unlink()
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == 0
    assert len(callback.problems) == 3
    assert "starts again" in callback.problems[-1]
    assert snapshot(tmp_path / "run") == whole


def read_tree(folder):
    """Every file below a folder, but for the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_cannot_be_gone_on_from_is_kept(tmp_path, train, snapshot, whole):
    """One edited line of metrics.jsonl, and no checkpoint is acceptable: the trained state itself is whole."""
    train(tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6", 1))
    before = read_tree(tmp_path / "run")
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == 0
    assert str(tmp_path / "run/damaged") in callback.problems[-1]
    assert read_tree(tmp_path / "run/damaged") == before
    assert snapshot(tmp_path / "run") == whole
    path = tmp_path / "run/damaged/metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.6", b"0.5", 1))
    callback = Callback()
    train(tmp_path / "run/damaged", callback=callback)
    assert (callback.start, callback.problems) == (1200, ()), "mended, it is a run again"
    path = tmp_path / "run/metrics.jsonl"
    path.unlink()
    train(tmp_path / "run")
    assert checkpoints.chunks(tmp_path / "run/damaged/checkpoints") == [9, 12]
    assert checkpoints.chunks(tmp_path / "run/damaged-2/checkpoints") == [9, 12]
    assert not (tmp_path / "run/damaged-2/metrics.jsonl").exists()


def test_agents_without_their_checkpoints_are_kept(tmp_path, train, fake, snapshot, whole):
    train(tmp_path / "run", dataclasses.replace(fake.SMALL, frames=600))
    before = read_tree(tmp_path / "run/agents")
    shutil.rmtree(tmp_path / "run/checkpoints")
    train(tmp_path / "run")
    assert read_tree(tmp_path / "run/damaged/agents") == before
    assert snapshot(tmp_path / "run") == whole


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("number", range(9))
def test_a_crash_while_the_old_is_set_aside_loses_nothing(tmp_path, train, snapshot, whole, monkeypatch, number):
    train(tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    path.write_bytes(b"?" + path.read_bytes()[1:])
    before, real, calls = read_tree(tmp_path / "run"), os.replace, iter(range(100))

    def replace(*arguments):
        if next(calls) == number:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with contextlib.suppress(Killed):
            train(tmp_path / "run")
    train(tmp_path / "run")
    aside = {name.partition("/")[2]: data for name, data in read_tree(tmp_path / "run").items() if "damaged" in name}
    assert before.items() <= aside.items()
    assert snapshot(tmp_path / "run") == whole


def test_stopped_after_beginning_again_it_goes_on_from_there(tmp_path, train, snapshot, whole):
    """The damaged checkpoints are of later chunks than any that the new training has."""

    class Stopping(Callback):
        def chunk(self, report):
            if report.chunk == 5:
                raise Killed

    train(tmp_path / "run")
    for chunk in (9, 12):
        (tmp_path / f"run/checkpoints/{chunk:08d}" / checkpoints.STATE).unlink()
    with pytest.raises(Killed):
        train(tmp_path / "run", callback=Stopping())
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert (callback.start, callback.problems) == (300, ())
    assert snapshot(tmp_path / "run") == whole


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_lost_metrics_are_made_again(tmp_path, train, snapshot, whole, damage):
    """The lines before the last checkpoint but one are whole, so training goes on from there."""
    train(tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-50] if damage == "cut" else data[:-50] + b"?" + data[-49:])
    callback = Callback()
    train(tmp_path / "run", callback=callback)
    assert callback.start == (0 if damage == "gone" else 900)
    assert "metrics.jsonl" in callback.problems[0]
    assert snapshot(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "must be an object"),
        ('{"agnet": "x"}', "Unknown field .*'agnet'. Did you mean agent"),
        ('{"frames": "many"}', "frames is 'many': it must be of type int"),
        ('{"frames": -1}', "frames is -1"),
    ],
)
def test_a_spoiled_config_is_a_sentence_and_is_not_overwritten(tmp_path, train, text, message):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        train(tmp_path / "run")
    assert (tmp_path / "run/config.json").read_text() == text


def test_an_append_that_fails_leaves_no_half_line(tmp_path):
    log = metrics_log.Log(tmp_path / "rows.jsonl")
    log.append([{"a": 1}])
    before = log.position()
    with no_file_longer_than(15), pytest.raises(OSError, match=r"large|space"):
        log.append([{"a": 2}, {"a": 3}])
    assert log.path.read_text() == '{"a": 1}\n'
    assert log.position() == before


def test_a_log_knows_what_it_was(tmp_path):
    log = metrics_log.Log(tmp_path / "rows.jsonl")
    empty = log.position()
    log.append([{"a": 1}])
    one = log.position()
    log.append([{"a": 2}])
    assert metrics_log.Log(log.path).position() == log.position(), "whether it was written or read makes no difference"
    assert log.extends(empty)
    assert log.extends(one)
    log.truncate(one["bytes"])
    assert log.position() == one
    assert log.path.read_text() == '{"a": 1}\n'
    log.path.write_text('{"a": 9}\n')
    assert not metrics_log.Log(log.path).extends(one)


def test_numbers_in_records():
    assert metrics_log.number(0.1) == 0.1
    assert metrics_log.number(1 / 3) == 0.33333334
    assert metrics_log.number(float("nan")) is None
    assert metrics_log.number(float("-inf")) is None
    assert metrics_log.number(7) == 7
