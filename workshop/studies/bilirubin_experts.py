"""Bilirubin by mixtures of lines, from several starts side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf

GATE = ("age", "male", "edema", "hepatomegaly", "albumin")


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
