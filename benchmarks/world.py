"""Environment steps per CPU-second: our world, and the others that have the same tasks.

    python benchmarks/world.py                                        # ours and Farama's
    python benchmarks/world.py --envpool PYTHON --jax-peers PYTHON    # and those that these interpreters have

Every contender plays uniformly random actions with its own automatic resets, in a process of its own that is bound to
one core. CPU-seconds are the process's own time (user + system), so other work on the machine matters little. Compile
and start times are left out. Symbolic: the 7x7x3 observation (for ours: its tile codes, which hold the same; the three
channels are a look-up). RGB: 56x56x3 pixels.
"""

import argparse
import json
import os
import subprocess
import sys
import time

TASKS = (
    "BabyAI-GoToLocal-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
)
SIZES = (16, 256, 1024, 4096, 65536)
MIN_SECONDS = 2.0
PEERS = {  # ids of the nearest task; neither has BabyAI, MultiRoom-N6 or missions
    "navix": {
        "MiniGrid-DoorKey-8x8-v0": "Navix-DoorKey-8x8-v0",
        "MiniGrid-Dynamic-Obstacles-8x8-v0": "Navix-Dynamic-Obstacles-8x8-v0",
    },
    "xminigrid": {"MiniGrid-DoorKey-8x8-v0": "MiniGrid-DoorKey-8x8"},
}


def measure(run, steps_per_call: int) -> float:
    """Steps per CPU-second of ``run()``, called until enough CPU time has passed; the first call is not counted."""
    run()
    calls, began = 0, time.process_time()
    while time.process_time() - began < MIN_SECONDS:
        run()
        calls += 1
    return calls * steps_per_call / (time.process_time() - began)


def ours(task: str, num_envs: int, rgb: bool, max_steps: int = 0) -> dict:
    """Our world: a compiled scan of steps, actions drawn inside; with ``max_steps`` episodes last at most so long."""
    import dataclasses

    import jax

    from metarims.gridworld import VectorWorld, make, sight

    level = make(task)
    if max_steps:
        level = dataclasses.replace(level, rule=level.rule._replace(max_steps=max_steps))
    vector, length = VectorWorld(level, num_envs), max(4, min(256, 2**18 // num_envs))

    def one(carry, key_act):
        state, _ = carry
        action = jax.random.randint(key_act, (num_envs,), 0, level.num_actions)
        state, step = vector.step(state, action)
        codes = step.observation.codes
        return (state, sight.render(codes) if rgb else codes), step.terminated | step.truncated

    @jax.jit
    def play(carry, key):
        carry, ended = jax.lax.scan(one, carry, jax.random.split(key, length))
        return carry, ended.sum()

    start = time.perf_counter()
    state, first = jax.jit(vector.reset)(jax.random.key(0))
    seen = jax.jit(sight.render)(first.codes) if rgb else first.codes
    box = {"carry": (state, seen), "count": 0, "ended": 0}
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state.world, state.pool.fresh, state.pool.queue)))

    def run():
        box["carry"], ended = play(box["carry"], jax.random.key(box["count"]))
        box["count"] += 1
        box["ended"] += int(ended)

    run()
    compiled = time.perf_counter() - start
    rate = measure(run, length * num_envs)
    episode = box["count"] * length * num_envs / max(1, box["ended"])
    return {"rate": rate, "compile_s": compiled, "bytes_per_env": size / num_envs, "episode": episode}


def farama(task: str, num_envs: int, rgb: bool) -> dict:
    """Farama's environment, alone: its batches are separate environments."""
    import contextlib
    import io

    import numpy as np
    from minigrid.wrappers import RGBImgPartialObsWrapper

    from metarims.gridworld import make
    from metarims.gridworld.farama import make_farama

    del num_envs

    env = make_farama(task)
    env = RGBImgPartialObsWrapper(env) if rgb else env
    rng = np.random.default_rng(0)
    num_actions = make(task).num_actions
    with contextlib.redirect_stdout(io.StringIO()):
        env.reset(seed=0)

        def run():
            for action in rng.integers(0, num_actions, 500):
                _, _, terminated, truncated, _ = env.step(int(action))
                if terminated or truncated:
                    env.reset()

        return {"rate": measure(run, 500)}


def envpool(task: str, num_envs: int, rgb: bool) -> dict:
    """EnvPool with one thread; it has no pixels."""
    import envpool as library  # pyright: ignore[reportMissingImports]
    import numpy as np

    del rgb
    env = library.make_gymnasium(task, num_envs=num_envs, num_threads=1)
    env.reset()
    rng = np.random.default_rng(0)
    num_actions, length = int(env.action_space.n), max(1, 4096 // num_envs)
    actions = rng.integers(0, num_actions, (length, num_envs)).astype(np.int32)

    def run():
        for row in actions:
            env.step(row)

    return {"rate": measure(run, length * num_envs)}


def navix(task: str, num_envs: int, rgb: bool) -> dict:
    """navix, with its automatic reset."""
    import jax
    import navix as library  # pyright: ignore[reportMissingImports]

    observe = library.observations.rgb_first_person if rgb else library.observations.symbolic_first_person
    env = library.make(PEERS["navix"][task], observation_fn=observe)
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)
    num_actions = len(env.action_set)

    def play(timestep, key, length):
        def one(timestep, key_act):
            action = jax.random.randint(key_act, (num_envs,), 0, num_actions)
            return step(timestep, action), None

        return jax.lax.scan(one, timestep, jax.random.split(key, length))[0]

    return _jax_rate(jax, reset(jax.random.split(jax.random.key(0), num_envs)), play, num_envs)


def xminigrid(task: str, num_envs: int, rgb: bool) -> dict:
    """xminigrid, with its automatic reset."""
    import jax
    import xminigrid as library  # pyright: ignore[reportMissingImports]
    from xminigrid.wrappers import GymAutoResetWrapper  # pyright: ignore[reportMissingImports]

    env, params = library.make(PEERS["xminigrid"][task])
    env = GymAutoResetWrapper(env)
    if rgb:
        from xminigrid.experimental.img_obs import RGBImgObservationWrapper  # pyright: ignore[reportMissingImports]

        env = RGBImgObservationWrapper(env)
    reset = jax.vmap(env.reset, in_axes=(None, 0))
    step = jax.vmap(env.step, in_axes=(None, 0, 0))

    def play(timestep, key, length):
        def one(timestep, key_act):
            action = jax.random.randint(key_act, (num_envs,), 0, env.num_actions(params))
            return step(params, timestep, action), None

        return jax.lax.scan(one, timestep, jax.random.split(key, length))[0]

    return _jax_rate(jax, reset(params, jax.random.split(jax.random.key(0), num_envs)), play, num_envs)


def _jax_rate(jax, timestep, play, num_envs: int) -> dict:
    length = max(4, min(256, 2**18 // num_envs))
    play = jax.jit(play, static_argnums=2)
    box = {"timestep": timestep, "count": 0}

    def run():
        box["timestep"] = jax.block_until_ready(play(box["timestep"], jax.random.key(box["count"]), length))
        box["count"] += 1

    return {"rate": measure(run, length * num_envs)}


def child(arguments: argparse.Namespace) -> None:
    """Measure one contender here, on one core, and print one line of JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    kwargs = {"max_steps": arguments.max_steps} if arguments.child == "ours" else {}
    result = globals()[arguments.child](arguments.task, arguments.num_envs, arguments.rgb, **kwargs)
    print(json.dumps(result))


def ask(python: str, who: str, task: str, num_envs: int, rgb: bool = False, max_steps: int = 0) -> dict | None:
    """Measure in a process of its own; None where the contender fails there."""
    words = [python, __file__, "--child", who, "--task", task, "--num-envs", str(num_envs)]
    words += ["--rgb"] * rgb + ["--max-steps", str(max_steps)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"{who} {task} {num_envs}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(who: str, task: str, num_envs: int, kind: str, result: dict | None) -> None:
    """One line of the table."""
    if result is None:
        return
    extra = "".join(f"  {name} {value:.1f}" for name, value in result.items() if name != "rate")
    print(f"{task:36s} {kind:9s} {num_envs:6d}  {who:10s} {result['rate']:14,.0f} steps/CPU-s{extra}", flush=True)


def main() -> None:
    """All contenders over all tasks and sizes, then the cost of resets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envpool", help="a Python interpreter that has envpool")
    parser.add_argument("--jax-peers", help="a Python interpreter that has navix and xminigrid")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--rgb", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--num-envs", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--max-steps", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    here = sys.executable
    for task in arguments.tasks:
        for kind in ("symbolic", "RGB"):
            rgb = kind == "RGB"
            report("Farama", task, 1, kind, ask(here, "farama", task, 1, rgb))
            for size in arguments.sizes:
                report("ours", task, size, kind, ask(here, "ours", task, size, rgb))
                if arguments.envpool and not rgb:
                    report("EnvPool", task, size, kind, ask(arguments.envpool, "envpool", task, size))
                for who in ("navix", "xminigrid") if arguments.jax_peers else ():
                    if task in PEERS[who]:
                        report(who, task, size, kind, ask(arguments.jax_peers, who, task, size, rgb))
    print("\nThe cost of resets: GoToLocal, 1,024 environments, episodes cut after so many steps")
    for limit in (64, 20, 5):
        result = ask(here, "ours", "BabyAI-GoToLocal-v0", 1024, max_steps=limit)
        report("ours", f"at most {limit} steps", 1024, "symbolic", result)


if __name__ == "__main__":
    main()
