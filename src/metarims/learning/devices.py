"""Where seeds and shards of environments are computed: one program on one device, or the same spread over several.

A shard is a group of a run's environments with random numbers and new levels of its own. Shards belong to the run
(``PPO.shards``), devices to the machine: a run gives the same numbers on one device as on many, up to rounding.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from metarims.errors import UserError

ON_DEVICE, ACROSS = "shards of a device", "shards"
"""Names of the mapped axes of shards: those that one device computes, and those of different devices."""


def average(values: Any, axes: tuple[str, ...]) -> Any:
    """The mean over shards of every leaf; without axes there is one shard, and nothing to do."""
    return jax.lax.pmean(values, axes) if axes else values


def total(values: Any, axes: tuple[str, ...]) -> Any:
    """The sum over shards of every leaf."""
    return jax.lax.psum(values, axes) if axes else values


def mean(values: Float[Array, "*B"], axes: tuple[str, ...]) -> Float[Array, ""]:
    """The mean over all elements of all shards."""
    return average(values.mean(), axes)


class Layout:
    """Which device computes which seeds and which shards."""

    def __init__(self, num_seeds: int, num_shards: int, num_devices: int):
        """``num_devices`` must divide the pairs of seed and shard evenly; seeds are divided first."""
        found = jax.devices()
        if not 1 <= num_devices <= len(found):
            raise UserError(f"devices is {num_devices}: it must be from 1 to {len(found)}, the number that JAX finds.")
        by_seed = math.gcd(num_seeds, num_devices)
        by_shard = num_devices // by_seed
        if num_shards % by_shard:
            raise UserError(
                f"devices is {num_devices}: {num_seeds} seed(s) of {num_shards} shard(s) cannot be divided evenly "
                "among them. Change --devices, --seeds or --ppo.shards."
            )
        self.num_shards, self.num_devices = num_shards, num_devices
        kinds = (jax.sharding.AxisType.Auto,) * 2
        self.mesh = jax.make_mesh((by_seed, by_shard), ("seeds", ACROSS), kinds, devices=found[:num_devices])

    @property
    def axes(self) -> tuple[str, ...]:
        """The mapped axes over which a seed's shards meet."""
        if self.num_shards == 1:
            return ()
        return (ON_DEVICE,) if self.num_devices == 1 else (ON_DEVICE, ACROSS)

    def spread(self, run: Callable[[Any], tuple[Any, Any]], sharded: Any) -> Callable[[Any], tuple[Any, Any]]:
        """``run``, of one seed's state and one of its shards, for all seeds and shards; the state's memory is reused.

        ``sharded``: a tree of the state's first levels, True where a leaf has an axis of shards after that of seeds.
        What is not, and the second output, must come out of ``run`` the same in every shard (see ``average``).
        """
        if self.num_shards > 1:
            axes = jax.tree.map(lambda has: 0 if has else None, sharded)
            run = jax.vmap(run, in_axes=(axes,), out_axes=(axes, None), axis_name=ON_DEVICE)
        run = jax.vmap(run)
        if self.num_devices > 1:
            specs = self._specs(sharded)
            run = jax.shard_map(
                run, mesh=self.mesh, in_specs=(specs,), out_specs=(specs, PartitionSpec("seeds")), check_vma=False
            )
        return jax.jit(run, donate_argnums=0)

    def place(self, state: Any, sharded: Any) -> Any:
        """The state, each part of it on its device."""
        if self.num_devices == 1:
            return state
        specs = self._specs(sharded)
        return jax.tree.map(
            lambda spec, part: jax.device_put(part, NamedSharding(self.mesh, spec)),
            specs,
            state,
            is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
        )

    def gather(self, tree: Any) -> Any:
        """A part of the state on the first device alone."""
        return tree if self.num_devices == 1 else jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)

    def _specs(self, sharded: Any) -> Any:
        split = self.num_shards > 1
        return jax.tree.map(lambda has: PartitionSpec(*("seeds", ACROSS)[: 1 + (has and split)]), sharded)
