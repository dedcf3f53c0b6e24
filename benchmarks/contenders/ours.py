"""Our trainer, at torch-ac's settings (``matched``) or at our own (``default``).

python ours.py ENV_ID AGENT --settings matched|default

A device is a thread of the processor; with several, each has its shard of the environments.
"""

import dataclasses
import os
import platform
from importlib.metadata import version
from typing import Any, Literal

import jax
import tyro
from lane import Unit, open_reports, race

from metarims.agents.cost import measure_cost
from metarims.config import PPO, Config, Loop, Network
from metarims.core_settings import CORES, LSTMSettings
from metarims.learning.trainer import make_trainer
from metarims.rules import RULES
from metarims.runtime import prevent_deadlock, share_processor

MATCHED_NETWORK = Network(
    image_dim=8,
    word_dim=32,
    fusion="concat",
    feature_rms_limit=0.0,
    feature_dim=64,
    head_dim=64,
)
"""Widths of rl-starter-files; 8 channels per tile cost at least the operations of its three convolutions. Its agents
read missions on BabyAI's tasks alone, by a GRU of 128."""

MATCHED_PPO = PPO(num_envs=16, gamma=0.99, normalize_advantages=False, adam_eps=1e-8, target_kl=0.0)
MATCHED_LOOP = Loop(span=4, rollout=128, epochs=4, minibatches=8, learning_rate=1e-3)


Settings = Literal["matched", "default"]


def make_config(env_id: str, agent: str, settings: Settings) -> Config:
    """``metarims`` at matched settings: the same fast loop, and a slow one like it, with spans four times as long."""
    if settings == "default":
        return Config(agent=agent, env=env_id, frames=10**9)
    slow = Loop(span=16, rollout=128, epochs=4, minibatches=8, learning_rate=1e-3)
    return Config(
        agent=agent,
        env=env_id,
        frames=10**9,
        network=dataclasses.replace(MATCHED_NETWORK, mission_dim=128 * env_id.startswith("BabyAI")),
        core=LSTMSettings(64) if RULES[agent].core == "lstm" else CORES[RULES[agent].core](),
        ppo=MATCHED_PPO,
        fast=MATCHED_LOOP,
        slow=slow,
    )


def main(
    env_id: tyro.conf.Positional[str],
    agent: tyro.conf.Positional[str],
    settings: Settings,
    devices: int = 1,
    seeds: tuple[int, ...] = (0,),
    record_every: int | None = None,
) -> None:
    """Train in the race; ``record_every``: frames of a unit, where they are not the settings' own."""
    reports = open_reports()
    prevent_deadlock()
    share_processor(devices)
    config = make_config(env_id, agent, settings)
    config = dataclasses.replace(
        config,
        seeds=seeds,
        ppo=dataclasses.replace(config.ppo, shards=devices),
        record_every=record_every or config.record_every,
    )
    trainer = make_trainer(config, devices)
    state = trainer.init()
    cost = measure_cost(trainer.agent(state, 0), trainer.envs.mission_tokens())

    def train() -> Unit:
        nonlocal state
        state, metrics = jax.block_until_ready(trainer.run_chunk(state))
        episodes = [round(float(count)) for count in metrics["episodes"]]
        successes = [round(float(rate) * n) if n else 0 for rate, n in zip(metrics["success"], episodes, strict=True)]
        return Unit(trainer.frames_per_chunk, tuple(episodes), tuple(successes))

    def describe() -> dict[str, Any]:
        return {
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

    race(train, describe, reports)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
