"""Learning curves: their area, and the frames until they reach a threshold, where runs that never do are censored.

Survival is estimated as by Kaplan & Meier (1958), "Nonparametric estimation from incomplete observations".
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real

from metarims.errors import UserError
from metarims.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval, Rng, known_scores, stratified_interval


class Curve(NamedTuple):
    """One run's learning curve."""

    frames: Real[np.ndarray, " T"]
    """Environment steps so far, strictly increasing."""
    values: Real[np.ndarray, " T"]
    """What was measured there: a return or a success rate."""


def whole_curves(metrics: Sequence[Mapping[str, Any]], measure: str) -> dict[int, Curve]:
    """Of each seed its curve over the whole of a run, from rows with ``seed``, ``env_steps`` and the measure.

    Chunks in which no episode ended are left out. A curve that begins later or ends earlier than others (a numerical
    fault stopped the seed: its last sound agent stays as it is) goes on level there.
    """
    steps = [row["env_steps"] for row in metrics]
    first, last = min(steps, default=0), max(steps, default=0)
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


def area_under_curve(curve: Curve, span: tuple[float, float] | None = None) -> float:
    """The mean height of a curve over a span of frames, by default its own: 1/(b - a) times its integral from a to b.

    By the trapezoid rule, so between 0 and 1 where the values are. Ends between two measurements are interpolated;
    a span beyond the measurements is a ``UserError``, as nothing is known there.
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
    known_scores(reach.frames[:, None])
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
