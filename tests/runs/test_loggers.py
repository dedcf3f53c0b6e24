"""What TensorBoard and Weights & Biases are given, read back from what they keep on disk."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from metarims.config import PPO
from metarims.errors import UserError
from metarims.runs import loggers
from metarims.runs.callbacks import Callbacks
from metarims.runs.loggers import Loggers

pytestmark = pytest.mark.process


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAfter:
    """A watcher in whose sight the process ends."""

    def __init__(self, chunk):
        self.last = chunk

    def begin(self, config, env_steps, problems):
        pass

    def chunk(self, report):
        if report.chunk == self.last:
            raise Killed


@pytest.fixture
def log(train):
    """Train with loggers of these names, perhaps until killed."""

    def run(out, *names, kill_after=None):
        with Loggers(names, out) as callback:
            if kill_after is None:
                assert train(out, callback=callback)[:2] == (True, 1200)
            else:
                with pytest.raises(Killed):
                    train(out, callback=Callbacks(callback, KilledAfter(kill_after)))

    return run


def metrics(out, seed):
    """By env_steps, the defined metrics of a seed in metrics.jsonl."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = ("episodes", "return", "success", "fast/value_loss")
    return {
        row["env_steps"]: {name: row[name] for name in names if row[name] is not None}
        for row in rows
        if row["seed"] == seed
    }


def events(folder):
    """The events in a folder of TensorBoard's, in its order of files."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def curves(folder):
    """What TensorBoard shows of a folder: by step, the values; a start of a session hides what stood from there on."""
    from tensorboardX.proto.event_pb2 import SessionLog

    shown = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            shown = {step: values for step, values in shown.items() if step < event.step}
        elif event.HasField("summary"):
            assert event.step not in shown, "logged twice"
            shown[event.step] = {value.tag: value.simple_value for value in event.summary.value}
    return shown


@pytest.mark.parametrize("kills", [(), (2, 5)], ids=["whole", "killed"])
def test_tensorboard_shows_every_metric_of_every_seed_once(tmp_path, log, kills):
    """Killed before the first checkpoint, and after chunk 5: then it goes on from chunk 3."""
    for kill_after in (*kills, None):
        log(tmp_path, "tensorboard", kill_after=kill_after)
    for seed in (3, 5):
        shown = curves(tmp_path / f"tensorboard/seed-{seed}")
        assert all(values.pop("frames_per_second") > 0 for values in shown.values())
        assert shown == {step: pytest.approx(values) for step, values in metrics(tmp_path, seed).items()}
        assert any("success" not in values for values in shown.values()), "what is undefined is not a point"
    assert metrics(tmp_path, 3) != metrics(tmp_path, 5)


def test_a_finished_run_is_logged_no_further(tmp_path, log):
    log(tmp_path, "tensorboard")
    before = sorted((tmp_path / "tensorboard").rglob("*"))
    log(tmp_path, "tensorboard")
    assert sorted((tmp_path / "tensorboard").rglob("*")) == before


class Full:
    """A logger on a disk that fills up."""

    def __init__(self, out):
        self.calls = []
        Full.made = self
        self.is_new = False

    def begin(self, config, env_steps):
        self.calls.append("begin")

    def chunk(self, report):
        self.calls.append(report.chunk)
        if report.chunk == 4:
            raise OSError(28, "No space left on device")

    def close(self):
        self.calls.append("close")
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kill_after", [7, None])
def test_a_logger_that_comes_later_is_told_what_was_before(tmp_path, log, kill_after):
    log(tmp_path, kill_after=kill_after)
    log(tmp_path, "tensorboard")
    for seed in (3, 5):
        shown = curves(tmp_path / f"tensorboard/seed-{seed}")
        assert all(values.pop("frames_per_second") > 0 for values in shown.values())
        assert shown == {step: pytest.approx(values) for step, values in metrics(tmp_path, seed).items()}
    log(tmp_path, "tensorboard")
    assert len(list((tmp_path / "tensorboard/seed-3").iterdir())) == 1, "nothing is told twice"


def test_a_logger_that_fails_is_given_up_and_training_goes_on(tmp_path, log, monkeypatch, capsys):
    monkeypatch.setitem(loggers.LOGGERS, "full", Full)
    log(tmp_path, "full", "tensorboard")
    assert Full.made.calls == ["begin", 1, 2, 3, 4, "close"]
    (note,) = capsys.readouterr().err.splitlines()
    assert "logging to full failed" in note
    assert "no space is left on the disk" in note
    assert len(curves(tmp_path / "tensorboard/seed-3")) == 12


def test_a_logger_that_cannot_begin_is_given_up(tmp_path, log, capsys):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/seed-5").write_text("in the way")
    log(tmp_path, "tensorboard")
    note = capsys.readouterr().err
    assert "logging to tensorboard failed" in note
    assert "file exists" in note


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"--log {name} needs an extra .*: pip install 'metarims\[{name}\]'"):
        Loggers([name], tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Online:
    """A run of Weights & Biases that goes on, with points up to a step."""

    resumed, step = True, 401

    def __init__(self):
        self.steps, self.finished = [], False

    def define_metric(self, name, step_metric):
        assert step_metric == "env_steps"

    def log(self, figures, step, commit):
        assert commit
        assert figures["env_steps"] == step
        self.steps.append(step)

    def finish(self):
        self.finished = True


def test_weights_and_biases_goes_on_where_the_server_says(tmp_path, log, monkeypatch):
    """Also where less has arrived than was logged."""
    runs = {}
    (tmp_path / "wandb.json").write_text('{"env_steps": 800, "ids": {"3": "three", "5": "five"}}')
    monkeypatch.setattr("wandb.init", lambda id, **_: runs.setdefault(id, Online()))
    log(tmp_path, "wandb")
    assert [*runs] == ["three", "five"]
    for run in runs.values():
        assert run.steps == [*range(500, 1201, 100)]
        assert run.finished
    assert json.loads((tmp_path / "wandb.json").read_text())["env_steps"] == 1200


TRAIN = """
import sys
from contextlib import suppress
sys.path.insert(0, sys.argv[1])
from fake import SMALL, FakeTrainer
from metarims.runs.loggers import Loggers
from metarims.runs.training import train
class Dying(FakeTrainer):
    def run_chunk(self, state):
        if state["count"][0] == 5:
            raise InterruptedError
        return super().run_chunk(state)
for trainer in (Dying, FakeTrainer):
    with suppress(InterruptedError), Loggers(["wandb"], sys.argv[2]) as loggers:
        train(SMALL, sys.argv[2], loggers, trainer)
"""


def records(path):
    """The records in a file of Weights & Biases: LevelDB's log format after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, content = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # Too little is left of the block for another piece.
            at += 2**15 - at % 2**15
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        content += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # A whole record, or its last piece.
            yield Record.FromString(content)
            content = b""


def test_weights_and_biases_keeps_one_run_per_seed_offline(tmp_path):
    """In two stretches: the first dies after chunk 5, and the second goes on from the checkpoint of chunk 3."""
    out = tmp_path / "gotolocal"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    subprocess.run(
        [sys.executable, "-c", TRAIN, Path(__file__).parent, out],
        env=variables | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=120,
    )
    ids = json.loads((out / "wandb.json").read_text())["ids"]
    assert len({*ids.values()}) == 2
    for seed in (3, 5):
        files = sorted(out.glob(f"wandb/offline-run-*/run-{ids[str(seed)]}.wandb"))
        assert len(files) == 2, "one run, in two stretches"
        points = {}
        for record in (record for path in files for record in records(path)):
            if record.HasField("run"):
                run = record.run
                config = {item.key: json.loads(item.value_json) for item in run.config.update}
                assert (run.run_id, run.run_group, run.project) == (ids[str(seed)], "gotolocal", "metarims")
                assert (config["seed"], config["agent"], config["ppo"]["gamma"]) == (seed, "vanilla", PPO().gamma)
            elif record.HasField("history"):
                items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
                point = {name: json.loads(value) for name, value in items.items() if not name.startswith("_")}
                assert record.history.step.num == point["env_steps"]
                assert point["env_steps"] not in points, "logged twice"
                points[point.pop("env_steps")] = point
        assert all(point.pop("frames_per_second") > 0 for point in points.values())
        assert points == metrics(out, seed)
