"""Words of the command line, drawn from its own flags and from what people put behind them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from tests.fuzz.mutations import spoil_text

from metarims.config import Config
from metarims.evaluation.evaluate import Evaluation
from metarims.presets import PRESETS
from metarims.rules import RULES
from metarims.runs.training import TrainResult
from metarims.studies.running import Ended

COMMANDS = {
    "train": ("--preset", "--agent", "--env", "--seeds", "--frames", "--out", "--devices", "--on-nan", "--words"),
    "evaluate": (
        "--env",
        "--episodes",
        "--backend",
        "--policy",
        "--seed",
        "--json",
        "--temperature",
        "--no-memory",
        "--no-mission",
        "--messages",
        "--input-attention",
        "--router",
    ),
    "view": (
        "--env",
        "--episodes",
        "--backend",
        "--policy",
        "--seed",
        "--out",
        "--temperature",
        "--no-memory",
        "--no-mission",
        "--messages",
        "--input-attention",
        "--router",
    ),
    "plot": ("--metric", "--out"),
    "envs": ("--json",),
    "params": ("--env", "--core.num-modules", "--core.cell"),
    "study list": ("--scale",),
    "study run": ("--scale", "--out", "--workers"),
    "study report": ("--out",),
    "doctor": (),
    "demo": ("--out",),
}
SETTINGS = (
    "--ppo.num-envs",
    "--ppo.gamma",
    "--ppo.clip-value",
    "--ppo.no-clip-value",
    "--fast.span",
    "--fast.rollout",
    "--slow.minibatches",
    "--slow.learning-rate",
    "--core.num-active",
    "--network.fusion",
    "--lr-multipliers.attention",
    "--recurrent-state",
    "--record-every",
    "--max-words",
    "--log",
)
VALUES = (
    *("0", "1", "-1", "2", "8", "64", "3.5", "1e3", "nan", "inf", "-inf", "1_000", "0x10", "9" * 30, "9" * 5000),
    *("", " ", "True", "none", "film", "gru", "greedy", "sampled", "farama", "jax", "carry", "smoke", "laptop", "fig9"),
    *(
        "success",
        "picture.png",
        "run",
        "run/agents/seed-0.safetensors",
        "study",
        "empty",
        "note.txt",
        "missing",
        "random",
        "expert",
        "doorkey",
        "run/../run",
        ".",
        "note.txt/x",
    ),
    *(
        "BabyAI-GoToObj-v0",
        "BabyAI-GoToObj-v0+MiniGrid-Empty-5x5-v0*2",
        "A+B",
        "BabyAI-GoToObj-v0*nan",
        "+",
        "*",
        "a:b",
    ),
    *("BabyAI-OpenDoor-v0", "CartPole-v1", "minigrid:Empty", ":", "tensorboard", "wandb", "restart", "[/x]", "\n", "é"),
    *PRESETS,
    *RULES,
)
POSITIONAL = {
    "evaluate": "run",
    "view": "run",
    "plot": "run",
    "study report": "study",
    "study run": "fig9",
    "study list": "fig9",
}


def arguments(random: Random) -> list[str]:
    """A command with some flags; sometimes a word is missing, doubled, out of place or misspelt."""
    command = random.choice(("train", "train", *COMMANDS))
    words = command.split()
    if command in POSITIONAL:
        words.append(POSITIONAL[command] if random.random() < 0.6 else random.choice(VALUES))
    flags = COMMANDS[command] + SETTINGS * (command == "train")
    for _ in range(random.choice((0, 1, 1, 2, 3)) if flags else 0):
        words.append(random.choice(flags))
        words += [random.choice(VALUES) for _ in range(random.choice((0, 1, 1, 1, 1, 2)))]
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        at = random.randrange(len(words))
        kind = random.choice(("drop", "double", "misspell", "swap", "foreign"))
        if kind == "drop" and len(words) > 1:
            words.pop(at)
        elif kind == "double":
            words.insert(at, words[at])
        elif kind == "misspell":
            words[at] = spoil_text(words[at], random).replace("/", "").replace("\x00", "")
        elif kind == "swap":
            words.append(words.pop(at))
        else:
            words.insert(at, random.choice(("--", "-h", "--help", "-", "--no", "=", "--env=", "\u2028", "\udcff")))
    return words


def _train(config: Config, out: Path, callback: Any, make_trainer: Any, stop: Any) -> TrainResult:
    """Training up to where it would begin."""
    if config.env not in _REFUSED and config.env not in _MADE:
        make_trainer(config)
        _MADE.add(config.env)
    return TrainResult(True, config.frames)


_MADE: set[str] = set()
"""Tasks of which a trainer was made: that takes a second, and looks at little else in the arguments."""
_REFUSED: set[str] = set()


def _played(agent: Any, env: Any, num_episodes: int, *_: Any, **__: Any) -> Evaluation:
    num_episodes = min(num_episodes, 1000)
    return Evaluation(
        np.ones(num_episodes, bool), np.ones(num_episodes), np.ones(num_episodes, int), np.ones(num_episodes)
    )


@contextmanager
def stubbed(folder: Path) -> Iterator[None]:
    """Within the folder, everything as it is but for what takes long: nothing is trained, played or drawn."""
    stubs = {
        "metarims.runs.training.train": _train,
        "metarims.commands.train.share_processor": lambda devices: None,
        "metarims.commands.common.enable_cache": lambda: None,
        "metarims.evaluation.tables.evaluate_jax": _played,
        "metarims.evaluation.tables.evaluate_farama": _played,
        "metarims.views.plots.save_figure": lambda *_: None,
        "metarims.evaluation.recording.record_episodes": lambda *_, **__: [],
        "metarims.views.episode_page.write_episode_page": lambda *_: None,
        "metarims.runs.workers.RayCluster.__enter__": lambda self: self,
        "metarims.runs.workers.RayCluster.__exit__": lambda *_: None,
        "metarims.studies.running.run_study": lambda *_: Ended((), (), ("a plan",)),
        "metarims.studies.study_page.write_study_page": lambda *_: None,
        "metarims.gridworld.listing.entries": cache(lambda: []),
        "metarims.gridworld.listing.table_lines": lambda found: [],
        "metarims.comparison.make_agent": lambda *_, **__: None,
        "metarims.comparison.measure_cost": lambda *_: None,
        "metarims.comparison.print_costs": lambda costs: None,
        "metarims.runtime.describe": lambda: {"python": "3"},
        "sys.stdout.flush": lambda: None,
    }
    here = os.getcwd()
    with ExitStack() as stack:
        for name, stub in stubs.items():
            if name != "sys.stdout.flush":
                stack.enter_context(mock.patch(name, stub))
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)
