"""Aggregates of scores over runs and tasks, and their intervals.

Scores are tables [S, N]: a row for each of S runs (seeds), a column for each of N tasks. The estimators are those of
Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice". Whatever is drawn at
random comes from the argument ``rng``, a numpy Generator or a seed: equal seeds give equal intervals.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Real

from metarims.errors import UserError

CONFIDENCE = 0.95
MIN_SEEDS = 3
"""Fewest runs whose spread says anything about further ones; fewer have no interval."""
RESAMPLES = 5000
"""Resamples of a bootstrap, unless others are asked for."""

Rng = np.random.Generator | int


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """A proportion with Wilson's score interval (1927), which holds near 0 and 1 too.

    Its ends are the p for which (successes/trials - p)^2 = z^2 p (1 - p) / trials.
    """
    found = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))


def exact_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """A proportion with the exact interval (Clopper & Pearson, 1934), which leaves out a p only where so many successes
    or more, or so many or fewer, would have come with a probability of at most (1 - ``confidence``) / 2."""
    found = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Interval(successes / trials, float(found.low), float(found.high))


def seed_interval(values: Float[np.ndarray, " S"], confidence: float = CONFIDENCE) -> Interval:
    """A mean over independent seeds with Student's t interval; with one seed the ends are NaN."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1) * scipy.stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of all scores, which is the mean over tasks of each task's mean."""
    return float(np.mean(_finite(scores)))


def interquartile_mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of the middle half of all S N scores (IQM; Agarwal et al., 2021).

    With the n scores in order, score i stands for the stretch [i, i + 1] and weighs as much of it as lies within
    [n/4, 3n/4]: exactly a quarter of the weight falls off at each end, whatever n is. Where 4 divides n this is
    ``scipy.stats.trim_mean(scores, 0.25, axis=None)``, which elsewhere rounds the quarter down to whole scores.
    """
    ordered = np.sort(_finite(scores), axis=None)
    is_first = np.arange(ordered.size)
    weights = np.minimum(is_first + 1, 0.75 * ordered.size) - np.maximum(is_first, 0.25 * ordered.size)
    return float(np.average(ordered, weights=np.maximum(weights, 0)))


def probability_of_improvement(x: Real[np.ndarray, "Sx N"], y: Real[np.ndarray, "Sy _"]) -> float:
    """P(X > Y): how often a run of X scores above a run of Y on the same task, ties counted half, averaged over tasks.

    For each task the mean over all Sx Sy pairs of 1[x > y] + 1[x = y] / 2, which is Mann and Whitney's U / (Sx Sy)
    (Agarwal et al., 2021). Only the order counts: a run that never reached a threshold may score inf.
    """
    _check_tasks(x, y)
    above = x[:, None] > y[None]
    level = x[:, None] == y[None]
    return float(np.mean(above + 0.5 * level))


def paired_wins(x: Real[np.ndarray, "S N"], y: Real[np.ndarray, "S _"]) -> Float[np.ndarray, "S N"]:
    """1 where a run of X scores above the run of Y in its row, on the same task; 1/2 where they score alike."""
    _check_tasks(x, y)
    return (x > y) + (x == y) / 2


def performance_profile(scores: Real[np.ndarray, "S N"], thresholds: Real[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """For each threshold tau, the fraction of runs that score above it, averaged over tasks (Agarwal et al., 2021)."""
    return np.mean(known_scores(scores)[None] > thresholds[:, None, None], axis=(1, 2))


def bootstrap_draws(
    statistic: Callable[..., float | np.ndarray],
    *tables: Real[np.ndarray, "_ _"],
    rng: Rng = 0,
    resamples: int = RESAMPLES,
    whole_runs: bool = False,
) -> Float[np.ndarray, "R *K"]:
    """``statistic(*tables)`` of tables whose runs are drawn anew with replacement, [R] times over.

    The bootstrap is stratified: runs are drawn within each task, for every task on its own. Where the same trained
    agent was measured on every task (zero-shot tables), its scores go together: ``whole_runs`` draws rows.
    """
    generator = np.random.default_rng(rng)

    def redraw(table: np.ndarray) -> np.ndarray:
        num_runs, num_tasks = known_scores(table).shape
        picked = generator.integers(num_runs, size=(resamples, num_runs, 1 if whole_runs else num_tasks))
        return table[picked, np.arange(num_tasks)]

    drawn = zip(*map(redraw, tables), strict=True)
    return np.asarray([statistic(*again) for again in drawn], dtype=float)


def stratified_interval(
    statistic: Callable[..., float],
    *tables: Real[np.ndarray, "_ _"],
    confidence: float = CONFIDENCE,
    rng: Rng = 0,
    resamples: int = RESAMPLES,
    whole_runs: bool = False,
) -> Interval:
    """Any statistic of one or more score tables with its stratified percentile bootstrap interval.

    With a table of fewer runs than ``MIN_SEEDS`` the ends are NaN.

    ``stratified_interval(interquartile_mean, scores)``; ``stratified_interval(probability_of_improvement, x, y)``.
    """
    value = float(statistic(*tables))
    if min(len(table) for table in tables) < MIN_SEEDS:
        return Interval(value, float("nan"), float("nan"))
    draws = bootstrap_draws(statistic, *tables, rng=rng, resamples=resamples, whole_runs=whole_runs)
    low, high = _percentiles(draws, confidence)
    return Interval(value, float(low), float(high))


class Profile(NamedTuple):
    """A performance profile and its pointwise band; ``low`` and ``high`` are NaN with fewer runs than
    ``MIN_SEEDS``."""

    thresholds: Real[np.ndarray, " K"]
    fraction: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]


def profile_band(
    scores: Real[np.ndarray, "S N"],
    thresholds: Real[np.ndarray, " K"],
    confidence: float = CONFIDENCE,
    rng: Rng = 0,
    resamples: int = RESAMPLES,
    *,
    whole_runs: bool = False,
) -> Profile:
    """The performance profile with a stratified percentile bootstrap interval at every threshold."""
    fraction = performance_profile(scores, thresholds)
    if len(scores) < MIN_SEEDS:
        unknown = np.full_like(fraction, np.nan)
        return Profile(thresholds, fraction, unknown, unknown)
    draws = bootstrap_draws(
        lambda table: performance_profile(table, thresholds),
        scores,
        rng=rng,
        resamples=resamples,
        whole_runs=whole_runs,
    )
    return Profile(thresholds, fraction, *_percentiles(draws, confidence))


def _percentiles(draws: Float[np.ndarray, "R *K"], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The two draws between which ``confidence`` of them lie: none is interpolated, as some may be infinite."""
    tail = (1 - confidence) / 2
    low = np.quantile(draws, tail, axis=0, method="lower")
    high = np.quantile(draws, 1 - tail, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)


def known_scores(scores: Real[np.ndarray, "S N"]) -> Real[np.ndarray, "S N"]:
    """The scores themselves; ``UserError`` if there are none or one is NaN."""
    if scores.size == 0:
        raise UserError(f"No scores: {len(scores)} runs x {scores.shape[1]} tasks; give at least one of each.")
    if np.isnan(scores).any():
        run, task = np.argwhere(np.isnan(scores))[0]
        raise UserError(f"The score of run {run} on task {task} is NaN: leave out runs that failed.")
    return scores


def _check_tasks(x: Real[np.ndarray, "_ _"], y: Real[np.ndarray, "_ _"]) -> None:
    if known_scores(x).shape[1] != known_scores(y).shape[1]:
        raise UserError(f"Tables of {x.shape[1]} and {y.shape[1]} tasks: compare runs on the same tasks.")


def _finite(scores: Real[np.ndarray, "S N"]) -> Real[np.ndarray, "S N"]:
    """The scores themselves; ``UserError`` if one is infinite, too."""
    if not np.isfinite(known_scores(scores)).all():
        raise UserError("A score is infinite and has no mean: compare such scores by their order.")
    return scores
