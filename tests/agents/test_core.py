"""Running a core over a span: its gradients are those of a plain scan, whatever products are put off to its end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.core import unroll, zero_where
from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.lstm import LSTMCore
from metarims.agents.rims import RIMCore
from metarims.core_settings import LSTMSettings, RIMSettings

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS, ENVS, FEATURES = 7, 3, 6


def make(**options):
    settings = RIMSettings(4, 2, 5, key_init_scale=1.0, message_init_scale=1.0, **options)
    return lambda key: RIMCore(FEATURES, settings, key=key)


CORES = {
    "lstm": lambda key: LSTMCore(FEATURES, LSTMSettings(8), key=key),
    "rim": make(input_heads=2, communication_gate=True),
    "gru, silent": make(cell="gru", communication_heads=0),
    "random": make(router="random"),
}


def plain(core, x, state, is_first):
    """A plain scan, with nothing put off."""

    def step(state, inputs):
        now, begin = inputs
        state, (output, _) = core.step(core.project_inputs(now), core.reset(state, begin))
        return state, output

    return jax.lax.scan(step, state, (x, is_first))


@pytest.mark.parametrize("name", CORES)
def test_gradients_are_those_of_a_plain_loop(name) -> None:
    key_core, key_x, key_state, key_weigh = jax.random.split(jax.random.key(0), 4)
    core, x = CORES[name](key_core), jax.random.normal(key_x, (STEPS, ENVS, FEATURES))
    is_first = jnp.zeros((STEPS, ENVS), bool).at[3, 1].set(True)
    start = core.initial_state(ENVS)
    hidden = jax.random.normal(key_state, start.hidden.shape)
    weigh = jax.random.normal(key_weigh, (STEPS, ENVS, core.output_dim))

    def losses(run):
        def loss(core, x, hidden):
            last, output = run(core, x, start._replace(hidden=hidden), is_first)
            return (weigh * output).sum() + (last.cell**2).sum()

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(core, x, hidden)

    with fast_gradients():
        value, gradients = losses(lambda *args: (lambda last, output: (last, output[0]))(*unroll(*args)))
    expected, wanted = losses(plain)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert sum(leaf.size > 0 and bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients)) > 4
    for found, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, right, atol=2e-5 * (1 + float(jnp.abs(right).max())))


def test_a_core_that_multiplies_by_itself_learns_too() -> None:
    """A user's own core need not know of ``multiply``."""

    class Leaky(LSTMCore):
        def step(self, inputs, state):
            hidden = jnp.tanh(
                inputs[:, : self.output_dim] + state.hidden @ self.modules.from_hidden[:, : self.output_dim]
            )
            return state._replace(hidden=hidden), (hidden, ())

        def reset(self, state, done):
            return zero_where(done, state)

    core, x = (
        Leaky(FEATURES, LSTMSettings(8), key=jax.random.key(0)),
        jax.random.normal(jax.random.key(1), (STEPS, ENVS, FEATURES)),
    )
    is_first, state = jnp.zeros((STEPS, ENVS), bool), core.initial_state(ENVS)
    with fast_gradients():
        found = jax.grad(lambda core: (unroll(core, x, state, is_first)[1][0] ** 2).sum())(core)
    wanted = jax.grad(lambda core: (plain(core, x, state, is_first)[1] ** 2).sum())(core)
    np.testing.assert_allclose(found.modules.from_hidden, wanted.modules.from_hidden, atol=1e-4)
    assert jnp.any(found.modules.from_hidden != 0)
