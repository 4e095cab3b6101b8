"""The line of links at both ends of every notebook: made, current, and leading through the whole kit."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("workshop", "exercises", "solutions")
NOTEBOOKS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.ipynb"))
LESSONS = sorted((ROOT / "workshop").glob("*.ipynb"))
START = ROOT / "workshop" / "00_start_here.ipynb"


def links(text, folder):
    return [(folder / unquote(target)).resolve() for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text)]


def line_of(path):
    return nbformat.read(path, as_version=4).cells[0].source


def test_tidying_would_change_nothing():
    script = [sys.executable, str(ROOT / "tools" / "tidy_notebooks.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\nrun  python3 start.py tidy"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_line_at_both_ends(path):
    first, *_, last = nbformat.read(path, as_version=4).cells
    assert first.source == last.source
    assert "[all lessons]" in first.source
    assert [target for target in links(first.source, path.parent) if not target.exists()] == []
    assert path not in links(first.source, path.parent)


def test_a_learner_who_goes_on_meets_every_lesson():
    met = [START]
    while found := re.search(r"\[[^]]*\]\(([^)]*)\) ›$", line_of(met[-1])):
        met.append(met[-1].parent / found[1])
    assert met == LESSONS
    back = [re.match(r"‹ \[[^]]*\]\(([^)]*)\)", line_of(path)) for path in LESSONS]
    assert back[0] is None
    assert [found[1] for found in back[1:]] == [path.name for path in LESSONS[:-1]]


WITH_EXERCISES = [path for path in LESSONS if path.name[:2] not in ("00", "13")]  # the way in, and one's own file


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_a_lesson_leads_to_its_exercises_and_these_back_and_on(path):
    exercises = ROOT / "exercises" / f"{path.name[:2]}_exercises.ipynb"
    solutions = ROOT / "solutions" / f"{path.name[:2]}_solutions.ipynb"
    assert exercises in links(line_of(path), path.parent)
    around = links(line_of(exercises), exercises.parent)
    alike = [lesson for lesson in LESSONS if lesson.name[:2] == path.name[:2]]  # 05 and 05b share their exercises
    assert around[0] == alike[0] and solutions in around
    assert around[3:] == LESSONS[LESSONS.index(alike[-1]) + 1 :][:1]
    assert exercises in links(line_of(solutions), solutions.parent)


def test_lesson_00_lists_every_lesson_and_its_exercises():
    text = "\n".join(cell.source for cell in nbformat.read(START, as_version=4).cells)
    (table,) = re.findall(r"^\| lesson \|.*(?:\n\|.*)*", text, re.MULTILINE)
    listed = links(table, START.parent)
    assert [path for path in LESSONS[1:] if path not in listed] == []
    assert [path for path in (ROOT / "exercises").glob("*.ipynb") if path not in listed] == []
