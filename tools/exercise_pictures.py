"""Make anew the pictures that exercises promise: run this after a change of a solution's picture or of the style.

    python tools/exercise_pictures.py            # of all exercises that promise one
    python tools/exercise_pictures.py 03 05      # of these

Each solution runs in a kernel of its own. The first picture after a task's check is the one that its text shows.
"""

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
PROMISE = re.compile(r"\((\.\./workshop/images/exercise_[\w.]+\.png)\)")


def promised(path: Path) -> bool:
    """Whether the notebook shows a picture of an exercise."""
    return any(PROMISE.search(cell.source) for cell in nbformat.read(path, as_version=4).cells)


def pictures(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, bytes]]:
    """Where each promised picture belongs, relative to the notebook, and the first one that is drawn after it."""
    waiting = None
    for cell in notebook.cells:
        found = PROMISE.search(cell.source) if cell.cell_type == "markdown" else None
        if found:
            waiting = found.group(1)
        for output in cell.get("outputs", []):
            drawn = output.get("data", {}).get("image/png")
            if drawn and waiting:
                yield waiting, base64.b64decode(drawn)
                waiting = None


def make(path: Path) -> None:
    """Run a notebook of solutions, and write its pictures."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}}).execute()
    for place, drawn in pictures(notebook):
        target = (path.parent / place).resolve()
        target.write_bytes(drawn)
        print(f"{target.relative_to(ROOT)}, {len(drawn) / 1000:.0f} kB")


def main(numbers: list[str]) -> None:
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        if promised(path) and (not numbers or path.name[:2] in numbers):
            make(path)


if __name__ == "__main__":
    main(sys.argv[1:])
