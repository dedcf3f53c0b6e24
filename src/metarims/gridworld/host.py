"""Any Gymnasium environment with a MiniGrid observation (image, direction, mission), stepped on the host.

Behind the same data as our own worlds, so that an agent can act, and learn, where no native level exists.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from metarims.errors import UserError
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.missions import VOCABULARY, tokenize
from metarims.gridworld.tiles import AGENT, EMPTY, KEY, SYMBOLS
from metarims.types import VIEW, Observation, TimeStep

BABYAI_VOCABULARY = (*VOCABULARY, "after")
"""Enough words for every level of Farama's BabyAI."""

_NO_CODE = 255
_CODES = np.full((12, 7, 4), _NO_CODE, np.uint8)
_CODES[tuple(SYMBOLS[:AGENT].T)] = np.arange(AGENT)


def codes_from_symbols(image: np.ndarray) -> np.ndarray:
    """Tile codes [*B, 7, 7] of Farama's symbolic images; a tile that minigrid's own tasks never show is refused."""
    if image.shape[-3:] != (VIEW, VIEW, 3):
        raise UserError(f"The image has shape {image.shape[-3:]}: only MiniGrid's view of 7 x 7 x 3 can be read.")
    kinds = np.asarray(image, int)
    clipped = [np.minimum(kinds[..., axis], limit - 1) for axis, limit in enumerate(_CODES.shape)]
    codes = _CODES[clipped[0], clipped[1], clipped[2]]
    if (codes == _NO_CODE).any():
        kind, color, state = kinds[codes == _NO_CODE][0]
        raise UserError(
            f"The environment shows a tile (type {kind}, colour {color}, state {state}) that no tile code means."
        )
    own = codes[..., VIEW // 2, VIEW - 1]
    codes[..., VIEW // 2, VIEW - 1] = np.where(own == EMPTY, AGENT, own + AGENT - KEY + 1)
    return codes.astype(np.uint8)


class HostVector:
    """``num_envs`` environments on the host with automatic resets; ``make_env`` is an id or a function that makes one.

    The table of missions grows as new ones are heard: ``mission_tokens`` has a power of two of rows, so that programs
    compiled for it are few.
    """

    def __init__(
        self,
        make_env: str | Callable[[], gymnasium.Env],
        num_envs: int,
        vocabulary: Sequence[str] = BABYAI_VOCABULARY,
        max_words: int = 64,
    ):
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: it must be at least 1.")
        name = make_env
        make_one = (lambda: make_farama(name)) if isinstance(name, str) else name
        self.envs = [make_one() for _ in range(num_envs)]
        self.num_envs = num_envs
        self.num_actions = int(self.envs[0].action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
        self._vocabulary, self._max_words = tuple(vocabulary), max_words
        self._rows: dict[str, int] = {}
        self.mission_tokens = np.zeros((1, max_words), np.int32)
        self._current: list[Any] = [None] * num_envs

    @property
    def missions(self) -> tuple[str, ...]:
        """The missions heard so far, in the order of their rows."""
        return tuple(self._rows)

    def reset(self, seed: int) -> Observation:
        """New levels in all environments; everything after is determined by ``seed`` and the actions."""
        for index, child in enumerate(np.random.SeedSequence(seed).generate_state(self.num_envs)):
            self._current[index] = quiet_reset(self.envs[index], int(child) % 2**31)
        return self._observe(self._current)

    def step(self, actions: Sequence[int] | np.ndarray) -> TimeStep:
        """One step of each; an ended environment begins its next level at once."""
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        final: list[Any] = [None] * self.num_envs
        for index, env in enumerate(self.envs):
            final[index], earned, over, cut, _ = env.step(int(actions[index]))
            reward[index], terminated[index], truncated[index] = float(earned), over, cut
            self._current[index] = quiet_reset(env) if over or cut else final[index]
        arrays: Any = (self._observe(self._current), reward, terminated, truncated, self._observe(final))
        return TimeStep(*arrays)

    def _observe(self, seen: list[Any]) -> Observation:
        arrays: Any = (
            codes_from_symbols(np.stack([one["image"] for one in seen])),
            np.array([one["direction"] for one in seen], np.int8),
            np.array([self._row(one["mission"]) for one in seen], np.int32),
        )
        return Observation(*arrays)

    def _row(self, mission: str) -> int:
        if mission not in self._rows:
            tokens = tokenize(mission, self._vocabulary, self._max_words)
            self._rows[mission] = row = len(self._rows)
            if row == len(self.mission_tokens):
                self.mission_tokens = np.concatenate([self.mission_tokens, np.zeros_like(self.mission_tokens)])
            self.mission_tokens[row] = tokens
        return self._rows[mission]
