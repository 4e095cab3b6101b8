"""Exercise 11.3: the chance of a hit, and the dose of least expected loss, of a Gaussian posterior of log clearance."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from workshop.checks.engine import Function, slip


def chance(s: float, low: float, high: float) -> float:
    """P(low < area < high) at the plug-in dose: 2 Phi(log(high / low) / (2 s)) - 1."""
    return float(2 * norm.cdf(np.log(high / low) / (2 * s)) - 1)


def _a_window(rng: np.random.Generator) -> tuple[float, float, float]:
    low = float(rng.uniform(10, 40))
    return float(rng.uniform(0.1, 0.4)), low, low * float(rng.uniform(1.3, 1.9))


CHANCE = Function(
    "chance",
    truth=chance,
    inputs=_a_window,
    mistakes=[
        slip(
            lambda s, low, high: 2 * norm.cdf(np.log(high / low) / s) - 1,
            2,
            "From the middle of the window to its end it is *half* of log(high / low).",
        ),
        slip(
            lambda s, low, high: norm.cdf(np.log(high / low) / (2 * s)),
            2,
            "This leaves out one side only: both too little and too much are misses.",
        ),
        slip(
            lambda s, low, high: 2 * norm.sf(np.log(high / low) / (2 * s)),
            1,
            "This is the chance of a miss. Asked for is that of a hit.",
        ),
        slip(
            lambda s, low, high: 2 * norm.cdf((high - low) / (2 * s)) - 1,
            1,
            "s is the SD of a logarithm, so the window is measured on the log scale too.",
        ),
        slip(
            lambda s, low, high: 2 * norm.cdf(np.log(high / low) / (2 * s**2)) - 1,
            2,
            "Divided by the variance. A distance is counted in SDs.",
        ),
        slip(
            lambda s, low, high: 2 * norm.pdf(np.log(high / low) / (2 * s)) - 1,
            2,
            "norm.pdf is the density. The chance to lie below a value is norm.cdf.",
        ),
    ],
)


def least_loss_dose(m: float, s: float, low: float, high: float, over: float, under: float) -> float:
    """exp(m + (log low + log high) / 2 - s^2 log(over / under) / log(high / low))."""
    return _dose()(m, s, low, high, over, under)


def _dose(
    middle: Callable = lambda low, high: 0.5 * (np.log(low) + np.log(high)),
    lever: Callable = lambda s, over, under: s**2 * np.log(over / under),
    width: Callable = lambda low, high: np.log(high / low),
    sign: float = -1.0,
    end: Callable = np.exp,
    centre: float = 1.0,
) -> Callable:
    """The dose by its formula, of which every piece can be replaced by a wrong one."""

    def dose(m, s, low, high, over, under):
        return float(end(centre * m + middle(low, high) + sign * lever(s, over, under) / width(low, high)))

    return dose


def _a_case(rng: np.random.Generator) -> tuple[Any, ...]:
    s, low, high = _a_window(rng)
    return float(rng.uniform(0.5, 1.6)), s, low, high, float(rng.uniform(2, 9)), float(rng.uniform(0.5, 1.5))


LEAST = Function(
    "least_loss_dose",
    truth=least_loss_dose,
    inputs=_a_case,
    mistakes=[
        slip(
            _dose(sign=0.0),
            1,
            "This is the plug-in dose: no loss is in it, and no width. Move it to where the derivative of the expected "
            "loss is zero.",
        ),
        slip(_dose(sign=1.0), 2, "The lever pulls the wrong way: where too much is worse, the dose is lower."),
        slip(
            _dose(lever=lambda s, over, under: s * np.log(over / under)),
            2,
            "The spread enters by its square: it is the variance that the lever moves.",
        ),
        slip(
            _dose(lever=lambda s, over, under: 0.5 * s**2 * np.log(over / under)),
            3,
            "A factor of two is missing at the variance: the squares of both distances differ by 2 s^2 log(over / "
            "under), and the half of it goes with the half of the window.",
        ),
        slip(
            _dose(lever=lambda s, over, under: 2 * s**2 * np.log(over / under)),
            3,
            "The variance counts twice. The difference of the two squares has a factor 2 as well, which cancels.",
        ),
        slip(
            _dose(lever=lambda s, over, under: s**2 * over / under),
            3,
            "over / under enters by its logarithm: densities of a Gaussian are compared, and their logarithms are the "
            "squares.",
        ),
        slip(
            _dose(width=lambda low, high: 1.0),
            3,
            "The width of the window is missing: in a wide one the same lever moves less.",
        ),
        slip(
            _dose(width=lambda low, high: high - low),
            2,
            "The window's width is that on the log scale: log(high) - log(low).",
        ),
        slip(
            _dose(middle=lambda low, high: np.log(0.5 * (low + high))),
            2,
            "The middle of the window is the one of the logarithms: the root of low times high.",
        ),
        slip(
            _dose(centre=-1.0),
            1,
            "The area is dose / CL, so log dose = log area *plus* log CL: whoever clears quickly needs more.",
        ),
        slip(_dose(end=lambda x: x), 1, "This is the logarithm of the dose. Asked for is the dose."),
    ],
)
