"""Draw walls of every WFC maze by Farama's generator, and write ``gridworld/mazes.npz`` (about two seconds each).

It takes ``pip install 'minigrid[wfc]'``, and ``minigrid/envs/wfc/patterns`` from Farama's repository:

python -m tests.gridworld.make_mazes PATTERNS NUMBER
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.levels.mazes import FILE, IDS
from metarims.gridworld.tiles import WALL


def main() -> None:
    """One maze of each id at a time, so that all have as many when the work is interrupted."""
    patterns, number = Path(sys.argv[1]), int(sys.argv[2])
    envs: dict[str, Any] = {id: make_farama(id).unwrapped for id in IDS}
    rows: dict[str, list[np.ndarray]] = {id: [] for id in IDS}
    for env in envs.values():
        env.config = dataclasses.replace(env.config, pattern_path=patterns / env.config.pattern_path.name)
    for seed in range(number):
        for id, env in envs.items():
            quiet_reset(env, seed)
            rows[id].append(np.packbits(np.asarray(state_from_farama(env).grid) == WALL))
        np.savez_compressed(FILE, **{id: np.array(bits) for id, bits in rows.items()})  # pyright: ignore
        print(seed + 1, flush=True)


if __name__ == "__main__":
    main()
