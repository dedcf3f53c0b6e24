"""BabyAI's levels whose instruction is drawn from a grammar, or has several actions."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8

from metarims.gridworld.descriptions import A_DOOR, ANY, PLACES
from metarims.gridworld.instructions import GO_TO, NOTHING, OPEN, OPEN_NO_OTHER, PICK_UP, PUT_NEXT, SLOTS
from metarims.gridworld.levels.babyai import BLUE, DOORS, RED, THE, any_of, one, room_level
from metarims.gridworld.levels.base import MakeLevel
from metarims.gridworld.levels.placing import distinct
from metarims.gridworld.levels.rooms import LEFT, NUM_COLORS, RIGHT, RoomGrid, Thing, together
from metarims.gridworld.missions import BABYAI_VOCABULARY, OBJECTS, THINGS, naming, pair_row, pairs, tokenize
from metarims.gridworld.prng import multiply_high
from metarims.gridworld.state import Instruction
from metarims.gridworld.tiles import COLORS, KINDS


class Description(NamedTuple):
    """What a description says of an object."""

    kind: Int32[Array, "*n"]
    color: Int32[Array, "*n"]
    """``ANY`` for none."""
    place: Int32[Array, "*n"]
    """Number in ``PLACES``, 0 for none."""


class Actions(NamedTuple):
    """Four actions in the order of the text: two of its first part, two of its second."""

    verbs: Int32[Array, "4"]
    described: Description
    """Of the object of each action, then of what it is to be put next to: 8 descriptions."""
    reverse: Any
    """The part that is said last is to be done first."""

    @property
    def present(self) -> Bool[Array, "8"]:
        """Which descriptions there are."""
        return jnp.concatenate([self.verbs != NOTHING, self.verbs == PUT_NEXT])


def find_matching(rooms: RoomGrid, described: Description) -> Bool[Array, "k n"]:
    """Which of all things (``RoomGrid.things``) each description means."""
    things = rooms.things()
    right = (described.kind[:, None] == things.kind) & jnp.asarray(things.exists)
    right &= (described.color[:, None] == ANY) | (described.color[:, None] == things.color)
    return right & rooms.at_places(things.x, things.y)[described.place]


def instruct(rooms: RoomGrid, actions: Actions, num_words: int = 0) -> None:
    """Give the rooms the instruction and, where ``num_words`` is not 0, its words."""
    things = rooms.things()
    matches = find_matching(rooms, actions.described) & actions.present[:, None]
    if num_words:
        rooms.tokens = write(actions, matches.sum(1) > 1, num_words)
    swap = jnp.where(actions.reverse, jnp.array([2, 3, 0, 1]), jnp.arange(SLOTS))
    verbs, matches = actions.verbs[swap], matches[jnp.concatenate([swap, swap + SLOTS])]
    bits = jnp.where(matches, jnp.uint8(1) << jnp.arange(2 * SLOTS, dtype=jnp.uint8)[:, None], 0).sum(
        0, dtype=jnp.uint8
    )
    x = jnp.where(things.exists, things.x, rooms.width)  # beyond the grid: dropped
    meant = jnp.zeros((rooms.width, rooms.height), jnp.uint8).at[x, things.y].set(bits, mode="drop")
    verbs = verbs.astype(jnp.uint8)
    rooms.instruction = Instruction(verbs, verbs == NOTHING, meant, meant, jnp.uint8(0))


# The text


def _rows(texts: Sequence[str], width: int) -> np.ndarray:
    """Tokens of several phrases, padded to one width."""
    return np.stack([tokenize(text, BABYAI_VOCABULARY, width) for text in texts]).astype(np.uint8)


_VERBS = _rows(["", "go to", "open", "open", "pick up", "put"], 2)
_ARTICLES = _rows(["the", "a"], 1)
_COLORS = _rows([*COLORS, ""], 1)
"""The last, at index -1, for any."""
_KINDS = _rows([*KINDS, "door"], 1)
_PLACES = _rows(PLACES, 4)
_NEXT_TO = _rows(["", "next to"], 2)
_AND = _rows(["", "and"], 1)
_THEN = _rows(["", "then", "after you"], 2)


def write(actions: Actions, several: Bool[Array, "8"], num_words: int) -> UInt8[Array, " L"]:
    """The words of an instruction; ``several``: which descriptions mean more than one object."""
    kind, color, place = actions.described
    articles = jnp.asarray(_ARTICLES)[several.astype(jnp.int32)]
    phrase = jnp.concatenate(
        [articles, jnp.asarray(_COLORS)[color], jnp.asarray(_KINDS)[kind], jnp.asarray(_PLACES)[place]], 1
    )
    phrase = jnp.where(actions.present[:, None], phrase, 0)
    puts = (actions.verbs == PUT_NEXT).astype(jnp.int32)
    verbs = jnp.asarray(_VERBS)[actions.verbs]
    said = jnp.concatenate([verbs, phrase[:SLOTS], jnp.asarray(_NEXT_TO)[puts], phrase[SLOTS:]], 1)
    there = actions.verbs != NOTHING
    joins = jnp.asarray(_AND)[jnp.stack([there[1], there[3]]).astype(jnp.int32)]
    link = jnp.asarray(_THEN)[jnp.where(there[2], 1 + jnp.asarray(actions.reverse).astype(jnp.int32), 0)]
    spread = jnp.concatenate([said[0], joins[0], said[1], link, said[2], joins[1], said[3]])
    to = jnp.where(spread > 0, jnp.cumsum(spread > 0) - 1, num_words)
    return jnp.zeros(num_words, jnp.uint8).at[to].set(spread, mode="drop")


# The grammar

STRUCTURES = ("action", "and", "seq")
"""An action; two joined by "and"; one or two, then or after one or two."""


@dataclasses.dataclass(frozen=True)
class Grammar:
    """What instructions ``LevelGen`` draws, and how it furnishes its rooms."""

    verbs: tuple[int, ...] = (GO_TO, PICK_UP, OPEN, PUT_NEXT)
    structures: tuple[str, ...] = STRUCTURES
    locations: bool = True
    """Half of the descriptions say where the object is."""
    unblocking: bool = True
    """It may be that something must be moved out of the way."""
    implicit_unlock: bool = True
    """It may be that only things behind the locked door are meant."""
    num_objects: int = 18
    locked_of_16: int = 8
    """In so many of 16 levels one room is locked."""

    @property
    def max_words(self) -> int:
        """Words of the longest instruction."""
        thing = 3 + (max(len(place.split()) for place in PLACES) if self.locations else 0)
        action = max({GO_TO: 2, PICK_UP: 2, OPEN: 1, PUT_NEXT: 3 + thing}[verb] for verb in self.verbs) + thing
        return {"action": action, "and": 2 * action + 1, "seq": 4 * action + 4}[self.structures[-1]]

    def __call__(self, rooms: RoomGrid) -> None:
        """Furnish the rooms and draw an instruction."""
        locked = self._lock(rooms)
        rooms.connect_all()
        rooms.add_distractors(self.num_objects, unique=False)
        rooms.place_agent(barred=-1 if locked is None else locked.room)
        if not self.unblocking:
            rooms.accepted &= rooms.objects_reachable()
        actions = self._draw(rooms, locked)
        self._validate(rooms, actions, locked)
        instruct(rooms, actions, self.max_words)

    def _lock(self, rooms: RoomGrid) -> "_Locked | None":
        """Perhaps lock a room, and put its key into another."""
        if not self.locked_of_16:
            return None
        stream, number = rooms.stream, rooms.columns * rooms.rows
        exists = stream.randint(16) < self.locked_of_16
        sides = np.argwhere(rooms.sides >= 0)
        i, j, side = jnp.asarray(sides)[stream.randint(len(sides))]
        door = rooms.add_door(i, j, side, locked=True, exists=exists)
        room = i * rooms.rows + j
        other = stream.randint(number - 1)
        other += other >= room
        rooms.add_object(other // rooms.rows, other % rooms.rows, KINDS.index("key"), door.color, exists=exists)
        return _Locked(jnp.where(exists, room, -1), jnp.where(exists, door.color, -2), i, j)

    def _draw(self, rooms: RoomGrid, locked: "_Locked | None") -> Actions:
        stream = rooms.stream
        numbers = jnp.asarray([STRUCTURES.index(name) for name in self.structures])
        structure = numbers[stream.randint(len(numbers))]
        double = stream.randints(2, 2) == 1
        sequence = structure == 2
        there = jnp.stack([structure >= 0, (structure == 1) | (sequence & double[0]), sequence, sequence & double[1]])
        verbs = jnp.asarray(self.verbs)[stream.randints(SLOTS, len(self.verbs))]
        verbs = jnp.where(there, verbs, NOTHING)
        described = self._describe(rooms, verbs, locked)
        return Actions(verbs, described, sequence & (stream.randint(2) == 1))

    def _describe(self, rooms: RoomGrid, verbs: Int32[Array, "4"], locked: "_Locked | None") -> Description:
        """Descriptions, uniform among those that mean something.

        Farama draws until one does, and begins the level anew after 101 in vain: the level is kept with the
        probability that this does not happen.
        """
        things = rooms.things()
        counts = jnp.asarray(things.exists)
        if locked is not None and not self.implicit_unlock:
            counts &= (locked.room < 0) | ~locked.holds(rooms, things)
        kinds = jnp.arange(len(KINDS) + 1)[:, None] == things.kind
        colors = jnp.concatenate([jnp.arange(NUM_COLORS)[:, None] == things.color, jnp.ones((1, len(counts)), bool)])
        places = rooms.at_places(things.x, things.y) if self.locations else jnp.ones((1, len(counts)), bool)
        fits = (kinds[:, None, None] & colors[:, None] & places & counts).any(-1)  # [4, 7, 5]
        weights = jnp.where(fits, jnp.array([4, 1, 1, 1, 1]) if self.locations else 1, 0)

        # Which kinds the object of each verb may have; a second object has any.
        allowed = np.ones((PUT_NEXT + 1, len(KINDS) + 1), bool)
        allowed[[PICK_UP, PUT_NEXT], A_DOOR] = False
        allowed[OPEN, :A_DOOR] = False
        allowed = jnp.concatenate([jnp.asarray(allowed)[verbs], jnp.ones((SLOTS, len(KINDS) + 1), bool)])
        total = allowed.sum(1) * weights.shape[1] * (8 if self.locations else 1)
        order = jnp.cumsum(jnp.where(allowed[:, :, None, None], weights, 0).reshape(2 * SLOTS, -1), 1)
        chosen = (order <= multiply_high(rooms.stream.take(2 * SLOTS), order[:, -1])[:, None]).sum(1, dtype=jnp.int32)
        in_vain = (1 - order[:, -1] / total) ** 101
        luck = (rooms.stream.take(2 * SLOTS) >> 8).astype(jnp.float32) * 2.0**-24
        needed = jnp.concatenate([verbs != NOTHING, verbs == PUT_NEXT])
        rooms.accepted &= ((luck >= in_vain) | ~needed).all()
        number = weights.shape[2]
        color = chosen // number % (NUM_COLORS + 1)
        return Description(
            chosen // (number * (NUM_COLORS + 1)), jnp.where(color == NUM_COLORS, ANY, color), chosen % number
        )

    def _validate(self, rooms: RoomGrid, actions: Actions, locked: "_Locked | None") -> None:
        """What Farama rejects (``RoomGridLevel.validate_instrs``)."""
        things = rooms.things()
        matches = find_matching(rooms, actions.described)
        move, fixed = matches[:SLOTS], matches[SLOTS:]
        apart = jnp.abs(things.x[:, None] - things.x) + jnp.abs(things.y[:, None] - things.y)
        touching = ((apart == 1) & move[:, :, None] & fixed[:, None]).any((1, 2))
        wrong = (actions.verbs == PUT_NEXT) & ((move & fixed).any(1) | touching)
        rooms.accepted &= ~wrong.any()
        if self.unblocking and locked is not None:
            kind, color, _ = actions.described
            opens = (kind == KINDS.index("key")) & (color == locked.color)
            rooms.accepted &= ~(opens & actions.present).any()


class _Locked(NamedTuple):
    """The locked room, if there is one."""

    room: Any
    """Its number; -1 if there is none."""
    color: Any
    i: Any
    j: Any

    def holds(self, rooms: RoomGrid, things: Thing) -> Bool[Array, " n"]:
        """What lies in it, or stands in its walls."""
        side = rooms.size - 1
        left, top = self.i * side, self.j * side
        return (things.x >= left) & (things.x <= left + side) & (things.y >= top) & (things.y <= top + side)


# Levels whose instructions have one form


def actions_of(
    verbs: Sequence[Any], first: Sequence[Thing | None], second: Sequence[Thing | None] = (), reverse: Any = False
) -> Actions:
    """Actions (in the order of the text) on things that are named by colour and kind."""
    named = [*first, *[None] * (SLOTS - len(first)), *second, *[None] * (SLOTS - len(second))]
    kinds = jnp.stack([jnp.int32(0) if thing is None else jnp.asarray(thing.kind) for thing in named])
    colors = jnp.stack([jnp.int32(0) if thing is None else jnp.asarray(thing.color) for thing in named])
    verbs = [*verbs, *[NOTHING] * (SLOTS - len(verbs))]
    return Actions(
        jnp.stack([jnp.asarray(verb, jnp.int32) for verb in verbs]),
        Description(kinds, colors, jnp.zeros(2 * SLOTS, jnp.int32)),
        reverse,
    )


def move_two_across(rooms: RoomGrid, number: int) -> None:
    """Two objects change sides."""
    rooms.place_agent(0, 0)
    sides = [rooms.add_distractors(number, i, 0) for i in range(2)]
    rooms.remove_wall(0, 0, RIGHT)
    (a, d), (b, c) = ([one(side, index) for index in distinct(rooms.stream.take(2), number)] for side in sides)
    instruct(rooms, actions_of([PUT_NEXT, NOTHING, PUT_NEXT], [a, None, c], [b, None, d]), MOVE_WORDS)


def open_two_doors(rooms: RoomGrid, named: bool = False, strict: bool = False) -> Any:
    """Open the door on the left, then that on the right; ``named``: they are red and blue."""
    colors = (RED, BLUE) if named else distinct(rooms.stream.take(2), NUM_COLORS)
    first, second = (rooms.add_door(1, 1, side, colors[n], locked=False) for n, side in ((0, LEFT), (1, RIGHT)))
    rooms.place_agent(1, 1)
    instruct(rooms, actions_of([OPEN_NO_OTHER if strict else OPEN, NOTHING, OPEN], [first, None, second]))
    return None if named else pair_row(colors[0], colors[1], NUM_COLORS)


def open_doors_in_order(rooms: RoomGrid, number: int, strict: bool = False) -> Any:
    """Open one door, or two in the order in which they are named or the reverse."""
    colors = distinct(rooms.stream.take(number), NUM_COLORS)
    doors = together(*(rooms.add_door(1, 1, color=colors[n], locked=False) for n in range(number)))
    rooms.place_agent(1, 1)
    first, second = (one(doors, index) for index in distinct(rooms.stream.take(2), number))
    mode = rooms.stream.randint(3)
    verb = OPEN_NO_OTHER if strict else OPEN
    verbs = [verb, NOTHING, jnp.where(mode == 0, NOTHING, verb)]
    instruct(rooms, actions_of(verbs, [first, None, second], reverse=mode == 2))
    pair = pair_row(first.color, second.color, NUM_COLORS)
    return jnp.where(mode == 0, first.color, NUM_COLORS + jnp.where(mode == 2, PAIRS, 0) + pair)


def act_on_object_or_door(rooms: RoomGrid) -> Any:
    """Go to an object or a door, or pick it up or open it."""
    things = rooms.add_distractors(5, 1, 1)
    doors = [rooms.add_door(1, 1, locked=False) for _ in range(4)]
    rooms.place_agent(1, 1)
    thing = any_of(rooms, together(things, *doors))
    is_door, goes = thing.kind == A_DOOR, rooms.stream.randint(2) == 0
    verb = jnp.where(goes, GO_TO, jnp.where(is_door, OPEN, PICK_UP))
    instruct(rooms, actions_of([verb], [thing]))
    several = rooms.find(thing.kind, thing.color).sum() > 1
    return jnp.where(goes, 0, len(THINGS) + NUM_COLORS) + NUM_COLORS * (thing.kind + several) + thing.color


PAIRS = NUM_COLORS * (NUM_COLORS - 1)
MOVE_WORDS = 19
"""Words of "put the red ball next to the blue key, then put the red key next to the blue ball"."""


_TWO_DOORS = pairs("open the {} door, then open the {} door", COLORS)
_RED_BLUE = ("open the red door, then open the blue door",)
_ACTIONS = (
    *naming("go to", THINGS, THE),
    *naming("go to", DOORS, ("a",)),
    *naming("pick up", OBJECTS, THE),
    *naming("open", DOORS),
)

_doors = partial(room_level, size=6, max_steps=720, obey=True)


def _grammar(grammar: Grammar, **room: Any) -> MakeLevel:
    return room_level(grammar, (), drawn_words=grammar.max_words, obey=True, per_nav=True, **room)


def _move_two(size: int, number: int) -> MakeLevel:
    furnish, room = partial(move_two_across, number=number), {"size": size, "columns": 2, "rows": 1}
    return room_level(furnish, (), **room, max_steps=16 * size**2, drawn_words=MOVE_WORDS, obey=True)


_GO_TO_SEQ = Grammar(verbs=(GO_TO,), locations=False, unblocking=False, locked_of_16=0)
_SYNTH = Grammar(structures=("action",), locations=False, implicit_unlock=False)
_IN_ORDER = (
    *(f"open the {color} door" for color in COLORS),
    *_TWO_DOORS,
    *pairs("open the {} door after you open the {} door", COLORS),
)

LEVELS: dict[str, MakeLevel] = {
    "BabyAI-GoToSeq-v0": _grammar(_GO_TO_SEQ),
    "BabyAI-GoToSeqS5R2-v0": _grammar(dataclasses.replace(_GO_TO_SEQ, num_objects=4), size=5, columns=2, rows=2),
    "BabyAI-OpenTwoDoors-v0": _doors(open_two_doors, _TWO_DOORS),
    "BabyAI-OpenRedBlueDoors-v0": _doors(partial(open_two_doors, named=True), _RED_BLUE),
    "BabyAI-OpenRedBlueDoorsDebug-v0": _doors(partial(open_two_doors, named=True, strict=True), _RED_BLUE),
    **{
        f"BabyAI-OpenDoorsOrderN{number}{name}-v0": _doors(
            partial(open_doors_in_order, number=number, strict=bool(name)), _IN_ORDER
        )
        for number in (2, 4)
        for name in ("", "Debug")
    },
    "BabyAI-ActionObjDoor-v0": room_level(act_on_object_or_door, _ACTIONS, size=7, obey=True),
    "BabyAI-MoveTwoAcrossS5N2-v0": _move_two(5, 2),
    "BabyAI-MoveTwoAcrossS8N9-v0": _move_two(8, 9),
    "BabyAI-Synth-v0": _grammar(_SYNTH),
    "BabyAI-SynthS5R2-v0": _grammar(_SYNTH, size=5, rows=2),
    "BabyAI-SynthLoc-v0": _grammar(dataclasses.replace(_SYNTH, locations=True)),
    "BabyAI-SynthSeq-v0": _grammar(Grammar(implicit_unlock=False)),
    "BabyAI-MiniBossLevel-v0": _grammar(Grammar(num_objects=7, locked_of_16=4), size=5, columns=2, rows=2),
    "BabyAI-BossLevel-v0": _grammar(Grammar()),
    "BabyAI-BossLevelNoUnlock-v0": _grammar(Grammar(locked_of_16=0, implicit_unlock=False)),
}
