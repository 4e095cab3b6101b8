"""From a notebook of the kit to a page of the site: links, folds, pictures in files, and no widgets."""

import base64
import copy
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from make_exercises import BEGIN, exercise  # noqa: E402  the folder above is no package

WIDGET = "application/vnd.jupyter.widget-view+json"
LINK = re.compile(r"(!?\[[^]]*\])\(([^)\s]+)\)")
INLINE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
NOT_RUN = "*This lesson was not run for this build of the site: its pictures are in JupyterLab.*"
IN_LAB = (
    "*Here you can read the exercises and open their answers. To fill them in, with checks that say what is wrong, "
    "open `exercises/{name}` in JupyterLab.*"
)


def slug(anchor: str) -> str:
    """An anchor of JupyterLab as one of the site, whose headings are in small letters."""
    return re.sub(r"[^\w\- ]", "", unquote(anchor).lower()).replace(" ", "-").strip("-")


def relinked(text: str, folder: str, known: set[str]) -> str:
    """The text with links to pages of the site; where the site has no such page, the words stay and the link goes."""

    def one(found: re.Match[str]) -> str:
        words, target = found.groups()
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path, _, anchor = target.partition("#")
        path = re.sub(r"(?:\.\./)?solutions/(\d\d)_solutions", r"../exercises/\1_exercises", path)
        path = re.sub(r"^(\d\d)_solutions\.ipynb", r"../exercises/\1_exercises.ipynb", path)
        front = "../index.md" if anchor == "a-model-and-its-fit" else "../start.md"
        path = path.replace("../README.md", front)
        end = f"#{slug(anchor)}" if anchor else ""
        if not path:
            return f"{words}({end})"
        place = resolved(folder, path)
        if place in known:
            if place.startswith("docs/recipes/") and not place.endswith("index.md"):
                path = path.removesuffix(".md") + ".ipynb"
            return f"{words}({path}{end})"
        return found[0] if words.startswith("!") else words[1:-1]

    return LINK.sub(one, text)


def resolved(folder: str, path: str) -> str:
    """A relative path as one from the root of the site's sources."""
    parts = [part for part in folder.split("/") if part]
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def page(notebook: nbformat.NotebookNode, folder: str, known: set[str], stills: Path) -> nbformat.NotebookNode:
    """A notebook with its outputs as a page in a folder of the site, its inline pictures in `stills`."""
    made = copy.deepcopy(notebook)
    made.metadata.pop("widgets", None)
    made.cells = [cell for cell in made.cells if "navigation" not in cell.metadata.get("tags", ())]
    up = "../" * (folder.count("/") + 1) if folder else ""
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source, folder, known)
            continue
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "hide-input"]
        cell.outputs = [one for one in map(lambda out: without_widgets(out, stills, up), cell.outputs) if one]
        cell.execution_count = None
    return made


def without_widgets(output: Any, stills: Path, up: str) -> Any:
    """An output without the view of a widget, its inline pictures in files; None where nothing is left."""
    data = output.get("data")
    if data is None:
        return None if output.get("name") == "stderr" else output
    data.pop(WIDGET, None)
    if "text/html" in data:
        data["text/html"] = pictures_in_files(text_of(data["text/html"]), stills, up)
    return output if data else None


def text_of(lines: str | Sequence[str]) -> str:
    """A text that may be stored as a list of its lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def pictures_in_files(page: str, stills: Path, up: str) -> str:
    """A page whose inline pictures are files, loaded when they come into the window."""

    def one(found: re.Match[str]) -> str:
        content = base64.b64decode(found[1])
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.png"
        stills.mkdir(parents=True, exist_ok=True)
        (stills / name).write_bytes(content)
        return f"{up}_static/stills/{name}"

    return INLINE.sub(one, page).replace("<img ", '<img loading="lazy" ')


def not_run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A lesson without its outputs, which says so below its title."""
    made = copy.deepcopy(notebook)
    title = next(cell for cell in made.cells if cell.source.startswith("# "))
    title.source += f"\n\n{NOT_RUN}"
    return made


def exercises(solutions: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The exercises of a notebook of solutions, each answer behind a click."""
    stubs = {cell.id: cell for cell in exercise(solutions, name).cells}
    made = copy.deepcopy(solutions)
    made.cells = []
    begun = False  # what the worked notebook says of itself, before its first code, is no answer
    for cell in solutions.cells:
        begun = begun or cell.cell_type == "code"
        if begun or cell.id in stubs:
            made.cells += with_answer(cell, stubs.get(cell.id))
    title = next(cell for cell in made.cells if cell.source.startswith("# "))
    title.source = title.source.replace("Solutions", "Exercises").replace("solutions", "exercises")
    title.source += "\n\n" + IN_LAB.format(name=name.replace("solutions", "exercises"))
    return made


def with_answer(cell: nbformat.NotebookNode, stub: nbformat.NotebookNode | None) -> list[nbformat.NotebookNode]:
    """A cell of the solutions as cells of the page: the task as it is, and what answers it folded."""
    if stub is not None and (stub.source == cell.source or "check.progress" in cell.source):
        return [copy.deepcopy(stub)]
    answer = copy.deepcopy(cell)
    if cell.cell_type == "markdown":
        told = "Why" if cell.source.startswith("**Why") else "Answer"
        answer.source = f"<details><summary>{told}</summary>\n\n{cell.source}\n\n</details>"
        return [answer]
    lines = [line for line in cell.source.splitlines() if "### " not in line and "# stub:" not in line]
    answer.source = "\n".join(lines) if BEGIN in cell.source else cell.source
    answer.id = f"{cell.id}-answer"
    answer.metadata["tags"] = ["hide-input"]
    what = "what follows" if stub is None else "the answer"
    answer.metadata["mystnb"] = {"code_prompt_show": f"Show {what}", "code_prompt_hide": f"Hide {what}"}
    return [copy.deepcopy(stub), answer] if stub is not None else [answer]
