"""Play EnvPool with random actions, as a record of the same form as Farama's (``replay.Record``)."""

from typing import Any

import envpool  # pyright: ignore[reportMissingImports]
import jax
import numpy as np
from tests.gridworld.replay import Record

from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import AGENT, COLORS, EMPTY, KINDS, LANDMARK, SYMBOLS, TARGET

NUM_ENVS = 16
CODE_OF = {tuple(map(int, symbol)): code for code, symbol in enumerate(SYMBOLS[:AGENT])}
FORWARD_OF = ((1, 0), (0, 1), (-1, 0), (0, -1))
SIDES = {"in front of you": (1, 0), "behind you": (-1, 0), "on your right": (0, 1), "on your left": (0, -1)}


def record_envpool(level, num_steps: int, seed: int) -> Record:
    """At least ``num_steps`` steps, environment after environment."""
    env = envpool.make_gymnasium(level.id, num_envs=NUM_ENVS, num_threads=1, seed=seed)
    rng = np.random.default_rng(seed)
    env.reset()
    rows: list[list[Any]] = [[] for _ in range(NUM_ENVS)]
    worlds = [world_from(state, level) for state in env.debug_states()]
    is_first = np.ones(NUM_ENVS, bool)
    ended = np.zeros(NUM_ENVS, bool)
    while sum(map(len, rows)) < num_steps:
        actions = rng.integers(0, level.num_actions, NUM_ENVS).astype(np.int32)
        observation, reward, terminated, truncated, _ = env.step(actions)
        states = env.debug_states()
        for index in range(NUM_ENVS):
            if ended[index]:  # this step was the reset
                worlds[index] = world_from(states[index], level)
                is_first[index] = True
                continue
            moved = cells(states[index].obstacle_positions, level.height)
            seen = observation["image"][index], int(observation["direction"][index])
            mission = level.missions.index(states[index].mission)
            result = float(reward[index]), bool(terminated[index]), bool(truncated[index])
            rows[index].append((bool(is_first[index]), worlds[index], actions[index], *seen, mission, *result, moved))
            is_first[index] = False
        # A step after the end of an episode resets, so that it is no step.
        ended = np.where(ended, False, terminated | truncated)
    columns = list(zip(*(row for environment in rows for row in environment), strict=True))
    starts = jax.tree.map(lambda *leaves: np.stack(leaves), *columns[1])
    return Record(np.array(columns[0]), starts, *(np.array(column) for column in columns[2:]))


def world_from(state: Any, level) -> EnvState:
    """EnvPool's account of a world at the start of an episode as ours."""
    width, height = state.width, state.height
    symbols = np.asarray(state.grid).reshape(-1, 3).tolist()
    grid = np.array([CODE_OF[tuple(symbol)] for symbol in symbols], np.uint8).reshape(width, height)
    for (x, y), flag in named(state, grid):
        grid[x, y] |= flag
    fields: dict[str, Any] = {
        "grid": grid,
        "x": np.int8(state.agent_pos[0]),
        "y": np.int8(state.agent_pos[1]),
        "direction": np.int8(state.agent_dir),
        "carrying": np.uint8(EMPTY),
        "mission": np.int16(level.missions.index(state.mission)),
        "step_count": np.int16(0),
        "task": np.uint8(0),
        "obstacles": cells(state.obstacle_positions, height).astype(np.int16),
    }
    return EnvState(**fields)


def cells(positions: Any, height: int) -> np.ndarray:
    """Flat indices of cells given as x, y, x, y, ..."""
    pairs = np.asarray(positions, np.int32).reshape(-1, 2)
    return pairs[:, 0] * height + pairs[:, 1]


def named(state: Any, grid: np.ndarray) -> list[tuple[tuple[int, int], int]]:
    """The cells that the mission is about, with their flags, read from the mission's words."""
    words = state.mission
    if state.env_name == "memory":
        return [(tuple(state.success_pos), TARGET), (tuple(state.failure_pos), LANDMARK)]
    if state.env_name == "put_near":
        moved, place = words.removeprefix("put ").split(" near ")
        return [(c, TARGET) for c in matches(moved, state, grid)] + [(c, LANDMARK) for c in matches(place, state, grid)]
    if " next to " in words:
        moved, place = words.removeprefix("put ").split(" next to ")
        return [(c, TARGET) for c in matches(moved, state, grid)] + [(c, LANDMARK) for c in matches(place, state, grid)]
    for verb in ("go to ", "pick up ", "get a ", "go get a ", "fetch a ", "go fetch a ", "you must fetch a "):
        if words.startswith(verb) and words.split()[-1] not in ("square", "hallway", "goal"):
            return [(cell, TARGET) for cell in matches(words.removeprefix(verb), state, grid)]
    return []


def matches(description: str, state: Any, grid: np.ndarray) -> list[tuple[int, int]]:
    """Cells of the objects that a description fits: colour, kind, and where it lies as seen by the agent."""
    side = next((side for side in SIDES if description.endswith(side)), None)
    words = description.split()
    x, y = state.agent_pos
    dx, dy = FORWARD_OF[state.agent_dir]
    found = []
    for code in range(5, 23):
        kind, color = KINDS[(code - 5) // 6], COLORS[(code - 5) % 6]
        if (set(words) & set(KINDS)) - {kind} or (set(words) & set(COLORS)) - {color}:
            continue
        found += [(int(cx), int(cy)) for cx, cy in np.argwhere(grid == code)]
    if side is None:
        return found
    ahead, aside = SIDES[side]
    return [
        (cx, cy)
        for cx, cy in found
        if ahead * ((cx - x) * dx + (cy - y) * dy) + aside * ((cy - y) * dx - (cx - x) * dy) > 0
    ]
