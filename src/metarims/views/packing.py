"""Episodes as compact JSON for a page: byte arrays in base64, the world as its first state and its changes.

``assets/episodes.js`` reads what is written here; the field names are the same on both sides.
"""

import base64
from typing import Any

import numpy as np
from jaxtyping import Shaped

from metarims.errors import UserError
from metarims.evaluation.episodes import Episode

ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done")
"""MiniGrid's actions in words, in their order."""


def pack_episode(episode: Episode, label: str = "") -> dict[str, Any]:
    """One episode as plain JSON values.

    Policies keep 16 bits, attentions 8 (a shade and two digits need no more), values and rewards 5 significant digits.
    """
    num_steps = len(episode.actions)
    if num_steps == 0:
        raise UserError(f"The episode of {episode.env} with level seed {episode.level_seed} has no step to show.")
    return {
        "label": label,
        "env": episode.env,
        "mission": episode.mission,
        "where": episode.where,
        "seed": int(episode.level_seed),
        "steps": num_steps,
        "width": episode.grid.shape[1],
        "height": episode.grid.shape[2],
        "modules": episode.active.shape[1],
        "choices": episode.policy.shape[1],
        "grid": _bytes(episode.grid[0]),
        "changes": _changes(episode.grid),
        "position": _bytes(episode.position),
        "direction": _bytes(episode.direction),
        "view": _bytes(episode.view),
        "actions": _bytes(episode.actions),
        "rewards": _numbers(episode.rewards),
        "values": _numbers(episode.values),
        "policy": _fractions(episode.policy, np.uint16),
        "active": _bytes(episode.active),
        "input": _fractions(episode.input_attention, np.uint8),
        "talk": _fractions(episode.communication, np.uint8),
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
    }


def _bytes(values: Shaped[np.ndarray, "..."]) -> str:
    """Small whole numbers, one byte each, in C order."""
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode()


def _fractions(values: Shaped[np.ndarray, "..."], kind: type) -> str:
    """Numbers between 0 and 1 as fractions of the type's largest, little-endian; what is no number becomes 0."""
    largest = np.iinfo(kind).max
    whole = np.rint(np.clip(np.nan_to_num(np.asarray(values, np.float64)), 0, 1) * largest)
    return base64.b64encode(whole.astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _numbers(values: Shaped[np.ndarray, " T"]) -> list[float | None]:
    """Five significant digits; ``null`` for what is no number, which JSON cannot say."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def _changes(grid: Shaped[np.ndarray, "T1 W H"]) -> list[list[int]]:
    """``[t, cell, code]`` for each cell whose tile at time t differs from the one before; cell = x * height + y."""
    flat = grid.reshape(len(grid), -1)
    times, cells = np.nonzero(flat[1:] != flat[:-1])
    return [[int(t) + 1, int(cell), int(flat[t + 1, cell])] for t, cell in zip(times, cells, strict=True)]
