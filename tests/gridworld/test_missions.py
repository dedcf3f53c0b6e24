"""Words, missions and tokens."""

import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import VOCABULARY, ids, make, tokenize
from metarims.gridworld.missions import BABYAI_VOCABULARY, MAX_WORDS, split_words


def test_every_word_is_used_and_every_used_word_is_known() -> None:
    spoken = {vocabulary: set() for vocabulary in (VOCABULARY, BABYAI_VOCABULARY)}
    for level in map(make, ids()):
        words = spoken.setdefault(level.vocabulary, set())
        if level.drawn_words:  # Their grammar knows "after".
            words.add("after")
        words.update(word for mission in level.missions for word in split_words(mission))
    assert spoken[VOCABULARY] == set(VOCABULARY)
    assert {"room", "from", "unlock"} < spoken[BABYAI_VOCABULARY] <= set(BABYAI_VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 49


PAPERS = (
    *(
        "BabyAI-GoToLocal",
        "BabyAI-GoToObj-",
        "BabyAI-GoToObjS",
        "BabyAI-GoToRedBall-",
        "BabyAI-GoToRedBallG",
        "BabyAI-GoToRedBallN",
        "BabyAI-PickupDist-",
    ),
    "BabyAI-PickupLoc",
    *("MiniGrid-DoorKey", "MiniGrid-Dynamic", "MiniGrid-Empty", "MiniGrid-Fetch", "MiniGrid-FourRooms"),
    *("MiniGrid-LavaCrossing", "MiniGrid-Memory", "MiniGrid-MultiRoom", "MiniGrid-PutNear"),
)


def test_the_papers_tasks_have_46_words_in_629_missions() -> None:
    papers = [make(id) for id in ids() if id.startswith(PAPERS)]
    missions = {mission for level in papers for mission in level.missions}
    assert len({word for mission in missions for word in mission.split()}) == 46
    assert len(missions) == 629
    assert max(len(mission.split()) for mission in missions) == MAX_WORDS


def test_tokens_spell_the_missions() -> None:
    for level in map(make, ids()):
        if level.drawn_words:
            continue
        longest = max(MAX_WORDS, *(len(split_words(mission)) for mission in level.missions))
        assert level.mission_tokens.shape == (len(level.missions), longest)
        assert len(set(level.missions)) == len(level.missions)
        words = [" ".join(level.vocabulary[token - 1] for token in row if token) for row in level.mission_tokens]
        assert words == [mission.replace(",", "") for mission in level.missions]


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
