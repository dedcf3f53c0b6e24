"""Our trainer, at torch-ac's settings (``matched``) or at our own (``default``).

python ours.py ENV_ID AGENT matched|default
"""

import dataclasses
import os
import platform
import resource
import sys
import time
from importlib.metadata import version
from typing import Any, Literal

import jax
import jax.numpy as jnp
from lane import open_reports, race

from metarims.agents.agent import Agent, count_parameters
from metarims.config import PPO, Config, Loop, Network
from metarims.learning.trainer import Trainer, make_trainer
from metarims.types import Observation

MATCHED_NETWORK = Network(
    image_dim=8,
    word_dim=32,
    mission_dim=128,
    fusion="concat",
    feature_dim=64,
    lstm_dim=64,
    head_dim=64,
)
"""Widths of rl-starter-files; 8 channels per tile cost at least the operations of its three convolutions."""

MATCHED_PPO = PPO(num_envs=16, normalize_advantages=False, adam_eps=1e-8)
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
        network=MATCHED_NETWORK,
        ppo=MATCHED_PPO,
        fast=MATCHED_LOOP,
        slow=slow,
    )


def count_flops(jaxpr: Any) -> int:
    """Floating-point operations of the matrix products in a traced function, loops multiplied out."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sizes = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * equation.outvars[0].aval.size * int(jnp.prod(jnp.array(sizes, int)))
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += count_flops(inner) * equation.params.get("length", 1)
    return total


def measure_flops(trainer: Trainer, agent: Agent) -> tuple[int, int]:
    """Of one agent's step on one frame, and of the tables that are looked up, computed once per call."""
    one = Observation(jnp.zeros((1, 7, 7), jnp.uint8), jnp.zeros(1, jnp.int8), jnp.zeros(1, jnp.int32))
    tables = agent.tables(trainer.mission_tokens)
    step = jax.make_jaxpr(lambda agent: agent.step(tables, one, agent.initial_state(1)))(agent)
    call = jax.make_jaxpr(lambda agent: agent.tables(trainer.mission_tokens))(agent)
    return count_flops(step.jaxpr), count_flops(call.jaxpr)


def main(env_id: str, agent_name: str, settings: Literal["matched", "default"]) -> None:
    reports = open_reports()
    trainer = make_trainer(make_config(env_id, agent_name, settings))
    state = trainer.init()
    agent = trainer.agent(state, 0)
    flops_per_frame, flops_per_call = measure_flops(trainer, agent)
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
        "parameters": count_parameters(agent),
        "flops_per_frame": flops_per_frame,
        "flops_per_call": flops_per_call,
        "config": dataclasses.asdict(trainer.config),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("metarims", "jax", "jaxlib", "numpy")},
        },
    }
    race(train, facts, reports)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])  # pyright: ignore[reportArgumentType]
