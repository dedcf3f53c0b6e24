"""Evaluations of a run's agents, as a table on the terminal and as JSON."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from metarims import __version__
from metarims.errors import UserError, unknown_name
from metarims.evaluation.evaluate import (
    AS_LEARNT,
    Ablation,
    Evaluation,
    check_episodes,
    check_place,
    check_seed,
    evaluate_farama,
    evaluate_jax,
    evaluation_key,
    first_farama_seed,
    levels_of,
)
from metarims.evaluation.statistics import MIN_SEEDS, Interval, seed_interval, wilson_interval
from metarims.gridworld import make
from metarims.gridworld.missions import LONGEST_MISSION, MAX_WORDS, MissionFormat
from metarims.gridworld.registry import is_native, tasks
from metarims.runs.export import SavedAgent
from metarims.runs.files import write_atomic, writing
from metarims.runs.folder import TRAINED_APART, VERSION, contrast, differences, load_agents
from metarims.terminal import Terminal

POLICIES = ("greedy", "sampled")
"""The likeliest action at each step, or one drawn from the policy."""


class Result(NamedTuple):
    """One agent under one policy in one place."""

    agent: str
    seed: int
    env: str
    where: Literal["farama", "jax"]
    policy: str
    """``greedy`` or ``sampled``."""
    evaluation: Evaluation
    ablation: Ablation = AS_LEARNT
    env_steps: int = 0
    """For which the agent was trained."""

    @property
    def success(self) -> Interval:
        return wilson_interval(int(self.evaluation.success.sum()), len(self.evaluation.success))


def load_seeds(paths: Sequence[Path], *, best: bool = False) -> list[SavedAgent]:
    """The agents of a run's folder, or in a file; or those of several, if they are seeds of one experiment.

    Other settings than the seeds, or a seed twice, are a ``UserError``. ``best``: those with the highest return on the
    way.
    """
    found: dict[int, Path] = {}
    agents: list[SavedAgent] = []
    for path in paths:
        for saved in load_agents(path, best=best):
            first = (agents or [saved])[0].config
            if names := differences(first, saved.config, TRAINED_APART):
                raise UserError(
                    f"{paths[0]} and {path} are no seeds of one experiment: the first has "
                    f"{contrast(first, saved.config, names)}. Evaluate them one by one."
                )
            if saved.seed in found:
                raise UserError(f"{found[saved.seed]} and {path} both hold seed {saved.seed}: leave one out.")
            found[saved.seed] = path
            agents.append(saved)
    return agents


def evaluate_agents(
    agents: Sequence[SavedAgent],
    env: str | None,
    where: Literal["farama", "jax"],
    num_episodes: int,
    policies: Sequence[str] = POLICIES,
    seed: int = 0,
    *,
    ablation: Ablation = AS_LEARNT,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Play every agent under every policy; ``env`` None is the one trained on. A mixture is played task by task.

    ``tell`` hears what is played next.

    Each training seed's agent plays levels of its own, so that the episodes of all are independent; greedy and sampled
    share them. A temperature is for the sampled policy alone.
    """
    check_seed(seed)
    check_episodes(num_episodes)
    check_place(where)
    for policy in policies:
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
    ablation.check(greedy="sampled" not in policies)
    results = []
    for env_id in dict.fromkeys(task for saved in agents for task in tasks_of(saved, env)):
        for policy in policies:
            how = ablation._replace(temperature=1.0) if policy == "greedy" else ablation
            for saved in agents:
                tell(f"plays {env_id}: seed {saved.seed}, {policy}, {num_episodes:,} episodes")
                evaluation = _evaluate(saved, env_id, where, num_episodes, policy == "greedy", seed, how)
                known = saved.config.agent, saved.seed, env_id, where, policy
                results.append(Result(*known, evaluation, how, saved.env_steps))
    return results


def _evaluate(
    saved: SavedAgent, env: str, where: str, num_episodes: int, greedy: bool, seed: int, ablation: Ablation
) -> Evaluation:
    check_actions(saved, env, count_actions(env, where, "evaluate with --backend farama"))
    how = {"ablation": ablation, "carry": carries(saved)}
    if where == "farama":
        first, words = first_farama_seed(seed, saved.seed), mission_format(saved, env, ablation)
        return evaluate_farama(saved.agent, env, num_episodes, first, greedy, words, **how)
    key = evaluation_key(levels_of(seed, saved.seed))
    return evaluate_jax(saved.agent, make(env), num_episodes, key, greedy, **how)


def tasks_of(saved: SavedAgent, env: str | None) -> tuple[str, ...]:
    """The tasks of ``env``; None is what the agent was trained on.

    Of ``module:id`` the module would be imported, and that a file, which may be a stranger's, must not decide.
    """
    if env is None and ":" in saved.config.env:
        raise UserError(
            f"The agent's file names the task {saved.config.env}, for which a module would be imported and run: if you "
            "trust it, name the task yourself, with --env."
        )
    return tasks(env or saved.config.env)


def count_actions(env: str, where: str, otherwise: str) -> int:
    """The actions of a task; one that is asked for in our world (``jax``) and is not there is a ``UserError``.

    ``otherwise``: what to do then.
    """
    if where == "jax":
        return make(env, otherwise).num_actions
    from metarims.gridworld.farama import make_farama
    from metarims.gridworld.host_env import read_spec

    return read_spec(make_farama(env)).num_actions


def check_actions(saved: SavedAgent, env: str, num_actions: int) -> None:
    """Raise ``UserError`` if the agent has other actions than the environment.

    One that learned a mixture has the most actions of its tasks; those that a task lacks count there as turning left.
    """
    if saved.num_actions > num_actions and env in tasks(saved.config.env):
        return
    if saved.num_actions != num_actions:
        raise UserError(
            f"The agent has {saved.num_actions} actions, but {env} has {num_actions}: evaluate it on a task "
            f"with the actions of {saved.config.env}, on which it was trained."
        )


def mission_format(saved: SavedAgent, env: str, ablation: Ablation = AS_LEARNT) -> MissionFormat:
    """The words that the agent knows, and how many of them a mission of this task may have; none if it reads none."""
    if not ablation.hears or not saved.config.network.mission_dim:
        return MissionFormat(None)
    return MissionFormat(
        saved.vocabulary, MAX_WORDS if is_native(env) else max(LONGEST_MISSION, saved.config.max_words)
    )


def carries(saved: SavedAgent) -> bool:
    """Whether the agent learned with a recurrent state that runs on from one episode to the next."""
    return saved.config.recurrent_state == "carry"


def pooled(results: Sequence[Result], policy: str) -> Interval:
    """Success over all episodes of all seeds under one policy, with Wilson's interval."""
    success = np.concatenate([result.evaluation.success for result in results if result.policy == policy])
    return wilson_interval(int(success.sum()), len(success))


def over_seeds(results: Sequence[Result], policy: str) -> Interval:
    """The mean of the seeds' success rates, with Student's t interval over seeds."""
    rates = [result.evaluation.success.mean() for result in results if result.policy == policy]
    return seed_interval(np.array(rates))


class Row(NamedTuple):
    """A row of the table."""

    seed: int | str
    """``all``: all episodes of all seeds together; ``over seeds``: the mean of the seeds."""
    success: Interval
    results: Sequence[Result]
    """Of one task under one policy, of which the row tells."""

    @property
    def mean_return(self) -> float:
        return float(np.mean([result.evaluation.returns.mean() for result in self.results]))

    @property
    def mean_length(self) -> float:
        return float(np.mean([result.evaluation.lengths.mean() for result in self.results]))


def make_rows(results: Sequence[Result]) -> list[Row]:
    """Task by task and policy by policy a row per seed; with several, also one for all episodes and one over seeds."""
    rows = []
    for env, policy in dict.fromkeys((result.env, result.policy) for result in results):
        alike = [result for result in results if (result.env, result.policy) == (env, policy)]
        rows += [Row(result.seed, result.success, [result]) for result in alike]
        if len(alike) > 1:
            rows.append(Row("all", pooled(alike, policy), alike))
        if len(alike) >= MIN_SEEDS:
            rows.append(Row("over seeds", over_seeds(alike, policy), alike))
    return rows


def print_table(results: Sequence[Result], console: Console | None = None) -> None:
    """The rows of every task, under a title that says how it was played."""
    console = console or Terminal()
    for env in dict.fromkeys(result.env for result in results):
        _print_task([result for result in results if result.env == env], console)


def _print_task(results: Sequence[Result], console: Console) -> None:
    first = results[0]
    place = "Farama's environment" if first.where == "farama" else "our world (JAX)"
    num_episodes = len(first.evaluation.success)
    table = Table(caption="[..]: 95 % interval, Wilson's over episodes, Student's t over seeds", caption_justify="left")
    for name in ("policy", "seed", "success", "return", "length"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy in dict.fromkeys(result.policy for result in results):
        for row in make_rows([result for result in results if result.policy == policy]):
            means = f"{row.mean_return:.3f}", f"{row.mean_length:.1f}"
            table.add_row(policy, str(row.seed), interval_text(row.success), *means)
        table.add_section()
    title = f"{first.agent} on {first.env} in {place}, {num_episodes} episodes per seed and policy"
    said = dict.fromkeys(words for result in results for words in result.ablation.words(result.policy))
    title += "".join(f", {words}" for words in said if words not in POLICIES)
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    steps = [result.env_steps for result in results]
    if min(steps) < max(steps):
        note = f"Note: these agents are of different steps, from {min(steps):,} to {max(steps):,}."
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if not first.ablation.hears and is_native(first.env) and len(make(first.env).missions) == 1:
        note = f"Note: {first.env} has one mission, the same in every level: its words tell an agent nothing."
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def interval_text(interval: Interval) -> str:
    """As ``0.950 [0.910, 0.973]``."""
    value, low, high = _within(interval)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _within(interval: Interval) -> Interval:
    """The part of a rate's interval between 0 and 1, which Student's may leave."""
    return Interval(interval.value, max(0.0, interval.low), min(1.0, interval.high))


def write_json(path: Path, results: Sequence[Result], runs: Sequence[Path], best: bool, seed: int) -> None:
    """Every row of the table, every episode, and what was asked for (``docs/metrics.md`` has the fields).

    ``runs``: the folders or files of the agents; ``best``: whether of those the best on the way; ``seed``: the
    evaluation's.
    """
    asked = {VERSION: __version__, "runs": [str(run) for run in runs], "best": best, "seed": seed}
    found = asked | {"rows": [as_dict(row) for row in make_rows(results)]}
    with writing("the results", path.parent, advice="Name another file."):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(found, indent=1) + "\n").encode())


def as_dict(row: Row) -> dict[str, Any]:
    """A row as plain data; one of a single seed with all its episodes."""
    first, (success, low, high) = row.results[0], _within(row.success)
    temperature = float(first.ablation.temperature)
    found = {
        "agent": first.agent,
        "seed": row.seed,
        "env": first.env,
        "in": first.where,
        "policy": first.policy,
        "temperature": temperature if math.isfinite(temperature) else "inf",
        "forgetful": not first.ablation.remembers,
        "deaf": not first.ablation.hears,
        "episodes": sum(len(result.evaluation.success) for result in row.results),
        "success": success,
        "success_low": low,
        "success_high": high,
        "mean_return": row.mean_return,
        "mean_length": row.mean_length,
    }
    if isinstance(row.seed, str):
        return found
    evaluation = first.evaluation
    return found | {
        "env_steps": first.env_steps,
        "episode_success": evaluation.success.astype(int).tolist(),
        "episode_return": [round(float(value), 6) for value in evaluation.returns],
        "episode_length": evaluation.lengths.tolist(),
    }
