"""What covariates say of an encoder's latents, against least squares on each person's mean."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import mefit as mf

LOAD = 2.0
ERROR = 0.4
TIMES = np.arange(6.0)


class Level(mf.Model):
    """One latent, which moves a person's level."""

    load: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.load * eta[0] + 0.0 * subject.time, self.sigma)


@pytest.mark.slow
def test_covariates_are_found_in_the_latents_of_an_encoder():
    """Latents 0.8 w + 0.6 e of a weight w, with an age that says nothing.

    Of balanced data the maximum over line and spread is known: the line is that of least squares on the means of
    persons, over the load, and the spread is what is left of their variance beyond that of the mean's error.
    """
    rng = np.random.default_rng(3)
    covariates = rng.standard_normal((120, 2))
    latent = 0.8 * covariates[:, 0] + 0.6 * rng.standard_normal(120)
    y = LOAD * latent[:, None] + ERROR * rng.standard_normal((120, TIMES.size))
    subjects = [
        mf.Subject(TIMES, row, TIMES >= 0, covariates={"weight": weight, "age": age})
        for row, (weight, age) in zip(y, covariates, strict=True)
    ]
    people = mf.Population.from_subjects(subjects)
    method = mf.Adam(mf.Amortised(samples=50), steps=400, learning_rate=1e-2, block=100)
    model = Level(load=jnp.asarray(LOAD), sigma=jnp.asarray(ERROR))
    key = jax.random.key(1)
    fit = mf.fit(model, people, method, fixed=("load", "sigma"), key=key, progress=False)
    flat = mf.networks.L2(1e-6)
    learned = mf.learn_effects(fit, mf.networks.MLP(2, ()), ["weight", "age"], prior=flat, progress=False).model

    design = np.column_stack([covariates, np.ones(120)])
    line, squares, *_ = np.linalg.lstsq(design, y.mean(axis=1) / LOAD, rcond=None)
    found = np.array([float(learned.network(row)) for row in np.vstack([np.eye(2), np.zeros(2)])])
    np.testing.assert_allclose(np.append(found[:2] - found[2], found[2]), line, atol=0.03)
    left = squares[0] / 120 - ERROR**2 / (LOAD**2 * TIMES.size)
    assert float(learned.omega[0, 0]) == pytest.approx(left, rel=0.08)
    carried = mf.permutation_importance(learned.network, covariates, key)[:, 0]
    assert carried[0] > 0.95 and carried[1] < 0.05
