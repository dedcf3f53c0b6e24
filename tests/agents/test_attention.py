"""The two attentions against numpy, written out in loops."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.attention import Communication, InputAttention, choose_top_k, match, normalize, rank, softmax
from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.layers import init_fan_in
from metarims.core_settings import RIMSettings

pytestmark = pytest.mark.usefixtures("quick_module")


def normal(*shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape), jnp.float32)


def chosen_by_sorting(scores, num_active):
    """[M, B] True at the largest scores of each column; a stable sort prefers the first of equal ones."""
    order = np.argsort(-scores, axis=0, kind="stable")[:num_active]
    active = np.zeros(scores.shape, bool)
    np.put_along_axis(active, order, True, axis=0)
    return active


@pytest.mark.parametrize("num_active", [1, 3, 5])
def test_the_k_best_modules_are_chosen(num_active):
    scores = np.random.default_rng(num_active).normal(size=(5, 200)).astype(np.float32)
    active = choose_top_k(jnp.asarray(scores), num_active)
    np.testing.assert_array_equal(active, chosen_by_sorting(scores, num_active))


@pytest.mark.parametrize("num_active", [1, 2, 4])
def test_of_equal_modules_the_first_are_chosen(num_active):
    scores = np.random.default_rng(0).integers(0, 3, size=(5, 300)).astype(np.float32)
    active = np.asarray(choose_top_k(jnp.asarray(scores), num_active))
    np.testing.assert_array_equal(active, chosen_by_sorting(scores, num_active))
    assert (active.sum(axis=0) == num_active).all()


def test_choosing_all_modules_chooses_all_whatever_their_scores():
    scores = jnp.array([[0.0, jnp.inf], [0.0, -jnp.inf], [0.0, 1.0]])
    assert choose_top_k(scores, 3).all()


def test_no_gradient_flows_through_the_choice():
    def chosen_sum(scores):
        return jnp.where(choose_top_k(scores, 2), 3.0, 1.0).sum()

    np.testing.assert_array_equal(jax.grad(chosen_sum)(jnp.array([[0.1], [0.5], [0.4]])), 0)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_input_attention_is_a_softmax_over_the_input_and_the_null_slot(num_heads):
    """Null slot: key 0, so its score is 0 whatever the query."""
    settings = RIMSettings(3, 2, 4, input_heads=num_heads, key_dim=5, value_dim=2)
    attention = InputAttention(6, settings, key=jax.random.key(0))
    queries, keys = 3 * normal(3, 7, num_heads * 5), 3 * normal(7, num_heads * 5)
    found = np.asarray(jax.nn.sigmoid(attention.score(queries, keys)))
    assert found.shape == (3, 7, num_heads)
    for module, env, head in np.ndindex(found.shape):
        part = slice(5 * head, 5 * head + 5)
        score = float(np.dot(np.float64(queries[module, env, part]), np.float64(keys[env, part]))) / np.sqrt(5)
        exponentials = np.exp([score, 0.0])
        assert found[module, env, head] == pytest.approx(exponentials[0] / exponentials.sum(), abs=1e-6)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_with_a_temperature_no_input_shuts_a_module_off(num_heads):
    """Scores are cosines over the temperature: however large queries and inputs, an eighth of the input is read, and
    the gradient that opens a module again does not vanish."""
    settings = RIMSettings(3, 2, 4, input_heads=num_heads, key_dim=5, value_dim=2, input_temperature=0.5)
    attention = InputAttention(6, settings, key=jax.random.key(0))
    queries, x = 1e3 * normal(3, 40, num_heads * 5), 1e3 * normal(40, 6)
    scores = attention.score(queries, attention.project_keys(x))
    assert 1.5 < jnp.abs(scores).max() <= 2 + 1e-5
    assert 0.119 < jax.nn.sigmoid(scores).min() < 0.2
    np.testing.assert_allclose(scores, attention.score(queries / 1e3, attention.project_keys(x / 1e3)), atol=1e-4)
    closed = jnp.argmin(scores[0, :, 0])
    gradient = jax.grad(lambda q: attention.score(q, attention.project_keys(x))[0, closed, 0])(queries / 1e3)
    assert jnp.abs(gradient[0, closed]).max() > 1e-3


@pytest.mark.parametrize("num_heads", [1, 3])
def test_modules_are_ranked_by_their_mean_share_of_attention(num_heads):
    scores = 3 * normal(6, 40, num_heads)
    shares = (1 / (1 + np.exp(-np.float64(scores)))).mean(axis=-1)
    np.testing.assert_array_equal(np.argsort(rank(scores), axis=0), np.argsort(shares, axis=0))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("num_heads", [1, 2])
def test_shares_that_float32_cannot_tell_apart_are_ranked_all_the_same(num_heads, sign):
    """From a score of 17 a share is 1, and below -104 it is 0: their order is not that of the modules' numbers."""
    scores = sign * jnp.array([110.0, 111.0, 120.0, 115.0])[:, None, None] * jnp.ones((4, 1, num_heads))
    assert len(np.unique(jax.nn.sigmoid(scores))) == 1
    assert choose_top_k(rank(scores), 2)[:, 0].tolist() == [sign < 0, sign < 0, sign > 0, sign > 0]


@pytest.mark.parametrize("other", [0.0, 2.0, -80.0, 80.0])
@pytest.mark.parametrize("scores", [[16, 17, 30, 80], [-16, -30, 30, 80], [80, 30, 17, 16], [30, -80, -30, 80]])
def test_a_saturated_head_orders_modules_beside_one_that_does_not(scores, other):
    """In float32 the mean of both heads is often the same for all modules; in exact arithmetic it never is."""
    both = jnp.array([[[score, other]] for score in scores], jnp.float32)
    assert np.argsort(rank(both)[:, 0]).tolist() == np.argsort(scores).tolist()
    swapped = both[..., ::-1]
    assert np.argsort(rank(swapped)[:, 0]).tolist() == np.argsort(scores).tolist()


def test_heads_that_disagree_are_weighed_where_float32_rounds_their_sum_away():
    """sigmoid(30) + sigmoid(-31) < sigmoid(30) + sigmoid(-30) = 1 < sigmoid(31) + sigmoid(-30)."""
    scores = jnp.array([[[30.0, -31.0]], [[31.0, -30.0]], [[30.0, -30.0]]])
    assert np.argsort(rank(scores)[:, 0]).tolist() == [0, 2, 1]


def communicate_in_loops(weights, hidden, num_heads):
    """Messages [M, B, H] and attention [B, M, M], mean over heads."""
    num_modules, batch, _ = hidden.shape
    messages, attention = np.zeros(hidden.shape), np.zeros((batch, num_modules, num_modules))
    width = weights["query"].shape[-1] // num_heads
    for env in range(batch):
        query, key, value = (
            [hidden[m, env] @ weights[name][m] for m in range(num_modules)] for name in ("query", "key", "value")
        )
        for asks in range(num_modules):
            heard = []
            for head in range(num_heads):
                part = slice(head * width, head * width + width)
                scores = np.array([query[asks][part] @ key[told][part] for told in range(num_modules)])
                if "log_temperature" in weights:
                    lengths = [np.linalg.norm(key[told][part]) for told in range(num_modules)]
                    scores /= np.linalg.norm(query[asks][part]) * np.array(lengths)
                    share = np.exp(scores / np.exp(weights["log_temperature"][head]))
                else:
                    share = np.exp(scores / np.sqrt(width))
                share /= share.sum()
                attention[env, asks] += share / num_heads
                heard.append(sum(share[told] * value[told][part] for told in range(num_modules)))
            heard = np.concatenate(heard)
            message = heard @ weights["output"][asks]
            if "gate" in weights:
                message = np.tanh(message) / (1 + np.exp(-heard @ weights["gate"][asks]))
            messages[asks, env] = message
    return messages, attention


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(("num_modules", "num_heads", "gated"), [(4, 2, False), (4, 2, True), (1, 3, False)])
def test_communication_equals_a_reference_in_loops(num_modules, num_heads, gated, norm):
    sizes = {"communication_heads": num_heads, "communication_dim": 6, "communication_gate": gated}
    sizes |= {"communication_norm": norm}
    make = lambda key: Communication(RIMSettings(num_modules, 1, 5, **sizes), key=key)  # noqa: E731
    talk = jax.tree.map(lambda leaf: normal(*leaf.shape), jax.eval_shape(make, jax.random.key(0)))
    names = ("query", "key", "value", "output", *(["gate"] if gated else []), *(["log_temperature"] if norm else []))
    weights = {name: np.float64(getattr(talk, name)) for name in names}
    assert (talk.gate is not None) == gated
    hidden = normal(num_modules, 3, 5)
    message, attention = jax.jit(lambda talk, hidden: talk(hidden))(talk, hidden)
    expected_message, expected_attention = communicate_in_loops(weights, np.float64(hidden), num_heads)
    np.testing.assert_allclose(message, expected_message, atol=1e-5)
    np.testing.assert_allclose(attention, expected_attention, atol=1e-5)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)


def test_the_temperature_is_learnt_and_small_states_talk_as_selectively_as_large_ones():
    settings = RIMSettings(4, 1, 8, communication_heads=2, communication_dim=16, communication_temperature=0.25)
    talk = Communication(settings, key=jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(talk.log_temperature), 0.25, rtol=1e-6)
    hidden, weights = normal(4, 3, 8), normal(3, 4, 4)
    np.testing.assert_allclose(talk(hidden)[1], talk(10 * hidden)[1], atol=1e-4)
    gradient = jax.grad(lambda talk: (talk(hidden)[1] * weights).sum())(talk)
    assert (gradient.log_temperature != 0).all()


def test_normalizing_and_its_gradient_are_those_of_the_formula_and_finite_at_zero():
    x, weights = normal(3, 5), normal(3, 5)

    def gradient(function, x):
        return jax.grad(lambda x: (function(x) * weights).sum())(x)

    def formula(x):
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    np.testing.assert_allclose(normalize(x), formula(x), atol=1e-5)
    for fast in (False, True):
        with fast_gradients() if fast else nullcontext():
            np.testing.assert_allclose(gradient(normalize, x), gradient(formula, x), atol=1e-5)
            assert np.isfinite(gradient(normalize, 0 * x)).all()


def test_weights_begin_by_the_fan_in_of_one_module():
    """Five modules are five copies of one layer; their fan-in is not five times as large."""
    weights = init_fan_in(jax.random.key(0), (5, 64, 200))
    np.testing.assert_allclose(weights.std(axis=(1, 2)), 1 / 8, rtol=0.05)
    np.testing.assert_allclose(init_fan_in(jax.random.key(1), (64, 999), 0.1).std(), 0.1 / 8, rtol=0.05)


@pytest.mark.parametrize("size", [1, 5])
def test_softmax_and_its_gradient_are_jaxs_and_large_scores_do_not_overflow(size):
    scores, weights = normal(3, 4, size) * 100, normal(3, 4, size)
    np.testing.assert_allclose(softmax(scores), jax.nn.softmax(scores), atol=1e-6)

    def gradient(function, scores):
        return jax.grad(lambda scores: (function(scores) * weights).sum())(scores)

    for scale in (0.01, 1.0):
        with fast_gradients():
            fast = gradient(softmax, scale * scores)
        np.testing.assert_allclose(fast, gradient(jax.nn.softmax, scale * scores), atol=1e-5)


def test_matching_and_its_gradient_are_those_of_the_sum_over_a_heads_numbers():
    query, key, weights = normal(3, 2, 4, 8), normal(5, 2, 4, 8), normal(2, 4, 3, 5)

    def formula(query, key):
        return (query[:, None] * key[None]).sum(-1).transpose(2, 3, 0, 1)

    def gradient(function):
        return jax.grad(lambda pair: (function(*pair) * weights).sum())((query, key))

    np.testing.assert_allclose(match(query, key), formula(query, key), atol=1e-5)
    with fast_gradients():
        fast = gradient(match)
    for ours, theirs in zip(fast, gradient(formula), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
