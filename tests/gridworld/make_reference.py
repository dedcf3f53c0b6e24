"""Count the categories of 20,000 levels of Farama's generator for every id that ``reference.npz`` lacks, and add them.

python -m tests.gridworld.make_reference [number of processes]
"""

import sys
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tests.gridworld.selection import GENERATED
from tests.gridworld.statistics import count, farama_levels

from metarims.gridworld import make

FILE = Path(__file__).with_name("reference.npz")
NUM_LEVELS = 20_000
SEED = 1_000_000


def load(id: str) -> dict[str, Counter]:
    """The reference counts of one id."""
    with np.load(FILE) as data:
        names = [name for name in data.files if name.startswith(f"{id}/")]
        return {name.split("/")[1]: Counter(dict(data[name].T.tolist())) for name in names}


def _count(id: str) -> tuple[str, dict[str, Counter]]:
    print(id, flush=True)
    return id, count(farama_levels(make(id), NUM_LEVELS, SEED))


def main() -> None:
    """Every new id, in several processes."""
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    arrays = {}
    if FILE.exists():
        with np.load(FILE) as data:
            arrays = {name: data[name] for name in data.files}
    known = {name.split("/")[0] for name in arrays}
    with get_context("spawn").Pool(processes) as pool:
        for id, counters in pool.imap_unordered(_count, [id for id in GENERATED if id not in known]):
            for name, counter in counters.items():
                arrays[f"{id}/{name}"] = np.array(sorted(counter.items()), np.int64).T
            np.savez_compressed(part := FILE.with_suffix(".part.npz"), **arrays)  # pyright: ignore[reportArgumentType]
            part.replace(FILE)


if __name__ == "__main__":
    main()
