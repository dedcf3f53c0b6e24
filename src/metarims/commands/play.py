"""``metarims evaluate`` and ``metarims view``: play trained agents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from metarims.commands.common import beside, file_name, flag, output, prepare_jax, print_notes, status
from metarims.errors import UserError
from metarims.runs.files import check_file

if TYPE_CHECKING:
    from metarims.evaluation.ablations import Ablation
    from metarims.evaluation.tables import Result
    from metarims.runs.export import SavedAgent

Backend = Literal["farama", "jax"]
EXPERT = "expert"
"""The player ``evaluation.expert``, which is not imported for help."""
RANDOM = "random"
"""The player that draws its actions uniformly."""
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def is_named(player: str, paths: Sequence[Path]) -> bool:
    """Whether a player that is no file is asked for."""
    return Path(player) in paths and not Path(player).exists()


def check_given(paths: Sequence[Path], alternative: str = "") -> None:
    """Refuse to play nobody; ``alternative``: what else may be asked for."""
    from metarims import pretrained

    if not paths:
        known = ", ".join(pretrained.names())
        raise UserError(
            f"No agent is given: name a run's folder, a pretrained agent ({known}){alternative}.", field="AGENT"
        )


def default_backend(env: str) -> Backend:
    """Our environment where there is one."""
    from metarims.gridworld import is_native

    return "jax" if is_native(env) else "farama"


@dataclass(frozen=True)
class AgentFlags:
    """Which environment trained agents play, and how."""

    env: Annotated[str | None, flag("ID")] = None
    """Environment id (default: the training environment; of a mixture, each of its environments)."""
    best: Switch = False
    """Play the agents with the highest training return instead of the last ones."""
    temperature: float = 1.0
    """Divide the policy's logits by this: above 1 sampled actions become more random, at inf uniform."""
    no_memory: Switch = False
    """Reset the recurrent state at every step, to measure what memory contributes."""
    no_mission: Switch = False
    """Hide the missions, to measure what they contribute."""
    messages: Annotated[Literal["average", "off"] | None, flag("{average,off}", "as trained")] = None
    """average: communication attention is uniform. off: modules get no messages."""
    input_attention: Annotated[Literal["average"] | None, flag("{average}", "as trained")] = None
    """average: each module reads the input with the mean of all modules' attention weights."""
    router: Annotated[Literal["fixed", "random", "all"] | None, flag("{fixed,random,all}", "as trained")] = None
    """Active modules: fixed: always the first; random: drawn at each step; all."""

    def load(self, paths: Sequence[Path]) -> "dict[str, list[SavedAgent]]":
        """The agents there, by experiment; prints from which step the best ones are."""
        from metarims.evaluation.tables import load_experiments

        experiments = load_experiments(paths, best=self.best)
        for label, agents in experiments.items() if self.best else ():
            whose = f" of {label}" * (len(experiments) > 1)
            print(f"Best agents{whose}: {', '.join(f'seed {s.seed} at step {s.env_steps:,}' for s in agents)}.")
        return experiments

    @property
    def of_agents(self) -> Mapping[str, object]:
        """The flags that ask for something of a trained agent, and whether they are given."""
        return {
            "--best": self.best,
            "--no-memory": self.no_memory,
            "--no-mission": self.no_mission,
            "--messages": self.messages,
            "--input-attention": self.input_attention,
            "--router": self.router,
            "--temperature": self.temperature != 1,
        }

    @property
    def ablation(self) -> "Ablation":
        """How the agents play."""
        from metarims.evaluation.ablations import Ablation

        changed = self.messages, self.input_attention, self.router
        return Ablation(self.temperature, self.no_memory, self.no_mission, *changed)


@dataclass(frozen=True)
class EvaluateCommand(AgentFlags):
    """Measure success, return and episode length of trained agents, with greedy and sampled actions."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, flag("[AGENT ...]")] = ()
    """Folders of runs, .safetensors files, or pretrained agents: goto-local, doorkey, dynamic-obstacles. Several with
    equal settings but other seeds are one run, others are compared. expert: Farama's planning bot for BabyAI."""
    episodes: int = 200
    """Episodes per agent and policy; exactly this many are played, each to its end."""
    backend: Backend = "farama"
    """farama: the original Gymnasium environment. jax: the compiled environment used in training."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """greedy: the most likely action. sampled: an action drawn from the policy."""
    seed: int = 0
    """Seed of the evaluation levels, which training never uses, and of sampled actions."""
    json: Annotated[Path | None, flag("FILE")] = None
    """Also write the results to this file: a summary for each seed, and for all together."""
    json_episodes: Switch = False
    """In this file, also write every episode."""

    def run(self, command: str) -> int:
        check_file(self.json, "--json")
        if self.json_episodes and not self.json:
            raise UserError("--json-episodes needs a file: add --json FILE.", field="--json-episodes")
        expert = is_named(EXPERT, self.paths)
        paths = [path for path in self.paths if not (expert and str(path) == EXPERT)]
        alone = expert and not paths
        self._check_expert() if alone else check_given(paths)
        prepare_jax()
        from metarims.evaluation.tables import POLICIES, evaluate_experiments, print_table, write_json

        experiments = {} if alone else self.load(paths)
        first = next(iter(experiments.values()), [])
        if self.backend == "jax":
            print_notes(self.env or first[0].config.env)
        policies = POLICIES if self.policy == "both" else (self.policy,)
        asked = experiments, self.env, self.backend, self.episodes, policies, self.seed
        with status("Playing") as on_progress:
            results = evaluate_experiments(*asked, ablation=self.ablation, on_progress=on_progress)
        if results:
            print_table(results)
        if expert:
            results += self._play_expert(self.env or first[0].config.env)
        if self.json:
            write_json(self.json, results, paths, self.best, self.seed, episodes=self.json_episodes)
        return 0

    def _check_expert(self) -> None:
        if self.env is None:
            raise UserError("The expert needs an environment: add --env (metarims envs lists them).", field="--env")
        flags = {**self.of_agents, f"--policy {self.policy}": self.policy != "both"}
        if given := next((flag for flag, given in flags.items() if given), None):
            raise UserError(f"The expert plans, it is not trained: remove {given}.", field=given)

    def _play_expert(self, env: str) -> "list[Result]":
        from metarims.evaluation.expert import evaluate_expert
        from metarims.evaluation.tables import print_table

        with status("Playing") as on_progress:
            found = evaluate_expert(env, self.backend, self.episodes, self.seed, on_progress=on_progress)
        results = [one.result for one in found]
        print_table(results)
        for result, gave_up in found:
            for failure, count in gave_up.items():
                print(f"Note: in {count} of {self.episodes} episodes of {result.env} the bot gave up: {failure}.")
        return results


@dataclass(frozen=True)
class ViewCommand(AgentFlags):
    """Write an HTML page that shows episodes step by step: environment, view, policy, modules."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, flag("[AGENT ...]")] = ()
    """Folders of runs, .safetensors files, or pretrained agents: goto-local, doorkey, dynamic-obstacles; all play the
    same levels. random, with --env: uniformly random actions."""
    episodes: int = 6
    """Episodes per agent."""
    backend: Annotated[Backend | None, flag("{farama,jax}")] = None
    """farama: the original Gymnasium environment. jax: the compiled one (default where there is one)."""
    policy: Literal["greedy", "sampled"] = "sampled"
    """greedy: the most likely action. sampled: an action drawn from the policy."""
    seed: int = 0
    """Seed of the levels and of sampled actions."""
    out: Annotated[Path | None, flag("FILE")] = None
    """Write the page here (default: episodes.html in the run's folder or beside the file; pretrained: in runs)."""
    gif: Annotated[Path | None, flag("FILE")] = None
    """Write the episodes as an animated GIF instead of a page (both: add --out)."""
    mp4: Annotated[Path | None, flag("FILE")] = None
    """The same as a video, which needs ffmpeg."""
    tile: int = 32
    """Pixels of a cell in --gif and --mp4."""
    fps: float = 5.0
    """Steps per second in --gif and --mp4."""

    def run(self, command: str) -> int:
        check_file(self.out, "--out", ".html")
        check_file(self.gif, "--gif", ".gif")
        check_file(self.mp4, "--mp4", ".mp4")
        if self.gif or self.mp4:
            from metarims.views.animation import check_request

            check_request(self.tile, self.fps, film=self.mp4 is not None)
        elif (self.tile, self.fps) != (ViewCommand.tile, ViewCommand.fps):
            name = "--tile" if self.tile != ViewCommand.tile else "--fps"
            raise UserError(f"{name} is for --gif and --mp4: add one of them, or remove {name}.", field=name)
        return self._view_random() if is_named(RANDOM, self.paths) else self._view_agents()

    def _view_agents(self) -> int:
        check_given(self.paths, alternative=", or random with --env ID")
        prepare_jax()
        from metarims.evaluation.recording import record_agents

        experiments = self.load(self.paths)
        how = ", ".join(self.ablation.describe(self.policy))
        episodes, labels, envs = [], [], []
        for label, agents in experiments.items():
            env = self.env or agents[0].config.env
            asked = self.env, self.backend or default_backend(env), self.episodes, self.policy == "greedy", self.seed
            with status(f"Playing {env}: {label}"):
                episodes += record_agents(agents, *asked, ablation=self.ablation)
            labels += [f"{label}, seed {saved.seed}, {how}" for saved in agents for _ in range(self.episodes)]
            envs.append(env)
        out = beside(self.paths, "episodes.html")
        title = f"{' and '.join(experiments)} on {' and '.join(dict.fromkeys(envs))}"
        return self._write(out, episodes, title, labels)

    def _view_random(self) -> int:
        from metarims.evaluation.recording import record_random

        if self.env is None:
            raise UserError("random needs an environment: add --env (metarims envs lists them).", field="--env")
        flags = {**self.of_agents, "--policy greedy": self.policy == "greedy"}
        others = [path for path in self.paths if str(path) != RANDOM]
        if given := next(iter(others + [flag for flag, given in flags.items() if given]), None):
            raise UserError(f"random plays alone, without an agent: remove {given}, or random.", field=str(given))
        prepare_jax()
        with status(f"Playing {self.env}"):
            backend = self.backend or default_backend(self.env)
            episodes = record_random(self.env, backend, self.episodes, self.seed)
        out = Path("runs") / f"random-{file_name(self.env)}.html"
        return self._write(out, episodes, f"A random agent on {self.env}", ["random"] * len(episodes))

    def _write(self, default: Path, episodes: Any, title: str, labels: Sequence[str]) -> int:
        if self.gif or self.mp4:
            from metarims.views.animation import write_gif, write_mp4

            for file, write in ((self.gif, write_gif), (self.mp4, write_mp4)):
                if file:
                    with output("the episodes", file, "."):
                        write(file, episodes, labels, self.tile, self.fps)
            if not self.out:
                return 0
        from metarims.views.episode_page import write_episode_page

        with output("the page", self.out or default, ": open it in a browser."):
            write_episode_page(self.out or default, episodes, title, labels)
        return 0
