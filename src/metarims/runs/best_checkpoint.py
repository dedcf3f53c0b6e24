"""The best agent of each seed so far: the one after the stretch of training with the highest mean return."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict


class BestSoFar(TypedDict):
    """What a checkpoint holds of the search: one entry per seed in each list."""

    returns: list[float | None]
    """Mean return of the best stretch between two checkpoints."""
    env_steps: list[int]
    """Steps of the agent at that stretch's end."""
    sums: list[float]
    """Sum of the returns of the episodes that ended in the current stretch, ..."""
    episodes: list[int]
    """... and their number."""


class BestCheckpoints:
    """Compares stretches of training: each goes from one regular checkpoint to the next, or to the run's end.

    Checkpoints that a stop makes end no stretch, so that a stopped run keeps the same agents as one that was not. Nor
    does the end of a run, which may be extended (``at_end``). Returns in training measure a policy that is still
    changing; they cost nothing.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = list(seeds)
        self.agents: list[Any] = []
        """One per seed; before the first stretch has ended they mean nothing."""
        self.so_far: BestSoFar = {
            "returns": [None] * len(seeds),
            "env_steps": [0] * len(seeds),
            "sums": [0.0] * len(seeds),
            "episodes": [0] * len(seeds),
        }

    def restore(self, agents: Sequence[Any], notes: BestSoFar | None = None) -> None:
        """Continue from what a checkpoint holds."""
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
        """The best agents of a run that ends here: a copy, in which the current stretch counts."""
        ended = BestCheckpoints(self.seeds)
        ended.restore(self.agents, copy.deepcopy(self.so_far))
        ended.update(env_steps, agent)
        return ended

    def update(self, env_steps: Callable[[int], int], agent: Callable[[int], Any]) -> None:
        """End the stretch: the current agents are the best where no earlier stretch had a higher return.

        ``env_steps`` and ``agent`` give an agent's steps and the agent by the place of its seed.
        """
        now = self.so_far
        for index, count in enumerate(now["episodes"]):
            if count:
                found, best = now["sums"][index] / count, now["returns"][index]
                if best is None or found >= best:
                    now["returns"][index], now["env_steps"][index] = found, env_steps(index)
                    self.agents[index] = agent(index)
            now["sums"][index], now["episodes"][index] = 0.0, 0
