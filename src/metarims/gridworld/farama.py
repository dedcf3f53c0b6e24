"""A batch of Gymnasium's environments on the host, Farama's or a user's, for evaluating trained agents."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium
import minigrid  # registers the environments  # noqa: F401
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from minigrid.envs.fourrooms import FourRoomsEnv
from minigrid.minigrid_env import MiniGridEnv

from metarims.errors import UserError, invalid
from metarims.gridworld.missions import MissionFormat, tokenize
from metarims.gridworld.observation import render_host
from metarims.gridworld.registry import check_registered, describe_failure, is_native, make
from metarims.gridworld.restricted import Restricted
from metarims.gridworld.symbols import codes_from_symbols, grid_codes
from metarims.gridworld.types import TILE, VIEW, Pixels, check_positive

PICTURE = (VIEW * TILE, VIEW * TILE, 3)
"""Shape of a rendered view."""


class FaramaStep(NamedTuple):
    """What a step of the batch returns; ended environments report zeros until their next ``begin``."""

    pixels: Pixels
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class Scene(NamedTuple):
    """An environment at one moment."""

    grid: np.ndarray
    """[W, H] tile codes; ``grid_codes`` says what is shown of things that have none."""
    position: np.ndarray
    direction: int
    view: np.ndarray
    """[7, 7] tile codes of the observation."""


class EpisodeStats(NamedTuple):
    """What one whole episode came to."""

    seed: int
    mission: str
    """At its beginning."""
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
    """``num_envs`` environments ``gymnasium.make(env_id)``, played from what they themselves let the agent observe.

    The view is a picture: of Farama's own environments the one that minigrid draws; elsewhere it is drawn from the
    observation's ``image``, to which wrappers and subclasses may do what they like, or is that ``image`` itself.
    Row b of ``mission_tokens`` is environment b's mission now, and ``Pixels.mission`` is simply 0 ... B-1. What happens
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
        self.envs = [make_farama(env_id) for _ in range(num_envs)]
        self._draws = is_faramas_own(self.envs[0])
        self.image = np.zeros((num_envs, *PICTURE), np.uint8)
        self.missions = [""] * num_envs
        self.mission_tokens = np.zeros((num_envs, mission_format.max_words), np.int32)
        self.active = np.zeros(num_envs, bool)
        """Environments whose episode is running."""
        self._images: list[np.ndarray] = [np.zeros(0)] * num_envs
        """The observations' own."""

    def reset(self, seeds: Sequence[int]) -> tuple[Pixels, np.ndarray]:
        """Begin a level in each environment; returns the views and the missions [B, L]."""
        if len(seeds) != self.num_envs:
            raise UserError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each.")
        for index, seed in enumerate(seeds):
            self.begin(index, seed)
        return self.pixels(), self.mission_tokens

    def begin(self, index: int, seed: int) -> None:
        """Begin level ``seed`` in environment ``index``."""
        with naming_failures(self.env_id):
            self._observe(index, quiet_reset(self.envs[index], int(seed)))
        self.active[index] = True

    def pixels(self) -> Pixels:
        """What the agents see now."""
        return Pixels(self.image.copy(), np.arange(self.num_envs))  # pyright: ignore[reportArgumentType]

    def step(self, actions: Sequence[int] | np.ndarray) -> FaramaStep:
        """One step of every active environment. An episode that both terminates and is truncated terminates."""
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for index in np.flatnonzero(self.active).tolist():
            with naming_failures(self.env_id):
                observation, earned, over, cut, _ = self.envs[index].step(int(actions[index]))
                self._observe(index, observation)
                reward[index], terminated[index], truncated[index] = earned, over, cut and not over
        self.active &= ~(terminated | truncated)
        return FaramaStep(self.pixels(), reward, terminated, truncated)

    def scene(self, index: int) -> Scene:
        """Environment ``index`` as a viewer shows it."""
        base: Any = self.envs[index].unwrapped
        if not isinstance(base, MiniGridEnv):
            raise UserError(f"{self.env_id} is not a subclass of MiniGridEnv: viewing needs its grid.")
        if self._images[index].shape == PICTURE:
            raise UserError(f"The image of {self.env_id} is a picture: viewing needs MiniGrid's symbols.")
        with naming_failures(self.env_id):
            view = codes_from_symbols(self._images[index], nearest=True)
            return Scene(grid_codes(base.grid.encode()), np.array(base.agent_pos, int), int(base.agent_dir), view)

    def _observe(self, index: int, observation: Any) -> None:
        vocabulary, max_words = self._mission_format
        self._images[index] = np.array(observation["image"])
        self.image[index] = self._draw(index)
        self.missions[index] = str(observation["mission"])
        if vocabulary is not None:
            self.mission_tokens[index] = tokenize(self.missions[index], vocabulary, max_words)

    def _draw(self, index: int) -> np.ndarray:
        base, image = self.envs[index].unwrapped, self._images[index]
        if image.shape == PICTURE:
            return image
        try:
            return get_picture(base) if self._draws else render_host(codes_from_symbols(image))
        except UserError:  # No agent was trained on such an image; one that reads pictures may still play it,
            if not isinstance(base, MiniGridEnv) or not np.array_equal(image, base.gen_obs()["image"]):
                raise
            picture = get_picture(base)  # if that is what the environment shows.
            if picture.shape != PICTURE:
                raise
            return picture


Policy = Callable[[Pixels, np.ndarray, np.ndarray], np.ndarray]
"""(views, mission tokens [B, L], which environments have just begun a level [B]) -> actions [B]."""


def play(batch: FaramaBatch, seeds: Sequence[int], policy: Policy) -> Iterator[EpisodeStats]:
    """Play each level seed exactly once; episodes come as they end."""
    waiting = list(reversed(seeds))
    seed_of, missions = [0] * batch.num_envs, [""] * batch.num_envs
    returns, lengths = np.zeros(batch.num_envs), np.zeros(batch.num_envs, np.int64)
    batch.active[:] = False
    while True:
        began = np.zeros(batch.num_envs, bool)
        for index in np.flatnonzero(~batch.active).tolist():
            if waiting:
                seed_of[index] = int(waiting.pop())
                batch.begin(index, seed_of[index])
                began[index], returns[index], lengths[index] = True, 0, 0
                missions[index] = batch.missions[index]
        if not batch.active.any():
            return
        step = batch.step(np.asarray(policy(batch.pixels(), batch.mission_tokens, began)))
        returns += step.reward
        lengths += 1
        for index in np.flatnonzero(step.terminated | step.truncated):
            yield EpisodeStats(
                seed=seed_of[index],
                mission=missions[index],
                episode_return=float(returns[index]),
                last_reward=float(step.reward[index]),
                length=int(lengths[index]),
                terminated=bool(step.terminated[index]),
                truncated=bool(step.truncated[index]),
            )


def is_faramas_own(env: gymnasium.Env) -> bool:
    """Whether nothing but Farama's code says what an agent observes in ``env``: its class is minigrid's (or ours), and
    its only wrappers those that ``gymnasium.make`` adds."""
    while isinstance(env, gymnasium.Wrapper):
        if not isinstance(env, OrderEnforcing | PassiveEnvChecker | TimeLimit):
            return False
        env = env.env
    return type(env).__module__.startswith(("minigrid.", __name__))


def get_picture(env: Any) -> np.ndarray:
    """[56, 56, 3] the view as ``RGBImgPartialObsWrapper`` gives it."""
    return env.get_frame(tile_size=TILE, agent_pov=True)


@contextlib.contextmanager
def naming_failures(env_id: str) -> Iterator[None]:
    """Turn what an environment raises, or what of its answers cannot be read, into a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
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


class RestrictedEnv(gymnasium.Wrapper):
    """Farama's environment, reset until its mission is one of the level's."""

    def __init__(self, env: gymnasium.Env, level: Restricted):
        super().__init__(env)
        self._level = level

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        while not self._level.allows(observation["mission"]):
            observation, info = self.env.reset(options=options)
        return observation, info


def make_farama(env_id: str) -> gymnasium.Env:
    """``gymnasium.make``; an unknown id, or an environment that cannot be made, is a ``UserError``."""
    if os.environ.get("BABYAI_DONE_ACTIONS"):
        raise UserError("BABYAI_DONE_ACTIONS is set: BabyAI then ends episodes by other rules. Unset it.")
    if "?" in env_id and is_native(env_id):
        level = make(env_id)
        assert isinstance(level, Restricted)
        return RestrictedEnv(make_farama(level.base.id), level)
    check_registered(env_id)
    try:
        return gymnasium.make(env_id, disable_env_checker=True)
    except (Exception, SystemExit) as error:
        raise invalid("env", env_id, f"it cannot be made ({describe_failure(error)})") from error
