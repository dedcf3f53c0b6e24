"""Our environments for Gymnasium: ``gymnasium.make_vec("metarims/BabyAI-GoToLocal-v0", num_envs=...)``.

Importing this module registers the ids. A mission is its tokens, padded with 0 (``level.vocabulary``).
"""

from functools import cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from minigrid.core.actions import Actions
from minigrid.core.constants import TILE_PIXELS

from metarims.errors import UserError, invalid
from metarims.gridworld import observation as obs
from metarims.gridworld import task_rules
from metarims.gridworld.farama_copy import ATTRIBUTES, FaramaCopy
from metarims.gridworld.forked import check_not_forked
from metarims.gridworld.levels.base import Level
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.registry import ids, make
from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import SYMBOLS
from metarims.gridworld.types import TILE, VIEW, Observation, as_actions
from metarims.gridworld.vector import VecEnv, VecEnvState

NAMESPACE = "metarims"


class GymEnv(gymnasium.Env):
    """One environment, as Farama's with ``RGBImgPartialObsWrapper`` (``rgb=True``) or its symbolic image.

    It has the attributes of Farama's ``MiniGridEnv`` that wrappers ask for, such as ``mission``, ``max_steps``,
    ``grid`` (a copy: changing it changes nothing), ``agent_pos`` and ``get_frame``. ``render`` shows the whole grid, as
    Farama's does with the same ``tile_size``, ``agent_pov`` and ``highlight``; ``render_mode`` is ``rgb_array``, or
    ``human`` for a window, which shows every step.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        level: str,
        rgb: bool = False,
        render_mode: str | None = None,
        tile_size: int = TILE_PIXELS,
        agent_pov: bool = False,
        highlight: bool = True,
    ):
        self.level, self.rgb, self.render_mode = make(level), rgb, render_mode
        self.tile_size, self.agent_pov, self.highlight = tile_size, agent_pov, highlight
        self.max_steps, self.width, self.height = self.level.max_steps, self.level.width, self.level.height
        self.agent_view_size, self.actions = VIEW, Actions
        self._copy: FaramaCopy | None = None
        """Of the present state."""
        self.observation_space, self.action_space = _spaces(self.level, rgb)
        self._state: EnvState | None = None
        self._window: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """What ``copy`` and ``pickle`` keep: all but the window and the copy of the state."""
        return self.__dict__ | {"_window": None, "_copy": None}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """A new level; ``seed`` begins a new stream of random numbers."""
        check_not_forked()
        super().reset(seed=seed, options=options)
        self._state, self._copy = _programs(self.level).reset(_draw_key(self.np_random)), None
        self._show()
        return self._observation(), {}

    def step(self, action: Any):
        """One step; ``action``: a whole number of Python, NumPy or JAX."""
        number = np.asarray(action)
        whole = np.issubdtype(number.dtype, np.integer) and number.shape == ()
        if not whole or not 0 <= number < self.level.num_actions:
            raise invalid("action", action, f"it must be a whole number from 0 to {self.level.num_actions - 1}")
        if self._state is None:
            raise UserError("step was called before reset: call reset first.")
        check_not_forked()
        result = _programs(self.level).step(self._state, jnp.int32(int(number)), _draw_key(self.np_random))
        self._state, self._copy = result.state, None
        self._show()
        ended = bool(result.terminated), bool(result.truncated)
        return self._observation(), float(result.reward), *ended, {}

    @property
    def state(self) -> EnvState:
        """The whole state, as arrays on the host."""
        if self._state is None:
            raise UserError("There is no state before reset: call reset first.")
        return jax.tree.map(np.asarray, self._state)

    def render(self):
        """The whole grid as pixels, the visible cells lit; with ``agent_pov`` the agent's view."""
        if self.render_mode is None or self._state is None:
            return None
        self._show()
        return self._picture() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None

    def _picture(self) -> np.ndarray:
        return self._farama().get_frame(self.highlight, self.tile_size, self.agent_pov)

    def _show(self) -> None:
        """Draw the grid in the window, if there is one."""
        if self.render_mode != "human":
            return
        import pygame

        picture = self._picture()
        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode((picture.shape[1], picture.shape[0]))
        pygame.display.set_caption(self.mission or self.level.id)
        self._window.blit(pygame.surfarray.make_surface(np.swapaxes(picture, 0, 1)), (0, 0))
        pygame.event.pump()
        pygame.time.wait(1000 // self.metadata["render_fps"])
        pygame.display.flip()

    @property
    def mission(self) -> str:
        """The text of the mission."""
        return self._farama().mission

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._farama(), name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _farama(self) -> FaramaCopy:
        if self._state is None:
            raise UserError("There is no level yet: call reset first.")
        if self._copy is None:
            self._copy = FaramaCopy(self.level, jax.tree.map(np.asarray, self._state))
        return self._copy

    def _observation(self) -> dict[str, Any]:
        assert self._state is not None
        batched = _present(self.level, jax.tree.map(np.asarray, _programs(self.level).observe(self._state)), self.rgb)
        return {**batched, "direction": int(batched["direction"])}


class GymVectorEnv(VectorEnv):
    """Many environments; an ended one begins its next level within the same step, and ``info`` keeps the final view.

    As in Gymnasium's own vector environments in this mode, there is a final info, too; it holds nothing.
    ``max_episode_steps`` truncates earlier than the level does; ``render`` gives the picture of each, as ``GymEnv``'s.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        level: str,
        num_envs: int = 1,
        rgb: bool = False,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        tile_size: int = TILE_PIXELS,
        agent_pov: bool = False,
        highlight: bool = True,
    ):
        self.level, self.num_envs, self.rgb, self.render_mode = make(level), num_envs, rgb, render_mode
        self.tile_size, self.agent_pov, self.highlight = tile_size, agent_pov, highlight
        self._limit = max_episode_steps
        self._compiled()  # An impossible batch is refused here.
        self.single_observation_space, self.single_action_space = _spaces(self.level, rgb)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: VecEnvState | None = None

    @property
    def vector(self) -> VecEnv:
        """The same batch as pure functions."""
        return self._compiled().vector

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
        """New levels for all."""
        if isinstance(seed, list | tuple):
            raise invalid("seed", seed, "one number serves the whole batch")
        check_not_forked()
        super().reset(seed=seed, options=options)
        self._state, observation = self._compiled().reset(_draw_key(self.np_random))
        return self._present(observation), {}

    def step(self, actions: Any):
        """One step of each."""
        if self._state is None:
            raise UserError("step was called before reset: call reset first.")
        actions = as_actions(np.asarray(actions), self.num_envs, self.level.num_actions)
        self._state, step = self._compiled().step(self._state, actions)
        terminated, truncated = np.asarray(step.terminated), np.asarray(step.truncated)
        ended, info = terminated | truncated, {}
        if ended.any():
            final = self._present(step.final_observation)
            rows = np.full(self.num_envs, None, object)
            for index in np.flatnonzero(ended):
                rows[index] = {name: values[index] for name, values in final.items()}
            info = {"final_obs": rows, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}
        return self._present(step.observation), np.asarray(step.reward, np.float64), terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of each environment."""
        if self.render_mode != "rgb_array" or self._state is None:
            return None
        states = jax.tree.map(np.asarray, self._state.env)
        alone = [jax.tree.map(lambda leaf, i=index: leaf[i], states) for index in range(self.num_envs)]
        look = self.highlight, self.tile_size, self.agent_pov
        return tuple(FaramaCopy(self.level, state).get_frame(*look) for state in alone)

    def _compiled(self) -> "_BatchPrograms":
        return _batch_programs(self.level, self.num_envs, self._limit)

    def _present(self, observation: Observation) -> dict[str, Any]:
        return _present(self.level, jax.tree.map(np.asarray, observation), self.rgb)


@in_32_bits
def _draw_key(generator: np.random.Generator) -> jax.Array:
    return jax.random.key(int(generator.integers(2**31)))


class _Programs(NamedTuple):
    """Compiled once for all environments of a level."""

    reset: Any
    step: Any
    observe: Any


class _BatchPrograms(NamedTuple):
    vector: VecEnv
    reset: Any
    step: Any


@cache
def _programs(level: Level) -> _Programs:
    @in_32_bits
    def step(state: EnvState, action: Any, key: jax.Array) -> task_rules.StepResult:
        return task_rules.step(level, state, action, jax.random.bits(key, (level.num_obstacles,)))

    return _Programs(jax.jit(level.reset), jax.jit(step), jax.jit(lambda state: obs.observe(level, state)))


@cache
def _batch_programs(level: Level, num_envs: int, max_episode_steps: int | None) -> _BatchPrograms:
    vector = VecEnv(level, num_envs, max_episode_steps=max_episode_steps)
    return _BatchPrograms(vector, jax.jit(vector.reset), jax.jit(vector.step))


def _spaces(level: Level, rgb: bool) -> tuple[Dict, Discrete]:
    shape = (VIEW * TILE, VIEW * TILE, 3) if rgb else (VIEW, VIEW, 3)
    mission = MultiDiscrete(np.full(level.mission_tokens.shape[1], len(level.vocabulary) + 1))
    space = Dict({"image": Box(0, 255, shape, np.uint8), "direction": Discrete(4), "mission": mission})
    return space, Discrete(level.num_actions)


def _present(level: Level, observation: Any, rgb: bool) -> dict[str, Any]:
    """Host arrays as Gymnasium's spaces want them."""
    codes = observation.codes
    return {
        "image": obs.render_host(codes) if rgb else SYMBOLS[codes],
        "direction": observation.direction.astype(np.int64),
        "mission": _tokens(level, observation.mission).astype(np.int64),
    }


def _tokens(level: Level, mission: np.ndarray) -> np.ndarray:
    if not level.drawn_words:
        return level.mission_tokens[mission]
    missing = level.mission_tokens.shape[1] - mission.shape[-1]
    return np.pad(mission, [(0, 0)] * (mission.ndim - 1) + [(0, missing)])


for _id in ids():
    gymnasium.register(
        f"{NAMESPACE}/{_id}",
        entry_point=f"{__name__}:{GymEnv.__name__}",
        vector_entry_point=f"{__name__}:{GymVectorEnv.__name__}",
        kwargs={"level": _id},
    )
