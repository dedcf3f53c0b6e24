import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.fast_gradients import fast_gradients, project


@pytest.mark.parametrize("shape", [(3,), (7, 3), (4, 7, 3)])
def test_a_projection_and_its_gradients_are_those_of_a_plain_product(shape):
    draw = np.random.default_rng(2)
    x, weights = (jnp.asarray(draw.normal(size=size), jnp.float32) for size in (shape, (3, 5)))
    wanted = jnp.asarray(draw.normal(size=(*shape[:-1], 5)), jnp.float32)

    def loss(product, x, weights):
        return ((product(x, weights) - wanted) ** 2).sum()

    with fast_gradients():
        ours = jax.value_and_grad(lambda *args: loss(project, *args), argnums=(0, 1))(x, weights)
    plain = jax.value_and_grad(lambda *args: loss(jnp.matmul, *args), argnums=(0, 1))(x, weights)
    jax.tree.map(lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-5), ours, plain)
