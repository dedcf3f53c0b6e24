"""For every test: shapes and dtypes checked, random keys used once, programs compiled once."""

import os
from pathlib import Path

from metarims.runtime import prevent_deadlock

os.environ.setdefault("JAX_PLATFORMS", "cpu")
prevent_deadlock()

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jaxtyping.install_import_hook("metarims", "beartype.beartype")

_CACHE = Path(__file__).parents[1] / ".cache" / "xla"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_debug_key_reuse", True)


def _compile_quickly():
    """Programs that run for a moment only are compiled without optimisation, in half the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


quick_compilation = pytest.fixture(_compile_quickly, name="quick_compilation")
"""For one test."""
quick_module = pytest.fixture(_compile_quickly, scope="module", name="quick_module")
"""For what tests of a module share, too."""
