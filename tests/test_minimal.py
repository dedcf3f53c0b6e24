"""The method in one file computes what the trainer computes."""

import jax
import numpy as np
import pytest
from examples import minimal

from metarims.config import PPO, Config, Loop
from metarims.learning.trainer import make_trainer


@pytest.mark.process  # Compiles the whole trainer at its default sizes.
@pytest.mark.usefixtures("quick_compilation")
def test_one_chunk_gives_the_parameters_that_the_trainer_gives(monkeypatch):
    for name in ("FAST", "SLOW"):
        monkeypatch.setattr(minimal, name, getattr(minimal, name)._replace(epochs=2))
    loops = {"fast": Loop(span=20, rollout=40, epochs=2), "slow": Loop(span=80, rollout=80, epochs=2)}
    ppo = PPO(discount="constant")
    trainer = make_trainer(Config(agent="metarims", env=minimal.ENV, frames=640, record_every=640, ppo=ppo, **loops))
    fresh = trainer.init()
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(trainer.agent(fresh, 0))]
    state, metrics = trainer.run_chunk(fresh)
    lines = []
    agent = minimal.train(num_iterations=1, report=lines.append)
    assert f"episodes {int(metrics['episodes'][0])}" in lines[0]
    moved = 0
    for ours, theirs, first in zip(*map(jax.tree.leaves, (agent, trainer.agent(state, 0), before)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5)
        moved = max(moved, np.abs(np.asarray(theirs) - first).max())
    assert moved > 1e-3
