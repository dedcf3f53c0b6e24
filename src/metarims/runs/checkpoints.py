"""Checkpoints: a whole training state on disk, with checksums, so that a damaged one is never taken for a whole one.

A checkpoint is a folder of two files: ``state.safetensors``, every array by name (of random keys their numbers), and
``manifest.json``, written last, with the SHA-256 of the first and of itself.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from metarims.errors import UserError, one_line
from metarims.learning.devices import is_key
from metarims.runs.files import describe_error, sync_folder, write_atomic
from metarims.runs.schema import check_schema
from metarims.upgrade import CROPPED, read_orbax

KEEP = 2
"""Checkpoints kept: the last, and one to fall back on."""

MANIFEST = "manifest.json"
STATE = "state.safetensors"


class Manifest(TypedDict):
    """The content of ``manifest.json``."""

    notes: dict[str, Any]
    leaves: dict[str, str]
    """Type and shape of every array."""
    files: dict[str, str]
    """SHA-256 of every file."""


class Restored(NamedTuple):
    """What was found on disk."""

    state: Any
    """The training state, or None where there is no whole checkpoint."""
    notes: dict[str, Any]
    """What was saved beside it: chunk, length of the metrics, ..."""
    problems: tuple[str, ...]
    """A message for each newer checkpoint that was passed over."""


def save(folder: Path, chunk: int, state: Any, notes: dict[str, Any]) -> None:
    """Write the checkpoint of ``chunk``, then remove those that are no longer kept.

    Checkpoints beyond ``chunk`` are removed too: they were damaged, or training would have resumed from them. The new
    one is built under another name and renamed when complete, so a process killed at any moment leaves the earlier
    ones whole. Of several processes (``runs.hosts``) each calls this with its part of the arrays; the first writes.
    """
    leaves = _arrays(state)
    arrays = {name: _on_host(leaf) for name, leaf in leaves.items()}
    if jax.process_index():
        return
    final, scratch = folder / f"{chunk:08d}", folder / f"{chunk:08d}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        data = safetensors.numpy.save(arrays)
        write_atomic(scratch / STATE, data)
        manifest = {"notes": notes, "leaves": _kinds(leaves), "files": {STATE: _digest(data)}}
        write_atomic(scratch / MANIFEST, seal(manifest))
        shutil.rmtree(final, ignore_errors=True)  # Only a damaged one, passed over at the start, can stand there.
        os.replace(scratch, final)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    sync_folder(folder)
    found = chunks(folder)
    kept = [number for number in found if number <= chunk][-KEEP:]
    for number in found:
        if number not in kept:
            _discard(folder / f"{number:08d}")


def chunks(folder: Path) -> list[int]:
    """The chunks of the checkpoints in ``folder``, in order, whole or not."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit() and path.is_dir())


def restore(folder: Path, template: Any, acceptable: Any = None) -> Restored:
    """The newest whole checkpoint, with every leaf as in ``template``.

    ``acceptable(notes) -> str | None`` may name a further reason to pass a checkpoint over.
    """
    problems = []
    for chunk in reversed(chunks(folder)):
        path = folder / f"{chunk:08d}"
        manifest, fault = verify(path)
        notes = manifest.get("notes", {})
        if fault is None and acceptable is not None:
            fault = acceptable(notes)
        if fault is None:
            return Restored(_load(path, template, manifest["leaves"]), notes, tuple(problems))
        problems.append(one_line(f"Checkpoint {path} is damaged ({fault}) and is passed over."))
    return Restored(None, {}, tuple(problems))


def verify(path: Path) -> tuple[dict[str, Any], str | None]:
    """A checkpoint's manifest, and what is wrong with it (None: it is whole)."""
    try:
        sealed = json.loads((path / MANIFEST).read_bytes())
        manifest = sealed["manifest"]
        if sealed["sha256"] != _digest(_encode(manifest)):
            return {}, f"{MANIFEST} does not match its checksum"
        check_schema(manifest, Manifest, MANIFEST)
        found = _checksums(path)
    except UserError:
        return {}, f"{MANIFEST} is of another version"
    except FileNotFoundError:
        return {}, f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {}, f"{MANIFEST} cannot be read: {describe_error(error)}"
    for name, checksum in manifest["files"].items():
        if name not in found:
            return {}, f"{name} is missing"
        if found[name] != checksum:
            return {}, f"{name} does not match its checksum"
    return manifest, None


def _load(path: Path, template: Any, held: dict[str, str]) -> Any:
    """The state in a whole checkpoint."""
    wanted = _arrays(template)
    kinds = _kinds(wanted)
    try:
        if (path / STATE).exists():
            arrays = safetensors.numpy.load_file(path / STATE)
        else:
            held, arrays = read_orbax(path / "state", held)
            for name in [name for name in wanted if name.startswith(CROPPED) and name in arrays]:
                arrays[name], held[name] = arrays[name][tuple(map(slice, wanted[name].shape))], kinds[name]
        for name in sorted(held.keys() | kinds.keys()):
            there, now = held.get(name, "absent"), kinds.get(name, "absent")
            if there != now:
                raise ValueError(f"{name} is {there} there and {now} here")
        loaded = {name: _like(leaf, arrays[name]) for name, leaf in wanted.items()}
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"Checkpoint {path} is whole, but does not fit this version of metarims: {describe_error(error)}. "
            "Resume with the version that wrote it, or start a new run in another folder with --out.",
            field="checkpoint",
            value=str(path),
        ) from error
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    return jax.tree_util.tree_unflatten(treedef, [loaded.get(_name(keys), leaf) for keys, leaf in leaves])


def _on_host(leaf: Any) -> np.ndarray:
    """An array whole on this machine, wherever its parts are; of random keys their numbers."""
    numbers = jax.random.key_data(leaf) if is_key(leaf) else leaf
    if isinstance(numbers, jax.Array) and not numbers.is_fully_addressable:
        from jax.experimental import multihost_utils

        numbers = multihost_utils.process_allgather(numbers, tiled=True)
    return np.asarray(numbers)


def _like(leaf: Any, numbers: np.ndarray) -> Any:
    """The reverse of ``_on_host``, for an array like ``leaf``."""
    expected = jax.random.key_data(leaf) if is_key(leaf) else leaf
    if (numbers.shape, numbers.dtype) != (expected.shape, expected.dtype):
        raise ValueError(f"{numbers.dtype}{list(numbers.shape)} is no {leaf.dtype}{list(leaf.shape)}")
    array = jnp.asarray(numbers)
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array


def _kinds(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in arrays.items()}


def _arrays(state: Any) -> dict[str, Any]:
    """The arrays of a state by name, without empty ones."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {_name(keys): leaf for keys, leaf in leaves if eqx.is_array(leaf) and leaf.size}


def _name(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator=".")


def _checksums(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _digest(path.read_bytes()) for path in files}


def seal(manifest: dict[str, Any]) -> bytes:
    """A manifest as a file, with its own checksum."""
    return json.dumps({"sha256": _digest(_encode(manifest)), "manifest": manifest}, indent=1).encode()


def _encode(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _discard(path: Path) -> None:
    """Remove an old checkpoint; it is renamed first, so that a half-removed one is never read."""
    doomed = path.with_name(path.name + ".tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
