"""Several tasks in one batch: a distribution p(T) over levels behind the interface of a single one."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt8

from metarims.errors import UserError, invalid
from metarims.gridworld.levels.base import Level
from metarims.gridworld.missions import split_words
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.state import EnvState, Instruction, no_instruction
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import EMPTY, WALL

STATIC = ("doors", "walled")
"""Fields of ``TaskRules`` that are one Python value for the whole mixture."""


@dataclasses.dataclass(frozen=True)
class Mixture(Level):
    """Each episode plays one of ``parts``, drawn by ``weights``; smaller grids are padded with walls.

    Missions are rows of one table without repeats; ``EnvState.task`` is the level that an environment plays.
    """

    @property
    def max_steps(self) -> int:
        """The shortest time limit: no episode is truncated earlier. Each task keeps its own."""
        return min(level.max_steps for level in self.parts)

    @cached_property
    def mission_rows(self) -> tuple[np.ndarray, ...]:
        """For each level, the rows of its missions in the common table."""
        row = {mission: index for index, mission in enumerate(self.missions)}
        return tuple(np.array([row[mission] for mission in level.missions], np.int16) for level in self.parts)

    def rules_of(self, state: EnvState) -> TaskRules:
        """The rules of each environment's own task."""

        def select(table):
            return table[0] if len(set(table)) == 1 else jnp.asarray(table)[state.task]

        fixed = {name: getattr(self.rules, name) for name in STATIC}
        names = [name for name in TaskRules._fields if name not in fixed]
        return TaskRules(
            **{name: select([getattr(level.rules, name) for level in self.parts]) for name in names}, **fixed
        )

    def embed(self, source: int, state: EnvState) -> EnvState:
        """Pad the grid with walls, and renumber the mission and the obstacles' cells."""
        level = self.parts[source]
        beyond = (0, self.width - level.width), (0, self.height - level.height)
        x, y = state.obstacles // level.height, state.obstacles % level.height
        absent = jnp.full(self.num_obstacles - level.num_obstacles, -1, jnp.int16)
        contents = None
        if any(level.blank.contents is not None for level in self.parts):
            held = jnp.full(level.width * level.height + 1, EMPTY, jnp.uint8)
            held = held if state.contents is None else state.contents
            on_floor = held[:-1].reshape(level.width, level.height)
            on_floor = jnp.pad(on_floor, beyond, constant_values=EMPTY)
            contents = jnp.append(on_floor.reshape(-1), held[-1])
        return state._replace(
            instruction=self._pad_instruction(state, level),
            tokens=self._pad_tokens(source, state),
            grid=jnp.pad(state.grid, beyond, constant_values=WALL),
            mission=jnp.int16(0) if self.drawn_words else jnp.asarray(self.mission_rows[source])[state.mission],
            task=jnp.uint8(source),
            obstacles=jnp.concatenate([x * self.height + y, absent]).astype(jnp.int16),
            contents=contents,
        )

    def _pad_instruction(self, state: EnvState, level: Level) -> Instruction | None:
        if all(level.blank.instruction is None for level in self.parts):
            return None
        if state.instruction is None:
            return no_instruction(self.width, self.height)
        beyond = (0, self.width - level.width), (0, self.height - level.height)
        planes = (jnp.pad(plane, beyond) for plane in (state.instruction.meant, state.instruction.known))
        meant, known = planes
        return state.instruction._replace(meant=meant, known=known)

    def _pad_tokens(self, source: int, state: EnvState) -> UInt8[Array, " L"] | None:
        if not self.drawn_words:
            return None
        said = state.tokens
        if said is None:
            table = self.parts[source].mission_tokens
            longest = int((table > 0).sum(1).max(initial=0))
            said = jnp.asarray(table[:, :longest].astype(np.uint8))[state.mission]
        return jnp.pad(said, (0, self.drawn_words - said.shape[0]))

    def texts(self, state: EnvState) -> list[str]:
        """The missions of a batch of states."""
        if state.tokens is None:
            return super().texts(state)
        return [self._spell(int(task), row) for task, row in zip(state.task, np.asarray(state.tokens), strict=True)]

    def _spell(self, task: int, tokens: np.ndarray) -> str:
        level = self.parts[task]
        if level.drawn_words:
            return level.spell(tokens)
        said = tokens[tokens > 0]
        return next(
            text
            for text, row in zip(level.missions, level.mission_tokens, strict=True)
            if np.array_equal(row[row > 0], said)
        )

    @in_32_bits
    def reset(self, key: PRNGKeyArray) -> EnvState:
        """A new level of a task drawn by weight."""
        key_task, key_level = jax.random.split(key)
        source = jax.random.choice(key_task, len(self.parts), p=jnp.asarray(self.weights) / sum(self.weights))

        def draw(index: int) -> Any:
            return lambda bits: self.embed(index, self.parts[index].reset(jax.random.wrap_key_data(bits)))

        # Plain bits, since under ``vmap`` a switch takes all ways, which jax's check counts as using a key twice.
        bits = jax.random.key_data(key_level)
        return jax.lax.switch(source, [draw(index) for index in range(len(self.parts))], bits)


def mix(levels: Sequence[Level], weights: Sequence[float] | None = None, id: str = "") -> Mixture:
    """The mixture of several levels, equally often or by ``weights``."""
    weights = tuple(weights) if weights is not None else (1.0,) * len(levels)
    names = [level.id for level in levels]
    if not levels:
        raise UserError("A mixture needs at least one level.", field="env")
    if len(weights) != len(levels):
        raise UserError(f"A mixture of {len(levels)} levels has {len(weights)} weights: give one each.", field="env")
    for name, weight in zip(names, weights, strict=True):
        if not 0 < weight < math.inf:
            raise invalid("env", name, f"its weight {weight} must be greater than zero and finite")
        if names.count(name) > 1:
            raise invalid("env", name, "it occurs twice in the mixture; name it once, with a greater weight")
    rules = [level.rules for level in levels]
    longest = 0
    if any(level.drawn_words for level in levels):
        longest = max(level.drawn_words or max(len(split_words(text)) for text in level.missions) for level in levels)
    return Mixture(
        id=id or "+".join(f"{name}*{weight:g}" for name, weight in zip(names, weights, strict=True)),
        width=max(level.width for level in levels),
        height=max(level.height for level in levels),
        rules=TaskRules(max_steps=0, doors=any(r.doors for r in rules), walled=all(r.walled for r in rules)),
        missions=() if longest else tuple(dict.fromkeys(mission for level in levels for mission in level.missions)),
        drawn_words=longest,
        num_actions=max(level.num_actions for level in levels),
        num_obstacles=max(level.num_obstacles for level in levels),
        parts=tuple(levels),
        weights=weights,
    )
