"""Studies run as a user runs them, at the smallest scale: they end, report, and do nothing twice."""

import gzip
import json
import os
import re
import subprocess
import sys

import pytest

from metarims import cli
from metarims.studies.catalogue import STUDIES, scale
from metarims.studies.folder import result_path

IN_EVERY_TEST = ("fig9", "fig7")


def metarims(*words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    command = [sys.executable, "-m", "metarims.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)


def run(name, folder):
    done = metarims("study", "run", name, "--scale", "smoke", "--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", [name if name in IN_EVERY_TEST else pytest.param(name, marks=pytest.mark.slow) for name in STUDIES]
)
def test_a_study_ends_reports_and_does_nothing_twice(name, tmp_path, capsys) -> None:
    said = run(name, tmp_path)
    page = (tmp_path / "report.html").read_text()
    scores = json.loads(gzip.decompress((tmp_path / "scores.json.gz").read_bytes()))
    assert scores["missing"] == []
    assert "not measured" not in said, "every claim found its numbers"
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
    assert len(links) == len(scores["plans"])
    assert all("viewer-data" in (tmp_path / link).read_text() for link in links)
    alone = moved.with_name("report.html").read_text()
    assert "<a href" not in alone, "links lead only where episodes are"
    assert alone[alone.index("<h2>Numbers") :] == page[page.index("<h2>Numbers") :]
    number = "1 plan" if len(before) == 1 else f"{len(before)} plans"
    assert f"{number}, {len(before)} of them finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == before


def test_a_plan_that_fails_is_listed_and_can_be_mended(tmp_path) -> None:
    (plan,) = STUDIES["fig9"].plans(scale("smoke"))
    path = result_path(tmp_path, plan.name)
    folder = path.parent / "1-BabyAI-GoToObj-v0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("[]")
    done = metarims("study", "run", "fig9", "--scale", "smoke", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "failed    metarims" in done.stdout
    assert "1 plan failed; the same command runs what failed again." in done.stderr
    assert path.with_name("error.txt").exists()
    assert "Not finished or failed" in (tmp_path / "report.html").read_text()
