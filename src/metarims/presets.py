"""Named configurations: where the flags of ``metarims train --preset`` start from."""

from metarims.config import PPO, Config, Loop, Network
from metarims.errors import unknown_name

_SMALL = Network(image_dim=8, word_dim=8, mission_dim=8, feature_dim=16, head_dim=8)

PRESETS: dict[str, Config] = {
    "default": Config(),
    # A tiny agent and a few updates: whether everything works, in seconds.
    "debug": Config(
        env="BabyAI-GoToRedBallNoDists-v0",
        frames=4_096,
        network=_SMALL,
        ppo=PPO(num_envs=8),
        fast=Loop(span=4, rollout=16, epochs=1, minibatches=2),
        slow=Loop(span=16, rollout=32, epochs=1, minibatches=2),
        record_every=512,
        checkpoint_every=2,
    ),
    # What `make demo` trains: a task that two cores learn in minutes.
    "demo": Config(env="BabyAI-GoToLocalS5N2-v0", frames=80_000, seeds=(0, 1, 2), record_every=5_000),
    # BabyAI's PPO, whose gamma, lambda and reward the paper took over; outer spans are four inner ones.
    "paper": Config(
        ppo=PPO(
            num_envs=64,
            gamma=0.99,
            discount="constant",
            gae_lambda=0.99,
            clip=0.2,
            clip_value=True,
            value_coef=0.5,
            entropy_coef=0.01,
            reward_scale=20.0,
            normalize_advantages=False,
            adam_eps=1e-5,
            lr_schedule="constant",
            target_kl=0.0,
        ),
        # Minibatches of 1280 steps: 64 x 40 / 2 and 64 x 80 / 4.
        fast=Loop(span=20, rollout=40, epochs=4, minibatches=2, learning_rate=1e-4, max_grad_norm=0.5),
        slow=Loop(span=80, rollout=80, epochs=4, minibatches=4, learning_rate=1e-4, max_grad_norm=0.5),
        slow_data="fresh",
    ),
}


def preset(name: str) -> Config:
    """The configuration of a preset; an unknown one is a ``UserError`` with the nearest names."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
