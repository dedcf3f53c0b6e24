"""Where seeds and shards of environments are computed: one program on one device, or the same spread over several.

A shard is a group of a run's environments with random numbers and new levels of its own. Shards belong to the run
(``PPO.shards``), devices to the machine: a run gives the same numbers on one device as on many, up to rounding.
"""

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from metarims.errors import invalid

ON_DEVICE, ACROSS = "shards of a device", "shards"
"""Names of the mapped axes of shards: those that one device computes, and those of different devices."""


def average(values: Any, axes: tuple[str, ...]) -> Any:
    """The mean over shards of every leaf (float32); without axes there is one shard, and nothing to do.

    All leaves travel as one vector: that is faster, and processes that met twice at once could confuse the two.
    """
    if not axes:
        return values
    vector, unravel = ravel_pytree(values)
    return unravel(jax.lax.pmean(vector, axes))


def total(values: Any, axes: tuple[str, ...]) -> Any:
    """The sum over shards of every leaf (float32 or 32-bit integers), which travel as one vector of bits."""
    if not axes:
        return values
    leaves, treedef = jax.tree.flatten(values)
    bits = jnp.concatenate([jax.lax.bitcast_convert_type(leaf, jnp.uint32).ravel() for leaf in leaves])
    found = bits[None]
    for axis in axes:
        found = jax.lax.all_gather(found, axis, tiled=True)
    ends = np.cumsum([leaf.size for leaf in leaves])
    pieces = jnp.split(found, ends[:-1], axis=1)
    back = [jax.lax.bitcast_convert_type(piece, leaf.dtype) for piece, leaf in zip(pieces, leaves, strict=True)]
    return treedef.unflatten(
        piece.sum(0, dtype=leaf.dtype).reshape(leaf.shape) for piece, leaf in zip(back, leaves, strict=True)
    )


def mean(values: Float[Array, "*B"], axes: tuple[str, ...]) -> Float[Array, ""]:
    """The mean over all elements of all shards."""
    return average(values.mean(), axes)


class Layout:
    """Which device computes which seeds and which shards."""

    def __init__(self, num_seeds: int, num_shards: int, num_devices: int):
        """``num_devices`` must divide the pairs of seed and shard evenly; seeds are divided first."""
        found = jax.devices()
        if num_devices < 1:
            raise invalid("devices", num_devices, "it must be 1 or more")
        if num_devices > len(found):
            on_cpu = found[0].platform == "cpu"
            more = "; in Python, metarims.runtime.share_processor makes devices of threads" * on_cpu
            raise invalid("devices", num_devices, f"JAX finds only {len(found)}{more}")
        by_seed = math.gcd(num_seeds, num_devices)
        by_shard = num_devices // by_seed
        if num_shards % by_shard:
            problem = f"{num_seeds} seed(s) of {num_shards} shard(s) cannot be divided evenly among them"
            raise invalid("devices", num_devices, f"{problem}; change --devices, --seeds or --ppo.shards")
        self.num_shards, self.num_devices = num_shards, num_devices
        kinds = (jax.sharding.AxisType.Auto,) * 2
        self.mesh = jax.make_mesh((by_seed, by_shard), ("seeds", ACROSS), kinds, devices=found[:num_devices])

    @property
    def axes(self) -> tuple[str, ...]:
        """The mapped axes of a seed's shards."""
        if self.num_shards == 1:
            return ()
        return (ON_DEVICE,) if self.num_devices == 1 else (ON_DEVICE, ACROSS)

    def spread(
        self, run: Callable[[Any], tuple[Any, Any]], sharded: Any, *, side_by_side: bool
    ) -> Callable[[Any], tuple[Any, Any]]:
        """``run``, of one seed's state and one of its shards, for all seeds and shards. The state that goes in stays
        valid: after a numerical fault it is needed again.

        ``sharded``: a tree of the state's first levels, True where a leaf has an axis of shards after that of seeds.
        What is not, and the second output, must come out of ``run`` the same in every shard (see ``average``).
        ``side_by_side``: a device computes its seeds in one batch, rather than one after another. A batch fills an
        accelerator; but all seeds then make as many passes over their data as the one that makes the most.
        """
        if self.num_shards > 1:
            axes = jax.tree.map(lambda has: 0 if has else None, sharded)
            run = jax.vmap(run, in_axes=(axes,), out_axes=(axes, None), axis_name=ON_DEVICE)
        run = jax.vmap(run) if side_by_side else partial(jax.lax.map, run)
        if self.num_devices == 1:
            return jax.jit(run)
        specs = (self._specs(sharded), PartitionSpec("seeds"))
        run = jax.shard_map(run, mesh=self.mesh, in_specs=specs[:1], out_specs=specs, check_vma=False)
        places = jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), specs)
        program = jax.jit(run, in_shardings=places[:1], out_shardings=places)
        if jax.process_count() == 1:
            return program

        @wraps(program)
        def run_together(state):
            state, output = jax.block_until_ready(program(state))  # Processes meet in one program at a time.
            return state, self.gather(output)

        return run_together

    def place(self, state: Any, sharded: Any) -> Any:
        """The state, each part of it on its device."""
        if self.num_devices == 1:
            return state
        put = jax.device_put if jax.process_count() == 1 else _put_together
        return jax.tree.map(
            lambda spec, part: jax.tree.map(lambda leaf: put(leaf, NamedSharding(self.mesh, spec)), part),
            self._specs(sharded),
            state,
            is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
        )

    def gather(self, tree: Any) -> Any:
        """A part of the state whole, on this process's first device alone."""
        return tree if self.num_devices == 1 else jax.tree.map(_gather, tree)

    def _specs(self, sharded: Any) -> Any:
        split = self.num_shards > 1
        return jax.tree.map(lambda has: PartitionSpec(*("seeds", ACROSS)[: 1 + (has and split)]), sharded)


def _put_together(leaf: Any, sharding: NamedSharding) -> Any:
    """An array that every process holds whole, spread over the devices of all; one that is spread is returned."""
    if not leaf.is_fully_addressable:
        return leaf
    if is_key(leaf):
        numbers = _put_together(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
    numbers = np.asarray(leaf)
    return jax.make_array_from_callback(numbers.shape, sharding, lambda index: numbers[index])


def _gather(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        return leaf
    if is_key(leaf):
        return jax.random.wrap_key_data(_gather(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if leaf.is_fully_addressable:
        return jnp.asarray(np.asarray(leaf))
    return jnp.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys, which are not numbers to compute with."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
