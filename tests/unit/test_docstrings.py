"""The host layer and the privilege boundary explain themselves: what each part owns, its errors, what it rests on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "beastack"
MODULES = sorted([*(SOURCE / "freebsd").glob("*.py"), *(SOURCE / "privsep").glob("*.py")])
# a man page, a recorded transcript, a file of FreeBSD's source, an RFC
RESTS_ON = re.compile(r"[a-z_]\(\d\)|shared/freebsd|RFC \d|\b(?:s?bin|sys)/[\w/]+\.[ch]|/etc/")
ERRORS = re.compile(r"\b[Rr]aises?\b")


def names(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions, classes and their public methods."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_a_module_says_what_it_owns_and_its_public_parts_what_they_do(path: Path) -> None:
    tree = ast.parse(path.read_text())
    said = ast.get_docstring(tree) or ""
    assert len(said) > 40
    assert path.stem == "__init__" or path.parent.name == "privsep" or RESTS_ON.search(path.read_text())
    assert [node.name for node in public(tree.body) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "freebsd"], ids=names)
def test_a_function_that_raises_says_so(path: Path) -> None:
    silent = []
    for node in public(ast.parse(path.read_text()).body):
        raises = any(isinstance(inner, ast.Raise) and inner.exc is not None for inner in ast.walk(node))
        text = ast.get_docstring(node) or ""
        if isinstance(node, ast.FunctionDef) and raises and not (ERRORS.search(text) or "Error" in text):
            silent.append(node.name)
    assert silent == []
