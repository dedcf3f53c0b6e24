"""Train for two chunks on so many devices, and print what came of it as a line of JSON.

python devices_play.py AGENT/SEEDS/SHARDS NUM_DEVICES
"""

import json
import sys

import jax
import numpy as np

from conftest import small_config
from metarims.config import PPO
from metarims.learning.trainer import make_trainer


def play(agent: str, num_seeds: int, num_shards: int, num_devices: int) -> dict:
    ppo = PPO(num_envs=16, shards=num_shards)
    config = small_config(agent, seeds=tuple(range(num_seeds)), ppo=ppo, frames=1024, record_every=512)
    trainer = make_trainer(config, num_devices)
    state, episodes = trainer.init(), []
    for _ in range(2):
        state, metrics = trainer.run_chunk(state)
        episodes.append(np.asarray(metrics["episodes"]).tolist())
    leaves = [np.asarray(leaf).ravel() for i in range(num_seeds) for leaf in jax.tree.leaves(trainer.agent(state, i))]
    return {
        "devices": len(jax.tree.leaves(state.agent)[0].sharding.device_set),
        "episodes": episodes,
        "metrics": {name: np.asarray(value).tolist() for name, value in metrics.items()},
        "agent": np.concatenate(leaves).tolist(),
    }


if __name__ == "__main__":
    agent, seeds, shards = sys.argv[1].split("/")
    print(json.dumps(play(agent, int(seeds), int(shards), int(sys.argv[2]))))
