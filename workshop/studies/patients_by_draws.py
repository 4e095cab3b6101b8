"""What the exercises of lesson 11 are given: draws of one patient's clearance, and a window for the area."""

import numpy as np
import pandas as pd

from workshop.studies import exact_patient as exact
from workshop.studies.one_person import SD, TARGET, TYPICAL

WINDOW = TARGET  # mg h/L
OVER, UNDER = 5.0, 1.0
DOSES = np.arange(30.0, 181.0, 3.0)  # mg
CLEARANCE = TYPICAL[1] * np.exp(SD[1] * np.random.default_rng(11).standard_normal(999))
"""(999,) L/h, of a patient without a sample."""


def draws_of_eta(count: int = 4000, seed: int = 3) -> np.ndarray:
    """(M, 3) draws of the random effects of ka, CL and V from the population."""
    return SD * np.random.default_rng(seed).standard_normal((count, 3))


def log_curves(eta: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(M, t): the logarithms of concentrations (mg/L) after 100 mg, of each draw."""
    return exact.log_concentration(eta, np.asarray(times, float)).T


BEA = ((20.0,), (0.18,))  # h, mg/L
PEAK, PROBABILITY = 4.2, 0.05  # mg/L may be exceeded with this probability
STEP = 10.0  # mg


def rows() -> pd.DataFrame:
    """Bea as she stands in a file: 100 mg, and a low concentration 20 h later."""
    return pd.DataFrame({"ID": "Bea", "TIME": [0.0, *BEA[0]], "AMT": [100.0, 0.0], "DV": [np.nan, *BEA[1]]})


def possible() -> np.ndarray:
    """The doses that tablets allow, in mg."""
    return np.arange(20.0, 200.5, STEP)


def peaks(eta: np.ndarray) -> np.ndarray:
    """(N,) highest concentrations after 100 mg, mg/L, at t = log(ka / k) / (ka - k)."""
    ka, cl, v = (np.array(TYPICAL) * np.exp(eta)).T
    k = cl / v
    apart = np.where(np.abs(ka - k) < 1e-9 * ka, 1e-9 * ka, ka - k)
    t = np.log1p(apart / k) / apart
    return 100.0 * ka / v * np.exp(-k * t) * -np.expm1(-apart * t) / apart
