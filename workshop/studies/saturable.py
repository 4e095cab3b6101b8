"""The study of exercise 07.5: a drug whose elimination saturates, in NumPy.

depot' = -ka depot,   central' = ka depot - vmax C / (km + C),   C = central / 1 L,   one dose into the depot
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

import mefit as mf

KA, VMAX, KM, SIGMA = 1.0, 1.1, 0.8, 0.1
TIME = np.arange(21) * 0.5


def truth(doses: Sequence[float], time: np.ndarray = TIME, vmax: float = VMAX) -> np.ndarray:
    """The concentration (D, m), mg/L, by the classical Runge-Kutta method in steps of 0.005 h."""
    h, dose = 0.005, np.asarray(doses, float)

    def slope(t: float, c: np.ndarray) -> np.ndarray:
        return KA * dose * np.exp(-KA * t) - vmax * c / (KM + c)

    grid = np.arange(0.0, time.max() + 2 * h, h)
    c = np.zeros((grid.size, dose.size))
    for k, t in enumerate(grid[:-1]):
        one = slope(t, c[k])
        two = slope(t + h / 2, c[k] + h / 2 * one)
        three = slope(t + h / 2, c[k] + h / 2 * two)
        four = slope(t + h, c[k] + h * three)
        c[k + 1] = c[k] + h / 6 * (one + 2 * two + 2 * three + four)
    return np.stack([np.interp(time, grid, each) for each in c.T])


def without_elimination(dose: float) -> np.ndarray:
    """What would be in the blood if nothing ever left it."""
    return truth([dose], vmax=0.0)[0]


def patients(doses: Sequence[float]) -> mf.Population:
    """One patient for each dose (mg), not measured yet."""
    people = [mf.Subject(jnp.asarray(TIME), 0 * TIME, TIME >= 0, doses=mf.Doses.of(d)) for d in doses]
    return mf.Population.from_subjects(people, time_label="time (h)", y_label="drug (mg/L)")


def patient_a(seed: int = 1) -> mf.Population:
    """The patient to train on: 5 mg at time 0, 21 concentrations with an error of SD 0.1."""
    noise = SIGMA * np.random.default_rng(seed).normal(size=TIME.size)
    return patients([5.0]).with_responses(truth([5.0]) + noise)
