"""Prediction correction of logarithms adds, of other responses it multiplies: the same on either scale."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf


class Bolus(mf.Model):
    """Log-normal concentrations; or, `as_logs`, their logarithms."""

    k: Array = mf.positive()
    omega: Array = mf.positive()
    as_logs: bool = eqx.field(static=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        c = mf.pk.iv_bolus_one_compartment(subject, cl=20.0 * self.k * jnp.exp(eta[0]), v=20.0)
        return dist.Normal(jnp.log(c), 0.2) if self.as_logs else dist.LogNormal(jnp.log(c), 0.2)


@pytest.fixture(scope="module")
def logs():
    """Logarithms of 11 people, at half of whom the dose is ten times as high, so that logs are above and below 0."""
    rng = np.random.default_rng(3)
    rows = []
    for who in range(11):
        dose = 10.0 if who % 2 else 100.0
        k = 0.1 * np.exp(0.3 * rng.standard_normal())
        rows.append((who, 0.0, np.nan, dose, 1))
        rows += [(who, t, np.log(dose / 20) - k * t + 0.2 * rng.standard_normal(), 0.0, 0) for t in (1.0, 4.0, 9.0)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID"]))


def fit_of(population, as_logs):
    model = Bolus(k=0.1, omega=0.3, as_logs=as_logs)
    return mf.fit(model, population, mf.Laplace(), fixed=("k", "omega"), progress=False)


def check_of(fit, **options):
    return mf.vpc(
        fit,
        key=jax.random.key(1),
        samples=9,
        bins=[0.0, 2.0, 6.0, 10.0],
        percentiles=(0, 50, 100),
        prediction_corrected=True,
        **options,
    )


@pytest.mark.slow
def test_logs_are_corrected_as_what_they_are_logs_of(logs):
    """tidyvpc #20. Smallest, middle and largest value of a bin are the same on either scale."""
    natural = logs.with_responses(np.exp(np.asarray(logs.subjects.y)))
    of_logs = check_of(fit_of(logs, True))
    of_natural = check_of(fit_of(natural, False))
    assert of_natural.remarks == ()
    assert len(of_logs.remarks) == 1 and "so the correction adds" in of_logs.remarks[0]
    np.testing.assert_allclose(of_logs.observed.value, np.log(of_natural.observed.value), rtol=1e-9)
    np.testing.assert_allclose(of_logs.simulated[["median"]], np.log(of_natural.simulated[["median"]]), rtol=1e-9)
    told = check_of(fit_of(logs, True), log_data=True)
    assert told.remarks == ()
    pd.testing.assert_frame_equal(told.observed, of_logs.observed)
    with pytest.raises(ValueError, match="negative, and the correction is a ratio: where responses are log.*log_data="):
        check_of(fit_of(logs, True), log_data=False)


def test_what_the_model_does_not_tell_is_said(logs):
    class Level(mf.Model):
        mu: Array = mf.real()

        def observations(self, eta, subject):
            return dist.Normal(self.mu + subject.covariates["x"] + 0.0 * subject.time, 1.0)

    frame = pd.DataFrame({"ID": [1, 1, 2, 2], "TIME": [0.0, 1.0] * 2, "DV": [4.0, 5.0, 8.0, 9.0], "x": [1, 1, 5, 5]})
    population = mf.Population.from_frame(frame, covariates=["x"])
    fit = mf.fit(Level(mu=3.0), population, mf.NaivePooled(), progress=False)
    for bins in (1, np.int64(1)):
        check = mf.vpc(fit, key=jax.random.key(0), samples=5, bins=bins, prediction_corrected=True)
        assert "the correction multiplies" in check.remarks[0]
    added = mf.vpc(fit, key=jax.random.key(0), samples=5, bins=1, prediction_corrected=True, log_data=True)
    np.testing.assert_allclose(added.points.DV, [6.0, 7.0, 6.0, 7.0])
    with pytest.raises(ValueError, match="one bin or more"):
        mf.vpc(fit, key=jax.random.key(0), samples=5, bins=np.int64(0))
