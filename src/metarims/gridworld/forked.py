"""Processes that were forked after JAX ran: it would wait forever in them, for threads that only its parent has."""

import os
import sys

from metarims.errors import UserError

_forked = False


def check_not_forked() -> None:
    """Raise ``UserError`` in a process that was forked after JAX had started."""
    if _forked:
        raise UserError(
            "This process was forked after JAX had started, so JAX cannot compute in it. For many environments leave "
            'out vectorization_mode="async": make_vec steps them in one compiled call. Start other processes by '
            '"spawn", here with vector_kwargs={"context": "spawn"}.',
            field="vectorization_mode",
            value="async",
        )


def _note() -> None:
    global _forked
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked = _forked or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)
