"""A run's folder: claimed by one process, of one configuration."""

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarims import __version__
from metarims.config import Config
from metarims.errors import UserError
from metarims.fields import from_dict, to_json
from metarims.runs.files import describe_error, lock, sync_folder, write_atomic
from metarims.upgrade import upgrade_config

if TYPE_CHECKING:
    from metarims.runs.export import SavedAgent

MAY_CHANGE = ("frames", "max_words", "max_missions")
"""Settings that may differ when a run resumes: longer training, or room for more missions, is the same run."""

TRAINED_APART = (*MAY_CHANGE, "seeds")
"""Settings that may differ between runs of one experiment, whose seeds were trained separately."""

VERSION = "metarims"
"""Entry of ``config.json`` beside the settings: the version of this package that wrote it."""


class RunFolder:
    """The folder of one run, held for writing by one process at a time (a context manager).

    ``config.json`` the settings; ``metrics.jsonl`` one line per seed and chunk; ``speed.jsonl`` wall-clock figures;
    ``events.jsonl`` one line per numerical fault, if there was any; ``checkpoints/`` whole training states;
    ``agents/seed-N.safetensors`` the trained agents; ``agents/best-seed-N.safetensors`` those with the highest
    training return; ``start/`` copies of the initial agents (``init_from``); ``run.lock`` the claim; ``tensorboard/``,
    ``wandb/`` and ``wandb.json`` the files of ``--log``; ``damaged/`` an earlier training of which no checkpoint was
    whole.
    """

    def __init__(self, path: str | Path, config: Config):
        self.path, self.config = Path(path), config
        self._lock: int | None = None

    def __enter__(self) -> "RunFolder":
        try:
            self._check_links()
            self._check_config()
            for folder in (self.path, self.agents, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            self._claim()
            self._check_config()  # Again, now that only this process can write it.
            self._keep_longest()
            write_atomic(self.path / "config.json", describe(self.config))
        except OSError as error:
            self._release()
            raise UserError(
                f"Cannot write to the run folder {self.path}: {describe_error(error)}. Name another with --out."
            ) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    @property
    def agents(self) -> Path:
        return self.path / "agents"

    def agent(self, seed: int, *, best: bool = False) -> Path:
        return _agent_file(self.path, seed, best=best)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def speed(self) -> Path:
        return self.path / "speed.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    def set_aside(self) -> Path:
        """Move what training wrote here into ``damaged/``, or ``damaged-2/``, ..., and return that folder.

        The checkpoints go last: while they are here, the process that resumes knows that this was interrupted.
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

    def _earlier_file(self) -> Path | None:
        """A file of an earlier training, if there is one; a folder that was only claimed has none."""
        files = [path for path in (self.metrics, self.speed, self.events) if path.exists() and path.stat().st_size]
        return next(iter([*files, *self.checkpoints.glob("*"), *self.agents.glob("*")]), None)

    def _check_config(self) -> None:
        earlier = self._earlier_file()
        if not (self.path / "config.json").exists():
            if earlier is None:
                return
            raise UserError(
                f"{self.path} has no config.json, but {earlier.relative_to(self.path)}, which a run would overwrite: "
                "name another folder with --out."
            )
        found, version = read_settings(self.path)
        names = differences(found, self.config)
        if names and earlier is not None:
            holds = contrast(found, self.config, names)
            flags = " ".join(_flag(name, _field(found, name)) for name in names)
            other = f" of metarims {version} (this is {__version__})" if version not in ("", __version__) else ""
            raise UserError(
                f"{self.path} holds a run{other} with {holds}: name another folder with --out, "
                f"or add {flags} to resume that run."
            )

    def _keep_longest(self) -> None:
        """With fewer frames than before, ``config.json`` keeps the larger number."""
        if self._earlier_file() is not None:
            frames = max(self.config.frames, read_config(self.path).frames)
            self.config = dataclasses.replace(self.config, frames=frames)

    def _check_links(self) -> None:
        """Written files must lie in the folder: one from elsewhere may hold links to other files."""
        for path in (self.metrics, self.speed, self.events, self.path / "run.lock"):
            if path.is_symlink():
                raise UserError(f"{path} is a link, and would be written to: put the file itself there, or remove it.")

    def _claim(self) -> None:
        """Lock ``run.lock``; the system releases it however the process ends."""
        file = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if not lock(file):
            holder = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise UserError(
                f"{self.path} is being written by {holder}: wait for it to end, or name another folder with --out."
            )
        self._lock = file
        with contextlib.suppress(OSError):  # Who holds it is only a courtesy, and the disk may be full.
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
    """The settings of the run in ``folder``, and the version of this package that wrote them ("" if not known)."""
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
        advice = "Another version of metarims may have written it, or it was edited: fix it, or use that version."
        raise UserError(f"{error} {advice}", field=error.field, value=error.value) from error


def _advise(folder: Path) -> str:
    """Where the runs may be, when ``folder`` is none."""
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
    """The dotted names of the settings in which two configurations differ, without those that may."""
    names = []
    for field in dataclasses.fields(one):
        name, a, b = prefix + field.name, getattr(one, field.name), getattr(other, field.name)
        if type(a) is not type(b):  # Other cores, of other agents.
            continue
        if dataclasses.is_dataclass(a):
            names += differences(a, b, may_change, name + ".")
        elif a != b and name not in may_change:
            names.append(name)
    return names


def contrast(one: Any, other: Any, names: Sequence[str]) -> str:
    """The values of these settings in one configuration, and in the other."""
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


def load_agents(path: str | Path, *, best: bool = False) -> "list[SavedAgent]":
    """The agents of a run's folder, one per seed in the run's order, or the one in a .safetensors file.

    ``best``: those with the highest training return, instead of the last ones.
    """
    from metarims.runs.export import load_agent

    path = Path(path)
    if not path.is_dir():
        if best:
            raise UserError(f"--best chooses among the agents of a run's folder, and {path} is none: leave it out.")
        return [load_agent(path)]
    config = read_config(path)
    files = [_agent_file(path, seed, best=best) for seed in config.seeds]
    missing = [file for file in files if not file.exists()]
    if missing and best:
        raise UserError(
            f"{path} has no best agent yet ({missing[0].name} is missing): they are chosen every "
            f"{config.checkpoint_every} chunks (checkpoint_every) and at the run's end, where episodes have ended. "
            "Leave --best out for the last ones."
        )
    if missing:
        raise UserError(f"{path} has no trained agent yet ({missing[0].name} is missing): train it to a checkpoint.")
    return [load_agent(file) for file in files]


def _agent_file(run: Path, seed: int, *, best: bool) -> Path:
    return run / "agents" / f"{'best-' * best}seed-{seed}.safetensors"
