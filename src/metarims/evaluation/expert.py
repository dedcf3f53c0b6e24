"""Farama's BabyAIBot, which plans with the instruction at hand, as a ceiling for trained agents."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metarims.errors import UserError
from metarims.evaluation.evaluate import Evaluation, check_backend, check_episodes, check_seed, first_farama_seed
from metarims.evaluation.tables import Result
from metarims.gridworld import make, task_rules
from metarims.gridworld.registry import describe_failure, tasks

EXPERT = "expert"
"""The name of this agent."""

UNSOLVED = tuple(f"BabyAI-{name}-v0" for name in ("PutNextS5N2Carrying", "PutNextS6N3Carrying", "PutNextS7N4Carrying"))
UNSOLVED += ("BabyAI-KeyInBox-v0",)
"""What the bot cannot solve, as its own documentation says."""


MOST_PLANS = 1_000
"""For one step."""


class ExpertResult(NamedTuple):
    """The episodes of one task, and why the bot gave up some of them."""

    result: Result
    gave_up: Counter[str]
    """How often it failed with each error; such an episode is a failure of the length that it had by then."""


def evaluate_expert(
    env: str,
    backend: Literal["farama", "jax"],
    num_episodes: int,
    seed: int = 0,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[ExpertResult]:
    """Let the bot play each task of ``env``, on the levels that the agent of training seed 0 plays in Farama's
    environment.

    With the backend ``jax`` the same levels are played by our rules, and their outcomes count. A task that the bot
    cannot play raises ``UserError``.
    """
    check_seed(seed)
    check_episodes(num_episodes)
    check_backend(backend)
    found = []
    for task in tasks(env):
        on_progress(f"playing {task}: {EXPERT}, {num_episodes:,} episodes")
        found.append(_evaluate_task(task, backend, num_episodes, first_farama_seed(seed, 0)))
    return found


def _evaluate_task(env_id: str, backend: Literal["farama", "jax"], num_episodes: int, first_seed: int) -> ExpertResult:
    from metarims.gridworld.farama import make_farama, naming_failures, quiet_reset

    env: Any = make_farama(env_id).unwrapped
    with naming_failures(env_id):
        quiet_reset(env, first_seed)
    if not hasattr(env, "instrs"):
        raise UserError(
            f"{env_id} has no instruction that Farama's bot could read: the expert plays BabyAI's environments only.",
            field="env",
            value=env_id,
        )
    if env_id in UNSOLVED:
        raise UserError(
            f"{env_id} is one of the {len(UNSOLVED)} BabyAI environments that Farama's bot cannot solve: there is no "
            "expert for it.",
            field="env",
            value=env_id,
        )
    step = _in_farama(env) if backend == "farama" else _in_ours(env, env_id)
    gave_up, episodes = Counter(), []
    for seed in range(first_seed, first_seed + num_episodes):
        with naming_failures(env_id):
            quiet_reset(env, seed)
        episodes.append(_play_episode(env, step, gave_up))
    success, returns, lengths = (np.array(column) for column in zip(*episodes, strict=True))
    evaluation = Evaluation(success, returns, lengths, np.full(num_episodes, np.nan))
    return ExpertResult(Result(EXPERT, 0, env_id, backend, "greedy", evaluation), gave_up)


Step = Callable[[int, bool], tuple[float, bool, bool]]
"""(action, whether an episode begins) -> reward, terminated, truncated."""


def _play_episode(env: Any, step: Step, gave_up: Counter[str]) -> tuple[bool, float, int]:
    """Success, return and length of one episode on the level in ``env``."""
    from minigrid.utils.baby_ai_bot import BabyAIBot

    total, length = 0.0, 0
    try:
        bot: Any = BabyAIBot(env)
        bot.stack = plans = _Plans(bot.stack)
        while True:
            plans.made = 0
            reward, terminated, truncated = step(int(bot.replan()), length == 0)
            total, length = total + reward, length + 1
            if terminated or truncated:
                return terminated and reward > 0, total, length
    except UserError:
        raise
    except Exception as error:
        gave_up[describe_failure(error)] += 1
        return False, total, length


class _Plans(list):
    """The bot's stack of plans for one step. In some states the bot makes and drops plans forever: this ends it."""

    made = 0

    def append(self, plan: Any) -> None:
        self.made += 1
        if self.made > MOST_PLANS:
            raise RuntimeError("it plans in circles")
        super().append(plan)


def _in_farama(env: Any) -> Step:
    def step(action: int, is_first: bool) -> tuple[float, bool, bool]:
        del is_first
        _, reward, terminated, truncated, _ = env.step(action)
        return float(reward), bool(terminated), bool(truncated)

    return step


def _in_ours(env: Any, env_id: str) -> Step:
    """Our own environment, begun in the state of ``env``, which goes along so that the bot can look at it."""
    from metarims.gridworld.bridge import state_from_farama

    level = make(env_id, "evaluate with --backend farama")
    ours: Any = jax.jit(partial(task_rules.step, level))
    held: Any = None

    def step(action: int, is_first: bool) -> tuple[float, bool, bool]:
        nonlocal held
        if is_first:
            row = 0 if level.drawn_words else level.missions.index(env.mission)
            held = jax.tree.map(jnp.asarray, state_from_farama(env, row, level))
        env.step(action)
        held, reward, terminated, truncated = ours(held, jnp.int32(action))
        return float(reward), bool(terminated), bool(truncated)

    return step
