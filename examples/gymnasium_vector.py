"""The environments in other training loops: one in the style of CleanRL, and Stable-Baselines3.

    python examples/gymnasium_vector.py                      # the loop below, with numpy alone
    python examples/gymnasium_vector.py --sb3                # the same environments under Stable-Baselines3's PPO

``gymnasium.make_vec("metarims/ID", num_envs=...)`` gives Gymnasium's ``VectorEnv``: one compiled step for the batch.
Stable-Baselines3 is not a dependency (``pip install stable-baselines3``); a small adapter makes its ``VecEnv``.
"""

import argparse
import importlib.util
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import metarims.gridworld.gym  # registers the ids  # noqa: F401


@dataclass
class Settings:
    """As in CleanRL: one flat list."""

    env_id: str = "metarims/BabyAI-GoToLocal-v0"
    num_envs: int = 64
    num_steps: int = 64
    num_updates: int = 200
    learning_rate: float = 0.02
    gamma: float = 0.99
    entropy_coef: float = 0.01
    seed: int = 0


class Batch(NamedTuple):
    """A rollout, flattened."""

    features: np.ndarray
    actions: np.ndarray
    advantages: np.ndarray


def make_features(observation: dict[str, np.ndarray]) -> np.ndarray:
    """[B, F] the symbolic observation as one-hot types and colours, with the words of the mission."""
    image, words = observation["image"], observation["mission"]
    kinds, colors = np.eye(11, dtype=np.float32)[image[..., 0]], np.eye(6, dtype=np.float32)[image[..., 1]]
    said = np.zeros((len(image), 64), np.float32)
    np.put_along_axis(said, words, 1, axis=1)
    said[:, 0] = 1  # Padding is always present; its column serves as the constant.
    return np.concatenate([kinds.reshape(len(image), -1), colors.reshape(len(image), -1), said], axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def train(settings: Settings) -> list[float]:
    """REINFORCE with standardized returns and a linear policy; returns the mean return of each update's episodes."""
    envs = RecordEpisodeStatistics(gymnasium.make_vec(settings.env_id, num_envs=settings.num_envs))
    rng = np.random.default_rng(settings.seed)
    next_obs, _ = envs.reset(seed=settings.seed)
    num_actions = int(envs.single_action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    weights = np.zeros((make_features(next_obs).shape[1], num_actions), np.float32)
    history = []
    for update in range(settings.num_updates):
        batch, next_obs, returns = collect(envs, next_obs, weights, settings, rng)
        weights += settings.learning_rate * gradient(batch, weights, settings.entropy_coef)
        history.append(float(np.mean(returns)) if returns else float("nan"))
        if update % 20 == 19:
            print(f"update {update + 1}: mean return {np.nanmean(history[-20:]):.3f}")
    envs.close()
    return history


def collect(envs: Any, next_obs: Any, weights: np.ndarray, settings: Settings, rng: np.random.Generator):
    """A rollout of ``num_steps`` with discounted returns."""
    shape = settings.num_steps, settings.num_envs
    features, actions, finished = [], np.zeros(shape, np.int64), []
    rewards, dones = np.zeros(shape), np.zeros(shape, bool)
    for step in range(settings.num_steps):
        features.append(make_features(next_obs))
        odds = softmax(features[-1] @ weights)
        actions[step] = (odds.cumsum(1) < rng.random((settings.num_envs, 1))).sum(1).clip(max=odds.shape[1] - 1)
        next_obs, rewards[step], terminated, truncated, infos = envs.step(actions[step])
        dones[step] = terminated | truncated
        if "episode" in infos:
            finished += infos["episode"]["r"][infos["_episode"]].tolist()
    to_come = np.zeros(shape)
    later = np.zeros(settings.num_envs)
    for step in reversed(range(settings.num_steps)):
        later = rewards[step] + settings.gamma * later * ~dones[step]
        to_come[step] = later
    advantages = (to_come - to_come.mean()) / (to_come.std() + 1e-8)
    batch = Batch(np.concatenate(features), actions.reshape(-1), advantages.reshape(-1))
    return batch, next_obs, finished


def gradient(batch: Batch, weights: np.ndarray, entropy_coef: float) -> np.ndarray:
    """Gradient of mean(advantage x log-probability) + entropy_coef x entropy."""
    odds = softmax(batch.features @ weights)
    chosen = np.eye(odds.shape[1])[batch.actions]
    log_odds = np.log(odds + 1e-8)
    entropy = -(odds * log_odds).sum(1, keepdims=True)
    slope = (chosen - odds) * batch.advantages[:, None] - entropy_coef * odds * (log_odds + entropy)
    return (batch.features.T @ slope / len(odds)).astype(np.float32)


def train_sb3(settings: Settings) -> None:
    """The same environments under Stable-Baselines3's PPO."""
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecMonitor  # pyright: ignore[reportMissingImports]

    envs = VecMonitor(make_sb3(settings.env_id, settings.num_envs))
    model = PPO("MultiInputPolicy", envs, n_steps=settings.num_steps, seed=settings.seed, verbose=1)
    model.learn(settings.num_updates * settings.num_steps * settings.num_envs)


def make_sb3(env_id: str, num_envs: int) -> Any:
    """Our ``VectorEnv`` as Stable-Baselines3's ``VecEnv``."""
    from stable_baselines3.common.vec_env import VecEnv  # pyright: ignore[reportMissingImports]

    class Adapter(VecEnv):
        def __init__(self):
            self.envs = gymnasium.make_vec(env_id, num_envs=num_envs, rgb=True)  # its networks expect images
            super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)

        def reset(self):
            return self.envs.reset(seed=self._seeds[0])[0]

        def step_async(self, actions):
            self.actions = actions

        def step_wait(self):
            observation, reward, terminated, truncated, info = self.envs.step(self.actions)
            infos: list[dict] = [{} for _ in range(num_envs)]
            for index in np.flatnonzero(terminated | truncated):
                infos[index] = {
                    "terminal_observation": info["final_obs"][index],
                    "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
                }
            return observation, reward.astype(np.float32), terminated | truncated, infos

        def close(self):
            self.envs.close()

        def get_attr(self, attr_name, indices=None):
            return [getattr(self.envs, attr_name, None)] * num_envs

        def set_attr(self, attr_name, value, indices=None):
            setattr(self.envs, attr_name, value)

        def env_method(self, method_name, *args, indices=None, **kwargs):
            return [getattr(self.envs, method_name)(*args, **kwargs)]

        def env_is_wrapped(self, wrapper_class, indices=None):
            return [False] * num_envs

    return Adapter()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sb3", action="store_true", help="train with Stable-Baselines3, which must be installed")
    parser.add_argument("--env-id", default=Settings.env_id)
    parser.add_argument("--num-updates", type=int, default=Settings.num_updates)
    chosen = parser.parse_args()
    settings = Settings(env_id=chosen.env_id, num_updates=chosen.num_updates)
    if chosen.sb3:
        if importlib.util.find_spec("stable_baselines3") is None:
            parser.error("--sb3 needs Stable-Baselines3: pip install stable-baselines3")
        train_sb3(settings)
    else:
        train(settings)
