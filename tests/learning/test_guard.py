"""The guard against numerical faults: what it finds, and that nothing else changes by it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.learning import timescales
from metarims.learning.guard import MAX_GRAD_NORM, TERMS, Fault, find_fault, record_fault
from metarims.learning.trainer import make_trainer

NOTHING = Fault(jnp.array(False), jnp.array(0), jnp.array(0.0))


def copy(state):
    """A copy that may be given away: a chunk takes over its input's memory."""
    return jax.tree.map(lambda leaf: jax.random.clone(leaf) if is_key(leaf) else jnp.copy(leaf), state)


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def words(tree, seed=None):
    """Every leaf as bytes, of all seeds or one."""

    def one(leaf):
        array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        return (array if seed is None else array[seed]).tobytes()

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def without_stock(state):
    """How many levels lie in stock depends on all seeds; which come next does not."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: None if ".buffer" in jax.tree_util.keystr(path) else leaf, state
    )


def steps(**changes):
    """Three gradient steps; by term, what one of them came to."""
    metrics = {name: jnp.ones(3) for name in TERMS[:-1]}
    for name, (step, value) in changes.items():
        metrics[name] = metrics[name].at[step].set(value)
    return metrics


@pytest.mark.parametrize(
    ("changes", "weight", "expected"),
    [
        ({}, 1.0, None),
        ({"grad_norm": (1, MAX_GRAD_NORM), "value_loss": (0, -3e38)}, 1e18, None),
        ({"value_loss": (2, np.nan)}, 1.0, ("value_loss", np.nan)),
        ({"policy_loss": (2, np.nan), "entropy": (1, -np.inf)}, np.nan, ("entropy", -np.inf)),
        ({"entropy": (1, np.inf), "value_loss": (1, np.nan)}, 1.0, ("value_loss", np.nan)),
        ({"grad_norm": (0, 2 * MAX_GRAD_NORM), "policy_loss": (1, np.nan)}, 1.0, ("grad_norm", 2 * MAX_GRAD_NORM)),
        ({}, np.nan, ("parameters", np.nan)),
        ({}, np.inf, ("parameters", np.inf)),
    ],
)
def test_the_first_term_of_the_first_gradient_step(changes, weight, expected):
    fault = find_fault(steps(**changes), {"a": jnp.ones(2), "b": jnp.array([weight])})
    assert bool(fault.found) == (expected is not None)
    if expected is not None:
        assert TERMS[int(fault.term)] == expected[0]
        np.testing.assert_equal(float(fault.value), expected[1])


def test_the_first_update_of_a_chunk_and_in_it_the_fastest_timescale():
    def faults(found, term, value):
        return Fault(jnp.array(found), jnp.array(term), jnp.array(value))

    fast = faults([False, False, True, True], [0, 0, 1, 2], [0.0, 0.0, 5.0, 6.0])
    slow = faults([False, False, True, False], [0, 0, 3, 0], [0.0, 0.0, 7.0, 0.0])
    none = jax.tree.map(jnp.zeros_like, fast)
    assert record_fault([fast, slow]) == {"fault/update": 3, "fault/term": 1, "fault/value": 5}
    assert record_fault([none, slow]) == {"fault/update": 3, "fault/term": len(TERMS) + 3, "fault/value": 7}
    assert record_fault([none, none]) == {"fault/update": 0, "fault/term": 0, "fault/value": 0}


@pytest.fixture(scope="module")
def healthy(small, quick_module):
    """Two seeds with two loops for one chunk of two cycles, each of four updates; the slow loop learns in the last."""
    trainer = make_trainer(small.config("metalstm", seeds=(3, 5), record_every=512))
    start = trainer.init()
    kept = copy(start)
    return trainer, kept, *trainer.run_chunk(start)


def poison(state, where, value):
    """The state with one number changed in the second seed's part."""
    return eqx.tree_at(where, state, where(state).at[(1,) + (0,) * (where(state).ndim - 1)].set(value))


@pytest.mark.parametrize(
    ("where", "value", "update", "term"),
    [
        (lambda state: state.agent.value.output, jnp.nan, 1, "fast/policy_loss"),
        (lambda state: state.agent.policy.output, 1e30, 1, "fast/parameters"),
        (lambda state: state.agent.value.output, 1e9, 1, "fast/grad_norm"),
        (lambda state: state.optimizers[1][1].mu.value.output, jnp.nan, 4, "slow/parameters"),
    ],
)
def test_one_seed_is_at_fault_and_the_other_does_not_notice(healthy, where, value, update, term):
    trainer, start, after, metrics = healthy
    assert (np.asarray(metrics["fault/update"]) == 0).all()
    state, found = trainer.run_chunk(poison(copy(start), where, value))
    assert list(found["fault/update"]) == [0, update]
    assert trainer.terms[found["fault/term"][1]] == term
    assert words((without_stock(state), found), seed=0) == words((without_stock(after), metrics), seed=0)


def assert_same_without_guard(config, start, guarded, monkeypatch):
    monkeypatch.setattr(timescales, "find_fault", lambda *_: NOTHING)
    assert words(make_trainer(config).run_chunk(copy(start))) == words(guarded)


def test_a_healthy_run_is_the_same_to_the_bit_without_the_guard(healthy, monkeypatch):
    trainer, start, *guarded = healthy
    assert_same_without_guard(trainer.config, start, tuple(guarded), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["vanilla", "metarims"])
def test_also_where_programs_are_optimised(small, monkeypatch, agent):
    trainer = make_trainer(small.config(agent, seeds=(3, 5), record_every=512))
    start = trainer.init()
    assert_same_without_guard(trainer.config, start, trainer.run_chunk(copy(start)), monkeypatch)


def test_other_random_numbers_are_those_of_the_seed_and_the_restart(healthy):
    trainer, start, *_ = healthy
    keys = {
        numbers: [bytes(np.asarray(data)) for data in jax.random.key_data(trainer.reseed(copy(start), numbers).key)]
        for numbers in [(1, 1), (1, 2)]
    }
    assert keys[1, 1][0] == keys[1, 2][0]
    assert len({keys[1, 1][1], keys[1, 2][1], keys[1, 1][0], *words(start.key, 0), *words(start.key, 1)}) == 5


def test_a_seed_with_other_random_numbers_learns_something_else(healthy):
    trainer, start, after, _ = healthy
    state, metrics = trainer.run_chunk(trainer.reseed(copy(start), [1, 1]))
    assert (np.asarray(metrics["fault/update"]) == 0).all()
    for seed in (0, 1):
        assert words(state.agent, seed) != words(after.agent, seed)


def test_choosing_takes_whole_seeds(healthy):
    trainer, start, after, _ = healthy
    chosen = trainer.select_seeds([False, True], copy(after), copy(start))
    assert words(chosen, 0) == words(start, 0)
    assert words(chosen, 1) == words(after, 1)
