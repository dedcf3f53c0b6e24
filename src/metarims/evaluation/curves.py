"""Learning curves: area under the curve, and frames to a threshold, with runs that never reach it censored.

Survival: Kaplan & Meier (1958), "Nonparametric estimation from incomplete observations".
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
    """A return or a success rate."""


def points_of(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[int, dict[float, float]]:
    """Of each seed the measure by ``env_steps``, from rows of metrics; rows without a finite measure are left out."""
    points: dict[int, dict[float, float]] = {}
    for row in rows:
        value = row.get(measure)
        if value is not None and np.isfinite(value):
            points.setdefault(int(row["seed"]), {})[float(row["env_steps"])] = float(value)
    return points


def whole_curves(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[int, Curve]:
    """The curve of each seed, extended to the first and last steps of all rows by its first and last value.

    A curve starts later where no episode had ended, and ends earlier where a numerical fault stopped the seed.
    """
    steps = [row["env_steps"] for row in rows]
    first, last = min(steps, default=0), max(steps, default=0)
    curves = {}
    for seed, known in points_of(rows, measure).items():
        heights = list(known.values())
        whole = {first: heights[0]} | known | ({} if last in known else {last: heights[-1]})
        frames = np.array(sorted(whole), float)
        if len(frames) > 1:
            curves[seed] = Curve(frames, np.array([whole[frame] for frame in frames]))
    return curves


def area_under_curve(curve: Curve, span: tuple[float, float] | None = None) -> float:
    """The mean of a curve over a span of frames, by default its own: 1/(b - a) times the integral from a to b.

    By the trapezoid rule, with linear interpolation at the ends. A span beyond the measurements raises ``UserError``.
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
    """Frames to a threshold of each run; a run that did not reach it is censored at its last frame."""

    frames: Real[np.ndarray, " S"]
    reached: Bool[np.ndarray, " S"]

    @property
    def scores(self) -> Float[np.ndarray, "S 1"]:
        """Frames as a score table, inf where not reached, to compare runs of equal length by order."""
        return np.where(self.reached, self.frames, np.inf)[:, None]


def reach_threshold(curves: Sequence[Curve], threshold: float) -> Reach:
    """The first measured frame of each run with a value at or above ``threshold``."""
    for curve in curves:
        _check_curve(curve, least=1)
    above = [curve.values >= threshold for curve in curves]
    frames = [curve.frames[np.argmax(a) if a.any() else -1] for curve, a in zip(curves, above, strict=True)]
    return Reach(np.array(frames, dtype=float), np.array([a.any() for a in above], dtype=bool))


def kaplan_meier(reach: Reach) -> tuple[Float[np.ndarray, " U"], Float[np.ndarray, " U"]]:
    """The U frames at which runs reached the threshold, and the survival (fraction of runs still below it) there.

    survival(t) = product over t_i <= t of (1 - d_i / n_i), with n_i runs at risk before t_i, of which d_i reach the
    threshold at t_i (Kaplan & Meier, 1958). A run censored at t_i counts among n_i.
    """
    known_scores(reach.frames[:, None])
    times, arrived = np.unique(reach.frames[reach.reached], return_counts=True)
    at_risk = np.sum(reach.frames[None] >= times[:, None], axis=1)
    return times.astype(float), np.cumprod(1 - arrived / at_risk)


def median_frames(reach: Reach) -> float:
    """The Kaplan-Meier median: the first frame by which half of the runs reached the threshold; inf if never."""
    times, survival = kaplan_meier(reach)
    there = survival <= 0.5 + 1e-9  # Rounding may put a product that is one half above it.
    return float(times[np.argmax(there)]) if there.any() else float("inf")


def median_frames_interval(
    reach: Reach, confidence: float = CONFIDENCE, rng: Rng = 0, resamples: int = RESAMPLES
) -> Interval:
    """``median_frames`` with its percentile bootstrap interval over runs; censored runs stay censored."""
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
