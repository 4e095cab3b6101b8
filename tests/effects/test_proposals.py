"""A trained encoder as a proposal: the posterior stays what it is, and SAEM ends where it ends without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import Line

import mefit as mf
from mefit.base.compiling import compiled
from mefit.effects.kernels import Target, sweep

TIMES = np.arange(5.0)


def growth(count=150, seed=2):
    rng = np.random.default_rng(seed)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.3]], count)
    y = b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((count, 5))
    subjects = [mf.Subject(time=TIMES, y=row, mask=np.ones(5, bool)) for row in y]
    return mf.Population.from_subjects(subjects)


@pytest.fixture(scope="module")
def people():
    return growth()


@pytest.fixture(scope="module")
def trained(people):
    start = Line(beta=jnp.array([1.0, 0.0]), omega=jnp.eye(2), sigma=1.0)
    encoder = mf.networks.Encoder(people, effects=2, hidden=(8,))
    method = mf.Adam(mf.Amortised(encoder, samples=200), steps=1000, learning_rate=0.02, batch=50)
    return mf.fit(start, people, method, key=jax.random.key(3), progress=False)


def posterior(model, y):
    """Mean (N, 2) and covariance of eta given y, by linear regression."""
    design = np.column_stack([np.ones(5), TIMES])
    noise = float(model.sigma) ** 2
    covariance = np.linalg.inv(np.linalg.inv(np.asarray(model.omega)) + design.T @ design / noise)
    return (y - design @ np.asarray(model.beta)) @ design @ covariance / noise, covariance


@pytest.mark.slow
@pytest.mark.parametrize(("freedom", "sigma"), [(10.0, 0.6), (np.inf, 0.42)])
def test_the_posterior_stays_what_it_is(trained, people, freedom, sigma):
    """At another theta than that of the training, where the encoder is wrong about everybody. A Gaussian proposal is
    tried where the posterior is narrower than the encoder thinks: where it is wider, chains stick in its tails."""
    model = Line(beta=jnp.array([2.1, 0.45]), omega=jnp.array([[1.2, 0.0], [0.0, 0.5]]), sigma=sigma)
    kernel = mf.EncoderProposal(trained.encoder, degrees_of_freedom=freedom)
    some = people[np.arange(10)]

    @compiled
    def sample(kernel, model, subjects, key):
        target = Target(model, subjects)

        def one(carry, key):
            eta, _, tuning, taken = sweep((kernel,), key, target, *carry, jnp.zeros(()))
            return (eta, tuning), (jnp.mean(eta, 0), jnp.einsum("cna,cnb->nab", eta, eta) / 40, taken)

        begin = (jnp.zeros((40, 10, 2)), (kernel.init(model, 10),))
        return jax.lax.scan(one, begin, jax.random.split(key, 600))[1]

    mean, square, taken = (np.asarray(x)[50:].mean(0) for x in sample(kernel, model, some.subjects, jax.random.key(5)))
    expected, covariance = posterior(model, np.asarray(some.subjects.y))
    sd = np.sqrt(np.diagonal(covariance))
    assert 0.4 < taken[0] < 0.97
    np.testing.assert_allclose(mean / sd, expected / sd, atol=0.06)
    spread = square - mean[:, :, None] * mean[:, None, :]
    np.testing.assert_allclose(spread / np.outer(sd, sd), np.tile(covariance / np.outer(sd, sd), (10, 1, 1)), atol=0.08)


@pytest.mark.slow
def test_saem_ends_where_it_ends_by_its_own_kernels(trained, people):
    """And where the likelihood, which is exact by Laplace here, is highest."""
    kernels = (mf.EncoderProposal(trained.encoder), mf.RandomWalk(steps=1))
    method = mf.SAEM(kernels=kernels, likelihood_by=mf.Laplace())
    by_encoder = mf.fit(trained.model, people, method, key=jax.random.key(1), progress=False)
    default = mf.SAEM(likelihood_by=mf.Laplace())
    by_default = mf.fit(trained.model, people, default, key=jax.random.key(1), progress=False)
    best = mf.fit(trained.model, people, mf.Laplace(), progress=False)
    assert by_encoder.converged
    assert best.log_likelihood - 0.02 < by_encoder.log_likelihood <= best.log_likelihood + 1e-6
    assert by_encoder.log_likelihood == pytest.approx(by_default.log_likelihood, abs=0.02)
    se = best.table.se
    assert np.all(np.abs(by_encoder.table.estimate - best.table.estimate) < 0.1 * se)
    assert np.all(np.abs(by_encoder.table.estimate - by_default.table.estimate) < 0.15 * se)
    assert by_encoder.saem.acceptance["encoder"].iloc[-100:].mean() > 0.8


@pytest.mark.slow
def test_draws_of_a_fit_by_its_encoder(trained, people):
    kernels = (mf.EncoderProposal(trained.encoder), mf.RandomWalk(steps=1))
    draws = mf.conditional_draws(trained, 400, kernels=kernels, key=jax.random.key(1))
    mean, covariance = posterior(trained.model, np.asarray(people.subjects.y))
    sd = np.sqrt(np.diagonal(covariance))
    away = (draws.mean(1) - mean) / sd
    assert np.sqrt(np.mean(away**2)) < 0.1  # 1 / sqrt 400, were they independent
    np.testing.assert_allclose(draws.std(1).mean(0) / sd, 1.0, atol=0.03)


def test_an_encoder_that_cannot_serve_is_refused(people):
    model = Line(beta=jnp.array([2.0, 0.5]), omega=jnp.eye(2), sigma=0.5)
    three = mf.EncoderProposal(mf.networks.Encoder(people, effects=3))
    with pytest.raises(ValueError, match="answers for 3 random effects, and Line has 2"):
        mf.fit(model, people, mf.SAEM(kernels=(three,)), key=jax.random.key(0), progress=False)
    shifted = [mf.Subject(time=TIMES + 0.5, y=np.zeros(5), mask=np.ones(5, bool))]
    elsewhere = mf.EncoderProposal(mf.networks.Encoder(mf.Population.from_subjects(shifted), effects=2))
    with pytest.raises(ValueError, match="which is none of them"):
        mf.fit(model, people, mf.SAEM(kernels=(elsewhere,)), key=jax.random.key(0), progress=False)
