"""Learning curves: area under the curve, and frames to a threshold."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Real

from metarims.errors import UserError


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


def area_under_curve(curve: Curve) -> float:
    """The mean of a curve over its frames, from the first, a, to the last, b: 1/(b - a) times its integral, by the
    trapezoid rule."""
    _check_curve(curve)
    return float(np.trapezoid(curve.values, curve.frames) / (curve.frames[-1] - curve.frames[0]))


def frames_to(curve: Curve, threshold: float) -> float:
    """The first measured frame with a value at or above ``threshold``; inf if there is none."""
    _check_curve(curve, least=1)
    above = curve.values >= threshold
    return float(curve.frames[np.argmax(above)]) if above.any() else np.inf


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
