"""The best agent of each seed so far: the one after the interval of training with the highest mean return."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict


class BestSoFar(TypedDict):
    """State of the search, for checkpoints: one entry per seed in each list."""

    returns: list[float | None]
    """Mean return of the best interval."""
    env_steps: list[int]
    """Steps of the agent at the end of that interval."""
    sums: list[float]
    """Sum of the returns of the episodes that ended in the current interval, ..."""
    episodes: list[int]
    """... and their number."""


class BestCheckpoints:
    """Compares intervals of training, from one regular checkpoint to the next.

    A checkpoint at a stop ends no interval, so that stopped and uninterrupted runs select the same agents. Nor does the
    end of a run, which may be extended (``at_end``). Returns in training cost nothing, though the policy changes.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = list(seeds)
        self.agents: list[Any] = []
        """One per seed; undefined before the first interval has ended."""
        self.so_far: BestSoFar = {
            "returns": [None] * len(seeds),
            "env_steps": [0] * len(seeds),
            "sums": [0.0] * len(seeds),
            "episodes": [0] * len(seeds),
        }

    def restore(self, agents: Sequence[Any], notes: BestSoFar | None = None) -> None:
        """Set agents and notes to those of a checkpoint."""
        self.agents = list(agents)
        if notes is not None:
            self.so_far = notes

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count the episodes of a chunk, one row of metrics per seed."""
        for row in rows:
            index = self.seeds.index(row["seed"])
            if row["episodes"]:
                self.so_far["sums"][index] += row["return"] * row["episodes"]
                self.so_far["episodes"][index] += row["episodes"]

    def at_end(self, env_steps: Callable[[int], int], agent: Callable[[int], Any]) -> "BestCheckpoints":
        """A copy in which the current interval has ended too, for the end of a run."""
        ended = BestCheckpoints(self.seeds)
        ended.restore(self.agents, copy.deepcopy(self.so_far))
        ended.update(env_steps, agent)
        return ended

    def update(self, env_steps: Callable[[int], int], agent: Callable[[int], Any]) -> None:
        """End the interval: the current agents are the best where no earlier interval had a higher return.

        ``env_steps`` and ``agent`` return an agent's steps and the agent for the index of a seed.
        """
        now = self.so_far
        for index, count in enumerate(now["episodes"]):
            if count:
                mean, best = now["sums"][index] / count, now["returns"][index]
                if best is None or mean >= best:
                    now["returns"][index], now["env_steps"][index] = mean, env_steps(index)
                    self.agents[index] = agent(index)
            now["sums"][index], now["episodes"][index] = 0.0, 0
