"""What an exposure outside of its target costs, and how likely it is: what a dose is chosen by."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.special import ndtr

# The cost of each exposure, given both ends of the target
Loss = Callable[[np.ndarray, float, float], ArrayLike]


@dataclasses.dataclass(frozen=True)
class Window:
    """`over` for an exposure above the target, `under` for one below, nothing within; how far outside does not count.

    An overdose is five times as bad as too little, unless said otherwise: a plain count of hits (over=1, under=1) says
    that a drug does no more harm above its window than it fails to do good below.
    """

    over: float | int = 5.0
    under: float | int = 1.0

    def __post_init__(self) -> None:
        _refuse_negative(self.over, self.under)

    def __call__(self, exposure, low, high):
        return self.over * (exposure > high) + self.under * (exposure < low)


@dataclasses.dataclass(frozen=True)
class Distance:
    """`over` times log(exposure / high) above the target, `under` times log(low / exposure) below, nothing within.

    A factor of two outside costs the same everywhere on a side. For positive exposures.
    """

    over: float | int = 5.0
    under: float | int = 1.0

    def __post_init__(self) -> None:
        _refuse_negative(self.over, self.under)

    def __call__(self, exposure, low, high):
        if np.any(exposure <= 0.0):
            raise ValueError("the loss Distance takes logarithms, and an exposure is 0 or below: use Window.")
        too_high = np.maximum(0.0, np.log(exposure) - np.log(high)) if np.isfinite(high) else 0.0
        too_low = np.maximum(0.0, np.log(low) - np.log(exposure)) if low > 0.0 else 0.0
        return self.over * too_high + self.under * too_low


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """A limit to a risk: `quantity` may be above the level `above` with at most this `probability`.

    `mf.dosing.Ceiling("cmax", above=40, probability=0.05)`: regimens that break it are not chosen.
    """

    quantity: str
    above: float | int
    probability: float | int

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability < 1.0:
            raise ValueError(f"Ceiling: the probability is {self.probability:g}; give 0 or more, and less than 1.")

    def __str__(self) -> str:
        return f"{self.quantity} above {self.above:g}"


def _refuse_negative(over: float | int, under: float | int) -> None:
    if not (over >= 0.0 and under >= 0.0 and over + under > 0.0):
        raise ValueError(f"a loss of {over:g} above the target and {under:g} below: give two numbers of 0 or more.")


def smooth_expectation(loss: Loss, exposure: Float[np.ndarray, " M"], low: float, high: float) -> float:
    """The expected loss over draws, smooth in the dose: of `Window` by `smooth_share_above`."""
    if not isinstance(loss, Window):
        return float(np.mean(loss(exposure, low, high)))
    over = smooth_share_above(exposure, high)
    under = 1.0 - smooth_share_above(exposure, low)
    return loss.over * over + loss.under * under


def smooth_share_above(values: Float[np.ndarray, " M"], level: float | int) -> float:
    """The share of draws above a level, each draw being a narrow Gaussian.

    The share itself has M small steps, on which a search gets stuck. The Gaussian's SD is M^(-1/3) of that of the
    draws, in logarithms where all are positive, so that it adds half a per cent to their spread where M is 1000.
    """
    if np.all(values > 0.0):
        level = np.log(level) if level > 0.0 else -np.inf
        values = np.log(values)
    width = float(values.std()) * len(values) ** (-1.0 / 3.0)
    if width == 0.0:
        return float(np.mean(values > level))
    return float(ndtr((values - level) / width).mean())
