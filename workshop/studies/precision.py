"""The trial, the new patients and the two rules for a dose of lesson 11.

    ka = 1.2 exp(eta_1), CL = 3 (weight / 70)^(3/4) exp(eta_2), V = 30 (weight / 70) exp(eta_3)     SDs 0.4, 0.3, 0.2

and an error as in `one_person.py`, whose people all weigh 70 kg.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

import mefit as mf
from workshop.studies.exact_patient import log_concentration
from workshop.studies.one_person import AIM, ERROR, SD, TARGET, TYPICAL, cost, hits

PLANNED = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 48.0])  # h
LOOKED = (2.0, 4.0, 24.0)  # h, at which new patients may be sampled
GIVEN = (50.0, 100.0, 200.0)  # mg
LIGHTEST, HEAVIEST = 50.0, 100.0  # kg
_POWERS = np.array([0.0, 0.75, 1.0])  # of weight, in ka, CL and V


def trial(count: int = 120, seed: int = 1, samples: int = 4) -> mf.Population:
    """Adults of 50 to 100 kg, each with one dose and a few of the planned samples."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        weight = float(np.clip(rng.normal(72.0, 12.0), LIGHTEST, HEAVIEST).round())
        dose = float(rng.choice(GIVEN))
        times = np.sort(rng.choice(PLANNED, samples, replace=False))
        eta = SD * rng.standard_normal(3) + _POWERS * np.log(weight / 70.0)
        y = np.exp(log_concentration(eta[None], times, dose)[:, 0] + ERROR * rng.standard_normal(samples))
        frames.append(record(i + 1, dose, weight, times, y * np.exp(-0.5 * ERROR**2)))
    return population(pd.concat(frames))


def record(
    name: int | str,
    dose: float | int,
    weight: float | int,
    times: Sequence[float] | np.ndarray,
    y: Sequence | np.ndarray,
) -> pd.DataFrame:
    """One person's rows, a dose and samples, as they would stand in a file."""
    rows = {"ID": name, "TIME": [0.0, *times], "AMT": [dose, *[0.0] * len(times)], "DV": [np.nan, *y], "WT": weight}
    return pd.DataFrame(rows)


def population(frame: pd.DataFrame) -> mf.Population:
    """People read from such rows; also those without a sample."""
    return mf.Population.from_frame(
        frame, covariates={"wt": "WT"}, drop_unobserved=None, time_label="time (h)", y_label="concentration (mg/L)"
    )


def newcomers(count: int = 320, seed: int = 0) -> tuple[mf.Population, Float[np.ndarray, " N"]]:
    """New patients of 70 kg, each given 100 mg and sampled at 2, 4 and 24 h, and their clearances in L/h."""
    rng = np.random.default_rng(seed)
    etas = SD * rng.standard_normal((count, 3))
    errors = ERROR * rng.standard_normal((count, len(LOOKED)))
    y = np.exp(log_concentration(etas, np.array(LOOKED)).T + errors - 0.5 * ERROR**2)
    people = population(pd.concat([record(i + 1, 100.0, 70.0, LOOKED, row) for i, row in enumerate(y)]))
    return people, TYPICAL[1] * np.exp(etas[:, 1])


def seen(people: mf.Population, times: Sequence[float]) -> mf.Population:
    """The same people with the samples at these times only; the rows stay, so that one program serves all."""
    kept = jnp.isin(people.subjects.time, jnp.asarray(times, float)) if times else jnp.zeros_like(people.subjects.mask)
    return replace(people, subjects=replace(people.subjects, mask=people.subjects.mask & kept))


class Rules(NamedTuple):
    """What two rules come to: the shares of people `hit` and the mean `cost`, by the plug-in dose, then by the least
    expected loss."""

    hit: tuple[float, float]
    cost: tuple[float, float]


def rules(draws: Float[np.ndarray, "N M"], clearance: Float[np.ndarray, " N"], loss: mf.dosing.Window) -> Rules:
    """Each person's dose by both rules, from `draws` of the clearance, and what the true `clearance` makes of it.

    The area is dose / CL, so no curve is needed: the plug-in dose brings the median draw to the aim, and the other has
    the least mean loss over the draws, of 120 doses from 30 to 250 mg.
    """
    plug_in = AIM * np.median(draws, axis=1)
    doses = np.geomspace(30.0, 250.0, 120)
    expected = [loss(dose / draws, *TARGET).mean(axis=1) for dose in doses]
    careful = doses[np.argmin(expected, axis=0)]
    return Rules(
        hit=(hits(plug_in, clearance), hits(careful, clearance)),
        cost=(float(cost(plug_in, clearance).mean()), float(cost(careful, clearance).mean())),
    )
