"""One self-contained HTML page on which episodes are looked at, step by step."""

from collections.abc import Sequence
from pathlib import Path

from metarims.evaluation.episodes import Episode


def write_episode_page(
    path: str | Path, episodes: Sequence[Episode], title: str = "Episodes", labels: Sequence[str] = ()
) -> Path:
    """Write the episode viewer to ``path`` and return it; it needs no network and opens from disk.

    ``labels`` says in a few words what played each episode ("metarims, seed 0, greedy"); one per episode, or none.
    """
    raise NotImplementedError
