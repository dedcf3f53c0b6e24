"""The machine: where compiled programs are kept, and what ``metarims doctor`` reports."""

import contextlib
import ctypes
import os
import platform
import shutil
import sys
from pathlib import Path

from metarims.errors import UserError

PACKAGES = ("metarims", "jax", "jaxlib", "equinox", "optax", "orbax-checkpoint", "safetensors", "numpy", "scipy")
PACKAGES += ("gymnasium", "minigrid", "tyro", "rich")


def prevent_deadlock() -> None:
    """Keep XLA's CPU back end from spreading one operation over threads; call before JAX computes anything.

    Programs vmapped over seeds were seen to wait for ever in its thread pool on two cores. Our operations are small and
    lose nothing. Whoever sets the flag in ``XLA_FLAGS`` decides otherwise.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def share_cores(num_processes: int) -> None:
    """Give this process's XLA its share of the cores, where so many compute at once; call before JAX computes anything.

    Otherwise each has a thread per core, and they get in each other's way: two runs on two cores trained 13 % slower.
    Whoever sets ``NPROC`` decides otherwise.
    """
    os.environ.setdefault("NPROC", str(max(1, usable_cores() // num_processes)))


M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 2**20
"""glibc's name of a setting, and what we set it to, in bytes."""


def limit_malloc() -> None:
    """Have large arrays take memory that goes back whole when they go; call before threads begin.

    Otherwise glibc learns to keep such memory, in each thread's heap: what checkpoints are made of is left there in
    pieces, and hours of training grow by tens of megabytes. Only glibc has the setting; whoever sets
    ``MALLOC_MMAP_THRESHOLD_`` decides otherwise.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        _ask_glibc("mallopt", M_MMAP_THRESHOLD, LARGE_BLOCK)


def release_memory() -> None:
    """Give back what is free, such as what compiling took: half a gigabyte and more."""
    _ask_glibc("malloc_trim", 0)


def _ask_glibc(function: str, *numbers: int) -> None:
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Other systems have neither it nor the habit.
        getattr(ctypes.CDLL(None), function)(*numbers)


def silence_xla_log() -> None:
    """Keep XLA's own log, such as its alarm at a slow compilation, off the screen; call before JAX is imported.

    What goes wrong still reaches the user: as an exception. Whoever sets ``TF_CPP_MIN_LOG_LEVEL`` decides otherwise.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def share_processor(num_devices: int) -> None:
    """Let JAX see the processor as so many devices, a thread each; call before JAX computes anything."""
    if num_devices > 1:
        import jax

        jax.config.update("jax_num_cpu_devices", num_devices)


def check_devices() -> None:
    """Raise ``UserError`` where JAX has no device to compute on: it was told of a platform that it cannot use."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise unusable_platform(str(error)) from error


def unusable_platform(why: str) -> UserError:
    """The sentence for JAX's complaint, which may be empty, that it cannot compute on the platform it was told of."""
    asked = os.environ.get("JAX_PLATFORMS", "")
    why = (why.strip().splitlines() or ["its plugin is not installed, or finds no device"])[0].rstrip(".")
    return UserError(
        f"JAX_PLATFORMS is {asked!r}, and JAX cannot compute there: {why}. Unset it, so that JAX chooses, or install "
        "what the platform needs (for NVIDIA's GPUs: pip install '.[cuda12]')."
    )


def cache_folder() -> Path:
    """``$METARIMS_CACHE``, or the user's cache folder."""
    named = os.environ.get("METARIMS_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/metarims"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "metarims"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metarims"


def enable_compile_cache() -> str | None:
    """Keep compiled programs on disk between runs; returns why that is not possible, or None.

    Without the cache everything works, only each start compiles again.
    """
    import jax

    folder = cache_folder() / "xla"
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


def describe() -> list[tuple[str, str]]:
    """What a bug report needs, as (name, value) lines."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [("python", f"{platform.python_version()} ({sys.executable})"), ("system", platform.platform())]
    for name in PACKAGES:
        try:
            lines.append((name, version(name)))
        except PackageNotFoundError:
            lines.append((name, "not installed"))
    problem = enable_compile_cache()
    cache = cache_folder()
    lines += [
        ("devices", _devices()),
        ("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        ("memory", _memory()),
        ("compile cache", problem or f"{cache} ({_size(cache):,.0f} MiB)"),
        ("free disk here", f"{shutil.disk_usage('.').free / 2**30:,.1f} GiB ({Path.cwd()})"),
    ]
    lines += [
        (name, os.environ[name]) for name in ("JAX_PLATFORMS", "XLA_FLAGS", "METARIMS_CACHE") if name in os.environ
    ]
    return lines


def _devices() -> str:
    import jax

    try:
        check_devices()
    except UserError as error:
        return f"none: {error}"
    return ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices())


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    """Free and total, from the system's own account where it has one."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free, total = (int(fields[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
        return f"{free:.1f} GiB free of {total:.1f} GiB"
    except (OSError, KeyError, ValueError):
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB in all"
    return "unknown"


def _size(folder: Path) -> float:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    except OSError:
        return 0.0
