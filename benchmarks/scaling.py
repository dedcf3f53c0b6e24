"""How training's frames per second grow with environments, modules, span length, seeds and devices.

    python benchmarks/scaling.py                   # writes scores/scaling.json and prints the tables

Each cell is a process of its own with the defaults but for what its row changes, and all passes over the data are made,
however far they move the policy: the work does not depend on what was learnt. Frames are environment steps of all seeds
together; wall time, without compilation.
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import tyro
from machine import describe_machine

from metarims.config import Config
from metarims.core_settings import RIMSettings
from metarims.learning.trainer import make_trainer
from metarims.runtime import enable_compile_cache, prevent_deadlock, share_processor

SCORES = Path(__file__).parent / "scores/scaling.json"
TASK = "BabyAI-GoToLocal-v0"
AGENTS = ("vanilla", "metarims")


def make_config(agent: str, what: str, size: int) -> Config:
    """The defaults, but for one thing; minibatches keep their size where there are more environments.

    Chunks are as short as they can be: one update of the slowest loop.
    """
    config = Config(agent=agent, env=TASK, frames=10**9, record_every=1)
    config = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, target_kl=0.0))
    fast, slow = config.fast, config.slow
    if what == "environments":
        times = size // config.ppo.num_envs
        ppo = dataclasses.replace(config.ppo, num_envs=size)
        fast, slow = (dataclasses.replace(loop, minibatches=loop.minibatches * times) for loop in (fast, slow))
        return dataclasses.replace(config, ppo=ppo, fast=fast, slow=slow)
    if what == "environments, four minibatches":
        return dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, num_envs=size))
    if what == "modules":
        core = RIMSettings(num_modules=size, num_active=max(1, round(0.6 * size)))
        return dataclasses.replace(config, core=core)
    if what == "span":
        return dataclasses.replace(config, fast=dataclasses.replace(fast, span=size))
    if what == "seeds":
        return dataclasses.replace(config, seeds=tuple(range(size)))
    assert what == "devices", what
    return dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, num_envs=64, shards=size))


SIZES: dict[str, tuple[int, ...]] = {
    "environments": (8, 32, 128, 512),
    "environments, four minibatches": (32, 128, 512),
    "modules": (1, 2, 5, 10, 20),
    "span": (5, 10, 20, 40),
    "seeds": (1, 2, 4, 8),
    "devices": (1, 2, 4),
}
"""What grows, and through which sizes; the default is among them. Devices are threads of the processor, and the 64
environments are divided among them."""


def measure(agent: str, what: str, size: int, seconds: float) -> dict[str, Any]:
    """One cell, in this process."""
    prevent_deadlock()
    devices = size if what == "devices" else 1
    share_processor(devices)
    enable_compile_cache()
    trainer = make_trainer(make_config(agent, what, size), devices)
    began = time.perf_counter()
    state, _ = jax.block_until_ready(trainer.run_chunk(trainer.init()))
    first = time.perf_counter() - began
    frames, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        state, metrics = trainer.run_chunk(state)
        jax.block_until_ready(metrics)
        frames += trainer.frames_per_chunk * len(trainer.config.seeds)
    speed = frames / (time.perf_counter() - began)
    return {"agent": agent, "what": what, "size": size, "frames_per_second": speed, "first_chunk_s": first}


def show(cells: list[dict[str, Any]]) -> None:
    """Markdown: a row per agent and what grows."""
    for what in dict.fromkeys(cell["what"] for cell in cells):
        sizes = list(dict.fromkeys(cell["size"] for cell in cells if cell["what"] == what))
        print(f"\n| {what} | " + " | ".join(map(str, sizes)) + " |\n|" + "---|" * (len(sizes) + 1))
        for agent in dict.fromkeys(cell["agent"] for cell in cells if cell["what"] == what):
            found = {c["size"]: c["frames_per_second"] for c in cells if (c["agent"], c["what"]) == (agent, what)}
            print(f"| {agent} | " + " | ".join(f"{found[size]:,.0f}" if size in found else "" for size in sizes) + " |")


def main(what: tuple[str, ...] = tuple(SIZES), seconds: float = 5.0, cell: tuple[str, str, int] | None = None) -> None:
    """Measure and show. ``what``: what grows (other tables stay as they were); ``seconds``: of each cell; ``cell``:
    measure this one alone."""
    if cell:
        print(json.dumps(measure(*cell, seconds)))
        return
    known = json.loads(SCORES.read_text())["cells"] if SCORES.exists() else []
    cells = [cell for cell in known if cell["what"] not in what]
    for name in what:
        for agent in AGENTS:
            for size in SIZES[name] if (agent, name) != ("vanilla", "modules") else ():
                alone = ["--cell", agent, name, str(size), "--seconds", str(seconds)]
                done = subprocess.run([sys.executable, __file__, *alone], capture_output=True, text=True, check=True)
                cells.append(json.loads(done.stdout.splitlines()[-1]))
                print(cells[-1], flush=True)
                about = {"machine": describe_machine(), "task": TASK, "command": " ".join(["python", *sys.argv])}
                SCORES.write_text(json.dumps(about | {"cells": cells}, indent=1) + "\n")
    show(cells)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
