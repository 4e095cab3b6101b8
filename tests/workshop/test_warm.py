"""Lessons run once, on copies: what it took, what is kept, and what is said where a lesson stops."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import measured  # noqa: E402
import run_lessons  # noqa: E402
import warm  # noqa: E402

WRITES = "from pathlib import Path\nPath('left behind').touch()\nlen(list(Path('data').iterdir()))"


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit with two lessons: one that writes a file, and one that stops."""
    place = tmp_path / "kit"
    for name in ("data", "images"):
        (place / "workshop" / name).mkdir(parents=True)
    (place / "workshop" / "data" / "one.csv").touch()
    for name, code in (("00_fine", WRITES), ("01_stops", "1 / 0")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, place / "workshop" / f"{name}.ipynb")
    monkeypatch.setattr(run_lessons, "ROOT", place)
    return place


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_warm_runs_copies_says_what_stopped_and_leaves_the_kit_alone(kit, tmp_path, monkeypatch, capsys):
    before = files(kit)
    monkeypatch.setenv("MEFIT_COMPILED", str(tmp_path / "compiled"))
    monkeypatch.setattr(sys, "argv", ["warm.py"])
    assert warm.main() == 1
    told = capsys.readouterr()
    assert "lesson 00 ... " in told.out and "stopped: ZeroDivisionError: division by zero" in told.out
    assert "0 programs, 0 MB." in told.out and "Not to its end: lesson 01." in told.err
    assert files(kit) == before
    monkeypatch.setattr(sys, "argv", ["warm.py", "00"])
    assert warm.main() == 0
    with pytest.raises(SystemExit, match="no lesson '77': choose from 00, 01"):
        run_lessons.chosen(["77"])


def test_a_run_says_what_it_took(kit):
    busy = "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass"
    code = f"{busy}\nheap = bytearray(200_000_000)"
    path = kit / "workshop" / "00_fine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    took = run_lessons.run(path, dict(os.environ))
    assert 1 <= took.processor < took.seconds + 5 and took.seconds > 1
    assert took.megabytes is None or 200 < took.megabytes < 1000
    assert run_lessons.spoken(took.seconds).endswith(" s") and run_lessons.spoken(125) == "2 min 5 s"


def test_what_was_measured_stands_in_lessons_and_in_the_page_for_a_class():
    """That they agree is held by test_navigation; here, that there is something to agree with."""
    results = measured.measured()
    numbers = list(results.lesson)
    assert len(numbers) > 5 and set(numbers) <= set(run_lessons.lessons())
    assert (results[["processor_cold", "memory_cold"]] > 0).all(axis=None)
    page = (ROOT / "docs" / "class.md").read_text(encoding="utf-8")
    for one in results.itertuples():
        assert f"| {one.lesson} | {one.memory_cold:.0f} | {one.processor_cold:.0f} |" in page
    texts = {number: path.read_text(encoding="utf-8") for number, path in run_lessons.lessons().items()}
    told = [number for number, text in texts.items() if " of computing the first time" in text]
    assert told == [number for number in numbers if number != "00"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(2, "5 s"), (63, "65 s"), (88, "1 min 30 s"), (124, "2 min"), (275, "4 min 40 s")]
)
def test_seconds_as_one_says_them(seconds, said):
    assert measured.rounded(seconds) == said


def test_the_script_answers_by_itself():
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "warm.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "lessons" in done.stdout
