"""Our trainer, at torch-ac's settings (``matched``) or at our own (``default``).

python ours.py ENV_ID AGENT matched|default DEVICES

A device is a thread of the processor; with several, each has its shard of the environments.
"""

import dataclasses
import os
import platform
import resource
import sys
import time
from importlib.metadata import version
from typing import Literal

import jax
from lane import open_reports, race

from metarims.agents.cost import measure_cost
from metarims.config import PPO, Config, Loop, Network
from metarims.gridworld.worlds import mission_tokens
from metarims.learning.trainer import make_trainer
from metarims.runtime import prevent_deadlock, share_processor

MATCHED_NETWORK = Network(
    image_dim=8,
    word_dim=32,
    fusion="concat",
    feature_limit=0.0,
    feature_dim=64,
    lstm_dim=64,
    head_dim=64,
)
"""Widths of rl-starter-files; 8 channels per tile cost at least the operations of its three convolutions. Its agents
read missions on BabyAI's tasks alone, by a GRU of 128."""

MATCHED_PPO = PPO(num_envs=16, gamma=0.99, normalize_advantages=False, adam_eps=1e-8, target_kl=0.0)
MATCHED_LOOP = Loop(span=4, rollout=128, epochs=4, minibatches=8, learning_rate=1e-3)


def make_config(env_id: str, agent: str, settings: Literal["matched", "default"]) -> Config:
    """``metarims`` at matched settings: the same fast loop, and a slow one like it, with spans four times as long."""
    if settings == "default":
        return Config(agent=agent, env=env_id, frames=10**9)
    slow = Loop(span=16, rollout=128, epochs=4, minibatches=8, learning_rate=1e-3)
    return Config(
        agent=agent,
        env=env_id,
        frames=10**9,
        network=dataclasses.replace(MATCHED_NETWORK, mission_dim=128 * env_id.startswith("BabyAI")),
        ppo=MATCHED_PPO,
        fast=MATCHED_LOOP,
        slow=slow,
    )


def main(env_id: str, agent_name: str, settings: Literal["matched", "default"], num_devices: int) -> None:
    reports = open_reports()
    prevent_deadlock()
    share_processor(num_devices)
    config = make_config(env_id, agent_name, settings)
    config = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, shards=num_devices))
    trainer = make_trainer(config, num_devices)
    state = trainer.init()
    agent = trainer.agent(state, 0)
    cost = measure_cost(agent, mission_tokens(trainer.envs, None))
    begin = time.perf_counter()
    state, _ = jax.block_until_ready(trainer.run_chunk(state))

    def train() -> int:
        nonlocal state
        state, metrics = trainer.run_chunk(state)
        jax.block_until_ready(metrics)
        return trainer.frames_per_chunk

    facts = {
        "first_update_s": time.perf_counter() - begin,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parameters": cost.parameters,
        "flops_per_frame": sum(cost.flops.values()),
        "flops_per_call": cost.table_flops,
        "config": dataclasses.asdict(trainer.config),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("metarims", "jax", "jaxlib", "numpy")},
        },
    }
    race(train, facts, reports)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))  # pyright: ignore[reportArgumentType]
