"""What the record says of modules, against values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.core import ModuleMetrics
from metarims.gridworld.types import VIEW, Observation
from metarims.learning.diagnostics import (
    measure_activity,
    measure_load_imbalance,
    measure_mutual_information,
    summarize_activity,
)

pytestmark = pytest.mark.usefixtures("quick_module")


def seen(ahead):
    """Views in which these tiles stand before the agent."""
    codes = np.ones((len(ahead), 7, 7), np.uint8)
    codes[:, VIEW // 2, VIEW - 2] = ahead
    return Observation(jnp.asarray(codes), jnp.zeros(len(ahead), jnp.int8), jnp.zeros(len(ahead), jnp.int16))


def metrics(active, attention=None, communication=None):
    active = jnp.asarray(active, bool)
    batch, modules = active.shape
    attention = jnp.full((batch, modules), 0.5) if attention is None else jnp.asarray(attention)
    if communication is None:
        communication = jnp.full((batch, modules, modules), 1 / max(1, modules))
    return ModuleMetrics(active, attention, communication)


@pytest.mark.parametrize(
    ("active", "expected"),
    [([7, 7, 7, 7], 0.0), ([9, 0, 0, 0], 1.0), ([1, 1, 0, 0], 4 / 3 * 2 * 0.25), ([4, 2, 1, 1], 4 / 3 * 2 * 0.125)],
)
def test_collapse_by_hand(active, expected):
    assert float(measure_load_imbalance(jnp.array(active, jnp.float32))) == pytest.approx(expected, abs=1e-6)


def test_information_by_hand():
    """Two fair coins that always agree share one bit; the correction takes (2 - 2 - 2 + 1) / 2n, so adds 1 / 2n."""
    counts = jnp.array([[50.0, 0.0], [0.0, 50.0]])
    assert float(measure_mutual_information(counts)) == pytest.approx(np.log(2) + 1 / 200, abs=1e-6)
    assert float(measure_mutual_information(jnp.full((2, 2), 25.0))) == pytest.approx(-1 / 200, abs=1e-6)


def test_the_correction_takes_away_what_chance_alone_would_show():
    """Independent draws, 10 sets and 12 tiles: plain estimates lie near 99 / 2n = 0.05, corrected ones near 0."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(40):
        counts = np.zeros((10, 12), np.float32)
        np.add.at(counts, (draw.integers(0, 10, 1000), draw.integers(0, 12, 1000)), 1)
        found.append(float(measure_mutual_information(jnp.asarray(counts))))
    assert abs(np.mean(found)) < 0.004


def test_activity_is_summed_as_it_was():
    active = [[1, 1, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1]]
    attention = [[0.9, 0.8, 0.1], [0.2, 0.6, 0.7], [0.9, 0.9, 0.5], [0.5, 0.5, 0.5]]
    talk = np.zeros((4, 3, 3), np.float32)
    talk[..., 0] = 1
    talk[:, 2] = 1 / 3  # Of this module one step counts: the last, at which it is active.
    talk[3] = 1 / 3
    activity = measure_activity(metrics(active, attention, jnp.asarray(talk)), seen([2, 5, 2, 2]))
    assert activity is not None
    np.testing.assert_array_equal(activity.active, [3, 3, 2])
    np.testing.assert_allclose(activity.attention, [2.5, 2.8, 1.8], rtol=1e-6)
    share = np.array(attention)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean(1).sum()
    assert float(activity.input_entropy) == pytest.approx(entropy, rel=1e-5)
    assert float(activity.communication_entropy) == pytest.approx(1 + 0.5, rel=1e-5)
    counts = np.asarray(activity.counts)
    assert counts.shape == (8, 60)
    assert {(x, y): counts[x, y] for x, y in zip(*counts.nonzero(), strict=True)} == {(3, 2): 2, (6, 5): 1, (5, 2): 1}


def test_the_record_names_every_module():
    activity = measure_activity(metrics([[1, 0], [1, 0]]), seen([1, 2]))
    assert activity is not None
    record = summarize_activity(activity, 2)
    assert float(record["modules/active_1"]) == 1
    assert float(record["modules/load_imbalance"]) == 1
    assert float(record["modules/input_entropy"]) == pytest.approx(np.log(2), rel=1e-5)
    assert set(record) == {
        *(f"modules/{name}_{m}" for name in ("active", "input_attention") for m in (1, 2)),
        *(
            f"modules/{name}"
            for name in ("input_entropy", "normalized_communication_entropy", "load_imbalance", "mutual_information")
        ),
    }


def test_certain_attention_has_no_entropy_and_one_module_no_imbalance():
    activity = measure_activity(metrics([[1]], [[1.0]]), seen([1]))
    assert activity is not None
    record = summarize_activity(activity, 1)
    assert float(record["modules/input_entropy"]) == 0
    assert "modules/load_imbalance" not in record


def test_modules_that_do_not_communicate_have_no_entropy_of_that():
    activity = measure_activity(metrics([[1, 0]], communication=jnp.zeros((1, 2, 2))), seen([1]))
    assert activity is not None
    assert np.isnan(activity.communication_entropy)


def test_a_core_reports_what_it_likes():
    """Means over environments and steps; here two environments and three steps."""
    sums = measure_activity({"norm": jnp.array([1.0, 2.0])}, seen([1, 1]))
    assert summarize_activity({name: 3 * value for name, value in sums.items()}, 6) == {"core/norm": 1.5}
    assert measure_activity((), seen([1, 1])) == {}


def test_of_many_modules_the_sets_are_not_counted():
    activity = jax.jit(lambda m: measure_activity(m, seen([1])))(metrics(np.ones((1, 9))))
    assert activity is not None
    assert "modules/mutual_information" not in summarize_activity(activity, 1)
