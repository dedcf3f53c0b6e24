"""Play EnvPool, as a record of the same form as Farama's (``replay.Record``).

Its worlds are rebuilt in environments of Farama's, which then take the same steps. From them our state is read, and in
them players look what to do.
"""

import itertools
import re
from functools import partial
from typing import Any

import envpool  # pyright: ignore[reportMissingImports]
import jax
import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_NAMES, IDX_TO_COLOR, IDX_TO_OBJECT
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core.verifier import (
    LOC_NAMES,
    AfterInstr,
    AndInstr,
    BeforeInstr,
    GoToInstr,
    Instr,
    ObjDesc,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)
from minigrid.utils.baby_ai_bot import BabyAIBot
from tests.gridworld.patience import draw
from tests.gridworld.replay import BankedMaze, Record, advice, choose, mission_row

from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.levels import mazes

NUM_ENVS = 4
NOISE = 0.1
"""How often a bot is not obeyed."""
DESCRIPTION = re.compile(
    rf"(?:a|the) (?:({'|'.join(COLOR_NAMES)}) )?(\w+)(?:(?: on your| in|) ({'|'.join(LOC_NAMES)})(?: of you| you|))?"
)


def record_envpool(level, num_steps: int, seed: int) -> Record:
    """``num_steps`` steps, environment after environment; in every second one a bot plays."""
    env = envpool.make_gymnasium(level.id, num_envs=NUM_ENVS, num_threads=1, seed=seed)
    rng = np.random.default_rng(seed)
    env.reset()
    twins = [Twin(level, has_bot=index % 2 == 0) for index in range(NUM_ENVS)]
    for twin, state in zip(twins, env.debug_states(), strict=True):
        twin.begin(state)
    rows: list[list[Any]] = [[] for _ in twins]
    ended = np.zeros(NUM_ENVS, bool)
    while sum(map(len, rows)) < num_steps:
        actions = np.array([twin.act(rng) for twin in twins], np.int32)
        observation, reward, terminated, truncated, _ = env.step(actions)
        for index, (twin, state) in enumerate(zip(twins, env.debug_states(), strict=True)):
            if ended[index]:  # this step was the reset
                twin.begin(state)
                continue
            seen = observation["image"][index], int(observation["direction"][index]), mission_row(level, state.mission)
            result = float(reward[index]), bool(terminated[index]), bool(truncated[index])
            moved = np.array([x * level.height + y for x, y in obstacles(state)], np.int32)
            rows[index].append((twin.is_first, twin.world, actions[index], *seen, *result, moved))
            twin.follow(int(actions[index]), state)
        ended = ~ended & (terminated | truncated)
    steps = list(itertools.chain(*rows))[:num_steps]
    columns = list(zip(*steps, strict=True))
    starts = jax.tree.map(lambda *leaves: np.stack(leaves), *columns[1])
    return Record(np.array(columns[0]), starts, *(np.array(column) for column in columns[2:]))


class Twin:
    """An environment of Farama's that follows one of EnvPool's, and who plays in both."""

    def __init__(self, level, has_bot: bool):
        self.level, self.has_bot = level, has_bot
        self.env: Any = (BankedMaze(level) if level.id in mazes.IDS else make_farama(level.id)).unwrapped
        draw(partial(quiet_reset, self.env), 0)  # for the attributes that all levels of an id have

    def begin(self, state: Any) -> None:
        """Take over the world at the start of an episode."""
        rebuild(self.env, state)
        self.world = state_from_farama(self.env, mission_row(self.level, state.mission), self.level)
        self.is_first, self.last = True, None
        self.bot = make_bot(self.env) if self.has_bot else None

    def act(self, rng: np.random.Generator) -> int:
        """A random action, or what a bot advises."""
        advised = None if self.bot is None else advice(self.bot, self.last)
        if advised is None:
            self.bot = None
        elif advised < self.level.num_actions and rng.random() >= NOISE:
            front = self.env.grid.get(*self.env.front_pos)
            is_at_goal = advised == Actions.done and front is not None and front.type == "goal"
            return int(Actions.forward) if is_at_goal else advised
        return choose(self.env, self.level, rng)

    def follow(self, action: int, state: Any) -> None:
        """Take the step that EnvPool took; its obstacles moved at random."""
        if self.level.num_obstacles:
            rebuild(self.env, state)
        else:
            self.env.step(action)
        self.is_first, self.last = False, action


def rebuild(env: Any, state: Any) -> None:
    """Make EnvPool's world that of Farama's ``env``, at the start of an episode."""
    env.mission, env.step_count, env.max_steps = state.mission, 0, state.max_steps
    env.agent_pos, env.agent_dir, env.carrying = tuple(state.agent_pos), state.agent_dir, None
    env.grid, shape = Grid(env.width, env.height), (state.width, state.height, 3)
    things, contents = (np.reshape(symbols, shape).tolist() for symbols in (state.grid, state.grid_contains))
    for x, y in np.ndindex(env.width, env.height):  # some of EnvPool's grids are larger: see the test
        put(env, (x, y), things[x][y], contents[x][y])
    if state.has_carrying:  # Verifiers are told where it lay when the level was drawn.
        carried = state.carrying_type, state.carrying_color, state.carrying_state
        content = state.carrying_contains_type, state.carrying_contains_color, state.carrying_contains_state
        put(env, tuple(state.move_pos), carried, content)
    if hasattr(env, "instrs"):
        instruction: Any = read(state.mission, strict=getattr(env, "debug", False))
        if getattr(env, "strict", False):
            instruction.instr_a.strict = True
        assert instruction.surface(env) == state.mission
        instruction.reset_verifier(env)
        env.instrs = instruction
    else:
        set_names(env, state)
    if state.has_carrying:
        x, y = state.move_pos
        env.carrying = env.grid.get(x, y)
        env.grid.set(x, y, None)


def put(env: Any, cell: tuple[int, int], symbol: Any, content: Any) -> None:
    """Put what type, colour and state mean on a cell, with what it contains."""
    thing: Any = WorldObj.decode(*symbol)
    env.grid.set(*cell, thing)
    if thing is not None:
        thing.cur_pos = thing.init_pos = cell
        thing.contains = WorldObj.decode(*content)


def obstacles(state: Any) -> list[tuple[int, int]]:
    """Where they are."""
    return list(zip(state.obstacle_positions[::2], state.obstacle_positions[1::2], strict=True))


def set_names(env: Any, state: Any) -> None:
    """What the tasks of MiniGrid call the things and places that they are about."""
    doors = {thing.color: thing for thing in env.grid.grid if thing is not None and thing.type == "door"}
    target = env.grid.get(*state.target_pos) if min(state.target_pos) >= 0 else None
    named = {
        "success_pos": tuple(state.success_pos),
        "failure_pos": tuple(state.failure_pos),
        "target_pos": tuple(state.target_pos),
        "targetType": IDX_TO_OBJECT[state.target_type],
        "targetColor": IDX_TO_COLOR[state.target_color],
        "move_type": IDX_TO_OBJECT[state.move_type],
        "moveColor": IDX_TO_COLOR[state.move_color],
        "obj": target,
        "door": target,
        "red_door": doors.get("red"),
        "blue_door": doors.get("blue"),
        "obstacles": [env.grid.get(*cell) for cell in obstacles(state)],
    }
    vars(env).update({name: thing for name, thing in named.items() if hasattr(env, name)})


def read(mission: str, strict: bool) -> Instr:
    """The instruction that BabyAI puts in these words."""
    for words, kind in ((", then ", BeforeInstr), (" after you ", AfterInstr), (" and ", AndInstr)):
        first, found, second = mission.partition(words)
        if found:
            return kind(read(first, strict), read(second, strict))
    verb, things = re.fullmatch("(go to|open|pick up|put) (.*)", mission).groups()  # pyright: ignore
    described = [describe(thing) for thing in things.split(" next to ")]
    if verb == "go to":
        return GoToInstr(*described)
    return {"open": OpenInstr, "pick up": PickupInstr, "put": PutNextInstr}[verb](*described, strict=strict)


def describe(words: str) -> ObjDesc:
    """What is meant by, for example, "a red ball" or "the door on your left"."""
    color, kind, place = DESCRIPTION.fullmatch(words).groups()  # pyright: ignore
    return ObjDesc(None if kind == "object" else kind, color, place)


def make_bot(env: Any) -> BabyAIBot | None:
    """Farama's bot; it is told the tasks of MiniGrid in the words of BabyAI, if there are any."""
    if hasattr(env, "instrs"):
        bot = BabyAIBot(env)
        if env.carrying is not None:
            del bot.stack[2:]  # It need not be fetched.
        return bot
    if any(thing is not None and thing.type == "goal" for thing in env.grid.grid):
        env.instrs = GoToInstr(ObjDesc(None))
        env.instrs.desc.type = "goal"
    elif env.mission and not hasattr(env, "success_pos"):
        words = re.sub(".*(get|fetch) a ", "pick up a ", env.mission)
        words = words.replace(" near ", " next to ").replace(" then the ", ", then open the ")
        env.instrs = read(words, strict=False)
    else:  # Playground and Memory
        return None
    if not hasattr(env, "room_from_pos"):
        env.room_from_pos = lambda x, y: None
    env.instrs.reset_verifier(env)
    bot = BabyAIBot(env)
    del env.instrs  # Its task does not know of it.
    return bot
