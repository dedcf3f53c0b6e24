import numpy as np
import pytest

from metarims.errors import UserError
from metarims.evaluation.statistics import exact_interval, mean, probability_of_improvement, stratified_interval
from metarims.studies.verdicts import Claim, can_decide, judge


def claim(*baselines, **fields):
    return Claim("It is better.", "success rate", "metarims", baselines or ("modular",), **fields)


def level(goal, **fields):
    return Claim("It comes up to it.", "success rate", "metarims", test="level", goal=goal, **fields)


def runs(*scores):
    """Runs of one task."""
    return np.array(scores, dtype=float)[:, None]


def against(ours, theirs, asked=None, **options):
    return judge(asked or claim(), {"metarims": runs(*ours), "modular": runs(*theirs)}, resamples=400, **options)


def test_complete_separation_of_five_seeds_is_enough_and_of_four_is_not():
    verdict = against([1] * 5, [0] * 5)
    assert verdict.outcome == "supported"
    assert (
        verdict.statement
        == "P(metarims > modular) = 1.00 [1.00, 1.00] over all pairs of seeds (equal seeds: 5 of 5): supported"
    )
    verdict = against([1] * 4, [0] * 4)
    assert verdict.outcome == "undecided"
    assert verdict.statement == (
        "P(metarims > modular) = 1.00 [no interval] over all pairs of seeds (equal seeds: 4 of 4): undecided at 4 seeds"
    )
    assert against([0] * 5, [1] * 5).outcome == "not supported"


def test_the_sentence_counts_all_pairs_and_seed_against_seed():
    """8 seeds of 10 are above their own number; of all 100 pairs 73 are above and one is equal."""
    ours = [11, 12, 13, 14, 15, 16, 17, 18, 2, 1]
    theirs = [1.5, 2, 3, 4, 5, 6, 7, 8, 9, 19]
    verdict = against(ours, theirs)
    (found,) = verdict.comparisons
    pairs = [(x > y) + (x == y) / 2 for x in ours for y in theirs]
    assert found.interval.value == sum(pairs) / 100 == 0.735
    low, high = f"{found.interval.low:.2f}", f"{found.interval.high:.2f}"
    assert found.statement == (
        f"P(metarims > modular) = 0.73 [{low}, {high}] over all pairs of seeds (equal seeds: 8 of 10): "
        f"{_said(verdict, 10)}"
    )


def test_two_seeds_have_no_interval_and_their_counts_do_not_contradict():
    """No seed is above its own number; of all four pairs one is above and one is equal: 1.5 / 4."""
    assert against([0.3, 0.5], [0.3, 0.6]).statement == (
        "P(metarims > modular) = 0.38 [no interval] over all pairs of seeds (equal seeds: 0 of 2, 1 tie): "
        "undecided at 2 seeds"
    )


def test_of_several_tasks_a_seed_is_compared_by_its_mean():
    scores = {"metarims": np.array([[1.0, 0.0]] * 5), "modular": np.array([[0.0, 0.5]] * 5)}
    assert judge(claim(), scores, resamples=20).statement.startswith(
        "P(metarims > modular) = 0.50 [0.50, 0.50] over all pairs of seeds (equal seeds: 5 of 5, by the mean of "
        "2 tasks): "
    )


def _said(verdict, seeds):
    return verdict.outcome if verdict.outcome != "undecided" else f"undecided at {seeds} seeds"


def test_the_interval_is_the_stratified_one():
    rng = np.random.default_rng(4)
    scores = {"metarims": rng.normal(0.5, 1, (8, 3)), "modular": rng.normal(0, 1, (6, 3))}
    verdict = judge(claim(), scores, rng=9, resamples=300)
    tables = scores["metarims"], scores["modular"]
    expected = stratified_interval(probability_of_improvement, *tables, rng=9, resamples=300)
    assert verdict.comparisons[0].interval == expected
    assert "over all pairs of 8 and 6 seeds: " in verdict.statement


def test_equal_agents_are_undecided_however_many_seeds():
    verdict = against([0.5] * 30, [0.5] * 30)
    assert verdict.statement == (
        "P(metarims > modular) = 0.50 [0.50, 0.50] over all pairs of seeds (equal seeds: 0 of 30, 30 ties): "
        "undecided at 30 seeds"
    )


def test_unequal_numbers_of_seeds_are_both_named():
    verdict = against([0.5] * 5, [0.5] * 6)
    assert verdict.statement == (
        "P(metarims > modular) = 0.50 [0.50, 0.50] over all pairs of 5 and 6 seeds: undecided at 5 and 6 seeds"
    )


def test_one_seed_is_undecided():
    assert against([1], [0] * 60).outcome == "undecided"
    assert (
        "1.00 [no interval] over all pairs of 1 and 60 seeds: undecided at 1 and 60 seeds"
        in against([1], [0] * 60).statement
    )


def test_fewer_frames_are_better_where_lower_is_and_never_is_last():
    never = np.inf
    verdict = against([10, 20, 30, 40, 45], [50, 60, never, never, never], claim(direction="lower"))
    assert (
        verdict.statement
        == "P(metarims < modular) = 1.00 [1.00, 1.00] over all pairs of seeds (equal seeds: 5 of 5): supported"
    )
    assert (
        against([50, 60, never, never, never], [10, 20, 30, 40, 45], claim(direction="lower")).outcome
        == "not supported"
    )


def test_better_than_even_is_enough():
    assert against([2] * 16 + [0] * 4, [1] * 20).outcome == "supported"
    assert against([2] * 12 + [0] * 8, [1] * 20).outcome == "undecided"
    assert against([2] * 4 + [0] * 16, [1] * 20).outcome == "not supported"


@pytest.mark.parametrize(
    ("goal", "direction", "num_seeds", "outcome"),
    [
        (0.5, "higher", 6, "supported"),
        (0.5, "higher", 5, "undecided"),
        (0.51, "higher", 6, "not supported"),
        (0.5, "lower", 6, "supported"),
        (0.51, "lower", 6, "supported"),
        (0.49, "lower", 6, "not supported"),
    ],
)
def test_a_level_is_come_up_or_down_to(goal, direction, num_seeds, outcome):
    verdict = judge(level(goal, direction=direction), {"metarims": runs(*[0.5] * num_seeds)}, resamples=50)
    relation = {"higher": ">=", "lower": "<="}[direction]
    said = _said(verdict, num_seeds)
    assert verdict.outcome == outcome
    assert (
        verdict.statement
        == f"mean of metarims = 0.50 [0.50, 0.50] over {num_seeds} seeds, goal {relation} {goal:.2f}: {said}"
    )


def test_a_level_that_is_just_in_the_interval_is_undecided():
    """A third of all resamples of one failure and five successes have no failure, so the interval ends at 1."""
    verdict = judge(level(1.0), {"metarims": runs(0, 1, 1, 1, 1, 1)}, resamples=200)
    assert verdict.comparisons[0].interval.high == 1
    assert verdict.outcome == "undecided"


@pytest.mark.parametrize(
    ("shares", "seeds", "tasks", "outcome"),
    [(10, 10, 1, "undecided"), (36, 36, 1, "supported"), (6, 10, 1, "not supported"), (7, 10, 1, "undecided")],
)
def test_a_share_has_an_exact_interval(shares, seeds, tasks, outcome):
    """Nine of ten: 0.9^10 = 0.35 and 0.9^36 = 0.02; with nine of ten six or fewer of ten come with p = 0.013, seven
    with p = 0.07. A bootstrap of ten of ten would be certain."""
    asked = level(0.9, yes_or_no=True)
    scores = {"metarims": runs(*[1] * shares, *[0] * (seeds - shares))}
    verdict = judge(asked, scores)
    assert verdict.outcome == outcome
    assert verdict.comparisons[0].interval == exact_interval(shares, seeds)
    with pytest.raises(UserError, match="all scores must be 1 or 0"):
        judge(asked, {"metarims": runs(0.5, 1)})


def test_agents_of_several_tasks_count_each_in_a_share():
    verdict = judge(level(0.5, yes_or_no=True), {"metarims": np.ones((3, 2))})
    assert verdict.comparisons[0].interval == exact_interval(6, 6)
    assert "over 3 seeds on 2 tasks" in verdict.statement


def test_nothing_is_printed_without_a_minus():
    verdict = judge(level(0.0, direction="lower"), {"metarims": runs(*[0] * 6)}, resamples=20)
    assert verdict.statement == "mean of metarims = 0.00 [0.00, 0.00] over 6 seeds, goal <= 0.00: supported"
    nearly = judge(level(0.1, direction="lower"), {"metarims": runs(*[-0.002] * 6)}, resamples=20)
    assert "= 0.00 [0.00, 0.00]" in nearly.statement


def test_a_level_within_the_interval_is_undecided():
    scores = {"metarims": np.random.default_rng(0).normal(1, 0.3, (10, 2))}
    for direction in ("higher", "lower"):
        asked = level(1.0, direction=direction)
        verdict = judge(asked, scores, rng=1, resamples=300)
        expected = stratified_interval(mean, scores["metarims"], rng=1, resamples=300)
        assert verdict.outcome == "undecided"
        assert verdict.comparisons[0].interval.value == pytest.approx(expected.value)
        low, high = verdict.comparisons[0].interval[1:]
        assert low < 1 < high
        assert (low, high) == pytest.approx(expected[1:], abs=0.02)


@pytest.mark.parametrize(
    ("modular", "vanilla", "outcome"),
    [
        (0, 0, "supported"),
        (0, 1, "undecided"),
        (0, 2, "not supported"),
        (2, 1, "not supported"),
        (1, 0, "undecided"),
    ],
)
def test_every_baseline_must_be_beaten(modular, vanilla, outcome):
    scores = {"metarims": runs(*[1] * 5), "modular": runs(*[modular] * 5), "vanilla": runs(*[vanilla] * 5)}
    verdict = judge(claim("modular", "vanilla"), scores, resamples=20)
    assert verdict.outcome == outcome
    assert [found.baseline for found in verdict.comparisons] == ["modular", "vanilla"]
    assert verdict.statement == "; ".join(found.statement for found in verdict.comparisons) + f"; all: {outcome}"


def test_one_agent_under_two_conditions_is_compared_seed_by_seed():
    """Every seed takes a tenth longer with one module than with all, and seeds differ fivefold."""
    every = np.linspace(100, 500, 10)
    unpaired = against(every, 1.1 * every, claim(direction="lower"))
    assert unpaired.outcome == "undecided"
    paired = against(every, 1.1 * every, claim(direction="lower", paired=True))
    assert paired.statement == "P(metarims < modular) = 1.00 [0.69, 1.00] over 10 pairs of equal seeds: supported"


@pytest.mark.parametrize(
    ("ahead", "outcome"), [(10, "supported"), (9, "supported"), (8, "undecided"), (0, "not supported")]
)
def test_pairs_decide_as_a_sign_test_does(ahead, outcome):
    """Of ten pairs: 10 and 9 have p = 0.002 and 0.02, 8 has 0.11."""
    assert against([1] * ahead + [0] * (10 - ahead), [0.5] * 10, claim(paired=True)).outcome == outcome
    assert against([1] * 5, [0] * 5, claim(paired=True)).outcome == "undecided", "five pairs show nothing"


@pytest.mark.parametrize(("ahead", "pairs", "outcome"), [(6, 6, "supported"), (6, 7, "undecided"), (7, 8, "undecided")])
def test_few_pairs_decide_as_a_sign_test_does(ahead, pairs, outcome):
    """6 of 6 have p = 0.03, 6 of 7 0.125, 7 of 8 0.07; of seven a bootstrap would leave out 1/2 too soon."""
    verdict = against([1] * ahead + [0] * (pairs - ahead), [0.5] * pairs, claim(paired=True))
    assert verdict.outcome == outcome
    assert verdict.comparisons[0].interval == exact_interval(ahead, pairs)


@pytest.mark.parametrize(
    ("ahead", "equal", "behind", "outcome"),
    [
        (3, 3, 0, "undecided"),
        (4, 6, 0, "undecided"),
        (5, 1, 0, "undecided"),
        (6, 3, 1, "undecided"),
        (7, 2, 1, "undecided"),
        (6, 4, 0, "supported"),
        (8, 1, 1, "supported"),
        (1, 1, 8, "not supported"),
    ],
)
def test_equal_pairs_say_nothing(ahead, equal, behind, outcome):
    """The sign test of the others: 3 of 3 have p = 0.25, 4 of 4 0.125, 5 of 5 0.06, 6 of 7 0.125, 7 of 8 0.07, 6 of 6
    0.03, 8 of 9 0.04."""
    ours = [1] * ahead + [0.5] * equal + [0] * behind
    verdict = against(ours, [0.5] * len(ours), claim(paired=True))
    assert verdict.outcome == outcome
    assert verdict.comparisons[0].interval == exact_interval(ahead, ahead + behind)
    said = f", {equal} equal pair{'s' * (equal > 1)} left out: "
    assert f" over {len(ours)} pairs of equal seeds{said}" in verdict.statement


def test_where_all_pairs_are_equal_nothing_is_known():
    """Also where neither ever comes to what is asked: never is equal to never."""
    for score in (0.5, np.inf):
        assert against([score] * 10, [score] * 10, claim(paired=True)).statement == (
            "P(metarims > modular) = 0.50 [0.00, 1.00] over 10 pairs of equal seeds, 10 equal pairs left out: "
            "undecided at 10 seeds"
        )


def test_pairs_of_several_tasks_are_counted_on_each():
    """Agents of one seed on several tasks were trained apart: twelve pairs of six seeds, of which ten are untied."""
    ours = np.array([[1.0, 1.0]] * 5 + [[0.5, 0.5]])
    verdict = judge(claim(paired=True), {"metarims": ours, "modular": np.full((6, 2), 0.5)})
    assert verdict.comparisons[0].interval == exact_interval(10, 10)
    assert " over 12 pairs of equal seeds on 2 tasks, 2 equal pairs left out: supported" in verdict.statement


def test_equal_agents_are_seldom_told_apart():
    """At 5 %, of 60 pairs of agents without a difference about 3 are decided."""
    rng = np.random.default_rng(0)
    decided = [
        judge(claim(), {"metarims": rng.normal(size=(8, 1)), "modular": rng.normal(size=(8, 1))}, rng, 100).outcome
        for _ in range(60)
    ]
    assert sum(outcome != "undecided" for outcome in decided) <= 9


def test_so_many_seeds_can_decide():
    """Five of each agent are resampled; 2 / 2^6 = 0.03, 2 / 2^5 = 0.06."""
    assert [can_decide(5, 5), can_decide(4, 4), can_decide(4, 10)] == [True, False, False]
    assert [can_decide(6), can_decide(5)] == [True, False]


def test_verdicts_are_reproducible():
    scores = {name: np.random.default_rng(3).normal(at, 1, (8, 2)) for name, at in (("metarims", 1), ("modular", 0))}
    assert judge(claim(), scores, rng=1, resamples=99) == judge(claim(), scores, rng=1, resamples=99)
    assert judge(claim(), scores, rng=1, resamples=99) != judge(claim(), scores, rng=2, resamples=99)


@pytest.mark.parametrize(
    ("ask", "statement"),
    [
        (lambda: claim(goal=0.9), "at least one baseline and no goal"),
        (lambda: Claim("A statement.", "success rate", "metarims"), "'A statement.' .* at least one baseline"),
        (lambda: level(None), "give a goal and no baselines"),
        (lambda: claim(test="level", goal=0.5), "give a goal and no baselines"),
        (lambda: against([1, np.nan], [1, 2]), "run 1 on task 0 is NaN"),
        (lambda: against([], [1, 2]), "0 runs x 1 tasks"),
        (lambda: judge(level(1.0), {"metarims": runs(1, np.inf)}), "infinite"),
        (lambda: level(1.0, yes_or_no=True, direction="lower"), "is about a share"),
        (lambda: against([np.nan] * 6, [1] * 6, claim(paired=True)), "run 0 on task 0 is NaN"),
        (lambda: against([1, 2], [1], claim(paired=True)), "metarims has 2 and modular has 1"),
        (lambda: judge(claim("moduler"), {"metarims": runs(1), "modular": runs(1)}), "Did you mean modular"),
    ],
)
def test_wrong_claims_and_scores_are_named(ask, statement):
    with pytest.raises(UserError, match=statement):
        ask()
