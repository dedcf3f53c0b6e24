"""Episodes of real Farama environments, played by BabyAI's bot with an unsteady hand; the mind inside is made up."""

import functools

import gymnasium
import minigrid  # noqa: F401  registers the environments
import numpy as np
import pytest
from minigrid.utils.baby_ai_bot import BabyAIBot

from metarims.evaluation.episodes import Episode

NUM_MODULES, NUM_ACTIVE, NUM_ACTIONS = 5, 3, 7


def tile_code(kind: int, color: int, state: int) -> int:
    """Farama's (type, colour, state) as a tile code."""
    plain = {0: 0, 1: 1, 2: 2, 8: 3, 9: 4}
    if kind in plain:
        return plain[kind]
    return 23 + 3 * color + state if kind == 4 else 5 + 6 * (kind - 5) + color


def encode(image: np.ndarray) -> np.ndarray:
    flat = [tile_code(*map(int, cell)) for cell in image.reshape(-1, 3)]
    return np.array(flat, np.uint8).reshape(image.shape[:2])


def snapshot(env) -> dict:
    view = encode(env.gen_obs()["image"])
    view[3, 6] = 41 if env.carrying is None else 41 + view[3, 6] - 4
    grid = encode(env.grid.encode())
    return {"grid": grid, "position": np.array(env.agent_pos), "direction": env.agent_dir, "view": view}


@functools.cache
def play(env_id: str, seed: int, num_modules: int = NUM_MODULES, mission: str | None = None) -> Episode:
    """One episode; ``mission`` replaces the environment's own sentence."""
    env, rng = gymnasium.make(env_id).unwrapped, np.random.default_rng(seed)
    env.reset(seed=seed)
    bot = BabyAIBot(env) if env_id.startswith("BabyAI") else None
    states, actions, rewards, action, ends = [snapshot(env)], [], [], None, (False, False)
    while not any(ends):
        advice = bot.replan(action) if bot else rng.choice(6, p=[0.2, 0.2, 0.3, 0.1, 0.1, 0.1])
        action = int(advice) if rng.random() > 0.15 else int(rng.integers(3))
        _, reward, *ends, _ = env.step(action)
        states.append(snapshot(env))
        actions.append(action)
        rewards.append(float(reward))
    env.close()
    return Episode(
        env=env_id,
        mission=env.mission if mission is None else mission,
        where="farama",
        level_seed=seed,
        **{name: np.stack([state[name] for state in states]) for name in states[0]},
        actions=np.array(actions),
        rewards=np.array(rewards, np.float32),
        terminated=ends[0],
        truncated=ends[1],
        **_inside(rng, np.array(actions), rewards[-1], num_modules),
    )


def _inside(rng, actions: np.ndarray, outcome: float, num_modules: int) -> dict:
    """Values that rise towards the outcome, a policy that favours what was done, modules that change slowly."""
    num_steps = len(actions)
    policy = rng.dirichlet(np.ones(NUM_ACTIONS), num_steps) * 0.5
    policy[np.arange(num_steps), actions] += 0.5
    drift = np.cumsum(rng.normal(size=(num_steps, num_modules)), axis=0) * 0.8
    active = np.argsort(np.argsort(-drift, axis=1), axis=1) < NUM_ACTIVE
    talk = rng.dirichlet(np.full(max(num_modules, 1), 0.6), (num_steps, num_modules))[..., :num_modules]
    steps_left = num_steps - 1 - np.arange(num_steps)
    return {
        "values": (outcome * 0.95**steps_left + 0.03 * rng.normal(size=num_steps)).astype(np.float32),
        "policy": policy.astype(np.float32),
        "active": active,
        "input_attention": (1 / (1 + np.exp(-drift))).astype(np.float32),
        "communication": (talk * active[..., None]).astype(np.float32),
    }


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    """A few of each kind: solved, out of time, with doors and keys, and one of an agent without modules."""
    return [
        play("BabyAI-GoToLocal-v0", 3),
        play("BabyAI-GoToLocal-v0", 11),
        play("BabyAI-PickupLoc-v0", 5),
        play("MiniGrid-DoorKey-5x5-v0", 1),
        play("BabyAI-GoToRedBall-v0", 2, num_modules=0),
    ]
