"""Feedback on exercises: what is right, what is wrong, and why it is probably wrong.

An exercise knows the truth and the wrong answers that people give, each with its reason:

```python
Value("The share B", truth=0.8, mistakes=[Mistake(0.2, "This is 1 - B, the shrinkage.", hint=1)])
Function("The marginal", truth=marginal, inputs=draw, mistakes=[Mistake(log_marginal, "This is its logarithm.")])
Judged("The fit", judge)     # judge(answer) raises Wrong("why", hint=2), or StillOpen()
Parts("Three densities", [Function("conditional", ...), Function("joint", ...)])     # several answers in a list
```

A function is tried on fresh random inputs, so an answer that was typed in as a number fails. The truth is not shown,
but for one small case, from the third wrong answer on that nothing explains.
"""

import abc
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mefit.base.plainly import plainly
from workshop.checks import handed_in
from workshop.checks.cases import Case, calls_library, is_rounded, worked_case
from workshop.checks.remembered import Remembered
from workshop.checks.verdicts import DONE, OPEN, WRONG, Overview, Progress, Verdict

_UNEXPLAINED = "It does not give the right numbers for random arguments."
_ROUNDED = "It is right, but rounded: keep all digits, and round only what you print."
_TRIES = 3  # wrong answers that nothing explains, before a worked case tells what is asked for
_STALE = (
    "The cell that ran last stopped with an error, so the answer here may be the one from before it. "
    "Mend that cell and run it, then this one again."
)


class StillOpen(Exception):
    """The answer has not been written yet; a message, if there is one, says what comes next."""


class Wrong(Exception):
    """The answer is wrong: one or two sentences that say why, the hint (1, 2 or 3) that helps most, None where none
    does, as with a misspelt name, and a worked case where nobody knows the slip."""

    def __init__(self, reason: str, hint: int | None = 1, case: Case | None = None):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.case = case


def _hint_for(failure: Exception) -> int | None:
    """Hints are about what is asked for: they help where numbers went wrong, not where a name or a type did."""
    return 1 if isinstance(failure, ArithmeticError | np.linalg.LinAlgError) else None


def _in_words(failure: Exception) -> str:
    """The end of a sentence that says what stopped a learner's code."""
    if plain := plainly(failure):
        return f": {plain}."
    return " with " + f"{type(failure).__name__}: {failure}".splitlines()[0].rstrip(".") + "."


def called(what: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What `call` returns; whatever a learner's code raises is said in a sentence."""
    try:
        result = call(*arguments, **named)
    except Exception as failure:
        said = str(failure)  # mefit has a sentence of its own for a model, which names the model and the line
        known = isinstance(failure, ValueError) and re.match(r"\w+\.(observations|random_effects) ", said)
        raise Wrong(said if known else f"{what} stopped{_in_words(failure)}", _hint_for(failure)) from failure
    if result is None:
        raise Wrong(f"{what} returns nothing: end it with `return` and the result.", None)
    return result


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give (a value, or a function), why it is wrong, and the hint that helps most."""

    answer: Any
    reason: str
    hint: int = 1


def slip(wrong: Callable, hint: int, reason: str) -> Mistake:
    """A mistake may divide by zero or take the logarithm of nothing: that is just what it is recognised by."""

    def quietly(*arguments):
        with np.errstate(all="ignore"):
            return wrong(*arguments)

    return Mistake(quietly, reason, hint)


@dataclass(frozen=True)
class Exercise(abc.ABC):
    """Base of the kinds of exercises: `title`, and `praise`, what is worth knowing once it is done."""

    title: str
    praise: str = field(default="", kw_only=True)

    @abc.abstractmethod
    def judge(self, answer: Any) -> None:
        """Return where the answer is right; raise StillOpen or Wrong where it is not."""


@dataclass(frozen=True)
class Judged(Exercise):
    """An exercise with a judge of its own, for models and fits: it raises `Wrong` or `StillOpen`, or returns."""

    decide: Callable[[Any], None]

    def judge(self, answer: Any) -> None:
        _refuse_empty(answer)
        self.decide(answer)


@dataclass(frozen=True)
class Value(Exercise):
    """A number or an array. `truth` is the value, or a function without arguments that computes it once, when asked.

    Right within `rtol` of the truth or within `atol`. Wrong answers are compared with `mistakes` in their order, then
    with what goes wrong everywhere: sign, square, root, logarithm, percent, reciprocal.
    """

    truth: Any
    mistakes: Sequence[Mistake] = ()
    rtol: float = 1e-3
    atol: float = 1e-12

    @cached_property
    def _truth(self) -> np.ndarray:
        return np.asarray(self.truth() if callable(self.truth) else self.truth, float)

    def judge(self, answer: Any) -> None:
        _refuse_empty(answer)
        given = _numbers(answer, "Your answer")
        truth = self._truth
        if given.shape != truth.shape:
            raise Wrong(f"Your answer is {_shape(given)}; the question asks for {_shape(truth)}.", None)
        _refuse_not_finite(given, "Your answer")
        if self._close(given, truth):
            return
        for mistake in self.mistakes:
            wrong = np.asarray(mistake.answer() if callable(mistake.answer) else mistake.answer, float)
            if wrong.shape == given.shape and self._close(given, wrong):
                raise Wrong(mistake.reason, mistake.hint)
        for reason, wrong in everywhere(truth):
            if self._close(given, wrong):
                raise Wrong(reason)
        if is_rounded([given], [truth], least=2):
            raise Wrong(_ROUNDED, None)
        raise Wrong(_how_far(given, truth))

    def _close(self, given: np.ndarray, wanted: np.ndarray) -> bool:
        return bool(np.all(np.abs(given - wanted) <= self.atol + self.rtol * np.abs(wanted)))


@dataclass(frozen=True)
class Function(Exercise):
    """A function, compared with `truth` at fresh random arguments: `inputs(rng)` draws one tuple of them.

    `mistakes` hold wrong functions. One is recognised where it agrees with the answer at every argument. Where the
    truth is NaN, NaN is asked for. `otherwise(arguments, given, wanted)`, each a list over the trials, has the last
    word on an answer that nothing else explains: a reason and a hint, or None. `by_hand` names functions of mefit that
    the answer may not call.
    """

    truth: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple]
    mistakes: Sequence[Mistake] = ()
    rtol: float = 1e-6
    atol: float = 1e-9
    trials: int = 4
    otherwise: Callable[[list, list, list], tuple[str, int] | None] | None = None
    by_hand: Sequence[str] = ()
    rng: np.random.Generator = field(default_factory=np.random.default_rng, repr=False, compare=False)

    def judge(self, answer: Any) -> None:
        _refuse_empty(answer)
        if not callable(answer):
            uncalled = "give the function's name, uncalled"
            raise Wrong(f"A function is asked for, and this is {_kind(answer)}: {uncalled}.", None)
        if name := calls_library(answer, self.by_hand):
            raise Wrong(f"This is mf.{name} of the library; write the density yourself, from the model's methods.")
        arguments = [self.inputs(self.rng) for _ in range(self.trials)]
        wanted = [np.asarray(self.truth(*a), float) for a in arguments]
        given = [self._call(answer, a, w) for a, w in zip(arguments, wanted, strict=True)]
        if self._agree(given, wanted):
            return
        for mistake in self.mistakes:
            wrong = [np.asarray(mistake.answer(*a), float) for a in arguments]
            if self._agree(given, wrong):
                raise Wrong(mistake.reason, mistake.hint)
        for result, w in zip(given, wanted, strict=True):  # after the mistakes: one may be just what gives an infinity
            _refuse_not_finite(result[~np.isnan(w)], "What the function returns")
        reason, hint = self._diagnose(given, wanted)
        if reason == _UNEXPLAINED and self.otherwise:
            reason, hint = self.otherwise(arguments, given, wanted) or (reason, hint)
        unknown = reason == _UNEXPLAINED or "random arguments only" in reason
        case = worked_case(answer, self.truth, arguments, self.rtol, self.atol) if unknown else None
        raise Wrong(reason, None if reason == _ROUNDED else hint, case)

    def _call(self, answer: Callable[..., Any], arguments: tuple, wanted: np.ndarray) -> np.ndarray:
        try:
            result = answer(*arguments)
        except Exception as failure:  # whatever a learner's code raises is said, with the line it came from
            name, count = getattr(answer, "__name__", "your function"), len(arguments)
            inside = traceback.extract_tb(failure.__traceback__)[1:2]
            where = f" on its line `{inside[0].line}`" if inside and inside[0].line else ""
            called = f"called with {count} argument{'s' * (count > 1)}"
            raise Wrong(f"{name}, {called}, stopped{where}{_in_words(failure)}", _hint_for(failure)) from failure
        if result is ...:
            raise StillOpen
        if result is None and np.all(np.isnan(wanted)):
            raise Wrong("It returns None where there is no such number: np.nan is asked for there.", None)
        if result is None:
            raise Wrong("The function returns nothing: end it with `return` and the result.", None)
        given = _numbers(result, "What the function returns")
        if given.shape != wanted.shape:
            raise Wrong(f"The function returns {_shape(given)}; {_shape(wanted)} is asked for.")
        return given

    def _agree(self, given: list[np.ndarray], wanted: list[np.ndarray], rtol: float | None = None) -> bool:
        rtol = self.rtol if rtol is None else rtol
        return all(
            g.shape == w.shape and np.allclose(g, w, rtol, self.atol, equal_nan=True)
            for g, w in zip(given, wanted, strict=True)
        )

    def _diagnose(self, given: list[np.ndarray], wanted: list[np.ndarray]) -> tuple[str, int]:
        """What the differences have in common over all arguments."""
        tables = [dict(everywhere(w)) for w in wanted]
        for reason in tables[0]:
            if all(reason in t for t in tables) and self._agree(given, [t[reason] for t in tables]):
                return reason, 1
        if len(given) > 1 and all(np.array_equal(g, given[0]) for g in given[1:]):
            return "It gives the same result whatever goes in: compute it from the arguments.", 1
        if is_rounded(given, wanted):
            return _ROUNDED, 3
        with np.errstate(invalid="ignore"):
            apart = [g - w for g, w in zip(given, wanted, strict=True)]
        if self._agree(apart, [np.full_like(a, apart[0].flat[0]) for a in apart]):
            return "It is off by the same amount for all arguments: a constant term is missing or one too many.", 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = [g / w for g, w in zip(given, wanted, strict=True)]
        factor = ratio[0].flat[0]  # what is allowed of a number, `atol`, says nothing about a ratio
        if np.isfinite(factor) and factor != 0 and all(np.allclose(r, factor, self.rtol, 0.0) for r in ratio):
            return "It is off by the same factor for all arguments: a constant factor is missing or one too many.", 2
        if self._agree(given, wanted, rtol=max(0.02, self.rtol)):
            return "It is right to within 2% only: look for an approximation, a coarse grid or too few digits.", 3
        right = sum(self._agree([g], [w]) for g, w in zip(given, wanted, strict=True))
        if right:
            return f"It is right for {right} of {len(given)} random arguments only: which case is left out?", 2
        return _UNEXPLAINED, 1


@dataclass(frozen=True)
class Parts(Exercise):
    """Several answers under one number, given as a list: each part is an exercise, and its title is the answer's name.

    They are judged in their order up to the first that is not right, so that a part may build on those before it.
    """

    parts: Sequence[Exercise]

    def judge(self, answer: Any) -> None:
        _refuse_empty(answer)
        names = [part.title for part in self.parts]
        if getattr(answer, "ndim", 0):
            answer = list(np.asarray(answer))
        if not isinstance(answer, list | tuple) or len(answer) != len(names):
            raise Wrong(f"Give {len(names)} answers as a list: [{', '.join(names)}].", None)
        for i, (part, given) in enumerate(zip(self.parts, answer, strict=True)):
            so_far = f"{' and '.join(names[:i])} right. " if i else ""
            try:
                part.judge(given)
            except StillOpen:
                raise StillOpen(
                    f"{so_far}Next is {part.title}: replace its dots, run it and this cell." if i else ""
                ) from None
            except Wrong as wrong:
                raise Wrong(f"{so_far}{part.title}: {wrong.reason}", wrong.hint, wrong.case) from None


class Checker:
    """`check("02.3", answer)`: the verdict on an answer; `check.progress("02")`: which exercises are done.

    `exercises(lesson)` gives a lesson's exercises by number. Progress is kept in one small file on this computer, and
    nowhere else; without a file, or where it cannot be written, checks work all the same.
    """

    def __init__(
        self, exercises: Callable[[str], Mapping[str, Exercise]], store: Path | None, lessons: Sequence[str] = ()
    ):
        self._exercises = exercises
        self._done = Remembered(store)
        self._lessons = tuple(lessons)
        self._tries: dict[str, int] = {}  # wrong answers that nothing explained, by exercise

    def __call__(self, number: str, answer: Any) -> Verdict:
        lesson = str(number).partition(".")[0]
        known = self._exercises(lesson)
        if number not in known:
            raise ValueError(f"There is no exercise {number!r}; lesson {lesson} has {', '.join(known)}.")
        exercise = known[number]
        case: Case | None = None
        try:
            exercise.judge(answer)
            state, reason, hint = DONE, exercise.praise, None
        except StillOpen as still:
            state, reason, hint = OPEN, str(still) or "Replace the dots above, then run this cell again.", None
        except Wrong as wrong:
            state, reason, hint = WRONG, wrong.reason, wrong.hint
            case = wrong.case
        if state != OPEN and _last_cell_failed():
            # neither praise nor blame for what may not be the answer any more
            state, reason, hint, case = OPEN, _STALE, None, None
        states = self._remember(lesson, number, state)
        tally = f"({sum(states.get(n) == DONE for n in known)} of {len(known)} done)"
        left = [n for n in known if states.get(n) != DONE]
        if state == DONE and left:
            onwards = [n for n in left if n > number] or left
            tally += f" \u2192 {onwards[0]}"
        return Verdict(number, exercise.title, state, reason, hint, tally, self._worked(number, case))

    def _worked(self, number: str, case: Case | None) -> str:
        """A worked case in words: with what is asked for, once it has been tried often enough."""
        if case is None:
            return ""
        self._tries[number] = self._tries.get(number, 0) + 1
        return f"{case.told} {case.asked}" if self._tries[number] >= _TRIES else case.told

    def progress(self, lesson: str | None = None) -> "Progress | Overview":
        """The exercises of a lesson on one line, and which are done; without a lesson, a line for each."""
        if lesson is None:
            return Overview(tuple(self._of(one) for one in self._lessons))
        return self._of(lesson)

    def _of(self, lesson: str) -> "Progress":
        known = self._exercises(lesson)
        states = self._done.read().get(lesson, {})
        return Progress(lesson, {number: states.get(number, OPEN) for number in known})

    def hand_in(self, name: str) -> str:
        """Write exercises and predictions into one file for the teacher, beside the notebook; what to do with it."""
        if self._done.file is None:
            raise ValueError("Nothing is kept here, as MEFIT_PROGRESS says, so there is nothing to hand in.")
        file = handed_in.write(name, self._done.file.parent, Path.cwd())
        return f"{file.name} is in the folder of this notebook: send it to your teacher. Nothing was sent."

    def forget(self, lesson: str) -> None:
        """Start a lesson's progress anew."""
        self._done.forget(lesson)

    def _remember(self, lesson: str, number: str, state: str) -> dict[str, str]:
        everything = self._done.read()
        states = everything.setdefault(lesson, {})
        # Done stays done, so that one may break what is right; and what is untouched takes nothing away.
        if states.get(number) != DONE and not (state == OPEN and number in states):
            states[number] = state
            self._done.write(everything)
        return states


def _last_cell_failed() -> bool:
    """Whether the cell before this one ended in an error, and so left what an older one had made."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    last = getattr(shell, "last_execution_result", None)
    return last is not None and not last.success


def _refuse_empty(answer: Any) -> None:
    if answer is ...:
        raise StillOpen
    if answer is None:
        raise Wrong("This is None: has the cell with your answer been run, and does it end with a result?", None)


def _kind(answer: Any) -> str:
    if isinstance(answer, float | int):
        return "a number"
    if hasattr(answer, "__array__") and hasattr(answer, "ndim"):
        return "an array" if answer.ndim else "a number"
    return f"a {type(answer).__name__}"


def _numbers(answer: Any, what: str) -> np.ndarray:
    if inspect.isroutine(answer):
        raise Wrong(f"{what} is a function; a number is asked for: call it.", None)
    try:
        if isinstance(answer, list | tuple) and any(part is ... for part in answer):
            raise StillOpen
        return np.asarray(answer, float)
    except (TypeError, ValueError):
        raise Wrong(f"{what} is {_kind(answer)}, which cannot be read as numbers.", None) from None


def _refuse_not_finite(given: np.ndarray, what: str) -> None:
    if not np.all(np.isfinite(given)):
        raise Wrong(
            f"{what} is not finite: look for a division by zero or the logarithm of a number that is not positive."
        )


def _shape(array: np.ndarray) -> str:
    if array.ndim == 0:
        return "one number"
    if array.ndim == 1:
        return f"an array of {array.size} number{'s' * (array.size != 1)}"
    return f"an array of shape {array.shape}"


def everywhere(truth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Slips that happen in every exercise, where they make a difference that can be told from the truth."""
    with np.errstate(all="ignore"):
        slips = [
            ("The sign is the wrong way round.", -truth),
            ("This is the square of what is asked for: a variance where an SD is wanted?", truth**2),
            ("This is the square root of what is asked for: an SD where a variance is wanted?", np.sqrt(truth)),
            ("This is the logarithm of what is asked for.", np.log(truth)),
            ("The question asks for the logarithm of this.", np.exp(truth)),
            ("This is in per cent; give the share itself.", 100 * truth),
            ("This is one over what is asked for.", 1 / truth),
            ("This is twice what is asked for.", 2 * truth),
            ("This is half of what is asked for.", truth / 2),
            ("This is -2 times what is asked for.", -2 * truth),
        ]
    scale = 0.01 * np.max(np.abs(truth), initial=1e-12)
    return [(reason, w) for reason, w in slips if np.all(np.isfinite(w)) and np.max(np.abs(w - truth)) > scale]


def _how_far(given: np.ndarray, truth: np.ndarray) -> str:
    if given.ndim:
        wrong = ~np.isclose(given, truth, rtol=1e-3)
        first = np.argwhere(wrong)[0].tolist()
        return f"{np.sum(wrong)} of its {given.size} entries are not right, the first at index {first}."
    return f"It is too {'large' if given > truth else 'small'}."
