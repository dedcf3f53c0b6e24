"""Episodes as compact JSON: byte arrays in base64, the grid as its first state and its changes.

``assets/episodes.js`` reads this format, with the same field names.
"""

import base64
from typing import TypedDict

import numpy as np
from jaxtyping import Shaped

from metarims.errors import UserError
from metarims.evaluation.episodes import EpisodeRecord

ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done")
"""MiniGrid's actions in order."""


class PackedEpisode(TypedDict):
    """Texts hold base64; of T steps, M modules, A actions."""

    label: str
    env: str
    mission: str
    missions: list[list[int | str]]
    backend: str
    seed: int
    steps: int
    width: int
    height: int
    modules: int
    choices: int
    grid: str
    changes: list[list[int]]
    position: str
    direction: str
    view: str
    actions: str
    rewards: list[float | None]
    values: list[float | None]
    policy: str
    active: str
    input: str
    communication: str
    elements: int
    """Of the input where it is a set; 0 where it is a vector."""
    attention: str
    advantages: list[float | None]
    terminated: bool
    truncated: bool


def pack_episode(episode: EpisodeRecord, label: str = "") -> PackedEpisode:
    """Policies and attention to elements keep 16 bits, other attention weights 8 (enough for a shade and two digits),
    values, rewards and advantages 5 significant digits."""
    num_steps = len(episode.actions)
    if num_steps == 0:
        raise UserError(f"The episode of {episode.env} with level seed {episode.level_seed} has no step to show.")
    return {
        "label": label,
        "env": episode.env,
        "mission": episode.mission,
        "missions": [[int(t), mission] for t, mission in episode.mission_changes],
        "backend": episode.backend,
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
        "communication": _fractions(episode.communication, np.uint8),
        "elements": 0 if episode.element_attention is None else episode.element_attention.shape[2],
        "attention": "" if episode.element_attention is None else _fractions(episode.element_attention, np.uint16),
        "advantages": _numbers(np.full(num_steps, np.nan) if episode.advantages is None else episode.advantages),
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
    }


def _bytes(values: Shaped[np.ndarray, "..."]) -> str:
    """Small integers, one byte each, in C order."""
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode()


def _fractions(values: Shaped[np.ndarray, "..."], kind: type) -> str:
    """Numbers in [0, 1] as fractions of the type's maximum, little-endian; NaN becomes 0."""
    largest = np.iinfo(kind).max
    whole = np.rint(np.clip(np.nan_to_num(np.asarray(values, np.float64)), 0, 1) * largest)
    return base64.b64encode(whole.astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _numbers(values: Shaped[np.ndarray, " T"]) -> list[float | None]:
    """Five significant digits; ``null`` for what is not finite, which JSON cannot hold."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def _changes(grid: Shaped[np.ndarray, "T1 W H"]) -> list[list[int]]:
    """``[t, cell, code]`` for each cell whose tile changed at time t; cell = x * height + y."""
    flat = grid.reshape(len(grid), -1)
    times, cells = np.nonzero(flat[1:] != flat[:-1])
    return [[int(t) + 1, int(cell), int(flat[t + 1, cell])] for t, cell in zip(times, cells, strict=True)]
