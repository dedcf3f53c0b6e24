"""The table of missions of environments on the host: it fills as missions are heard, and forgets old ones."""

from collections.abc import Sequence

import numpy as np

from metarims.errors import UserError
from metarims.gridworld.missions import VOCABULARY, tokenize

BABYAI_VOCABULARY = (*VOCABULARY, "after", "room", "from", "unlock")
"""Enough words for every mission of Farama's BabyAI and MiniGrid. New ones go at the end: agents keep their tokens."""


class MissionTable:
    """Missions as rows of tokens, each at the row where it was first heard.

    Without a ``capacity`` the table doubles when it is full. With one, a full table gives away the row whose mission
    was heard longest ago, but none that was heard within the last ``keep`` ticks of the clock: experience that is still
    to be learned from refers to those.

    Without a ``vocabulary`` missions are not read: all are row 0, which has no words.
    """

    def __init__(self, vocabulary: Sequence[str] | None, max_words: int, capacity: int | None = None, keep: int = 0):
        self.vocabulary, self.max_words = None if vocabulary is None else tuple(vocabulary), max_words
        self.capacity, self.keep = capacity, keep
        self.tokens = np.zeros((capacity or 1, max_words), np.int32)
        self._heard = np.zeros(len(self.tokens), np.int64)
        """When each row's mission was last heard."""
        self._rows: dict[str, int] = {}
        self._changed = False

    @property
    def missions(self) -> tuple[str, ...]:
        """The missions held, in the order in which they came."""
        return tuple(self._rows)

    def row(self, mission: str, now: int = 0) -> int:
        """The row of a mission that is heard at time ``now``; a new one is written down."""
        if self.vocabulary is None:
            return 0
        if mission not in self._rows:
            tokens = self._tokenize(mission, self.vocabulary)
            row = self._free(now)
            self.tokens[row] = tokens
            self._rows[mission], self._changed = row, True
        self._heard[self._rows[mission]] = now
        return self._rows[mission]

    def take_change(self) -> bool:
        """Whether a row was written since this was asked last."""
        changed, self._changed = self._changed, False
        return changed

    def _free(self, now: int) -> int:
        if len(self._rows) < len(self.tokens):
            return len(self._rows)
        if self.capacity is None:
            self.tokens = np.concatenate([self.tokens, np.zeros_like(self.tokens)])
            self._heard = np.concatenate([self._heard, np.zeros_like(self._heard)])
            return len(self._rows)
        oldest = min(self._rows, key=lambda mission: self._heard[self._rows[mission]])
        if self._heard[self._rows[oldest]] >= now - self.keep:
            raise UserError(
                f"max_missions is {self.capacity}, but within {self.keep} steps the environments gave more different "
                f"missions than that: set --max-missions {2 * self.capacity} or more."
            )
        return self._rows.pop(oldest)

    def _tokenize(self, mission: str, vocabulary: Sequence[str]) -> np.ndarray:
        words = mission.lower().replace(",", " ").split()
        strange = list(dict.fromkeys(word for word in words if word not in vocabulary))
        if strange:
            raise UserError(
                f"The mission '{mission}' has words that are not in the vocabulary: name them with "
                f"--words {' '.join(strange)} (and every other word of your own missions)."
            )
        if len(words) > self.max_words:
            raise UserError(
                f"The mission '{mission}' has {len(words)} words, but max_words is {self.max_words}: "
                f"set --max-words {len(words)} or more."
            )
        return tokenize(mission, vocabulary, self.max_words)
