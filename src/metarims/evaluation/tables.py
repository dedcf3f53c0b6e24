"""Evaluations of a run's agents, as a table on the terminal and as JSON."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from metarims.errors import UserError, unknown_name
from metarims.evaluation.evaluate import (
    AS_LEARNT,
    FIRST_FARAMA_SEED,
    Evaluation,
    Manner,
    check_episodes,
    check_place,
    evaluate_farama,
    evaluate_jax,
    evaluation_key,
)
from metarims.evaluation.statistics import MIN_SEEDS, Interval, seed_interval, wilson_interval
from metarims.gridworld import make
from metarims.gridworld.missions import LONGEST_MISSION, MAX_WORDS, Speech
from metarims.gridworld.registry import check_native, is_native, tasks
from metarims.runs.export import SavedAgent
from metarims.runs.files import writing
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
    manner: Manner = AS_LEARNT

    @property
    def success(self) -> Interval:
        return wilson_interval(int(self.evaluation.success.sum()), len(self.evaluation.success))


def evaluate_agents(
    agents: Sequence[SavedAgent],
    env: str | None,
    where: Literal["farama", "jax"],
    num_episodes: int,
    policies: Sequence[str] = POLICIES,
    seed: int = 0,
    *,
    manner: Manner = AS_LEARNT,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Play every agent under every policy; ``env`` None is the one trained on. A mixture is played task by task.

    ``tell`` hears what is played next.

    Each agent plays levels of its own, so that the episodes of all are independent; greedy and sampled share them.
    """
    if not 0 <= seed < 2**31:
        raise UserError(f"seed is {seed}: it must lie between 0 and 2147483647.")
    check_episodes(num_episodes)
    check_place(where)
    manner.check()
    for policy in policies:
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
    results = []
    for env_id in dict.fromkeys(task for saved in agents for task in tasks_of(saved, env)):
        for policy in policies:
            for index, saved in enumerate(agents):
                tell(f"plays {env_id}: seed {saved.seed}, {policy}, {num_episodes:,} episodes")
                block = seed * len(agents) + index
                evaluation = _evaluate(saved, env_id, where, num_episodes, policy == "greedy", block, manner)
                results.append(Result(saved.config.agent, saved.seed, env_id, where, policy, evaluation, manner))
    return results


def _evaluate(
    saved: SavedAgent, env: str, where: str, num_episodes: int, greedy: bool, block: int, manner: Manner
) -> Evaluation:
    """``block``: which levels to play; those of different blocks differ."""
    check_actions(saved, env, count_actions(env, where, "evaluate with --in farama"))
    if where == "farama":
        first = FIRST_FARAMA_SEED + block * num_episodes
        words = speech(saved, env)
        how = {"manner": manner, "carry": carries(saved)}
        return evaluate_farama(saved.agent, env, num_episodes, first, greedy, words, **how)
    key = evaluation_key(block)
    return evaluate_jax(saved.agent, make(env), num_episodes, key, greedy, manner=manner, carry=carries(saved))


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
        check_native(env, otherwise)
        return make(env).num_actions
    from metarims.gridworld.farama import make_farama
    from metarims.gridworld.host import read_facts

    return read_facts(make_farama(env)).num_actions


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


def speech(saved: SavedAgent, env: str) -> Speech:
    """The words that the agent knows, and how many of them a mission of this task may have."""
    return Speech(saved.vocabulary, MAX_WORDS if is_native(env) else max(LONGEST_MISSION, saved.config.max_words))


def carries(saved: SavedAgent) -> bool:
    """Whether the agent learned with a recurrent state that runs on from one episode to the next."""
    return saved.config.at_episode_end == "carry"


def pooled(results: Sequence[Result], policy: str) -> Interval:
    """Success over all episodes of all seeds under one policy, with Wilson's interval."""
    success = np.concatenate([result.evaluation.success for result in results if result.policy == policy])
    return wilson_interval(int(success.sum()), len(success))


def over_seeds(results: Sequence[Result], policy: str) -> Interval:
    """The mean of the seeds' success rates, with Student's t interval over seeds."""
    rates = [result.evaluation.success.mean() for result in results if result.policy == policy]
    return seed_interval(np.array(rates))


def print_table(results: Sequence[Result], console: Console | None = None) -> None:
    """One row per seed and policy; with several seeds, also one for all their episodes, and for the mean over seeds."""
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
        rows = [result for result in results if result.policy == policy]
        for result in rows:
            table.add_row(policy, str(result.seed), interval_text(result.success), *_means([result]))
        if len(rows) > 1:
            table.add_row(policy, "all", interval_text(pooled(results, policy)), *_means(rows))
        if len(rows) >= MIN_SEEDS:
            table.add_row(policy, "over seeds", interval_text(over_seeds(results, policy)), *_means(rows))
        table.add_section()
    title = f"{first.agent} on {first.env} in {place}, {num_episodes} episodes per seed and policy"
    title += "".join(f", {words}" for words in _manner_words(first.manner))
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    console.print(table)


def _manner_words(manner: Manner) -> list[str]:
    """What differs from how agents learn."""
    said = {
        f"temperature {manner.temperature:g}": manner.temperature != 1,
        "without memory": not manner.remembers,
        "without words": not manner.hears,
    }
    return [words for words, differs in said.items() if differs]


def interval_text(interval: Interval) -> str:
    """As ``0.950 [0.910, 0.973]``."""
    return f"{interval.value:.3f} [{max(0.0, interval.low):.3f}, {min(1.0, interval.high):.3f}]"


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Every figure of the table, and every episode."""
    from metarims.runs.files import write_atomic

    with writing("the results", path.parent, advice="Name another file."):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps([as_dict(result) for result in results], indent=1) + "\n").encode())


def as_dict(result: Result) -> dict[str, Any]:
    """A result as plain data."""
    interval, evaluation = result.success, result.evaluation
    return {
        "agent": result.agent,
        "seed": result.seed,
        "env": result.env,
        "in": result.where,
        "policy": result.policy,
        "temperature": float(result.manner.temperature) if math.isfinite(result.manner.temperature) else "inf",
        "remembers": result.manner.remembers,
        "hears": result.manner.hears,
        "episodes": len(evaluation.success),
        "success": interval.value,
        "success_low": interval.low,
        "success_high": interval.high,
        "mean_return": float(evaluation.returns.mean()),
        "mean_length": float(evaluation.lengths.mean()),
        "episode_success": evaluation.success.astype(int).tolist(),
        "episode_return": [round(float(value), 6) for value in evaluation.returns],
        "episode_length": evaluation.lengths.tolist(),
    }


def _means(results: Sequence[Result]) -> tuple[str, str]:
    returns = np.mean([result.evaluation.returns.mean() for result in results])
    lengths = np.mean([result.evaluation.lengths.mean() for result in results])
    return f"{returns:.3f}", f"{lengths:.1f}"
