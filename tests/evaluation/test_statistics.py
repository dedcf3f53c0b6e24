import math

import numpy as np
import pytest
import scipy.stats

from metarims.evaluation.statistics import bootstrap_interval, seed_interval, wilson_interval


def test_wilson_by_hand():
    """8 of 10 with z = 1.959964: centre (0.8 + z²/20) / (1 + z²/10), half z sqrt(0.016 + z²/400) / (1 + z²/10)."""
    z = 1.959964
    centre = (0.8 + z * z / 20) / (1 + z * z / 10)
    half = z * math.sqrt(0.8 * 0.2 / 10 + z * z / 400) / (1 + z * z / 10)
    value, low, high = wilson_interval(8, 10)
    assert value == 0.8
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 200), (200, 200), (1, 3), (199, 200)])
def test_wilson_stays_within_bounds_and_around_the_estimate(successes, trials):
    value, low, high = wilson_interval(successes, trials)
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_wilson_covers_the_truth_about_95_times_in_100():
    trials, truth = 200, 0.9
    weights = scipy.stats.binom(trials, truth).pmf(np.arange(trials + 1))
    intervals = [wilson_interval(successes, trials) for successes in range(trials + 1)]
    covered = sum(w for w, (_, low, high) in zip(weights, intervals, strict=True) if low <= truth <= high)
    assert 0.93 < covered < 0.97


def test_seed_interval_by_hand():
    """Mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    value, low, high = seed_interval(np.array([1.0, 2.0, 3.0]))
    assert (value, low, high) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)


def test_one_seed_has_no_interval():
    for interval in (seed_interval, bootstrap_interval):
        value, low, high = interval(np.array([0.7]))
        assert value == 0.7
        assert math.isnan(low)
        assert math.isnan(high)


def test_bootstrap_is_reproducible_and_about_as_wide_as_the_normal_interval():
    values = np.random.default_rng(1).normal(5, 1, 40)
    value, low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (value, low, high)
    half = 1.96 * scipy.stats.sem(values)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    assert low < value < high


def test_equal_seeds_bootstrap_to_a_point():
    assert bootstrap_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5, 0.5)
