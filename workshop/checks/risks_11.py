"""Exercises 11.1 and 11.2: what a dose risks, what it is expected to cost, and the dose of least expected loss."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from workshop.checks.engine import Function, Mistake, Value, slip
from workshop.checks.several import by_number
from workshop.studies.patients_by_draws import CLEARANCE, DOSES, OVER, UNDER, WINDOW


def risks(clearance: np.ndarray, dose: float, low: float, high: float) -> np.ndarray:
    """The shares of draws whose area dose / CL lies below, within and above."""
    area = dose / clearance
    below, above = np.mean(area < low), np.mean(area > high)
    return np.array([below, 1 - below - above, above])


def a_patient(rng: np.random.Generator) -> tuple[np.ndarray, float, float, float]:
    """Draws of a clearance, a dose, and a window around the area that it brings about."""
    clearance = np.exp(rng.normal(rng.uniform(0.5, 1.5), 0.35, 200))
    dose = float(rng.uniform(60, 160))
    area = dose / np.median(clearance) * rng.uniform(0.85, 1.15)
    return clearance, dose, float(0.75 * area), float(1.3 * area)


def _turned(order: list[int]) -> Callable:
    return lambda *given: risks(*given)[order]


_ONE = (
    "This is the verdict on one clearance, a mean or a median. Each draw is a clearance that the person may have: ask "
    "all of them."
)

RISKS = Function(
    "What a dose risks",
    truth=risks,
    inputs=a_patient,
    praise="Three numbers for each dose: they are the posterior, read where it matters.",
    otherwise=by_number("the share below", "the share within", "the share above", hints=(2, 2, 2)),
    mistakes=[
        slip(
            lambda c, d, low, high: risks(1 / c, d, low, high),
            1,
            "The area is taken for dose times clearance. Whoever clears quickly has a *small* area.",
        ),
        slip(
            _turned([2, 1, 0]),
            2,
            "Below and above are exchanged. A large clearance makes the area small.",
        ),
        slip(
            lambda *given: risks(*given) * len(given[0]),
            2,
            "These are counts of draws. Asked for are shares of all draws, which add up to one.",
        ),
        slip(
            lambda *given: 100 * risks(*given),
            2,
            "These are percent. Asked for are shares, which add up to one.",
        ),
        slip(
            lambda c, *given: risks(np.array([np.median(c)]), *given),
            1,
            _ONE,
        ),
        slip(
            lambda c, *given: risks(np.array([np.mean(c)]), *given),
            1,
            _ONE,
        ),
        slip(
            lambda c, d, low, high: np.array([np.mean(d / c < low), np.mean(d / c < high), np.mean(d / c > high)]),
            3,
            "The share within has those below in it, too: all three add up to one.",
        ),
        slip(
            lambda c, d, low, high: risks(c, d, np.log(low), np.log(high)),
            2,
            "Areas are held against logarithms of the window: take logarithms of both or of none.",
        ),
    ],
)


def expected_loss(
    clearance: np.ndarray, doses: np.ndarray, low: float, high: float, over: float, under: float
) -> np.ndarray:
    """For each dose, (1/M) sum of over [area > high] + under [area < low]."""
    return _other_loss(lambda below, inside, above, over, under: over * above + under * below)(
        clearance, doses, low, high, over, under
    )


def _other_loss(of_shares: Callable) -> Callable:
    def loss(clearance, doses, low, high, over, under):
        return np.array([of_shares(*risks(clearance, dose, low, high), over, under) for dose in doses])

    return loss


def _with_doses(rng: np.random.Generator) -> tuple:
    clearance, dose, low, high = a_patient(rng)
    return clearance, dose * np.linspace(0.6, 1.4, 5), low, high, float(rng.uniform(3, 8)), float(rng.uniform(0.5, 2))


def _of_one(centre: Callable) -> Callable:
    return lambda clearance, *given: expected_loss(np.array([centre(clearance)]), *given)


_LOSS_OF_ONE = (
    "This is the loss at one clearance, a mean or a median: 0, `over` or `under`. The mean goes over the losses of all "
    "draws, not over the draws."
)

EXPECTED = Function(
    "expected_loss",
    truth=expected_loss,
    inputs=_with_doses,
    mistakes=[
        slip(
            _other_loss(lambda below, inside, above, over, under: over * below + under * above),
            1,
            "over and under are exchanged: `over` is the cost of an area above the window.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: above + below),
            1,
            "All misses cost the same here: this is one less the chance of a hit. Multiply each risk by its cost.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: inside),
            1,
            "This is the chance of a hit. Asked for is what the misses cost.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: over * above),
            2,
            "Too little costs something, too: without `under` the best dose would be none.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: over * above + under * below + inside),
            2,
            "A hit costs something here. Within the window the loss is nothing.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: (over * above + under * below) / (over + under)),
            3,
            "Divided by the sum of both costs. The best dose is the same, but the loss is in another unit than asked.",
        ),
        slip(
            _other_loss(lambda below, inside, above, over, under: (over * above + under * below) / (above + below)),
            3,
            "Divided by the share of misses: this is what a miss costs, on average, and not what the dose does. The "
            "mean is over all draws.",
        ),
        slip(
            lambda clearance, *given: len(clearance) * expected_loss(clearance, *given),
            3,
            "The losses are added up over the draws. An expectation is their mean.",
        ),
        slip(
            _of_one(np.median),
            2,
            _LOSS_OF_ONE,
        ),
        slip(
            _of_one(np.mean),
            2,
            _LOSS_OF_ONE,
        ),
    ],
)


def _best(over: float, under: float) -> float:
    return float(DOSES[np.argmin(expected_loss(CLEARANCE, DOSES, *WINDOW, over, under))])


@cache
def doses_of_mistakes() -> dict[str, float]:
    """Doses that people choose for other reasons, by the reason's first words."""
    return {
        "all alike": _best(1.0, 1.0),
        "exchanged": _best(UNDER, OVER),
        "plug-in": float(
            DOSES[np.argmin(np.abs(np.log(DOSES / (np.sqrt(WINDOW[0] * WINDOW[1]) * np.median(CLEARANCE)))))]
        ),
        "dearest": float(DOSES[np.argmax(expected_loss(CLEARANCE, DOSES, *WINDOW, OVER, UNDER))]),
        "safest": float(DOSES[0]),
    }


_WHY: dict[str, tuple[str, int]] = {
    "all alike": ("This is the best dose where all misses cost the same. Here too much costs more.", 1),
    "exchanged": ("This is the best dose where too *little* is the worse of the two.", 1),
    "plug-in": ("This is the plug-in dose: it aims at the middle, and knows of no loss.", 1),
    "dearest": ("This is the dose of the *greatest* expected loss: np.argmin.", 3),
    "safest": ("The smallest dose of all is never too much, and always too little.", 2),
}


def _right_dose() -> Any:
    return _best(OVER, UNDER)


BEST = Value(
    "best",
    truth=_right_dose,
    rtol=1e-6,
    mistakes=[
        *(Mistake(lambda name=name: doses_of_mistakes()[name], *why) for name, why in _WHY.items()),
        Mistake(
            lambda: float(np.argmin(expected_loss(CLEARANCE, DOSES, *WINDOW, OVER, UNDER))),
            "This is the place of the dose in the list. Asked for is the dose: doses[place].",
            3,
        ),
        Mistake(
            lambda: float(expected_loss(CLEARANCE, DOSES, *WINDOW, OVER, UNDER).min()),
            "This is the loss of the best dose. Asked for is the dose.",
            3,
        ),
    ],
)
