"""Our RIM cell against the two public PyTorch cells over 50 steps: ``reference/README.md`` says what the arrays are."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.agents.carried import add_unit, carry_anirudh9119, carry_dido1998

CASES = {
    "dido1998_lstm": {"cell": "lstm", "num_active": 2, "heads": 1, "talk_heads": 4},
    "dido1998_lstm_heads": {"cell": "lstm", "num_active": 3, "heads": 3, "talk_heads": 2},
    "dido1998_gru": {"cell": "gru", "num_active": 2, "heads": 2, "talk_heads": 3},
    "anirudh9119_lstm": {"cell": "lstm", "num_active": 2},
    "anirudh9119_gru": {"cell": "gru", "num_active": 3},
}


def unroll_dido1998(weights, case, x, h0, c0):
    x = jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1))], axis=-1)
    return unroll(carry_dido1998(weights, **case), x, h0, c0)


def unroll_anirudh9119(weights, case, x, h0, c0):
    state = add_unit(h0, 1.0), add_unit(c0, 20.0)  # tanh(20) is 1 to the last bit
    hidden, cell, active = unroll(carry_anirudh9119(weights, **case), x, *state)
    return hidden[..., :-1], cell[..., :-1], active


def unroll(core, x, hidden, cell):
    """Hidden states, cell states and active sets at every step."""

    def step(state, read):
        state, (_, metrics) = core.step(read, state)
        return state, (state.hidden, state.cell, metrics.active)

    state = core.initial_state(hidden.shape[0])._replace(hidden=hidden, cell=cell)
    return jax.lax.scan(step, state, core.project_inputs(x))[1]


@pytest.fixture(scope="module", params=CASES)
def compared(request):
    """The file, what our core makes of it, and our gradients with respect to their weights, inputs and states."""
    name = request.param
    case = CASES[name]
    with np.load(Path(__file__).parent / "reference" / f"{name}.npz") as file:
        theirs = dict(file)
    weights = {name.removeprefix("weight."): theirs[name] for name in theirs if name.startswith("weight.")}
    # A GRU has no cell state.
    start = {"x": theirs["x"], "h0": theirs["h0"], "c0": theirs.get("c0", np.zeros_like(theirs["h0"]))}
    run = unroll_dido1998 if name.startswith("dido1998") else unroll_anirudh9119

    def loss(weights, start):
        hidden, cell, active = run(weights, case, **start)
        total = (hidden * theirs["R"]).sum()
        if case["cell"] == "lstm":
            total += (cell[-1] * theirs["S"]).sum()
        return total, (hidden, cell, active)

    # Run once, so compiling well is not worth its time.
    options = {"xla_backend_optimization_level": 0}
    learn = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), compiler_options=options)
    (total, outputs), gradients = learn(*jax.tree.map(jnp.asarray, (weights, start)))
    return theirs, total, outputs, gradients[0] | gradients[1]


def test_the_same_modules_act_at_every_step(compared):
    theirs, _, (_, _, active), _ = compared
    np.testing.assert_array_equal(active, theirs["active"])
    used = np.asarray(active).mean(axis=(0, 1))
    assert ((used > 0.1) & (used < 0.9)).all(), "each module acts at some steps and rests at others"


def test_states_agree_at_every_step(compared):
    theirs, total, (hidden, cell, _), _ = compared
    np.testing.assert_allclose(hidden, theirs["h"], rtol=0, atol=1e-5)
    if "c" in theirs:
        np.testing.assert_allclose(cell, theirs["c"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(total, theirs["loss"], rtol=0, atol=1e-5)


def test_gradients_agree(compared):
    theirs, _, _, ours = compared
    known = {name.removeprefix("grad.") for name in theirs if name.startswith("grad.")}
    assert {"x", "h0"} < known <= set(ours)
    for name in known:
        np.testing.assert_allclose(ours[name], theirs[f"grad.{name}"], rtol=0, atol=1e-5, err_msg=name)


def test_what_their_loss_does_not_reach_ours_does_not_either(compared):
    theirs, _, _, ours = compared
    for name in set(ours) - {"c0"}:
        if f"grad.{name}" not in theirs:
            assert (ours[name] == 0).all(), name
