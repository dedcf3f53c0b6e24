"""Derivatives of ``unroll``: right at every order and in both modes, or refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.core import unroll
from metarims.agents.fast_gradients import fast_gradients, multiply
from metarims.agents.lstm import LSTMCore
from metarims.agents.rims import RIMCore
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError

STEPS, ENVS, FEATURES = 3, 2, 3


def settings(**changes):
    sizes = {"num_modules": 2, "num_active": 2, "module_dim": 4, "key_dim": 4, "value_dim": 4}
    return RIMSettings(**sizes | {"communication_dim": 4, "communication_heads": 2} | changes)


CORES = {
    "lstm": lambda key: LSTMCore(FEATURES, LSTMSettings(4), key=key),
    "rim, all active": lambda key: RIMCore(FEATURES, settings(), key=key),
    "rim, no communication": lambda key: RIMCore(FEATURES, settings(num_active=1, communication_heads=0), key=key),
}


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def case(name):
    """A core, a loss of it by ``unroll`` and by a loop in Python, and a direction in its parameters."""
    draw = np.random.default_rng(1)
    core = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), CORES[name](jax.random.key(0)))
    x = jnp.asarray(draw.normal(size=(STEPS, ENVS, FEATURES)))
    is_first = jnp.zeros((STEPS, ENVS), bool).at[1, 1].set(True)
    start = core.initial_state(ENVS)
    weigh = jnp.asarray(draw.normal(size=(STEPS, ENVS, core.output_dim)))

    def loss(core, **options):
        return (weigh * unroll(core, x, start, is_first, **options)[1][0] ** 2).sum()

    def loop(core):
        state, total = start, 0.0
        for t in range(STEPS):
            state, (output, _) = core.step(core.project_inputs(x[t]), core.reset(state, is_first[t]))
            total += (weigh[t] * output**2).sum()
        return total

    direction = jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape)), core)
    return core, loss, loop, direction


def inner(a, b):
    return sum((x * y).sum() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def moved(core, direction, step):
    return jax.tree.map(lambda leaf, way: leaf + step * way, core, direction)


def assert_close(found, wanted):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * (1e-3 + np.abs(theirs).max()))


@pytest.mark.usefixtures("double", "quick_compilation")
@pytest.mark.parametrize("name", CORES)
def test_every_derivative_is_that_of_a_plain_loop(name):
    core, loss, loop, direction = case(name)

    def all_of(loss):
        def derivatives(core):
            gradient = jax.grad(loss)
            forward_over_reverse = jax.jvp(gradient, (core,), (direction,))[1]
            reverse_over_reverse = jax.grad(lambda core: inner(gradient(core), direction))(core)
            maml = jax.grad(lambda core: loss(moved(core, gradient(core), -0.1)))(core)
            return jax.jvp(loss, (core,), (direction,)), forward_over_reverse, reverse_over_reverse, maml

        return jax.jit(derivatives)(core)

    found = all_of(loss)
    assert_close(found, all_of(loop))
    assert_close(found[1], found[2])
    step, slope = 1e-5, jax.jit(jax.grad(loss))
    ahead, behind = slope(moved(core, direction, step)), slope(moved(core, direction, -step))
    assert_close(found[1], jax.tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind))


@pytest.mark.parametrize("name", ["lstm"])
def test_fast_gradients_refuse_to_be_differentiated(name):
    core, loss, _, direction = case(name)
    with fast_gradients():
        jax.grad(loss)(core)
        with pytest.raises(UserError) as error:
            jax.grad(lambda core: inner(jax.grad(loss)(core), direction))(core)
        assert error.value.field == "fast_gradients"
        with pytest.raises((UserError, TypeError)):  # JAX itself refuses forward mode through a custom_vjp.
            jax.jvp(jax.grad(loss), (core,), (direction,))


@pytest.mark.parametrize("wrap", [eqx.filter_jit, jax.checkpoint])
def test_a_step_that_is_jitted_or_checkpointed_learns_the_same(wrap):
    class Wrapped(LSTMCore):
        def step(self, inputs, state):
            return wrap(lambda inputs, state: super(Wrapped, self).step(inputs, state))(inputs, state)

    x, is_first = jnp.ones((STEPS, ENVS, FEATURES)), jnp.zeros((STEPS, ENVS), bool)

    def gradient(kind):
        core = kind(FEATURES, LSTMSettings(4), key=jax.random.key(0))
        with fast_gradients():
            return jax.grad(lambda core: (unroll(core, x, core.initial_state(ENVS), is_first)[1][0] ** 2).sum())(core)

    assert_close(gradient(Wrapped), gradient(LSTMCore))


def test_weights_that_depend_on_the_state_are_differentiated():
    class Modulated(LSTMCore):
        def step(self, inputs, state):
            weights = self.modules.from_hidden[:, :4] * (1 + state.hidden.mean())
            hidden = jnp.tanh(inputs[:, :4] + multiply(state.hidden, weights))
            return state._replace(hidden=hidden), (hidden, ())

    core = Modulated(FEATURES, LSTMSettings(4), key=jax.random.key(0))
    x, is_first = jnp.ones((STEPS, ENVS, FEATURES)), jnp.zeros((STEPS, ENVS), bool)

    def gradient():
        return jax.grad(lambda core: (unroll(core, x, core.initial_state(ENVS), is_first)[1][0] ** 2).sum())(core)

    with fast_gradients():
        found = gradient()
    assert_close(found, gradient())


@pytest.mark.usefixtures("double")
def test_pieces_of_a_span_can_be_computed_again():
    core, loss, _, _ = case("rim, all active")
    assert_close(jax.grad(lambda core: loss(core, checkpoint_every=1))(core), jax.grad(loss)(core))
    with pytest.raises(UserError) as error:
        loss(core, checkpoint_every=2)
    assert error.value.field == "checkpoint_every"
