"""The study of lesson 07: one patient after two doses, of whom the response is seen and the concentration is not.

    depot' = -ka depot,   central' = ka depot - CL / V central,   R' = kin (1 + E(c)) - kout R,   c = central / V
    E(c) = smax c^n / (sc50^n + c^n),   R(0) = kin / kout,   doses into the depot at 0 and 5 h

Everything is made in NumPy, so that the truth owes nothing to what is fitted.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

import mefit as mf

KA, CL, V, KIN, KOUT = 0.5, 1.0, 1.0, 0.8, 2.2
SMAX, N, SC50 = 2.9, 1.5, 0.05
SIGMA = 0.03  # SD of the error of the response
TIME = np.arange(31) * 0.5  # h, when the response is measured
FINE = np.linspace(0.0, 15.0, 301)
DOSE_TIMES = (0.0, 5.0)


def concentration(time: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """(D, m) after `dose` (D,) at 0 and again at 5 h, by the formula of one compartment."""
    total = np.zeros((dose.size, time.size))
    for begin in DOSE_TIMES:
        since = np.maximum(time - begin, 0.0)
        total += (time >= begin) * (np.exp(-KA * since) - np.exp(-CL / V * since))
    return dose[:, None] * KA / (CL - KA * V) * total


def effect(c: np.ndarray) -> np.ndarray:
    """E(c), which a targeted network has to find."""
    return SMAX * c**N / (SC50**N + c**N)


def truth(doses: Sequence[float], time: np.ndarray = FINE) -> np.ndarray:
    """The response (D, m) to each dose at `time`, by the rule of Simpson on the solution of a linear equation."""
    h, dose = 0.0025, np.asarray(doses, float)
    grid = np.arange(0.0, time.max() + 2 * h, h)
    made = KIN * (1.0 + effect(concentration(np.sort(np.concatenate([grid, grid[:-1] + h / 2])), dose)))
    left, middle, right = made[:, :-1:2], made[:, 1::2], made[:, 2::2]
    keep, half = np.exp(-KOUT * h), np.exp(-KOUT * h / 2)
    added = h / 6 * (keep * left + 4 * half * middle + right)
    response = np.empty((dose.size, grid.size))
    response[:, 0] = KIN / KOUT
    for k in range(grid.size - 1):
        response[:, k + 1] = keep * response[:, k] + added[:, k]
    return np.stack([np.interp(time, grid, one) for one in response])


def patients(doses: Sequence[float], unit: float = 1.0) -> mf.Population:
    """One patient for each dose, whose response nobody has measured; `unit` is what amounts are multiplied by."""
    time = jnp.asarray(TIME)
    given = [mf.Doses.of([unit * d] * len(DOSE_TIMES), time=DOSE_TIMES) for d in doses]
    people = [mf.Subject(time, 0 * TIME, TIME >= 0, doses=each) for each in given]
    return mf.Population.from_subjects(people, time_label="time (h)", y_label="response")


def patient_a(seed: int = 1, unit: float = 1.0) -> mf.Population:
    """The patient that all are trained on: dose 1 at 0 and 5 h, 31 noisy responses; in units `unit` times as small."""
    noise = SIGMA * np.random.default_rng(seed).normal(size=TIME.size)
    return patients([1.0], unit).with_responses(unit * (truth([1.0], TIME) + noise))


def miss(predicted: np.ndarray, doses: Sequence[float]) -> np.ndarray:
    """The root mean squared difference (D,) from the truth of curves (D, 31) at `TIME`."""
    return np.sqrt(np.mean((np.asarray(predicted) - truth(doses, TIME)) ** 2, axis=1))
