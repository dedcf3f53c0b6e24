"""The notebook runs from its first cell to its last, with a small training."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "first_steps.ipynb"
SHORT = {'preset("demo")': 'preset("debug")', "frames=100_000": "frames=4096", "1000": "10"}
"""What is shortened."""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(version_info=(9, 0)))  # matplotlib asks.
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(Image=lambda filename: Path(filename).read_bytes())
    )
    names = {"__name__": "notebook"}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are not kept"
            text = "".join(cell["source"])
            for long, short in SHORT.items():
                text = text.replace(long, short)
            exec(compile(text, f"cell {number}", "exec"), names)
    assert names["result"].finished
    assert (tmp_path / "runs/first-steps/episode.gif").exists()
    assert names["play"](names["jax"].random.key(1))[1] >= 0


def test_all_that_is_shortened_is_there():
    text = NOTEBOOK.read_text().replace('\\"', '"')
    assert all(part in text for part in SHORT)
