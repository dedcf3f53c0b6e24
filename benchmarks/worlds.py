"""One cell of the world's benchmark: one contender, one task, one number of environments; prints a line of JSON.

``benchmarks/world.py`` calls this file with the interpreter that has the contender. Every contender plays uniformly
random actions with its own automatic resets on one core. What is counted is CPU-seconds, the process's own time (user +
system), so that other work on the machine matters little; with ``--accelerator`` it is seconds of wall time.
"""

import argparse
import json
import os
import sys
import time
from functools import partial
from importlib.metadata import version

NAVIX = {
    "MiniGrid-DoorKey-8x8-v0": "Navix-DoorKey-8x8-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0": "Navix-Dynamic-Obstacles-8x8-v0",
}
XMINIGRID = {"MiniGrid-DoorKey-8x8-v0": "MiniGrid-DoorKey-8x8"}
"""The nearest task of each; neither has BabyAI, MultiRoom-N6 or missions."""


def measure(run, steps_per_call: int, cell: argparse.Namespace) -> dict:
    """Steps per second of ``run()``, called until enough time has passed; the first call, and compiling, apart."""
    clock = time.perf_counter if cell.accelerator else time.process_time
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    calls, began = 0, clock()
    while clock() - began < cell.seconds or not calls:
        run()
        calls += 1
    return {"rate": calls * steps_per_call / (clock() - began), "first_call_s": first}


def length_of(cell: argparse.Namespace, steps: int) -> int:
    """Steps of each environment in one call."""
    return max(4, min(256, steps // cell.num_envs))


def ours(cell: argparse.Namespace) -> dict:
    """Our world: a compiled scan of steps, their actions drawn before; ``max_steps``: episodes last at most so long."""
    import dataclasses

    import jax

    from metarims.gridworld import VecEnv, make
    from metarims.gridworld import observation as obs

    level = make(cell.task)
    if cell.max_steps:
        level = dataclasses.replace(level, rules=level.rules._replace(max_steps=cell.max_steps))
    vector, length = VecEnv(level, cell.num_envs), length_of(cell, 2**18)

    def one(carry, action):
        state, _ = carry
        state, step = vector.step(state, action)
        codes = step.observation.codes
        return (state, obs.render(codes) if cell.rgb else codes), step.terminated | step.truncated

    @partial(jax.jit, donate_argnums=0)  # the batch is stepped in place
    def play(carry, key):
        actions = jax.random.randint(key, (length, cell.num_envs), 0, level.num_actions)
        carry, ended = jax.lax.scan(one, carry, actions)
        return carry, ended.sum()

    state, first = jax.jit(vector.reset)(jax.random.key(0))
    seen = jax.jit(obs.render)(first.codes) if cell.rgb else first.codes
    box = {"carry": (state, seen), "count": 0, "ended": 0}
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    def run():
        box["carry"], ended = play(box["carry"], jax.random.key(box["count"]))
        box["count"] += 1
        box["ended"] += int(ended)

    result = measure(run, length * cell.num_envs, cell)
    episode = box["count"] * length * cell.num_envs / max(1, box["ended"])
    return result | {"bytes_per_env": size / cell.num_envs, "mean_episode": episode}


def farama(cell: argparse.Namespace) -> dict:
    """Farama's environment, alone: its batches are separate environments."""
    import contextlib
    import io

    import numpy as np
    from minigrid.wrappers import RGBImgPartialObsWrapper

    from metarims.gridworld import make
    from metarims.gridworld.farama import make_farama

    env = make_farama(cell.task)
    env = RGBImgPartialObsWrapper(env) if cell.rgb else env
    rng = np.random.default_rng(0)
    num_actions = make(cell.task).num_actions
    with contextlib.redirect_stdout(io.StringIO()):
        env.reset(seed=0)

        def run():
            for action in rng.integers(0, num_actions, 500):
                _, _, terminated, truncated, _ = env.step(int(action))
                if terminated or truncated:
                    env.reset()

        return measure(run, 500, cell)


def envpool(cell: argparse.Namespace) -> dict:
    """EnvPool with one thread; it has no pixels."""
    import envpool as library  # pyright: ignore[reportMissingImports]
    import numpy as np

    env = library.make_gymnasium(cell.task, num_envs=cell.num_envs, num_threads=1)
    env.reset()
    rng = np.random.default_rng(0)
    num_actions, length = int(env.action_space.n), length_of(cell, 2**15)
    actions = rng.integers(0, num_actions, (length, cell.num_envs)).astype(np.int32)

    def run():
        for row in actions:
            env.step(row)

    return measure(run, length * cell.num_envs, cell)


def navix(cell: argparse.Namespace) -> dict:
    """navix, with its automatic reset."""
    import jax
    import navix as library  # pyright: ignore[reportMissingImports]

    observe = library.observations.rgb_first_person if cell.rgb else library.observations.symbolic_first_person
    env = library.make(NAVIX[cell.task], observation_fn=observe)
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)
    first = jax.jit(reset)(jax.random.split(jax.random.key(0), cell.num_envs))
    return _jax_rate(cell, first, step, len(env.action_set))


def xminigrid(cell: argparse.Namespace) -> dict:
    """xminigrid, with its automatic reset."""
    import jax
    import xminigrid as library  # pyright: ignore[reportMissingImports]
    from xminigrid.wrappers import GymAutoResetWrapper  # pyright: ignore[reportMissingImports]

    env, params = library.make(XMINIGRID[cell.task])
    env = GymAutoResetWrapper(env)
    if cell.rgb:
        from xminigrid.experimental.img_obs import RGBImgObservationWrapper  # pyright: ignore[reportMissingImports]

        env = RGBImgObservationWrapper(env)
    first = jax.vmap(env.reset, in_axes=(None, 0))(params, jax.random.split(jax.random.key(0), cell.num_envs))
    step = jax.vmap(env.step, in_axes=(None, 0, 0))
    return _jax_rate(cell, first, lambda timestep, action: step(params, timestep, action), env.num_actions(params))


def _jax_rate(cell: argparse.Namespace, timestep, step, num_actions: int) -> dict:
    """A compiled scan of steps, as for ours."""
    import jax

    length = length_of(cell, 2**14 if cell.rgb else 2**16)

    @partial(jax.jit, donate_argnums=0)
    def play(timestep, key):
        actions = jax.random.randint(key, (length, cell.num_envs), 0, num_actions)
        return jax.lax.scan(lambda timestep, action: (step(timestep, action), None), timestep, actions)[0]

    box = {"timestep": timestep, "count": 0}

    def run():
        box["timestep"] = jax.block_until_ready(play(box["timestep"], jax.random.key(box["count"])))
        box["count"] += 1

    return measure(run, length * cell.num_envs, cell)


CONTENDERS = {"ours": ours, "Farama": farama, "EnvPool": envpool, "navix": navix, "xminigrid": xminigrid}
PACKAGE = {"ours": "jax", "Farama": "minigrid", "EnvPool": "envpool", "navix": "navix", "xminigrid": "xminigrid"}


def main() -> None:
    """Measure one cell here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("task")
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--rgb", action="store_true")
    parser.add_argument("--max-steps", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--accelerator", action="store_true")
    cell = parser.parse_args()
    if hasattr(os, "sched_setaffinity") and not cell.accelerator:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = CONTENDERS[cell.contender](cell)
    package = PACKAGE[cell.contender]
    versions = {"python": ".".join(map(str, sys.version_info[:3])), package: version(package)}
    print(json.dumps(result | {"versions": versions}))


if __name__ == "__main__":
    main()
