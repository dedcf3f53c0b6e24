"""Gymnasium environments that are not what they should be: odd spaces, odd observations, odd answers, errors."""

from collections.abc import Callable
from random import Random
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text
from minigrid.core.world_object import Ball, Wall
from minigrid.envs import EmptyEnv
from tests.fuzz.mutations import ODD_TEXTS, ODD_VALUES

from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import FaramaBatch, naming_failures, play
from metarims.gridworld.missions import MissionFormat
from metarims.gridworld.registry import make_envs

STEPS = 6
IMAGE = np.zeros((7, 7, 3), np.uint8) + np.array([1, 0, 0], np.uint8)
"""Nothing but floor."""
SPACES = (
    Discrete(7),
    Discrete(1),
    Discrete(3, start=5),
    Discrete(10**9),
    MultiDiscrete([2, 3]),
    Box(-1, 1, (2,)),
    Dict({"a": Discrete(2)}),
    Text(5),
    None,
    7,
)
IMAGES = (
    np.zeros((7, 7, 3), np.uint8),
    np.full((7, 7, 3), 255, np.uint8),
    np.full((7, 7, 3), -1),
    np.full((7, 7, 3), 0.5),
    np.full((7, 7, 3), np.nan),
    np.full((7, 7, 3), 10**12),
    np.zeros((5, 5, 3), np.uint8),
    np.zeros((7, 7), np.uint8),
    np.zeros((7, 7, 4), np.uint8),
    np.zeros((0,)),
    np.full((7, 7, 3), None, object),
    np.full((7, 7, 3), "a"),
    [[[0] * 3] * 7] * 7,
)
ANSWERS: tuple[Callable[[Any], Any], ...] = (
    lambda answer: answer[:4],
    lambda answer: (*answer, None),
    lambda answer: None,
    lambda answer: (answer[0], None, *answer[2:]),
    lambda answer: (answer[0], "1", *answer[2:]),
    lambda answer: (answer[0], np.zeros(3), *answer[2:]),
    lambda answer: (answer[0], 1j, *answer[2:]),
    lambda answer: (answer[0], float("nan"), *answer[2:]),
    lambda answer: (answer[0], 10**400, *answer[2:]),
    lambda answer: (*answer[:2], None, *answer[3:]),
    lambda answer: (*answer[:2], "no", *answer[3:]),
    lambda answer: (*answer[:2], np.array([True, False]), *answer[3:]),
    lambda answer: (*answer[:3], 2, answer[4]),
    lambda answer: (None, *answer[1:]),
    lambda answer: ("image", *answer[1:]),
)
ERRORS = (ValueError("a\nb"), KeyError("x"), RuntimeError(), AssertionError(), StopIteration(), OSError(28, "full"))


class Strange(gymnasium.Env):
    """Plays nothing in particular. ``odd`` holds what is strange about it, by name."""

    def __init__(self, **odd: Any):
        self.odd, self.clock = odd, 0
        self._fail("made")
        self.action_space = odd.get("space", Discrete(7))
        self.observation_space = odd.get("space", Dict())
        if "max_steps" in odd:
            self.max_steps = odd["max_steps"]

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.clock = 0
        self._fail("reset")
        found = self._seen("begin"), {}
        return found[0] if self.odd.get("short") else found

    def step(self, action: Any) -> Any:
        self.clock += 1
        self._fail("step")
        answer = self._seen("step"), 0.5, False, self.clock >= 4, {}
        return self.odd["answer"](answer) if "answer" in self.odd and self.clock > 1 else answer

    def _seen(self, when: str) -> Any:
        seen = {"image": IMAGE, "direction": 0, "mission": "go to the red ball"}
        seen |= self.odd.get(f"{when} seen", {})
        for name in self.odd.get(f"{when} lacks", ()):
            del seen[name]
        return self.odd.get(f"{when} is", seen)

    def _fail(self, where: str) -> None:
        if where in self.odd.get("fails", {}):
            raise self.odd["fails"][where]


class Drawn(EmptyEnv):
    """A true MiniGrid environment with something strange about it."""

    def __init__(self, **odd: Any):
        self.odd = odd
        super().__init__(size=odd.get("size", 5), max_steps=odd.get("max_steps", 6), **odd.get("keywords", {}))

    def reset(self, **keywords: Any) -> Any:
        found = super().reset(**keywords)
        if "mission" in self.odd:
            self.mission = self.odd["mission"]
        if "thing" in self.odd:
            self.grid.set(3, 3, self.odd["thing"]())
        return self.gen_obs(), found[1]

    def step(self, action: Any) -> Any:
        if "fails" in self.odd:
            raise self.odd["fails"]
        answer = super().step(action)
        return self.odd["answer"](answer) if "answer" in self.odd else answer


class Cheese(Ball):
    """Something that minigrid does not know."""

    def encode(self) -> Any:
        return (9, 9, 9)


DRAWN = True
gymnasium.register("Strange-v0", entry_point=Strange)
gymnasium.register("Drawn-v0", entry_point=Drawn)


def make_strange(random: Random, drawn: bool = False) -> dict[str, Any]:
    """One to three ways of being strange."""
    pick = _drawn if drawn else _strange
    odd: dict[str, Any] = {}
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        odd |= pick(random)
    return odd


def _strange(random: Random) -> dict[str, Any]:
    when = random.choice(("begin", "step"))
    kind = random.choice(("space", "max", "answer", "fails", "image", "direction", "mission", "lacks", "is", "short"))
    if kind in ("image", "direction", "mission"):
        values = {"image": (*IMAGES, *ODD_VALUES), "direction": (*ODD_VALUES, np.array([1, 2])), "mission": ODD_VALUES}
        return {f"{when} seen": {kind: random.choice((*values[kind], *ODD_TEXTS, "go to the " + "red " * 60))}}
    return {
        "space": {"space": random.choice(SPACES)},
        "max": {"max_steps": random.choice((*ODD_VALUES, 1, 4, 100))},
        "answer": {"answer": random.choice(ANSWERS)},
        "fails": {"fails": {random.choice(("made", "reset", "step")): random.choice(ERRORS)}},
        "lacks": {f"{when} lacks": random.choice((("image",), ("mission",), ("direction",)))},
        "is": {f"{when} is": random.choice((None, 3, "image", [], np.zeros(4), {}, IMAGE))},
        "short": {"short": True},
    }[kind]


def _drawn(random: Random) -> dict[str, Any]:
    return random.choice(
        (
            {"size": random.choice((3, 4, 9, 0, -1))},
            {"max_steps": random.choice((0, 1, 3))},
            {"keywords": random.choice(({"agent_view_size": 5}, {"agent_view_size": 9}, {"tile_size": 16}, {"x": 1}))},
            {"mission": random.choice((*ODD_VALUES, *ODD_TEXTS, "get a fetch", "a " * 100))},
            {"thing": random.choice((Cheese, Wall, lambda: 3, lambda: None))},
            {"answer": random.choice(ANSWERS)},
            {"fails": random.choice(ERRORS)},
        )
    )


def play_host(odd: dict[str, Any]) -> None:
    """As training plays it, without the compiled program around it."""
    with gymnasium_kwargs("Strange-v0", odd):
        envs: Any = make_envs("Strange-v0", 2)
        promised = [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(envs._shapes(1))]
        state, found = envs._guard(envs._reset_host, np.array([5]))
        for _ in range(STEPS):
            given = [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves((state, found))]
            assert given == promised, f"{given}, not {promised}"
            state, found = envs._guard(envs._step_host, state.clock, np.zeros((1, 2), np.int32))
        envs.check()


def play_farama(odd: dict[str, Any]) -> None:
    """As an evaluation plays it, with an agent that always goes forward."""
    with gymnasium_kwargs("Drawn-v0", odd):
        batch = FaramaBatch("Drawn-v0", 2, MissionFormat())
        for episode in play(batch, range(3), lambda pixels, tokens, began: np.full(2, 2)):
            assert episode.length > 0
        batch.reset([7, 8])
        with naming_failures("Drawn-v0"):
            state_from_farama(batch.envs[0])


class gymnasium_kwargs:  # noqa: N801
    """Within it, an id is made with these keywords."""

    def __init__(self, id: str, keywords: dict[str, Any]):
        self.spec, self.keywords = gymnasium.spec(id), keywords

    def __enter__(self) -> None:
        self.spec.kwargs.clear()
        self.spec.kwargs.update(self.keywords)

    def __exit__(self, *exception: object) -> None:
        self.spec.kwargs.clear()
