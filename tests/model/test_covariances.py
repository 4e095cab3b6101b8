"""The covariance of the law of the random effects: against closed forms, or refused."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from numpyro.distributions.transforms import ExpTransform

import mefit as mf
from mefit.model.covariances import joint_covariance
from mefit.model.densities import eta_cov

SIGMA = np.array([[2.0, 0.3], [0.3, 1.0]])
OTHER = np.array([[1.0, -0.4], [-0.4, 3.0]])
MEANS = np.array([[1.0, 2.0], [-2.0, 0.5]])
SHARES = np.array([0.3, 0.7])


def total(shares, means, covariances):
    """E[Cov] + Cov[E], written out."""
    middle = shares @ means
    parts = [w * (c + np.outer(m - middle, m - middle)) for w, m, c in zip(shares, means, covariances, strict=True)]
    return np.sum(parts, axis=0)


def blocks(*matrices):
    size = sum(len(m) for m in matrices)
    whole, begin = np.zeros((size, size)), 0
    for m in matrices:
        whole[begin : begin + len(m), begin : begin + len(m)] = m
        begin += len(m)
    return whole


CASES = {
    "one Normal": (dist.Normal(1.0, 3.0), [[9.0]]),
    "none": (dist.Normal(jnp.zeros(0), 1.0), np.zeros((0, 0))),
    "Normals": (dist.Normal(jnp.zeros(2), jnp.array([1.0, 2.0])), np.diag([1.0, 4.0])),
    "Normals, as one event": (dist.Normal(0.0, 2.0).expand([3]).to_event(1), 4.0 * np.eye(3)),
    "Student's t, independent": (dist.StudentT(5.0, jnp.zeros(2), 3.0), 15.0 * np.eye(2)),
    "without a variance": (dist.StudentT(1.5, jnp.zeros(2), 1.0), np.diag([np.inf, np.inf])),
    "MultivariateNormal": (dist.MultivariateNormal(jnp.zeros(2), jnp.asarray(SIGMA)), SIGMA),
    "two of them": (
        dist.MultivariateNormal(jnp.zeros(2), jnp.stack([jnp.asarray(SIGMA), jnp.asarray(OTHER)])),
        blocks(SIGMA, OTHER),
    ),
    "the same twice, as one event": (
        dist.MultivariateNormal(jnp.zeros(2), jnp.asarray(SIGMA)).expand([2]).to_event(1),
        blocks(SIGMA, SIGMA),
    ),
    "LowRankMultivariateNormal": (
        dist.LowRankMultivariateNormal(jnp.zeros(2), jnp.array([[1.0], [2.0]]), jnp.array([0.5, 0.25])),
        [[1.5, 2.0], [2.0, 4.25]],
    ),
    "MultivariateStudentT": (
        dist.MultivariateStudentT(6.0, jnp.zeros(2), jnp.asarray(np.linalg.cholesky(SIGMA))),
        1.5 * SIGMA,
    ),
    "mixture of equal covariances": (
        dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.array([0.5, 0.5])),
            dist.MultivariateNormal(jnp.array([[2.0, 2.0], [-2.0, -2.0]]), jnp.array([[1.0, 0.9], [0.9, 1.0]])).expand(
                [2]
            ),
        ),
        [[5.0, 4.9], [4.9, 5.0]],
    ),
    "mixture of one family": (
        dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.asarray(SHARES)),
            dist.MultivariateNormal(jnp.asarray(MEANS), jnp.stack([jnp.asarray(SIGMA), jnp.asarray(OTHER)])),
        ),
        total(SHARES, MEANS, [SIGMA, OTHER]),
    ),
    "mixture of independent laws": (
        dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.asarray(SHARES)), dist.Normal(jnp.asarray(MEANS), 2.0).to_event(1)
        ),
        total(SHARES, MEANS, [4.0 * np.eye(2)] * 2),
    ),
    "mixture of two families": (
        dist.MixtureGeneral(
            dist.Categorical(probs=jnp.asarray(SHARES)),
            [
                dist.MultivariateNormal(jnp.asarray(MEANS[0]), jnp.asarray(SIGMA)),
                dist.Laplace(jnp.asarray(MEANS[1]), 1.0).to_event(1),
            ],
            support=dist.constraints.real_vector,
        ),
        total(SHARES, MEANS, [SIGMA, 2.0 * np.eye(2)]),
    ),
    "mixtures, one a random effect": (
        dist.MixtureSameFamily(dist.Categorical(probs=jnp.asarray(SHARES)), dist.Normal(jnp.asarray(MEANS), 1.0)),
        np.diag([total(SHARES, m[:, None], [np.eye(1)] * 2)[0, 0] for m in MEANS]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_covariance_is_exact(name):
    law, exact = CASES[name]
    np.testing.assert_allclose(joint_covariance(law, "M.random_effects"), exact, rtol=1e-12)


class TwoPeaks(mf.Model):
    spread: Array = mf.positive()

    def random_effects(self):
        means = self.spread * jnp.array([[1.0, 1.0], [-1.0, -1.0]])
        part = dist.MultivariateNormal(means, jnp.array([[1.0, 0.9], [0.9, 1.0]]))
        return dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.5, 0.5])), part)

    def observations(self, eta, subject):
        return dist.Normal(eta[0], 1.0)


def test_the_covariance_of_a_model_is_that_of_its_law():
    np.testing.assert_allclose(eta_cov(TwoPeaks(spread=2.0)), [[5.0, 4.9], [4.9, 5.0]], rtol=1e-12)


def test_what_has_no_closed_form_is_refused():
    log_normal = dist.TransformedDistribution(dist.MultivariateNormal(jnp.zeros(2), jnp.asarray(SIGMA)), ExpTransform())
    for law in (log_normal, dist.Dirichlet(jnp.ones(3)), dist.GaussianRandomWalk(1.0, num_steps=3)):
        with pytest.raises(ValueError, match="M.random_effects returns .*, whose covariance is not known"):
            joint_covariance(law, "M.random_effects")
