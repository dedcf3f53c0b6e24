"""Which agent of each seed was the best on the way: the one with the highest return in training just before."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict


class BestSoFar(TypedDict):
    """Where the search stands, as a checkpoint holds it: one entry per seed in each list."""

    returns: list[float | None]
    """Mean return of the best stretch between two checkpoints."""
    env_steps: list[int]
    """Steps of the agent at that stretch's end."""
    sums: list[float]
    """Returns of the episodes that ended in the running stretch, ..."""
    episodes: list[int]
    """... and their number."""


class BestCheckpoints:
    """Judges stretches of training, from one regular checkpoint to the next, or to the run's end.

    Checkpoints that a stop makes end no stretch, so that a run which was stopped keeps the same agents as one which was
    not. Nor does the end of a run, which may go on for longer (``at_end``). Returns of training say how good the policy
    was while it still changed; they cost nothing.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = list(seeds)
        self.agents: list[Any] = []
        """One per seed; what stands there before the first stretch has ended is no best."""
        self.standing: BestSoFar = {
            "returns": [None] * len(seeds),
            "env_steps": [0] * len(seeds),
            "sums": [0.0] * len(seeds),
            "episodes": [0] * len(seeds),
        }

    def restore(self, agents: Sequence[Any], notes: BestSoFar | None = None) -> None:
        """Take up what a checkpoint held."""
        self.agents = list(agents)
        if notes is not None:
            self.standing = notes

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count the episodes of a chunk, one row of metrics per seed."""
        for row in rows:
            index = self.seeds.index(row["seed"])
            if row["episodes"]:
                self.standing["sums"][index] += row["return"] * row["episodes"]
                self.standing["episodes"][index] += row["episodes"]

    def at_end(self, env_steps: Callable[[int], int], agent: Callable[[int], Any]) -> "BestCheckpoints":
        """The best agents of a run that ends here: the running stretch is judged in them, and here goes on."""
        ended = BestCheckpoints(self.seeds)
        ended.restore(self.agents, copy.deepcopy(self.standing))
        ended.judge(env_steps, agent)
        return ended

    def judge(self, env_steps: Callable[[int], int], agent: Callable[[int], Any]) -> None:
        """End the stretch: today's agents are the best so far where no stretch had a higher return.

        ``env_steps`` and ``agent`` give an agent and its steps by the place of its seed.
        """
        now = self.standing
        for index, count in enumerate(now["episodes"]):
            if count:
                found, best = now["sums"][index] / count, now["returns"][index]
                if best is None or found >= best:
                    now["returns"][index], now["env_steps"][index] = found, env_steps(index)
                    self.agents[index] = agent(index)
            now["sums"][index], now["episodes"][index] = 0.0, 0
