"""One trial of each fault. It returns what was lost, or None, and counts what happened."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.learners import NEVER, Child, Learner, call

from metarims.runs import checkpoints

Trial = Callable[[Learner, dict[str, Any], Path, Random, Counter[str]], str | None]
"""``trial(learner, whole, out, random, notes)``; ``whole`` is what a run without faults leaves."""


def killed(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """SIGKILL once to three times, at any moment or while a checkpoint is written; then it resumes to the end."""
    for _ in range(random.choice((1, 2, 3)) if learner.delay else 1):
        child = Child(learner.train, out, learner.config.frames)
        _wait_for_moment(learner, out, random, child)
        child.signal(signal.SIGKILL)
        notes["killed"] += child.wait().kind == "silent"
        notes["during a save"] += bool(list(out.glob("checkpoints/*.tmp")))
    return _resume(learner, whole, out)


def terminated(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """SIGTERM at any moment: it stops, with whole checkpoints."""
    child = Child(learner.train, out, learner.config.frames)
    _wait_for_moment(learner, out, random, child)
    child.signal(signal.SIGTERM)
    answer = child.wait()
    if answer.kind != "done":
        return f"it ended {answer.kind}: {answer.content}"
    notes["stopped early"] += not answer.content
    return _damage(out) or _resume(learner, whole, out)


def disk_full(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """From some chunk on, files cannot grow: an error message, and everything written before is whole."""
    last = len({line["chunk"] for line in map(json.loads, whole["metrics"].splitlines())})
    limit = round(learner.biggest * random.random() ** 2) + 1
    answer = call(learner.train_on_full_disk, out, random.randrange(1, last), limit)
    if answer.kind not in ("done", "refused"):
        return f"it ended {answer.kind}: {answer.content}"
    notes["refused"] += answer.kind == "refused"
    notes["while saving"] += "a checkpoint" in str(answer.content)
    lines = (out / "metrics.jsonl").read_bytes()
    if lines and not lines.endswith(b"\n"):
        return "half a line of metrics was left"
    return _damage(out) or _resume(learner, whole, out)


def truncated(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """Any file of a stopped run is cut."""
    return _damaged(learner, whole, out, random, notes, lambda data: data[: random.randrange(len(data))])


def flipped(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """One bit of any file of a stopped run is flipped."""

    def flip(data: bytes) -> bytes:
        at = random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]

    return _damaged(learner, whole, out, random, notes, flip)


def _damaged(
    learner: Learner,
    whole: dict[str, Any],
    out: Path,
    random: Random,
    notes: Counter[str],
    damage: Callable[[bytes], bytes],
) -> str | None:
    frames = learner.config.frames
    call(learner.train, out, round(random.uniform(0.3, 1) * frames))
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.stat().st_size]
    victim = random.choice(files)
    original = victim.read_bytes()
    victim.write_bytes(damage(original))
    if victim.suffix == ".safetensors" and call(learner.agent_is_sound, victim).kind != "refused":
        return f"the damaged {victim.name} was taken for an agent"
    before = {path: path.read_bytes() for path in files if path.name != "run.lock"}
    answer = call(learner.finish, out)
    if answer.kind == "refused":
        notes["refused"] += 1
        changed = [path.name for path, data in before.items() if not path.exists() or path.read_bytes() != data]
        if changed:
            return f"refused ({answer.content}), but {changed[0]} was changed"
        victim.write_bytes(original)
        return _resume(learner, whole, out)
    return _compare(answer, whole, f"after damage to {victim.relative_to(out)}")


def moved(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """The folder is moved: after a kill, or while it is written; where it now is, it resumes."""
    child, there = Child(learner.train, out, learner.config.frames), out.with_name(out.name + "-moved") / "run"
    _wait_for_moment(learner, out, random, child)
    while not (out / "config.json").exists() and child.process.is_alive():
        time.sleep(0.01)
    under_way = random.random() < 0.5
    if not under_way:
        child.signal(signal.SIGKILL)
        child.wait()
    there.parent.mkdir(parents=True)
    os.rename(out, there)
    answer = child.wait() if under_way else None
    if answer and answer.kind == "broken":
        return f"it ended {answer.kind}: {answer.content}"
    notes["under way"] += under_way
    return _resume(learner, whole, there)


def second(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """Another process begins on the same folder: it is refused, and the first one does not notice."""
    first = Child(learner.train, out, learner.config.frames)
    while not (out / "config.json").exists() and first.process.is_alive():
        time.sleep(0.005)
    time.sleep(random.uniform(0, learner.seconds / 3))
    begun_before_end = first.process.is_alive()
    answer = call(learner.train, out, learner.config.frames)
    held_throughout = begun_before_end and first.process.is_alive()
    if held_throughout and not (answer.kind == "refused" and "is being written by process" in answer.content):
        return f"the second process ended {answer.kind}: {answer.content}"
    notes["refused"] += answer.kind == "refused"
    if first.wait().kind != "done":
        return "the first process did not end as it should"
    return _resume(learner, whole, out)


def not_a_number(learner: Learner, whole: dict[str, Any], out: Path, random: Random, notes: Counter[str]) -> str | None:
    """One seed's numbers become NaN in some chunk: it stops or restarts; the other is the same bit for bit."""
    rows = [json.loads(line) for line in whole["metrics"].splitlines()]
    chunk, place = random.randrange(1, 1 + max(row["chunk"] for row in rows)), random.randrange(2)
    ill, well = learner.config.seeds[place], learner.config.seeds[1 - place]
    config = dataclasses.replace(learner.config, on_nan=random.choice(("stop", "restart")))
    needed = random.choice((1, NEVER))
    poison = {chunk: {place: needed}}
    if learner.delay and random.random() < 0.5:
        child = Child(learner.train_poisoned, out, config, poison)
        _wait_for_moment(learner, out, random, child)
        child.signal(signal.SIGKILL)
        child.wait()
    answer = call(learner.train_poisoned, out, config, poison)
    if answer.kind != "done":
        return f"it ended {answer.kind}: {answer.content}"
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    stops = [event for event in events if event["event"] == "stop"]
    notes["stopped"] += bool(stops)
    notes["restarted"] += not stops
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    if not events or {event["seed"] for event in events} != {ill}:
        return f"the events are not of seed {ill}: {events}"
    if [row for row in found if row["seed"] == well] != [row for row in rows if row["seed"] == well]:
        return f"seed {well} has other metrics than in a run without faults"
    kept = [row for row in found if row["seed"] == ill]
    if kept[: chunk - 1] != [row for row in rows if row["seed"] == ill][: chunk - 1]:
        return f"seed {ill} has other metrics before chunk {chunk}"
    if len(kept) != (chunk - 1 if stops else max(row["chunk"] for row in rows)):
        return f"seed {ill} has {len(kept)} lines of metrics"
    sound = call(learner.agent_is_sound, out / f"agents/seed-{ill}.safetensors")
    return None if sound.kind == "done" else f"the agent of seed {ill} is not sound: {sound.content}"


def _wait_for_moment(learner: Learner, out: Path, random: Random, child: Child) -> None:
    """Any moment of a run, or one within a save."""
    deadline = time.monotonic() + random.uniform(0, 1) * learner.seconds
    saving = random.random() < 0.5
    if saving:
        deadline += learner.seconds
        wanted = random.randrange(1, 4)
    while child.process.is_alive() and time.monotonic() < deadline:
        if saving and list(out.glob("checkpoints/*.tmp")):
            wanted -= 1
            if not wanted:
                time.sleep(random.uniform(0, 0.06))
                return
            while list(out.glob("checkpoints/*.tmp")) and child.process.is_alive():
                time.sleep(0.001)
        time.sleep(0.001)


def _resume(learner: Learner, whole: dict[str, Any], out: Path) -> str | None:
    """Finish the run: it must be the one without faults, bit for bit."""
    return _compare(call(learner.finish, out), whole, "when it resumed")


def _compare(answer: Any, whole: dict[str, Any], when: str) -> str | None:
    if answer.kind != "done":
        return f"it ended {answer.kind} {when}: {answer.content}"
    other = [name for name, value in answer.content.items() if value != whole[name]]
    return f"other {' and '.join(other)} {when}" if other else None


def _damage(out: Path) -> str | None:
    """The first checkpoint that is not whole."""
    for chunk in checkpoints.chunks(out / "checkpoints"):
        fault = checkpoints.verify(out / f"checkpoints/{chunk:08d}")[1]
        if fault:
            return f"checkpoint {chunk} is damaged: {fault}"
    return None


TRIALS: dict[str, Trial] = {
    "SIGKILL at any moment": killed,
    "SIGTERM at any moment": terminated,
    "full disk": disk_full,
    "truncated file": truncated,
    "bit-flipped file": flipped,
    "folder moved": moved,
    "second process": second,
    "NaN in one seed": not_a_number,
}


def try_one(trial: Trial, learner: Learner, whole: dict[str, Any], folder: Path, seed: str, notes: Counter[str]) -> Any:
    """One trial in a folder of its own, which is removed if nothing was lost."""
    out = folder / seed.replace(" ", "-")
    lost = trial(learner, whole, out, Random(seed), notes)
    for path in (out, out.with_name(out.name + "-moved")):
        with contextlib.suppress(OSError):
            shutil.rmtree(path)
    return lost
