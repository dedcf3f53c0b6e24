"""A model card: what to say of agents that you share.

    python examples/model_card.py runs/x --licence Apache-2.0

evaluates the agents of a run and writes ``runs/x/README.md``: task, training, success with its interval, commit,
licence, how to load them, and which settings are not the defaults. Share it with the folder's agents and config.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

CARD = """# {agent} on {task}

| | |
|---|---|
| agent | `{agent}`, {seeds} |
| task | `{task}` |
| training | {steps:,} environment steps per seed |
{success}
| evaluation | {episodes} levels per seed, which training did not use; {backend} |
| settings | {settings}; all are in config.json and in the agents' files |
| code | metarims {version}, commit {commit} |
| licence | {licence} |

Use: `pip install metarims`, then `metarims view {file}`, or in Python
`metarims.Policy.load("{file}").act(observation)`. The file holds weights and settings, no code.
"""


@dataclass(frozen=True)
class Settings:
    """Write a model card for the agents of a run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    licence: str = "Apache-2.0"
    """Of the agents."""
    episodes: int = 100
    """Episodes per seed, for the greedy and the sampled policy."""
    backend: Literal["farama", "jax"] = "farama"
    """The original Gymnasium environment, or the compiled one."""


def main(settings: Settings) -> Path:
    """Write the card; returns its path."""
    from metarims.config import Config, for_agent
    from metarims.evaluation.evaluate import BACKENDS
    from metarims.evaluation.tables import evaluate_agents, interval_text, pooled
    from metarims.runs.folder import differences, load_agents, read_settings
    from metarims.runs.metrics_log import read_chunks
    from metarims.runtime import prevent_deadlock

    prevent_deadlock()  # Before JAX computes anything.
    (config, version), agents = read_settings(settings.run), load_agents(settings.run)
    results = evaluate_agents(agents, None, settings.backend, settings.episodes)
    kinds = dict.fromkeys((result.env, result.policy) for result in results)
    rates = {kind: pooled([result for result in results if (result.env, result.policy) == kind]) for kind in kinds}
    of_defaults = differences(config, for_agent(Config(), config.agent), may_change=("agent", "env", "frames", "seeds"))
    card = CARD.format(
        agent=config.agent,
        task=config.env,
        seeds="seed " + " ".join(str(saved.seed) for saved in agents),
        steps=max(saved.env_steps for saved in agents),
        success="\n".join(f"| success, {env}, {how} | {interval_text(rate)} |" for (env, how), rate in rates.items()),
        episodes=settings.episodes,
        backend=BACKENDS[settings.backend],
        settings=f"defaults except {', '.join(of_defaults)}" if of_defaults else "defaults",
        version=version,
        commit=read_chunks(settings.run)[-1].get("commit") or "of a release",
        licence=settings.licence,
        file=f"agents/seed-{agents[0].seed}.safetensors",
    )
    path = settings.run / "README.md"
    path.write_text(card)
    print(card)
    return path


if __name__ == "__main__":
    main(tyro.cli(Settings))
