"""What measures how subjects differ needs several: refused for one, and said where there are too few."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf


class Twins(mf.Model):
    """A mean that two covariates shift, and a random intercept."""

    b: Array = mf.real(names=("int", "kg", "lb"))
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        mean = self.b[0] + self.b[1] * subject.covariates["kg"] + self.b[2] * subject.covariates["lb"] + eta[0]
        return dist.Normal(mean + 0.0 * subject.time, self.sigma)


def people(count):
    rng = np.random.default_rng(5)
    rows = []
    for who in range(count):
        kg = 60.0 + 3.0 * who
        level = 0.1 * kg + rng.standard_normal()
        rows += [(who, t, level + 0.3 * rng.standard_normal(), kg, 2.2 * kg) for t in range(3)]
    return mf.Population.from_frame(
        pd.DataFrame(rows, columns=["ID", "TIME", "DV", "kg", "lb"]), covariates=["kg", "lb"]
    )


def fit_of(count, fixed=()):
    model = Twins(b=[6.0, 0.0, 0.0], omega=1.0, sigma=0.3)
    return mf.fit(model, people(count), mf.FO(), fixed=fixed, progress=False)


class Mean(Twins):
    """The same without covariates: three parameters."""

    b: Array = mf.real()

    def observations(self, eta, subject):
        return dist.Normal(self.b + eta[0] + 0.0 * subject.time, self.sigma)


def test_one_subject_is_not_drawn_again():
    """ferx-core #1116: a bootstrap of one subject has standard errors of zero. So has the sandwich."""
    fit = mf.fit(Mean(b=6.0, omega=1.0, sigma=0.3), people(1), mf.FO(), fixed=("omega",), progress=False)
    with pytest.raises(ValueError, match="there is one subject, and a bootstrap over subjects draws the same one"):
        mf.bootstrap(fit, replicates=5, key=jax.random.key(0), progress=False)
    with pytest.raises(ValueError, match="there is one subject, and its score is zero"):
        mf.sandwich(fit)
    with pytest.raises(ValueError, match="scores of 1 subjects cannot tell 2 parameters apart"):
        mf.cross_products(fit)
    assert np.all(mf.observed_information(fit).table.se > 0)


def test_no_more_subjects_than_parameters_is_said():
    three = mf.fit(Mean(b=6.0, omega=1.0, sigma=0.3), people(3), mf.FO(), progress=False)
    assert "3 subjects for 3 parameters" in mf.sandwich(three).remarks[0]
    with pytest.raises(ValueError, match="scores of 3 subjects cannot tell 3 parameters apart"):
        mf.cross_products(three)
    six = mf.fit(Mean(b=6.0, omega=1.0, sigma=0.3), people(6), mf.FO(), progress=False)
    assert mf.sandwich(six).remarks == ()


def test_collinear_covariates_are_named():
    """lme4 #534, rank deficiency: the same weight in kg and in lb."""
    fit = fit_of(8)
    note = "the likelihood hardly changes as b[kg], b[lb] move together"
    assert note in str(fit)
    with pytest.raises(ValueError, match="as b\\[kg\\], b\\[lb\\] move together"):
        mf.observed_information(fit)
    held = mf.fit(Mean(b=6.0, omega=1.0, sigma=0.3), people(8), mf.FO(), progress=False)
    assert "not identified" not in str(held)
