"""A trained agent as one small file: safetensors, with everything needed to rebuild it in the metadata.

Reading one never runs code from it: names, shapes and types are compared with those of an agent built here from the
settings in the file.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from metarims.config import Config, core_settings
from metarims.errors import UserError
from metarims.fields import from_dict
from metarims.gridworld.missions import VOCABULARY
from metarims.runs.files import describe_error, write_atomic
from metarims.upgrade import upgrade_config

FORMAT = "metarims-agent-2"
CHECKSUM = "sha256"
"""Of everything else in the file: a flipped bit would otherwise pass unnoticed."""
COUNTS = {"seed": (0, 2**31 - 1), "env_steps": (0, 2**62), "num_actions": (1, 10_000), "num_words": (1, 100_000)}
"""Whole numbers in the metadata, and their ranges."""


class SavedAgent(NamedTuple):
    """An agent and what is known of it."""

    agent: Any
    config: Config
    seed: int
    env_steps: int
    num_actions: int
    num_words: int
    words: tuple[str, ...] = ()
    """The vocabulary, token = 1 + index; empty where it is that of our own levels."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that the agent knows."""
        return self.words or VOCABULARY


def save_agent(path: Path, saved: SavedAgent) -> None:
    """Write ``saved`` to ``path``, whole or not at all."""
    arrays = {name: np.asarray(leaf) for name, leaf in named_arrays(saved.agent).items()}
    about = {"config": dataclasses.asdict(saved.config)} | {name: getattr(saved, name) for name in COUNTS}
    if saved.words:
        about["words"] = saved.words
    about[CHECKSUM] = _checksum(about, arrays)
    # One entry: the library writes several in an order that changes from process to process.
    write_atomic(path, safetensors.numpy.save(arrays, metadata={FORMAT: json.dumps(about)}))


def load_agent(path: str | Path, build: Callable[[Config, int, int], Any] | None = None) -> SavedAgent:
    """Read an agent; anything in the file that is not exactly such an agent is a ``UserError``.

    ``build(config, num_actions, num_words)`` makes an agent of these settings; only its shapes are used.
    """
    path = Path(path)
    metadata, arrays = _read(path)
    about = _parse(path, metadata)
    config = from_dict(Config, upgrade_config(about.get("config")), f"{path}: config")
    counts = {name: _count(path, about, name) for name in COUNTS}
    words = _words(path, about, counts["num_words"])
    try:
        skeleton = _shapes(build or _build, config, counts["num_actions"], counts["num_words"])
    except Exception as error:
        raise UserError(f"{path}: no agent can be built from the settings in it ({describe_error(error)}).") from error
    agent = _fill(path, skeleton, arrays)
    found = about.pop(CHECKSUM, None)
    if found is not None and found != _checksum(about, arrays):  # Older files have none.
        raise UserError(f"{path} is damaged: it does not match its checksum. Copy it again, or continue training.")
    return SavedAgent(agent, config, **counts, words=words)


def named_arrays(agent: Any) -> dict[str, Any]:
    """The parameters of an agent by the dotted names of their fields."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(agent)
    is_array = lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    return {jax.tree_util.keystr(keys, simple=True, separator="."): leaf for keys, leaf in leaves if is_array(leaf)}


def shapes_of(config: Config, num_actions: int, num_words: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an agent's parameters, by name."""
    return {name: leaf.shape for name, leaf in named_arrays(_shapes(_build, config, num_actions, num_words)).items()}


def first_bad(agent: Any) -> str | None:
    """The name of the first parameter that holds NaN or infinity, or None."""
    for name, leaf in named_arrays(agent).items():
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf)).all():
            return name
    return None


@lru_cache(maxsize=8)
def _shapes(build: Callable[[Config, int, int], Any], config: Config, num_actions: int, num_words: int) -> Any:
    """An agent of shapes; those of a run's seeds are the same, and take a second to find out."""
    return eqx.filter_eval_shape(build, config, num_actions, num_words)


def _checksum(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _build(config: Config, num_actions: int, num_words: int) -> Any:
    from metarims.agents.agent import make_agent

    counts = {"num_actions": num_actions, "num_words": num_words}
    return make_agent(config.network, core_settings(config), **counts, key=jax.random.key(0))


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"There is no agent at {path}: train one first, or name its .safetensors file.") from None
    except Exception as error:  # The library has many ways to say that a file is malformed.
        raise UserError(
            f"{path} is not a readable safetensors file ({describe_error(error)}): name a run's folder, or an agent's "
            "file in it (agents/seed-N.safetensors)."
        ) from error


def _parse(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if FORMAT not in metadata:
        found = ", ".join(sorted(metadata))[:80] or "none"
        raise UserError(f"{path} is not an agent of this version: its metadata has no {FORMAT!r} (found: {found}).")
    try:
        about = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata is not valid JSON ({error}).") from error
    if not isinstance(about, dict):
        raise UserError(f"{path}: its metadata is not an object with fields.")
    return about


def _count(path: Path, about: dict[str, Any], name: str) -> int:
    value, (low, high) = about.get(name), COUNTS[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{path}: {name} is {str(value)[:40]}: it must be a whole number from {low} to {high}.")
    return value


def _words(path: Path, about: dict[str, Any], num_words: int) -> tuple[str, ...]:
    words = about.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"{path}: words is {str(words)[:40]}: it must be a list of words.")
    if words and (len(words) != num_words or len(set(words)) != num_words):
        raise UserError(f"{path}: words must be num_words ({num_words}) different words, not {len(set(words))}.")
    return tuple(words)


def _fill(path: Path, skeleton: Any, arrays: dict[str, np.ndarray]) -> Any:
    expected = named_arrays(skeleton)
    for name in sorted(expected.keys() - arrays.keys()):
        raise UserError(f"{path} lacks the parameter {name}, which its settings ask for.")
    for name in sorted(arrays.keys() - expected.keys()):
        raise UserError(f"{path} holds {name[:80]!r}, which an agent of its settings does not have.")
    for name, leaf in expected.items():
        array = arrays[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise UserError(
                f"{path}: {name} is {array.dtype}{list(array.shape)}, but its settings ask for "
                f"{leaf.dtype}{list(leaf.shape)}."
            )
    agent = jax.tree_util.tree_map_with_path(lambda keys, leaf: _pick(keys, leaf, arrays), skeleton)
    bad = first_bad(agent)
    if bad:
        raise UserError(f"{path}: {bad} holds numbers that are not finite.")
    return agent


def _pick(keys: tuple[Any, ...], leaf: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return jnp.asarray(arrays[jax.tree_util.keystr(keys, simple=True, separator=".")])
