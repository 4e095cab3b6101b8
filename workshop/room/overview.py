"""What a class has done: exercises and predictions of every learner, from the files in which their copies keep them.

A learner hands in one file, by `check.hand_in("Anna")`, or the copies themselves can be read, on a server of the class.
"""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workshop.checks.handed_in import ENDING, KEPT, remembered
from workshop.checks.verdicts import DONE, WRONG
from workshop.predictions.questions import Question

_LOOK = """
body { font: 15px system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; }
td, th { padding: 3px 10px; border: 1px solid #888; text-align: center; }
th:first-child, td:first-child { text-align: left; }
"""


@dataclass(frozen=True)
class Learner:
    """A name, the state of each exercise and the revealed predictions, by lesson and by number or name."""

    name: str
    exercises: Mapping[str, Mapping[str, str]]
    predictions: Mapping[str, Mapping[str, Any]]


def learners(places: Sequence[Path]) -> list[Learner]:
    """All who are found in these files and folders, by name; ValueError where there is nobody."""
    found = [learner for place in places for learner in _in(place)]
    if not found:
        raise ValueError(
            f"Nobody is found in {', '.join(map(str, places))}: give files that end in {ENDING}, or folders."
        )
    return sorted(found, key=lambda learner: learner.name.casefold())


def by_learner(
    class_: Sequence[Learner], exercises: Mapping[str, Sequence[str]], questions: Mapping[str, Mapping[str, Question]]
) -> pd.DataFrame:
    """A row per learner; per lesson the exercises done of all, and the predictions right of those revealed.

    Lessons that nobody has begun are left out.
    """
    tried = {lesson for learner in class_ for lesson, states in learner.exercises.items() if states}
    revealed = {lesson for learner in class_ for lesson, given in learner.predictions.items() if given}
    rows = []
    for learner in class_:
        row: dict[str, Any] = {"learner": learner.name}
        for lesson in filter(tried.__contains__, exercises):
            numbers = exercises[lesson]
            states = learner.exercises.get(lesson, {})
            row[f"{lesson} done"] = f"{sum(states.get(number) == DONE for number in numbers)}/{len(numbers)}"
        for lesson in filter(revealed.__contains__, questions):
            verdicts = [right for _, right in _judged(learner, lesson, questions[lesson])]
            row[f"{lesson} right"] = f"{sum(verdicts)}/{len(verdicts)}"
        rows.append(row)
    return pd.DataFrame(rows).set_index("learner")


def by_task(
    class_: Sequence[Learner], exercises: Mapping[str, Sequence[str]], questions: Mapping[str, Mapping[str, Question]]
) -> pd.DataFrame:
    """A row per exercise and per prediction: how many have it, how many are stuck or were wrong, hardest first."""
    rows = []
    for lesson, numbers in exercises.items():
        states = [learner.exercises.get(lesson, {}) for learner in class_]
        for number in numbers:
            done, wrong = (sum(state.get(number) == kind for state in states) for kind in (DONE, WRONG))
            rows.append({"task": f"exercise {number}", "right": done, "wrong": wrong})
    for lesson, asked in questions.items():
        verdicts = [dict(_judged(learner, lesson, asked)) for learner in class_]
        for name, question in asked.items():
            given = [one[name] for one in verdicts if name in one]
            words = f"{lesson}: {question.asks}"
            rows.append({"task": words, "right": sum(given), "wrong": len(given) - sum(given)})
    table = pd.DataFrame(rows)
    tried = table[table.right + table.wrong > 0]
    hardest = tried.assign(share=tried.wrong / (tried.right + tried.wrong)).sort_values("share", ascending=False)
    return hardest.drop(columns="share").set_index("task")


def page(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables as a page of their own, by title."""
    parts = "".join(
        f"<h2>{html.escape(title)}</h2>{table.reset_index().to_html(index=False)}" for title, table in tables.items()
    )
    head = f'<meta charset="utf-8"><title>The class</title><style>{_LOOK}</style>'
    body = f"<h1>The class</h1>{parts}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _in(place: Path) -> Iterator[Learner]:
    """Those of a file that was handed in, or of a folder with such files or with copies of the kit."""
    if place.is_file():
        yield _handed_in(place)
        return
    if not place.is_dir():
        raise ValueError(f"{place} is no file and no folder.")
    for file in sorted(place.rglob(f"*{ENDING}")):
        yield _handed_in(file)
    for copy in sorted({file.parent for kept in KEPT.values() for file in place.rglob(kept)}):
        yield Learner(str(copy.relative_to(place)) if copy != place else copy.name, **remembered(copy))


def _handed_in(file: Path) -> Learner:
    try:
        contents = json.loads(file.read_text(encoding="utf-8"))
        return Learner(str(contents["name"]), dict(contents["exercises"]), dict(contents["predictions"]))
    except (OSError, TypeError, KeyError, ValueError):
        raise ValueError(f"{file} is not what check.hand_in writes: ask for the file again.") from None


def _judged(learner: Learner, lesson: str, asked: Mapping[str, Question]) -> Iterator[tuple[str, bool]]:
    """The verdicts on what was revealed; what an older kit asked and this one does not is passed over."""
    for name, given in learner.predictions.get(lesson, {}).items():
        if name in asked:
            try:
                yield name, asked[name].judge(asked[name].read(given)).right
            except (ValueError, TypeError):
                continue  # the question was another one when it was answered
