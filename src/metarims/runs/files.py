"""Atomic writes, file locks, and error messages for failures of a disk."""

import contextlib
import errno
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarims.errors import UserError, invalid

SPARE_BYTES = 16 * 2**20
"""Free space required beyond the checkpoints: for metrics and exported agents."""

STALE_SECONDS = 3600
"""Age from which a temporary file counts as left by a killed process."""


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of ``path``: whatever happens, it holds the old or the new content whole.

    Several processes may write one file; the last one wins.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # Another process was faster, or owns it.
            if time.time() - left.lstat().st_mtime > STALE_SECONDS:
                left.unlink()
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with scratch.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def clear_scratch(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder to which no other process writes."""
    for path in folder.glob("*.tmp"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file; returns whether that succeeded. The system unlocks it when the file is closed or the process
    ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks.
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A context for one process or thread at a time; ``path``: a lock file, which is created."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` survive a power cut, where the system supports that."""
    with contextlib.suppress(OSError):  # As on some network file systems.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def describe_error(error: BaseException) -> str:
    """The cause of an error in a few words."""
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if "Out of memory" in text:
        return "it does not fit into memory"
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        return "no space is left on the disk"
    if number == errno.EFBIG or "File too large" in text:
        return "the file would exceed the size that the system allows"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "PERMISSION_DENIED" in text:
        return "writing there is not permitted"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (text.strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def check_name(path: Path, field: str) -> None:
    """Raise ``UserError`` for an output path that is a URL, or no text."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise invalid(field, str(path), "it is a URL; name a path on this machine, and copy the files afterwards")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise invalid(field, path, "it is no text; name another") from error


def check_file(path: Path | None, flag: str, *endings: str) -> None:
    """Raise ``UserError`` where an output file cannot be written: a folder, a URL, or in a place without permission.
    ``endings``: its name must have one of them (none: any)."""
    if path is None:
        return
    check_name(path, flag)
    if path.is_dir():
        raise UserError(f"{flag} {path} is a folder: name a file in it.", field=flag, value=path)
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{flag} {path} must end in {' or '.join(endings)}.", field=flag, value=path)
    there = next(folder for folder in path.absolute().parents if folder.exists())
    why = "it is a file" if not there.is_dir() else "writing there is not permitted"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {path} cannot be written in {there}: {why}. Name another.", field=flag, value=path)


RESUME_ADVICE = "Everything written so far is kept: fix the cause and rerun the command to resume."


@contextmanager
def writing(what: str, folder: Path, advice: str = RESUME_ADVICE) -> Iterator[None]:
    """Turn any failure to write ``what`` into a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"Could not write {what} in {folder}: {describe_error(error)}. {advice}".rstrip()) from error


def check_space(folder: Path, num_bytes: int) -> None:
    """Raise ``UserError`` unless ``folder``'s disk has room for ``num_bytes`` and ``SPARE_BYTES``."""
    try:
        free, wanted = shutil.disk_usage(folder).free, num_bytes + SPARE_BYTES
    except OSError as error:  # It was moved or removed.
        raise UserError(f"{folder} cannot be written to: {describe_error(error)}. Was it moved?") from error
    if free < wanted:
        raise UserError(
            f"{folder} has {free / 2**20:,.0f} MiB free, but this run needs about {wanted / 2**20:,.0f} MiB: "
            "free some space, or name another folder with --out."
        )
