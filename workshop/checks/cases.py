"""One small case worked out, for a wrong answer that nothing explains; and answers that are right but rounded."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import jax.numpy as jnp
import numpy as np

MOST_NUMBERS = 12  # of all arguments of a case together: more cannot be worked out by hand
DIGITS = 3  # significant ones of an argument, so that it can be typed


@dataclass(frozen=True)
class Case:
    """`told`: the arguments, what the answer gives, and which way it is off; `asked`: what it should give."""

    told: str
    asked: str


def worked_case(answer: Callable, truth: Callable, trials: Sequence[tuple], rtol: float, atol: float) -> Case | None:
    """The smallest of the trials at which the answer is wrong, its arguments rounded so that they can be typed.

    None where the arguments are not a few numbers, as where one of them is a model or a subject.
    """
    typed = [tuple(map(_rounded, arguments)) for arguments in trials]
    small = [arguments for arguments in typed if all(part is not None for part in arguments)]
    for arguments in sorted(small, key=lambda case: sum(np.size(part) for part in case)):
        if sum(np.size(part) for part in arguments) > MOST_NUMBERS:
            return None
        try:
            given = np.asarray(answer(*arguments), float)
            wanted = np.asarray(truth(*arguments), float)
        except Exception:  # at rounded arguments anything may happen; the verdict does not rest on this
            continue
        if given.shape != wanted.shape:
            continue
        off = ~np.isclose(given, wanted, rtol, atol, equal_nan=True)
        if off.any():
            return _in_words(_names(answer, truth, len(arguments)), arguments, given, wanted, off)
    return None


def _rounded(argument: Any) -> Any:
    """A number or an array with few digits; None for anything else."""
    if isinstance(argument, bool | int | np.integer | np.bool_):
        return argument
    if isinstance(argument, float | np.floating):
        return float(f"{argument:.{DIGITS}g}")
    if not hasattr(argument, "dtype") or not np.issubdtype(argument.dtype, np.number):
        return None
    values = significant(np.asarray(argument), DIGITS)
    return values if isinstance(argument, np.ndarray) else jnp.asarray(values)


def significant(values: np.ndarray, digits: int) -> np.ndarray:
    """Values rounded to so many significant digits; whole numbers as they are."""
    if np.issubdtype(values.dtype, np.integer):
        return values
    return np.vectorize(lambda value: float(f"{value:.{digits}g}"), otypes=[float])(values)


def _names(answer: Callable, truth: Callable, count: int) -> list[str]:
    for function in (answer, truth):
        try:
            names = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            continue
        if len(names) == count:
            return names
    return [f"argument {k + 1}" for k in range(count)]


def _in_words(names: list[str], arguments: tuple, given: np.ndarray, wanted: np.ndarray, off: np.ndarray) -> Case:
    place = tuple(np.argwhere(off)[0])
    mine, right = float(given[place]), float(wanted[place])
    digits = 4 if f"{mine:.4g}" != f"{right:.4g}" else 9
    entry = f" at index {place[0] if len(place) == 1 else tuple(map(int, place))}" if place else ""
    direction = "too high" if mine > right else "too low"
    if not np.isfinite(mine - right):
        direction = "not what is asked for"
    at = ", ".join(f"{name} = {_shown(value)}" for name, value in zip(names, arguments, strict=True))
    return Case(
        told=f"For example, for {at} it gives {mine:.{digits}g}{entry}, which is {direction}.",
        asked=f"It should be {right:.{digits}g}.",
    )


def _shown(value: Any) -> str:
    text = np.array2string(np.asarray(value), separator=", ", formatter={"float_kind": lambda x: f"{x:.{DIGITS}g}"})
    return " ".join(text.split())


def is_rounded(given: Iterable[np.ndarray], wanted: Iterable[np.ndarray], least: int = 1) -> bool:
    """Whether all given numbers are those wanted, rounded alike: to significant digits, at least so many, or, where one
    will do, to decimals."""
    mine = np.concatenate([np.ravel(part) for part in given])
    right = np.concatenate([np.ravel(part) for part in wanted])
    if mine.shape != right.shape or not np.any(mine) or not np.all(np.isfinite(right)):
        return False
    by_digits = [significant(right, digits) for digits in range(max(least, 2), 8)]
    by_decimals = [np.round(right, decimals) for decimals in range(8)] if least == 1 else []
    return any(np.allclose(mine, rounded, 1e-9, 1e-12) for rounded in by_digits + by_decimals)


def calls_library(answer: Any, functions: Sequence[str]) -> str | None:
    """The first of these functions of mefit that an answer is, or calls; what is asked for by hand has none."""
    if getattr(answer, "__module__", "").startswith("mefit") and answer.__name__ in functions:
        return answer.__name__
    return next((name for name in _read(getattr(answer, "__code__", None)) if name in functions), None)


def _read(code: CodeType | None) -> list[str]:
    """What code reads of mefit by its short or long name, inner functions included."""
    if code is None:
        return []
    own = list(code.co_names) if {"mf", "mefit"} & set(code.co_names) else []
    inner = [_read(part) for part in code.co_consts if isinstance(part, CodeType)]
    return sum(inner, own)
