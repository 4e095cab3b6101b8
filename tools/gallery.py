"""A notebook with every explorer of the lessons, without their text: one section for each, by lesson.

What an explorer needs, a fit or a study, is worked out as its lesson does: of the lesson's code those statements are
taken that the explorer rests on, and no other.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

CALL = re.compile(r"\bexplorers\.(\w+)\(")


def title_of(explorer: str) -> str:
    """Its name for people: "VPC by hand"."""
    first, *others = explorer.split("_")
    return " ".join([first.upper() if first in ("em", "saem", "vpc") else first.capitalize(), *others])


def statements(notebook: nbformat.NotebookNode) -> Iterator[tuple[ast.stmt, str]]:
    """Every statement of the code with its cell's heading, the nearest of second order above it."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for found in re.findall(r"^#{1,2} (.+)$", cell.source, re.MULTILINE):
                heading = re.sub(r"\*\(\d+ minutes\)\*", "", found).strip()
        elif cell.cell_type == "code":
            for statement in ast.parse(cell.source).body:
                yield statement, heading


def names(node: ast.AST, context: type) -> set[str]:
    """The names that are read (`ast.Load`) or bound (`ast.Store`) in a piece of code."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, context)}


def bound(statement: ast.stmt) -> set[str]:
    """What a statement makes or changes: names that it binds, and what it puts into or calls a method of."""
    made = names(statement, ast.Store)
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    for part in ast.walk(statement):
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            made |= names(part.value, ast.Load)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        method = statement.value.func
        if isinstance(method, ast.Attribute) and method.attr in ("append", "extend", "insert", "update"):
            made |= names(method.value, ast.Load)
    return made


def needed(before: list[ast.stmt], last: ast.stmt) -> list[ast.stmt]:
    """Of the statements before one, those that it rests on, in their order, and itself.

    What a function or a class reads may also be made after it, for it is read when it is called.
    """
    when_called: set[str] = set()
    while True:
        wanted = names(last, ast.Load) | when_called
        kept = [last]
        for statement in reversed(before):
            if bound(statement) & wanted:
                kept.insert(0, statement)
                wanted |= names(statement, ast.Load)
        definitions = [part for part in kept if isinstance(part, ast.FunctionDef | ast.ClassDef)]
        read = set().union(*(names(part, ast.Load) for part in definitions))
        if read <= when_called:
            return kept
        when_called |= read


def shows_explorer(statement: ast.stmt) -> str | None:
    """The name of the explorer that a statement is to show, if it makes one under a name of its own."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return None
    found = CALL.match(ast.unparse(statement.value))
    return found[1] if found else None


def gallery(lessons: dict[str, Path]) -> nbformat.NotebookNode:
    """The notebook: what a lesson's explorers need is worked out once, where the first of them stands."""
    cells = [nbformat.v4.new_markdown_cell("# All explorers")]
    for number, path in lessons.items():
        before: list[ast.stmt] = []
        done: list[ast.stmt] = []
        for statement, heading in statements(nbformat.read(path, as_version=4)):
            if explorer := shows_explorer(statement):
                fresh = [part for part in needed(before, statement) if part not in done]
                done += fresh
                title = title_of(explorer)
                name = statement.targets[0].id  # type: ignore[attr-defined]
                cells.append(nbformat.v4.new_markdown_cell(f"## {number} · {title}\n\n{heading}"))
                code = "\n".join([*map(ast.unparse, fresh), f"display({name})"])
                cells.append(nbformat.v4.new_code_cell(code))
            before.append(statement)
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
