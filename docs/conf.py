"""How Sphinx builds these pages (``make docs``): Markdown by MyST, the reference from docstrings."""

import posixpath
import re
import typing
from pathlib import Path

typing.GENERATING_DOCUMENTATION = "metarims"  # jaxtyping then writes short names.

import metarims  # noqa: E402

project = "metarims"
author = "The metarims authors"
release = version = metarims.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
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
# Type variables have no entry of their own.
nitpick_ignore_regex = [(r"py:.*", r"(?!metarims\.).*"), (r"py:.*", r"metarims\..*\.Any\w+")]

# Files outside this folder that are pages of the site. Links to them work in the repository and on the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "results.md",
}


def drop_aliases(app, what, name, obj, options, lines):
    """A named tuple's field without a docstring has one by Python, which says nothing."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def link_pages(text, folder, start):
    """Links and images of a file in ``folder`` (from the repository's root) as seen from the page folder ``start``."""

    def replace(found):
        target, anchor = posixpath.normpath(posixpath.join(folder, found[1])), found[2] or ""
        if target.startswith("examples/"):
            target, anchor = "docs/examples.md", "#" + re.sub(r"[^\w-]", "", target.replace("/", ""))
        elif target in PAGES:
            target = "docs/" + PAGES[target]
        return f"]({posixpath.relpath(target, start)}{anchor})"

    return re.sub(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", replace, text)


def join_numbers(text):
    """No line break in a table within an interval, or between a number and its unit."""
    rows = (
        re.sub(r"(\[-?[\d.,k]+,) (?=\S+\])|(\d) (?=[kM] )", "\\1\\2\N{NO-BREAK SPACE}", row)
        if row.startswith("|")
        else row
        for row in text.split("\n")
    )
    return "\n".join(rows)


def list_modules(folder):
    """A section for each module in a folder of the package, from its docstrings."""
    files = sorted((Path(metarims.__file__).parent / folder).glob("*.py"))
    names = [".".join(("metarims", *Path(folder).parts, file.stem)) for file in files if not file.stem.startswith("_")]
    return "\n".join(f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in names)


def list_examples():
    """A section with the text of each program in ``examples``."""
    languages = {".py": "python", ".sh": "bash"}
    files = sorted(file for file in (Path(__file__).parents[1] / "examples").iterdir() if file.suffix in languages)
    block = "```{{literalinclude}} ../examples/{0}\n:language: {1}\n```"
    return "\n".join(f"## examples/{f.name}\n\n{block.format(f.name, languages[f.suffix])}\n" for f in files)


def read_page(app, docname, source):
    folder = posixpath.dirname("docs/" + docname)
    text = re.sub(r"^% modules in (\S*)$", lambda found: list_modules(found[1]), source[0], flags=re.MULTILINE)
    text = re.sub(r"^% examples$", lambda found: list_examples(), text, flags=re.MULTILINE)
    source[0] = join_numbers(link_pages(text, folder, folder))


def read_include(app, path, docname, source):
    folder = posixpath.normpath(posixpath.join("docs", posixpath.dirname(path.as_posix())))
    source[0] = join_numbers(link_pages(source[0], folder, "docs"))


def setup(app):
    app.connect("source-read", read_page)
    app.connect("include-read", read_include)
    app.connect("autodoc-process-docstring", drop_aliases)
