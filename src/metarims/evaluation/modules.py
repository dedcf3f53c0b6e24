"""What modules do in recorded episodes: what the set that acts tells, which module marks a moment, and who would act
if another agent saw the same."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Integer

from metarims.evaluation.episodes import EpisodeRecord
from metarims.gridworld import make
from metarims.gridworld.tiles import NUM_TILES, WALL
from metarims.gridworld.types import VIEW, Observation
from metarims.learning.diagnostics import measure_mutual_information

EXCHANGES = 20
"""Of the sets of episodes, by which it is found what they would tell by chance."""
FEWEST_SOLVED = 4
"""Episodes from which it can be told which module marks a moment."""


def information_above_chance(
    active: Sequence[Bool[np.ndarray, "_ M"]], situation: Sequence[Integer[np.ndarray, " _"]]
) -> float:
    """Mutual information of the set that acts and the situation (a tile's code), in nats, above what it is on average
    when the sets of one episode are held against the situations of another: both change slowly, and episodes begin
    alike, so that they tell of each other by chance. Both are of the same episodes, two at least."""
    sets = [acts @ 2 ** np.arange(acts.shape[1]) for acts in active]
    number, codes = len(sets), np.concatenate(situation)

    def information(sets: Sequence[np.ndarray]) -> float:
        counts = np.zeros((2 ** active[0].shape[1], NUM_TILES))
        np.add.at(counts, (np.concatenate(sets), codes), 1)
        return float(measure_mutual_information(jnp.asarray(counts)))

    def exchanged(shift: int) -> list[np.ndarray]:
        """Each episode's sets are another's, from its beginning, and again where that was shorter."""
        return [np.resize(sets[(index + shift) % number], len(codes)) for index, codes in enumerate(situation)]

    shifts = range(1, number, max(1, number // EXCHANGES))
    return information(sets) - float(np.mean([information(exchanged(shift)) for shift in shifts]))


class MarkerModule(NamedTuple):
    """How well one module marks a moment of episodes."""

    module: int
    """Its number, from 0."""
    share: float
    """At how many of these moments it acts."""
    lead: float
    """By how much this is more than at all other steps."""


def find_marker_module(
    episodes: Sequence[tuple[Bool[np.ndarray, "T M"], Bool[np.ndarray, " T"]]],
) -> MarkerModule | None:
    """The module that marks a moment: chosen by its lead on every second episode, measured on the others.

    Of each episode: who acts, and at which steps it is the moment. Episodes without it, or without other steps, are
    left out; None where fewer than ``FEWEST_SOLVED`` are left.
    """
    episodes = [(active, then) for active, then in episodes if then.any() and not then.all()]
    if len(episodes) < FEWEST_SOLVED:
        return None

    def shares(episodes):
        active = np.concatenate([active for active, _ in episodes])
        then = np.concatenate([then for _, then in episodes])
        return active[then].mean(0), active[then].mean(0) - active[~then].mean(0)

    module = np.argmax(shares(episodes[::2])[1])
    share, lead = shares(episodes[1::2])
    return MarkerModule(int(module), float(share[module]), float(lead[module]))


def is_last_step(episode: EpisodeRecord) -> Bool[np.ndarray, " T"]:
    """The step that ends the episode."""
    return np.arange(len(episode.actions)) == len(episode.actions) - 1


def is_at_junction(episode: EpisodeRecord) -> Bool[np.ndarray, " T"]:
    """Steps at which the agent stands where a hallway ends at a wall and goes on to both sides (the memory tasks).

    The world's border is a wall, so that every neighbour exists. In a memory level this is one of the cells that can
    be reached. The last step is none of them: it leads from there to an object, a moment of its own.
    """
    steps = np.arange(len(episode.actions))
    x, y = episode.position[:-1].T
    wall = episode.grid[:-1] == WALL
    beside = [wall[steps, x, y + 1], wall[steps, x, y - 1]]
    return wall[steps, x + 1, y] & ~wall[steps, x - 1, y] & ~beside[0] & ~beside[1] & ~is_last_step(episode)


def replay(agent: Any, env: str, episodes: Sequence[EpisodeRecord]) -> list[Bool[np.ndarray, "T M"]]:
    """Which modules of an agent would act if it saw what was seen in these episodes of our world, each begun afresh.

    Of each episode who acts at each of its steps.
    """
    level = make(env)
    rows = {mission: row for row, mission in enumerate(level.missions)}
    codes = np.zeros((level.max_steps, len(episodes), VIEW, VIEW), np.uint8)
    direction = np.zeros((level.max_steps, len(episodes)), np.int32)
    for index, episode in enumerate(episodes):
        length = len(episode.actions)
        codes[:length, index], direction[:length, index] = episode.view[:-1], episode.direction[:-1]
    mission = np.tile([rows[episode.mission] for episode in episodes], (level.max_steps, 1))
    active = np.asarray(_replay(agent, level, Observation(*map(jnp.asarray, (codes, direction, mission)))))
    return [active[: len(episode.actions), index] for index, episode in enumerate(episodes)]


@eqx.filter_jit
def _replay(agent, level, observation):
    num_envs = observation.mission.shape[1]
    is_first = jnp.zeros(observation.mission.shape, bool)
    tables = agent.tables(jnp.asarray(level.mission_tokens))
    _, output = agent.unroll(tables, observation, agent.initial_state(num_envs), is_first)
    return output.metrics.active
