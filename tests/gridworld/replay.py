"""Play Farama with random actions that favour objects, then replay the same actions in our world."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Goal, Wall
from minigrid.envs.babyai.core.verifier import GoToInstr, ObjDesc, PickupInstr
from minigrid.minigrid_env import MiniGridEnv
from minigrid.utils.baby_ai_bot import BabyAIBot
from minigrid.wrappers import RGBImgPartialObsWrapper
from tests.gridworld.patience import draw, patience

from metarims.gridworld import observation as obs
from metarims.gridworld import obstacles, task_rules
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.instructions import NOTHING
from metarims.gridworld.levels import mazes
from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import SYMBOLS
from metarims.gridworld.types import Observation

UNBIASED = np.array([0.15, 0.15, 0.3, 0.15, 0.1, 0.1, 0.05])
AT_AN_OBJECT = np.array([0.05, 0.05, 0.2, 0.35, 0.05, 0.3, 0.0])
PATIENT = np.array([0.2, 0.2, 0.35, 0.1, 0.1, 0.01, 0.04])
"""Where the action done and toggle end the episode."""


class Record(NamedTuple):
    """What Farama did; ``start`` is the world put in place before the step where ``is_first``."""

    is_first: np.ndarray
    start: EnvState
    actions: np.ndarray
    image: np.ndarray
    direction: np.ndarray
    mission: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    moved: np.ndarray
    """Where each obstacle went (flat cell indices), for worlds that move by themselves."""


class BankedMaze(MiniGridEnv):
    """Farama's WFC mazes have no rules of their own. Walls are ours: its wheel lacks what its generator learns from."""

    def __init__(self, level):
        self.walls, self.said = level.walls, level.missions[0]
        space = MissionSpace(lambda: self.said)
        super().__init__(space, width=level.width, height=level.height, max_steps=level.max_steps)

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        for x, y in np.argwhere(self.walls[self._rand_int(0, len(self.walls))]):
            self.grid.set(x, y, Wall())
        self.place_obj(Goal())
        self.place_agent()
        self.mission = self.said


def record(
    level, num_steps: int, seed: int, rgb_every: int = 10, by_bot: int = 6
) -> tuple[Record, dict[int, np.ndarray]]:
    """At least ``num_steps`` steps of whole episodes; also the RGB images of every ``rgb_every``-th step.

    Farama's bot plays ``by_bot`` of eight episodes, with noise, where there is something that it could be told to do.
    """
    rng = np.random.default_rng(seed)
    wrapped = RGBImgPartialObsWrapper(BankedMaze(level) if level.id in mazes.IDS else make_farama(level.id))
    env: Any = wrapped.unwrapped
    rows, images, world, fresh, episode, bot, noise, roams = [], {}, None, True, -1, None, 0.0, False
    while len(rows) < num_steps or not fresh:
        if fresh:
            draw(partial(quiet_reset, env), int(rng.integers(2**31)))
            world, episode = None, episode + 1
            bot = _bot(env) if episode % 8 < by_bot else None
            noise = (0.05, 0.15, 0.4)[episode % 3]
            roams = episode % 2 == 1 and bot is None
        if roams and rng.random() < 0.15 and _beside_an_object(env, rng):
            world = None  # the agent was carried elsewhere
        is_first = world is None
        if is_first:
            world = state_from_farama(env, mission_row(level, env.mission), level)
        action = choose(env, level, rng)
        if bot is not None:
            advised = advice(bot, rows[-1][2] if rows and not fresh else None)
            bot = None if advised is None else bot
            action = action if advised is None or rng.random() < noise else advised
        observation, reward, terminated, truncated, _ = env.step(action)
        moved = [x * env.height + y for x, y in (ball.cur_pos for ball in getattr(env, "obstacles", ()))]
        fresh = terminated or truncated
        mission = mission_row(level, observation["mission"])
        if len(rows) % rgb_every == 0:
            images[len(rows)] = wrapped.observation(observation)["image"]
        step = (is_first, world, action, observation["image"], observation["direction"], mission)
        rows.append((*step, reward, terminated, truncated, np.array(moved, np.int32)))
    columns = list(zip(*rows, strict=True))
    starts = jax.tree.map(lambda *leaves: np.stack(leaves), *columns[1])
    rest = [np.array(column) for column in columns[2:]]
    return Record(np.array(columns[0]), starts, *rest), images


def mission_row(level, mission: str) -> int:
    """The row of a mission; 0 where they are drawn."""
    return 0 if level.drawn_words else level.missions.index(mission)


def replay(level, history: Record) -> tuple[Any, ...]:
    """Our observations and outcomes for the same actions, and how many actions of the instruction are done."""
    start = jax.tree.map(jnp.asarray, history.start)
    inputs = history.is_first, start, jnp.asarray(history.actions), jnp.asarray(history.moved)
    _, out = _play(level.rules._replace(max_steps=0), level.num_obstacles > 0, level.max_steps, inputs)
    return jax.tree.map(np.asarray, out)


@partial(jax.jit, static_argnums=(0, 1))
def _play(rules, moves: bool, max_steps, inputs):
    """One program for all levels with the same shapes and rules."""
    rules = rules._replace(max_steps=max_steps)

    def one(world, inputs):
        is_first, start, action, moved = inputs
        world = jax.tree.map(lambda new, old: jnp.where(is_first, new, old), start, world)
        result = task_rules.advance(rules, world, action, partial(_follow, moved=moved) if moves else None)
        codes = obs.observe_codes(rules, result.state)
        observation = Observation(codes, result.state.direction, result.state.mission)
        told = result.state.instruction
        done = jnp.int32(0) if told is None else (told.done & (told.verbs != NOTHING)).sum(dtype=jnp.int32)
        return result.state, (observation, result.reward, result.terminated, result.truncated, done)

    first = jax.tree.map(lambda leaf: leaf[0], inputs[1])
    return jax.lax.scan(one, first, inputs)


def _follow(world: EnvState, moved: jax.Array) -> EnvState:
    """The obstacles go where Farama's went."""
    return obstacles.set_obstacles(world, moved.astype(jnp.int16))


def mismatches(level, num_steps: int, seed: int, rgb_every: int = 10, by_bot: int = 6) -> dict[str, int]:
    """Steps on which anything differs, by what differs; also how many steps, successes, failures and steps between two
    actions of an instruction were seen."""
    history, images = record(level, num_steps, seed, rgb_every, by_bot)
    observation, reward, terminated, truncated, done = replay(level, history)
    codes = observation.codes
    rendered = obs.render_host(codes[list(images)])
    return {
        "image": int((SYMBOLS[codes] != history.image).any((1, 2, 3)).sum()),
        "direction": int((observation.direction != history.direction).sum()),
        "mission": int((observation.mission != history.mission).sum()),
        "reward": int((np.abs(reward - history.reward) > 1e-6).sum()),
        "terminated": int((terminated != history.terminated).sum()),
        "truncated": int((truncated != history.truncated).sum()),
        "rgb": int((rendered != np.stack(list(images.values()))).any((1, 2, 3)).sum()),
        "steps": len(history.actions),
        "paid": int((history.reward > 0).sum()),
        "ended": int((history.terminated | history.truncated).sum()),
        "failed": int((history.terminated & (history.reward <= 0)).sum()),
        "partly done": int(((done > 0) & ~history.terminated).sum()),
    }


def _bot(env: Any) -> BabyAIBot | None:
    """Farama's bot reads an instruction when it is made. MiniGrid's tasks have none: one is lent to those in which an
    object is to be picked up."""
    if hasattr(env, "instrs"):
        return BabyAIBot(env)
    if not hasattr(env, "obj") or not env.mission.startswith("pick up "):
        return None
    env.instrs = PickupInstr(ObjDesc(env.obj.type, env.obj.color))
    env.instrs.reset_verifier(env)
    bot = BabyAIBot(env)
    del env.instrs
    return bot


def advice(bot: BabyAIBot, last: int | None) -> int | None:
    """What Farama's bot would do after the action ``last``; None where it gives up, or turns round in its thoughts."""
    try:
        with patience():
            advised = bot.replan(last)
    except Exception:
        return None  # It says so by whatever exception occurs.
    return None if advised is None else int(advised)


def choose(env: Any, level: Any, rng: np.random.Generator) -> int:
    front = env.grid.get(*env.front_pos)
    weights = UNBIASED if front is None or front.type == "wall" else AT_AN_OBJECT
    weights = (PATIENT if level.rules.done_beside else weights)[: level.num_actions]
    return int(rng.choice(level.num_actions, p=weights / weights.sum()))


def _beside_an_object(env: Any, rng: np.random.Generator) -> bool:
    """Put the agent on an empty cell facing something other than a wall; False if there is no such cell, or if it could
    be one outside of the room (GoToDoor).

    In "go to" levels it never faces a target: in play the episode would have ended, so what follows is undefined.
    """
    if hasattr(env, "target_pos") and env.grid.get(env.width - 1, env.height - 1) is None:
        return False
    targets = env.instrs.desc.obj_set if isinstance(getattr(env, "instrs", None), GoToInstr) else []
    places = []
    for x in range(1, env.width - 1):
        for y in range(1, env.height - 1):
            for direction, (dx, dy) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
                front = env.grid.get(x + dx, y + dy)
                if env.grid.get(x, y) is None and front is not None and front.type != "wall" and front not in targets:
                    places.append((x, y, direction))
    if not places:
        return False
    x, y, env.agent_dir = map(int, places[rng.integers(len(places))])
    env.agent_pos = (x, y)
    return True
