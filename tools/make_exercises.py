"""Write exercises/ from solutions/:  python3 start.py exercises

A solution notebook is the only source. Its exercise is the same notebook with the same cell ids, except that

- the line of links at both ends is that of an exercise;
- cells tagged `solution` are left out;
- in code, what stands between the lines `### BEGIN SOLUTION` and `### END SOLUTION` (the marks of nbgrader) becomes a
  stub: the lines inside that start with `# stub:`, or, where there are none, `return ...` inside a function and
  `name = ...` for every name that is assigned outside of one.
"""

import argparse
import ast
import copy
import re
import sys
from pathlib import Path

import nbformat
from tidy_notebooks import links_of, text_of, with_links

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TARGET = ROOT / "solutions", ROOT / "exercises"
BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "# stub:"
_TODO = "  # your answer"


def without_solution(code: str, where: str) -> str:
    """The code with every solution replaced by its stub; ValueError where the marks do not pair."""
    out: list[str] = []
    hidden: list[str] | None = None
    for line in code.splitlines():
        mark = line.strip()
        if mark == BEGIN and hidden is None:
            hidden, indent = [], line[: len(line) - len(line.lstrip())]
        elif mark == END and hidden is not None:
            out += [indent + stub if stub else "" for stub in stub_lines(hidden, bool(indent))]
            hidden = None
        elif mark in (BEGIN, END):
            raise ValueError(f"{where}: a line {mark!r} without its partner.")
        elif hidden is None:
            out.append(line)
        else:
            hidden.append(line)
    if hidden is not None:
        raise ValueError(f"{where}: {BEGIN!r} is never ended.")
    return "\n".join(out)


def stub_lines(hidden: list[str], in_function: bool) -> list[str]:
    """What a learner finds in place of the hidden lines."""
    own = [line.strip().removeprefix(STUB).removeprefix(" ") for line in hidden if line.strip().startswith(STUB)]
    if own:
        return own
    if in_function:
        return ["return ..." + _TODO]
    names: list[str] = []
    for statement in ast.parse("\n".join(hidden)).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        names += [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return [f"{name} = ...{_TODO}" for name in dict.fromkeys(names)] or ["# your code here"]


def exercise(solution: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The exercise notebook of a solution notebook."""
    notebook = copy.deepcopy(solution)
    notebook.cells = [cell for cell in notebook.cells if "solution" not in cell.metadata.get("tags", ())]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = without_solution(cell.source, f"{name}, cell {cell.id}")
            cell.outputs, cell.execution_count = [], None
        elif re.search(r"###\s*(BEGIN|END) SOLUTION", cell.source):
            raise ValueError(f"{name}, cell {cell.id}: solution marks work in code cells only; tag the cell instead.")
    return notebook


def main() -> int:
    parser = argparse.ArgumentParser(description="Write exercises/ from solutions/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    check = parser.parse_args().check
    wanted = {}
    for path in sorted(SOURCE.glob("*.ipynb")):
        number = path.name[:2]
        made = exercise(nbformat.read(path, as_version=4), path.name)
        with_links(made, links_of("exercises", number))
        wanted[TARGET / f"{number}_exercises.ipynb"] = text_of(made)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    orphans = [path for path in TARGET.glob("*.ipynb") if path not in wanted]
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            TARGET.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    for path in orphans:
        print(f"has no solution: {path.relative_to(ROOT)}")
    return 1 if check and (stale or orphans) else 0


if __name__ == "__main__":
    sys.exit(main())
