"""Instructions are judged and worded as Farama's verifier does, oddities included (minigrid 3.2.0, babyai/core)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.envs.babyai.core.verifier import AfterInstr, AndInstr, BeforeInstr

from metarims.gridworld import make, mix, task_rules, tiles
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.descriptions import A_DOOR, ANY, kind_and_color
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.instructions import GO_TO, NOTHING, OPEN, OPEN_NO_OTHER, PICK_UP, PUT_NEXT
from metarims.gridworld.levels.language import Actions, Description, instruct
from metarims.gridworld.levels.rooms import RoomGrid, Thing
from metarims.gridworld.physics import DONE, DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE
from metarims.gridworld.state import EnvState, Instruction, new_state
from metarims.gridworld.task_rules import TaskRules

pytestmark = pytest.mark.usefixtures("quick_module")

RULES = TaskRules(max_steps=100, doors=True, obey=True, per_nav=True)
KEY, BALL, BOX = (tiles.object_code(kind, "blue") for kind in ("key", "ball", "box"))
DOOR = tiles.door_code("red", "closed")
FIRST, SECOND = 1, 4
"""The bits of the objects of the first action of each part."""
advance = jax.jit(lambda state, action: task_rules.advance(RULES, state, action))


def told(*verbs: int, carrying: int = tiles.EMPTY, held: int = 0, count: int = 0, **cells: tuple[int, int]) -> EnvState:
    """The agent in the upper left corner of a room, facing right; ``c2_1=(BALL, FIRST)``: a cell and its bits."""
    grid, meant = np.full((8, 8), tiles.EMPTY, np.uint8), np.zeros((8, 8), np.uint8)
    grid[[0, -1], :] = grid[:, [0, -1]] = tiles.WALL
    for name, (code, bits) in cells.items():
        place = tuple(map(int, name[1:].split("_")))
        grid[place], meant[place] = code, bits
    kinds = jnp.array([*verbs, *[NOTHING] * (4 - len(verbs))], jnp.uint8)
    bound = Instruction(kinds, kinds == NOTHING, jnp.asarray(meant), jnp.asarray(meant), jnp.uint8(held))
    state = new_state(jnp.asarray(grid), 1, 1, 0)._replace(instruction=bound)
    return state._replace(carrying=jnp.uint8(carrying), step_count=jnp.int16(count))


def play(state: EnvState, *actions: int) -> list[Any]:
    """The outcomes of several actions."""
    outcomes = []
    for action in actions:
        outcomes.append(advance(state, jnp.int32(action)))
        state = outcomes[-1].state
    return outcomes


def succeeds(state: EnvState, *actions: int) -> bool:
    """Whether the last of these actions, and none before, ends the episode with success."""
    outcomes = play(state, *actions)
    assert not any(outcome.terminated for outcome in outcomes[:-1])
    return bool(outcomes[-1].terminated) and float(outcomes[-1].reward) > 0


def test_who_picks_something_up_has_gone_to_it() -> None:
    """roomgrid_level.py: positions are looked up again only when the action is to drop; verifier.py:482: the second
    part is judged in the step in which the first is done."""
    state = told(PICK_UP, NOTHING, GO_TO, c2_1=(BALL, FIRST | SECOND))
    assert succeeds(state, PICKUP)


def test_where_a_box_was_it_still_is_until_something_is_dropped() -> None:
    state = told(PICK_UP, NOTHING, GO_TO, c2_1=(BOX, SECOND), c1_2=(KEY, FIRST))
    assert succeeds(state, TOGGLE, RIGHT, PICKUP, LEFT)
    assert not succeeds(state, TOGGLE, RIGHT, PICKUP, DROP, LEFT)


def test_any_attempt_to_drop_makes_the_verifier_look_again() -> None:
    """Also one that is in vain: roomgrid_level.py asks for the action alone."""
    state = told(PICK_UP, NOTHING, GO_TO, c2_1=(BOX, SECOND), c1_2=(KEY, FIRST))
    assert not succeeds(state, TOGGLE, DROP, RIGHT, PICKUP, LEFT)


def test_what_is_held_counts_as_picked_up_in_the_step_in_which_that_becomes_the_task() -> None:
    """verifier.py:353: until then it is not known what was carried before."""
    state = told(GO_TO, NOTHING, PICK_UP, carrying=BALL, held=SECOND, count=3, c2_1=(BOX, FIRST))
    assert succeeds(state, PICKUP)
    assert not succeeds(state, TOGGLE, PICKUP)
    assert not succeeds(told(PICK_UP, carrying=BALL, held=FIRST, count=3), PICKUP)


def test_what_is_dropped_in_that_step_does_not_count_as_put() -> None:
    """verifier.py:426."""
    place = SECOND << 4
    cells = {"c2_2": (BOX, place), "c3_1": (KEY, FIRST)}
    at_once = told(GO_TO, NOTHING, PUT_NEXT, carrying=BALL, held=SECOND, count=3, **cells)
    outcome = play(at_once, DROP)[-1]
    assert not outcome.terminated
    later = told(PUT_NEXT, carrying=BALL, held=FIRST, count=3, c2_2=(BOX, FIRST << 4))
    assert succeeds(later, DROP)
    across = told(PUT_NEXT, carrying=BALL, held=FIRST, count=3, c3_2=(BOX, FIRST << 4))
    assert not succeeds(across, DROP)


def test_two_actions_are_done_in_any_order_and_stay_done() -> None:
    """verifier.py:555: what has succeeded is not asked again."""
    state = told(GO_TO, OPEN, c2_1=(BALL, 1), c1_2=(DOOR, 2))
    outcomes = play(state, RIGHT, TOGGLE, LEFT)
    done = [outcome.state.instruction.done[:2].tolist() for outcome in outcomes]
    assert done == [[False, False], [False, True], [True, True]]
    assert outcomes[-1].terminated
    assert succeeds(state, DONE, RIGHT, TOGGLE)


def test_the_second_part_does_not_count_before_the_first() -> None:
    state = told(OPEN, NOTHING, PICK_UP, c2_1=(BALL, SECOND), c1_2=(DOOR, FIRST))
    assert not succeeds(state, PICKUP, RIGHT, TOGGLE)
    again = play(state, PICKUP, DROP, RIGHT, TOGGLE, LEFT)[-1].state
    assert succeeds(again, PICKUP)


def test_a_strict_second_part_forgives_what_is_done_before_it_is_due() -> None:
    """verifier.py:468: it is not looked at until then."""
    other = {"c2_1": (tiles.door_code("green", "closed"), 0), "c1_2": (BALL, FIRST)}
    state = told(GO_TO, NOTHING, OPEN_NO_OTHER, **other)
    early, due = play(state, TOGGLE), play(state, RIGHT, LEFT, TOGGLE)
    assert not early[-1].terminated
    assert due[-1].terminated
    assert float(due[-1].reward) == 0


def test_the_time_limit_grows_with_the_instruction() -> None:
    """roomgrid_level.py, ``num_navs_needed``: to put something next to another counts twice."""
    for verbs, limit in (((GO_TO,), 100), ((PUT_NEXT,), 200), ((GO_TO, OPEN, PUT_NEXT, PICK_UP), 500)):
        truncated = [bool(play(told(*verbs, count=count), DONE)[0].truncated) for count in (limit - 2, limit - 1)]
        assert truncated == [False, True]


def from_farama(env: Any) -> Actions:
    """The actions of a Farama environment in the order of their text."""
    told, kinds, colors = env.instrs, ("key", "ball", "box", "door"), tiles.COLORS
    places = (None, "left", "right", "front", "behind")

    def actions(part):
        return [part.instr_a, part.instr_b] if isinstance(part, AndInstr) else [part]

    parts = [told.instr_a, told.instr_b] if isinstance(told, BeforeInstr | AfterInstr) else [told]
    verbs, described = np.zeros(4, np.int32), np.zeros((3, 8), np.int32)
    names = {"GoToInstr": GO_TO, "OpenInstr": OPEN, "PickupInstr": PICK_UP, "PutNextInstr": PUT_NEXT}
    for part, both in enumerate(map(actions, parts)):
        for number, action in enumerate(both):
            slot = 2 * part + number
            verbs[slot] = names[type(action).__name__]
            found = [getattr(action, name) for name in ("desc", "desc_move", "desc_fixed") if hasattr(action, name)]
            for second, thing in enumerate(found):
                color = ANY if thing.color is None else colors.index(thing.color)
                described[:, slot + 4 * second] = kinds.index(thing.type), color, places.index(thing.loc)
    return Actions(
        jnp.asarray(verbs), Description(*map(jnp.asarray, described)), jnp.bool_(isinstance(told, AfterInstr))
    )


class Rebuilt(RoomGrid):
    """Rooms as they are in a state."""

    def __init__(self, level: Any, state: EnvState):
        self.size, self.width, self.height = level.room_size, level.width, level.height
        self.x, self.y, self.direction = state.x.astype(int), state.y.astype(int), state.direction
        self.instruction, self.tokens, self._grid = None, None, state.grid

    def things(self) -> Thing:
        x, y = jnp.meshgrid(jnp.arange(self.width), jnp.arange(self.height), indexing="ij")
        kinds, colors = (plane.ravel().astype(int) for plane in kind_and_color(self._grid))
        return Thing(x.ravel(), y.ravel(), kinds, colors, kinds <= A_DOOR)


@pytest.mark.parametrize("id", ["BabyAI-BossLevel-v0", "BabyAI-GoToSeqS5R2-v0"])
def test_words_and_objects_are_faramas(id: str) -> None:
    level: Any = make(id)
    env: Any = make_farama(id).unwrapped

    @jax.jit
    def bind(state, actions):
        rooms = Rebuilt(level, state)
        instruct(rooms, actions, level.drawn_words)
        return rooms.instruction, rooms.tokens

    for seed in range(40):
        quiet_reset(env, seed)
        state = state_from_farama(env, level=level)
        found = jax.tree.map(np.asarray, bind(jax.tree.map(jnp.asarray, state), from_farama(env)))
        jax.tree.map(np.testing.assert_array_equal, found, (state.instruction, state.tokens))
        assert level.spell(found[1]) == env.mission


def test_a_mixture_keeps_instructions_and_words() -> None:
    """In a level of a mixture that has none, nothing is to be obeyed."""
    levels = [make(id) for id in ("BabyAI-GoToSeqS5R2-v0", "MiniGrid-LockedRoom-v0")]
    mixture = mix(levels)
    states = [jax.jit(level.reset)(jax.random.key(1)) for level in levels]
    mixed = [mixture.embed(source, state) for source, state in enumerate(states)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *mixed)
    alone = [jax.tree.map(lambda leaf: leaf[None], state) for state in states]
    assert mixture.texts(batch) == [level.texts(one)[0] for level, one in zip(levels, alone, strict=True)]
    assert ", unlock" in mixture.texts(batch)[1]
    for one, state in zip(mixed, states, strict=True):
        result = task_rules.step(mixture, one, jnp.int32(FORWARD))
        alone = task_rules.step(mixture.parts[int(one.task)], state, jnp.int32(FORWARD))
        assert bool(result.terminated) == bool(alone.terminated) == False  # noqa: E712
        assert result.state.instruction is not None
        assert result.state.instruction.meant.shape == (mixture.width, mixture.height)
