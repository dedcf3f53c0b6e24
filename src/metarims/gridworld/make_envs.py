"""Any id as a batch of environments for training: our own levels compiled, all others stepped on the host."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from metarims.errors import UserError, unknown_name
from metarims.gridworld.host_env import HostState, HostVecEnv
from metarims.gridworld.missions import VOCABULARY
from metarims.gridworld.registry import ids, is_native, make
from metarims.gridworld.vector import VecEnv

Environments = VecEnv | HostVecEnv


def make_envs(id: str, num_envs: int, **host: Any) -> Environments:
    """``num_envs`` environments of ``id``; ``host``: how a task is stepped on the host (see ``HostVecEnv``)."""
    if is_native(id):
        if host.get("words"):
            raise UserError(f"words are for tasks that are stepped on the host, and {id} is not one: leave them out.")
        return VecEnv(make(id), num_envs)
    check_known(id)
    return HostVecEnv(id, num_envs, **host)


def check_known(id: str) -> None:
    """Raise ``UserError`` unless Gymnasium has the id; what it would import for it, it then has."""
    from metarims.gridworld.farama import known_ids

    if id not in (known := known_ids(id)):
        raise unknown_name("environment", id, dict.fromkeys([*ids(), *known]), "metarims envs")


def vocabulary(envs: Environments) -> tuple[str, ...]:
    """The words of the missions; token = 1 + index."""
    return envs.vocabulary if isinstance(envs, HostVecEnv) else VOCABULARY


def mission_tokens(envs: Environments, state: Any) -> Int[Array, "num_missions L"]:
    """The table of missions that observations in this state refer to, without the columns that only pad."""
    if isinstance(state, HostState):
        return state.missions
    assert isinstance(envs, VecEnv)
    return jnp.asarray(trim_padding(envs.env.mission_tokens))


def trim_padding(mission_tokens: np.ndarray) -> np.ndarray:
    """The table of missions without the columns that only pad."""
    return np.asarray(mission_tokens)[:, : int((mission_tokens > 0).sum(axis=1).max())]
