"""Every exercise of the kit: made from its solution byte for byte, open when untouched, done when solved, never red."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from workshop.checks import check
from workshop.checks.engine import Exercise

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
each = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list:
    """Those that are written by hand: without the line of links at both ends."""
    every = nbformat.read(path, as_version=4).cells
    return [c for c in every if c.cell_type == kind and "navigation" not in c.metadata.get("tags", ())]


def lesson_of(path: Path) -> Path:
    """The lesson of the same number."""
    (found,) = (ROOT / "workshop").glob(f"{path.name[:2]}_*.ipynb")
    return found


def exercises_of(path: Path) -> Path:
    return ROOT / "exercises" / f"{path.name[:2]}_exercises.ipynb"


def lesson(path: Path) -> dict[str, Exercise]:
    return check._exercises(path.name[:2])


def parts(path: Path) -> dict[str, str]:
    """The task of every exercise: the markdown cell that its heading opens, by number."""
    tasks = {}
    for cell in cells(path, "markdown"):
        if found := re.match(r"## (\d\d\.\d) ", cell.source):
            tasks[found[1]] = cell.source
    return tasks


def test_exercises_are_made_from_solutions_byte_for_byte():
    script = [sys.executable, str(ROOT / "tools" / "make_exercises.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\nrun  python3 start.py exercises"
    assert {exercises_of(path) for path in SOLUTIONS} == set((ROOT / "exercises").glob("*.ipynb"))


def test_lessons_01_to_03_have_five_exercises_or_more():
    assert {"01", "02", "03"} <= {path.name[:2] for path in SOLUTIONS}
    for path in SOLUTIONS:
        assert path.name == f"{lesson_of(path).name[:2]}_solutions.ipynb"
        assert len(lesson(path)) >= 5


@each
def test_every_exercise_says_its_minutes_goal_and_what_to_type(path):
    tasks = parts(path)
    assert list(tasks) == list(lesson(path))
    minutes = 0
    for number, text in tasks.items():
        heading = re.match(r"## \d\d\.\d (.+) \((\d+) min\)$", text.splitlines()[0])
        assert heading, f"{number}: the heading is `## {number} Title (M min)`"
        minutes += int(heading[2])
        assert "**Goal.**" in text and "**Type**" in text, number
    first = cells(path, "markdown")[0].source
    assert int(re.search(r"\*\*(\d+) minutes\.\*\*", first)[1]) == pytest.approx(minutes, abs=5)
    assert f"](../workshop/{lesson_of(path).name})" in first


@each
def test_every_exercise_has_three_hints_each_inside_the_one_before(path):
    hints = [cell.source for cell in cells(path, "markdown") if "<summary>Hint 1 of 3</summary>" in cell.source]
    assert len(hints) == len(lesson(path))
    for text in hints:
        marks = re.findall(r"<summary>Hint (\d) of 3</summary>|(</details>)", text)
        assert [number for number, _ in marks] == ["1", "2", "3", "", "", ""], text[:200]
        assert text.count("<details>") == 3


@each
def test_hints_stand_right_below_the_check_and_before_what_it_reveals(path):
    every = nbformat.read(path, as_version=4).cells
    for before, cell in zip(every, every[1:], strict=False):
        if "<summary>Hint 1 of 3</summary>" in cell.source:
            assert re.search(r'check\("\d\d\.\d"', before.source), before.source


@each
def test_every_exercise_is_checked_once_and_progress_is_shown(path):
    code = [cell.source for cell in cells(exercises_of(path), "code")]
    assert re.findall(r'check\("(\d\d\.\d)"', "\n".join(code)) == list(lesson(path))
    assert f'check.progress("{path.name[:2]}")' in code[-1]


@each
def test_a_solution_says_at_its_end_that_all_is_done(path):
    """nbval runs it: the last cell of a solution fails where a check is not content."""
    assert cells(path, "code")[-1].source == f'assert check.progress("{path.name[:2]}").finished'


RUNNER = """
import json, sys, nbformat, matplotlib
matplotlib.use("agg")
from IPython.core.interactiveshell import InteractiveShell
from workshop.checks import check
shell = InteractiveShell.instance()

def failed(path):
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and not shell.run_cell(cell.source, store_history=False).success:
            return f"{path}: {cell.id} failed"

for path in sys.argv[1:]:
    shell.reset(new_session=False)
    failure = failed(path)
    lesson = path.replace("\\\\", "/").rsplit("/", 1)[-1][:2]
    states = check.progress(lesson).states
    print("\\nRAN", json.dumps([lesson, failure, states, check._done.read().get(lesson)]), flush=True)
"""


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Every exercise as it is given, run in one process: what failed, and the states shown and kept, by lesson."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *(str(exercises_of(path)) for path in SOLUTIONS)],
        cwd=ROOT / "exercises",
        env={
            **os.environ,
            "MEFIT_PROGRESS": str(tmp_path_factory.mktemp("progress") / "progress.json"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("RAN "):
            lesson_number, failure, shown, kept = json.loads(line[4:])
            found[lesson_number] = (failure and f"{failure}: {done.stdout[-3000:]}", shown, kept)
    return found


@each
def test_an_untouched_exercise_runs_to_its_end_and_every_check_says_open(path, untouched):
    failure, shown, kept = untouched[path.name[:2]]
    assert failure is None
    assert shown == kept == {number: "open" for number in lesson(path)}
