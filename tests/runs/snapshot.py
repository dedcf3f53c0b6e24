"""All that a run must reproduce bit for bit: metrics, events, agents, and the arrays of the last checkpoint's state."""

import warnings
from pathlib import Path
from typing import Any


def read_snapshot(out: Path) -> dict[str, Any]:
    """What lies in a run's folder, so that two runs can be compared."""
    import jax
    import numpy as np
    import orbax.checkpoint.experimental.v1 as ocp

    last = max(path for path in (out / "checkpoints").iterdir() if path.name.isdigit())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sharding info not provided")
        state: Any = ocp.load(last / "state")
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    arrays = {n: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for n, leaf in state.items()}
    return {
        "chunk": last.name,
        "metrics": (out / "metrics.jsonl").read_bytes(),
        "events": (out / "events.jsonl").read_bytes() if (out / "events.jsonl").exists() else b"",
        "agents": {path.name: path.read_bytes() for path in sorted((out / "agents").iterdir())},
        "state": {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()},
    }
