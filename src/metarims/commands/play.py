"""``metarims evaluate`` and ``metarims view``: what trained agents do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from metarims.commands.common import begin_computing, file_name, says
from metarims.errors import UserError
from metarims.runs.files import check_file

if TYPE_CHECKING:
    from metarims.evaluation.evaluate import Ablation
    from metarims.runs.export import SavedAgent


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
    no_memory: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Play with a fresh recurrent state at every step: what is lost is what memory is worth."""
    no_mission: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
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
    def ablation(self) -> "Ablation":
        """How the agents play."""
        from metarims.evaluation.evaluate import Ablation

        return Ablation(self.temperature, remembers=not self.no_memory, hears=not self.no_mission)


@dataclass(frozen=True)
class Evaluate(_Trained):
    """Measure success, return and length of a run's agents over many episodes, greedy and sampled."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")] = ()
    """Folder of a run, or one agent's .safetensors file; or several with other seeds and the same settings, which are
    evaluated as one."""
    episodes: int = 200
    """Episodes per agent and policy; exactly so many are played, to their ends."""
    where: Annotated[Literal["farama", "jax"], tyro.conf.arg(name="backend")] = "farama"
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
        begin_computing()
        agents = self.load(paths)
        policies = POLICIES if self.policy == "both" else (self.policy,)
        asked = agents, self.env, self.where, self.episodes, policies, self.seed
        with says("plays") as tell:
            results = evaluate_agents(*asked, ablation=self.ablation, tell=tell)
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
        Literal["farama", "jax"] | None, tyro.conf.arg(name="backend", metavar="{farama,jax}", help_behavior_hint="")
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
        begin_computing()
        agents = self.load([path])
        env = self.env or agents[0].config.env
        with says(f"plays {env}"):
            place, greedy = self._place(env), self.policy == "greedy"
            episodes = record_agents(agents, self.env, place, self.episodes, greedy, self.seed, ablation=self.ablation)
        how = ", ".join(self.ablation.words(self.policy))
        names = [f"{saved.config.agent}, seed {saved.seed}, {how}" for saved in agents]
        labels = [name for name in names for _ in range(self.episodes)]
        default = (path if path.is_dir() else path.parent) / "episodes.html"
        out = self.out or (Path("runs") / f"{self.agent}.html" if self.agent else default)
        return _write_page(out, episodes, f"{agents[0].config.agent} on {env}", labels)

    def _show_random(self) -> int:
        from metarims.evaluation.recording import record_random

        if self.env is None:
            raise UserError("--random needs a task: name it with --env (metarims envs lists them).")
        flags = {"--best": self.best, "--no-memory": self.no_memory, "--no-mission": self.no_mission}
        flags |= {"--temperature": self.temperature != 1, "--policy greedy": self.policy == "greedy"}
        named = self.path or self.agent or next((flag for flag, given in flags.items() if given), None)
        if named:
            raise UserError(f"--random plays without an agent: leave out {named}, or --random.")
        begin_computing()
        with says(f"plays {self.env}"):
            episodes = record_random(self.env, self._place(self.env), self.episodes, self.seed)
        out = self.out or Path("runs") / f"random-{file_name(self.env)}.html"
        return _write_page(out, episodes, f"A random agent on {self.env}", ["random"] * len(episodes))

    def _place(self, env: str) -> Literal["farama", "jax"]:
        from metarims.gridworld import is_native

        return self.where or ("jax" if is_native(env) else "farama")


def _write_page(out: Path, episodes: Any, title: str, labels: Sequence[str]) -> int:
    from metarims.runs.files import writing
    from metarims.views.episode_page import write_episode_page

    with writing("the page", out.parent, advice="Name another file."):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_episode_page(out, episodes, title, labels)
    print(f"Wrote {out} ({out.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
    return 0
