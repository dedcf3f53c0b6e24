"""Checkpoints: training states on disk, with checksums that reveal damage.

A checkpoint is a folder of two files: ``state.safetensors``, every array by name (of random keys their numbers), and
``manifest.json``, written last, with the SHA-256 of the first and of itself.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import numpy as np
import safetensors.numpy

from metarims.errors import UserError, one_line
from metarims.learning.devices import is_key
from metarims.runs.export import fill, find_misfit, named_arrays
from metarims.runs.files import describe_error, sync_folder, write_atomic
from metarims.runs.schema import check_schema
from metarims.upgrade import CROPPED, read_orbax

KEEP = 2
"""Checkpoints kept: the newest, and one in reserve."""

MANIFEST = "manifest.json"
STATE = "state.safetensors"


class Manifest(TypedDict):
    """The content of ``manifest.json``."""

    notes: dict[str, Any]
    files: dict[str, str]
    """SHA-256 of every file."""
    leaves: NotRequired[dict[str, str]]
    """Type and shape of every array, in checkpoints of version 0.1."""


class Restored(NamedTuple):
    """The newest whole checkpoint."""

    state: Any
    """The training state, or None where there is no whole checkpoint."""
    notes: dict[str, Any]
    """What was saved with it (``training.CheckpointNotes``)."""
    problems: tuple[str, ...]
    """A message for each newer checkpoint, which is damaged."""


def save(folder: Path, chunk: int, state: Any, notes: dict[str, Any]) -> None:
    """Write the checkpoint of ``chunk``, then remove older ones, and those beyond ``chunk``, which are damaged.

    The new one is built under another name and renamed when complete: a process killed at any moment leaves the earlier
    ones whole. With several processes (``runs.hosts``) all must call this; the first writes.
    """
    arrays = {name: _on_host(array) for name, array in arrays_of(state).items()}
    if jax.process_index():
        return
    final, scratch = folder / f"{chunk:08d}", folder / f"{chunk:08d}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        data = safetensors.numpy.save(arrays)
        write_atomic(scratch / STATE, data)
        write_atomic(scratch / MANIFEST, seal({"notes": notes, "files": {STATE: _digest(data)}}))
        shutil.rmtree(final, ignore_errors=True)  # A damaged one.
        os.replace(scratch, final)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    sync_folder(folder)
    existing = chunks(folder)
    for number in set(existing) - set([number for number in existing if number <= chunk][-KEEP:]):
        _discard(folder / f"{number:08d}")


def chunks(folder: Path) -> list[int]:
    """The chunks of the checkpoints in ``folder``, in order, whole or not."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit() and path.is_dir())


def restore(folder: Path, template: Any, find_fault: Any = None) -> Restored:
    """The newest whole checkpoint, with every leaf as in ``template``.

    ``find_fault(notes) -> str | None`` may name a further reason to skip a checkpoint.
    """
    problems = []
    for chunk in reversed(chunks(folder)):
        path = folder / f"{chunk:08d}"
        manifest, fault = verify(path)
        notes = manifest.get("notes", {})
        if fault is None and find_fault is not None:
            fault = find_fault(notes)
        if fault is None:
            return Restored(_load(path, template, manifest), notes, tuple(problems))
        problems.append(one_line(f"Checkpoint {path} is damaged ({fault}) and is skipped."))
    return Restored(None, {}, tuple(problems))


def verify(path: Path) -> tuple[dict[str, Any], str | None]:
    """A checkpoint's manifest, and what is wrong with the checkpoint (None: it is whole)."""
    try:
        sealed = json.loads((path / MANIFEST).read_bytes())
        manifest = sealed["manifest"]
        if sealed["sha256"] != _digest(_encode(manifest)):
            return {}, f"{MANIFEST} does not match its checksum"
        check_schema(manifest, Manifest, MANIFEST)
        files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST)
        checksums = {file.relative_to(path).as_posix(): _digest(file.read_bytes()) for file in files}
    except UserError:
        return {}, f"{MANIFEST} is of another version"
    except FileNotFoundError:
        return {}, f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {}, f"{MANIFEST} cannot be read: {describe_error(error)}"
    for name, checksum in manifest["files"].items():
        if name not in checksums:
            return {}, f"{name} is missing"
        if checksums[name] != checksum:
            return {}, f"{name} does not match its checksum"
    return manifest, None


def arrays_of(state: Any) -> dict[str, Any]:
    """The arrays of a state by name, without empty ones; of random keys their numbers."""
    named = {name: leaf for name, leaf in named_arrays(state).items() if leaf.size}
    return {name: jax.random.key_data(leaf) if is_key(leaf) else leaf for name, leaf in named.items()}


def _load(path: Path, template: Any, manifest: dict[str, Any]) -> Any:
    """The state in a whole checkpoint."""
    wanted = arrays_of(template)
    try:
        if (path / STATE).exists():
            arrays = safetensors.numpy.load_file(path / STATE)
        else:
            arrays = read_orbax(path / "state", manifest.get("leaves", {}))
            for name in [name for name in wanted if name.startswith(CROPPED) and name in arrays]:
                arrays[name] = arrays[name][tuple(map(slice, wanted[name].shape))]
        if misfit := find_misfit(arrays, wanted):
            raise ValueError(misfit)
        return fill(template, arrays)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"Checkpoint {path} is whole, but does not fit this version of metarims: {describe_error(error)}. "
            "Resume with the version that wrote it, or start a new run in another folder with --out.",
            field="checkpoint",
            value=str(path),
        ) from error


def _on_host(array: Any) -> np.ndarray:
    """An array as a whole, also where other processes hold parts of it."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        from jax.experimental import multihost_utils

        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


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
