"""Lines that are not what a run writes are sentences."""

import json

import pytest

from metarims.errors import UserError
from metarims.runs.metrics_log import read_metrics, read_speed
from metarims.views.plots import figure_bytes, learning_curves

ROW = {"seed": 0, "env_steps": 100, "success": 0.5, "return": None}
SPEED = {"seconds": 3.0, "compile_seconds": 1.0, "frames_per_second": 50.0}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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


def test_speed_without_compile_time(tmp_path):
    other = SPEED | {"compile_seconds": 0.0, "seconds": 2.0, "frames_per_second": 150.0}
    assert read_speed(write(tmp_path / "speed.jsonl", SPEED, other)) == 100.0


@pytest.mark.parametrize("rows", [(), (SPEED | {"seconds": 1.0},), (SPEED | {"frames_per_second": float("nan")},)])
def test_no_speed(tmp_path, rows):
    with pytest.raises(UserError, match="shows no speed"):
        read_speed(write(tmp_path / "speed.jsonl", *rows))


def test_speed_of_another_form(tmp_path):
    with pytest.raises(UserError, match=r"Line 1 of .* has no seconds"):
        read_speed(write(tmp_path / "speed.jsonl", {}))


def test_a_dollar_sign_in_a_name_begins_no_formula():
    rows = [{"agent": "a $\\x$", "seed": seed, "env_steps": n, "success": 0.5} for seed in (0, 1) for n in (1, 2)]
    assert figure_bytes(learning_curves(rows, "success", title="$\\y$"))
