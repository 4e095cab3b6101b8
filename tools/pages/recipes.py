"""Recipes: pages of docs/recipes, whose Python is run in order as the cells of a notebook.

A picture is what the last line of a cell gives, or what it prints; the tests run the same cells.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import executed
import nbformat
from notebooks import NOT_RUN, page

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "recipes"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cells(text: str) -> Iterator[tuple[str, str]]:
    """The parts of a page in their order, each with its kind: `markdown` or `code`."""
    place = 0
    for match in FENCE.finditer(text):
        if words := text[place : match.start()].strip():
            yield "markdown", words
        yield "code", match[1].rstrip()
        place = match.end()
    if words := text[place:].strip():
        yield "markdown", words


def notebook(path: Path) -> nbformat.NotebookNode:
    """A recipe as a notebook that was not run."""
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    made.metadata["language_info"] = {"name": "python"}
    for k, (kind, source) in enumerate(cells(path.read_text(encoding="utf-8"))):
        cell = nbformat.v4.new_code_cell(source) if kind == "code" else nbformat.v4.new_markdown_cell(source)
        cell.id = f"part-{k}"
        made.cells.append(cell)
    return made


def paths() -> list[Path]:
    """The recipes in the order of the page that lists them."""
    return sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")


def write(pages: Path, kept: Path, run: bool) -> list[str]:
    """Write the pages; the names of those that were not run."""
    missing = []
    files = {f"docs/recipes/{path.name}" for path in paths()} | {"docs/recipes/index.md"}
    files |= {f"workshop/{path.name}" for path in executed.lessons().values()}
    files |= {f"docs/{name}.md" for name in ("choosing", "errors", "covariates", "messages", "scale")}
    folder = pages / "docs" / "recipes"
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths():
        made = notebook(path)
        if run or executed.is_kept_notebook(made, path.stem, kept):
            made, _ = executed.run_notebook(made, path.stem, kept)
        else:
            missing.append(path.stem)
            made.cells[0].source += f"\n\n{NOT_RUN.replace('lesson', 'recipe')}"
        nbformat.write(page(made, "docs/recipes", files, pages / "_static" / "stills"), folder / f"{path.stem}.ipynb")
    stems = "\n".join(path.stem for path in paths())
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    index += f"\n```{{toctree}}\n:maxdepth: 1\n\n{stems}\n```\n"
    (folder / "index.md").write_text(index, encoding="utf-8")
    return missing
