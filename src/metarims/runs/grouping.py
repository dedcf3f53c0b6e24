"""Which runs are seeds of one experiment, and how experiments are called."""

from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path

from metarims.config import Config
from metarims.errors import one_line
from metarims.runs.folder import TRAINED_APART, differences


def group_runs(configs: Mapping[Path, Config]) -> list[list[Path]]:
    """Folders (or files) by experiment: equal settings, other seeds."""
    found: list[list[Path]] = []
    for path, config in configs.items():
        for paths in found:
            seeds = {seed for other in paths for seed in configs[other].seeds}
            if seeds.isdisjoint(config.seeds) and not differences(configs[paths[0]], config, TRAINED_APART):
                paths.append(path)
                break
        else:
            found.append([path])
    return found


def label_runs(configs: Mapping[Path, Config], *, by_task: bool) -> dict[Path, str]:
    """The agent of each run, with the folder's name where several experiments have this agent (``by_task``: and task).
    Runs of one experiment have one label."""
    experiments = group_runs(configs)

    def kind(path: Path) -> Hashable:
        return (configs[path].agent, configs[path].env) if by_task else configs[path].agent

    kinds = Counter(kind(paths[0]) for paths in experiments)
    twice = {configs[paths[0]].agent for paths in experiments if kinds[kind(paths[0])] > 1}
    names = Counter(paths[0].resolve().name for paths in experiments if configs[paths[0]].agent in twice)
    labels = {}
    for paths in experiments:
        agent, first = configs[paths[0]].agent, paths[0]
        name = first.resolve().name if names[first.resolve().name] == 1 else str(first)
        more = f" and {len(paths) - 1} more" * (len(paths) > 1)
        label = one_line(f"{agent}, {name}{more}" if agent in twice else agent)
        labels |= dict.fromkeys(paths, label)
    return {path: labels[path] for path in configs}
