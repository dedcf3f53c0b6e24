"""How long a study takes: by hand, and that the package's figures are those of the committed runs."""

import gzip
import json
from pathlib import Path

import pytest

from metarims.studies import durations
from metarims.studies.catalogue import STUDIES
from metarims.studies.scales import scale

SCORES = Path(__file__).parents[2] / "benchmarks" / "scores"


@pytest.mark.parametrize(("size", "name"), [(size, name) for size, took in durations.TOOK.items() for name in took])
def test_figures_are_those_of_the_committed_runs(size, name):
    file = SCORES / ("demo.json.gz" if name == "demo" else f"{name}-{size}.json.gz")
    plans = json.loads(gzip.decompress(file.read_bytes()))["plans"]
    steps = sum(config["frames"] * len(config["seeds"]) for plan in plans for config in plan["configs"])
    seconds, commit = durations.TOOK[size][name]
    assert seconds == round(1e6 * sum(plan["seconds"] for plan in plans) / steps)
    assert commit in {plan["commit"] for plan in plans}


@pytest.fixture
def plans(monkeypatch):
    """Of a study with plans of equal length, a million steps of all seeds each."""
    monkeypatch.setattr(durations, "_steps", lambda plan, size: 10**6)
    return STUDIES["fig8"].plans(scale("laptop"))


def say(plans, finished, capacity):
    return durations.estimate(STUDIES["fig8"], scale("laptop"), plans, finished, capacity)


@pytest.mark.parametrize(
    ("took", "capacity", "words"),
    [
        ({"fig8": (600, "abc")}, 2, ("About 30 min, 2 plans at a time", "commit abc")),
        ({"fig8": (600, "abc")}, 100, ("About 10 min, 6 plans",)),
        ({"fig7": (600, "abc"), "fig9": (1200, "def")}, 1, ("1 h 00 min to 2 h 00 min, 1 plan at", "others")),
    ],
)
def test_by_committed_runs(plans, monkeypatch, took, capacity, words):
    monkeypatch.setitem(durations.TOOK, "laptop", took)
    text = say(plans, [], capacity)
    assert all(word in text for word in words), text


def test_by_the_plans_that_are_finished(plans):
    finished = [{"plan": plan.name, "seconds": seconds} for plan, seconds in zip(plans, (100, 200), strict=False)]
    text = say(plans[2:], finished, 2)
    assert "About 5 min, 2 plans at a time, at the speed of the finished plans." in text
