"""Process-wide settings of XLA and the C library, the compile cache, and what ``metarims doctor`` prints."""

import contextlib
import ctypes
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from metarims import __version__
from metarims.errors import UserError

M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 2**20
"""glibc's number of a setting, and the value that we give it, in bytes."""


def prevent_deadlock() -> None:
    """Keep XLA's CPU backend from spreading one operation over threads; call before JAX computes anything.

    On two cores, programs vmapped over seeds sometimes waited forever in its thread pool. Our operations are small and
    lose no speed. A flag in ``XLA_FLAGS`` takes precedence.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def share_cores(num_processes: int) -> None:
    """Give XLA in this process its share of the cores; call before JAX computes anything.

    Otherwise each process has a thread per core: two runs on two cores trained 13 % slower. ``NPROC`` takes precedence.
    """
    os.environ.setdefault("NPROC", str(max(1, usable_cores() // num_processes)))


def limit_malloc() -> None:
    """Return the memory of large arrays to the system when they are freed; call before threads start.

    Otherwise glibc keeps such memory in each thread's heap, fragmented by checkpoints, and hours of training grow by
    tens of megabytes. ``MALLOC_MMAP_THRESHOLD_`` takes precedence.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        _call_glibc("mallopt", M_MMAP_THRESHOLD, LARGE_BLOCK)


def release_memory() -> None:
    """Return free memory to the system, such as half a gigabyte after compiling."""
    _call_glibc("malloc_trim", 0)


def _call_glibc(function: str, *numbers: int) -> None:
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Other systems have neither function nor problem.
        getattr(ctypes.CDLL(None), function)(*numbers)


def silence_xla_log() -> None:
    """Keep XLA's log, such as warnings of slow compilation, off the screen; call before JAX is imported.

    Errors are raised as exceptions anyway. ``TF_CPP_MIN_LOG_LEVEL`` takes precedence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def share_processor(num_devices: int) -> None:
    """Let JAX see the CPU as several devices, one thread each; call before JAX computes anything."""
    if num_devices > 1:
        import jax

        jax.config.update("jax_num_cpu_devices", num_devices)


def check_devices() -> None:
    """Raise ``UserError`` if JAX has no device, as with an unusable ``JAX_PLATFORMS``."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise unusable_platform(str(error)) from error


def unusable_platform(why: str) -> UserError:
    """The error for JAX's complaint (which may be empty) about ``JAX_PLATFORMS``."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    why = (why.strip().splitlines() or ["its plugin is not installed, or finds no device"])[0].rstrip(".")
    return UserError(
        f"JAX_PLATFORMS is {platforms!r}, but JAX cannot use it: {why}. Unset it, so that JAX chooses, or install what "
        "the platform needs (for NVIDIA GPUs: pip install '.[cuda12]').",
        field="JAX_PLATFORMS",
        value=platforms,
    )


def cache_folder() -> Path | None:
    """``$METARIMS_CACHE``, or the user's cache folder; None for a user without a home folder."""
    with contextlib.suppress(RuntimeError):
        return _cache_folder()
    return None


def _cache_folder() -> Path:
    if named := os.environ.get("METARIMS_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/metarims"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "metarims"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metarims"


def enable_compile_cache() -> str | None:
    """Keep compiled programs on disk; returns why that is impossible (each start then compiles again), or None."""
    import jax

    cache = cache_folder()
    if cache is None:
        return "there is no home folder (METARIMS_CACHE can name another)"
    folder = cache / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return None


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """What a bug report needs, by name."""
    import jax

    problem, cache, size = enable_compile_cache(), cache_folder(), 0.0
    try:
        check_devices()
        devices = ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices())
    except UserError as error:
        devices = f"none: {error}"
    with contextlib.suppress(OSError):  # Another process may be writing there.
        size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 2**20 if cache else 0.0
    settings = ("JAX_PLATFORMS", "XLA_FLAGS", "METARIMS_CACHE")
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        **_versions(),
        "devices": devices,
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
        "memory": _memory(),
        "compile cache": problem or f"{cache} ({size:,.0f} MiB)",
        "free disk here": f"{shutil.disk_usage('.').free / 2**30:,.1f} GiB ({Path.cwd()})",
        **{name: os.environ[name] for name in settings if name in os.environ},
    }


def _versions() -> dict[str, str]:
    """Of this package, and of those that it requires."""
    from importlib.metadata import PackageNotFoundError, requires, version

    versions, required = {"metarims": __version__}, ["jaxlib"]
    with contextlib.suppress(PackageNotFoundError):  # Run from its source, not installed.
        required += requires("metarims") or ()
    for name in [re.split(r"[^\w-]", line)[0] for line in required if "extra" not in line]:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _memory() -> str:
    with contextlib.suppress(OSError, KeyError, ValueError):  # Linux only.
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free, total = (int(fields[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
        return f"{free:.1f} GiB free of {total:.1f} GiB"
    with contextlib.suppress(AttributeError, ValueError):
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB in total"
    return "unknown"
