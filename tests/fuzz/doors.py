"""The doors through which input from outside comes in, and what is put through each."""

import dataclasses
import gzip
import io
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.numpy
from tests.fuzz import samples
from tests.fuzz.arguments import arguments, stubbed
from tests.fuzz.environments import DRAWN, make_strange, play_farama, play_host
from tests.fuzz.mutations import OTHER_FILES, json_bytes, spoil_bytes, spoil_json, spoil_leaves
from tests.fuzz.trying import Door, check_sentence
from tests.runs import fake
from tests.runs.snapshot import read_snapshot

from metarims.config import Config
from metarims.errors import UserError
from metarims.fields import from_dict, to_json
from metarims.presets import PRESETS
from metarims.rules import RULES
from metarims.runs import checkpoints
from metarims.runs.export import CHECKSUM, FORMAT, load_agent, save_agent
from metarims.runs.folder import RunFolder, read_settings
from metarims.runs.metrics_log import read_chunks, read_metrics
from metarims.runs.training import train
from metarims.studies.results import SCORES, collect, read_results
from metarims.studies.study_page import write_study_page
from metarims.views.plots import curves

Read = Callable[[], Any]
"""Reads one input."""


def _spoiled_settings(random: Random) -> bytes:
    config = dataclasses.replace(random.choice(list(PRESETS.values())), agent=random.choice(list(RULES)))
    return json_bytes(spoil_json(json.loads(to_json(config)), random), random)


def settings(folder: Path) -> Callable[[Random], Read]:
    """``config.json``: what is accepted can be written and read again."""

    def prepare(random: Random) -> Read:
        (folder / "config.json").write_bytes(_spoiled_settings(random))
        return read

    def read() -> None:
        config, _ = read_settings(folder)
        assert from_dict(Config, json.loads(to_json(config))) == config

    return prepare


def claim(folder: Path) -> Callable[[Random], Read]:
    """A run's folder with a spoiled ``config.json``, claimed to go on."""

    def prepare(random: Random) -> Read:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        known = {"metarims": "0.0.1", **json.loads(to_json(fake.SMALL))}
        (folder / "config.json").write_bytes(json_bytes(spoil_json(known, random), random))
        return read

    def read() -> None:
        before = (folder / "config.json").read_bytes()
        try:
            with RunFolder(folder, fake.SMALL):
                pass
        except UserError:
            assert (folder / "config.json").read_bytes() == before, "config.json was overwritten"
            raise

    return prepare


def agents(folder: Path, build: Any = fake.build) -> Callable[[Random], Read]:
    """An agent's file."""
    path = folder / "agent.safetensors"
    save_agent(path, samples.tiny_agent() if build else samples.real_agent())
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    about = json.loads(header["__metadata__"][FORMAT])
    arrays = safetensors.numpy.load(whole)

    def spoil(random: Random) -> bytes:
        kind = random.choice(("bytes", "bytes", "head", "header", "about", "about", "arrays", "other"))
        if kind == "bytes":
            return spoil_bytes(whole, random)
        if kind == "head":
            return spoil_bytes(whole[: 8 + length], random) + whole[8 + length :]
        if kind == "header":
            text = json_bytes(spoil_json(header, random), random)
            return len(text).to_bytes(8, "little") + text + whole[8 + length :]
        if kind == "about":
            text = json_bytes(spoil_json(about, random), random).decode("utf-8", errors="replace")
            return safetensors.numpy.save(arrays, metadata={FORMAT: text})
        if kind == "arrays":
            return safetensors.numpy.save(_spoil_arrays(arrays, random), metadata=header["__metadata__"])
        return random.choice(OTHER_FILES) + random.randbytes(random.choice((0, 10, 1000)))

    def prepare(random: Random) -> Read:
        path.write_bytes(spoil(random))
        return lambda: load_agent(path, build)

    return prepare


def _spoil_arrays(arrays: dict[str, np.ndarray], random: Random) -> dict[str, np.ndarray]:
    name = random.choice(list(arrays))
    array, rest = arrays[name], {other: held for other, held in arrays.items() if other != name}
    kind = random.choice(("drop", "rename", "type", "shape", "value", "add"))
    if kind == "drop":
        return rest
    if kind == "rename":
        return rest | {random.choice((name + ".x", "../" + name, name.upper(), "")): array}
    if kind == "type":
        return rest | {name: array.astype(random.choice(("float64", "int32", "uint8", "bool", "float16")))}
    if kind == "shape":
        return rest | {name: np.ascontiguousarray(random.choice((array[None], array.ravel()[:1], array[..., :0])))}
    if kind == "value":
        array = array.copy()
        array.flat[random.randrange(array.size)] = random.choice((np.nan, np.inf, -np.inf, 1e38, 0))
        return rest | {name: array}
    return arrays | {"more": np.zeros(random.choice((0, 1, 100)), np.float32)}


def real_agents(folder: Path) -> Callable[[Random], Read]:
    """The same with the agents of the library, whose parameters follow from the settings in the file."""
    return agents(folder, None)


def checkpoint(folder: Path) -> Callable[[Random], Read]:
    """A folder of two checkpoints with a damaged file: what is restored is one of the two, bit for bit."""
    names = [4, 6]
    for chunk in names:
        checkpoints.save(folder / "whole", chunk, samples.state(chunk), {"chunk": chunk})
    expected = [samples.words(samples.state(chunk)) for chunk in names]
    files = [path.relative_to(folder / "whole") for path in (folder / "whole").rglob("*") if path.is_file()]
    manifests = [path for path in files if path.name == checkpoints.MANIFEST]

    def prepare(random: Random) -> Read:
        shutil.rmtree(folder / "spoiled", ignore_errors=True)
        shutil.copytree(folder / "whole", folder / "spoiled")
        forged = random.random() < 0.3
        for name in random.sample(manifests if forged else files, random.choice((1, 1, 2))):
            path = folder / "spoiled" / name
            if random.random() < 0.1:
                path.unlink()
            else:
                path.write_bytes(_forge(path, random) if forged else _spoil_file(path, random))
        return lambda: read(forged)

    def read(forged: bool) -> None:
        found = checkpoints.restore(folder / "spoiled", samples.state(0))
        same = found.state is None or samples.words(found.state) in expected
        assert same or forged, "other numbers"
        for problem in found.problems:
            check_sentence(problem)

    return prepare


def _spoil_file(path: Path, random: Random) -> bytes:
    if path.suffix == ".json" and random.random() < 0.4:
        return json_bytes(spoil_json(json.loads(path.read_bytes()), random), random)
    return spoil_bytes(path.read_bytes(), random)


def _forge(path: Path, random: Random) -> bytes:
    """A manifest with other content and the checksum that goes with it: nobody's accident."""
    return checkpoints.seal(spoil_json(json.loads(path.read_bytes()).get("manifest", {}), random))


def _forge_notes(path: Path, random: Random) -> bytes:
    """A manifest whose notes do not tell of this run."""
    manifest = json.loads(path.read_bytes())["manifest"]
    notes = manifest["notes"]
    part = random.choice(("metrics", "faults", "speed_bytes"))
    return checkpoints.seal(manifest | {"notes": notes | {part: spoil_json(notes[part], random)}})


def resumed(folder: Path) -> Callable[[Random], Read]:
    """A whole run's folder with damaged files, trained on: it ends as the run that was never damaged."""
    make_trainer = fake.FakeTrainer
    config = dataclasses.replace(fake.SMALL, frames=600)
    train(config, folder / "whole", make_trainer=make_trainer, progress=False)
    expected = _words_of_run(folder / "whole")
    files = [path.relative_to(folder / "whole") for path in (folder / "whole").rglob("*") if path.is_file()]

    def prepare(random: Random) -> Read:
        shutil.rmtree(folder / "run", ignore_errors=True)
        shutil.copytree(folder / "whole", folder / "run")
        for path in random.sample(files, random.choice((1, 1, 2))):
            path = folder / "run" / path
            forge = path.name == checkpoints.MANIFEST and random.random() < 0.5
            path.write_bytes(_forge_notes(path, random) if forge else _spoil_file(path, random))
        return read

    def read() -> None:
        before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
        try:
            train(config, folder / "run", make_trainer=make_trainer, progress=False)
        except UserError:
            for path, data in before.items():
                assert path.name == "run.lock" or path.read_bytes() == data, f"{path.name} was changed"
            raise
        assert _words_of_run(folder / "run") == expected, "other numbers"

    return prepare


def _words_of_run(folder: Path) -> dict[str, Any]:
    """What a run holds; its agents without ``frames``: a damaged ``config.json`` may say others, which nobody can tell
    from a user's wish."""
    found = read_snapshot(folder)
    return found | {"agents": {name: _without_frames(data) for name, data in found["agents"].items()}}


def _without_frames(agent: bytes) -> tuple[Any, ...]:
    start = 8 + int.from_bytes(agent[:8], "little")
    about = json.loads(json.loads(agent[8:start])["__metadata__"][FORMAT])
    del about["config"]["frames"], about[CHECKSUM]
    return about, agent[start:]


def metrics(folder: Path) -> Callable[[Random], Read]:
    """``metrics.jsonl``, read for curves, and ``speed.jsonl``."""
    rows = samples.metrics_rows()
    (folder / "config.json").write_text(to_json(Config()))

    def prepare(random: Random) -> Read:
        (folder / "metrics.jsonl").write_bytes(_spoil_lines(rows, random))
        (folder / "speed.jsonl").write_bytes(_spoil_lines(samples.speed_rows(), random))
        return read_rows if random.random() < 0.7 else read_speeds

    def read_rows() -> None:
        found = read_metrics(folder)
        for name in ("success", "return", "success/a task"):
            curves(found, name)

    def read_speeds() -> None:
        for chunk in read_chunks(folder):
            assert isinstance(chunk["frames_per_second"], float | int)

    return prepare


def _spoil_lines(rows: Sequence[dict[str, Any]], random: Random) -> bytes:
    kept = list(rows)
    for _ in range(random.choice((0, 1, 2))):
        at = random.randrange(len(kept))
        kept[at] = spoil_json(kept[at], random)
    data = b"".join(json.dumps(row).encode() + b"\n" for row in kept)
    return spoil_bytes(data, random) if random.random() < 0.6 else data


def study(folder: Path) -> Callable[[Random], Read]:
    """A study's folder, or its collected scores, with spoiled results: read, and judged."""
    whole, found = folder / "whole", folder / "study"
    results = samples.study_folder(whole)
    collect(whole)

    def prepare(random: Random) -> Read:
        shutil.rmtree(found, ignore_errors=True)
        shutil.copytree(whole, found)
        spoil = random.choice((spoil_json, spoil_leaves))
        path = found / random.choice((SCORES, SCORES, "study.json", *results))
        data = gzip.decompress(path.read_bytes()) if path.name == SCORES else path.read_bytes()
        data = (
            json_bytes(spoil(json.loads(data), random), random) if random.random() < 0.8 else spoil_bytes(data, random)
        )
        if path.name == SCORES:
            data = gzip.compress(data, 1, mtime=0)
            data = data if random.random() < 0.8 else spoil_bytes(data, random)
        path.write_bytes(data)
        return lambda: read(path if path.name == SCORES else found)

    def read(path: Path) -> None:
        found = read_results(path)
        assert isinstance(found.rows, list)
        assert isinstance(found.verdicts, list)

    return prepare


def study_page(folder: Path) -> Callable[[Random], Read]:
    """Results of the right form that say odd things, up to the page with its figures."""
    whole, pages = folder / "whole", folder / "pages"
    results = samples.study_folder(whole)
    texts = {path: (whole / path).read_bytes() for path in results}

    def count_scripts() -> int:
        page = write_study_page(pages / "report.html", read_results(whole))
        return page.read_text(encoding="utf-8").lower().count("<script")

    own = count_scripts()

    def prepare(random: Random) -> Read:
        shutil.rmtree(pages, ignore_errors=True)
        for path, data in texts.items():
            values = spoil_leaves(json.loads(data), random) if random.random() < 0.5 else json.loads(data)
            (whole / path).write_text(json.dumps(values))
        return read

    def read() -> None:
        assert count_scripts() == own, "markup from the results"

    return prepare


def command_line(folder: Path) -> Callable[[Random], Read]:
    """Arguments of the program: exit code 2 and one sentence, or it goes on to what it should do."""
    from metarims import cli

    samples.command_line_folder(folder)

    def prepare(random: Random) -> Read:
        words = arguments(random)
        return lambda: run(words)

    def run(words: list[str]) -> None:
        out, error = io.StringIO(), io.StringIO()
        with stubbed(folder), redirect_stdout(out), redirect_stderr(error):
            try:
                cli.main(words)
            except SystemExit as ended:
                code = ended.code
        assert code in (0, 2), f"exit code {code} of {words}"
        text = error.getvalue()
        assert "Traceback" not in text, f"{words}: {text[-500:]}"
        last = text.removesuffix("\n").rpartition(" ...\n")[2]  # After what it did until then.
        if code == 2 and last.startswith("metarims: "):
            raise UserError(last.removeprefix("metarims: "))
        if code == 2:
            raise UserError("refused by the parser")

    return prepare


def host_environments(folder: Path) -> Callable[[Random], Read]:
    """Gymnasium environments whose spaces and answers are not what they should be, stepped for training."""
    return lambda random: lambda: play_host(make_strange(random))


def drawn_environments(folder: Path) -> Callable[[Random], Read]:
    """The same where pictures are asked for: evaluation and viewing."""
    return lambda random: lambda: play_farama(make_strange(random, DRAWN))


DOORS = (
    Door("settings", 40_000, settings),
    Door("claimed folder", 4_000, claim, may_write=("config.json", "run.lock")),
    Door("agents", 20_000, agents),
    Door("real agents", 300, real_agents),
    Door("checkpoints", 3_000, checkpoint),
    Door("resumed runs", 600, resumed, may_write=None),
    Door("metrics", 20_000, metrics),
    Door("studies", 8_000, study),
    Door("study pages", 60, study_page),
    Door("command line", 5_000, command_line),
    Door("environments", 10_000, host_environments),
    Door("drawn environments", 1_500, drawn_environments),
)
