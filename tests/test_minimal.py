"""The method in one file computes what the trainer computes."""

import jax
import numpy as np
import pytest
from examples import minimal

from metarims.config import Config
from metarims.learning.trainer import make_trainer


@pytest.mark.usefixtures("quick_compilation")
def test_one_chunk_gives_the_parameters_that_the_trainer_gives():
    trainer = make_trainer(Config(agent="metarims", env=minimal.ENV, frames=640, record_every=640))
    state, metrics = trainer.run_chunk(trainer.init())
    lines = []
    agent = minimal.train(num_iterations=1, report=lines.append)
    assert f"episodes {int(metrics['episodes'][0])}" in lines[0]
    fresh = trainer.agent(trainer.init(), 0)
    moved = 0
    for ours, theirs, before in zip(*map(jax.tree.leaves, (agent, trainer.agent(state, 0), fresh)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5)
        moved = max(moved, np.abs(np.asarray(theirs) - before).max())
    assert moved > 1e-3
