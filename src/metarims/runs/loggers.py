"""Metrics as curves over ``env_steps`` in TensorBoard and Weights & Biases."""

import contextlib
import itertools
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metarims import __version__
from metarims.config import Config
from metarims.errors import UserError, unknown_name
from metarims.fields import to_json
from metarims.runs.callbacks import ChunkReport
from metarims.runs.files import describe_error, write_atomic
from metarims.runs.metrics_log import Speed, read_chunks, read_metrics

UPLOAD_SECONDS = 60.0
"""Timeout per seed for the last upload to Weights & Biases."""


class Loggers:
    """The loggers of these names, for the run in the folder ``out``, as one ``Callback`` (a context manager).

    A logger that is new to a resumed run first receives its earlier chunks, from the run's files. One that fails is
    removed, with a note, and training continues. Raises ``UserError`` for a name that is unknown or whose extra is not
    installed, before anything is written.
    """

    def __init__(self, names: Sequence[str], out: str | Path):
        for name in names:
            if name not in LOGGERS:
                raise unknown_name("logger", name, LOGGERS)
        self._out = Path(out).absolute()
        self._loggers = {name: LOGGERS[name](self._out) for name in names}

    def __enter__(self) -> "Loggers":
        return self

    def __exit__(self, *exception: object) -> None:
        self._call("close")

    def begin(self, config: Config, env_steps: int, problems: tuple[str, ...]) -> None:
        new = [name for name, logger in self._loggers.items() if env_steps and logger.is_new]
        self._call("begin", config, env_steps, to=None if env_steps < config.frames else new)
        if new:
            for report in past_chunks(self._out, env_steps):
                self._call("chunk", report, to=new)

    def chunk(self, report: ChunkReport) -> None:
        self._call("chunk", report)

    def _call(self, event: str, *details: Any, to: Sequence[str] | None = None) -> None:
        """Call a method of these loggers; None: of all."""
        for name, logger in list(self._loggers.items()):
            if to is not None and name not in to:
                continue
            try:
                getattr(logger, event)(*details)
            except Exception as error:
                del self._loggers[name]
                why = f"Note: logging to {name} failed and has ended ({describe_error(error)})"
                print(f"{why}; metrics.jsonl holds all metrics.", file=sys.stderr)
                with contextlib.suppress(Exception):
                    logger.close()


def past_chunks(out: Path, env_steps: int) -> Iterator[ChunkReport]:
    """The reports of a run's chunks so far, from its files; speeds that cannot be read are zero."""
    speeds = {speed.get("chunk"): speed for speed in read_chunks(out)}
    unknown: Speed = {"seconds": 0.0, "compile_seconds": 0.0, "frames_per_second": 0.0}
    for (chunk, steps), rows in itertools.groupby(read_metrics(out), key=lambda row: (row["chunk"], row["env_steps"])):
        of_seeds = [{name: value for name, value in row.items() if name != "agent"} for row in rows]
        speed = speeds.get(chunk, unknown)
        fps, compile_seconds = speed["frames_per_second"], speed["compile_seconds"]
        yield ChunkReport(chunk, steps, env_steps, fps, compile_seconds, of_seeds, speed["seconds"])


class TensorBoard:
    """Event files in ``tensorboard/seed-N``, one more whenever the run is resumed.

    Not by tensorboardX's ``SummaryWriter``: a full disk kills its thread, which then blocks training.
    """

    def __init__(self, out: Path):
        with _extra("tensorboard"):
            from tensorboardX import RecordWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
            from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        self._folder, self._open, self._files = out / "tensorboard", RecordWriter, {}
        self._event, self._session, self._summary = Event, SessionLog, Summary
        self.is_new = not self._folder.exists()

    def begin(self, config: Config, env_steps: int) -> None:
        for seed in config.seeds:
            folder = self._folder / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.iterdir()))  # Names sorted by time.
            self._files[seed] = self._open(str(folder / f"events.out.tfevents.{number:06d}"))
            self._write(seed, file_version="brain.Event:2")
            if number:  # TensorBoard hides earlier points from this step on.
                self._write(seed, step=env_steps + 1, session_log=self._session(status=self._session.START))

    def chunk(self, report: ChunkReport) -> None:
        for row in report.rows:
            values = [
                self._summary.Value(tag=name, simple_value=value) for name, value in _figures(row, report).items()
            ]
            self._write(row["seed"], step=report.env_steps, summary=self._summary(value=values))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, seed: int, **content: Any) -> None:
        self._files[seed].write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._files[seed].flush()


class WeightsAndBiases:
    """One run per seed, grouped by the folder's name, configured by the WANDB_* variables.

    Logged points cannot be replaced, so a resumed run is logged from the end of its curves: according to the server or,
    offline, to ``wandb.json``, which also holds the runs' ids. Offline, a kill loses the points of the last seconds.
    """

    def __init__(self, out: Path):
        with _extra("wandb"):
            from wandb import Settings, init
        self._out, self._init, self._settings = out, init, Settings
        self._runs, self._ends, self._file = {}, {}, out / "wandb.json"
        self.is_new = not self._file.exists()
        self._logged: dict[str, Any] = {"env_steps": 0, "ids": {}}

    def begin(self, config: Config, env_steps: int) -> None:
        if self._file.exists():
            self._logged = json.loads(self._file.read_text(encoding="utf-8"))
        self._logged["ids"] = {str(seed): uuid.uuid4().hex[:8] for seed in config.seeds} | self._logged["ids"]
        self._write_file()
        name = self._out.resolve().name
        for seed in config.seeds:
            run = self._runs[seed] = self._init(
                project=os.environ.get("WANDB_PROJECT", "metarims"),
                group=name,
                name=f"{name} seed {seed}",
                id=self._logged["ids"][str(seed)],
                resume="allow",
                reinit="create_new",
                dir=os.environ.get("WANDB_DIR", self._out),
                config=json.loads(to_json(config)) | {"seed": seed, "metarims": __version__},
                allow_val_change=True,
                settings=self._settings(
                    console="off",
                    finish_timeout=UPLOAD_SECONDS,
                    max_end_of_run_history_metrics=0,
                    max_end_of_run_summary_metrics=0,
                ),
            )
            run.define_metric("*", step_metric="env_steps")
            self._ends[seed] = run.step - 1 if run.resumed else self._logged["env_steps"]

    def chunk(self, report: ChunkReport) -> None:
        for row in report.rows:
            if report.env_steps > self._ends[row["seed"]]:
                figures = _figures(row, report) | {"env_steps": report.env_steps}
                self._runs[row["seed"]].log(figures, step=report.env_steps, commit=True)
        self._logged["env_steps"] = max(self._logged["env_steps"], report.env_steps)
        self._write_file()

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()

    def _write_file(self) -> None:
        write_atomic(self._file, json.dumps(self._logged, indent=2).encode() + b"\n")


LOGGERS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def _figures(row: dict[str, Any], report: ChunkReport) -> dict[str, float | int]:
    """The metrics of a seed that are not null, and the speed of all seeds."""
    names = [name for name, value in row.items() if name not in ("seed", "chunk", "env_steps") and value is not None]
    return {name: row[name] for name in names} | {"frames_per_second": report.frames_per_second}


@contextlib.contextmanager
def _extra(name: str) -> Iterator[None]:
    """A context that imports the package of an extra."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"--log {name} needs an extra ({error}): pip install 'metarims[{name}]', or '.[{name}]' in a checkout."
        ) from error
