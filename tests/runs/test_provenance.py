import shutil
import subprocess

import pytest

from metarims.runs.provenance import commit, commit_of


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package in its ``src``, and one in the environment of which it is installed elsewhere."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    for place in ("src", "lib/site-packages", "vendored"):
        (tmp_path / place / "metarims").mkdir(parents=True)
        (tmp_path / place / "metarims" / "__init__.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def git(folder, *words):
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@nowhere", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout


def test_a_checkout_names_its_commit_and_whether_it_was_changed(checkout):
    git(checkout, "tag", "--annotate", "--message", "a tag", "v1")
    head = git(checkout, "rev-parse", "--short", "HEAD").strip()
    assert commit_of(checkout / "src/metarims") == head
    (checkout / "src/metarims/__init__.py").write_text("changed = True")
    assert commit_of(checkout / "src/metarims") == f"{head}-dirty"


def test_a_package_inside_another_checkout_has_no_commit(checkout):
    assert commit_of(checkout / "lib/site-packages/metarims") == ""
    assert commit_of(checkout / "vendored/metarims") == ""


def test_what_is_committed_later_is_not_what_runs(monkeypatch):
    first = commit()
    monkeypatch.setattr("metarims.runs.provenance.commit_of", lambda package: "later")
    assert commit() == first
