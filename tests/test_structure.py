"""The package is a pipe: no import runs back along it, and nothing has the name of something else."""

import ast
from collections import Counter
from pathlib import Path

import metarims

SOURCE = Path(metarims.__file__).parent
LEAVES = ("__init__", "errors", "fields", "types", "rules", "config", "presets", "upgrade", "runtime", "terminal")
LEAVES += ("core_settings", "pretrained")
PIPE = ("gridworld", "agents", "learning", "runs", "evaluation", "views", "studies", "comparison", "commands")
TREES = {path.relative_to(SOURCE): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def section(path: Path) -> str:
    """The folder of a file, or the file itself at the top."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def imported(tree: ast.AST) -> set[str]:
    """Sections that a file imports, inside functions too."""
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    known = {section(path) for path in TREES}
    return {part[1] for part in parts if part[0] == "metarims" and len(part) > 1 and part[1] in known}


def place(name: str) -> int:
    """Where a section stands on the pipe."""
    return 0 if name in LEAVES else 1 + PIPE.index(name) if name in PIPE else len(PIPE) + 1


def test_no_import_runs_back():
    back = {
        f"{path} imports {other}" for path, tree in TREES.items() for other in imported(tree)
        if place(other) > place(section(path))
    }  # fmt: skip
    assert not back


def test_the_environments_import_nothing_else_of_ours():
    others = {f"{path}: {o}" for path, tree in TREES.items() if section(path) == "gridworld" for o in imported(tree)}
    assert {other for other in others if not other.endswith((": gridworld", ": errors"))} == set()


def test_no_name_stands_twice():
    files = Counter(path.name for path in TREES if path.name not in ("__init__.py", "__main__.py"))
    classes = Counter(n.name for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    assert [name for name, count in (files + classes).items() if count > 1] == []
