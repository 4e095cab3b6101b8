"""Doses for new people of a known population: one compartment by mouth, as in the explorer of sampling times.

    ka = 1.2 exp(eta_1), CL = 3 exp(eta_2), V = 30 exp(eta_3)     SDs of eta 0.4, 0.3, 0.2
    y = C(t) exp(e - 0.02)                                        SD of e 0.2

The target is the area of a typical person at 100 mg, 100 / 3 mg h/L, within 80 to 125%.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mefit as mf

TYPICAL = (1.2, 3.0, 30.0)
SD = np.array([0.4, 0.3, 0.2])
ERROR = 0.2
AIM = 100.0 / 3.0
TARGET = (0.8 * AIM, 1.25 * AIM)
_TIME = np.concatenate([[0.0], np.geomspace(0.05, 160.0, 120)])  # the area to 160 h is all but 1e-6 of it
_DOSES = np.geomspace(50.0, 200.0, 29)  # 5% apart


class Oral(mf.Model):
    """The model above, for concentrations."""

    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array(TYPICAL) * jnp.exp(eta)
        concentration = mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)
        return dist.LogNormal(jnp.log(concentration) - 0.5 * self.sigma**2, self.sigma)  # its mean is the curve


def truth() -> Oral:
    """The model that people are made with, and known by."""
    values: dict[str, Any] = {"omega": np.diag(SD**2), "sigma": ERROR}
    return Oral(**values)


class Patients(NamedTuple):
    """New people with a dose of 100 mg and samples at the same times, and their clearances (N,) in L/h."""

    population: mf.Population
    clearance: Float[np.ndarray, " N"]


def patients(count: int, times: tuple[float, ...], seed: int = 0) -> Patients:
    """`count` people sampled at `times`; without any they are known by the population alone. The same people whatever
    the times."""
    rng = np.random.default_rng(seed)
    eta = rng.standard_normal((count, 3)) * SD
    error = rng.standard_normal((count, 24)) * ERROR
    at = np.asarray(times if times else (1.0,))
    blank = np.zeros((count, at.size))
    doses = mf.Doses.together([mf.regimen(100.0)] * count)
    subjects = mf.Subject(
        jnp.asarray(np.broadcast_to(at, blank.shape)),
        jnp.asarray(blank),
        jnp.ones(blank.shape, bool),
        {},
        doses,
        real=jnp.ones(blank.shape, bool),
    )
    ids = tuple(range(1, count + 1))
    unseen = mf.Population(subjects, ids, time_label="time (h)", y_label="concentration (mg/L)")
    curves = np.asarray(mf.predict(truth(), unseen, eta))
    seen = unseen.with_responses(curves * np.exp(error[:, : at.size]) / np.exp(ERROR**2 / 2))
    clearance = TYPICAL[1] * np.exp(eta[:, 1])
    return Patients(seen if times else seen.until(0.0), clearance)


def goal(loss: mf.dosing.Window | None = None) -> mf.dosing.Goal:
    """80 to 125% of the area of a typical person."""
    return mf.dosing.Goal(time=_TIME, target=TARGET, loss=loss or mf.dosing.Window())


def regimens() -> dict[str, mf.Doses]:
    """Single doses from 50 to 200 mg, 5% apart."""
    return {f"{dose:.4g}": mf.regimen(float(f"{dose:.4g}")) for dose in _DOSES}


def cost(dose: Float[np.ndarray, " N"], clearance: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """What the true area costs, an overdose being five times as bad."""
    area = dose / clearance
    return 5.0 * (area > TARGET[1]) + 1.0 * (area < TARGET[0])


def hits(dose: Float[np.ndarray, " N"], clearance: Float[np.ndarray, " N"]) -> float:
    """The share of people whose true area is within the target."""
    area = dose / clearance
    return float(np.mean((area >= TARGET[0]) & (area <= TARGET[1])))


def likely_dose(people: mf.Individuals) -> Float[np.ndarray, " N"]:
    """The dose that aims at the middle of each person's posterior, and ignores how wide it is."""
    return AIM * TYPICAL[1] * np.exp(np.median(people.eta[:, :, 1], axis=1))


def known(count: int, times: tuple[float, ...], draws: int = 500, seed: int = 0) -> tuple[mf.Individuals, np.ndarray]:
    """People with samples at these times, what is known of them, and their true clearances."""
    new = patients(count, times, seed)
    return mf.individual(truth(), new.population, draws=draws, key=jax.random.key(seed)), new.clearance
