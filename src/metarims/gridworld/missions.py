"""Missions: the words, and the missions of each family of levels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metarims.errors import UserError, invalid
from metarims.gridworld.descriptions import PLACES
from metarims.gridworld.tiles import COLORS, KINDS

_WORDS = """
    go to the a red green blue purple yellow grey key ball box
    pick up object in front of you behind on your left right
    get goal square use open door and then put near next fetch must traverse rooms avoid lava find opening
    reach matching at end hallway
"""

VOCABULARY = tuple(_WORDS.split())
"""The words of most missions; token = 1 + index, 0 is padding."""

BABYAI_VOCABULARY = (*VOCABULARY, "after", "room", "from", "unlock")
"""Enough words for every mission of Farama's BabyAI and MiniGrid. New ones go at the end: agents keep their tokens."""

MAX_WORDS = 13
"""Tokens of a mission, as far as it is not longer."""

LONGEST_MISSION = 72
"""Words of the longest mission of BabyAI: four times "put the red ball in front of you next to the blue key in front of
you" (17), two "and", one "after you"."""


class MissionFormat(NamedTuple):
    """How missions are read."""

    vocabulary: tuple[str, ...] | None = VOCABULARY
    """Token = 1 + index; None: missions are not read at all."""
    max_words: int = MAX_WORDS


_TOKEN = {word: 1 + index for index, word in enumerate(VOCABULARY)}


def split_words(text: str) -> list[str]:
    """The words of a mission, without commas."""
    return text.lower().replace(",", " ").split()


def tokenize(text: str, vocabulary: Sequence[str] = VOCABULARY, max_words: int = MAX_WORDS) -> np.ndarray:
    """A mission as tokens [max_words], padded with 0; unknown words, and too many, are a ``UserError``."""
    words = split_words(text)
    token = _TOKEN if vocabulary is VOCABULARY else {word: 1 + index for index, word in enumerate(vocabulary)}
    if strange := list(dict.fromkeys(word for word in words if word not in token)):
        raise UserError(
            f"The mission '{text}' has words that are not in the vocabulary: name them with "
            f"--words {' '.join(strange)} (and every other word of your own missions).",
            field="words",
            value=text,
        )
    if len(words) > max_words:
        remedy = f"the mission '{text}' has {len(words)} words; set --max-words {len(words)} or more"
        raise invalid("max_words", max_words, remedy)
    tokens = np.zeros(max_words, np.int32)
    tokens[: len(words)] = [token[word] for word in words]
    return tokens


OBJECTS = tuple(f"{color} {kind}" for kind in KINDS for color in COLORS)
"""The 18 objects in the order of their tile codes."""

THINGS = (*OBJECTS, *(f"{color} door" for color in COLORS))
"""The objects, then the doors by colour."""


def naming(verb: str, things: Sequence[str] = THINGS, articles: Sequence[str] = ("the", "a")) -> tuple[str, ...]:
    """Row: number of things x (are there several?) + thing."""
    return tuple(f"{verb} {article} {thing}" for article in articles for thing in things)


GO_TO = naming("go to", OBJECTS)
"""Row: 18 x (are there several?) + (code - KEY)."""

PICKUP_DIST = (
    *(f"pick up the {thing}" for thing in OBJECTS),
    *(f"pick up {article} {kind}" for article in ("the", "a") for kind in KINDS),
    *(f"pick up {article} {color} object" for article in ("a", "the") for color in COLORS),
)[:-1]
"""By colour and kind, by kind, by colour. "The grey object" never occurs: in Farama it matches the walls as well."""

PICKUP_LOC = tuple(
    f"pick up {article} {color}{kind}{place}"
    for article in ("the", "a")
    for color in ("", *(f"{color} " for color in COLORS))
    for kind in KINDS
    for place in PLACES
)
"""Row: 105 x (are there several?) + 15 x (0 for any colour, or 1 + colour) + 5 x kind + place."""


def pairs(phrase: str, names: Sequence[str]) -> tuple[str, ...]:
    """The phrase about any two different names; ``pair_row`` says which is where."""
    return tuple(phrase.format(first, second) for first in names for second in names if first != second)


def pair_row(first: Any, second: Any, number: int) -> Any:
    """Row of two of ``number`` names: (number - 1) x first + (second, counted without the first)."""
    return (number - 1) * first + second - (second > first)


PUT_NEAR = pairs("put the {} near the {}", OBJECTS)
PUT_NEXT = pairs("put the {} next to the {}", OBJECTS)

FETCH = tuple(
    f"{verb} {thing}"
    for verb in ("get a", "go get a", "fetch a", "go fetch a", "you must fetch a")
    for thing in OBJECTS[:12]
)
"""Row: 12 x verb + (code - KEY)."""
