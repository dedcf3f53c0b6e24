"""MiniGrid and BabyAI as pure functions on arrays, exact to Farama minigrid 3.2.0."""

from metarims.gridworld.missions import VOCABULARY, tokenize
from metarims.gridworld.mixture import mix
from metarims.gridworld.registry import ids, is_native, make
from metarims.gridworld.state import EnvState
from metarims.gridworld.vector import VecEnv, VecEnvState

__all__ = ["VOCABULARY", "EnvState", "VecEnv", "VecEnvState", "ids", "is_native", "make", "mix", "tokenize"]
