"""Words, missions and tokens."""

import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import VOCABULARY, ids, make, tokenize
from metarims.gridworld.missions import MAX_WORDS


def test_every_word_is_used_and_every_used_word_is_known() -> None:
    spoken = {word for id in ids() for mission in make(id).missions for word in mission.split()}
    assert spoken == set(VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 49


def test_the_papers_tasks_have_46_words_in_629_missions() -> None:
    ours_alone = ("PutNextLocal", "SimpleCrossing")
    papers = [make(id) for id in ids() if not any(name in id for name in ours_alone)]
    missions = {mission for level in papers for mission in level.missions}
    assert len({word for mission in missions for word in mission.split()}) == 46
    assert len(missions) == 629
    assert max(len(mission.split()) for mission in missions) == MAX_WORDS


def test_tokens_spell_the_missions() -> None:
    for level in map(make, ids()):
        assert level.mission_tokens.shape == (len(level.missions), MAX_WORDS)
        assert len(set(level.missions)) == len(level.missions)
        words = [" ".join(VOCABULARY[token - 1] for token in row if token) for row in level.mission_tokens]
        assert tuple(words) == level.missions


def test_padding_is_zero() -> None:
    tokens = tokenize("go to the red ball")
    assert (tokens[:5] > 0).all()
    np.testing.assert_array_equal(tokens[5:], 0)


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(UserError, match="sofa"):
        tokenize("go to the red sofa")


def test_a_long_mission_is_refused() -> None:
    with pytest.raises(UserError) as error:
        tokenize("go " * 14)
    assert (error.value.field, error.value.value) == ("max_words", 13)


def test_an_unknown_level_gets_the_nearest_names() -> None:
    with pytest.raises(UserError, match="Did you mean BabyAI-GoToLocal-v0"):
        make("BabyAI-GoToLokal-v0")
