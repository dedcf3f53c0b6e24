"""The table of missions of environments on the host: it fills as missions come, and forgets old ones."""

from collections.abc import Sequence

import numpy as np

from metarims.errors import invalid
from metarims.gridworld.missions import tokenize


class MissionTable:
    """Missions as rows of tokens, each at the row where it was first used.

    A full table gives away the row whose mission was used longest ago, but none that was used within the last ``keep``
    steps: experience that is still to be learned from refers to those.

    Without a ``vocabulary`` missions are not read: all are row 0, which has no words.
    """

    def __init__(self, vocabulary: Sequence[str] | None, max_words: int, capacity: int, keep: int = 0):
        self.vocabulary, self.max_words = None if vocabulary is None else tuple(vocabulary), max_words
        self.capacity, self.keep = capacity, keep
        self.tokens = np.zeros((capacity, max_words), np.int32)
        self._last_used = np.zeros(capacity, np.int64)
        """Step at which each row was last used."""
        self._rows: dict[str, int] = {}
        self._changed = False

    @property
    def missions(self) -> tuple[str, ...]:
        """The missions held, in the order in which they came."""
        return tuple(self._rows)

    def row(self, mission: str, now: int = 0) -> int:
        """The row of a mission that is used at step ``now``; a new one is written down."""
        if self.vocabulary is None:
            return 0
        if mission not in self._rows:
            tokens = tokenize(mission, self.vocabulary, self.max_words)
            row = self._free_row(now)
            self.tokens[row] = tokens
            self._rows[mission], self._changed = row, True
        self._last_used[self._rows[mission]] = now
        return self._rows[mission]

    def take_change(self) -> bool:
        """Whether a row was written since this was asked last."""
        changed, self._changed = self._changed, False
        return changed

    def _free_row(self, now: int) -> int:
        if len(self._rows) < self.capacity:
            return len(self._rows)
        oldest = min(self._rows, key=lambda mission: self._last_used[self._rows[mission]])
        if self._last_used[self._rows[oldest]] >= now - self.keep:
            problem = f"within {self.keep} steps the environments gave more different missions than that"
            raise invalid("max_missions", self.capacity, f"{problem}; set --max-missions {2 * self.capacity} or more")
        return self._rows.pop(oldest)
