"""A run's folder: one configuration, and one process that writes."""

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarims import __version__, pretrained
from metarims.config import Config
from metarims.errors import UserError, invalid
from metarims.fields import from_dict, to_json
from metarims.runs.files import describe_error, lock, sync_folder, write_atomic
from metarims.upgrade import upgrade_config

if TYPE_CHECKING:
    from metarims.runs.export import SavedAgent

MAY_CHANGE = ("frames", "max_words", "max_missions")
"""Settings that may change when a run is resumed: more frames, or room for more missions."""

TRAINED_APART = (*MAY_CHANGE, "seeds")
"""Settings that may differ between the runs of one experiment with separate seeds."""

VERSION = "metarims"
"""Entry of ``config.json``: the version of this package that wrote it."""


class RunFolder:
    """The folder of one run, locked for writing by one process (a context manager).

    ``config.json``: settings; ``metrics.jsonl``: one line per seed and chunk; ``speed.jsonl``: wall-clock times;
    ``events.jsonl``: one line per numerical fault; ``checkpoints/``: training states; ``agents/seed-N.safetensors``:
    trained agents; ``agents/best-seed-N.safetensors``: those with the highest return so far; ``start/``: copies of the
    initial agents (``init_from``); ``run.lock``: the lock; ``tensorboard/``, ``wandb/``, ``wandb.json``: output of
    ``--log``; ``damaged/``: an earlier training without a whole checkpoint.
    """

    def __init__(self, path: str | Path, config: Config):
        self.path, self.config = Path(path).absolute(), config  # What is trained may change the current folder.
        self._name = path
        """As messages give it."""
        self.agents, self.checkpoints = self.path / "agents", self.path / "checkpoints"
        self.metrics, self.speed, self.events = (self.path / f"{name}.jsonl" for name in ("metrics", "speed", "events"))
        self._lock: int | None = None

    def __enter__(self) -> "RunFolder":
        try:
            self._check_links()
            self._check_config()
            for folder in (self.path, self.agents, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            self._claim()
            self._check_config()  # Again, now that no other process can write it.
            write_atomic(self.path / "config.json", describe(self.config))
        except OSError as error:
            self._release()
            raise UserError(
                f"Cannot write to the run folder {self._name}: {describe_error(error)}. Name another with --out."
            ) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    def agent(self, seed: int, *, best: bool = False) -> Path:
        return _agent_file(self.path, seed, best=best)

    def set_aside(self) -> Path:
        """Move an earlier training into ``damaged/``, or ``damaged-2/``, ..., and return that folder.

        The checkpoints come last: while they are here, the next process completes what a killed one left undone.
        """
        everything = (self.metrics, self.speed, self.events, self.agents, self.checkpoints)
        left = [path for path in everything if path.exists()]
        number, aside = 1, self.path / "damaged"
        while aside.is_symlink() or any(os.path.lexists(aside / path.name) for path in left):
            number += 1
            aside = self.path / f"damaged-{number}"
        aside.mkdir(exist_ok=True)
        write_atomic(aside / "config.json", (self.path / "config.json").read_bytes())
        for path in left:
            os.replace(path, aside / path.name)
            sync_folder(aside)
        for path in (self.agents, self.checkpoints):
            path.mkdir(exist_ok=True)
        sync_folder(self.path)
        return aside

    def _find_training(self) -> Path | None:
        """A file of an earlier training, or None: a folder that was only locked is free for another run."""
        files = [path for path in (self.metrics, self.speed, self.events) if path.exists() and path.stat().st_size]
        return next(iter([*files, *self.checkpoints.glob("*"), *self.agents.glob("*")]), None)

    def _check_config(self) -> None:
        trained = self._find_training()
        if not (self.path / "config.json").exists():
            if trained is None:
                return
            raise UserError(
                f"{self._name} has no config.json, but {trained.relative_to(self.path)}, which a run would overwrite: "
                "name another folder with --out."
            )
        saved, version = read_settings(self.path)
        names = differences(saved, self.config)
        if names and trained is not None:
            holds = contrast(saved, self.config, names)
            flags = " ".join(_flag(name, _field(saved, name)) for name in names)
            other = f" of metarims {version} (this is {__version__})" if version not in ("", __version__) else ""
            raise UserError(
                f"{self._name} holds a run{other} with {holds}: name another folder with --out, "
                f"or add {flags} to resume that run."
            )
        if trained is not None:  # ``config.json`` holds the length of the whole run.
            self.config = dataclasses.replace(self.config, frames=max(self.config.frames, saved.frames))

    def _check_links(self) -> None:
        """Refuse links: those of an untrusted folder could point to files elsewhere."""
        for path in (self.metrics, self.speed, self.events, self.path / "run.lock"):
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link, and training would write to its target: replace it by the file, or remove it."
                )

    def _claim(self) -> None:
        """Lock ``run.lock``; the system releases it however the process ends."""
        file = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(file):
            holder = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise UserError(
                f"{self._name} is being written by {holder}: wait for it to end, or name another folder with --out."
            )
        self._lock = file
        with contextlib.suppress(OSError):  # Only for the message above; the disk may be full.
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def read_config(folder: str | Path) -> Config:
    """The settings of the run in ``folder``."""
    return read_settings(folder)[0]


def read_settings(folder: str | Path) -> tuple[Config, str]:
    """The settings of the run in ``folder``, and the version that wrote them ("" if unknown)."""
    path = Path(folder) / "config.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is not a run folder: it has no config.json. {_advise(Path(folder))}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {describe_error(error)}.") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}).") from error
    version = str(values.pop(VERSION, "")) if isinstance(values, dict) else ""
    where = f"{path} (of metarims {version}; this is {__version__})" if version not in ("", __version__) else str(path)
    try:
        return from_dict(Config, upgrade_config(values), where), version
    except UserError as error:
        advice = "The file was edited, or written by another version of metarims: fix it, or use that version."
        raise UserError(f"{error} {advice}", field=error.field, value=error.value) from error


def _advise(folder: Path) -> str:
    """Advice where ``folder`` is not a run's."""
    if folder.is_file():
        return f"Name the folder: {folder.parent}."
    with contextlib.suppress(OSError):
        runs = sorted(str(path.parent) for depth in ("*", "*/*") for path in folder.glob(f"{depth}/config.json"))
        if runs:
            return f"Did you mean {' or '.join(runs[:5])}?"
        if folder.exists() and any(folder.iterdir()):
            return "Name the folder that was given to metarims train with --out."
    return f"Train a run first: metarims train --out {folder}."


def describe(config: Config) -> bytes:
    """The content of ``config.json``."""
    return json.dumps({VERSION: __version__} | json.loads(to_json(config)), indent=2).encode() + b"\n"


def differences(one: Any, other: Any, may_change: Sequence[str] = MAY_CHANGE, prefix: str = "") -> list[str]:
    """The dotted names of the settings in which two configurations differ, except ``may_change``."""
    names = []
    for field in dataclasses.fields(one):
        name, a, b = prefix + field.name, getattr(one, field.name), getattr(other, field.name)
        if type(a) is not type(b):  # Cores of different types.
            continue
        if dataclasses.is_dataclass(a):
            names += differences(a, b, may_change, name + ".")
        elif a != b and name not in may_change:
            names.append(name)
    return names


def contrast(one: Any, other: Any, names: Sequence[str]) -> str:
    """The values of these settings in both configurations, as text."""
    return "; ".join(f"{name} = {_say(_field(one, name))}, not {_say(_field(other, name))}" for name in names)


def _field(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _say(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _flag(name: str, value: Any) -> str:
    """The flag that sets a setting."""
    if isinstance(value, bool):
        group, dot, last = name.rpartition(".")
        name, value = (name if value else f"{group}{dot}no-{last}"), ""
    return f"--{name.replace('_', '-')} {_say(value)}".rstrip()


def locate_agents(source: str | Path, field: str = "AGENT") -> Path:
    """A run's folder, an agent's file, or the file of a pretrained agent; what is not there is a ``UserError``."""
    if Path(source).exists():
        return Path(source)
    if str(source) in pretrained.names():
        return pretrained.find(str(source))
    known = ", ".join(pretrained.names())
    remedy = f"name a run's folder, an agent's .safetensors file, or a pretrained agent ({known})"
    raise invalid(field, str(source), f"it does not exist; {remedy}")


def load_agents(path: str | Path, *, best: bool = False) -> "list[SavedAgent]":
    """The agents of a run's folder, one per seed in the run's order, the one in a .safetensors file, or the pretrained
    one of that name.

    ``best``: those with the highest return during training, instead of the last ones. What is not there is a
    ``UserError``.
    """
    from metarims.runs.export import load_agent

    path = locate_agents(path)
    if not path.is_dir():
        if best:
            raise UserError(f"--best needs a run's folder, and {path.name} is the file of one agent: omit --best.")
        return [load_agent(path)]
    config = read_config(path)
    files = [_agent_file(path, seed, best=best) for seed in config.seeds]
    missing = [file for file in files if not file.exists()]
    if missing and best:
        raise UserError(
            f"{path} has no best agent yet ({missing[0].name} is missing): they are selected every "
            f"{config.checkpoint_every} chunks (checkpoint_every) and at the run's end, where episodes have ended. "
            "Omit --best for the last agents."
        )
    if missing:
        raise UserError(f"{path} has no trained agent yet ({missing[0].name} is missing): train it to a checkpoint.")
    return [load_agent(file) for file in files]


def _agent_file(run: Path, seed: int, *, best: bool) -> Path:
    return run / "agents" / f"{'best-' * best}seed-{seed}.safetensors"
