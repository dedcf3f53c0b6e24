"""For every test: shapes and dtypes are checked, random keys are used once, programs are compiled once."""

import dataclasses
import fcntl
import os
import random
import shutil
from contextlib import contextmanager
from pathlib import Path

from metarims.runtime import prevent_deadlock, release_memory

os.environ.setdefault("JAX_PLATFORMS", "cpu")
prevent_deadlock()

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jaxtyping.install_import_hook("metarims", "beartype.beartype")

CACHE = Path(__file__).parents[1] / ".cache"
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(CACHE / "xla")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_debug_key_reuse", True)


@contextmanager
def _compile_quickly():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def quick_compilation():
    """Compile without optimization, in half the time: for programs that run for a moment only. For one test."""
    with _compile_quickly():
        yield


@pytest.fixture(scope="module")
def quick_module():
    """The same for all tests of a module and what they share."""
    with _compile_quickly():
        yield


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Compiled programs stay in memory until JAX's caches are cleared: gigabytes over all modules."""
    yield
    jax.clear_caches()
    release_memory()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """The folder of one finished run, to be read only: preset ``debug``, the agent ``metarims``, seeds 0 and 1, 2,048
    steps; config, metrics, checkpoints, last and best agents. Trained once, for all workers of the session."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "trained-run"
    with (shared / "trained-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            from metarims.learning.trainer import make_trainer
            from metarims.presets import PRESETS
            from metarims.runs.training import train

            with _compile_quickly():
                config = dataclasses.replace(PRESETS["debug"], frames=2048, seeds=(0, 1))
                train(config, folder / "run", make_trainer=make_trainer, progress=False)
            (folder / "done").touch()
    return folder / "run"


@pytest.fixture
def run_copy(trained_run, tmp_path):
    """A copy of ``trained_run`` that a test may change."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def pytest_collection_modifyitems(items):
    """With ``TEST_ORDER`` tests run in the order that it seeds: a run that is cut short looks at others each time."""
    if seed := os.environ.get("TEST_ORDER"):
        random.Random(seed).shuffle(items)
