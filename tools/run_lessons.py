"""Run a lesson in a kernel of its own, on a copy, and say what it took."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
ASK = """
import json as _json, pathlib as _pathlib, time as _time
_status = _pathlib.Path("/proc/self/status")
_lines = _status.read_text().splitlines() if _status.exists() else []
_peak = [int(line.split()[1]) / 1000 for line in _lines if line.startswith("VmHWM")]
print(_json.dumps([_time.process_time(), _peak[0] if _peak else None]))
"""


@dataclass(frozen=True)
class Took:
    """Seconds on the clock and of the processor, and the largest memory of the kernel in MB where Linux tells it."""

    seconds: float
    processor: float
    megabytes: float | None


def lessons() -> dict[str, Path]:
    """The lessons by number, in their order."""
    paths = sorted((ROOT / "workshop").glob("[0-9][0-9]*_*.ipynb"))
    return {path.name.split("_")[0]: path for path in paths}


def copy_of_lessons(folder: Path) -> Path:
    """The lessons and what they read in a folder of their own, so that whatever they do leaves the kit alone."""
    copy = folder / "workshop"
    copy.mkdir(parents=True)
    for path in (ROOT / "workshop").glob("*.ipynb"):
        shutil.copy(path, copy)
    for name in ("data", "images"):
        shutil.copytree(ROOT / "workshop" / name, copy / name)
    return copy


def run(path: Path, env: Mapping[str, str] | None = None) -> Took:
    """Run all cells of a notebook on a copy; nbclient's CellExecutionError where one fails."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        copy = copy_of_lessons(Path(scratch)) / path.name
        notebook = nbformat.read(copy, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(ASK))
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(copy.parent)}})
        began = time.perf_counter()
        # What the kernel's own libraries say goes to nobody; an error of a cell is raised.
        client.execute(stderr=subprocess.DEVNULL, **({"env": dict(env)} if env else {}))
        seconds = time.perf_counter() - began
    processor, megabytes = json.loads(notebook.cells[-1].outputs[0].text)
    return Took(seconds, processor, megabytes)


def spoken(seconds: float) -> str:
    """A length of time for people: `8 s`, `2 min 5 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"


def chosen(numbers: list[str]) -> dict[str, Path]:
    """The lessons of these numbers, all where none is given; ends with a sentence where there is no such lesson."""
    known = lessons()
    for number in numbers:
        if number not in known:
            sys.exit(f"There is no lesson {number!r}: choose from {', '.join(known)}.")
    return {number: path for number, path in known.items() if number in numbers or not numbers}
