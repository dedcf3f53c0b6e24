"""Aggregates over runs and tasks, learning curves, frames to a threshold; and the intervals of each.

Scores are tables [S, N]: a row for each of S runs (seeds), a column for each of N tasks. The estimators are those of
Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", and of Kaplan & Meier
(1958), "Nonparametric estimation from incomplete observations". Whatever is drawn at random comes from the argument
``rng``, a numpy Generator or a seed: equal seeds give equal intervals.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Real

from metarims.errors import UserError

CONFIDENCE = 0.95
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


def seed_interval(values: Float[np.ndarray, " S"], confidence: float = CONFIDENCE) -> Interval:
    """A mean over independent seeds with Student's t interval; with one seed the ends are NaN."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1) * scipy.stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    values: Float[np.ndarray, " S"], confidence: float = CONFIDENCE, resamples: int = 9999, seed: int = 0
) -> Interval:
    """A mean over seeds with the bias-corrected and accelerated bootstrap (Efron, 1987); NaN ends if undefined."""
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        end = mean if len(values) > 1 else float("nan")
        return Interval(mean, end, end)
    result = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=resamples, rng=np.random.default_rng(seed)
    )
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of all scores, which is the mean over tasks of each task's mean."""
    return float(np.mean(_finite(scores)))


def median_of_tasks(scores: Real[np.ndarray, "S N"]) -> float:
    """The median over tasks of each task's mean, as in the field's tables; with one task, that task's mean."""
    return float(np.median(np.mean(_finite(scores), axis=0)))


def interquartile_mean(scores: Real[np.ndarray, "S N"]) -> float:
    """The mean of the middle half of all S N scores (IQM; Agarwal et al., 2021).

    With the n scores in order, score i stands for the stretch [i, i + 1] and weighs as much of it as lies within
    [n/4, 3n/4]: exactly a quarter of the weight falls off at each end, whatever n is. Where 4 divides n this is
    ``scipy.stats.trim_mean(scores, 0.25, axis=None)``, which elsewhere rounds the quarter down to whole scores.
    """
    ordered = np.sort(_finite(scores), axis=None)
    begins = np.arange(ordered.size)
    weights = np.minimum(begins + 1, 0.75 * ordered.size) - np.maximum(begins, 0.25 * ordered.size)
    return float(np.average(ordered, weights=np.maximum(weights, 0)))


def probability_of_improvement(x: Real[np.ndarray, "Sx N"], y: Real[np.ndarray, "Sy _"]) -> float:
    """P(X > Y): how often a run of X scores above a run of Y on the same task, ties counted half, averaged over tasks.

    For each task the mean over all Sx Sy pairs of 1[x > y] + 1[x = y] / 2, which is Mann and Whitney's U / (Sx Sy)
    (Agarwal et al., 2021). Only the order counts: a run that never reached a threshold may score inf.
    """
    if _known(x).shape[1] != _known(y).shape[1]:
        raise UserError(f"Tables of {x.shape[1]} and {y.shape[1]} tasks: compare runs on the same tasks.")
    above = x[:, None] > y[None]
    level = x[:, None] == y[None]
    return float(np.mean(above + 0.5 * level))


def performance_profile(scores: Real[np.ndarray, "S N"], thresholds: Real[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """For each threshold tau, the fraction of runs that score above it, averaged over tasks (Agarwal et al., 2021)."""
    return np.mean(_known(scores)[None] > thresholds[:, None, None], axis=(1, 2))


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
        num_runs, num_tasks = _known(table).shape
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

    With a table of one run, which says nothing of further runs, the ends are NaN.

    ``stratified_interval(interquartile_mean, scores)``; ``stratified_interval(probability_of_improvement, x, y)``.
    """
    value = float(statistic(*tables))
    if min(len(table) for table in tables) < 2:
        return Interval(value, float("nan"), float("nan"))
    draws = bootstrap_draws(statistic, *tables, rng=rng, resamples=resamples, whole_runs=whole_runs)
    low, high = _percentiles(draws, confidence)
    return Interval(value, float(low), float(high))


class Profile(NamedTuple):
    """A performance profile and its pointwise band; ``low`` and ``high`` are NaN with one run."""

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
    if len(scores) < 2:
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


class Curve(NamedTuple):
    """One run's learning curve."""

    frames: Real[np.ndarray, " T"]
    """Environment steps so far, strictly increasing."""
    values: Real[np.ndarray, " T"]
    """What was measured there: a return or a success rate."""


def shared_span(curves: Sequence[Curve]) -> tuple[float, float]:
    """The first and last frame between which every curve was measured."""
    if not curves:
        raise UserError("No learning curve: give at least one run.")
    for curve in curves:
        _check_curve(curve)
    start = max(float(curve.frames[0]) for curve in curves)
    stop = min(float(curve.frames[-1]) for curve in curves)
    if start >= stop:
        raise UserError(
            f"No frames common to all {len(curves)} curves: one begins at {start:,.0f}, another ends at {stop:,.0f}; "
            "leave one of them out."
        )
    return start, stop


def align_curves(curves: Sequence[Curve]) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, "S T"]]:
    """All curves on one grid: every frame of any of them within their shared span, straight lines in between."""
    start, stop = shared_span(curves)
    frames = np.unique(np.concatenate([curve.frames for curve in curves])).astype(float)
    frames = frames[(frames >= start) & (frames <= stop)]
    return frames, np.stack([np.interp(frames, curve.frames, curve.values) for curve in curves])


def area_under_curve(curve: Curve, span: tuple[float, float] | None = None) -> float:
    """The mean height of a curve over a span of frames, by default its own: 1/(b - a) times its integral from a to b.

    By the trapezoid rule, so between 0 and 1 where the values are. Ends between two measurements are interpolated;
    a span beyond the measurements is a ``UserError``, as nothing is known there. For several runs: ``shared_span``.
    """
    _check_curve(curve)
    first, last = float(curve.frames[0]), float(curve.frames[-1])
    start, stop = span or (first, last)
    if not first <= start < stop <= last:
        raise UserError(
            f"Span {start:,.0f} to {stop:,.0f}: the curve was measured from {first:,.0f} to {last:,.0f} frames; "
            "choose a span within."
        )
    inside = curve.frames[(curve.frames > start) & (curve.frames < stop)]
    frames = np.concatenate([[start], inside, [stop]])
    return float(np.trapezoid(np.interp(frames, curve.frames, curve.values), frames) / (stop - start))


class Reach(NamedTuple):
    """Frames until each run reached a threshold; a run that did not is censored at its last frame."""

    frames: Real[np.ndarray, " S"]
    reached: Bool[np.ndarray, " S"]

    @property
    def scores(self) -> Float[np.ndarray, "S 1"]:
        """Frames as a score table, inf where not reached: for comparing runs of equal length by their order."""
        return np.where(self.reached, self.frames, np.inf)[:, None]


def reach_threshold(curves: Sequence[Curve], threshold: float) -> Reach:
    """For each run the first measured frame whose value is at or above ``threshold``."""
    for curve in curves:
        _check_curve(curve, least=1)
    above = [curve.values >= threshold for curve in curves]
    frames = [curve.frames[np.argmax(a) if a.any() else -1] for curve, a in zip(curves, above, strict=True)]
    return Reach(np.array(frames, dtype=float), np.array([a.any() for a in above], dtype=bool))


def kaplan_meier(reach: Reach) -> tuple[Float[np.ndarray, " U"], Float[np.ndarray, " U"]]:
    """The U frames at which runs reached the threshold, in order, and the fraction of runs still short of it then.

    survival(t) = product over t_i <= t of (1 - d_i / n_i): of the n_i runs that were neither there nor censored before
    t_i, d_i arrived at t_i (Kaplan & Meier, 1958). A run censored at t_i itself still counts among n_i.
    """
    _known(reach.frames[:, None])
    times, arrived = np.unique(reach.frames[reach.reached], return_counts=True)
    at_risk = np.sum(reach.frames[None] >= times[:, None], axis=1)
    return times.astype(float), np.cumprod(1 - arrived / at_risk)


def median_frames(reach: Reach) -> float:
    """Kaplan and Meier's median: the first frame by which half of the runs are there; inf if that lies beyond."""
    times, survival = kaplan_meier(reach)
    there = survival <= 0.5 + 1e-9  # a product of fractions that is one half may round to a little more
    return float(times[np.argmax(there)]) if there.any() else float("inf")


def median_frames_interval(
    reach: Reach, confidence: float = CONFIDENCE, rng: Rng = 0, resamples: int = RESAMPLES
) -> Interval:
    """``median_frames`` with its percentile bootstrap interval: runs are drawn anew, the censored ones as censored."""
    table = np.stack([reach.frames, reach.reached], axis=1).astype(float)
    return stratified_interval(
        lambda drawn: median_frames(Reach(drawn[:, 0], drawn[:, 1] > 0)),
        table,
        confidence=confidence,
        rng=rng,
        resamples=resamples,
        whole_runs=True,
    )


def format_frames(frames: float, reach: Reach) -> str:
    """``1,200,000``, or ``not reached by 5,000,000`` for a median that lies beyond the longest run."""
    return f"{frames:,.0f}" if np.isfinite(frames) else f"not reached by {np.max(reach.frames):,.0f}"


def _percentiles(draws: Float[np.ndarray, "R *K"], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The two draws between which ``confidence`` of them lie: none is interpolated, as some may be infinite."""
    tail = (1 - confidence) / 2
    low = np.quantile(draws, tail, axis=0, method="lower")
    high = np.quantile(draws, 1 - tail, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)


def _known(scores: Real[np.ndarray, "S N"]) -> Real[np.ndarray, "S N"]:
    """The scores themselves; ``UserError`` if there are none or one is NaN."""
    if scores.size == 0:
        raise UserError(f"No scores: {len(scores)} runs x {scores.shape[1]} tasks; give at least one of each.")
    if np.isnan(scores).any():
        run, task = np.argwhere(np.isnan(scores))[0]
        raise UserError(f"The score of run {run} on task {task} is NaN: leave out runs that failed.")
    return scores


def _finite(scores: Real[np.ndarray, "S N"]) -> Real[np.ndarray, "S N"]:
    """The scores themselves; ``UserError`` if one is infinite, too."""
    if not np.isfinite(_known(scores)).all():
        raise UserError("A score is infinite and has no mean: compare such scores by their order.")
    return scores


def _check_curve(curve: Curve, least: int = 2) -> None:
    if len(curve.frames) != len(curve.values) or len(curve.frames) < least:
        raise UserError(
            f"A learning curve of {len(curve.values)} values at {len(curve.frames)} frames: "
            f"give one value per frame, at {least} frames or more."
        )
    if np.isnan(curve.values).any():
        raise UserError(
            f"A learning curve is NaN at frame {curve.frames[np.isnan(curve.values)][0]:,.0f}: leave it out."
        )
    if np.any(np.diff(curve.frames) <= 0):
        where = curve.frames[1:][np.diff(curve.frames) <= 0][0]
        raise UserError(f"A learning curve's frames do not increase at {where:,.0f}: sort them, each once.")
