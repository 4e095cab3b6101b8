"""The floors of the house: what may import what, and how long a file, a function and a statement may be."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "mefit"
FLOORS = {  # each may import itself and what stands above it
    "base": (),
    "data": ("base",),
    "datasets": ("data", "base"),
    "curves": ("data", "base"),
    "model": ("curves", "data", "base"),
    "effects": ("model", "curves", "data", "base"),
    "objectives": ("effects", "model", "curves", "data", "base"),
    "methods": ("objectives", "effects", "model", "curves", "data", "base"),
    "fitting": ("methods", "objectives", "effects", "model", "curves", "data", "base"),
}
FLOORS["inference"] = FLOORS["diagnosis"] = ("fitting", *FLOORS["fitting"])
FLOORS["decisions"] = ("inference", "diagnosis", *FLOORS["inference"])
FLOORS["plots"] = ("decisions", *FLOORS["decisions"])
FLOORS["reports"] = ("plots", *FLOORS["plots"])
FILES = sorted(path for path in LIBRARY.rglob("*.py") if path.parent != LIBRARY)
NAMES = [path.relative_to(LIBRARY).as_posix() for path in FILES]


def imported(path):
    """The modules of the library that a file imports, wherever it does, as paths from the library."""
    package = path.relative_to(LIBRARY).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            whole = LIBRARY.joinpath(*[part for part in parts if part])
            for alias in node.names:
                is_module = (whole / f"{alias.name}.py").exists()
                yield (whole / alias.name if is_module else whole).relative_to(LIBRARY).as_posix()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_one_way(path):
    floor = path.relative_to(LIBRARY).parts[0]
    for module in imported(path):
        other = module.split("/")[0]
        assert other == floor or other in FLOORS[floor], f"{module} is not above {floor}/"


def test_no_imports_go_in_a_circle():
    arrows = {name.removesuffix(".py"): set(imported(path)) for name, path in zip(NAMES, FILES, strict=True)}
    while free := {name for name, others in arrows.items() if not others & arrows.keys()}:
        arrows = {name: others for name, others in arrows.items() if name not in free}
    assert arrows == {}


def joined(node):
    """Is it `a, b = x, y` of values that have nothing to do with each other, or an unpacked generator?"""
    if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)):
        return False
    names = [ast.unparse(target) for target in node.targets[0].elts]
    if isinstance(node.value, ast.Tuple):
        is_swap = sorted(names) == sorted(ast.unparse(value) for value in node.value.elts)
        return not is_swap
    return isinstance(node.value, ast.GeneratorExp)


def length_of_code(function):
    """Its lines, without those of its docstring."""
    told = 0
    if ast.get_docstring(function) is not None:
        told = function.body[0].end_lineno - function.body[0].lineno + 1
    return function.end_lineno - function.lineno + 1 - told


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_functions_and_statements_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert length_of_code(node) <= 60, f"{node.name} is longer than 60 lines"
        assert not joined(node), f"line {node.lineno} joins what has nothing to do with each other"
        if isinstance(node, ast.IfExp):
            assert not isinstance(node.orelse, ast.IfExp), f"line {node.lineno} chains conditions"
