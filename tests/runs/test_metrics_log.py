"""Lines that a run would not write raise ``UserError``, or are left out."""

import json
import sys
from types import SimpleNamespace

import pytest

import metarims
from metarims.errors import UserError
from metarims.runs.metrics_log import read_chunks, read_metrics
from metarims.views.plots import figure_bytes, learning_curves

ROW = {"seed": 0, "env_steps": 100, "success": 0.5, "return": None}
SPEED = {"seconds": 3.0, "compile_seconds": 1.0, "frames_per_second": 50.0}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_metrics_are_a_frame_where_pandas_is_installed(tmp_path, monkeypatch):
    run = write(tmp_path / "metrics.jsonl", ROW)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        metarims.metrics(run)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    assert metarims.metrics(run) == read_metrics(run)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": "0"}, "Line 2 of .*seed is '0': it must be a number or null"),
        ({"seed": None}, "Line 2 of .*seed is None: it must be a whole number"),
        ({"env_steps": 1.5}, "env_steps is 1.5: it must be a whole number"),
        ({"success": [1]}, r"success is \[1\]: it must be a number or null"),
        ({"success": 10**400}, "success is 1000"),
    ],
)
def test_a_row_of_another_form(tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence):
        read_metrics(write(tmp_path / "metrics.jsonl", ROW, ROW | change))


@pytest.mark.parametrize("data", [b"\xff\xfe{}\n", b"[" * 100_000 + b"\n", b"1" * 5000 + b"\n"])
def test_lines_that_cannot_be_read(tmp_path, data):
    (tmp_path / "metrics.jsonl").write_bytes(data)
    with pytest.raises(UserError, match=r"cannot be read|is not JSON"):
        read_metrics(tmp_path)


def test_damaged_lines_of_speed_are_left_out(tmp_path):
    write(tmp_path / "speed.jsonl", SPEED, {}, SPEED | {"frames_per_second": "fast"}, [SPEED], SPEED | {"chunk": 2})
    assert read_chunks(tmp_path) == [SPEED, SPEED | {"chunk": 2}]
    assert read_chunks(tmp_path / "nowhere") == []


def test_a_dollar_sign_in_a_name_begins_no_formula():
    rows = [{"agent": "a $\\x$", "seed": seed, "env_steps": n, "success": 0.5} for seed in (0, 1) for n in (1, 2)]
    assert figure_bytes(learning_curves(rows, "success", title="$\\y$"))
