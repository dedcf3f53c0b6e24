import itertools
import math

import numpy as np
import pytest
import scipy.stats

from metarims.errors import UserError
from metarims.evaluation.curves import Curve, area_under_curve, frames_to
from metarims.evaluation.statistics import (
    bootstrap_draws,
    describe_intervals,
    exact_interval,
    interquartile_mean,
    mean,
    mean_band,
    mean_interval,
    paired_wins,
    performance_profile,
    probability_of_improvement,
    profile_band,
    seed_interval,
    stratified_interval,
    wilson_interval,
)

PUBLISHED_X = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
PUBLISHED_Y = np.array([[1, 1], [2, 2], [3, 3]])
"""The two score tables of rliable's own tests (Agarwal et al., 2021)."""


def column(*scores):
    """Runs of one task."""
    return np.array(scores, dtype=float)[:, None]


def curve(frames, values):
    return Curve(np.array(frames), np.array(values, dtype=float))


def test_wilson_by_hand():
    """8 of 10 with z = 1.959964: centre (0.8 + z²/20) / (1 + z²/10), half z sqrt(0.016 + z²/400) / (1 + z²/10)."""
    z = 1.959964
    centre = (0.8 + z * z / 20) / (1 + z * z / 10)
    half = z * math.sqrt(0.8 * 0.2 / 10 + z * z / 400) / (1 + z * z / 10)
    value, low, high = wilson_interval(8, 10)
    assert value == 0.8
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_the_exact_interval_by_hand():
    """Of ten of ten the low end p has p^10 = 0.025; of nine of ten 10 p^9 (1 - p) + p^10 is 0.025."""
    value, low, high = exact_interval(10, 10)
    assert (value, high) == (1, 1)
    assert low**10 == pytest.approx(0.025)
    value, low, high = exact_interval(9, 10)
    assert 10 * low**9 * (1 - low) + low**10 == pytest.approx(0.025)
    assert 1 - high**10 == pytest.approx(0.025)
    assert exact_interval(0, 10) == pytest.approx((0, 0, 1 - exact_interval(10, 10).low))


def test_wins_of_pairs_by_hand():
    x, y = np.array([[1, 2], [3, np.inf]]), np.array([[0, 2], [4, np.inf]])
    np.testing.assert_array_equal(paired_wins(x, y), [[1, 0.5], [0, 0.5]])
    with pytest.raises(UserError, match="Tables of 2 and 1 tasks"):
        paired_wins(x, y[:, :1])


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


def test_the_mean_of_three_or_four_runs_has_students_t_and_of_five_a_bootstrap():
    """Runs are compared by their means over tasks: 1, 2, 3 on both sides."""
    three = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]])
    assert mean_interval(three) == pytest.approx(seed_interval(np.array([1.0, 2.0, 3.0])))
    low, high = mean_band(three)
    assert [(a, b) for a, b in zip(low, high, strict=True)] == [seed_interval(column)[1:] for column in three.T]
    assert np.isnan(mean_interval(three[:2])[1:]).all()
    assert np.isnan(mean_band(three[:2])).all()
    five = np.random.default_rng(0).normal(size=(5, 2))
    assert mean_interval(five) == stratified_interval(mean, five)


def test_a_legend_says_which_interval_it_is():
    assert describe_intervals([5, 10]) == "95 % interval (bootstrap)"
    assert describe_intervals([2, 3, 4]) == "95 % interval (Student's t)"
    assert describe_intervals([3, 5]) == "95 % interval (bootstrap, below 5 seeds Student's t)"
    assert describe_intervals([1, 2]) == ""


def test_one_seed_has_no_interval():
    value, low, high = seed_interval(np.array([0.7]))
    assert value == 0.7
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((7,), 7),
        ((1, 3), 2),
        ((0, 1, 8), (0.25 * 0 + 1 + 0.25 * 8) / 1.5),
        ((10, 0, 6, 1, 2), (0.75 * 1 + 2 + 0.75 * 6) / 2.5),
        ((0, 1, 2, 3, 4, 100), (0.5 * 1 + 2 + 3 + 0.5 * 4) / 3),
        ((5, 8, 4, 38, 8, 6, 9, 7, 7, 3, 1, 6), 6.5),
        ((1, 3, 5, 7, 9, 11, 13, 15, 17), 9),
    ],
)
def test_interquartile_mean_by_hand_and_as_published(scores, expected):
    """The last two are the standing examples of the IQM with and without a whole number of scores in a quarter."""
    assert interquartile_mean(column(*scores)) == pytest.approx(expected, abs=1e-12)
    assert interquartile_mean(column(*scores).T) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(4, 1), (10, 2), (6, 6), (5, 8), (1, 12)])
def test_interquartile_mean_is_scipys_trimmed_mean_where_four_divides_the_scores(shape):
    scores = np.random.default_rng(0).lognormal(size=shape)
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(scores.ravel(), 0.25), rel=1e-12)


def test_aggregates_of_the_published_tables():
    for aggregate in (mean, interquartile_mean):
        assert aggregate(PUBLISHED_X) == 1.5
        assert aggregate(PUBLISHED_Y) == 2
    assert probability_of_improvement(PUBLISHED_X, PUBLISHED_Y) == pytest.approx(1 / 3)


def test_probability_of_improvement_by_hand():
    """3 beats 1 and 2, 2 beats 1 and ties with 2: (1 + 1 + 1 + 1/2) / 4 on the first task, 0 on the second."""
    x = np.array([[3.0, 0.0], [2.0, 0.0]])
    y = np.array([[1.0, 5.0], [2.0, 5.0]])
    assert probability_of_improvement(x, y) == 3.5 / 8
    assert probability_of_improvement(y, x) == 4.5 / 8


def test_probability_of_improvement_is_mann_and_whitneys_statistic():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (7, 3)), rng.integers(1, 7, (5, 3))
    u = [scipy.stats.mannwhitneyu(x[:, n], y[:, n]).statistic for n in range(3)]
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(u) / 35)


def test_runs_that_never_arrive_are_all_alike_and_last():
    assert probability_of_improvement(column(np.inf, np.inf), column(np.inf, 4)) == 0.75


def test_bootstrap_draws_runs_within_each_task():
    """Of runs 0 and 1, all draws are 0 in 1 of 4 resamples: in both of two tasks in 1 of 16."""
    draws = bootstrap_draws(np.mean, np.array([[0.0, 0.0], [1.0, 1.0]]), resamples=4000)
    assert np.mean(draws == 0) == pytest.approx(1 / 16, abs=0.02)
    assert np.mean(draws) == pytest.approx(0.5, abs=0.02)


def test_bootstrap_keeps_scores_with_their_task_and_table():
    tens, more = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), np.array([[100.0, 1000.0], [200.0, 2000.0]])
    draws = bootstrap_draws(lambda x, y: np.array([*x[0], *y[0]]), tens, more, resamples=100)
    assert [set(drawn) for drawn in draws.T] == [{1, 2, 3}, {10, 20, 30}, {100, 200}, {1000, 2000}]


def test_bootstrap_draws_as_many_runs_as_there_are():
    assert set(bootstrap_draws(lambda table: table.size, np.zeros((5, 3)), resamples=3)) == {15}


def test_interval_is_between_percentiles_of_the_draws():
    """The statistic counts its calls: 0 for the estimate, 1 to 100 for the draws, of which 95 lie in [3, 98]."""
    calls = itertools.count()
    value, low, high = stratified_interval(lambda _: next(calls), np.zeros((5, 1)), resamples=100)
    assert (value, low, high) == (0, 3, 98)


def test_intervals_are_reproducible_from_a_seed_or_a_generator():
    scores = np.random.default_rng(3).normal(size=(10, 2))
    first = stratified_interval(interquartile_mean, scores, rng=7, resamples=100)
    assert stratified_interval(interquartile_mean, scores, rng=np.random.default_rng(7), resamples=100) == first
    assert stratified_interval(interquartile_mean, scores, rng=8, resamples=100) != first
    assert first.low < first.value < first.high


@pytest.mark.parametrize("few", [1, 4])
def test_fewer_than_five_runs_have_no_bootstrap_interval(few):
    some, enough = np.array([[0.3, 0.5]] * few), np.random.default_rng(0).uniform(size=(5, 2))
    for tables in ((some, enough), (enough, some)):
        assert np.isnan(stratified_interval(probability_of_improvement, *tables)[1:]).all()
    assert stratified_interval(mean, some).value == pytest.approx(0.4)
    assert not np.isnan(stratified_interval(mean, enough)).any()
    profile = profile_band(some, np.array([0.4]))
    assert profile.fraction == 0.5
    assert np.isnan([profile.low, profile.high]).all()


def test_bootstrap_covers_the_truth_about_95_times_in_100():
    """A mean of 20 runs: a little less, as P(|t| < 1.96 sqrt(19/20)) = 0.93 with 19 degrees of freedom."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        _, low, high = stratified_interval(np.mean, rng.normal(2, 1, (20, 1)), rng=rng, resamples=300)
        covered += low <= 2 <= high
    assert 0.89 < covered / 300 < 0.97


def test_performance_profile_by_hand():
    scores = np.array([[0, 1], [0.5, 1], [1, 1], [0.2, 0]])
    assert performance_profile(scores, np.array([-1, 0, 0.5, 1])).tolist() == [1, 0.75, 0.5, 0]


def test_profile_band_is_the_interval_at_each_threshold():
    scores, taus = np.random.default_rng(2).uniform(size=(6, 3)), np.array([0.25, 0.5, 2.0])
    profile = profile_band(scores, taus)
    for tau, *found in zip(taus, *profile, strict=True):
        assert tuple(found) == pytest.approx(stratified_interval(lambda s, tau=tau: np.mean(s > tau), scores))
    assert profile.low[0] < profile.fraction[0] < profile.high[0]


def test_area_under_a_curve_by_hand():
    """Trapezoids 10 (0 + 1)/2 and 20 (1 + 0.5)/2 over 30 frames."""
    assert area_under_curve(curve([0, 10, 30], [0, 1, 0.5])) == pytest.approx(20 / 30)


def test_the_threshold_is_reached_at_the_first_value_at_or_above_it():
    curves = [curve([10, 20, 30], [0.1, 0.6, 0.5]), curve([10, 20, 40], [0.1, 0.59, 0.2]), curve([10], [0.9])]
    assert [frames_to(one, 0.6) for one in curves] == [20, np.inf, 10]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: interquartile_mean(np.zeros((0, 2))), "0 runs x 2 tasks"),
        (lambda: mean(np.array([[0.1, 0.2], [0.3, np.nan]])), "run 1 on task 1 is NaN"),
        (lambda: interquartile_mean(column(1, np.inf)), "infinite"),
        (lambda: probability_of_improvement(column(1), column(np.nan)), "NaN"),
        (lambda: probability_of_improvement(column(1), np.zeros((2, 3))), "1 and 3 tasks"),
        (lambda: performance_profile(column(np.nan), np.array([0.5])), "NaN"),
        (lambda: bootstrap_draws(np.mean, column(1, np.nan), resamples=1), "run 1 on task 0"),
        (lambda: area_under_curve(curve([2], [0])), "1 values at 1 frames"),
        (lambda: area_under_curve(curve([2, 3, 4], [0, 1])), "2 values at 3 frames"),
        (lambda: area_under_curve(curve([2, 9], [0, np.nan])), "NaN at frame 9"),
        (lambda: frames_to(curve([2, 5, 5], [0, 1, 1]), 0.5), "do not increase at 5"),
    ],
)
def test_wrong_scores_and_curves_are_named(ask, sentence):
    with pytest.raises(UserError, match=sentence):
        ask()
