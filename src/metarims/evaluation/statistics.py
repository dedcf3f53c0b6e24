"""Aggregates of scores over runs and tasks, and their confidence intervals.

Scores are tables [S, N] of S runs (seeds) and N tasks. The estimators are those of Agarwal et al. (2021), "Deep
reinforcement learning at the edge of the statistical precipice". ``rng`` is a numpy Generator or a seed: equal seeds
give equal intervals.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Real

from metarims.errors import UserError

CONFIDENCE = 0.95
MIN_SEEDS = 3
"""Fewest runs that get an interval: of a mean, Student's t."""
MIN_BOOTSTRAP = 5
"""Fewest runs that are resampled; the percentile interval of fewer is too narrow."""
RESAMPLES = 5000
"""Default number of bootstrap resamples."""

Rng = np.random.Generator | int


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> Interval:
    """A proportion with Wilson's score interval (1927), which is valid near 0 and 1 too.

    Its ends are the p for which (successes/trials - p)^2 = z^2 p (1 - p) / trials.
    """
    found = scipy.stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))


def exact_interval(successes: int, trials: int) -> Interval:
    """A proportion with the exact interval (Clopper & Pearson, 1934): a p is excluded only if as many successes or
    more, or as many or fewer, have a probability of at most (1 - ``CONFIDENCE``) / 2."""
    found = scipy.stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return Interval(successes / trials, float(found.low), float(found.high))


def seed_interval(values: Float[np.ndarray, " S"]) -> Interval:
    """A mean over independent seeds with Student's t interval; with one seed the ends are NaN."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * scipy.stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def mean_interval(scores: Real[np.ndarray, "S N"], rng: Rng = 0, resamples: int = RESAMPLES) -> Interval:
    """The mean of all scores with its interval by ``interval_kind(S)``; without one, the ends are NaN.

    Student's t is over the S runs' means over tasks.
    """
    if interval_kind(len(scores)) == "Student's t":
        return seed_interval(_finite(scores).mean(axis=1))
    return stratified_interval(mean, scores, rng=rng, resamples=resamples)


def interval_kind(num_runs: int) -> str:
    """Which interval the mean over so many runs gets: ``bootstrap``, ``Student's t``, or none (empty)."""
    if num_runs >= MIN_BOOTSTRAP:
        return "bootstrap"
    return "Student's t" if num_runs >= MIN_SEEDS else ""


def describe_intervals(nums_runs: Iterable[int]) -> str:
    """What a legend says of intervals over these numbers of runs: ``95 % interval (bootstrap)``; empty for none."""
    nums_runs = list(nums_runs)
    kinds = [kind for kind in dict.fromkeys(map(interval_kind, nums_runs)) if kind]
    if len(kinds) == 2:
        few = f"below {MIN_BOOTSTRAP} seeds"
        kinds = ["bootstrap", f"{few} Student's t"]
    return f"95 % interval ({', '.join(kinds)})" if kinds else ""


def mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of all scores, which is the mean over tasks of each task's mean."""
    return float(np.mean(_finite(scores)))


def interquartile_mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of the middle half of all S N scores (IQM; Agarwal et al., 2021).

    Of n scores in order, score i has the weight of the part of [i, i + 1] within [n/4, 3n/4], so exactly a quarter of
    the weight is trimmed at each end. Where 4 divides n this equals ``scipy.stats.trim_mean(scores, 0.25, axis=None)``,
    which otherwise rounds the quarter down to whole scores.
    """
    ordered = np.sort(_finite(scores), axis=None)
    start = np.arange(ordered.size)
    weights = np.minimum(start + 1, 0.75 * ordered.size) - np.maximum(start, 0.25 * ordered.size)
    return float(np.average(ordered, weights=np.maximum(weights, 0)))


def probability_of_improvement(x: Real[np.ndarray, "Sx N"], y: Real[np.ndarray, "Sy _"]) -> float:
    """P(X > Y): how often a run of X scores above a run of Y on the same task, ties counted half, averaged over tasks.

    For each task the mean over all Sx Sy pairs of 1[x > y] + 1[x = y] / 2, which is Mann and Whitney's U / (Sx Sy)
    (Agarwal et al., 2021). Only the order matters: a run that never reached a threshold may score inf.
    """
    _check_tasks(x, y)
    above = x[:, None] > y[None]
    level = x[:, None] == y[None]
    return float(np.mean(above + 0.5 * level))


def paired_wins(x: Real[np.ndarray, "S N"], y: Real[np.ndarray, "S _"]) -> Float[np.ndarray, "S N"]:
    """1 where a run of X scores above the run of Y in the same row and task; 1/2 at ties."""
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
) -> Float[np.ndarray, " R *K"]:
    """R resamples of ``statistic(*tables)``, with runs redrawn with replacement.

    The bootstrap is stratified: runs are drawn within each task independently.
    """
    generator = np.random.default_rng(rng)

    def redraw(table: np.ndarray) -> np.ndarray:
        num_runs, num_tasks = known_scores(table).shape
        picked = generator.integers(num_runs, size=(resamples, num_runs, num_tasks))
        return table[picked, np.arange(num_tasks)]

    drawn = zip(*map(redraw, tables), strict=True)
    return np.asarray([statistic(*again) for again in drawn], dtype=float)


def stratified_interval(
    statistic: Callable[..., float],
    *tables: Real[np.ndarray, "_ _"],
    rng: Rng = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Any statistic of one or more score tables with its stratified percentile bootstrap interval.

    With fewer runs than ``MIN_BOOTSTRAP`` in a table the ends are NaN. Examples:
    ``stratified_interval(interquartile_mean, scores)``; ``stratified_interval(probability_of_improvement, x, y)``.
    """
    value = float(statistic(*tables))
    if min(len(table) for table in tables) < MIN_BOOTSTRAP:
        return Interval(value, float("nan"), float("nan"))
    draws = bootstrap_draws(statistic, *tables, rng=rng, resamples=resamples)
    low, high = _percentiles(draws)
    return Interval(value, float(low), float(high))


def mean_band(
    values: Real[np.ndarray, "S N"], rng: Rng = 0, resamples: int = RESAMPLES
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Interval of the mean over runs at each of N points, by ``interval_kind(S)``; NaN where there is none.

    The bootstrap redraws whole runs.
    """
    if len(values) < MIN_BOOTSTRAP:
        nothing = Interval(np.nan, np.nan, np.nan)
        ends = [seed_interval(point) if len(values) >= MIN_SEEDS else nothing for point in values.T]
        return np.array([low for _, low, _ in ends]), np.array([high for _, _, high in ends])
    runs = np.arange(len(values))[:, None]
    weights = bootstrap_draws(
        lambda drawn: np.bincount(drawn[:, 0], minlength=len(values)), runs, rng=rng, resamples=resamples
    )
    return _percentiles(weights @ values / len(values))


class Profile(NamedTuple):
    """A performance profile and its pointwise band; ``low`` and ``high`` are NaN with fewer runs than
    ``MIN_BOOTSTRAP``."""

    fraction: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]


def profile_band(scores: Real[np.ndarray, "S N"], thresholds: Real[np.ndarray, " K"]) -> Profile:
    """The performance profile with a stratified percentile bootstrap interval at every threshold."""
    fraction = performance_profile(scores, thresholds)
    if len(scores) < MIN_BOOTSTRAP:
        unknown = np.full_like(fraction, np.nan)
        return Profile(fraction, unknown, unknown)
    return Profile(
        fraction, *_percentiles(bootstrap_draws(lambda table: performance_profile(table, thresholds), scores))
    )


def _percentiles(draws: Float[np.ndarray, " R *K"]) -> tuple[np.ndarray, np.ndarray]:
    """The two draws between which ``CONFIDENCE`` of them lie: none is interpolated, as some may be infinite."""
    tail = (1 - CONFIDENCE) / 2
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
