"""A slice of the fuzzers (``make fuzz`` is the whole), and that they notice what they look for."""

import json
import time

import pytest
from tests.fuzz.doors import DOORS
from tests.fuzz.mutations import spoil_bytes, spoil_json
from tests.fuzz.trying import Door, try_door

from metarims.errors import UserError

pytestmark = pytest.mark.process

INPUTS = {
    "settings": 400,
    "claimed folder": 40,
    "agents": 200,
    "real agents": 2,
    "checkpoints": 20,
    "resumed runs": 3,
    "metrics": 200,
    "studies": 10,
    "command line": 15,
    "environments": 200,
    "drawn environments": 30,
}


@pytest.mark.parametrize("door", [door for door in DOORS if door.name in INPUTS], ids=lambda door: door.name)
def test_spoiled_input_works_or_is_a_sentence(door, tmp_path):
    count = try_door(door, tmp_path, seed=1, inputs=range(INPUTS[door.name]))
    assert count.broken == ()
    assert count.accepted + count.refused == INPUTS[door.name]


def test_every_door_has_its_share_of_a_hundred_thousand():
    assert sum(door.share for door in DOORS) >= 100_000
    assert set(INPUTS) == {door.name for door in DOORS} - {"study pages"}, "pages take seconds each"


def test_the_same_seed_makes_the_same_inputs(tmp_path):
    seen = []

    def open_door(folder):
        return lambda random: (
            lambda: seen.append(spoil_bytes(b"0123456789", random) + repr(spoil_json({"a": 1}, random)).encode())
        )

    for seed in (1, 1, 2):
        try_door(Door("any", 0, open_door), tmp_path, seed, range(50))
    assert seen[:50] == seen[50:100] != seen[100:]


def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def two_lines():
    error = UserError("one")
    error.args = ("one\ntwo",)
    raise error


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda path: json.loads("{"), "JSONDecodeError"),
        (lambda path: two_lines(), "several lines"),
        (lambda path: path.unlink(), "kept was lost"),
        (lambda path: path.write_text("other"), "kept was overwritten"),
        (lambda path: compute(2), "took longer than"),
    ],
    ids=["another error", "two lines", "lost", "overwritten", "slow"],
)
def test_what_breaks_the_rule_is_noticed(read, said, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.trying.SECONDS", 0.1)
    (tmp_path / "kept").write_text("kept")
    count = try_door(
        Door("any", 0, lambda folder: lambda random: lambda: read(tmp_path / "kept")), tmp_path, 0, range(1)
    )
    assert count.accepted == count.refused == 0
    assert said in count.broken[0]
