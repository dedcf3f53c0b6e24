"""Intervals: of a success rate over episodes, and of a mean over seeds."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

CONFIDENCE = 0.95


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
