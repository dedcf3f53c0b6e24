import dataclasses
import importlib.util
from pathlib import Path

import pytest
from tests.runs.snapshot import read_snapshot


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

    def run(out, config=fake.SMALL, callback=None, **options):
        return train(config, out, callback, lambda config: fake.FakeTrainer(config, **options), progress=False)

    return run


@pytest.fixture
def short(fake):
    """Settings of a run with two checkpoints."""
    return dataclasses.replace(fake.SMALL, frames=600)


@pytest.fixture
def snapshot():
    """All that a run must reproduce bit for bit, as a function of its folder."""
    return read_snapshot
