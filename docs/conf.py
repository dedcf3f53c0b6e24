"""How Sphinx builds these pages (``make docs``): Markdown by MyST, the reference from docstrings."""

import re
import typing

typing.GENERATING_DOCUMENTATION = "metarims"  # jaxtyping then writes short names.

from metarims import __version__  # noqa: E402

project = "metarims"
author = "The metarims authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

html_theme = "furo"
html_title = f"metarims {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_copyright = False

autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# References to metarims itself must resolve; those to other packages are names only, so that no build needs a network.
nitpick_ignore_regex = [(r"py:.*", r"(?!metarims\.).*")]


def drop_aliases(app, what, name, obj, options, lines):
    """A named tuple's field without a docstring has one by Python, which says nothing."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def link_files(app, docname, source):
    """A link out of this folder to a Markdown file that is no page here gives the file itself."""
    source[0] = re.sub(r"\]\(((?:\.\./)+[^)#]*\.md)(?:#[^)]*)?\)", r"](path:\1)", source[0])


def setup(app):
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", drop_aliases)
