"""Assembling a self-contained HTML file from markup, styles, scripts and data; its security policy forbids loads."""

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from metarims.runs.files import write_atomic

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def asset(name: str) -> str:
    """The text of a file in ``views/assets``."""
    return (resources.files("metarims.views") / "assets" / name).read_text(encoding="utf-8")


def assemble(
    title: str, body: str, styles: Sequence[str], scripts: Sequence[str] = (), data: Mapping[str, Any] | None = None
) -> str:
    """The page. ``styles`` and ``scripts``: names of assets; ``data``: JSON by element id; ``body``: trusted markup."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{html.escape(title)}</title>",
        *(f"<style>\n{asset(name)}</style>" for name in styles),
        "</head>",
        "<body>",
        body,
        *(
            f'<script type="application/json" id="{key}">{embed_json(value)}</script>'
            for key, value in (data or {}).items()
        ),
        *(f"<script>\n{asset(name)}</script>" for name in scripts),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def embed_json(value: Any) -> str:
    """JSON that cannot end its script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c")


def write_text(path: str | Path, text: str) -> Path:
    """Write a file atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path
