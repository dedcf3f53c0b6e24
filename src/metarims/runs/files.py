"""Files that are either whole or absent, and sentences for what can go wrong with a disk."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarims.errors import UserError

SPARE_BYTES = 16 * 2**20
"""Free space asked for beyond the checkpoints: metrics, the exported agents, the page."""


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``; whatever happens in between, the old or the new content stands there whole."""
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        scratch.unlink(missing_ok=True)  # Of a killed process; a link there would be followed.
        with scratch.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` survive a power cut, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Some systems and network file systems cannot open folders.
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """``fsync`` each file and folder below ``folder``, and ``folder`` itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def reason(error: BaseException) -> str:
    """Why a file could not be read or written, or a thing not be made, in a few words."""
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


def check_file(path: Path | None, flag: str) -> None:
    """Raise ``UserError`` where a file is to be written, before anything is computed, and a folder is named."""
    if path is not None and path.is_dir():
        raise UserError(f"{flag} {path} is a folder: name a file in it.")


GO_ON = (
    "What was written before is kept: mend that and give the same command again, and it goes on from the last "
    "checkpoint."
)


@contextmanager
def writing(what: str, folder: Path, advice: str = GO_ON) -> Iterator[None]:
    """Turn any failure to write ``what`` into a sentence; what was written before stays."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"Could not write {what} in {folder}: {reason(error)}. {advice}".rstrip()) from error


def check_space(folder: Path, num_bytes: int) -> None:
    """Raise ``UserError`` unless ``folder``'s disk has room for ``num_bytes`` and some more."""
    try:
        free, wanted = shutil.disk_usage(folder).free, num_bytes + SPARE_BYTES
    except OSError as error:  # It was moved or removed since it was made.
        raise UserError(f"{folder} cannot be written to: {reason(error)}. Was it moved?") from error
    if free < wanted:
        raise UserError(
            f"{folder} has {free / 2**20:,.0f} MiB free, but this run needs about {wanted / 2**20:,.0f} MiB: "
            "free some space, or name another folder with --out."
        )
