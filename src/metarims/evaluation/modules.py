"""Module activations in recorded episodes: mutual information with the observation, modules that mark a moment, and the
activations of another agent on the same observations."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Integer

from metarims.evaluation.episodes import EpisodeRecord
from metarims.gridworld import make, tokenize
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.tiles import COLORS, DOOR, KEY, KINDS, NUM_TILES, WALL
from metarims.gridworld.types import VIEW, Observation
from metarims.learning.diagnostics import measure_mutual_information

EXCHANGES = 20
"""Permutations of episodes that estimate the information expected by chance."""
FEWEST_SOLVED = 4
"""Fewest episodes in which a marker module is sought."""


def information_above_chance(
    active: Sequence[Bool[np.ndarray, "_ M"]], situation: Sequence[Integer[np.ndarray, " _"]]
) -> float:
    """Mutual information of the active set and the situation (a tile code), in nats, minus its mean when the sets of
    one episode are paired with the situations of another: both change slowly and episodes start alike, so that some
    information is due to chance. At least two episodes."""
    sets = [acts @ 2 ** np.arange(acts.shape[1]) for acts in active]
    number, codes = len(sets), np.concatenate(situation)

    def information(sets: Sequence[np.ndarray]) -> float:
        counts = np.zeros((2 ** active[0].shape[1], NUM_TILES))
        np.add.at(counts, (np.concatenate(sets), codes), 1)
        return float(measure_mutual_information(jnp.asarray(counts)))

    def exchanged(shift: int) -> list[np.ndarray]:
        """Each episode gets another's sets, repeated where that one was shorter."""
        return [np.resize(sets[(index + shift) % number], len(codes)) for index, codes in enumerate(situation)]

    shifts = range(1, number, max(1, number // EXCHANGES))
    return information(sets) - float(np.mean([information(exchanged(shift)) for shift in shifts]))


def attention_to_target(episode: EpisodeRecord) -> tuple[list[float], list[float]]:
    """Of an agent whose input is a set, where the mission ends with the colour and type of an object: the fraction of
    the active modules' attention to objects (keys, balls and boxes in view) that is on such objects; and the fraction
    of the objects in view that are such, which is what even attention gives. At every step at which such an object and
    another one are in view."""
    *_, color, kind = ["", *episode.mission.split()]
    if episode.element_attention is None or color not in COLORS or kind not in KINDS:
        return [], []
    cells, attention = episode.view[:-1].reshape(-1, VIEW * VIEW), episode.element_attention[..., : VIEW * VIEW]
    attention = (attention * episode.active[..., None]).sum(1)
    is_object = (cells >= KEY) & (cells < DOOR)
    is_target = cells == KEY + len(COLORS) * KINDS.index(kind) + COLORS.index(color)
    seen = (attention * is_object).sum(1)
    chosen = is_target.any(1) & (is_object & ~is_target).any(1) & (seen > 0)
    found, even = (attention * is_target).sum(1)[chosen] / seen[chosen], is_target.sum(1) / is_object.sum(1).clip(1)
    return found.tolist(), even[chosen].tolist()


class MarkerModule(NamedTuple):
    """How well a module marks a moment of episodes."""

    module: int
    """Its index."""
    share: float
    """Share of these moments at which it is active."""
    lead: float
    """This share minus that of all other steps."""


def find_marker_module(
    episodes: Sequence[tuple[Bool[np.ndarray, "T M"], Bool[np.ndarray, " T"]]],
) -> MarkerModule | None:
    """The module that marks a moment: selected by its lead on every second episode, measured on the others.

    ``episodes``: active modules, and the steps of the moment. Episodes without it, or without other steps, are left
    out; None if fewer than ``FEWEST_SOLVED`` are left.
    """
    episodes = [(active, at_moment) for active, at_moment in episodes if at_moment.any() and not at_moment.all()]
    if len(episodes) < FEWEST_SOLVED:
        return None

    def shares(episodes):
        active = np.concatenate([active for active, _ in episodes])
        at_moment = np.concatenate([at_moment for _, at_moment in episodes])
        return active[at_moment].mean(0), active[at_moment].mean(0) - active[~at_moment].mean(0)

    module = np.argmax(shares(episodes[::2])[1])
    share, lead = shares(episodes[1::2])
    return MarkerModule(int(module), float(share[module]), float(lead[module]))


def is_last_step(episode: EpisodeRecord) -> Bool[np.ndarray, " T"]:
    """The last step of the episode."""
    return np.arange(len(episode.actions)) == len(episode.actions) - 1


def is_at_junction(episode: EpisodeRecord) -> Bool[np.ndarray, " T"]:
    """Steps at the T-junction of a hallway (the memory tasks; one reachable cell), except the last step, which leads
    from there to an object. The border of the grid is a wall, so every neighbour exists."""
    steps = np.arange(len(episode.actions))
    x, y = episode.position[:-1].T
    wall = episode.grid[:-1] == WALL
    beside = [wall[steps, x, y + 1], wall[steps, x, y - 1]]
    return wall[steps, x + 1, y] & ~wall[steps, x - 1, y] & ~beside[0] & ~beside[1] & ~is_last_step(episode)


@in_32_bits
def replay(agent: Any, env: str, episodes: Sequence[EpisodeRecord]) -> list[Bool[np.ndarray, "T M"]]:
    """The active modules of an agent at each step of recorded episodes of our environment, each from a zero state."""
    level = make(env)
    missions = list(dict.fromkeys(episode.mission for episode in episodes)) if level.drawn_words else level.missions
    rows = {mission: row for row, mission in enumerate(missions)}
    tokens = level.mission_tokens
    if level.drawn_words:
        tokens = np.stack([tokenize(mission, level.vocabulary, tokens.shape[1]) for mission in missions])
    longest = max(level.max_steps, *(len(episode.actions) for episode in episodes))
    codes = np.zeros((longest, len(episodes), VIEW, VIEW), np.uint8)
    direction = np.zeros((longest, len(episodes)), np.int32)
    for index, episode in enumerate(episodes):
        length = len(episode.actions)
        codes[:length, index], direction[:length, index] = episode.view[:-1], episode.direction[:-1]
    mission = np.tile([rows[episode.mission] for episode in episodes], (longest, 1))
    active = np.asarray(_replay(agent, tokens, Observation(*map(jnp.asarray, (codes, direction, mission)))))
    return [active[: len(episode.actions), index] for index, episode in enumerate(episodes)]


@eqx.filter_jit
def _replay(agent, tokens, observation):
    num_envs = observation.mission.shape[1]
    is_first = jnp.zeros(observation.mission.shape, bool)
    tables = agent.tables(jnp.asarray(tokens))
    _, output = agent.unroll(tables, observation, agent.initial_state(num_envs), is_first)
    return output.metrics.active
