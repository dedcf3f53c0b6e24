"""A batch of Farama's own environments on the host, for evaluating trained agents."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium
import minigrid  # registers the environments  # noqa: F401
import numpy as np
from minigrid.envs.fourrooms import FourRoomsEnv
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import RGBImgPartialObsWrapper

from metarims.errors import UserError
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.missions import MissionFormat, tokenize
from metarims.gridworld.registry import check_registered, describe_failure
from metarims.gridworld.state import EnvState
from metarims.gridworld.types import TILE, VIEW, Pixels, check_positive


class FaramaStep(NamedTuple):
    """What a step of the batch returns; ended environments report zeros until their next ``begin``."""

    pixels: Pixels
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class EpisodeStats(NamedTuple):
    """What one whole episode came to."""

    seed: int
    mission: str
    episode_return: float
    last_reward: float
    length: int
    terminated: bool
    truncated: bool

    @property
    def success(self) -> bool:
        """It terminated with a positive last reward, whatever was paid before."""
        return self.terminated and self.last_reward > 0


class FaramaBatch:
    """``num_envs`` environments ``gymnasium.make(env_id)`` behind ``RGBImgPartialObsWrapper``.

    Row b of ``mission_tokens`` is environment b's mission, and ``Pixels.mission`` is simply 0 ... B-1. What happens
    in an episode depends on its level seed and its actions alone, never on its neighbours.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        mission_format: MissionFormat = MissionFormat(),  # noqa: B008  (a constant)
    ):
        check_positive("num_envs", num_envs)
        self.env_id, self.num_envs = env_id, num_envs
        self._mission_format = mission_format
        children = [make_farama(env_id) for _ in range(num_envs)]
        if not isinstance(children[0].unwrapped, MiniGridEnv):
            raise UserError(f"{env_id} is not a subclass of MiniGridEnv: evaluating and viewing need its pictures.")
        self.envs = [RGBImgPartialObsWrapper(child) for child in children]
        self.image = np.zeros((num_envs, VIEW * TILE, VIEW * TILE, 3), np.uint8)
        self.missions = [""] * num_envs
        self.mission_tokens = np.zeros((num_envs, mission_format.max_words), np.int32)
        self.active = np.zeros(num_envs, bool)
        """Environments whose episode is running."""

    def reset(self, seeds: Sequence[int]) -> tuple[Pixels, np.ndarray]:
        """Begin a level in each environment; returns the views and the missions [B, L]."""
        if len(seeds) != self.num_envs:
            raise UserError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each.")
        for index, seed in enumerate(seeds):
            self.begin(index, seed)
        return self.pixels(), self.mission_tokens

    def begin(self, index: int, seed: int) -> None:
        """Begin level ``seed`` in environment ``index``."""
        vocabulary, max_words = self._mission_format
        with naming_failures(self.env_id):
            observation = quiet_reset(self.envs[index], int(seed))
            self.image[index] = observation["image"]
            self.missions[index] = str(observation["mission"])
            if vocabulary is not None:
                self.mission_tokens[index] = tokenize(self.missions[index], vocabulary, max_words)
        self.active[index] = True

    def pixels(self) -> Pixels:
        """What the agents see now."""
        return Pixels(self.image.copy(), np.arange(self.num_envs))  # pyright: ignore[reportArgumentType]

    def step(self, actions: Sequence[int] | np.ndarray) -> FaramaStep:
        """One step of every active environment."""
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for index in np.flatnonzero(self.active).tolist():
            with naming_failures(self.env_id):
                observation, earned, over, cut, _ = self.envs[index].step(int(actions[index]))
                self.image[index] = observation["image"]
                reward[index], terminated[index], truncated[index] = earned, over, cut
        self.active &= ~(terminated | truncated)
        return FaramaStep(self.pixels(), reward, terminated, truncated)

    def env_state(self, index: int) -> EnvState:
        """The whole state of environment ``index``, for a viewer."""
        with naming_failures(self.env_id):
            return state_from_farama(self.envs[index])


Policy = Callable[[Pixels, np.ndarray, np.ndarray], np.ndarray]
"""(views, mission tokens [B, L], which environments have just begun a level [B]) -> actions [B]."""


def play(batch: FaramaBatch, seeds: Sequence[int], policy: Policy) -> Iterator[EpisodeStats]:
    """Play each level seed exactly once; episodes come as they end."""
    waiting = list(reversed(seeds))
    seed_of = [0] * batch.num_envs
    returns, lengths = np.zeros(batch.num_envs), np.zeros(batch.num_envs, np.int64)
    batch.active[:] = False
    while True:
        began = np.zeros(batch.num_envs, bool)
        for index in np.flatnonzero(~batch.active).tolist():
            if waiting:
                seed_of[index] = int(waiting.pop())
                batch.begin(index, seed_of[index])
                began[index], returns[index], lengths[index] = True, 0, 0
        if not batch.active.any():
            return
        step = batch.step(np.asarray(policy(batch.pixels(), batch.mission_tokens, began)))
        returns += step.reward
        lengths += 1
        for index in np.flatnonzero(step.terminated | step.truncated):
            yield EpisodeStats(
                seed=seed_of[index],
                mission=batch.missions[index],
                episode_return=float(returns[index]),
                last_reward=float(step.reward[index]),
                length=int(lengths[index]),
                terminated=bool(step.terminated[index]),
                truncated=bool(step.truncated[index]),
            )


@contextlib.contextmanager
def naming_failures(env_id: str) -> Iterator[None]:
    """Turn what an environment raises, or what of its answers cannot be read, into a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The environment {env_id} failed: {describe_failure(error)}.") from error


def quiet_reset(env: gymnasium.Env, seed: int | None = None) -> Any:
    """The first observation after ``reset``, without BabyAI's notices of the levels that it rejects."""
    with contextlib.redirect_stdout(io.StringIO()):
        return env.reset(seed=seed)[0]


class FourRoomsS13(FourRoomsEnv):
    """The paper's 13 x 13 FourRooms: Farama's class with another size, which its constructor does not offer."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = self.width = self.height = 13


gymnasium.register("MiniGrid-FourRoomsS13-v0", entry_point=FourRoomsS13)


def make_farama(env_id: str) -> gymnasium.Env:
    """``gymnasium.make``; an unknown id, or an environment that cannot be made, is a ``UserError``."""
    if os.environ.get("BABYAI_DONE_ACTIONS"):
        raise UserError("BABYAI_DONE_ACTIONS is set: BabyAI then ends episodes by other rules. Unset it.")
    check_registered(env_id)
    try:
        return gymnasium.make(env_id, disable_env_checker=True)
    except Exception as error:
        raise UserError(f"{env_id} cannot be made: {describe_failure(error)}.", field="env", value=env_id) from error
