"""Results from anywhere: what is not of a study is a sentence that names the file and the place in it."""

import gzip
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz import samples

from metarims.errors import UserError
from metarims.studies import results
from metarims.studies.catalogue import study
from metarims.studies.measures import INFORMATION
from metarims.studies.results import Judged, Results, collect, read_results
from metarims.studies.scores import ScoreTables, score_tables
from metarims.studies.study_claims import claims
from metarims.studies.study_page import write_study_page
from metarims.studies.verdicts import Claim, judge
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


def cells(page, table, row):
    """The cells of a row of a table, by column: markup."""
    body = re.search(rf'<table class="results {table}">.*?</table>', page, re.DOTALL).group()
    line = next(line for line in body.split("<tr>") if row in line)
    return dict(re.findall(r'<td data-label="([^"]*)"[^>]*>(.*?)</td>', line))


def test_the_table_shows_agents_side_by_side_and_the_papers_values(tmp_path, monkeypatch):
    def plan(label, scores):
        rows = [[seed, "success", "MiniGrid-DoorKey-8x8-v0", score] for seed, score in enumerate(scores)]
        rows += [[seed, "success", "MiniGrid-DoorKey-6x6-v0", float(seed > 0)] for seed in range(len(scores))]
        rows += [[seed, "frames to recover", "there", score] for seed, score in enumerate((1.0, float("inf")))]
        about = {"commit": "0123abc", "date": "today", "versions": {}, "seconds": 1.0}
        shape = {"stages": ["here"], "records": {}, "curves": [[]], "configs": [{"seeds": list(range(len(scores)))}]}
        return {"label": label, "plan": label, "rows": rows, "stopped": []} | about | shape

    monkeypatch.setattr("metarims.studies.study_page.draw", lambda *_: [])
    plans = [plan("metarims", [0.4, 0.5, 0.6]), plan("vanilla", [0.2, 0.4])]
    written = write_study_page(tmp_path / "a.html", Results(study("table1"), "laptop", plans, [])).read_text()
    found = cells(written, "numbers", "DoorKey-8x8")
    assert list(found) == ["Condition", "metarims", "vanilla"]
    # Mean 0.5, standard error 0.1 / sqrt(3), t(0.975, 2) = 4.3027.
    assert "0.500" in found["metarims"]
    assert "0.252 – 0.748" in found["metarims"]
    assert ("paper 0.470" in found["metarims"], "paper 0.190" in found["vanilla"]) == (True, True)
    assert "interval" not in found["vanilla"], "two seeds have none"
    assert "0.000 – 1.000" in cells(written, "numbers", "DoorKey-6x6")["metarims"], "no rate above 1"
    assert "Student's t" in written
    assert "bootstrap" not in written
    assert cells(written, "numbers", "frames to recover")["metarims"] == "reached by 1 of 2"
    assert cells(written, "seeds-table", "DoorKey-8x8")["Each seed"] == "0.400, 0.500, 0.600"


def forest_rows(markup):
    """Name, place of the point, and line of each row of all forest plots."""
    rows = re.findall(r'class="forest-name">(.*?)</span>.*?--at:([\d.]+);--goal:([\d.]+)', markup)
    return [(name, float(at), float(goal)) for name, at, goal in rows]


def test_claims_have_a_forest_plot_with_a_row_per_task():
    ours, theirs = np.tile([1.0, 0.0], (6, 1)), np.tile([0.0, 0.5], (6, 1))
    claim = Claim("It is <better>.", "success", "metarims", ("vanilla",))
    scores = {"metarims": ours, "vanilla": theirs}
    tables = ScoreTables(scores, "", ["easy", "hard"])
    markup = claims([Judged(claim.statement, judge(claim, scores), "", tables)])
    assert forest_rows(markup) == [("all tasks", 0.5, 0.5), ("easy", 1.0, 0.5), ("hard", 0.0, 0.5)]
    assert "It is &lt;better&gt;." in markup
    easy = Claim(f"{claim.statement} on easy", "success", "metarims", ("vanilla",))
    column = {name: table[:, :1] for name, table in scores.items()}
    single = Judged(easy.statement, judge(easy, column), "", ScoreTables(column, ""))
    assert claims([Judged(claim.statement, judge(claim, scores), "", tables), single]) == markup, "it has this row"
    assert "on easy" in claims([single])
    goal = Claim("It comes up to it.", "frames", "metarims", test="level", goal=100.0, direction="lower")
    alone = {"metarims": np.full((6, 1), 300.0)}
    ((name, at, line),) = forest_rows(claims([Judged(goal.statement, judge(goal, alone), "", ScoreTables(alone, ""))]))
    assert name == "mean of metarims"
    assert 0 < line < 0.1 < 0.9 < at < 1
    assert claims([]) == ""
    assert "not measured" in claims([Judged(claim.statement, None)])


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
    for name in ("fig6b-laptop", "fig9-laptop", "forgetting-laptop", "transfer-laptop", "demo"):
        path = Path(__file__).parents[2] / f"benchmarks/scores/{name}.json.gz"
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
