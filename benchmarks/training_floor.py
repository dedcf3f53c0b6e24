"""Where the time of training goes: operations of every part, the machine's peak, the fraction reached, and a profile.

    python benchmarks/training_floor.py            # one core; writes scores/training_floor.json and prints the tables

Operations are those of matrix products, counted in the traced program; a backward pass counts as two forward ones.
Times are CPU time of one core: the world alone (random actions), acting (the world, the agent, what is kept), and one
update of each loop, each compiled by itself. What an update takes beyond its products at the machine's peak is
overhead: small arrays, and steps of a span that must wait for one another.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from machine import describe_machine

from metarims.agents.agent import Agent
from metarims.agents.core import Core, unroll
from metarims.agents.cost import count_flops, measure_cost
from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.lstm import LSTMCore
from metarims.agents.rims import RIMCore
from metarims.config import Config, Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.learning.rollout import collect_rollout
from metarims.learning.trainer import Trainer, make_trainer
from metarims.runtime import enable_compile_cache, prevent_deadlock
from metarims.studies.plans import change

SCORES = Path(__file__).parent / "scores/training_floor.json"
TASKS = ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0")
PEAK_SIZE = 1024
STEPS, SPAN, BATCH, FEATURES = 20, 20, 64, Config().network.feature_dim
"""Of the comparison of cores: a training step on 64 spans of 20 steps, 64 features each."""


def seconds_of(function: Callable[..., Any], *args: Any, budget: float = 2.0) -> float:
    """CPU seconds of one call, as a mean over ``budget`` seconds, compilation apart."""
    jax.block_until_ready(function(*args))
    calls, began = 0, time.process_time()
    while time.process_time() - began < budget:
        jax.block_until_ready(function(*args))
        calls += 1
    return (time.process_time() - began) / calls


def measure_peak() -> float:
    """GFLOP per CPU-second of a product of large matrices in float32."""
    x = jnp.ones((PEAK_SIZE, PEAK_SIZE))
    return 2 * PEAK_SIZE**3 / seconds_of(jax.jit(jnp.matmul), x, x) / 1e9


def count_frame(trainer: Trainer, agent: Agent) -> dict[str, dict[str, float]]:
    """kFLOP per trained frame: of every part of the network, and of the tables, in acting and in each loop."""
    cost, envs = measure_cost(agent, trainer.envs.mission_tokens()), trainer.config.ppo.num_envs
    base = trainer.learners[0].loop.rollout * envs
    found = {"acting": cost.flops | {"tables": cost.table_flops / base}}
    for learner in trainer.learners:
        loop = learner.loop
        steps = loop.epochs * loop.minibatches / (loop.rollout * envs)
        parts = {name: 3 * loop.epochs * flops for name, flops in cost.flops.items()}
        found[learner.name] = parts | {"tables": 3 * steps * cost.table_flops}
    return {phase: {name: flops / 1e3 for name, flops in parts.items()} for phase, parts in found.items()}


def profile(trainer: Trainer) -> dict[str, float]:
    """CPU microseconds per frame: the world alone, acting, and each loop's update."""
    config, envs = trainer.config, trainer.envs
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init())
    tokens, frames = envs.mission_tokens(state.actor.env), config.ppo.num_envs
    key = jax.random.key(7)

    @jax.jit
    def play(env: Any):
        actions = jax.random.randint(jax.random.clone(key), (trainer.learners[0].loop.rollout, frames), 0, 7)
        return jax.lax.scan(lambda env, action: (envs.step(env, action)[0], None), env, actions)[0]

    def collect(num_steps: int, span: int):
        return jax.jit(
            lambda state: collect_rollout(
                state.agent,
                state.agent.tables(tokens),
                envs,
                state.actor,
                jax.random.clone(key),
                num_steps=num_steps,
                span=span,
                carry=False,
            )[1]
        )

    first = trainer.learners[0].loop
    found = {
        "world": seconds_of(play, state.actor.env) / (frames * first.rollout),
        "acting": seconds_of(collect(first.rollout, first.span), state) / (frames * first.rollout),
    }
    for index, learner in enumerate(trainer.learners):
        rollout = collect(learner.loop.rollout, first.span)(state)
        update = jax.jit(
            lambda agent, optimizer, rollout, learner=learner: learner.update(
                agent, optimizer, tokens, rollout, jax.random.clone(key)
            )
        )
        taken = seconds_of(update, state.agent, state.optimizers[index], rollout)
        found[learner.name] = taken / (frames * learner.loop.rollout)
    return {name: 1e6 * seconds for name, seconds in found.items()}


def train_steps(core: Core) -> tuple[Callable[..., Any], tuple[Any, ...], int]:
    """``STEPS`` steps of gradient descent on a batch of spans in one program, as training has them (a program of its
    own for each would fetch its memory anew), its arguments, and the FLOP of one step of one environment."""
    x = jax.random.normal(jax.random.key(1), (SPAN, BATCH, FEATURES))
    is_first, state = jnp.zeros((SPAN, BATCH), bool), core.initial_state(BATCH)
    one = jax.eval_shape(lambda: (x[0, :1], core.initial_state(1)))
    flops = count_flops(lambda x, state: core.step(core.project_inputs(x), state), *one)

    def descend(core, _):
        with fast_gradients():
            gradient = jax.grad(lambda core: (unroll(core, x, state, is_first)[1][0] ** 2).mean())(core)
        return jax.tree.map(lambda leaf, slope: leaf - 1e-3 * slope, core, gradient), None

    return jax.jit(lambda core: jax.lax.scan(descend, core, None, length=STEPS)[0]), (core,), flops


def compare_cores() -> dict[str, dict[str, Any]]:
    """A training step of RIM cores, each with an LSTM of as many operations: the default one, one whose modules do not
    talk, and ever wider ones."""
    cores = {
        "default": RIMSettings(),
        "no communication": RIMSettings(communication_heads=0),
        **{f"modules of {width}": RIMSettings(module_dim=width, communication_dim=width) for width in (64, 128)},
    }
    return {name: compare_with_lstm(settings) for name, settings in cores.items()}


def compare_with_lstm(settings: RIMSettings) -> dict[str, Any]:
    """The RIM core of these settings beside an LSTM, in five rounds."""
    rim = RIMCore(FEATURES, settings, key=jax.random.key(0))
    step, args, flops = train_steps(rim)
    width = min(range(16, 1024), key=lambda width: abs(8 * width * (FEATURES + width) - flops))
    plain, plain_args, plain_flops = train_steps(LSTMCore(FEATURES, LSTMSettings(width), key=jax.random.key(1)))
    times = [(seconds_of(step, *args), seconds_of(plain, *plain_args)) for _ in range(5)]
    ratios = sorted(rim / lstm for rim, lstm in times)
    return {
        "rim_flops": flops,
        "lstm_flops": plain_flops,
        "lstm_width": width,
        "rim_ms": 1e3 / STEPS * sorted(rim for rim, _ in times)[2],
        "lstm_ms": 1e3 / STEPS * sorted(lstm for _, lstm in times)[2],
        "ratio": ratios[2],
        "ratios": ratios,
    }


def measure(agents: tuple[str, ...], tasks: tuple[str, ...]) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {"peak_gflops": measure_peak(), "cores": compare_cores(), "runs": []}
    for task in tasks:
        for agent in agents:
            kind, _, settings = agent.partition("+")
            config = change(Config(agent=kind, env=task, frames=10**9), {"network.input": settings or Network.input})
            trainer = make_trainer(config)
            state = trainer.init()
            flops, times = count_frame(trainer, trainer.agent(state, 0)), profile(trainer)
            total = sum(sum(parts.values()) for parts in flops.values()) / 1e3
            taken = sum(value for name, value in times.items() if name != "world")
            reached = total / taken / (found["peak_gflops"] / 1e3)
            row = {"task": task, "agent": agent, "kflop": flops, "us": times, "mflop": total, "reached": reached}
            found["runs"].append(row)
            print(json.dumps(row), flush=True)
    return found


def show(found: dict[str, Any]) -> None:
    """Markdown."""
    print(f"\nPeak: {found['peak_gflops']:.0f} GFLOP per CPU-second.\n")
    parts = ("encoder", "core", "policy", "value", "tables")
    print("| task | agent | kFLOP per frame in | " + " | ".join(parts) + " |\n" + "|---" * (3 + len(parts)) + "|")
    for row in found["runs"]:
        for phase, flops in row["kflop"].items():
            print(
                f"| {row['task']} | {row['agent']} | {phase} | " + " | ".join(f"{flops[p]:,.0f}" for p in parts) + " |"
            )
    print("\n| task | agent | MFLOP/frame | world µs | acting µs | fast µs | slow µs | of the peak | at the peak µs |")
    print("|---" * 9 + "|")
    for row in found["runs"]:
        times = row["us"]
        cells = [f"{times[name]:.1f}" if name in times else "" for name in ("world", "acting", "fast", "slow")]
        ideal = 1e3 * row["mflop"] / found["peak_gflops"]
        print(
            f"| {row['task']} | {row['agent']} | {row['mflop']:.2f} | "
            + " | ".join(cells)
            + f" | {row['reached']:.0%} | {ideal:.1f} |"
        )
    print("\n| RIM core | FLOP per step | ms per training step | LSTM of | ms | ratio | in five rounds |")
    print("|---" * 7 + "|")
    for name, row in found["cores"].items():
        rounds = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        print(
            f"| {name} | {row['rim_flops']:,} | {row['rim_ms']:.2f} | {row['lstm_width']} | {row['lstm_ms']:.2f} "
            f"| {row['ratio']:.2f} | {rounds} |"
        )


def main(
    agents: tuple[str, ...] = ("vanilla", "modular", "metarims"), tasks: tuple[str, ...] = TASKS, out: Path = SCORES
) -> None:
    """Measure and show; ``agents`` and ``tasks``: which (vanilla+set: with network.input set); without agents, peak and
    cores alone."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prevent_deadlock()
    enable_compile_cache()
    about = {"machine": describe_machine(), "command": " ".join(["python", *sys.argv])}
    found = about | measure(agents, tasks)
    out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
