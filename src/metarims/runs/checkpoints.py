"""Checkpoints: a whole training state on disk, with checksums, so that a damaged one is never taken for a whole one.

Orbax writes the arrays, joined into one: for each array by itself tensorstore, under it, would leave some 40 Python
objects behind at every save (its conversions to JSON do), and a save would take six times as long. With one bit flipped
somewhere in its files Orbax restored other numbers without complaint in 29 of 678 trials, so each checkpoint carries a
manifest with the SHA-256 of every file, written last.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
from jax.experimental import multihost_utils

from metarims.errors import UserError, one_line
from metarims.learning.devices import is_key
from metarims.runs.files import describe_error, sync_folder, sync_tree, write_atomic
from metarims.runs.schema import check_schema
from metarims.upgrade import CROPPED, upgrade_array_name

KEEP = 2
"""Checkpoints kept: the last, and one to fall back on."""

MANIFEST = "manifest.json"
JOINED = "joined"
"""Name of the one array that Orbax sees."""


class Manifest(TypedDict):
    """What a checkpoint's manifest says."""

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
    """A sentence for each newer checkpoint that had to be passed over."""


def save(folder: Path, chunk: int, state: Any, notes: dict[str, Any]) -> None:
    """Write the checkpoint of ``chunk``, then remove those that are no longer kept.

    Those beyond ``chunk`` are not: they were passed over, or training would have gone on from there. The new one is
    built under another name and renamed when complete, so a process killed at any moment leaves the earlier
    checkpoints whole. Of several processes each calls this, with the same folder, and gives its part of the arrays;
    the first writes.
    """
    final, scratch = folder / f"{chunk:08d}", folder / f"{chunk:08d}.tmp"
    arrays = _arrays(state)
    joined = _join(arrays)
    if jax.process_index():
        _save_joined(scratch, joined)
        return
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        _save_joined(scratch, joined)
        manifest = {"notes": notes, "leaves": _kinds(arrays), "files": _checksums(scratch)}
        sync_tree(scratch)
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
    """The chunks of the checkpoints in ``folder``, in order; whether they are whole is not looked at."""
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


def _save_joined(path: Path, joined: np.ndarray) -> None:
    """All processes meet here, and the first writes."""
    with _quiet_orbax():
        ocp.save(str((path / "state").absolute()), {JOINED: joined})


def _join(arrays: dict[str, Any]) -> np.ndarray:
    """The bytes of all arrays, in the order of their names; numbers of random keys stand for them."""
    return np.concatenate([_host(arrays[name]).reshape(-1).view(np.uint8) for name in sorted(arrays)])


def _host(leaf: Any) -> np.ndarray:
    """An array whole on the host, wherever its parts are."""
    numbers = jax.random.key_data(leaf) if is_key(leaf) else leaf
    if isinstance(numbers, jax.Array) and not numbers.is_fully_addressable:
        numbers = multihost_utils.process_allgather(numbers, tiled=True)
    return np.ascontiguousarray(numbers)


def _divide(joined: np.ndarray, arrays: dict[str, Any]) -> dict[str, jax.Array]:
    """The arrays in what ``_join`` made of such, in their order there."""
    found, begin = {}, 0
    for name, wanted in arrays.items():
        numbers = jax.random.key_data(wanted) if is_key(wanted) else wanted
        end = begin + math.prod(numbers.shape) * numbers.dtype.itemsize
        leaf = jnp.asarray(joined[begin:end].view(numbers.dtype).reshape(numbers.shape))
        found[name] = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(wanted)) if is_key(wanted) else leaf
        begin = end
    if begin != joined.size:
        raise ValueError(f"{begin} bytes of arrays are expected and {joined.size} are there")
    return found


def _load(path: Path, template: Any, held: dict[str, str]) -> Any:
    arrays = _arrays(template)
    written = {upgrade_array_name(name): name for name in held}
    there, wanted = {name: held[old] for name, old in written.items()}, _kinds(arrays)
    crops = {name for name in written if name.startswith(CROPPED) and name in wanted and there[name] != wanted[name]}
    for name in sorted((there.keys() | wanted.keys()) - crops):
        if (kind := there.get(name, "absent")) != (now := wanted.get(name, "absent")):
            raise _misfit(path, f"{name} is {kind} there and {now} here")
    ordered = {name: arrays[name] for name in sorted(written, key=written.__getitem__)}
    for name in crops:
        dtype, shape = there[name].rstrip("]").split("[")
        ordered[name] = jax.ShapeDtypeStruct(tuple(map(int, shape.split(","))), dtype)
    try:
        loaded = _divide(read_joined(path), ordered)
        loaded |= {name: loaded[name][tuple(map(slice, arrays[name].shape))] for name in crops}
    except Exception as error:
        raise _misfit(path, describe_error(error)) from error
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    return jax.tree_util.tree_unflatten(treedef, [loaded.get(_name(keys), leaf) for keys, leaf in leaves])


def read_joined(path: Path) -> np.ndarray:
    """The bytes of all arrays of one checkpoint, in the order of their names."""
    with _quiet_orbax():
        return np.asarray(ocp.load(str((path / "state").absolute()))[JOINED])


def _misfit(path: Path, why: str) -> UserError:
    return UserError(
        f"Checkpoint {path} is whole, but does not fit this version of metarims: {why}. "
        "Go on with the version that wrote it, or start anew in another folder with --out."
    )


def _kinds(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in arrays.items()}


def _arrays(state: Any) -> dict[str, Any]:
    """The arrays of a state by name. Empty arrays hold nothing: they are left out."""
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
    """Remove an old checkpoint; its name goes first, so that a half-removed one is never met again."""
    doomed = path.with_name(path.name + ".tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Orbax logs a traceback per thread for errors that are raised anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
