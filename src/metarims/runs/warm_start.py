"""The agents whose weights a run starts with (``init_from``); they are copied into the run's folder."""

from collections.abc import Sequence
from pathlib import Path

from metarims import pretrained
from metarims.config import Config
from metarims.errors import UserError
from metarims.rules import RULES
from metarims.runs.export import SavedAgent, load_agent, named_arrays, save_agent, shapes_of
from metarims.runs.files import writing
from metarims.runs.folder import contrast, differences, load_agents, read_config


def initial_agents(config: Config, out: str | Path) -> list[SavedAgent] | None:
    """The agents whose weights the seeds start with, in the order of ``config.seeds``; None: fresh weights.

    A run that has started reads the copies in its own folder. Raises ``UserError`` where a seed has no agent.
    """
    if not config.init_from:
        return None
    copies = [_copy(Path(out), seed) for seed in config.seeds]
    if all(copy.exists() for copy in copies) and read_config(out).init_from == config.init_from:
        return [load_agent(copy) for copy in copies]
    source, path = config.init_from, Path(config.init_from)
    if not path.exists() and source not in pretrained.names():
        known = ", ".join(pretrained.names())
        raise UserError(
            f"init_from is {source}, and nothing is there: name a run's folder, an agent's .safetensors file, or an "
            f"agent that comes with the package ({known})."
        )
    found = load_agents(path if path.exists() else pretrained.find(source))
    if len(found) == 1:
        return found * len(config.seeds)
    by_seed = {saved.seed: saved for saved in found}
    missing = [seed for seed in config.seeds if seed not in by_seed]
    if missing:
        raise UserError(
            f"init_from is {source}, whose agents have the seeds {' '.join(map(str, by_seed))}, not {missing[0]}: give "
            "--seeds some of these, or name one agent's .safetensors file, with which all seeds start."
        )
    return [by_seed[seed] for seed in config.seeds]


def check_fit(agents: Sequence[SavedAgent], config: Config, num_actions: int, words: tuple[str, ...]) -> None:
    """Raise ``UserError`` unless these agents fit a run with this many actions and these words."""
    shapes = shapes_of(config, num_actions, len(words))
    for saved in agents:
        cores = RULES[saved.config.agent].core, RULES[config.agent].core
        if cores[0] != cores[1]:
            raise _unfit(config, f"its core is {cores[0]} ({saved.config.agent}), not {cores[1]} ({config.agent})")
        if saved.num_actions != num_actions:
            raise _unfit(config, f"it has {saved.num_actions} actions, and {config.env} {num_actions}")
        if saved.vocabulary != words:
            raise _unfit(config, "it knows other words (--words) than this task needs")
        if {name: leaf.shape for name, leaf in named_arrays(saved.agent).items()} != shapes:
            sizes = [name for name in differences(saved.config, config) if name.startswith(("network.", "core."))]
            raise _unfit(config, contrast(saved.config, config, sizes))


def copy_initial_agents(agents: Sequence[SavedAgent], config: Config, out: Path) -> None:
    """Copy the agents into the folder of the run that starts with them."""
    with writing("the initial agents", out):
        for seed, saved in zip(config.seeds, agents, strict=True):
            _copy(out, seed).parent.mkdir(exist_ok=True)
            save_agent(_copy(out, seed), saved)


def _copy(out: Path, seed: int) -> Path:
    return out / "start" / f"seed-{seed}.safetensors"


def _unfit(config: Config, why: str) -> UserError:
    return UserError(
        f"init_from is {config.init_from}, but that agent cannot learn in this run: {why}. Give this run the "
        "settings of that agent, or name another.",
        field="init_from",
        value=config.init_from,
    )
