"""The commands: train · plot · evaluate · view · envs · params · doctor · demo. Their fields are the flags.

JAX is imported only by the commands that compute, so that help and mistakes answer at once.
"""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from metarims.config import Config, Network
from metarims.errors import UserError
from metarims.presets import PRESETS
from metarims.runs.files import check_file
from metarims.runtime import share_processor

if TYPE_CHECKING:
    from metarims.evaluation.evaluate import Manner
    from metarims.runs.export import SavedAgent

SEED_FAILED = 3
"""Exit code of a training that ended, but not for every seed: a numerical fault stopped some."""


@dataclass(frozen=True)
class Train:
    """Train agents; the same command goes on with a run that was interrupted."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(default: runs/AGENT-ENV)")] = None
    """Folder of the run."""
    preset: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(PRESETS) + "}")] = "default"
    """Where the other flags start from: debug ends in seconds, demo learns in minutes, paper is BabyAI's PPO with the
    paper's N, k, gamma, lambda and fresh data for the slow loop."""
    like: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = None
    """Where the other flags start from instead: the settings of this run."""
    devices: int = 1
    """Devices that share the work: seeds are divided among them, then shards of environments (--ppo.shards). On a
    processor a device is a thread."""
    hosts: int = 1
    """Processes that train this run together, on one machine or many; each is started with this command and its own
    --host. --devices counts those of all."""
    host: int = 0
    """Which of the processes this is; 0 writes the run's folder."""
    coordinator: Annotated[str, tyro.conf.arg(metavar="ADDRESS:PORT")] = ""
    """Where host 0 listens for the others."""
    log: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[{tensorboard,wandb} ...]")] = ()
    """Draw every metric there too, a curve per seed: TensorBoard in the run's folder, Weights & Biases with a run per
    seed. Each is an extra of this package."""

    def run(self, command: str) -> int:
        from metarims.runs.stopping import StopRequest

        out = self.out or Path("runs") / f"{self.config.agent}-{_file_name(self.config.env)}"
        with StopRequest() as stop:  # From before the slow imports, so that an early Ctrl-C is as harmless.
            from metarims.learning.trainer import make_trainer
            from metarims.runs.hosts import Hosts, leads
            from metarims.runs.loggers import Loggers
            from metarims.runs.progress import Progress
            from metarims.runs.training import train
            from metarims.runs.watching import Watchers

            self._note_idle_settings()
            share_processor(Hosts(self.hosts, self.host, self.coordinator).connect(self.devices))
            _begin_computing()
            make = partial(make_trainer, num_devices=self.devices)
            if leads():
                with Loggers(self.log, out) as loggers, Progress() as progress:
                    outcome = train(self.config, out, Watchers(loggers, progress), make, stop)
            else:
                outcome = train(self.config, out, make_trainer=make, stop=stop)
                return SEED_FAILED if outcome.stopped else 0
        if not outcome.finished:
            how = "Stopped and saved" if outcome.env_steps else "Stopped"
            print(f"{how} at step {outcome.env_steps:,} of {self.config.frames:,}. To go on: {command}")
            return 0
        named = f" --env {shlex.quote(self.config.env)}" if ":" in self.config.env else ""  # Files import no modules.
        condition = ", if it is a MiniGridEnv" if named else ""
        following = f"Next{condition}: {program()} evaluate {shlex.quote(str(out))}{named}"
        how = "Every seed was stopped" if len(outcome.stopped) == len(self.config.seeds) else "Finished"
        print(f"{how}: {outcome.env_steps:,} steps in {out}. {following}")
        if outcome.stopped:
            stopped = f"seed{'s' * (len(outcome.stopped) > 1)} {' '.join(map(str, outcome.stopped))}"
            print(f"metarims: a numerical fault stopped {stopped}: see {out / 'events.jsonl'}.", file=sys.stderr)
            return SEED_FAILED
        return 0

    def _note_idle_settings(self) -> None:
        """Say which of the settings that were asked for change nothing."""
        from metarims.learning.rules import idle_settings
        from metarims.runs.folder import differences

        idle = idle_settings(self.config)
        asked = differences(starting_point(self.preset, self.like), self.config, may_change=())
        names = [name for name in asked if name in idle or name.partition(".")[0] in idle]
        if names:
            print(f"Note: without effect for {self.config.agent}: {', '.join(names)}.", file=sys.stderr)


def starting_point(preset: str, like: Path | None) -> Config:
    """The settings from which the flags of ``metarims train`` start."""
    from metarims.presets import preset as find_preset
    from metarims.runs.folder import read_config

    if like is None:
        return find_preset(preset)
    if preset != "default":
        raise UserError(f"Both --preset {preset} and --like {like} are given: leave one out.")
    return read_config(like)


@dataclass(frozen=True)
class _Trained:
    """Which agents a command is about, on which task, and how they play."""

    agent: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """An agent that comes with the package, instead of a run: goto-local, doorkey or dynamic-obstacles."""
    env: Annotated[str | None, tyro.conf.arg(metavar="ID", help_behavior_hint="")] = None
    """Id of the task (default: the one it was trained on; of a mixture, each task)."""
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Of a run, the agents that had the highest return on the way, instead of the last ones."""
    temperature: float = 1.0
    """The policy's logits are divided by it: above one, sampled actions are drawn more evenly; at inf, by chance."""
    forgetful: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Play with a fresh recurrent state at every step: what is lost is what memory is worth."""
    deaf: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Play missions without words: what is lost is what the sentence is worth."""

    def find(self, paths: Sequence[Path], otherwise: str = "") -> list[Path]:
        """Where the agents are, if ``paths`` are named; ``otherwise``: what else could have been asked for."""
        from metarims import pretrained

        if paths and self.agent:
            raise UserError(f"Both {paths[0]} and --agent {self.agent} are named: leave one out.")
        if not paths and not self.agent:
            known = ", ".join(pretrained.names())
            raise UserError(f"Name a run, or an agent that comes with the package (--agent {known}){otherwise}.")
        return list(paths) or [pretrained.find(self.agent)]

    def load(self, paths: Sequence[Path]) -> "list[SavedAgent]":
        """The agents there; of which step the best ones are, is said."""
        from metarims.evaluation.tables import load_seeds

        agents = load_seeds(paths, best=self.best)
        if self.best:
            steps = ", ".join(f"seed {saved.seed} at step {saved.env_steps:,}" for saved in agents)
            print(f"Best on the way: {steps}.")
        return agents

    @property
    def manner(self) -> "Manner":
        """How the agents play."""
        from metarims.evaluation.evaluate import Manner

        return Manner(self.temperature, remembers=not self.forgetful, hears=not self.deaf)


@dataclass(frozen=True)
class Evaluate(_Trained):
    """Measure success, return and length of a run's agents over many episodes, greedy and sampled."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")] = ()
    """Folder of a run, or one agent's .safetensors file; or several with other seeds and the same settings, which are
    evaluated as one."""
    episodes: int = 200
    """Episodes per agent and policy; exactly so many are played, to their ends."""
    where: Annotated[Literal["farama", "jax"], tyro.conf.arg(name="in")] = "farama"
    """The real Farama environment, or ours."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """The likeliest action at each step, or one drawn from the policy."""
    seed: int = 0
    """Chooses the evaluation levels (which training never draws) and the sampled actions."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the results there too."""

    def run(self, command: str) -> int:
        check_file(self.json, "--json")
        from metarims.evaluation.tables import POLICIES, evaluate_agents, print_table, write_json

        paths = self.find(self.paths)
        _begin_computing()
        agents = self.load(paths)
        policies = POLICIES if self.policy == "both" else (self.policy,)
        asked = agents, self.env, self.where, self.episodes, policies, self.seed
        with _says("plays") as tell:
            results = evaluate_agents(*asked, manner=self.manner, tell=tell)
        print_table(results)
        if self.json:
            write_json(self.json, results, paths, self.best, self.seed)
        return 0


@dataclass(frozen=True)
class View(_Trained):
    """Write one HTML page of episodes: the world, what the agent sees, what its modules do. Open it in a browser."""

    path: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Folder of a run, or one agent's .safetensors file."""
    random: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Watch an agent that draws its actions by equal odds: no run is needed, only --env."""
    episodes: int = 6
    """Episodes per agent."""
    where: Annotated[
        Literal["farama", "jax"] | None, tyro.conf.arg(name="in", metavar="{farama,jax}", help_behavior_hint="")
    ] = None
    """The world to play in: ours (default where it has the task), or the real Farama environment."""
    policy: Literal["greedy", "sampled"] = "sampled"
    """The likeliest action at each step, or one drawn from the policy."""
    seed: int = 0
    """Chooses the levels and the sampled actions."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The page (default: episodes.html in the run's folder, or beside the agent; of --agent NAME, runs/NAME.html)."""

    def run(self, command: str) -> int:
        check_file(self.out, "--out")
        from metarims.evaluation.recording import record_agents

        if self.random:
            return self._show_random()
        named = [self.path] if self.path else []
        (path,) = self.find(named, otherwise="; or give --env ID --random to watch a random agent")
        _begin_computing()
        agents = self.load([path])
        env = self.env or agents[0].config.env
        with _says(f"plays {env}"):
            place, greedy = self._place(env), self.policy == "greedy"
            episodes = record_agents(agents, self.env, place, self.episodes, greedy, self.seed, manner=self.manner)
        how = ", ".join(self.manner.words(self.policy))
        names = [f"{saved.config.agent}, seed {saved.seed}, {how}" for saved in agents]
        labels = [name for name in names for _ in range(self.episodes)]
        default = (path if path.is_dir() else path.parent) / "episodes.html"
        out = self.out or (Path("runs") / f"{self.agent}.html" if self.agent else default)
        return _write_page(out, episodes, f"{agents[0].config.agent} on {env}", labels)

    def _show_random(self) -> int:
        from metarims.evaluation.recording import record_random

        if self.env is None:
            raise UserError("--random needs a task: name it with --env (metarims envs lists them).")
        flags = {"--best": self.best, "--forgetful": self.forgetful, "--deaf": self.deaf}
        flags |= {"--temperature": self.temperature != 1, "--policy greedy": self.policy == "greedy"}
        named = self.path or self.agent or next((flag for flag, given in flags.items() if given), None)
        if named:
            raise UserError(f"--random plays without an agent: leave out {named}, or --random.")
        _begin_computing()
        with _says(f"plays {self.env}"):
            episodes = record_random(self.env, self._place(self.env), self.episodes, self.seed)
        out = self.out or Path("runs") / f"random-{_file_name(self.env)}.html"
        return _write_page(out, episodes, f"A random agent on {self.env}", ["random"] * len(episodes))

    def _place(self, env: str) -> Literal["farama", "jax"]:
        from metarims.gridworld import is_native

        return self.where or ("jax" if is_native(env) else "farama")


@dataclass(frozen=True)
class Plot:
    """Draw learning curves of runs side by side: each seed thin, the mean of seeds bold, its 95 % interval shaded."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of runs; each task has panels of its own."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The picture, .png, .pdf or .svg (default: learning.png in the run's folder, or beside the first of several)."""
    metric: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """Draw this metric of metrics.jsonl (default: success and return); docs/metrics.md explains them."""

    def run(self, command: str) -> int:
        from metarims.runs.files import writing
        from metarims.views.plots import check_ending, save_figure
        from metarims.views.run_plot import left_out, plot_runs, read_runs

        check_file(self.out, "--out")
        if self.out:
            check_ending(self.out)
        runs = read_runs(self.paths)
        figure = plot_runs(runs, self.metric)
        folder = runs[0].path if len(runs) == 1 else runs[0].path.parent
        name = f"learning-{_file_name(self.metric)}.png" if self.metric else "learning.png"
        out = self.out or folder / name
        with writing("the picture", out.parent, advice="Name another file with --out."):
            out.parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, out)
        for path in left_out(runs, self.metric):
            print(f"Note: {path} is not in it: nothing was measured there of {self.metric or 'success or return'}.")
        print(f"Wrote {out}.")
        return 0


@dataclass(frozen=True)
class Envs:
    """List every task: size, time limit, missions, words, and whether it is compiled or stepped on the host."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """As JSON, one object per task."""

    def run(self, command: str) -> int:
        from metarims.gridworld.catalogue import entries, table_lines

        found = entries()
        if self.json:
            print(json.dumps([entry._asdict() for entry in found], indent=1))
            return 0
        print("\n".join(table_lines(found)))
        print(
            f"\n{len(found)} tasks. steps: time limit (+: longer for long missions); -: only playing would tell; "
            "native: compiled with the agent; host: stepped by Gymnasium."
        )
        return 0


@dataclass(frozen=True)
class Params:
    """Print the agents side by side: parameters of every group, and operations of every part of a step."""

    agents: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Only these (default: all)."""
    env: str = Config.env
    """Id of the task: it decides the number of actions and of missions."""
    network: Network = field(default_factory=Network)
    """Sizes of the agents."""

    def run(self, command: str) -> int:
        from metarims.comparison import compare_costs, print_costs

        _begin_computing()
        print_costs(compare_costs(Config(env=self.env, network=self.network), self.agents))
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
class Version:
    """Print the version."""

    def run(self, command: str) -> int:
        from metarims import __version__

        print(f"metarims {__version__}")
        return 0


@dataclass(frozen=True)
class RunDemo:
    """Train three agents on a small BabyAI task, measure them in the real environment, and write one HTML report."""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/demo")
    """Folder of the demo's runs and of report.html; finished runs in it are used again."""

    def run(self, command: str) -> int:
        print("Three agents learn one task of BabyAI, and are then measured.", flush=True)  # Imports take seconds.
        from metarims.demo import run_demo

        _enable_cache()
        return run_demo(self.out)


def program() -> str:
    """How this program is started: ``metarims``, or Python with a script that adds something and calls ``cli.main``."""
    script = Path(sys.argv[0])
    if script.suffix != ".py" or script.resolve() == Path(__file__).with_name("cli.py").resolve():
        return "metarims"
    return f"python {shlex.quote(str(script))}"


def _file_name(env: str) -> str:
    """An id, or a mixture of several, as part of a file's name."""
    return re.sub(r"[^\w.+-]+", "-", env)


@contextmanager
def _says(what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal, say what is going on while it lasts; gives what says something else."""
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)) as status:
        yield lambda now: status.update(escape(now))


def _write_page(out: Path, episodes: Any, title: str, labels: Sequence[str]) -> int:
    from metarims.runs.files import writing
    from metarims.views.episode_page import write_episode_page

    with writing("the page", out.parent, advice="Name another file."):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_episode_page(out, episodes, title, labels)
    print(f"Wrote {out} ({out.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
    return 0


def _begin_computing() -> None:
    """Make sure that JAX can compute here, in this process."""
    from metarims.runtime import check_devices

    check_devices()
    _enable_cache()


def _enable_cache() -> None:
    from metarims.runtime import enable_compile_cache

    problem = enable_compile_cache()
    if problem:
        print(f"Note: compiled programs are not kept for next time: {problem}.", file=sys.stderr)
