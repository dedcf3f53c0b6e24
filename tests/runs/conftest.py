import dataclasses
import importlib.util
import warnings
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake():
    """The module ``fake.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(fake):
    """Train the fake learner in a folder; keywords go to it."""
    from metarims.runs.training import train

    def run(out, config=fake.SMALL, watcher=None, **options):
        return train(config, out, watcher, lambda config: fake.FakeTrainer(config, **options))

    return run


@pytest.fixture
def short(fake):
    """Settings of a run with two checkpoints."""
    return dataclasses.replace(fake.SMALL, frames=600)


@pytest.fixture
def snapshot():
    """All that a run must reproduce bit for bit: metrics, agents, and the arrays of the last checkpoint's state."""

    def read(out):
        import jax
        import numpy as np
        import orbax.checkpoint.experimental.v1 as ocp

        last = max(path for path in (out / "checkpoints").iterdir() if path.name.isdigit())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sharding info not provided")
            state = ocp.load(last / "state")
        is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
        arrays = {n: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for n, leaf in state.items()}
        return {
            "chunk": last.name,
            "metrics": (out / "metrics.jsonl").read_bytes(),
            "events": (out / "events.jsonl").read_bytes() if (out / "events.jsonl").exists() else b"",
            "agents": {path.name: path.read_bytes() for path in sorted((out / "agents").iterdir())},
            "state": {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()},
        }

    return read
