"""Evaluations of a run's agents, as a table on the terminal and as JSON."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metarims import __version__
from metarims.errors import UserError, unknown_name
from metarims.evaluation.ablations import NO_ABLATION, Ablation
from metarims.evaluation.evaluate import (
    BACKENDS,
    Evaluation,
    check_backend,
    check_episodes,
    check_seed,
    evaluate_farama,
    evaluate_jax,
    evaluation_key,
    first_farama_seed,
    levels_of,
)
from metarims.evaluation.statistics import MIN_SEEDS, Interval, seed_interval, wilson_interval
from metarims.gridworld import make
from metarims.gridworld.missions import LONGEST_MISSION, MissionFormat
from metarims.gridworld.registry import is_native, tasks
from metarims.runs.export import SavedAgent
from metarims.runs.files import write_atomic, writing
from metarims.runs.folder import VERSION, load_agents
from metarims.runs.grouping import label_runs
from metarims.terminal import Terminal

POLICIES = ("greedy", "sampled")
"""The likeliest action at each step, or one drawn from the policy."""


class Result(NamedTuple):
    """One agent under one policy on one backend."""

    agent: str
    seed: int
    env: str
    backend: Literal["farama", "jax"]
    policy: str
    """``greedy`` or ``sampled``."""
    evaluation: Evaluation
    ablation: Ablation = NO_ABLATION
    env_steps: int = 0
    """Of the agent's training."""

    @property
    def success(self) -> Interval:
        return wilson_interval(int(self.evaluation.success.sum()), len(self.evaluation.success))

    @property
    def how(self) -> list[str]:
        """The policy and each ablation, in words."""
        return self.ablation.describe(self.policy)


def load_experiments(paths: Sequence[Path], *, best: bool = False) -> dict[str, list[SavedAgent]]:
    """The agents in run folders or agent files, by a label for each experiment: seeds of one experiment are together.

    Raises ``UserError`` for a path that is named twice.
    """
    agents: dict[Path, list[SavedAgent]] = {}
    for path in paths:
        if path.resolve() in map(Path.resolve, agents):
            raise UserError(f"{path} is named twice: leave one out.", field="runs", value=path)
        agents[path] = load_agents(path, best=best)
    configs = {
        path: dataclasses.replace(found[0].config, seeds=tuple(saved.seed for saved in found))
        for path, found in agents.items()
    }
    experiments: dict[str, list[SavedAgent]] = {}
    for path, label in label_runs(configs, by_task=False).items():
        experiments.setdefault(label, []).extend(agents[path])
    return experiments


def evaluate_experiments(experiments: Mapping[str, Sequence[SavedAgent]], *asked: Any, **how: Any) -> list[Result]:
    """``evaluate_agents`` for each experiment, under its label. Agents of one seed play the same levels."""
    found = {label: evaluate_agents(agents, *asked, **how) for label, agents in experiments.items()}
    return [result._replace(agent=label) for label, results in found.items() for result in results]


def evaluate_agents(
    agents: Sequence[SavedAgent],
    env: str | None,
    backend: Literal["farama", "jax"],
    num_episodes: int,
    policies: Sequence[str] = POLICIES,
    seed: int = 0,
    *,
    ablation: Ablation = NO_ABLATION,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Evaluate every agent under every policy; ``env`` None is the training task. A mixture is played task by task.

    The agent of each training seed plays its own levels, so that all episodes are independent; the policies share
    them. A temperature affects the sampled policy only. ``on_progress`` is called with what is played next.
    """
    check_seed(seed)
    check_episodes(num_episodes)
    check_backend(backend)
    for policy in policies:
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
    ablation.check(greedy="sampled" not in policies)
    results = []
    for env_id in dict.fromkeys(task for saved in agents for task in tasks_of(saved, env)):
        for policy in policies:
            how = ablation._replace(temperature=1.0) if policy == "greedy" else ablation
            for saved in agents:
                on_progress(f"playing {env_id}: seed {saved.seed}, {policy}, {num_episodes:,} episodes")
                evaluation = _evaluate(saved, env_id, backend, num_episodes, policy == "greedy", seed, how)
                known = saved.config.agent, saved.seed, env_id, backend, policy
                results.append(Result(*known, evaluation, how, saved.env_steps))
    return results


def _evaluate(
    saved: SavedAgent, env: str, backend: str, num_episodes: int, greedy: bool, seed: int, ablation: Ablation
) -> Evaluation:
    check_actions(saved, env, count_actions(env, backend, "evaluate with --backend farama"))
    how = {"ablation": ablation, "carry": carries(saved)}
    if backend == "farama":
        first, words = first_farama_seed(seed, saved.seed), mission_format(saved, env, ablation)
        return evaluate_farama(saved.agent, env, num_episodes, first, greedy, words, **how)
    check_words(saved, env, ablation)
    key = evaluation_key(levels_of(seed, saved.seed))
    return evaluate_jax(saved.agent, make(env), num_episodes, key, greedy, **how)


def tasks_of(saved: SavedAgent, env: str | None) -> tuple[str, ...]:
    """The tasks of ``env``; None is the training task.

    ``module:id`` imports the module, so it is refused if it comes from the agent's file, which may be untrusted.
    """
    if env is None and ":" in saved.config.env:
        raise UserError(
            f"The agent's file names the task {saved.config.env}, for which a module would be imported and run: if you "
            "trust it, name the task yourself, with --env.",
            field="env",
            value=saved.config.env,
        )
    return tasks(env or saved.config.env)


def count_actions(env: str, backend: str, otherwise: str) -> int:
    """The number of actions of a task. ``otherwise``: the remedy in the error about a task that is not native."""
    if backend == "jax":
        return make(env, otherwise).num_actions
    from metarims.gridworld.farama import make_farama
    from metarims.gridworld.host_env import read_spec

    return read_spec(make_farama(env)).num_actions


def check_actions(saved: SavedAgent, env: str, num_actions: int) -> None:
    """Raise ``UserError`` unless the agent has the actions of the environment.

    An agent of a mixture has as many actions as the largest of its tasks; surplus actions turn left.
    """
    if saved.num_actions > num_actions and env in tasks(saved.config.env):
        return
    if saved.num_actions != num_actions:
        raise UserError(
            f"The agent has {saved.num_actions} actions, but {env} has {num_actions}: evaluate it on a task "
            f"with the actions of {saved.config.env}, on which it was trained.",
            field="env",
            value=env,
        )


def check_words(saved: SavedAgent, env: str, ablation: Ablation = NO_ABLATION) -> None:
    """Raise ``UserError`` if the agent reads missions and does not know all words of a native task."""
    words = make(env).vocabulary
    reads = saved.config.network.mission_dim and not ablation.no_mission
    if reads and saved.vocabulary[: len(words)] != words:
        unknown = " ".join(word for word in words if word not in saved.vocabulary)
        raise UserError(
            f"The agent does not know all words of {env} ({unknown}): evaluate it on a task with the words of "
            f"{saved.config.env}, on which it was trained, or with --no-mission.",
            field="env",
            value=env,
        )


def mission_format(saved: SavedAgent, env: str, ablation: Ablation = NO_ABLATION) -> MissionFormat:
    """The agent's vocabulary and the longest mission of this task; no words if the agent reads no missions."""
    if ablation.no_mission or not saved.config.network.mission_dim:
        return MissionFormat(None)
    longest = make(env).mission_tokens.shape[1] if is_native(env) else max(LONGEST_MISSION, saved.config.max_words)
    return MissionFormat(saved.vocabulary, longest)


def carries(saved: SavedAgent) -> bool:
    """Whether the agent was trained with a recurrent state that carries over between episodes."""
    return saved.config.recurrent_state == "carry"


def pooled(results: Sequence[Result]) -> Interval:
    """Success over all episodes of all seeds, with Wilson's interval."""
    success = np.concatenate([result.evaluation.success for result in results])
    return wilson_interval(int(success.sum()), len(success))


class EvaluationRow(NamedTuple):
    """A row of the table."""

    seed: int | str
    """``all``: all episodes of all seeds together; ``over seeds``: the mean of the seeds."""
    success: Interval
    results: Sequence[Result]
    """Results of one task under one policy that the row summarizes."""

    @property
    def mean_return(self) -> float:
        return float(np.mean([result.evaluation.returns.mean() for result in self.results]))

    @property
    def mean_length(self) -> float:
        return float(np.mean([result.evaluation.lengths.mean() for result in self.results]))


def make_rows(results: Sequence[Result]) -> list[EvaluationRow]:
    """A row per task, policy, agent and seed; and of several seeds one for all episodes, and one over seeds."""
    rows = []
    for kind in dict.fromkeys((result.env, result.policy, result.agent) for result in results):
        alike = [result for result in results if (result.env, result.policy, result.agent) == kind]
        rows += [EvaluationRow(result.seed, result.success, [result]) for result in alike]
        if len(alike) > 1:
            rows.append(EvaluationRow("all", pooled(alike), alike))
        if len(alike) >= MIN_SEEDS:
            rates = np.array([result.evaluation.success.mean() for result in alike])
            rows.append(EvaluationRow("over seeds", seed_interval(rates), alike))
    return rows


def print_table(results: Sequence[Result], console: Console | None = None) -> None:
    """A table per task, under a title that says how it was played."""
    console = console or Terminal()
    for env in dict.fromkeys(result.env for result in results):
        _print_task([result for result in results if result.env == env], console)


def _print_task(results: Sequence[Result], console: Console) -> None:
    first = results[0]
    num_episodes = len(first.evaluation.success)
    agents = list(dict.fromkeys(result.agent for result in results))
    table = Table()
    for name in ("policy", *["agent"] * (len(agents) > 1), "seed", "success", "return", "length"):
        table.add_column(name, justify="left" if name in ("policy", "agent") else "right")
    for policy in dict.fromkeys(result.policy for result in results):
        for row in make_rows([result for result in results if result.policy == policy]):
            means = f"{row.mean_return:.3f}", f"{row.mean_length:.1f}"
            name = [escape(row.results[0].agent)] * (len(agents) > 1)
            table.add_row(policy, *name, str(row.seed), interval_text(row.success), *means)
        table.add_section()
    title = f"{' and '.join(agents)} on {first.env} ({BACKENDS[first.backend]})"
    title += f", {num_episodes} episodes per seed and policy"
    how = dict.fromkeys(words for result in results for words in result.how)
    lines = [title + "".join(f", {words}" for words in how if words not in POLICIES)]
    steps = [result.env_steps for result in results]
    if min(steps) < max(steps):
        lines.append(f"Note: the agents were trained for different numbers of steps, {min(steps):,} to {max(steps):,}.")
    if first.ablation.no_mission and is_native(first.env) and len(make(first.env).missions) == 1:
        lines.append(f"Note: {first.env} has only one mission, so the mission carries no information.")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    seeds = ", Student's t over seeds" * (len({result.seed for result in results}) >= MIN_SEEDS)
    console.print(f"[..]: 95 % intervals, Wilson's over episodes{seeds}", highlight=False, markup=False, soft_wrap=True)


def interval_text(interval: Interval) -> str:
    """As ``0.950 [0.910, 0.973]``."""
    value, low, high = _within(interval)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _within(interval: Interval) -> Interval:
    """A rate's interval clipped to [0, 1], which Student's may leave."""
    return Interval(interval.value, max(0.0, interval.low), min(1.0, interval.high))


class Summary(TypedDict):
    """A row as JSON."""

    agent: str
    seed: int | str
    env: str
    backend: str
    policy: str
    temperature: float | str
    no_memory: bool
    no_mission: bool
    messages: str | None
    input_attention: str | None
    router: str | None
    episodes: int
    success: float
    success_low: float
    success_high: float
    mean_return: float
    mean_length: float


def write_json(
    path: Path, results: Sequence[Result], runs: Sequence[Path], best: bool, seed: int, *, episodes: bool = False
) -> None:
    """Write every row and the request (fields: ``docs/metrics.md``).

    ``runs``: folders or files of the agents; ``best``: whether their best agents; ``seed``: of the evaluation;
    ``episodes``: also write each episode of each seed.
    """
    request = {VERSION: __version__, "runs": [str(run) for run in runs], "best": best, "seed": seed}
    found = request | {"rows": [as_dict(row, episodes=episodes) for row in make_rows(results)]}
    with writing("the results", path.parent, advice="Name another file."):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(found, indent=1) + "\n").encode())


def summarize(row: EvaluationRow) -> Summary:
    """A row as plain data."""
    first, (success, low, high) = row.results[0], _within(row.success)
    temperature = float(first.ablation.temperature)
    return {
        "agent": first.agent,
        "seed": row.seed,
        "env": first.env,
        "backend": first.backend,
        "policy": first.policy,
        "temperature": temperature if math.isfinite(temperature) else "inf",
        "no_memory": first.ablation.no_memory,
        "no_mission": first.ablation.no_mission,
        "messages": first.ablation.messages,
        "input_attention": first.ablation.input_attention,
        "router": first.ablation.router,
        "episodes": sum(len(result.evaluation.success) for result in row.results),
        "success": success,
        "success_low": low,
        "success_high": high,
        "mean_return": row.mean_return,
        "mean_length": row.mean_length,
    }


def as_dict(row: EvaluationRow, *, episodes: bool = True) -> dict[str, Any]:
    """The same, and of a single seed the steps of its training and (``episodes``) every episode."""
    found: dict[str, Any] = {**summarize(row)}
    if isinstance(row.seed, str):
        return found
    (result,) = row.results
    found["env_steps"] = result.env_steps
    if not episodes:
        return found
    return found | {
        "episode_success": result.evaluation.success.astype(int).tolist(),
        "episode_return": [round(float(value), 6) for value in result.evaluation.returns],
        "episode_length": result.evaluation.lengths.tolist(),
    }
