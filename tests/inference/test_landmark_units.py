"""Predictions of a marker and of an event in other units: the same people, in all but the constants."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf

KEY = jax.random.key(4)
TIMES = np.arange(1.0, 6.0)
B = np.array([2.0, 0.5])
OMEGA = np.array([[1.0, 0.2], [0.2, 0.3]])
COUNT = 12


class Joint(mf.Model):
    """A line, and a hazard that follows it."""

    b: Array = mf.real()
    base: Array = mf.real()
    alpha: Array = mf.real()
    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        def marker(t):
            return self.b[0] + eta[0] + (self.b[1] + eta[1]) * t

        return {
            "death": mf.hazard(lambda t: self.base + self.alpha * marker(t), subject, "death"),
            "marker": dist.Normal(marker(subject.time), self.sigma),
        }


def told(by_time, by_marker):
    """Landmark predictions, times and markers being multiplied by these."""
    rng = np.random.default_rng(2)
    b = B + rng.multivariate_normal(np.zeros(2), OMEGA, COUNT)
    y = b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((COUNT, TIMES.size))
    died = np.zeros(y.shape)
    died[:4, -1] = [1, 1, 2, 2]
    rows = {"ID": np.repeat(np.arange(COUNT), TIMES.size), "TIME": by_time * np.tile(TIMES, COUNT)}
    frame = pd.DataFrame(rows | {"marker": by_marker * y.ravel(), "death": died.ravel()})
    people = mf.Population.from_frame(frame, y={"marker": "marker", "death": "death"})
    size = np.array([by_marker, by_marker / by_time])
    model = Joint(
        b=jnp.asarray(size * B),
        base=jnp.asarray(-4.0 - np.log(by_time)),
        alpha=jnp.asarray(0.4 / by_marker),
        omega=jnp.asarray(np.outer(size, size) * OMEGA),
        sigma=jnp.asarray(0.5 * by_marker),
    )
    above = {"marker": 4.0 * by_marker}
    return mf.landmark(model, people, at=2.0 * by_time, draws=100, proposed=400, above=above, key=KEY)


@pytest.fixture(scope="module")
def plain():
    return told(1.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("by_time", "by_marker"), [(1e-6, 1e7), (1e7, 1e-6), (365.25, 1e3)])
def test_other_units_predict_the_same(plain, by_time, by_marker):
    """Numbers have the unit of the marker, a density its inverse; an event whose time is known has 1 / time."""
    other = told(by_time, by_marker)
    assert other.remarks == plain.remarks
    for name, unit in (("marker", by_marker), ("death", 1.0)):
        one = plain.predictions[plain.predictions.OUTCOME == name]
        two = other.predictions[other.predictions.OUTCOME == name]
        columns = ["mean", "probability", "brier"]
        np.testing.assert_allclose(two[columns] / [unit, 1, 1], one[columns], rtol=1e-6)
        if name == "marker":
            quantiles = ["q5", "q50", "q95"]
            np.testing.assert_allclose(two[quantiles] / unit, one[quantiles], rtol=1e-6)
            np.testing.assert_allclose(two.place, one.place, rtol=1e-6)
            density = by_marker
        else:
            density = np.where(one.DV == 1, by_time, 1.0)
        np.testing.assert_allclose(two.log_score + np.log(density), one.log_score, rtol=1e-6, atol=1e-6)
    scores = ["auc", "calibration", "cover90"]
    np.testing.assert_allclose(other.table[scores], plain.table[scores], rtol=1e-6)
    np.testing.assert_allclose(other.table.rmse[1] / by_marker, plain.table.rmse[1], rtol=1e-6)
