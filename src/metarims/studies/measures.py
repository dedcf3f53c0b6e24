"""What is measured of trained agents. A measure takes what training left and the scale, and gives rows per seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.stats

from metarims.evaluation.curves import Curve, area_under_curve, reach_threshold
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.evaluation.modules import find_mark, information_beyond_chance, is_at_junction, is_last_step
from metarims.evaluation.recording import record_episodes
from metarims.evaluation.tables import carries, check_actions
from metarims.gridworld import make
from metarims.learning.diagnostics import measure_collapse
from metarims.runs.export import SavedAgent
from metarims.studies.plans import Found, Measure, Row, Scale, Trained
from metarims.types import VIEW

KEPT = 0.9
"""Share of the old success at which an agent counts as recovered."""
ALIVE = 0.01
"""Share of the steps at which a module must act to count as alive."""


def learning(trained: Trained, scale: Scale) -> Found:
    """How fast the last stage was learned: area under the curves of success (S) and return (R), and their ends."""
    rows, stage = [], trained.stages[-1]
    for measure in ("success", "return"):
        for seed, curve in _curves(trained.metrics[-1], measure).items():
            rows.append(Row(seed, f"area of {measure}", stage.env, area_under_curve(curve)))
            rows.append(Row(seed, f"last {measure}", stage.env, float(curve.values[-1])))
    return Found(rows)


def transfer(*envs: str) -> Measure:
    """Success and return on other tasks, without learning there: the sampled policy, in our world."""

    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for env in envs for row in _evaluate(trained.agents[-1], env, scale, "")])

    return measure


def kept(trained: Trained, scale: Scale) -> Found:
    """Success on the first task after each stage, and what later stages took of it where it had been learnt."""
    first, rows = trained.stages[0].env, []
    for index, agents in enumerate(trained.agents):
        rows += _evaluate(agents, first, scale, f" after stage {index + 1}")
    ends = {(row.seed, row.name): row.value for row in rows}
    last = f"success after stage {len(trained.agents)}"
    for agent in trained.agents[0]:
        before = ends[agent.seed, "success after stage 1"]
        if before >= scale.learnt:
            rows.append(Row(agent.seed, "success lost", first, before - ends[agent.seed, last]))
    return Found(rows)


def recovery(trained: Trained, scale: Scale) -> Found:
    """Frames of the last stage until training success is back near the first stage's end; inf where it never is.

    Only of seeds that had learnt the first stage's task.
    """
    rows, before = [], _curves(trained.metrics[0], "success")
    for seed, curve in _curves(trained.metrics[-1], "success").items():
        old = before[seed].values[-3:].mean() if seed in before else 0.0
        if old >= scale.learnt:
            reach = reach_threshold([curve], KEPT * old)
            rows.append(Row(seed, "frames to recover", trained.stages[-1].env, float(reach.scores[0, 0])))
    return Found(rows)


def switching_off(trained: Trained, scale: Scale) -> Found:
    """Environment steps that 20 episodes take when fewer of the modules that win may act: some drawn anew at each step,
    as the paper has it, or those that attend most."""
    rows, env = [], trained.stages[-1].env
    for saved in trained.agents[-1]:
        core = saved.agent.core
        cores = {"all that win": core}
        for number in range(core.num_active - 1, 0, -1):
            cores[f"{number} of them, drawn"] = core.with_active(number, drawn=True)
            cores[f"the best {number}"] = core.with_active(number)
        for where, fewer in cores.items():
            agent = eqx.tree_at(lambda a: a.core, saved.agent, fewer)
            key, carry = evaluation_key(saved.seed), carries(saved)
            played = evaluate_jax(agent, make(env), scale.episodes, key, greedy=False, carry=carry)
            rows.append(Row(saved.seed, "frames for 20 episodes", where, float(20 * played.lengths.mean())))
            rows.append(Row(saved.seed, "success", where, float(played.success.mean())))
    return Found(rows)


def activity(trained: Trained, scale: Scale) -> Found:
    """Who acts when: how often each module, what the set that acts says of the tile ahead, and whether single modules
    mark the end of an episode, or a junction."""
    rows, env, raster = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        carry = carries(saved)
        episodes = record_episodes(saved.agent, env, scale.episodes, False, "jax", saved.seed, carry=carry)
        active = [episode.active for episode in episodes]
        ahead = [episode.view[:-1, VIEW // 2, VIEW - 2] for episode in episodes]
        shares = np.concatenate(active).mean(0)
        numbers = {
            "share of the least active module": shares.min(),
            "every module acts": shares.min() >= ALIVE,
            "collapse": measure_collapse(jnp.asarray(shares)),
            "information of the set on the tile ahead": information_beyond_chance(active, ahead),
        }
        solved = [episode for episode in episodes if episode.success]
        moments = {"at the last step": is_last_step, "at the junction": is_at_junction}
        for moment, is_then in moments.items():
            mark = find_mark([(episode.active, is_then(episode)) for episode in solved])
            if mark:
                numbers[f"share of one module {moment}"] = mark.share
                numbers[f"lead of one module {moment}"] = mark.lead
        rows += [Row(saved.seed, name, env, float(value)) for name, value in numbers.items()]
        if raster is None:
            raster = {
                "active": [episode.active.astype(int).tolist() for episode in episodes[:6]],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"raster": raster})


def values(trained: Trained, scale: Scale) -> Found:
    """The value over nine episodes, and how well it orders the steps of solved ones by how near the end is."""
    rows, env, record = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        number, carry = max(9, scale.episodes), carries(saved)
        episodes = record_episodes(saved.agent, env, number, False, "jax", saved.seed, carry=carry)
        orders = [_rank_correlation(e.values) for e in episodes if e.success and len(e.values) > 2]
        if orders:
            rows.append(Row(saved.seed, "rank correlation of value and time", env, float(np.mean(orders))))
        if record is None:
            record = {
                "values": [np.round(e.values, 4).tolist() for e in episodes[:9]],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"values": record})


def _evaluate(agents: Sequence[SavedAgent], env: str, scale: Scale, suffix: str) -> list[Row]:
    level, rows = make(env), []
    for saved in agents:
        check_actions(saved, env, level.num_actions)
        key, carry = evaluation_key(saved.seed), carries(saved)
        played = evaluate_jax(saved.agent, level, scale.episodes, key, greedy=False, carry=carry)
        rows.append(Row(saved.seed, f"success{suffix}", env, float(played.success.mean())))
        rows.append(Row(saved.seed, f"return{suffix}", env, float(played.returns.mean())))
    return rows


def _curves(metrics: Sequence[Mapping[str, Any]], measure: str) -> dict[int, Curve]:
    """Of each seed its curve over the whole stage.

    Chunks in which no episode ended are left out. A curve that begins later or ends earlier than others (a numerical
    fault stopped the seed: its last sound agent stays as it is) goes on level there.
    """
    first, last = min(row["env_steps"] for row in metrics), max(row["env_steps"] for row in metrics)
    points: dict[int, dict[float, float]] = {}
    for row in metrics:
        if row.get(measure) is not None:
            points.setdefault(int(row["seed"]), {})[float(row["env_steps"])] = float(row[measure])
    curves = {}
    for seed, known in points.items():
        heights = list(known.values())
        whole = {first: heights[0]} | known | ({} if last in known else {last: heights[-1]})
        frames = np.array(sorted(whole), float)
        if len(frames) > 1:
            curves[seed] = Curve(frames, np.array([whole[frame] for frame in frames]))
    return curves


def _rank_correlation(heights: np.ndarray) -> float:
    """Spearman's, of a series and time; 0 for a constant one."""
    if np.ptp(heights) == 0:
        return 0.0
    return float(np.corrcoef(scipy.stats.rankdata(heights), np.arange(len(heights)))[0, 1])
