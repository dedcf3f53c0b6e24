"""A trained agent as one safetensors file, with its settings in the metadata.

Loading runs no code from the file: names, shapes and types must be those of an agent built from the settings.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from metarims.config import Config, core_settings
from metarims.errors import UserError, invalid
from metarims.fields import from_dict
from metarims.gridworld.missions import VOCABULARY
from metarims.gridworld.precision import in_32_bits
from metarims.learning.devices import is_key
from metarims.runs.files import describe_error, write_atomic
from metarims.runs.schema import check_schema
from metarims.upgrade import upgrade_config

FORMAT = "metarims-agent-2"
CHECKSUM = "sha256"
"""Of everything else in the file: reveals flipped bits."""
COUNTS = {"seed": (0, 2**31 - 1), "env_steps": (0, 2**62), "num_actions": (1, 10_000), "num_words": (1, 100_000)}
"""Integers in the metadata, and their ranges."""


class Metadata(TypedDict):
    """The metadata of an agent's file."""

    config: Any
    seed: int
    env_steps: int
    num_actions: int
    num_words: int
    words: NotRequired[list[str]]
    sha256: NotRequired[str]


class SavedAgent(NamedTuple):
    """An agent and its metadata."""

    agent: Any
    config: Config
    seed: int
    env_steps: int
    num_actions: int
    num_words: int
    words: tuple[str, ...] = ()
    """The vocabulary, token = 1 + index; empty: ``VOCABULARY``."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All words of the agent."""
        return self.words or VOCABULARY


def save_agent(path: Path, saved: SavedAgent) -> None:
    """Write ``saved`` to ``path`` atomically."""
    arrays = {name: np.asarray(leaf) for name, leaf in named_arrays(saved.agent).items()}
    about = {"config": dataclasses.asdict(saved.config)} | {name: getattr(saved, name) for name in COUNTS}
    if saved.words:
        about["words"] = saved.words
    about[CHECKSUM] = _checksum(about, arrays)
    # One entry: the library's order of several entries is random.
    write_atomic(path, safetensors.numpy.save(arrays, metadata={FORMAT: json.dumps(about)}))


@in_32_bits
def load_agent(path: str | Path, build: Callable[[Config, int, int], Any] | None = None) -> SavedAgent:
    """Load an agent; an invalid file raises ``UserError``.

    ``build(config, num_actions, num_words)`` returns an agent of these settings; only its shapes are used.
    """
    path = Path(path)
    about, arrays = _read(path)
    config = from_dict(Config, upgrade_config(about["config"]), f"{path}: config")
    counts = {name: about[name] for name in COUNTS}
    try:
        skeleton = _shapes(build or _build, config, counts["num_actions"], counts["num_words"])
    except Exception as error:
        raise UserError(f"{path}: no agent can be built from the settings in it ({describe_error(error)}).") from error
    agent = _fill(path, skeleton, arrays)
    found = about.pop(CHECKSUM, None)
    if found is not None and found != _checksum(about, arrays):  # Older files have none.
        raise UserError(f"{path} is damaged: it does not match its checksum. Copy it again, or resume training.")
    return SavedAgent(agent, config, **counts, words=tuple(about.get("words", ())))


def named_arrays(tree: Any) -> dict[str, Any]:
    """The arrays of a tree (or their shapes) by the dotted names of their fields."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(keys): leaf for keys, leaf in leaves if _is_array(leaf)}


def find_misfit(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first array that is missing, superfluous, or of another type or shape, as a message; empty if all fit."""
    for name in sorted(found.keys() | wanted.keys()):
        there, here = (f"{a[name].dtype}{list(a[name].shape)}" if name in a else "absent" for a in (found, wanted))
        if there != here:
            return f"{name[:80]} is {there}, and must be {here}"
    return ""


def fill(template: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """``template`` with these values of its arrays, by name; random keys are made from their numbers."""

    def one(keys: tuple[Any, ...], leaf: Any) -> Any:
        if not _is_array(leaf) or _name(keys) not in arrays:
            return leaf
        array = jnp.asarray(arrays[_name(keys)])
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(one, template)


@in_32_bits
def shapes_of(config: Config, num_actions: int, num_words: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an agent's parameters, by name."""
    return {name: leaf.shape for name, leaf in named_arrays(_shapes(_build, config, num_actions, num_words)).items()}


@lru_cache(maxsize=8)
def _shapes(build: Callable[[Config, int, int], Any], config: Config, num_actions: int, num_words: int) -> Any:
    """An agent of shapes; tracing takes a second, and all seeds of a run have the same."""
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


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata and the arrays of an agent's file."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata, arrays = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: name an agent's .safetensors file.") from None
    except Exception as error:  # The library raises many types of errors.
        raise UserError(
            f"{path} is not a readable safetensors file ({describe_error(error)}): name a run's folder, or an agent's "
            "file in it (agents/seed-N.safetensors)."
        ) from error
    if FORMAT not in metadata:
        found = ", ".join(sorted(metadata))[:80] or "none"
        raise UserError(f"{path} is not an agent of this version: its metadata has no {FORMAT!r} (found: {found}).")
    try:
        about = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata is not valid JSON ({error}).") from error
    check_schema(about, Metadata, f"{path}: metadata")
    for name, (low, high) in COUNTS.items():
        if not low <= about[name] <= high:
            raise invalid(f"{path}: {name}", about[name], f"it must be from {low} to {high}")
    words, count = about.get("words", []), about["num_words"]
    if words and not len(words) == len(set(words)) == count:
        raise UserError(f"{path}: words must be num_words ({count}) different words, not {len(set(words))}.")
    return about, arrays


def _fill(path: Path, skeleton: Any, arrays: dict[str, np.ndarray]) -> Any:
    if misfit := find_misfit(arrays, named_arrays(skeleton)):
        raise UserError(f"{path} does not fit its settings: {misfit}.")
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds numbers that are not finite.")
    return fill(skeleton, arrays)


def _name(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator=".")


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
