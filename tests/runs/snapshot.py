"""All that a run must reproduce bit for bit: metrics, events, agents, and the arrays of the last checkpoint's state."""

from pathlib import Path
from typing import Any


def read_snapshot(out: Path) -> dict[str, Any]:
    """What lies in a run's folder, so that two runs can be compared."""
    from metarims.runs import checkpoints

    last = max(path for path in (out / "checkpoints").iterdir() if path.name.isdigit())
    fault = checkpoints.verify(last)[1]
    assert fault is None, fault
    return {
        "chunk": last.name,
        "metrics": (out / "metrics.jsonl").read_bytes(),
        "events": (out / "events.jsonl").read_bytes() if (out / "events.jsonl").exists() else b"",
        "agents": {path.name: path.read_bytes() for path in sorted((out / "agents").iterdir())},
        "state": (last / checkpoints.STATE).read_bytes(),
    }
