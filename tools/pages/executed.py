"""Lessons that were run for the site, kept by their content, so that what has not changed is not run again.

A lesson's key is made of its code and of the code of the kit: comments, docstrings and layout do not count, nor do
texts of the lesson, which are taken anew each time.
"""

import ast
import copy
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from run_lessons import copy_of_lessons, lessons  # noqa: E402  the folder above is no package

__all__ = ["is_kept", "lessons", "run"]
KIT = ("mefit", "workshop/explorers", "workshop/predictions", "workshop/studies")
FIRST = "import recording\nrecording.begin({folder!r})"


def is_kept(path: Path, kept: Path) -> bool:
    """Whether a lesson was run as it is now."""
    return is_kept_notebook(nbformat.read(path, as_version=4), path.stem, kept)


def is_kept_notebook(notebook: nbformat.NotebookNode, name: str, kept: Path) -> bool:
    """Whether a notebook of this name was run as it is now."""
    return (place_of(notebook, name, kept) / "outputs.ipynb").exists()


def run(path: Path, kept: Path) -> tuple[nbformat.NotebookNode, Path]:
    """A lesson with its outputs, and the folder of its recordings: those that are kept, or of a run of now."""
    return run_notebook(nbformat.read(path, as_version=4), path.stem, kept)


def run_notebook(notebook: nbformat.NotebookNode, name: str, kept: Path) -> tuple[nbformat.NotebookNode, Path]:
    """A notebook with its outputs, and the folder of its recordings."""
    folder = place_of(notebook, name, kept)
    if not (folder / "outputs.ipynb").exists():
        began = time.perf_counter()
        fresh = execute(notebook, folder)
        nbformat.write(fresh, folder / "outputs.ipynb")
        print(f"run: {name}, {time.perf_counter() - began:.0f} s", flush=True)
    done = nbformat.read(folder / "outputs.ipynb", as_version=4)
    outputs = [cell.outputs for cell in done.cells if cell.cell_type == "code"]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, out in zip(code, outputs, strict=True):
        cell.outputs = out
    return notebook, folder


def place_of(notebook: nbformat.NotebookNode, name: str, kept: Path) -> Path:
    """The folder in which its outputs are kept."""
    return kept / f"{name}-{key_of(notebook)}"


def execute(given: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run all cells beside a copy of the lessons; nbclient's CellExecutionError where one fails."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        lessons_copied = copy_of_lessons(Path(scratch))
        notebook = copy.deepcopy(given)
        first = nbformat.v4.new_code_cell(FIRST.format(folder=str(folder.resolve())))
        notebook.cells.insert(0, first)
        client = NotebookClient(
            notebook, timeout=None, resources={"metadata": {"path": str(lessons_copied)}}, store_widget_state=False
        )
        ways = [str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ways)), "MEFIT_PROGRESS": ""}
        client.execute(stderr=subprocess.DEVNULL, env=env)
    notebook.cells.pop(0)
    folder.mkdir(parents=True, exist_ok=True)
    return notebook


def key_of(notebook: nbformat.NotebookNode) -> str:
    """What the outputs depend on, in twelve letters."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {version('jax')} {version('numpyro')}".encode())
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode() + b"\0")
    for text in kit():
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:12]


@cache
def kit() -> tuple[str, ...]:
    """The code of the kit that a lesson can reach, and the data."""
    return tuple(parts_of_the_kit())


def parts_of_the_kit() -> Iterator[str]:
    """The same, file by file."""
    for name in KIT:
        for path in sorted((ROOT / name).rglob("*.py")):
            yield bare(path.read_text(encoding="utf-8"))
    yield bare((HERE / "recording.py").read_text(encoding="utf-8"))
    for folder in ("mefit/datasets", "workshop/data"):
        for path in sorted((ROOT / folder).glob("*.csv")):
            yield path.read_text(encoding="utf-8")


def bare(code: str) -> str:
    """Code without comments, docstrings and layout."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                body[0].value.value = ""
    return ast.dump(tree)
