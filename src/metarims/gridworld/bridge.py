"""From Farama's objects to our arrays: the state of an environment, and the pictures of the tiles."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    AndInstr,
    BeforeInstr,
    GoToInstr,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)

from metarims.errors import UserError
from metarims.gridworld.instructions import GO_TO, OPEN, OPEN_NO_OTHER, PICK_UP, PUT_NEXT, SLOTS
from metarims.gridworld.missions import tokenize
from metarims.gridworld.state import EnvState, Instruction
from metarims.gridworld.tiles import AGENT, EMPTY, LANDMARK, NUM_TILES, SYMBOLS, TARGET, UNSEEN
from metarims.gridworld.types import TILE, VIEW


def draw_atlas() -> np.ndarray:
    """[60, 8, 8, 3] every tile of the agent's view as minigrid draws it (``atlas.npy`` is this array)."""
    return np.stack([draw_tile(code, TILE, lit=True) for code in range(NUM_TILES)])


def draw_tile(code: int, size: int, lit: bool) -> np.ndarray:
    """[size, size, 3] one tile as minigrid draws it; ``lit``: in the agent's view, where its own tile faces up."""
    thing = WorldObj.decode(*map(int, SYMBOLS[code]))
    facing, lit = 3 if code >= AGENT else None, lit and code != UNSEEN
    tile = Grid.render_tile(thing, agent_dir=facing, highlight=lit, tile_size=size)
    return tile.astype(np.uint8)  # minigrid gives floats, and truncates them in its frames too.


def seen_cells(state: EnvState, view: np.ndarray) -> np.ndarray:
    """[W, H] whether the agent sees each cell of the grid, of which ``view`` [7, 7] are tile codes."""
    width, height = state.grid.shape
    seen = np.zeros((width, height), bool)
    (dx, dy), (i, j) = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(state.direction)], np.nonzero(np.asarray(view) != UNSEEN)
    ahead, aside = VIEW - 1 - j, i - VIEW // 2
    x, y = int(state.x) + dx * ahead - dy * aside, int(state.y) + dy * ahead + dx * aside
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen[x[inside], y[inside]] = True
    return seen


_CODE_OF = {tuple(map(int, symbol)): code for code, symbol in enumerate(SYMBOLS[:AGENT])}


def state_from_farama(env: Any, mission: int = 0, level: Any = None) -> EnvState:
    """The state of a Farama environment (after ``reset`` or any ``step``) as a ``EnvState`` of numpy arrays.

    ``mission`` is the row of the level's table that holds ``env.mission``. With ``level``, whose environment it is, the
    state has all that states of this level have.
    """
    env = env.unwrapped
    grid = np.array([_code(thing) for thing in env.grid.grid], np.uint8).reshape(env.height, env.width).T.copy()
    carrying = _code(env.carrying)
    # Where an instruction says what is meant, cells have no flags.
    obeys = level is not None and level.blank.instruction is not None
    for thing, flag in () if obeys else _named_objects(env):
        if thing is env.carrying:
            carrying |= flag
        elif thing.type != "wall":  # BabyAI's "grey object" matches walls too
            x, y = thing.cur_pos
            grid[x, y] |= flag if env.grid.get(x, y) is thing else 0
    for cell, flag in _named_cells(env):
        grid[tuple(map(int, cell))] |= flag
    obstacles = [ball.cur_pos for ball in getattr(env, "obstacles", ())]
    fields: dict[str, Any] = {
        "grid": grid,
        "x": np.int8(env.agent_pos[0]),
        "y": np.int8(env.agent_pos[1]),
        "direction": np.int8(env.agent_dir),
        "carrying": np.uint8(carrying),
        "mission": np.int16(mission),
        "step_count": np.int16(env.step_count),
        "task": np.uint8(0),
        "obstacles": np.array([x * env.height + y for x, y in obstacles], np.int16),
    }
    if level is not None and level.blank.contents is not None:
        inside = [_code(getattr(thing, "contains", None)) for thing in _things(env)]
        fields["contents"] = np.array(inside, np.uint8)
    if obeys:
        fields["instruction"] = _instruction(env)
    if level is not None and level.blank.tokens is not None:
        length = level.blank.tokens.shape[0]
        fields["tokens"] = tokenize(env.mission, level.vocabulary, length).astype(np.uint8)
    return EnvState(**fields)


def _things(env: Any) -> list[Any]:
    """What stands on each cell x H + y, then what is carried."""
    return [*(env.grid.get(x, y) for x in range(env.width) for y in range(env.height)), env.carrying]


def _instruction(env: Any) -> Instruction:
    """The instruction of a BabyAI environment as its verifier sees it now."""
    parts = _parts(env.instrs)
    verbs, done = np.zeros(SLOTS, np.uint8), np.ones(SLOTS, bool)
    meant, known = np.zeros((2, env.width, env.height), np.uint8)
    held = 0
    for part, actions in enumerate(parts):
        for number, (action, is_done) in enumerate(actions):
            slot = 2 * part + number
            verbs[slot], done[slot] = _verb(action), is_done
            described = [getattr(action, name) for name in ("desc", "desc_move", "desc_fixed") if hasattr(action, name)]
            for second, description in enumerate(described):
                bit = np.uint8(1 << (slot + SLOTS * second))
                for index, thing in enumerate(_things(env)):
                    if any(thing is other for other in description.obj_set):
                        if index < meant.size:
                            meant.reshape(-1)[index] |= bit
                        else:
                            held |= int(bit)
                for cell in description.obj_poss:
                    known[cell] |= bit
    arrays: Any = (verbs, done, meant, known, np.uint8(held))
    return Instruction(*arrays)


def _parts(instruction: Any) -> list[list[tuple[Any, bool]]]:
    """The actions of the part to be done first and of the other, and whether they have been done."""

    def actions(part: Any, done: Any) -> list[tuple[Any, bool]]:
        if isinstance(part, AndInstr):
            return [(part.instr_a, part.a_done == "success"), (part.instr_b, part.b_done == "success")]
        return [(part, done == "success")]

    if isinstance(instruction, BeforeInstr | AfterInstr):
        both = [actions(instruction.instr_a, instruction.a_done), actions(instruction.instr_b, instruction.b_done)]
        return both if isinstance(instruction, BeforeInstr) else both[::-1]
    return [actions(instruction, False)]


def _verb(action: Any) -> int:
    if isinstance(action, OpenInstr):
        return OPEN_NO_OTHER if action.strict else OPEN
    return {GoToInstr: GO_TO, PickupInstr: PICK_UP, PutNextInstr: PUT_NEXT}[type(action)]


def _named_objects(env: Any) -> Iterator[tuple[Any, int]]:
    """The objects that the task is about, with their flags."""
    instruction = getattr(env, "instrs", None)
    for name, flag in (("desc", TARGET), ("desc_move", TARGET), ("desc_fixed", LANDMARK)):
        for thing in getattr(getattr(instruction, name, None), "obj_set", ()):
            yield thing, flag
    for name in ("obj", "door"):  # MiniGrid's tasks on a grid of rooms.
        if isinstance(thing := getattr(env, name, None), WorldObj):
            yield thing, TARGET
    wanted = _wanted(env)
    for thing in [*env.grid.grid, env.carrying]:
        if thing is not None and wanted is not None and (thing.type, thing.color) == wanted:
            yield thing, TARGET


def _wanted(env: Any) -> tuple[str, str] | None:
    """Type and colour of what Fetch wants fetched and PutNear wants moved."""
    if hasattr(env, "targetColor"):
        return env.targetType, env.targetColor
    return (env.move_type, env.moveColor) if hasattr(env, "move_type") else None


def _named_cells(env: Any) -> Iterator[tuple[Any, int]]:
    """The places that the task is about, with their flags."""
    if hasattr(env, "success_pos"):
        yield env.success_pos, TARGET
        yield env.failure_pos, LANDMARK
    if hasattr(env, "target_pos"):
        yield env.target_pos, LANDMARK
    for name, flag in (("blue_door", TARGET), ("red_door", LANDMARK)):
        if hasattr(env, name):  # It does not know its own place.
            y, x = divmod(env.grid.grid.index(getattr(env, name)), env.width)
            yield (x, y), flag


def _code(thing: Any) -> int:
    if thing is None:
        return EMPTY
    symbol = tuple(thing.encode())
    if symbol not in _CODE_OF:
        raise UserError(
            f"The environment holds a {thing.type} (type, colour, state {symbol}), which no tile code means."
        )
    return _CODE_OF[symbol]
