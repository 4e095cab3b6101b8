"""Exercises 12.6 and 12.7: the smallest set, and one that keeps its promise for new people."""

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from workshop.checks.engine import Function, slip


def length(p: np.ndarray, step: float, level: float) -> float:
    """The length of the fewest cells of a grid that hold `level`."""
    return _cells()(p, step, level)


def _cells(
    order: Callable = lambda p: np.sort(p)[::-1],
    wanted: Callable = lambda level: level,
    times: Callable = lambda p, step: p * step,
    end: Callable = lambda count, step: count * step,
) -> Callable:
    def cells(p, step, level):
        mass = np.cumsum(times(order(p), step))
        return float(end(np.searchsorted(mass, wanted(level)) + 1, step))

    return cells


def _central(p: np.ndarray, step: float, level: float) -> float:
    mass = np.cumsum(p) * step
    return float(np.sum((mass > 0.5 * (1 - level)) & (mass < 0.5 * (1 + level))) * step)


def _from_first_to_last(p: np.ndarray, step: float, level: float) -> float:
    count = int(np.searchsorted(np.cumsum(np.sort(p)[::-1]) * step, level)) + 1
    inside = np.flatnonzero(p >= np.sort(p)[::-1][count - 1])
    return float((inside[-1] - inside[0] + 1) * step)


def _peaks(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    step = float(rng.uniform(0.008, 0.02))
    y = np.arange(-8.0, 16.0, step)
    share = rng.uniform(0.4, 0.7)
    away = rng.uniform(5.5, 8.0)
    p = share * norm.pdf(y) + (1.0 - share) * norm.pdf(y, away, rng.uniform(0.4, 0.8))
    return p, step, float(rng.uniform(0.8, 0.95))


LENGTH = Function(
    "The smallest set",
    truth=length,
    inputs=_peaks,
    rtol=1e-4,
    praise="Where people are of two kinds the shortest honest answer is two intervals.",
    mistakes=[
        slip(
            _from_first_to_last,
            1,
            "The set is right, and its length goes from the first cell to the last, with the gap between the peaks.",
        ),
        slip(
            _central,
            1,
            "This is the central interval: as much left out below as above, whatever lies between.",
        ),
        slip(
            _cells(wanted=lambda level: 1.0 - level),
            2,
            "This set holds what is to be left out, 1 - level.",
        ),
        slip(
            _cells(order=np.sort),
            2,
            "The cells are taken from the lowest density up, so that the set is the largest. The highest first.",
        ),
        slip(
            _cells(times=lambda p, step: p),
            3,
            "Densities are added up. A cell holds its density times the step.",
        ),
        slip(
            _cells(end=lambda count, step: count),
            3,
            "This is the number of cells. Each is one step long.",
        ),
        slip(
            lambda p, step, level: float(np.sum(p >= 1.0 - level) * step),
            2,
            "The density is held against 1 - level. The level is a probability, and no height.",
        ),
        slip(
            lambda p, step, level: float(np.sum(p >= (1.0 - level) * p.max()) * step),
            2,
            "All is taken that is at least some part of the peak. How high the cut must be the probability decides.",
        ),
    ],
)


def whole(levels: np.ndarray) -> np.ndarray:
    """(N,): the largest level of each person's rows; NaN marks a row without a response."""
    return np.nanmax(levels, axis=1)


def _rows(rng: np.random.Generator) -> tuple[np.ndarray]:
    levels = rng.uniform(0.05, 0.99, (6, 5))
    levels[np.arange(6), rng.integers(1, 5, 6)] = np.nan
    return (levels,)


WHOLE = Function(
    "whole",
    truth=whole,
    inputs=_rows,
    mistakes=[
        slip(lambda levels: np.nanmean(levels, axis=1), 1, "The mean of the rows: half of them may lie outside then."),
        slip(
            lambda levels: np.nanmin(levels, axis=1), 1, "The smallest of the rows: a set that holds but one of them."
        ),
        slip(lambda levels: np.nanmedian(levels, axis=1), 1, "The median: a set that holds half of the rows."),
        slip(lambda levels: levels[:, 0], 1, "Only the first row counts here. The set is to hold all of them."),
        slip(
            lambda levels: np.max(levels, axis=1),
            2,
            "A row that is missing makes the person missing: np.nanmax passes over it.",
        ),
        slip(
            lambda levels: np.max(np.nan_to_num(levels, nan=1.0), axis=1),
            2,
            "Rows that are missing count as missed. They are to be left out.",
        ),
    ],
)


def promised(scores: np.ndarray, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores."""
    return _place(lambda n, level: math.ceil((n + 1) * level))(scores, level)


def _place(place: Callable) -> Callable:
    return lambda scores, level: float(np.sort(scores)[place(len(scores), level) - 1])


_cases = itertools.cycle(((24, 0.9), (38, 0.87)))  # at which the slips below give different places


def _scores(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    count, level = next(_cases)
    return rng.uniform(0.1, 0.999, count), level


PROMISED = Function(
    "promised",
    truth=promised,
    inputs=_scores,
    mistakes=[
        slip(
            lambda scores, level: float(np.quantile(scores, level)),
            2,
            "np.quantile goes between two scores, and forgets the new person. Take the score at one place.",
        ),
        slip(
            _place(lambda n, level: math.ceil(n * level)),
            2,
            "The new person is one of n + 1: the place is that of (n + 1) times the level.",
        ),
        slip(
            _place(lambda n, level: math.floor((n + 1) * level)),
            3,
            "Rounded down, the set holds less than it promises. Round up: math.ceil.",
        ),
        slip(
            _place(lambda n, level: math.ceil((n + 1) * level) + 1),
            3,
            "One place too far: Python counts from 0, so the k-th smallest is np.sort(scores)[k - 1].",
        ),
        slip(
            lambda scores, level: level,
            1,
            "This is the level that was promised. Which one keeps it the scores decide.",
        ),
        slip(
            _place(lambda n, level: math.ceil((n + 1) * (1.0 - level))),
            2,
            "From the wrong end: most scores are above this one.",
        ),
        slip(
            lambda scores, level: float(scores[math.ceil((len(scores) + 1) * level) - 1]),
            3,
            "The scores are not in order: sort them first.",
        ),
        slip(lambda scores, level: float(np.max(scores)), 2, "The largest score holds everybody who calibrated."),
    ],
)
