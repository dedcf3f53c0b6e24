"""What is measured of trained agents. A measure takes what training left and the scale, and gives rows per seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from metarims.evaluation.curves import Curve, area_under_curve, reach_threshold
from metarims.evaluation.evaluate import evaluate_jax, evaluation_key
from metarims.evaluation.recording import record_episodes
from metarims.evaluation.tables import check_actions
from metarims.gridworld import make
from metarims.gridworld.tiles import NUM_TILES
from metarims.learning.diagnostics import measure_information
from metarims.runs.export import SavedAgent
from metarims.studies.plans import Found, Measure, Row, Scale, Trained
from metarims.types import VIEW

KEPT = 0.9
"""Share of the old success at which an agent counts as recovered."""


def learning(trained: Trained, scale: Scale) -> Found:
    """How fast the last stage was learned: area under the curves of success (S) and return (R), and their ends."""
    rows, stage = [], trained.stages[-1]
    for seed, points in _by_seed(trained.metrics[-1]).items():
        for measure in ("success", "return"):
            curve = _curve(points, measure)
            if len(curve.frames) > 1:
                rows.append(Row(seed, f"area of {measure}", stage.env, area_under_curve(curve)))
                rows.append(Row(seed, f"last {measure}", stage.env, float(curve.values[-1])))
    return Found(rows)


def transfer(*envs: str) -> Measure:
    """Success and return on other tasks, without learning there: the sampled policy, in our world."""

    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for env in envs for row in _evaluate(trained.agents[-1], env, scale, "")])

    return measure


def kept(trained: Trained, scale: Scale) -> Found:
    """Success on the first task after each stage: what later stages leave of it."""
    first, rows = trained.stages[0].env, []
    for index, agents in enumerate(trained.agents):
        rows += _evaluate(agents, first, scale, f" after stage {index + 1}")
    ends = {(row.seed, row.name): row.value for row in rows}
    last = f"success after stage {len(trained.agents)}"
    for agent in trained.agents[0]:
        lost = ends[agent.seed, "success after stage 1"] - ends[agent.seed, last]
        rows.append(Row(agent.seed, "success lost", first, lost))
    return Found(rows)


def recovery(trained: Trained, scale: Scale) -> Found:
    """Frames of the last stage until training success is back near the first stage's end; inf where it never is."""
    rows, before = [], _by_seed(trained.metrics[0])
    for seed, points in _by_seed(trained.metrics[-1]).items():
        old = _curve(before[seed], "success").values[-1]
        reach = reach_threshold([_curve(points, "success")], KEPT * old)
        rows.append(Row(seed, "frames to recover", trained.stages[-1].env, float(reach.scores[0, 0])))
    return Found(rows)


def switching_off(trained: Trained, scale: Scale) -> Found:
    """Environment steps that 20 episodes take when fewer of the modules that win may act."""
    rows, env = [], trained.stages[-1].env
    for saved in trained.agents[-1]:
        most = saved.agent.core.num_active
        for number in range(most, 0, -1):
            agent = eqx.tree_at(lambda a: a.core, saved.agent, saved.agent.core.with_active(number))
            played = evaluate_jax(agent, make(env), scale.episodes, evaluation_key(saved.seed), greedy=False)
            where = "all that win" if number == most else f"{number} of them"
            rows.append(Row(saved.seed, "frames for 20 episodes", where, float(20 * played.lengths.mean())))
            rows.append(Row(saved.seed, "success", where, float(played.success.mean())))
    return Found(rows)


def activity(trained: Trained, scale: Scale) -> Found:
    """Who acts when: how often each module, and what the set that acts says of the tile ahead; 20 episodes."""
    rows, env, raster = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        episodes = record_episodes(saved.agent, env, 20, False, "jax", saved.seed)
        active = np.concatenate([episode.active for episode in episodes]).astype(float)
        ahead = np.concatenate([episode.view[:-1, VIEW // 2, VIEW - 2] for episode in episodes])
        sets = (active * 2 ** np.arange(active.shape[1])).sum(1).astype(int)
        counts = np.zeros((2 ** active.shape[1], NUM_TILES))
        np.add.at(counts, (sets, ahead), 1)
        information = float(measure_information(jnp.asarray(counts)))
        shares = active.mean(0)
        solved = [episode for episode in episodes if episode.terminated and episode.rewards.sum() > 0]
        rows += [
            Row(saved.seed, "share of the least active module", env, float(shares.min())),
            Row(saved.seed, "information of the set on the tile ahead", env, information),
        ]
        if solved:
            last = np.stack([episode.active[-1] for episode in solved]).mean(0)
            rows.append(Row(saved.seed, "share of one module at the last step", env, float(last.max())))
        if raster is None:
            raster = {
                "active": [episode.active.astype(int).tolist() for episode in episodes[:6]],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"raster": raster})


def values(trained: Trained, scale: Scale) -> Found:
    """The value over nine episodes of a meta-episode, and how well it orders steps by how near the end is."""
    rows, env, record = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        episodes = record_episodes(saved.agent, env, 9, False, "jax", saved.seed)
        orders = [_rank_correlation(e.values) for e in episodes if e.rewards.sum() > 0 and len(e.values) > 2]
        if orders:
            rows.append(Row(saved.seed, "rank correlation of value and time", env, float(np.mean(orders))))
        if record is None:
            record = {
                "values": [np.round(e.values, 4).tolist() for e in episodes],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"values": record})


def _evaluate(agents: Sequence[SavedAgent], env: str, scale: Scale, suffix: str) -> list[Row]:
    level, rows = make(env), []
    for saved in agents:
        check_actions(saved, env, level.num_actions)
        played = evaluate_jax(saved.agent, level, scale.episodes, evaluation_key(saved.seed), greedy=False)
        rows.append(Row(saved.seed, f"success{suffix}", env, float(played.success.mean())))
        rows.append(Row(saved.seed, f"return{suffix}", env, float(played.returns.mean())))
    return rows


def _by_seed(metrics: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    seeds: dict[int, list[Mapping[str, Any]]] = {}
    for row in metrics:
        seeds.setdefault(int(row["seed"]), []).append(row)
    return seeds


def _curve(points: Sequence[Mapping[str, Any]], measure: str) -> Curve:
    """Chunks in which no episode ended are left out."""
    known = [(row["env_steps"], row[measure]) for row in points if row.get(measure) is not None]
    frames, heights = np.array(known, float).reshape(-1, 2).T
    return Curve(frames, heights)


def _rank_correlation(heights: np.ndarray) -> float:
    """Spearman's, of a series and time; 0 for a constant one."""
    if np.ptp(heights) == 0:
        return 0.0
    ranks = np.argsort(np.argsort(heights))
    return float(np.corrcoef(ranks, np.arange(len(heights)))[0, 1])
