"""sb3-contrib's recurrent PPO at its own defaults, as a user would run it: 16 environments, pixels or symbols.

Runs in the environment of ``torch_ac_lstm.py``:

    python sb3_recurrent.py ENV_ID rgb|symbolic
"""
# pyright: reportMissingImports=false

import platform
import sys
from importlib.metadata import version
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the environments)
import torch
from lane import Unit, open_reports, race
from minigrid.wrappers import ImgObsWrapper, RGBImgPartialObsWrapper
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv

ENVIRONMENTS = 16


def make_env(env_id: str, pixels: bool) -> gymnasium.Env:
    """The picture alone, which is what its policies read; the sentence is left out."""
    env = gymnasium.make(env_id)
    return ImgObsWrapper(RGBImgPartialObsWrapper(env, tile_size=8) if pixels else env)


def main(env_id: str, kind: str) -> None:
    reports = open_reports()
    torch.set_num_threads(1)
    envs = DummyVecEnv([lambda: make_env(env_id, kind == "rgb") for _ in range(ENVIRONMENTS)])
    # The 7x7 symbols are too small for its convolutions: there it flattens them.
    model = RecurrentPPO("CnnLstmPolicy" if kind == "rgb" else "MlpLstmPolicy", envs, seed=0, device="cpu")
    frames = model.n_steps * model.n_envs

    def train() -> Unit:
        model.learn(total_timesteps=frames, reset_num_timesteps=False)
        return Unit(frames)

    def describe() -> dict[str, Any]:
        parts = model.policy.named_children()
        return {
            "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts},
            "flops_per_frame": 0,
            "flops_per_call": 0,
            "versions": {
                "python": platform.python_version(),
                **{
                    name: version(name)
                    for name in ("torch", "stable-baselines3", "sb3-contrib", "minigrid", "gymnasium", "numpy")
                },
            },
        }

    race(train, describe, reports)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
