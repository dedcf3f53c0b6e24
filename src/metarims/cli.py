"""The command line: metarims train · evaluate · view · doctor · demo.

Flags are generated from dataclasses (training's from ``config.Config``). JAX is imported only by the commands that
compute, so that help and mistakes answer at once.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarims.config import Config
from metarims.errors import UserError
from metarims.presets import PRESETS
from metarims.presets import preset as find_preset
from metarims.runtime import prevent_deadlock


@dataclass(frozen=True)
class Train:
    """Train agents; the same command goes on with a run that was interrupted."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder of the run (default: runs/AGENT-ENV)."""
    preset: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(PRESETS) + "}")] = "default"
    """Where the other flags start from: debug ends in seconds, demo learns in minutes, paper is as published."""

    def run(self, command: str) -> int:
        from metarims.runs.stopping import StopRequest

        out = self.out or Path("runs") / f"{self.config.agent}-{self.config.env}"
        with StopRequest() as stop:  # From before the slow imports, so that an early Ctrl-C is as harmless.
            from metarims.runs.progress import Progress
            from metarims.runs.training import train

            _enable_cache()
            with Progress() as progress:
                outcome = train(self.config, out, progress, stop=stop)
        if not outcome.finished:
            print(f"Stopped and saved at step {outcome.env_steps:,} of {self.config.frames:,}. To go on: {command}")
            return 0
        print(f"Finished: {outcome.env_steps:,} steps in {out}. Next: metarims evaluate {shlex.quote(str(out))}")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure success, return and length of a run's agents over many episodes, greedy and sampled."""

    path: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or one agent's .safetensors file."""
    env: str | None = None
    """Farama id of the task (default: the one it was trained on)."""
    episodes: int = 200
    """Episodes per agent and policy; exactly so many are played, to their ends."""
    where: Annotated[Literal["farama", "jax"], tyro.conf.arg(name="in")] = "farama"
    """The real Farama environment, or ours."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """The likeliest action at each step, or one drawn from the policy."""
    seed: int = 0
    """Chooses the evaluation levels (which training never draws) and the sampled actions."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the results there too."""

    def run(self, command: str) -> int:
        from metarims.evaluation.tables import evaluate_agents, print_table, write_json
        from metarims.runs.folder import load_agents

        agents = load_agents(self.path)
        _enable_cache()
        policies = ("greedy", "sampled") if self.policy == "both" else (self.policy,)
        results = evaluate_agents(agents, self.env, self.where, self.episodes, policies, self.seed)
        print_table(results)
        if self.json:
            write_json(self.json, results)
        return 0


@dataclass(frozen=True)
class View:
    """Write one HTML page of episodes: the world, what the agent sees, what its modules do. Open it in a browser."""

    path: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or one agent's .safetensors file."""
    env: str | None = None
    """Farama id of the task (default: the one it was trained on)."""
    episodes: int = 6
    """Episodes per agent."""
    where: Annotated[Literal["farama", "jax"], tyro.conf.arg(name="in")] = "jax"
    """The world to play in: ours, or the real Farama environment."""
    policy: Literal["greedy", "sampled"] = "sampled"
    """The likeliest action at each step, or one drawn from the policy."""
    seed: int = 0
    """Chooses the levels and the sampled actions."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The page (default: episodes.html in the run's folder, or beside the agent)."""

    def run(self, command: str) -> int:
        from metarims.evaluation.recording import record_agents
        from metarims.runs.files import writing
        from metarims.runs.folder import load_agents
        from metarims.views.episode_page import write_episode_page

        agents = load_agents(self.path)
        _enable_cache()
        episodes = record_agents(agents, self.env, self.where, self.episodes, self.policy == "greedy", self.seed)
        names = [f"{saved.config.agent}, seed {saved.seed}, {self.policy}" for saved in agents]
        labels = [name for name in names for _ in range(self.episodes)]
        out = self.out or (self.path if self.path.is_dir() else self.path.parent) / "episodes.html"
        with writing("the page", out.parent, advice="Name another file."):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_episode_page(out, episodes, f"{agents[0].config.agent} on {episodes[0].env}", labels)
        print(f"Wrote {out} ({out.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
        return 0


@dataclass(frozen=True)
class Doctor:
    """Print what a bug report needs: versions, devices, compile cache, memory, cores, free disk."""

    def run(self, command: str) -> int:
        from metarims.runtime import describe

        lines = describe()
        width = max(len(name) for name, _ in lines)
        print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
        return 0


@dataclass(frozen=True)
class RunDemo:
    """Train three agents on a small BabyAI task, measure them in the real environment, and write one HTML report."""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/demo")
    """Folder of the demo's runs and of report.html; finished runs in it are used again."""

    def run(self, command: str) -> int:
        from metarims.demo import run_demo

        _enable_cache()
        return run_demo(self.out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program ``metarims``. Exit codes: 0 done or stopped on request, 2 bad input or no space, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prevent_deadlock()
    try:
        code = _parse(arguments).run(shlex.join(["metarims", *arguments]))
        sys.stdout.flush()
    except UserError as error:
        print(f"metarims: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("metarims: interrupted; what was written before is kept.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # The reader of our output left, as in `metarims doctor | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code)


def _parse(arguments: list[str]) -> Train | Evaluate | View | Doctor | RunDemo:
    start = Train(find_preset(_preset_name(arguments)))
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=start)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[View, tyro.conf.subcommand("view")]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")]
        | Annotated[RunDemo, tyro.conf.subcommand("demo")]
    )
    return tyro.cli(
        commands,  # pyright: ignore[reportArgumentType]
        prog="metarims",
        description="Modular recurrent agents that learn at two speeds, in MiniGrid and BabyAI.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )


def _preset_name(arguments: list[str]) -> str:
    """The value of ``--preset``: the other flags' defaults come from it, so it is read first."""
    name = "default"
    for index, word in enumerate(arguments):
        if word == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif word.startswith("--preset="):
            name = word.removeprefix("--preset=")
    return name


def _enable_cache() -> None:
    from metarims.runtime import enable_compile_cache

    problem = enable_compile_cache()
    if problem:
        print(f"Note: compiled programs are not kept for next time: {problem}.", file=sys.stderr)


if __name__ == "__main__":
    main()
