"""Figures and pages, drawn without an interactive backend."""

import os

_BACKEND = os.environ.pop("MPLBACKEND", None)
try:  # Notebooks name a backend that need not be installed here; matplotlib would refuse to be imported.
    import matplotlib.figure  # noqa: F401
finally:
    if _BACKEND is not None:
        os.environ["MPLBACKEND"] = _BACKEND
