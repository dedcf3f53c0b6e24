"""Any Gymnasium environment with a MiniGrid observation (image, direction, mission), stepped on the host.

Behind the same data as our own worlds, so that an agent can act, and learn, where no native level exists.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TimeLimit

from metarims.errors import UserError, format_value
from metarims.gridworld.farama import make_farama, naming_failures, quiet_reset
from metarims.gridworld.mission_table import BABYAI_VOCABULARY, MissionTable
from metarims.gridworld.missions import LONGEST_MISSION, MAX_WORDS
from metarims.gridworld.tiles import AGENT, EMPTY, KEY, SYMBOLS
from metarims.gridworld.types import VIEW, Observation, TimeStep

__all__ = ["BABYAI_VOCABULARY", "Facts", "HostVector", "codes_from_symbols", "read_facts", "time_limit"]

FIRST_EVALUATION_SEED = 1_000_000_000
"""Level seeds from here on are for evaluations (``evaluation.evaluate.FIRST_FARAMA_SEED``)."""

PARTS = ("image", "direction", "mission")
"""Of an observation."""

PROBES = 16
"""Levels looked at to see how long missions are."""

_NO_CODE = 255
_CODES = np.full((12, 7, 4), _NO_CODE, np.uint8)
_CODES[tuple(SYMBOLS[:AGENT].T)] = np.arange(AGENT)


def codes_from_symbols(image: np.ndarray) -> np.ndarray:
    """Tile codes ``[*B, 7, 7]`` of Farama's symbolic images; a tile that minigrid's own tasks never show is refused."""
    if image.shape[-3:] != (VIEW, VIEW, 3):
        raise UserError(f"The image has shape {image.shape[-3:]}: only MiniGrid's view of 7 x 7 x 3 can be read.")
    kinds = np.asarray(image, int)
    limits = np.array(_CODES.shape)
    clipped = np.moveaxis(np.where((kinds < 0) | (kinds >= limits), limits - 1, kinds), -1, 0)
    codes = _CODES[clipped[0], clipped[1], clipped[2]]
    if (codes == _NO_CODE).any():
        kind, color, state = kinds[codes == _NO_CODE][0]
        raise UserError(
            f"The environment shows a tile (type {kind}, colour {color}, state {state}) that no tile code means."
        )
    own = codes[..., VIEW // 2, VIEW - 1]
    codes[..., VIEW // 2, VIEW - 1] = np.where(own == EMPTY, AGENT, own + AGENT - KEY + 1)
    return codes.astype(np.uint8)


class Facts(NamedTuple):
    """What must be known of an environment before it is played."""

    num_actions: int
    time_limit: int
    """No episode is truncated earlier; 1 where nothing is known."""
    max_words: int
    """Enough for its longest mission, as far as one can tell from a few."""


def read_facts(env: gymnasium.Env) -> Facts:
    """The facts of ``env``, which is reset some times for it."""
    with naming_failures(_name(env)):
        space = env.action_space
        if not isinstance(space, Discrete) or space.start != 0:
            raise UserError(f"{_name(env)} has the action space {space}: only Discrete ones from 0 on can be played.")
        first = quiet_reset(env, 0)
        missing = [name for name in PARTS if not isinstance(first, dict) or name not in first]
        if missing:
            raise UserError(f"The observations of {_name(env)} have no '{missing[0]}': only MiniGrid's can be read.")
        longest = max(len(quiet_reset(env, seed)["mission"].split()) for seed in range(PROBES))
        return Facts(int(space.n), time_limit(env), max(MAX_WORDS, _most_words(env), 3 * longest // 2))


def _direction(value: Any) -> int:
    if np.ndim(value) or int(value) not in range(4):
        raise UserError(
            f"The environment says that the agent faces {format_value(value)}: MiniGrid's directions are 0 to 3."
        )
    return int(value)


def time_limit(env: gymnasium.Env) -> int:
    """A number of steps before which no episode is truncated; ask after a reset."""
    base: Any = env.unwrapped
    limits = [int(base.max_steps)] if getattr(base, "max_steps", 0) else []
    if getattr(base, "fixed_max_steps", True) is False:  # BabyAI allows so many steps for each object to be reached.
        limits = [base.room_size**2 * base.num_rows * base.num_cols]
    while isinstance(env, gymnasium.Wrapper):
        limits += [env._max_episode_steps] if isinstance(env, TimeLimit) else []
        env = env.env
    return max(1, min(limits, default=1))


def _most_words(env: gymnasium.Env) -> int:
    """Words of the longest mission where BabyAI's grammar makes long ones, else 0."""
    kinds = getattr(env.unwrapped, "instr_kinds", ())
    return LONGEST_MISSION if "seq" in kinds else LONGEST_MISSION // 2 if "and" in kinds else 0


def _name(env: gymnasium.Env) -> str:
    return env.spec.id if env.spec else type(env.unwrapped).__name__


class HostVector:
    """``num_envs`` environments on the host with automatic resets; ``make_env`` is an id or a function that makes one.

    Row b of an observation's ``mission`` is a row of ``mission_tokens``, the tokens of ``table``.
    """

    def __init__(
        self,
        make_env: str | Callable[[], gymnasium.Env],
        num_envs: int,
        vocabulary: Sequence[str] = BABYAI_VOCABULARY,
        max_words: int = LONGEST_MISSION,
        table: MissionTable | None = None,
    ):
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: it must be at least 1.")
        name = make_env
        make_one = (lambda: make_farama(name)) if isinstance(name, str) else name
        self.envs = [make_one() for _ in range(num_envs)]
        self.num_envs = num_envs
        self.num_actions = int(self.envs[0].action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
        self.table = table or MissionTable(vocabulary, max_words)
        self._clock = 0
        self._current: list[Any] = [None] * num_envs

    @property
    def missions(self) -> tuple[str, ...]:
        """The missions heard so far."""
        return self.table.missions

    @property
    def mission_tokens(self) -> np.ndarray:
        """[rows, words] their tokens, 0 = padding."""
        return self.table.tokens

    def reset(self, seed: int) -> Observation:
        """New levels in all environments; everything after is determined by ``seed`` and the actions.

        Level seeds lie below those of evaluations.
        """
        for index, child in enumerate(np.random.SeedSequence(seed).generate_state(self.num_envs)):
            self._current[index] = quiet_reset(self.envs[index], int(child) % FIRST_EVALUATION_SEED)
        return self._observe(self._current)

    def step(self, actions: Sequence[int] | np.ndarray) -> TimeStep:
        """One step of each; an ended environment begins its next level at once."""
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        final: list[Any] = [None] * self.num_envs
        self._clock += 1
        for index, env in enumerate(self.envs):
            final[index], earned, over, cut, _ = env.step(int(actions[index]))
            reward[index], terminated[index], truncated[index] = float(earned), over, cut
            self._current[index] = quiet_reset(env) if over or cut else final[index]
        seen_last = self._observe(final)
        arrays: Any = (self._observe(self._current), reward, terminated, truncated, seen_last)
        return TimeStep(*arrays)

    def _observe(self, seen: list[Any]) -> Observation:
        arrays: Any = (
            codes_from_symbols(np.stack([one["image"] for one in seen])),
            np.array([_direction(one["direction"]) for one in seen], np.int8),
            np.array([self.table.row(one["mission"], self._clock) for one in seen], np.int32),
        )
        return Observation(*arrays)
