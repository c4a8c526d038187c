"""What the benchmarks and scripts take from the package is there, also what they import late."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("scripts/*.py")])


def taken(program: Path) -> list[tuple[str, str]]:
    """Return module and name of everything that a program imports from the package."""
    found = []
    for node in ast.walk(ast.parse(program.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_hrsr"):
            found += [(node.module or "", name.name) for name in node.names]
    return found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_what_is_imported_is_there(program: Path) -> None:
    for module, name in taken(program):
        owner = importlib.import_module(module)
        if not hasattr(owner, name):
            importlib.import_module(f"{module}.{name}")


def test_imports_are_found() -> None:
    assert sum(len(taken(program)) for program in PROGRAMS) > 100
