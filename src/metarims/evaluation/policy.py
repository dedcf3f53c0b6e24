"""A trained agent in your own loop: ``metarims.Policy``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from metarims.errors import UserError, invalid, unknown_name
from metarims.evaluation.evaluate import NO_ABLATION, act, evaluation_key
from metarims.evaluation.tables import POLICIES, carries
from metarims.gridworld.missions import LONGEST_MISSION, MAX_WORDS, split_words, tokenize
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.symbols import codes_from_symbols
from metarims.gridworld.types import TILE, VIEW, Observation, Pixels
from metarims.runs.export import SavedAgent
from metarims.runs.folder import load_agents, locate_agents


class Policy:
    """Chooses actions for observations of MiniGrid's form, and remembers: single ones, or those of a batch.

    ``image`` is symbolic (7 x 7 x 3) or a picture (56 x 56 x 3), ``mission`` a text or tokens as our Gymnasium
    environments give them; other entries are not read. In a batch both have a leading axis.
    """

    def __init__(self, saved: SavedAgent, policy: str = "sampled", seed: int = 0):
        """``seed``: of sampled actions."""
        if policy not in POLICIES:
            raise unknown_name("policy", policy, POLICIES)
        self.saved, self.num_actions = saved, saved.num_actions
        self.num_envs: int | None = None
        """Of the batch; None before the first observation."""
        self._greedy = jnp.asarray(policy == "greedy")
        self._key, self._state = evaluation_key(seed), None
        self._ablation = jax.tree.map(jnp.asarray, NO_ABLATION)

    @classmethod
    def load(
        cls,
        source: str | Path,
        policy: str = "sampled",
        *,
        agent_seed: int | None = None,
        best: bool = False,
        seed: int = 0,
    ) -> "Policy":
        """The agent of a run's folder, of a .safetensors file, or a pretrained one by its name.

        ``agent_seed``: which agent of a run with several (default: the first); ``best``: the one with the highest
        return during training instead of the last. Raises ``UserError`` where there is no such agent.
        """
        agents = load_agents(locate_agents(source, "source"), best=best)
        if agent_seed is None:
            return cls(agents[0], policy, seed)
        for saved in agents:
            if saved.seed == agent_seed:
                return cls(saved, policy, seed)
        seeds = " ".join(str(saved.seed) for saved in agents)
        raise invalid("agent_seed", agent_seed, f"{source} has the agents of the seeds {seeds}")

    def reset(self) -> None:
        """Forget everything: the next observation is the first of an episode, in all environments."""
        self._state = None

    @in_32_bits
    def act(self, observation: Mapping[str, Any], is_first: Any = None) -> int | Int[np.ndarray, " B"]:
        """The action for an observation, or those for a batch.

        ``is_first``: where it is the first of an episode, so that what is remembered is forgotten (unless the agent was
        trained to carry it over). Without it that is so after ``load`` and ``reset`` only. Raises ``UserError`` for
        observations that are not MiniGrid's, unknown words, and batches that change their size without a ``reset``.
        """
        missing = [part for part in ("image", "mission") if part not in observation]
        if missing:
            raise UserError(f"The observation has no '{missing[0]}': only MiniGrid's can be read.", field=missing[0])
        image = np.asarray(observation["image"])
        single = image.ndim == 3
        images = image[None] if single else image
        missions = [observation["mission"]] if single else list(observation["mission"])
        if images.ndim != 4 or len(missions) != len(images):
            raise UserError(
                f"image has the shape {image.shape}, and there are {len(missions)} missions: there must be one picture "
                "or symbolic view for each mission.",
                field="image",
                value=image.shape,
            )
        if self._state is not None and self.num_envs != len(images):
            raise invalid("observation", image.shape, f"the last batch had {self.num_envs} environments: call reset")
        began = np.full(len(images), self._state is None) if is_first is None else self._begun(is_first, len(images))
        if self._state is None:
            self.num_envs, self._state = len(images), self.saved.agent.initial_state(len(images))
            began[:] = True
        tokens = jnp.asarray(self._tokens(missions))
        fresh = jnp.asarray(began & (not carries(self.saved)))
        agent, seen = self.saved.agent, _seen(images)
        how = self._greedy, self._ablation
        self._key, self._state, _, actions = act(agent, seen, tokens, self._state, fresh, self._key, *how)
        return int(actions[0]) if single else np.asarray(actions)

    def _begun(self, is_first: Any, number: int) -> Bool[np.ndarray, " B"]:
        begun = np.atleast_1d(np.array(is_first, bool))
        if begun.shape != (number,):
            raise invalid("is_first", is_first, f"one truth value for each of {number} environments is needed")
        return begun

    def _tokens(self, missions: list[Any]) -> Int[np.ndarray, "B L"]:
        """As many words as tasks of our own have, or as the longest mission of Farama's: few shapes are compiled."""
        words, reads = self.saved.vocabulary, self.saved.config.network.mission_dim > 0
        if not reads:
            return np.zeros((len(missions), 1), np.int32)
        if isinstance(missions[0], str):
            longest = max(len(split_words(mission)) for mission in missions)
            return np.stack([tokenize(mission, words, _room(longest)) for mission in missions])
        given = np.stack([np.asarray(mission) for mission in missions])
        if not np.issubdtype(given.dtype, np.integer) or given.min() < 0 or given.max() > len(words):
            limit = f"mission must be a text, or tokens from 0 to {len(words)}"
            raise UserError(f"{limit}, the words that the agent knows.", field="mission", value=missions[0])
        length = max(1, int(np.max(np.count_nonzero(given, axis=-1))))
        tokens = np.zeros((len(missions), _room(length)), np.int32)
        tokens[:, :length] = given[:, :length]
        return tokens


def _room(num_words: int) -> int:
    return next((room for room in (MAX_WORDS, LONGEST_MISSION) if num_words <= room), num_words)


def _seen(images: np.ndarray) -> Observation | Pixels:
    """What the agent gets; row b of the missions is that of environment b."""
    rows = jnp.arange(len(images))
    if images.shape[1:] == (VIEW * TILE, VIEW * TILE, 3):
        return Pixels(jnp.asarray(images, jnp.uint8), rows)
    return Observation(jnp.asarray(codes_from_symbols(images)), jnp.zeros(len(images), jnp.int32), rows)
