"""Small tasks as users write them; importing this module registers them with Gymnasium."""

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Floor, Goal
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import RGBImgPartialObsWrapper


class Room(MiniGridEnv):
    """A room with a goal in a random cell."""

    words = "get to the green goal square"

    def __init__(self, size=6, max_steps=8, **kwargs):
        space = MissionSpace(mission_func=lambda: self.words)
        super().__init__(mission_space=space, grid_size=size, max_steps=max_steps, **kwargs)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.place_obj(Goal())
        self.place_agent()
        self.mission = self.words


class Mirrored(gymnasium.ObservationWrapper):
    """Left and right are swapped, so that the world's own picture is not what the agent gets."""

    def observation(self, observation):
        return {**observation, "image": observation["image"][::-1].copy()}


class BlindInSteps(Room):
    """A subclass that changes the image itself, after the first observation."""

    def step(self, action):
        observation, *rest = super().step(action)
        observation["image"] = np.zeros_like(observation["image"])
        return observation, *rest


class SameArray(gymnasium.ObservationWrapper):
    """Every observation is in the same array."""

    def __init__(self, env):
        super().__init__(env)
        self.image = np.zeros((7, 7, 3), np.uint8)

    def observation(self, observation):
        self.image[:] = observation["image"]
        return {**observation, "image": self.image}


class Stages(Room):
    """The mission changes in the middle of an episode."""

    words = "go to the ball"

    def step(self, action):
        observation, *rest = super().step(action)
        self.mission = observation["mission"] = "go to the red ball" if self.step_count < 4 else "open the blue door"
        return observation, *rest


class NumpySeed(Room):
    """Seeds NumPy, which takes no seed of 2**32 or more."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            np.random.seed(seed)
        return super().reset(seed=seed, options=options)


class LooksLikeFaramas(Room):
    """Has attributes of Farama's classes, with something else in them."""

    obstacles = {"here": (1, 1)}  # noqa: RUF012
    instrs = "walk"
    instr_kinds = 3
    targetType = move_type = success_pos = room_size = None  # noqa: N815
    fixed_max_steps = False


class Sizes(Room):
    """Rooms of several sizes."""

    def _gen_grid(self, width, height):
        self.width = self.height = int(self._rand_elem([5, 6, 8]))
        super()._gen_grid(self.width, self.height)


class Furnished(Room):
    """Has a floor tile, of which there is no tile code."""

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.grid.set(1, 1, Floor("blue"))
        self.place_agent(top=(1, 1), size=(3, 3))


class DoneTwice(Room):
    """The same flag for terminated and truncated."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        done = terminated or truncated
        return observation, reward, done, done, info


class TwoArms(gymnasium.Env):
    """No grid at all, only observations: the ball is on one side, and the right turn pays."""

    observation_space = gymnasium.spaces.Dict({})
    action_space = Discrete(9)
    max_steps = 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        image = np.full((7, 7, 3), (1, 0, 0), np.uint8)
        image[int(self.np_random.choice([2, 4])), 6] = Ball("red").encode()
        self.observation = {"image": image, "direction": 0, "mission": "go to the red ball"}
        return self.observation, {}

    def step(self, action):
        right = self.observation["image"][4, 6, 0] != 1
        return self.observation, float(action == right), True, False, {}


TASKS = {
    "Room": Room,
    "Mirrored": lambda **kwargs: Mirrored(Room(**kwargs)),
    "BlindInSteps": BlindInSteps,
    "SameArray": lambda **kwargs: SameArray(Room(**kwargs)),
    "Pictures": lambda **kwargs: RGBImgPartialObsWrapper(Room(**kwargs)),
    "Stages": Stages,
    "NumpySeed": NumpySeed,
    "LooksLikeFaramas": LooksLikeFaramas,
    "Sizes": Sizes,
    "Furnished": Furnished,
    "DoneTwice": DoneTwice,
    "TwoArms": TwoArms,
}
for name, make in TASKS.items():
    gymnasium.register(f"Users-{name}-v0", entry_point=make)
