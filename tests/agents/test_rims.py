"""The RIM cell against an independent reference in numpy loops, and what its gradients may and may not reach."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.core import unroll
from metarims.agents.rims import RIMCore, RIMState
from metarims.core_settings import RIMSettings
from metarims.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_module")

INPUT, WIDTH, ENVS, STEPS = 6, 4, 3, 7

VARIANTS = {
    "lstm": {},
    "plain products": {"communication_norm": False},
    "two heads, cosines": {"input_heads": 2, "input_temperature": 0.5},
    "gru, two heads, gated": {"cell": "gru", "input_heads": 2, "communication_gate": True},
    "two heads, silent": {"input_heads": 2, "communication_heads": 0},
    "one module": {"num_modules": 1, "num_active": 1},
    "all active": {"num_active": 4, "cell": "gru"},
    "three heads, gated, starved": {"input_heads": 3, "communication_gate": True, "mask_inactive_inputs": True},
}


def make_core(num_modules=4, num_active=2, **options):
    """A small core with random weights, of which the biases are not zero, so that one at the wrong gate shows."""
    sizes = {"key_dim": 5, "value_dim": 3, "communication_heads": 2, "communication_dim": 6} | options
    masked = sizes.pop("mask_inactive_inputs", False)
    settings = RIMSettings(num_modules, num_active, WIDTH, **sizes)
    core = jax.eval_shape(lambda key: RIMCore(INPUT, settings, mask_inactive_inputs=masked, key=key), jax.random.key(0))
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.5, leaf.shape), jnp.float32), core)


def random_span(core, num_envs=ENVS, num_steps=STEPS, seed=1):
    draw = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(draw.normal(size=shape), jnp.float32)  # noqa: E731
    state = RIMState(normal(num_envs, core.num_modules, WIDTH), normal(num_envs, core.num_modules, WIDTH))
    return 2 * normal(num_steps, num_envs, INPUT), state


@jax.jit
def step(core, x, state):
    return core.step(core.project_inputs(x), state)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def read_input(core, m, x, h):
    """Mean attention to the input, and what module m reads, all heads after one another."""
    attend = core.attention.input
    query, key, value = h @ attend.query[m] + attend.query_bias[m], x @ attend.key, x @ attend.value
    heads = attend.num_heads
    width, read, shares = len(query) // heads, [], []
    for q, k, v in zip(np.split(query, heads), np.split(key, heads), np.split(value, heads), strict=True):
        if attend.temperature:
            lengths = np.sqrt(q @ q + 1e-6) * np.sqrt(k @ k + 1e-6)
            score = np.array([q @ k / lengths / attend.temperature, 0.0])
        else:
            score = np.array([q @ k / np.sqrt(width), 0.0])
        share = np.exp(score) / np.exp(score).sum()
        read.append(share[0] * v + share[1] * np.zeros_like(v))
        shares.append(share[0])
    return np.mean(shares), np.concatenate(read)


def run_cell(core, m, read, h, c):
    modules = core.modules
    weights = modules.from_input[m].reshape(len(read), -1)
    if core.cell == "lstm":
        enter, forget, candidate, output = np.split(read @ weights + h @ modules.from_hidden[m] + modules.bias[m], 4)
        c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(candidate)
        return sigmoid(output) * np.tanh(c), c
    reset_x, update_x, new_x = np.split(read @ weights + modules.bias[m], 3)
    reset_h, update_h, new_h = np.split(h @ modules.from_hidden[m], 3)
    update = sigmoid(update_x + update_h)
    return (1 - update) * np.tanh(new_x + sigmoid(reset_x + reset_h) * new_h) + update * h, c


def hear(core, m, candidates):
    talk = core.attention.communication
    heard = []
    for head in range(talk.num_heads):
        part = np.split(np.arange(talk.query.shape[-1]), talk.num_heads)[head]
        query = (candidates[m] @ talk.query[m])[part]
        keys = [(candidates[n] @ talk.key[n])[part] for n in range(len(candidates))]
        if talk.log_temperature is None:
            query = query / np.sqrt(len(part))
        else:
            query = query / np.sqrt(query @ query + 1e-6) / np.exp(talk.log_temperature[head])
            keys = [key / np.sqrt(key @ key + 1e-6) for key in keys]
        values = [(candidates[n] @ talk.value[n])[part] for n in range(len(candidates))]
        share = np.exp([query @ k for k in keys])
        heard.append(sum(s * v for s, v in zip(share / share.sum(), values, strict=True)))
    heard = np.concatenate(heard)
    message = heard @ talk.output[m]
    return message if talk.gate is None else np.tanh(message) * sigmoid(heard @ talk.gate[m])


def reference_step(core, x, h, c):
    """One step of one environment: x [D], h and c [M, H]."""
    num_modules = len(h)
    reads = [read_input(core, m, x, h[m]) for m in range(num_modules)]
    attention = np.array([share for share, _ in reads])
    active = np.zeros(num_modules, bool)
    active[np.argsort(1 - attention, kind="stable")[: core.num_active]] = True
    fed = active | (not core.mask_inactive_inputs)
    candidates = [run_cell(core, m, reads[m][1] * fed[m], h[m], c[m]) for m in range(num_modules)]
    new_h, new_c = h.copy(), c.copy()
    for m in np.flatnonzero(active):
        new_h[m], new_c[m] = candidates[m]
        if core.attention.communication is not None:
            new_h[m] = new_h[m] + hear(core, m, [candidate[0] for candidate in candidates])
    return new_h, new_c, active, attention


@pytest.mark.parametrize("name", VARIANTS)
def test_a_span_equals_the_reference(name):
    """Every variant over a span, resets included: output, state, choice and attention."""
    core = make_core(**VARIANTS[name])
    x, state = random_span(core)
    is_first = np.zeros((STEPS, ENVS), bool)
    is_first[0, 1] = is_first[4, 0] = is_first[4, 1] = True
    last, (output, metrics) = jax.jit(unroll)(core, x, state, jnp.asarray(is_first))

    precise = jax.tree.map(np.float64, core)
    for env in range(ENVS):
        h, c = np.float64(state.hidden[env]), np.float64(state.cell[env])
        for t in range(STEPS):
            if is_first[t, env]:
                h, c = np.zeros_like(h), np.zeros_like(c)
            h, c, active, attention = reference_step(precise, np.float64(x[t, env]), h, c)
            np.testing.assert_array_equal(metrics.active[t, env], active)
            np.testing.assert_allclose(metrics.input_attention[t, env], attention, atol=1e-5)
            np.testing.assert_allclose(output[t, env], h.reshape(-1), atol=1e-5)
        np.testing.assert_allclose(last.hidden[env], h, atol=1e-5)
        np.testing.assert_allclose(last.cell[env], c, atol=1e-5)


@pytest.fixture(scope="module")
def stepped():
    core = make_core()
    x, state = random_span(core, num_envs=20, num_steps=1)
    return state, *step(core, x[0], state)


def test_inactive_modules_keep_their_state_to_the_last_bit(stepped):
    before, after, (_, metrics) = stepped
    idle = ~np.asarray(metrics.active)
    assert (idle.sum(axis=1) == 2).all()
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(np.asarray(new)[idle], np.asarray(old)[idle])
        assert (np.asarray(new)[~idle] != np.asarray(old)[~idle]).any(axis=-1).all()


def test_different_modules_are_chosen_in_different_situations(stepped):
    _, _, (_, metrics) = stepped
    assert len(np.unique(np.asarray(metrics.active), axis=0)) > 2


def test_attention_shares_sum_to_one(stepped):
    _, _, (_, metrics) = stepped
    np.testing.assert_allclose(metrics.communication.sum(axis=-1), 1, atol=1e-5)
    assert ((metrics.input_attention > 0) & (metrics.input_attention < 1)).all()


@pytest.fixture(scope="module")
def learned():
    """Gradients of one span of each of many environments, by environment: loss is any function of the outputs."""
    core = make_core(num_modules=5, num_active=1)
    num_steps, num_envs = 3, 16
    x, state = random_span(core, num_envs, num_steps, seed=4)
    weights = np.random.default_rng(5).normal(size=(num_steps, core.output_dim)).astype(np.float32)

    def loss(core, x, state):
        one = jax.tree.map(lambda leaf: leaf[None], state)
        last, (output, metrics) = unroll(core, x[:, None], one, jnp.zeros((num_steps, 1), bool))
        return (output[:, 0] * weights).sum() + last.cell.sum(), metrics.active[:, 0]

    gradient = jax.vmap(jax.grad(loss, has_aux=True), in_axes=(None, 1, 0))
    return jax.jit(gradient)(core, x, state)


def test_modules_never_active_in_a_span_learn_nothing(learned):
    """Exactly zero: they were heard by the active ones, but learn nothing from that."""
    gradient, active = learned
    ever = np.asarray(active).any(axis=1)
    assert ever.any()
    assert not ever.all()
    for leaf in jax.tree.leaves(gradient.modules):
        flat = np.abs(np.asarray(leaf)).reshape(*ever.shape, -1)
        assert (flat[~ever] == 0).all()
        assert (flat[ever].max(axis=-1) > 0).all()


def test_attention_learns_how_to_hear_modules_that_are_not_active(learned):
    gradient, active = learned
    ever = np.asarray(active).any(axis=1)
    talk = gradient.attention.communication
    for leaf in (talk.key, talk.value):
        assert (np.abs(np.asarray(leaf)).reshape(*ever.shape, -1).max(axis=-1) > 0).all()
    asks = np.abs(np.asarray(talk.query)).reshape(*ever.shape, -1).max(axis=-1)
    np.testing.assert_array_equal(asks > 0, ever)
    reads = np.abs(np.asarray(gradient.attention.input.query)).reshape(*ever.shape, -1).max(axis=-1)
    np.testing.assert_array_equal(reads > 0, ever)


def test_the_gradient_through_kept_state_flows():
    """With one active module that hears nobody, the others' output is their state itself."""
    core = make_core(num_active=1, communication_heads=0)
    x, state = random_span(core, num_envs=1, num_steps=2)
    is_first = jnp.zeros((2, 1), bool)

    def total(state):
        last, (_, metrics) = unroll(core, x, state, is_first)
        return sum(leaf.sum() for leaf in jax.tree.leaves(last)), (last, metrics.active)

    gradient, (last, active) = jax.jit(jax.grad(total, has_aux=True))(state)
    idle = ~np.asarray(active).any(axis=(0, 1))
    assert idle.any()
    for leaf, kept, old in zip(*map(jax.tree.leaves, (gradient, last, state)), strict=True):
        np.testing.assert_array_equal(leaf[0][idle], 1)
        np.testing.assert_array_equal(kept[0][idle], old[0][idle])


def test_what_is_heard_of_an_inactive_module_tells_nothing_of_its_past():
    """The candidate of an inactive module is a constant to whoever hears it (the official code's blocked gradient)."""
    core = make_core(num_active=1)
    x, state = random_span(core, num_envs=1, num_steps=1)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def said_by_active(hidden):
        after, (_, metrics) = core.step(core.project_inputs(x[0]), state._replace(hidden=hidden))
        return jnp.where(metrics.active[..., None], after.hidden, 0).sum(), metrics.active

    (said, active), gradient = said_by_active(state.hidden)
    (actor,) = np.flatnonzero(active[0])
    gradient = np.asarray(gradient)[0]
    assert (np.delete(gradient, actor, axis=0) == 0).all()
    assert np.abs(gradient[actor]).min() > 0
    moved = np.array(state.hidden)
    moved[0, (actor + 1) % 4] *= 1.01
    (said_then, active_then), _ = said_by_active(jnp.asarray(moved))
    np.testing.assert_array_equal(active_then, active)
    assert said_then != said, "it is heard, nevertheless"


def test_forget_gates_begin_open_and_all_other_biases_at_zero():
    core = RIMCore(INPUT, RIMSettings(3, 2, WIDTH), key=jax.random.key(0))
    gru = RIMCore(INPUT, RIMSettings(3, 2, WIDTH, cell="gru"), key=jax.random.key(0))
    assert (np.asarray(gru.modules.bias) == 0).all()
    enter, forget, candidate, output = np.split(np.asarray(core.modules.bias), 4, axis=-1)
    np.testing.assert_array_equal(forget, 1)
    for gate in (enter, candidate, output):
        np.testing.assert_array_equal(gate, 0)


def test_a_gru_has_no_cell_state():
    core = make_core(cell="gru")
    x, _ = random_span(core)
    last, _ = step(core, x[0], core.initial_state(ENVS))
    assert (last.cell == 0).all()
    assert (last.hidden != 0).any()


def test_the_random_router_draws_every_set_alike_and_learning_replays_it():
    """10 sets of 2 of 5, 1,500 draws each expected; a span replayed from a kept state acts by the same sets."""
    core = make_core(num_modules=5, router="random")
    draw = np.random.default_rng(0)
    x, state = jnp.asarray(draw.normal(size=(250, 60, INPUT)), jnp.float32), core.initial_state(60)
    is_first = jnp.asarray(draw.random((250, 60)) < 0.2)
    run = jax.jit(unroll)
    middle, (_, first) = run(core, x[:125], state, is_first[:125])
    _, (_, second) = run(core, x[125:], middle, is_first[125:])
    _, (_, whole) = run(core, x, state, is_first)
    active = np.asarray(whole.active)
    np.testing.assert_array_equal(np.concatenate([first.active, second.active]), active)
    assert (active.sum(-1) == 2).all()
    sets, counts = np.unique(active.reshape(-1, 5) @ 2 ** np.arange(5), return_counts=True)
    assert len(sets) == 10
    assert ((counts - 1500) ** 2 / 1500).sum() < 27.9  # 99.9 % of chi-square with 9 degrees of freedom


def test_the_fixed_router_lets_the_first_modules_act_whatever_is_seen():
    core = make_core(num_modules=5, num_active=3, router="fixed")
    x, state = random_span(core)
    for candidate, number in ((core, 3), (core.with_active(2), 2)):
        _, (_, metrics) = unroll(candidate, x, state, jnp.zeros(x.shape[:2], bool))
        assert (np.asarray(metrics.active) == (np.arange(5) < number)).all()


def test_the_router_all_lets_every_module_act():
    core = make_core(router="all")
    x, state = random_span(core)
    _, (_, metrics) = step(core, x[0], state)
    assert metrics.active.all()


def test_when_an_episode_begins_modules_already_ask_for_different_things():
    """Queries of a zero state are the biases: who acts depends on what is seen."""
    core = RIMCore(INPUT, RIMSettings(5, 2, WIDTH, key_init_scale=1.0), key=jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, INPUT)), jnp.float32)
    _, (_, metrics) = step(core, x, core.initial_state(50))
    assert len(np.unique(np.asarray(metrics.active), axis=0)) > 2


def test_with_fewer_active_modules_those_that_attend_most_go_on_as_before():
    core = make_core(num_active=3)
    x, state = random_span(core, num_envs=16)
    _, (_, all_metrics) = step(core, x[0], state)
    _, (_, one_metrics) = step(core.with_active(1), x[0], state)
    assert (np.asarray(all_metrics.active).sum(-1) == 3).all()
    assert (np.asarray(one_metrics.active).sum(-1) == 1).all()
    np.testing.assert_array_equal(one_metrics.active.argmax(-1), all_metrics.input_attention.argmax(-1))
    assert core.num_active == 3


def test_with_average_input_all_modules_read_with_the_mean_weight():
    core = make_core(input_heads=2)
    x, state = random_span(core, num_envs=16)
    _, (_, own) = step(core, x[0], state)
    _, (_, same) = step(core.with_average_input(), x[0], state)
    np.testing.assert_allclose(same.input_attention.T, np.tile(own.input_attention.mean(-1), (4, 1)), atol=1e-6)
    np.testing.assert_array_equal(same.active, own.active)
    # With the same queries in all modules nothing is left to average.
    alike = eqx.tree_at(lambda core: core.attention.input.query, core, replace_fn=jnp.zeros_like)
    bias = jnp.broadcast_to(core.attention.input.query_bias[0], core.attention.input.query_bias.shape)
    alike = eqx.tree_at(lambda core: core.attention.input.query_bias, alike, bias)
    outputs = [step(one, x[0], state)[1][0] for one in (alike, alike.with_average_input())]
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_of_the_modules_that_win_some_are_drawn_anew_at_each_step():
    """Each of the three that attend most acts in a third of 4,000 steps, within five deviations of 30."""
    core = make_core(num_active=3)
    x, state = random_span(core, num_envs=200)
    _, (_, winners) = step(core, x[0], state)
    one = core.with_active(1, drawn=True)
    drawn = state._replace(random_bits=one.initial_state(200).random_bits)
    chosen = np.zeros((200, core.num_modules))
    for _ in range(20):
        after, (_, metrics) = step(one, x[0], drawn)
        chosen += np.asarray(metrics.active)
        drawn = drawn._replace(random_bits=after.random_bits)
    assert (chosen.sum(-1) == 20).all()
    assert (chosen[~np.asarray(winners.active)] == 0).all(), "only winners act"
    ranks = np.argsort(-np.asarray(winners.input_attention), axis=-1)[:, :3]
    by_rank = np.take_along_axis(chosen, ranks, axis=-1).sum(0)
    assert (np.abs(by_rank - 4000 / 3) < 150).all()


def test_of_sets_that_are_drawn_fewer_are_drawn_too():
    """Those that attend most may not be among those that act now."""
    core = RIMCore(INPUT, RIMSettings(5, 3, WIDTH, router="random"), key=jax.random.key(0))
    with pytest.raises(UserError, match="drawn is False"):
        core.with_active(2)
    fewer = core.with_active(2, drawn=True)
    assert (fewer.router.num_candidates, fewer.router.num_active) == (5, 2)


def test_agents_draw_other_sets():
    cores = (RIMCore(INPUT, RIMSettings(5, 2, WIDTH, router="random"), key=jax.random.key(seed)) for seed in (0, 1))
    one, other = (core.initial_state(8).random_bits for core in cores)
    assert (one != other).any(axis=-1).all()
