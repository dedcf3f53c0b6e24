"""Initial weights from trained agents (``init_from``), which are copied into the run's folder."""

from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

from metarims.config import Config
from metarims.errors import UserError
from metarims.gridworld.missions import VOCABULARY
from metarims.gridworld.precision import in_32_bits
from metarims.rules import RULES
from metarims.runs.export import SavedAgent, load_agent, named_arrays, save_agent, shapes_of
from metarims.runs.files import writing
from metarims.runs.folder import contrast, differences, load_agents, locate_agents, read_config


def initial_agents(config: Config, out: str | Path) -> list[SavedAgent] | None:
    """The agents with the initial weights, in the order of ``config.seeds``; None: random weights.

    A resumed run reads the copies in its folder, so the originals may be gone. Raises ``UserError`` where there are no
    agents of these seeds.
    """
    if not config.init_from:
        return None
    copies = [_copy(Path(out), seed) for seed in config.seeds]
    if all(copy.exists() for copy in copies) and read_config(out).init_from == config.init_from:
        return [load_agent(copy) for copy in copies]
    agents = load_agents(locate_agents(config.init_from, "init_from"))
    if len(agents) == 1:
        return agents * len(config.seeds)
    by_seed = {saved.seed: saved for saved in agents}
    missing = [seed for seed in config.seeds if seed not in by_seed]
    if missing:
        seeds = f"whose agents have the seeds {' '.join(map(str, by_seed))}, not {missing[0]}"
        remedy = "give --seeds some of these, or name one agent's .safetensors file for all seeds."
        raise _invalid(config, f"{seeds}: {remedy}")
    return [by_seed[seed] for seed in config.seeds]


def carry_words(agents: Sequence[SavedAgent], words: tuple[str, ...]) -> tuple[list[SavedAgent], str]:
    """The agents with the vocabulary of another task, and a note if it is another: what they learned of words that both
    have is kept, other words begin fresh."""
    found = [_with_words(saved, words) for saved in agents]
    known = set(agents[0].vocabulary)
    fresh = [word for word in words if word not in known]
    if all(saved.vocabulary == words for saved in agents) or agents[0].agent.encoder.mission is None:
        return found, ""
    note = f"Of the {len(words)} words of this task, the initial weights know {len(words) - len(fresh)}"
    return found, f"{note}; {len(fresh)} begin fresh{': ' if fresh else ''}{' '.join(fresh)}."


@in_32_bits
def _with_words(saved: SavedAgent, words: tuple[str, ...]) -> SavedAgent:
    if saved.vocabulary == words:
        return saved
    renamed = saved._replace(num_words=len(words), words=() if words == VOCABULARY else words)
    if saved.agent.encoder.mission is None:
        return renamed
    old = saved.agent.encoder.mission.words
    row = {word: 1 + index for index, word in enumerate(saved.vocabulary)}
    fresh = jax.random.normal(jax.random.key(saved.seed), (1 + len(words), old.shape[1]))
    rows = jnp.array([0, *(row.get(word, -1) for word in words)])
    new = jnp.where(rows[:, None] < 0, fresh, old[rows])
    return renamed._replace(agent=eqx.tree_at(lambda agent: agent.encoder.mission.words, saved.agent, new))


def check_fit(agents: Sequence[SavedAgent], config: Config, num_actions: int, words: tuple[str, ...]) -> None:
    """Raise ``UserError`` unless these agents can continue training with these settings, actions and words."""
    shapes = shapes_of(config, num_actions, len(words))
    for saved in agents:
        cores = RULES[saved.config.agent].core, RULES[config.agent].core
        if cores[0] != cores[1]:
            raise _unfit(config, f"its core is {cores[0]} ({saved.config.agent}), not {cores[1]} ({config.agent})")
        if saved.num_actions != num_actions:
            raise _unfit(config, f"it has {saved.num_actions} actions, and {config.env} {num_actions}")
        if {name: leaf.shape for name, leaf in named_arrays(saved.agent).items()} != shapes:
            sizes = [name for name in differences(saved.config, config) if name.startswith(("network.", "core."))]
            raise _unfit(config, contrast(saved.config, config, sizes))


def copy_initial_agents(agents: Sequence[SavedAgent], config: Config, out: Path) -> None:
    """Copy the initial agents into the run's folder."""
    with writing("the initial agents", out):
        for seed, saved in zip(config.seeds, agents, strict=True):
            _copy(out, seed).parent.mkdir(exist_ok=True)
            save_agent(_copy(out, seed), saved)


def _copy(out: Path, seed: int) -> Path:
    return out / "start" / f"seed-{seed}.safetensors"


def _unfit(config: Config, why: str) -> UserError:
    remedy = "use the settings of that agent, or name another."
    return _invalid(config, f"but that agent does not fit this run, because {why}: {remedy}")


def _invalid(config: Config, why: str) -> UserError:
    return UserError(f"init_from is {config.init_from}, {why}", field="init_from", value=config.init_from)
