"""Seeds whose numbers become undefined: they stop or begin anew, and nobody else notices."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from metarims.config import Config
from metarims.runs.callbacks import ChunkReport
from metarims.runs.export import load_agent
from metarims.runs.progress import Progress

NEVER = 99
"""More restarts than there are."""


class Killed(BaseException):
    """Stands for the end of the process."""


class Callback:
    def __init__(self, kill_after=None):
        self.kill_after, self.problems, self.reports = kill_after, (), []

    def begin(self, config, env_steps, problems):
        self.problems = problems

    def chunk(self, report):
        self.reports.append(report)
        if report.chunk == self.kill_after:
            raise Killed


@pytest.fixture
def restarting(fake):
    return dataclasses.replace(fake.SMALL, on_nan="restart")


@pytest.fixture
def agent_of(fake):
    return lambda out, seed: load_agent(out / f"agents/seed-{seed}.safetensors", fake.build)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(out, seed):
    return [row for row in read(out / "metrics.jsonl") if row["seed"] == seed]


def test_one_seed_stops_and_the_other_goes_on_to_the_same_bits(tmp_path, train, agent_of):
    train(tmp_path / "healthy")
    callback = Callback()
    outcome = train(tmp_path / "run", callback=callback, poison={7: {1: NEVER}})
    assert outcome == (True, 1200, (5,))
    (event,) = read(tmp_path / "run/events.jsonl")
    text = event.pop("text")
    assert text.startswith("Seed 5 stopped: fast/value_loss became nan in update 14 (environment step 700).")
    assert "step 600" in text
    assert event == {
        "event": "stop",
        "seed": 5,
        "chunk": 7,
        "update": 14,
        "env_steps": 700,
        "term": "fast/value_loss",
        "value": None,
        "restarts": 0,
    }
    assert [len(report.events) for report in callback.reports] == [0] * 6 + [1] + [0] * 5
    for out in ("run", "healthy"):
        assert len(rows_of(tmp_path / out, 3)) == 12
    assert rows_of(tmp_path / "run", 3) == rows_of(tmp_path / "healthy", 3)
    assert rows_of(tmp_path / "run", 5) == rows_of(tmp_path / "healthy", 5)[:6]
    same = "agents/seed-3.safetensors"
    assert (tmp_path / "run" / same).read_bytes() == (tmp_path / "healthy" / same).read_bytes()


def test_the_agent_of_a_stopped_seed_is_its_last_good_one(tmp_path, fake, train, agent_of):
    train(tmp_path / "until", dataclasses.replace(fake.SMALL, frames=600))
    train(tmp_path / "run", poison={7: {1: NEVER}})
    kept, before = agent_of(tmp_path / "run", 5), agent_of(tmp_path / "until", 5)
    assert kept.env_steps == before.env_steps == 600
    assert kept.agent.weight.tobytes() == before.agent.weight.tobytes()
    assert agent_of(tmp_path / "run", 3).env_steps == 1200


def test_a_seed_begins_anew_with_other_random_numbers(tmp_path, train, restarting, agent_of):
    train(tmp_path / "healthy", restarting)
    for out in ("run", "again"):
        assert train(tmp_path / out, restarting, poison={7: {1: 2}}) == (True, 1200, ())
    events = read(tmp_path / "run/events.jsonl")
    assert [(event["event"], event["seed"], event["chunk"], event["restarts"]) for event in events] == [
        ("restart", 5, 7, 1),
        ("restart", 5, 7, 2),
    ]
    assert events[1]["text"].startswith("Seed 5 restarts from step 600")
    healthy, run = rows_of(tmp_path / "healthy", 5), rows_of(tmp_path / "run", 5)
    assert run[:6] == healthy[:6]
    assert [row["return"] for row in run[6:]] != [row["return"] for row in healthy[6:]]
    assert len(run) == 12
    assert rows_of(tmp_path / "run", 3) == rows_of(tmp_path / "healthy", 3)
    for name in ("metrics.jsonl", "events.jsonl", "agents/seed-5.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert agent_of(tmp_path / "run", 5).env_steps == 1200


def test_after_three_restarts_a_seed_stops(tmp_path, train, restarting, agent_of):
    """Restarts are counted over the whole run."""
    assert train(tmp_path / "run", restarting, poison={2: {0: 1}, 5: {0: NEVER}}) == (True, 1200, (3,))
    events = [(event["event"], event["chunk"], event["restarts"]) for event in read(tmp_path / "run/events.jsonl")]
    assert events == [("restart", 2, 1), ("restart", 5, 2), ("restart", 5, 3), ("stop", 5, 3)]
    assert agent_of(tmp_path / "run", 3).env_steps == 400


def test_two_seeds_at_fault_in_one_chunk(tmp_path, train, restarting):
    """One of them gets through at its first restart, and is not begun anew with the other."""
    assert train(tmp_path / "alone", restarting, poison={4: {1: 1}}) == (True, 1200, ())
    assert train(tmp_path / "run", restarting, poison={4: {0: NEVER, 1: 1}}) == (True, 1200, (3,))
    seeds = [(event["event"], event["seed"]) for event in read(tmp_path / "run/events.jsonl")]
    assert seeds == [("restart", 3), ("restart", 5), ("restart", 3), ("restart", 3), ("stop", 3)]
    assert rows_of(tmp_path / "run", 5) == rows_of(tmp_path / "alone", 5)


def test_a_run_ends_when_no_seed_is_left(tmp_path, train, agent_of, snapshot):
    poison = {2: {1: NEVER}, 5: {0: NEVER}}
    callback = Callback()
    assert train(tmp_path / "run", callback=callback, poison=poison) == (True, 500, (3, 5))
    assert [len(report.rows) for report in callback.reports] == [2, 1, 1, 1, 0]
    assert [agent_of(tmp_path / "run", seed).env_steps for seed in (3, 5)] == [400, 100]
    before = snapshot(tmp_path / "run")
    assert train(tmp_path / "run", poison=poison) == (True, 500, (3, 5))
    assert snapshot(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("on_nan", "chunk", "remembered"), [("stop", 4, None), ("stop", 8, 400), ("restart", 6, None), ("restart", 12, 700)]
)
def test_a_killed_run_with_faults_goes_on_to_the_same_bits(tmp_path, fake, train, snapshot, on_nan, chunk, remembered):
    """Faults before and after the checkpoint; the seed recovers from the first, if it may begin anew."""
    config, poison = dataclasses.replace(fake.SMALL, on_nan=on_nan), {5: {1: 2}, 8: {1: NEVER}}
    train(tmp_path / "whole", config, poison=poison)
    with pytest.raises(Killed):
        train(tmp_path / "run", config, Callback(chunk), poison=poison)
    callback = Callback()
    assert train(tmp_path / "run", config, callback, poison=poison) == (True, 1200, (5,))
    assert snapshot(tmp_path / "run") == snapshot(tmp_path / "whole")
    sentence = f"Seed 5 stopped after step {remembered} and stays stopped (see events.jsonl)."
    assert callback.problems == ((sentence,) if remembered else ())


def test_what_happened_is_shown():
    text = io.StringIO()
    progress = Progress(Console(file=text, width=200))
    progress.begin(Config(), 0, ())
    progress.chunk(ChunkReport(1, 10, 20, 5.0, 0.0, [], 2.0, ("Seed 5 stopped: x.",)))
    assert "Fault: Seed 5 stopped: x." in text.getvalue()
