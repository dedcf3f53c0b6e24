import base64
import json

import numpy as np
import pytest

from metarims.errors import UserError
from metarims.views import packing


def decode(text: str, kind: str = "u1") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_bytes_keep_every_array(episodes):
    for episode in episodes:
        packed = json.loads(json.dumps(packing.pack_episode(episode), allow_nan=False))
        for name in ("position", "direction", "view", "actions", "active"):
            array = getattr(episode, name)
            np.testing.assert_array_equal(decode(packed[name]).reshape(array.shape), array)


def test_first_grid_and_changes_give_every_grid_back(episodes):
    doorkey = episodes[3]
    packed = packing.pack_episode(doorkey)
    grid = decode(packed["grid"]).copy()
    changes = {}
    for t, cell, code in packed["changes"]:
        changes.setdefault(t, []).append((cell, code))
    assert changes, "the walk opens a door or moves the key"
    for t, expected in enumerate(doorkey.grid):
        for cell, code in changes.get(t, []):
            grid[cell] = code
        np.testing.assert_array_equal(grid.reshape(expected.shape), expected)


def test_fractions_are_rounded_to_their_bits(episodes):
    packed = packing.pack_episode(episodes[0])
    policy = decode(packed["policy"], "<u2").reshape(episodes[0].policy.shape) / 65535
    np.testing.assert_allclose(policy, episodes[0].policy, atol=0.5 / 65535 + 1e-9)
    weights = decode(packed["communication"]).reshape(episodes[0].communication.shape) / 255
    np.testing.assert_allclose(weights, episodes[0].communication, atol=0.5 / 255 + 1e-9)


def test_attention_to_elements_and_advantages_are_optional(episodes):
    packed = packing.pack_episode(episodes[0])
    assert (packed["elements"], packed["attention"], set(packed["advantages"])) == (0, "", {None})
    weights = np.random.default_rng(0).dirichlet(np.ones(50), (len(episodes[0].actions), 5))
    advantages = np.arange(len(weights)) / 7
    full = packing.pack_episode(episodes[0]._replace(element_attention=weights, advantages=advantages))
    assert full["elements"] == 50
    np.testing.assert_allclose(decode(full["attention"], "<u2").reshape(weights.shape) / 65535, weights, atol=1e-5)
    np.testing.assert_allclose(full["advantages"], advantages, rtol=1e-4)


def test_numbers_that_are_none_become_null(episodes):
    values = episodes[0].values.copy()
    values[1], values[2] = np.nan, np.inf
    packed = packing.pack_episode(episodes[0]._replace(values=values))
    assert packed["values"][1:3] == [None, None]
    np.testing.assert_allclose(packed["values"][0], values[0], rtol=1e-4)


def test_an_episode_without_steps_is_refused(episodes):
    empty = episodes[0]._replace(actions=np.zeros(0, int))
    with pytest.raises(UserError, match="level seed 3 has no step"):
        packing.pack_episode(empty)
