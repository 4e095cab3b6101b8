"""Tidy every notebook that is written by hand:  python3 start.py tidy

A lesson and a solution begin and end with a line of links, and lesson 00 has the README's table of lessons; both are
made here from the names of the files and that table. A lesson's first cell and docs/class.md tell the seconds and the
memory that benchmarks/lessons.py measured. What a run left behind goes: outputs, counts, the state of widgets.
tools/make_exercises.py puts the links into the exercises.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from measured import with_results, with_seconds

ROOT = Path(__file__).resolve().parent.parent
FIRST = "00_start_here.ipynb"
ALL = "[all lessons](../workshop/00_start_here.ipynb#Where-to-go-next)"
NAVIGATION = "navigation"  # the tag of the two cells
ROW = re.compile(r"^\| \[(\d\d\w?) ([^]]+)\]\(workshop/([^)]+)\) \| (\d+) \| (.*) \|$", re.MULTILINE)


def lessons(readme: str) -> dict[str, tuple[str, str]]:
    """By number, the title and the file name of every lesson in the README's table."""
    return {number: (title, name) for number, title, name, _, _ in ROW.findall(readme)}


def links(folder: str, number: str, titles: dict[str, tuple[str, str]], with_exercises: set[str]) -> str:
    """The line of links of one notebook: what comes before, all lessons, what belongs to it, what comes next.

    Exercises and solutions have their lesson before them and the next lesson after them. Lessons such as 05 and 05b
    share one notebook of exercises: it comes after both, and leads on to 06.
    """

    def lesson(number: str) -> str:
        title, name = titles[number]
        return f"[{number} {title}](../workshop/{name})"

    exercises = f"[exercises](../exercises/{number[:2]}_exercises.ipynb)"
    solutions = f"[solutions](../solutions/{number}_solutions.ipynb)"
    numbers = sorted(titles)
    place = numbers.index(number)
    before, after = place - 1, place + 1
    if folder != "workshop":
        alike = [k for k, other in enumerate(numbers) if other[:2] == number]
        before, after = place, alike[-1] + 1
    parts = [f"‹ {lesson(numbers[before])}"] if before >= 0 else []
    parts.append(ALL)
    if number[:2] in with_exercises:
        parts += {"workshop": [exercises], "exercises": [solutions], "solutions": [exercises]}[folder]
    if after < len(numbers):
        parts.append(f"{lesson(numbers[after])} ›")
    line = " · ".join(parts).replace(f"(../{folder}/", "(")  # its own folder needs no name
    return line.replace(f"({FIRST}#", "(#") if number == "00" else line


def with_links(notebook: nbformat.NotebookNode, line: str) -> nbformat.NotebookNode:
    """The notebook with this line as its first and its last cell, in place of those that it had."""
    body = [cell for cell in notebook.cells if NAVIGATION not in cell.metadata.get("tags", ())]
    ends = [nbformat.v4.new_markdown_cell(line, metadata={"tags": [NAVIGATION]}) for _ in range(2)]
    for cell, name in zip(ends, ("above", "below"), strict=True):
        cell.id = f"{NAVIGATION}-{name}"
    notebook.cells = [ends[0], *body, ends[1]]
    return notebook


def with_table(source: str, readme: str, with_exercises: set[str]) -> str:
    """Lesson 00's cell with its table of lessons made from the README's."""
    rows = ["| lesson | minutes | you will be able to | exercises |", "|---|---|---|---|"]
    for number, title, name, minutes, aim in ROW.findall(readme):
        head = f"[**{number} {title}**]({name})" if name != FIRST else f"**{number} {title}**"
        both = f"[{number[:2]}](../exercises/{number[:2]}_exercises.ipynb)"
        exercises = both if number[:2] in with_exercises else ""
        rows.append(f"| {head} | {minutes} | {aim} | {exercises} |")
    return re.sub(r"^\| lesson \|.*(\n\|.*)*", lambda _: "\n".join(rows), source, flags=re.MULTILINE)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what a run left in it."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for name in ("collapsed", "scrolled", "execution"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return notebook


def text_of(notebook: nbformat.NotebookNode) -> str:
    """A notebook as the text of its file, the same on every system."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


def numbers_with_exercises() -> set[str]:
    """Of the lessons that have solutions, and so exercises."""
    return {path.name[:2] for path in (ROOT / "solutions").glob("*.ipynb")}


def links_of(folder: str, number: str) -> str:
    """The line of links of the notebook of this number in this folder of the kit."""
    titles = lessons((ROOT / "README.md").read_text(encoding="utf-8"))
    return links(folder, number, titles, numbers_with_exercises())


def tidied(path: Path) -> str:
    """What the file of a lesson or a solution should hold."""
    notebook = tidy(nbformat.read(path, as_version=4))
    with_links(notebook, links_of(path.parent.name, path.stem.split("_")[0]))
    if path.name == FIRST:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = with_table(cell.source, readme, numbers_with_exercises())
    if path.parent.name == "workshop":
        first = next(cell for cell in notebook.cells if cell.cell_type == "markdown" and cell.source.startswith("# "))
        first.source = with_seconds(first.source, path.name.split("_")[0])
    return text_of(notebook)


def main() -> int:
    parser = argparse.ArgumentParser(description="Tidy lessons and solutions.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    check = parser.parse_args().check
    paths = sorted([*(ROOT / "workshop").glob("*.ipynb"), *(ROOT / "solutions").glob("*.ipynb")])
    wanted = {path: tidied(path) for path in paths}
    page = ROOT / "docs" / "class.md"
    wanted[page] = with_results(page.read_text(encoding="utf-8"))
    stale = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
