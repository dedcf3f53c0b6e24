"""Results from anywhere: what is not of a study is a sentence that names the file and the place in it."""

import gzip
import json
import threading
from pathlib import Path

import pytest
from tests.fuzz import samples

from metarims.errors import UserError
from metarims.studies import results
from metarims.studies.measures import INFORMATION
from metarims.studies.results import collect, read_results
from metarims.studies.scores import score_tables
from metarims.studies.study_page import write_study_page
from metarims.upgrade import upgrade_result


@pytest.fixture
def folder(tmp_path):
    samples.study_folder(tmp_path / "study")
    return tmp_path / "study"


def first(folder):
    return sorted(folder.glob("runs/*/result.json"))[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": [[0, "success", "x"]]}, r"rows\[0\] has 3 entries"),
        ({"label": 3}, "label is 3: it must be text"),
        ({"curves": []}, "has 1 stages, 0 curves and 1 configs"),
        ({"configs": [{"seeds": 3}]}, r"configs\[0\].seeds is 3: it must be a list"),
        ({"plan": "another"}, "is the result of another, not of"),
        (
            {"records": {"raster": {"active": [[[1], [1, 0]]], "env": "x", "seed": 0}}},
            "equally many modules at every step",
        ),
        ({"records": {"values": [1]}}, "records.values is .1.: it must be an object"),
    ],
)
def test_a_result_of_another_form(folder, change, sentence):
    path = first(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=sentence):
        read_results(folder)


@pytest.mark.parametrize(
    ("trained_by", "shown"),
    [
        (["4567def", "0123abc-dirty"], "<dt>trained by</dt><dd>4567def, 0123abc-dirty</dd>"),
        (["0123abc"], None),
        (None, None),
    ],
)
def test_a_report_names_the_commits_that_trained_where_another_one_measured(folder, trained_by, shown, monkeypatch):
    """Results of before that was written down have no such list."""
    for path in folder.glob("runs/*/result.json"):
        found = json.loads(path.read_text()) | {"commit": "0123abc", "trained_by": trained_by}
        path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
    monkeypatch.setattr("metarims.studies.study_page.draw", lambda *_: [])
    page = write_study_page(folder / "report.html", read_results(folder)).read_text()
    assert "<dt>commit</dt><dd>0123abc</dd>" in page
    assert shown in page if shown else "trained by</dt>" not in page


def test_a_result_that_cannot_be_read(folder):
    for data in (b"[" * 100_000, b"\xff"):
        first(folder).write_bytes(data)
        with pytest.raises(UserError, match="is not JSON"):
            read_results(folder)
    first(folder).unlink()
    first_folder = folder / "study.json"
    first_folder.write_text(json.dumps({"study": samples.STUDIED, "scale": "huge"}))
    with pytest.raises(UserError, match="Unknown scale 'huge'"):
        read_results(folder)


def test_collected_results_of_another_form(folder):
    path = collect(folder)
    data = path.read_bytes()
    assert len(read_results(path).plans) > 1
    for spoiled in (
        data[:-20],
        data[:30] + b"\x00" * 9 + data[39:],
        b"",
        gzip.compress(b"[]"),
        gzip.compress(b'{"study": 1}'),
    ):
        path.write_bytes(spoiled)
        with pytest.raises(UserError):
            read_results(path)


def test_who_read_the_results_first_does_not_overwrite_newer_ones(folder, monkeypatch):
    """One collects while a plan is missing, and the other when it has come and the first has not written yet."""
    late = first(folder)
    result = late.read_bytes()
    late.unlink()
    has_read, other_ended = threading.Event(), threading.Event()

    def read_and_wait(path):
        found = read_results(path)
        if found.missing:
            has_read.set()
            other_ended.wait(timeout=0.5)
        return found

    monkeypatch.setattr(results, "read_results", read_and_wait)
    slow = threading.Thread(target=collect, args=(folder,))
    slow.start()
    has_read.wait(timeout=30)
    late.write_bytes(result)
    collect(folder)
    other_ended.set()
    slow.join(timeout=30)
    assert read_results(folder / results.SCORES).missing == []


def test_results_of_version_0_1_have_todays_names():
    """Committed scores are read, and every claim finds what it is about."""
    names = set()
    for name in ("fig6b", "fig9", "forgetting", "transfer"):
        path = Path(__file__).parents[2] / f"benchmarks/scores/{name}-laptop.json.gz"
        found = read_results(path)
        names |= {score.name for _, score in found.rows}
        tables = [score_tables(found.rows, hypothesis.tables) for hypothesis in found.study.hypotheses]
        assert all(table.size for part in tables for table in part.scores.values()), path.name
    assert {"load imbalance", INFORMATION, f"{INFORMATION}, untrained agent", "every module is active"} <= names


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("switching_off", "deactivation"),
        ("kept", "retention"),
        ("narrowing from A to B", "backward transfer from A to B"),
        ("taken apart on A", "ablations on A"),
        ("learning", "learning"),
    ],
)
def test_measures_of_version_0_1_are_not_taken_for_others(old, new):
    rows = [[0, "success", "the best 2", 1.0]]
    found = upgrade_result({"rows": rows, "measured": {"measures": [old], "episodes": 1, "learnt": 0.8}})
    assert found["measured"] == {"measures": [new], "episodes": 1, "learnt": 0.8}
    assert found["rows"] == [(0, "success", "2 of them, highest attention", 1.0)]
