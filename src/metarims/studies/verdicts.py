"""A claim as data, and its verdict: supported, not supported or undecided."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Real

from metarims.errors import UserError, unknown_name
from metarims.evaluation.statistics import (
    MIN_BOOTSTRAP,
    RESAMPLES,
    Interval,
    Rng,
    exact_interval,
    known_scores,
    mean_interval,
    paired_wins,
    probability_of_improvement,
    stratified_interval,
)

LEVEL_OF_SIGNIFICANCE = 0.05

Outcome = Literal["supported", "not supported", "undecided"]
Scores = Mapping[str, Real[np.ndarray, "_ _"]]


@dataclass(frozen=True)
class Claim:
    """A claim about a measurement, decided by its 95 % interval [low, high].

    ===============  =======================  =============  =============
    test             of what                  supported      not supported
    ===============  =======================  =============  =============
    ``improvement``  P(agent better)          low > 1/2      high < 1/2
    ``level``        mean of the agent alone  low >= goal    high < goal
    ===============  =======================  =============  =============

    Otherwise it is undecided at this number of seeds, and also if these seeds are too few to decide (``can_decide``).
    Intervals are bootstrapped over seeds, but exact for scores of yes or no, where a bootstrap fails (ten of ten would
    be certain). With several baselines every comparison must be supported; one that is not supported settles it.

    Pairs are decided by a sign test: ties are left out of the probability, its interval and the number of pairs. In all
    other comparisons a tie counts half.
    """

    statement: str
    """The claim in the paper's words or ours."""
    measurement: str
    """What the scores are: ``success rate on DoorKey-16x16``."""
    agent: str
    baselines: tuple[str, ...] = ()
    """Agents to compare with, each on its own; none for ``level``."""
    test: Literal["improvement", "level"] = "improvement"
    direction: Literal["higher", "lower"] = "higher"
    """Which scores are better: ``lower`` for frames to a threshold."""
    goal: float | None = None
    """Of a ``level``: the score to come up to, or down to."""
    yes_or_no: bool = False
    """A ``level`` of the share of agents of which something is so: all scores are 1 or 0."""
    paired: bool = False
    """``agent`` and baselines are the same trained agents under two conditions: each seed is compared with itself, on
    every task."""

    def __post_init__(self) -> None:
        if self.test == "level" and (self.baselines or self.goal is None):
            raise UserError(f"Claim '{self.statement}' compares with a level: give a goal and no baselines.")
        if self.yes_or_no and (self.test, self.direction) != ("level", "higher"):
            raise UserError(f"Claim '{self.statement}' is about a share: give the least mean as a goal.")
        if self.test == "improvement" and (not self.baselines or self.goal is not None):
            raise UserError(f"Claim '{self.statement}' compares agents: name at least one baseline and no goal.")


class Comparison(NamedTuple):
    """The comparison with one baseline, or with a level."""

    baseline: str | None
    interval: Interval
    """Of the probability, or of the agent's own figure."""
    outcome: Outcome
    statement: str
    """What a report prints."""


class Verdict(NamedTuple):
    """The verdict on a claim."""

    claim: Claim
    outcome: Outcome
    comparisons: tuple[Comparison, ...]

    @property
    def statement(self) -> str:
        """``P(metarims > modular) = 0.83 [.61, .97] over all pairs of seeds (equal seeds: 8 of 10): supported``;
        of several comparisons: ``...; ...; all: supported``."""
        statements = [comparison.statement for comparison in self.comparisons]
        return "; ".join([*statements, f"all: {self.outcome}"] if len(statements) > 1 else statements)


def judge(claim: Claim, scores: Scores, rng: Rng = 0, resamples: int = RESAMPLES) -> Verdict:
    """The verdict on a claim from each agent's score table [seeds, tasks]; rows of equal number are of equal seed.

    An agent without scores, an empty table, a NaN score, a paired claim about unequal numbers of seeds, and a share
    whose scores are not all 1 or 0 are a ``UserError``.
    """
    for name in (claim.agent, *claim.baselines):
        if name not in scores:
            raise unknown_name("agent", name, scores)
        if claim.paired and len(scores[name]) != len(scores[claim.agent]):
            raise UserError(
                f"Claim '{claim.statement}' compares equal seeds, but {claim.agent} has {len(scores[claim.agent])} and "
                f"{name} has {len(scores[name])}."
            )
    generator = np.random.default_rng(rng)
    sign = 1 if claim.direction == "higher" else -1
    better = {name: sign * np.asarray(scores[name], float) for name in (claim.agent, *claim.baselines)}
    if claim.test == "level":
        comparisons = (_judge_level(claim, better, generator, resamples),)
    else:
        comparisons = tuple(
            _judge_improvement(claim, baseline, better, generator, resamples) for baseline in claim.baselines
        )
    return Verdict(claim, _together([comparison.outcome for comparison in comparisons]), comparisons)


def can_decide(num_seeds: int, num_baseline_seeds: int | None = None) -> bool:
    """Whether this number of seeds could reach significance at 5 % (two-sided) with the clearest possible scores.

    Against a level, and of n pairs, a sign test can reach p = 2 / 2^n: with 6. Two agents are compared by a bootstrap,
    of ``MIN_BOOTSTRAP`` seeds each at least. It is accurate from about 8 seeds: of 1500 pairs of equal agents
    ``improvement`` separated 6 to 11 % at 4 to 6 seeds, 4 to 6 % at 8 to 20.
    """
    if num_baseline_seeds is None:
        return 2 / 2**num_seeds <= LEVEL_OF_SIGNIFICANCE
    return min(num_seeds, num_baseline_seeds) >= MIN_BOOTSTRAP


def _judge_improvement(
    claim: Claim, baseline: str, better: Scores, rng: np.random.Generator, resamples: int
) -> Comparison:
    """P(agent better than baseline) against one half."""
    x, y = better[claim.agent], better[baseline]
    if claim.paired:
        wins = paired_wins(x, y)
        untied = wins[wins != 0.5]
        interval = _share(untied) if untied.size else Interval(0.5, 0.0, 1.0)
        enough, compared = can_decide(untied.size), _equal_seeds(wins)
    else:
        interval = stratified_interval(probability_of_improvement, x, y, rng=rng, resamples=resamples)
        enough, compared = can_decide(len(x), len(y)), _all_pairs(x, y)
    outcome = _outcome(supported=interval.low > 0.5, refuted=interval.high < 0.5, enough=enough)
    relation = ">" if claim.direction == "higher" else "<"
    found = f"P({claim.agent} {relation} {baseline}) = {format_interval(interval)} over {compared}"
    return Comparison(baseline, interval, outcome, f"{found}: {_spoken(outcome, len(x), len(y))}")


def _judge_level(claim: Claim, better: Scores, rng: np.random.Generator, resamples: int) -> Comparison:
    """The agent's own mean against the goal."""
    table = better[claim.agent]
    if claim.yes_or_no:
        if not _is_yes_or_no(table):
            raise UserError(f"Claim '{claim.statement}' is about a share: all scores must be 1 or 0.")
        interval = _share(table)
    else:
        interval = mean_interval(table, rng=rng, resamples=resamples)
    higher = claim.direction == "higher"
    goal = claim.goal or 0.0
    level = goal if higher else -goal
    outcome = _outcome(supported=interval.low >= level, refuted=interval.high < level, enough=can_decide(len(table)))
    display = interval if higher else Interval(-interval.value, -interval.high, -interval.low)
    relation = ">=" if higher else "<="
    runs = f"{len(table)} seed{'s' * (len(table) != 1)}"
    runs += _on_tasks(table) if claim.yes_or_no else ""
    found = f"mean of {claim.agent} = {format_interval(display)} over {runs}, goal {relation} {format_number(goal)}"
    return Comparison(None, display, outcome, f"{found}: {_spoken(outcome, len(table))}")


def _is_yes_or_no(table: np.ndarray) -> bool:
    return bool(np.isin(known_scores(table), (0, 1)).all())


def _share(table: np.ndarray) -> Interval:
    """The share of ones; agents of one seed on several tasks are independent and count as several."""
    return exact_interval(int(table.sum()), table.size)


def _outcome(*, supported: bool, refuted: bool, enough: bool) -> Outcome:
    """The rule; comparisons with the NaN ends of too few runs are false, so it stays undecided."""
    if not enough or not (supported or refuted):
        return "undecided"
    return "supported" if supported else "not supported"


def _together(outcomes: list[Outcome]) -> Outcome:
    """Supported if each is; not supported if any is not; else undecided."""
    if "not supported" in outcomes:
        return "not supported"
    return "undecided" if "undecided" in outcomes else "supported"


def _equal_seeds(wins: np.ndarray) -> str:
    """The numbers of pairs and of ties."""
    equal = int(np.sum(wins == 0.5))
    left_out = f", {equal} equal pair{'s' * (equal != 1)} left out" if equal else ""
    return f"{wins.size} pairs of equal seeds{_on_tasks(wins)}{left_out}"


def _on_tasks(table: np.ndarray) -> str:
    return f" on {table.shape[1]} tasks" if table.shape[1] > 1 else ""


def _all_pairs(x: np.ndarray, y: np.ndarray) -> str:
    """What the probability counts, and in how many seeds the agent's mean over tasks is better."""
    if len(x) != len(y):
        return f"all pairs of {len(x)} and {len(y)} seeds"
    ours, theirs = x.mean(axis=1), y.mean(axis=1)
    equal = int(np.sum(ours == theirs))
    tasks = f", by the mean of {x.shape[1]} tasks" if x.shape[1] > 1 else ""
    ties = f", {equal} tie{'s' * (equal != 1)}" if equal else ""
    wins = f"equal seeds: {np.sum(ours > theirs)} of {len(x)}{ties}{tasks}"
    return f"all pairs of seeds ({wins})"


def _spoken(outcome: Outcome, *num_seeds: int) -> str:
    if outcome != "undecided":
        return outcome
    return f"undecided at {' and '.join(map(str, dict.fromkeys(num_seeds)))} seeds"


def format_interval(interval: Interval) -> str:
    """As ``0.83 [0.61, 0.97]``."""
    if np.isnan(interval.low):
        return f"{format_number(interval.value)} [no interval]"
    return f"{format_number(interval.value)} [{format_number(interval.low)}, {format_number(interval.high)}]"


def format_number(value: float) -> str:
    """Two decimals for rates and returns, none for frames; zero has no sign."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z,.2f}"
