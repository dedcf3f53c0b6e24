"""The sizes at which every study can run."""

from metarims.errors import unknown_name
from metarims.gridworld.registry import tasks
from metarims.studies.plans import Scale

_FRAMES = {
    "MiniGrid-DoorKey-5x5-v0": (100_000, 3_000_000),
    "BabyAI-GoToObj-v0": (60_000, 1_000_000),
    "BabyAI-GoToRedBallGrey-v0": (80_000, 2_000_000),
    "BabyAI-GoToLocalS5N2-v0": (80_000, 2_000_000),
    "MiniGrid-DoorKey-16x16-v0": (400_000, 10_000_000),
}
"""Environment steps per seed at laptop and paper scale; other tasks take ``_OTHERS``."""
_OTHERS = (300_000, 5_000_000)


def _frames(env: str, size: int) -> int:
    """A mixture has the steps of all its tasks together."""
    return sum(_FRAMES.get(task, _OTHERS)[size] for task in tasks(env))


SCALES: dict[str, Scale] = {
    "smoke": Scale("smoke", "debug", 2, 4, lambda env: 1_024, grid=256, learnt=0.0, tasks=2, brief=True),
    "demo": Scale("demo", "demo", 3, 171, lambda env: 80_000, grid=1_280),
    "laptop": Scale("laptop", "default", 10, 100, lambda env: _frames(env, 0), grid=1_280),
    "paper": Scale("paper", "paper", 10, 500, lambda env: _frames(env, 1), grid=20_480),
}
"""smoke: tests that everything works. demo: ``metarims demo``, minutes on two cores. laptop: hours on two cores,
default settings. paper: BabyAI's PPO with the settings that the paper gives; most tasks then need an accelerator."""


def scale(name: str) -> Scale:
    """A scale by name; an unknown one raises ``UserError``."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]
