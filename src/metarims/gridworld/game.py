"""One environment for a person to play, native or stepped on the host."""

from typing import Any, NamedTuple

import numpy as np

from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.gym import GymEnv
from metarims.gridworld.registry import resolve
from metarims.gridworld.state import EnvState
from metarims.gridworld.symbols import codes_from_symbols
from metarims.gridworld.task_rules import time_limit


class Moment(NamedTuple):
    """What is the case after a reset or a step."""

    state: EnvState
    """Arrays on the host; ``mission`` is not filled in on the host."""
    view: np.ndarray
    """[7, 7] the tile codes that the agent sees."""
    mission: str
    max_steps: int
    reward: float
    terminated: bool
    truncated: bool


class Game:
    """The environment ``id``; ``native`` False steps Farama's own, and so does an id that is not native."""

    def __init__(self, id: str, native: bool = True):
        self.native = native and resolve(id) != "host"
        self.env: Any = GymEnv(id) if self.native else make_farama(id)
        self.num_actions = int(self.env.action_space.n)

    def reset(self, seed: int | None = None) -> Moment:
        """A new level."""
        return self._moment(quiet_reset(self.env, seed), 0.0, False, False)

    def step(self, action: int) -> Moment:
        """One step."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        return self._moment(observation, float(reward), bool(terminated), bool(truncated))

    def _moment(self, observation: Any, *outcome: Any) -> Moment:
        view = codes_from_symbols(observation["image"])
        if not self.native:
            env = self.env.unwrapped
            return Moment(state_from_farama(env), view, str(observation["mission"]), int(env.max_steps), *outcome)
        state, level = self.env.state, self.env.level
        limit = time_limit(level.rules_of(state), state)
        return Moment(state, view, level.text(state), int(limit), *outcome)
