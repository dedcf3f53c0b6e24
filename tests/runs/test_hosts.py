"""One run over two processes on this machine: the numbers of one process, one folder, one end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from metarims.errors import UserError
from metarims.runs import hosts
from metarims.runs.hosts import Hosts

pytestmark = pytest.mark.process

RUN = ["train", "--preset", "debug", "--agent", "vanilla", "--ppo.shards", "2"]
RUN += ["--record-every", "512", "--checkpoint-every", "1"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Programs compile quickly, and are kept for the other processes of this module."""
    folder = tmp_path_factory.mktemp("cache")
    return os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "METARIMS_CACHE": str(folder)}


def start(environment: dict, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from metarims.cli import main; main()", *RUN, "--out", str(out), *flags]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_both(environment: dict, out: Path, *flags: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = ("--devices", "2", "--hosts", "2", "--coordinator", address, *flags)
    return [start(environment, out, *shared, "--host", str(index)) for index in range(2)]


def end(*processes: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    ended = []
    for process in processes:
        output, errors = process.communicate(timeout=500)
        ended.append((process.returncode, output, errors))
    return ended


def read(out: Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return rows, load_file(out / "agents" / "seed-0.safetensors")


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_one_goes_on_with_their_run(environment, tmp_path):
    alone, both = tmp_path / "alone", tmp_path / "both"
    (ended,) = end(start(environment, alone, "--frames", "1536"))
    assert ended[0] == 0, ended[2]
    ends = end(*start_both(environment, both, "--frames", "1024"))
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert "Finished: 1,024 steps" in ends[0][1]
    assert "step" not in ends[1][1]
    assert len(read(both)[0]) == 2
    (ended,) = end(start(environment, both, "--frames", "1536"))
    assert ended[0] == 0, ended[2]
    (rows, arrays), (expected_rows, expected) = read(both), read(alone)
    assert [row["episodes"] for row in rows] == [row["episodes"] for row in expected_rows]
    for row, wanted in zip(rows, expected_rows, strict=True):
        for name, value in wanted.items():
            np.testing.assert_allclose(row[name], value, rtol=2e-3, atol=1e-4, err_msg=name)
    assert arrays.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(arrays[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_and_saves_all(environment, tmp_path):
    processes = start_both(environment, tmp_path / "run", "--frames", "10000000", "--checkpoint-every", "100000")
    deadline = time.monotonic() + 400
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    ends = end(*processes)
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert "Stopped and saved at step" in ends[0][1]
    rows, _ = read(tmp_path / "run")
    assert [int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()] == [rows[-1]["chunk"]]


def test_a_folder_that_refuses_ends_all_with_the_same_sentence(environment, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("{}")
    ends = end(*start_both(environment, tmp_path))
    assert [code for code, _, _ in ends] == [2, 2], ends
    sentences = [errors.strip().splitlines()[-1] for _, _, errors in ends]
    assert sentences[0] == sentences[1]
    assert str(tmp_path) in sentences[0]


@pytest.mark.parametrize(
    ("asked", "devices", "names"),
    [
        (Hosts(2, 2, "127.0.0.1:1"), 2, "--host"),
        (Hosts(0, 0), 1, "--hosts"),
        (Hosts(2, 0, "127.0.0.1:1"), 3, "devices is 3"),
        (Hosts(2, 0), 2, "coordinator is ''"),
        (Hosts(2, 0, "127.0.0.1:http"), 2, r"coordinator is '127\.0\.0\.1:http': .* a port from 1 to 65535"),
        (Hosts(2, 0, "127.0.0.1:0"), 2, "a port from 1 to 65535"),
        (Hosts(2, 1, "127.0.0.1:65536"), 2, "a port from 1 to 65535"),
        (Hosts(2, 1, ":9876"), 2, "a port from 1 to 65535"),
    ],
)
def test_hosts_that_cannot_meet_are_refused_in_one_sentence(asked, devices, names):
    with pytest.raises(UserError, match=names):
        asked.connect(devices)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_address_that_cannot_be_used_is_said_in_one_sentence(rank, monkeypatch):
    """JAX would end the process: the first at once, the others after minutes."""
    monkeypatch.setattr(hosts, "MEETING_SECONDS", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        if rank == 0:
            taken.listen()
        why = (
            "cannot listen there: address already in use" if rank == 0 else "does not answer there: connection refused"
        )
        with pytest.raises(UserError, match=f"coordinator is '{address}', but the first host {why}"):
            Hosts(2, rank, address).connect(2)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_name_that_leads_nowhere_is_said_in_one_sentence(rank, monkeypatch):
    monkeypatch.setattr(hosts, "MEETING_SECONDS", 0.1)
    monkeypatch.setattr(hosts, "PROBE_SECONDS", 0.1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("no-such-host.invalid", "x" * 300):
        with pytest.raises(UserError, match=f"coordinator is '{name[:30]}.*, but the first host"):
            Hosts(2, rank, f"{name}:{port}").connect(2)


def test_what_jax_finds_wrong_with_the_address_is_said(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("DEADLINE_EXCEEDED: not all are there")

    monkeypatch.setattr(hosts.jax.distributed, "initialize", refuse)
    monkeypatch.setattr(hosts.jax.config, "update", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(UserError, match=f"'{address}'.* answer there: DEADLINE_EXCEEDED: not all are there"):
            Hosts(2, 1, address).connect(2)
