"""Bilirubin by mixtures of lines: how many classes, and what 95% sets are worth for patients who were not fitted."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array

import mefit as mf

GATE = ("age", "male", "edema", "hepatomegaly", "albumin")
YEAR = 1.0  # from which on responses are predicted, those before being seen


class Line(mf.Model):
    """Log bilirubin as a straight line of a patient's own."""

    beta: Array = mf.real(names=("intercept", "slope"))
    omega: Array = mf.covariance(names=("intercept", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        b = self.beta + eta
        return dist.Normal(b[0] + b[1] * subject.time, self.sigma)


def one_line() -> Line:
    """A line to begin with."""
    return Line(beta=np.array([0.5, 0.1]), omega=np.diag([1.0, 0.03]), sigma=0.4)


def fitted(patients: mf.Population, classes: int, starts: int = 10, seed: int = 1) -> mf.Fit:
    """The best of several starts of a mixture of lines; of one class, the mixed model itself."""
    if classes == 1:
        return mf.fit(one_line(), patients, mf.Laplace(), progress=False)
    start = mf.MixtureOfExperts([one_line()] * classes, gate=mf.LinearGate(patients, GATE))
    return mf.fit(start, patients, mf.EM(starts=starts), key=jax.random.key(seed), progress=False)


class Split(NamedTuple):
    """Patients to fit to, to calibrate on, and to be tried on."""

    fit: mf.Population
    calibration: mf.Population
    trial: mf.Population


def split(seed: int = 1, patients: mf.Population | None = None) -> Split:
    """Half, a quarter and a quarter of those with a measurement after a year, by chance; others are fitted."""
    patients = mf.datasets.bilirubin() if patients is None else patients
    later = np.any(np.asarray(patients.subjects.mask) & (np.asarray(patients.subjects.time) > YEAR), axis=1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(later))
    quarter = order.size // 4
    calibration = np.sort(order[:quarter])
    trial = np.sort(order[quarter : 2 * quarter])
    rest = np.setdiff1d(np.arange(len(patients)), np.concatenate([calibration, trial]))
    return Split(patients[rest.tolist()], patients[calibration.tolist()], patients[trial.tolist()])


def coverage(model: mf.Model, parts: Split, whole: bool = False, seed: int = 3) -> pd.DataFrame:
    """How often 95% sets hold what comes after a year, given what came before: those of the model, and conformal ones.

    A row for each kind of set: `level` of the model's sets that is taken, `covered`, the share of patients whose
    response (one, drawn at random), or with `whole` every response, lies in its set, its binomial `error`, and the
    median `width` of a set, on the log scale.
    """
    key_fit, key_row, key_trial = jax.random.split(jax.random.key(seed), 3)

    def predict(people: mf.Population) -> mf.Predictive:
        known = mf.individual(model, people.until(YEAR), draws=400, proposed=1000, key=key_fit)
        return mf.predictive(known, components=200)

    calibrated = mf.conformal(predict, parts.calibration, 0.95, after=YEAR, whole=whole, key=key_row)
    told = predict(parts.trial)
    y = np.asarray(parts.trial.subjects.y)
    seen = np.asarray(parts.trial.subjects.mask) & (np.asarray(parts.trial.subjects.time) > YEAR)
    levels = np.where(seen, told.level_of(y), -1.0)
    luck = np.where(seen, np.random.default_rng(np.ravel(jax.random.key_data(key_trial))).random(seen.shape), -1.0)
    score = levels.max(axis=1) if whole else np.take_along_axis(levels, luck.argmax(axis=1)[:, None], axis=1)[:, 0]
    rows = {}
    for name, level in (("of the model", 0.95), ("conformal", calibrated.level)):
        share = float(np.mean(score <= level))
        sets = told.highest_density(level)
        width = (sets.high - sets.low).groupby([sets.ID, sets.TIME]).sum()
        error = np.sqrt(share * (1.0 - share) / len(score))
        rows[name] = {"level": level, "covered": share, "error": error, "width": float(width.median())}
    return pd.DataFrame.from_dict(rows, orient="index")
