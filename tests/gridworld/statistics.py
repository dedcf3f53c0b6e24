"""What is compared between our levels and Farama's: each statistic puts every level into one category."""

from collections import Counter
from typing import Any

import jax
import numpy as np
from scipy.stats import chi2
from tests.gridworld.patience import draw

from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama, quiet_reset
from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import AGENT, BALL, BOX, CODE, DOOR, GOAL, KEY, LANDMARK, LAVA, TARGET, WALL

NONE = -1
FEWEST = 10
"""Categories with fewer levels, over both samples, are pooled."""


def statistics(world: EnvState) -> dict[str, np.ndarray]:
    """Categories [N] of N levels at their start (arrays on the host)."""
    grid = np.asarray(world.grid)
    codes, (num, _, height) = grid & CODE, grid.shape
    x, y, direction = (np.asarray(leaf, int) for leaf in (world.x, world.y, world.direction))
    agent = x * height + y
    things = (codes >= KEY) & (codes < DOOR)
    doors = (codes >= DOOR) & (codes < AGENT)
    walls, targets, landmarks = codes == WALL, (grid & TARGET) != 0, (grid & LANDMARK) != 0
    target, goal = _first(targets), _first(codes == GOAL)
    step = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[direction]
    front = codes[np.arange(num), x + step[:, 0], y + step[:, 1]]
    kinds = [((codes >= base) & (codes < base + 6)).sum((1, 2)) for base in (KEY, BALL, BOX)]
    colors = [(things & ((codes - KEY) % 6 == color)).sum((1, 2)) for color in range(6)]
    return {
        "mission": np.asarray(world.mission, int),
        "agent": agent * 4 + direction,
        "front": front,
        "kinds": _digits(kinds),
        "colors": _digits(colors),
        "first thing": _first(things),
        "last thing": _last(things),
        "code of first thing": _at(codes, _first(things)),
        "code of last thing": _at(codes, _last(things)),
        "number of targets": targets.sum((1, 2)),
        "first target": target,
        "code of first target": _at(codes, target),
        "last target": _last(targets),
        "landmark": _first(landmarks),
        "beside": _touching(things, ((1, 0), (0, 1))),
        "diagonal": _touching(things, ((1, 1), (1, -1))),
        "at walls": (things[:, 1:-1, 1:-1] & _near(walls)).sum((1, 2)),
        "walls": _hash(walls, 499),
        "lava": _hash(codes == LAVA, 499),
        "doors": doors.sum((1, 2)),
        "first door": _first(doors),
        "last door": _last(doors),
        "code of first door": _at(codes, _first(doors)),
        "door colors": _hash(np.where(doors, codes, 0), 199),
        "goal": goal,
        "target distance": _distance(agent, target, height),
        "goal distance": _distance(agent, goal, height),
        "agent in layout": _hash(walls, 31) * 1000 + agent,
        "goal in layout": _hash(walls, 31) * 1000 + goal,
        "order of obstacles": _order(np.asarray(world.obstacles, int)),
        **_instructions(world),
    }


def _instructions(world: EnvState) -> dict[str, np.ndarray]:
    """What is to be done, on what, and in which words."""
    found = {}
    if world.instruction is not None:
        meant = np.asarray(world.instruction.meant)
        numbers = [((meant >> bit) & 1).sum((1, 2), dtype=int) for bit in range(8)]
        verbs = np.asarray(world.instruction.verbs, int)
        found["verbs"] = verbs @ 6 ** np.arange(4)
        for slot in range(4):
            found[f"things meant by action {slot}"] = np.where(verbs[:, slot] > 0, numbers[slot], NONE)
            found[f"places meant by action {slot}"] = np.where(verbs[:, slot] == 5, numbers[4 + slot], NONE)
            found[f"first thing of action {slot}"] = _first((meant >> slot) & 1 == 1)
            found[f"first place of action {slot}"] = _first((meant >> (4 + slot)) & 1 == 1)
    if world.tokens is not None:
        tokens = np.asarray(world.tokens)
        found["words"] = (tokens > 0).sum(1)
        for word in range(1, 54):
            found[f"word {word}"] = (tokens == word).sum(1)
    return found


def our_levels(level, number: int, seed: int) -> EnvState:
    """``number`` levels drawn natively."""
    attempts = 8 * number if "MultiRoom" in level.id else 5 * number
    batch = 4096

    @jax.jit
    def draw(key):
        return jax.vmap(level.draw)(jax.random.bits(key, (batch, level.num_draws)))

    kept = []
    for key in jax.random.split(jax.random.key(seed), attempts // batch + 1):
        world, good = jax.tree.map(np.asarray, draw(key))
        kept.append(jax.tree.map(lambda leaf, good=good: leaf[good], world))
        if sum(len(part.x) for part in kept) >= number:
            break
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:number], *kept)


def farama_levels(level, number: int, seed: int) -> EnvState:
    """``number`` levels of Farama's generator."""
    env: Any = make_farama(level.id).unwrapped
    env.gen_obs = lambda: None  # Levels do not depend on what is seen of them, which takes half of the time.
    quiet_reset(env, seed)
    worlds = []
    for _ in range(number):
        draw(lambda: quiet_reset(env))
        row = 0 if level.drawn_words else level.missions.index(env.mission)
        worlds.append(state_from_farama(env, row, level))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *worlds)


def count(world: EnvState) -> dict[str, Counter]:
    """How many levels fall into each category of each statistic."""
    return {name: Counter(map(int, values)) for name, values in statistics(world).items()}


def p_value(ours: Counter, theirs: Counter) -> float:
    """Two-sample chi-square test that both counts come from one distribution."""
    both = sorted(set(ours) | set(theirs))
    table = np.array([[ours[value] for value in both], [theirs[value] for value in both]], float)
    rare = table.sum(0) < FEWEST
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], 1)
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), table.shape[1] - 1))


def worst(ours: dict[str, Counter], theirs: dict[str, Counter]) -> tuple[float, str]:
    """The smallest p-value over all statistics, Bonferroni-corrected for their number, and its name."""
    ps = {name: p_value(ours[name], theirs[name]) for name in theirs}
    name = min(ps, key=lambda name: ps[name])
    return min(1.0, ps[name] * len(ps)), name


def _first(mask: np.ndarray) -> np.ndarray:
    flat = mask.reshape(len(mask), -1)
    return np.where(flat.any(1), flat.argmax(1), NONE)


def _last(mask: np.ndarray) -> np.ndarray:
    flat = mask.reshape(len(mask), -1)[:, ::-1]
    return np.where(flat.any(1), flat.shape[1] - 1 - flat.argmax(1), NONE)


def _at(codes: np.ndarray, cell: np.ndarray) -> np.ndarray:
    return np.where(cell < 0, NONE, codes.reshape(len(codes), -1)[np.arange(len(codes)), cell].astype(int))


def _digits(numbers: list[np.ndarray]) -> np.ndarray:
    return np.sum([number.astype(int) * 10**place for place, number in enumerate(numbers)], axis=0)


def _hash(values: np.ndarray, buckets: int) -> np.ndarray:
    weights = np.random.default_rng(0).integers(1, 2**40, values[0].size)
    return (values.reshape(len(values), -1).astype(np.int64) @ weights) % buckets


def _touching(mask: np.ndarray, offsets) -> np.ndarray:
    padded, total = np.pad(mask, ((0, 0), (1, 1), (1, 1))), 0
    for dx, dy in offsets:
        total = total + (padded & np.roll(padded, (dx, dy), (1, 2))).sum((1, 2))
    return np.asarray(total)


def _near(mask: np.ndarray) -> np.ndarray:
    return mask[:, 2:, 1:-1] | mask[:, :-2, 1:-1] | mask[:, 1:-1, 2:] | mask[:, 1:-1, :-2]


def _order(cells: np.ndarray) -> np.ndarray:
    rises = np.diff(cells, axis=1) > 0
    return rises @ 2 ** np.arange(rises.shape[1]) if cells.shape[1] > 1 else np.zeros(len(cells), int)


def _distance(a: np.ndarray, b: np.ndarray, height: int) -> np.ndarray:
    return np.where(b < 0, NONE, np.abs(a // height - b // height) + np.abs(a % height - b % height))
