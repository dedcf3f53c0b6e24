import dataclasses
import io

import pytest
from rich.console import Console

from metarims.errors import UserError
from metarims.presets import PRESETS
from metarims.runs.parallel import train_all
from metarims.runs.stopping import StopRequest


def jobs(folder, *envs):
    debug = PRESETS["debug"]
    return [(dataclasses.replace(debug, env=env, agent="vanilla"), folder / str(i)) for i, env in enumerate(envs)]


def test_what_a_worker_finds_wrong_is_said_here(tmp_path):
    console = Console(file=io.StringIO())
    with StopRequest() as stop, pytest.raises(UserError, match="Unknown environment 'nowhere'"):
        train_all(jobs(tmp_path, "nowhere"), 1, console, stop)
    assert not (tmp_path / "0/metrics.jsonl").exists()


def test_nothing_starts_after_a_stop(tmp_path):
    console = Console(file=io.StringIO())
    with StopRequest() as stop:
        stop.requested = True
        finished = train_all(jobs(tmp_path, "nowhere", "nowhere"), 2, console, stop)
    assert finished == {tmp_path / "0": False, tmp_path / "1": False}
