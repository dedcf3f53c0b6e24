"""Random words are those of the known generator, and no block repeats another."""

import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from metarims.gridworld.prng import random_bits, threefry


def test_the_generator_is_threefry() -> None:
    seed = jnp.array([123456789, 4000000000], jnp.uint32)
    high, low = jnp.arange(50, dtype=jnp.uint32) + 7, jnp.arange(50, dtype=jnp.uint32) * jnp.uint32(2654435761)
    ours = jnp.concatenate(threefry(seed, high, low))
    np.testing.assert_array_equal(ours, threefry_2x32(seed, jnp.concatenate([high, low])))


def test_blocks_and_seeds_share_no_words() -> None:
    """2,100 words of 2**32: one chance in 2,000 that two would be equal by accident (and the seeds are fixed)."""
    seeds = [jnp.array(pair, jnp.uint32) for pair in ((0, 1), (1, 0), (1, 1))]
    words = np.stack([random_bits(seed, block, (7, 25)) for seed in seeds for block in range(4)])
    assert words.shape == (12, 7, 25)
    assert len(np.unique(words)) == words.size
