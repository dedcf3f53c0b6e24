"""A study on a Ray cluster: two nodes, one worker killed, and the same results as without Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metarims import cli
from metarims.studies.catalogue import STUDIES
from metarims.studies.plans import plans_of
from metarims.studies.scales import scale
from metarims.studies.study_folder import result_path

pytestmark = pytest.mark.process

STUDY = "fig8"


def measured(folder: Path) -> dict[str, object]:
    """What every plan measured, by name."""
    names = plans_of(STUDIES[STUDY], scale("smoke"))
    return {name: json.loads(result_path(folder, name).read_text())["rows"] for name in names}


def workers() -> list[int]:
    """Processes that run a plan for Ray: they are called by its name."""
    names = tuple(f"ray::{name}".encode() for name in plans_of(STUDIES[STUDY], scale("smoke")))
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in processes if title(entry).startswith(names)]


def title(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # It has ended.
        return b""


def command(folder: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "metarims.cli",
        "study",
        "run",
        STUDY,
        "--scale",
        "smoke",
        "--out",
        str(folder),
        *more,
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="workers are found in /proc")
@pytest.mark.filterwarnings("default")
def test_two_nodes_of_ray_finish_a_study_though_a_worker_is_killed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        onward = command(tmp_path / "ray", "--on", "ray", "--address", cluster.address)
        with subprocess.Popen(onward, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
            deadline = time.monotonic() + 300
            while not list((tmp_path / "ray").rglob("metrics.jsonl")) and time.monotonic() < deadline:
                time.sleep(0.2)
                assert driver.poll() is None
            os.kill(workers()[0], signal.SIGKILL)
            said, _ = driver.communicate(timeout=600)
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, said
    assert "; starting attempt 2" in said
    subprocess.run(command(tmp_path / "alone"), check=True, timeout=600)
    assert measured(tmp_path / "ray") == measured(tmp_path / "alone")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--address", "auto"), "address is 'auto'"),
        (("--gpus", "0.5"), "gpus is 0.5"),
        (("--on", "ray", "--cpus", "-1"), "cpus is -1.0: it must be zero or more"),
        (("--workers", "-1"), "workers is -1: it must be 1 or more"),
    ],
)
def test_what_workers_cannot_be_is_said_in_a_sentence(flags, sentence, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["study", "run", STUDY, "--scale", "smoke", "--out", str(tmp_path / "study"), *flags])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
