"""The checks of the exercises: `check("02.3", answer)` and `check.progress("02")`.

One file a lesson holds what is right, and what people take for right.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from workshop.checks.engine import Checker, Exercise
from workshop.checks.remembered import progress_file

__all__ = ["check"]

_ROOT = Path(__file__).resolve().parents[2]


def _exercises(lesson: str) -> Mapping[str, Exercise]:
    name = f"{__name__}.lesson_{lesson}"
    if not (Path(__file__).parent / f"lesson_{lesson}.py").exists():
        raise ValueError(f"There are no exercises of lesson {lesson!r}: choose from {', '.join(_LESSONS)}.")
    return importlib.import_module(name).EXERCISES


def _store() -> Path | None:
    """Where progress is kept; nowhere for the worked solutions, which are nobody's progress."""
    return None if Path.cwd() == _ROOT / "solutions" else progress_file()


_LESSONS = sorted(path.stem.removeprefix("lesson_") for path in Path(__file__).parent.glob("lesson_*.py"))

check = Checker(_exercises, _store(), _LESSONS)
