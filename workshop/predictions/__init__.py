"""Predictions that are kept: asked in a lesson, locked by *Reveal*, laid over the result, and counted at its end.

```python
from workshop.predictions import my_predictions, predict, waiting

predict("02", "pairs")              # as the last line of a cell: asks, and waits for a hand

with waiting("02", "pairs"):        # what this prints or displays stays folded until then
    print(fit.model.sigma**2)

my_predictions("02")                     # at the end: right in how many, and the list
```

Run All reveals and counts nothing: only the learner does. `forget("02")` opens a lesson's predictions again.
What is asked, and what is right, stands in one file a lesson.
"""

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager

from workshop.predictions.asked import Asked
from workshop.predictions.kept import Kept, store
from workshop.predictions.questions import Question
from workshop.predictions.review import Review
from workshop.predictions.waiting import folded

__all__ = ["forget", "my_predictions", "predict", "questions", "waiting"]

_KEPT = Kept(store())


def questions(lesson: str) -> Mapping[str, Question]:
    """The questions of a lesson by name, in the order in which they are asked."""
    return importlib.import_module(f"{__name__}.lesson_{lesson}").QUESTIONS


def predict(lesson: str, name: str) -> Asked:
    """A question of a lesson, to be answered on the page."""
    return Asked(lesson, name, questions(lesson)[name], _KEPT)


def my_predictions(lesson: str) -> Review:
    """How many predictions of a lesson were right, with the list of what was said and what is so."""
    return Review(questions(lesson), _KEPT.of(lesson))


def waiting(lesson: str, name: str) -> AbstractContextManager[None]:
    """A `with` whose output stays folded until the question is revealed."""
    return folded(f"{lesson}-{name}", name in _KEPT.of(lesson))


def forget(lesson: str) -> None:
    """Open all predictions of a lesson again."""
    _KEPT.forget(lesson)
