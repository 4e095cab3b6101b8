"""The most probable random effects of one patient beside programs that forecast for patients.

Models, patients and values are those by which posologyr (Leven; an R package) compares itself with Monolix and
nlmixr. The values are printed there with three or four digits.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf


class Infused(mf.Model):
    """Two compartments, an infusion; each typical value times exp(eta), those without an omega alike in all."""

    cl: Array = mf.positive(unit="L/h")
    v1: Array = mf.positive(unit="L")
    v2: Array = mf.positive(unit="L")
    q: Array = mf.positive(unit="L/h")
    omega: Array = mf.covariance()
    additive: Array = mf.positive(unit="mg/L")
    proportional: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(len(self.omega)), self.omega)

    def observations(self, eta, subject):
        typical = self.typical(subject.covariates)
        cl, v1, v2, q = typical * jnp.exp(jnp.pad(eta, (0, 4 - eta.size)))
        c = mf.pk.infusion_two_compartment(subject, cl=cl, v1=v1, q=q, v2=v2)
        return dist.Normal(c, self.noise(c))


class Vancomycin(Infused):
    """Goti and others (2018), Ther. Drug Monit. 40, 212-221."""

    def typical(self, known):
        cl = self.cl * (known["clcr"] / 120.0) ** 0.8 * 0.7 ** known["dialysis"]
        v1 = self.v1 * (known["weight"] / 70.0) * 0.5 ** known["dialysis"]
        return jnp.stack([cl, v1, self.v2, self.q])

    def noise(self, c):
        return self.additive + self.proportional * c


class Amikacin(Infused):
    """Burdet and others (2015), Eur. J. Clin. Pharmacol. 71, 75-83."""

    def typical(self, known):
        cl = self.cl * (known["clcr"] / 82.0) ** 0.7
        v1 = self.v1 * (known["weight"] / 78.0) ** 0.9 * (known["oxygen"] / 169.0) ** 0.4
        return jnp.stack([cl, v1, self.v2, self.q])

    def noise(self, c):
        return jnp.sqrt(self.additive**2 + (self.proportional * c) ** 2)


def patient(times, responses, doses, duration, **covariates):
    rows = {"ID": 1, "TIME": times, "DV": responses, "AMT": doses}
    frame = pd.DataFrame(rows | covariates)
    frame["EVID"] = (frame.AMT > 0).astype(int)
    frame["DUR"] = np.where(frame.AMT > 0, duration, np.nan)
    return mf.Population.from_frame(frame, duration="DUR", covariates=list(covariates))


def most_probable(model, people):
    """cl, v1, v2 and q of the one patient, at the mode."""
    fit = mf.fit(model, people, mf.Laplace(), fixed=tuple(mf.parameters(model)), progress=False)
    known = people[0].covariates
    eta = np.pad(np.asarray(fit.eta)[0], (0, 4 - len(model.omega)))
    return np.asarray(model.typical(known)) * np.exp(eta)


def test_vancomycin_beside_monolix():
    """Two samples after two doses."""
    model = Vancomycin(
        cl=4.5,
        v1=58.4,
        v2=38.4,
        q=6.5,
        omega=jnp.diag(jnp.array([0.147, 0.510, 0.282])),
        additive=3.4,
        proportional=0.227,
    )
    people = patient(
        [0.0, 12.0, 22.2, 37.5],
        [np.nan, 14.8, np.nan, 22.5],
        [1900, 0, 1750, 0],
        1.0,
        clcr=34.0,
        weight=62.0,
        dialysis=0.0,
    )
    found = most_probable(model, people)
    np.testing.assert_allclose(found, [1.72, 59.8, 41.6, 6.5], rtol=0.004)
    # what is drawn stands about the same place
    drawn = mf.individual(model, people, key=jax.random.key(1))
    cl = 4.5 * (34.0 / 120.0) ** 0.8 * np.exp(np.asarray(drawn.eta)[0, :, 0])
    assert np.median(cl) == pytest.approx(1.72, rel=0.05)


def test_amikacin_beside_nlmixr():
    """A full covariance; two samples after one dose."""
    lower = np.array([[0.1, 0, 0, 0], [0.01, 0.05, 0, 0], [0.01, 0.02, 0.2, 0], [-0.06, 0.004, 0.003, 0.08]])
    model = Amikacin(
        cl=4.3,
        v1=15.9,
        v2=21.4,
        q=12.1,
        omega=jnp.asarray(lower + np.tril(lower, -1).T),
        additive=0.2,
        proportional=0.1,
    )
    people = patient([0.0, 1.0, 6.0], [np.nan, 75.0, 32.0], [1600, 0, 0], 0.5, clcr=50.0, weight=62.0, oxygen=169.0)
    np.testing.assert_allclose(most_probable(model, people), [2.62, 11.01, 14.57, 11.96], rtol=0.001)
