"""A published listing's loss, faithfully: what it is up to a factor, when it collapses, and what the bound does."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from workshop.studies import wrong_autoencoder as study
from workshop.studies.collapse import elbow


def test_the_loss_is_minus_a_bound_with_a_noise_that_nobody_chose():
    rng = np.random.default_rng(0)
    batch, times, latent = 5, 7, 3
    target, recon = rng.normal(size=(2, batch, times))
    mu, logvar = rng.normal(size=(2, batch, latent))
    v = study.implied_variance(batch, times)
    squares = np.sum((recon - target) ** 2)
    kl = float(np.sum(dist.kl_divergence(dist.Normal(mu, np.exp(0.5 * logvar)), dist.Normal(np.zeros_like(mu), 1.0))))
    assert v == pytest.approx(0.05 * batch * times)
    loss = float(study.mean_and_sum(recon, target, mu, logvar))
    assert loss == pytest.approx(squares / (batch * times) + 0.1 * kl, rel=1e-12)
    assert loss * batch * times / (2 * v) == pytest.approx(squares / (2 * v) + kl, rel=1e-12)
    sigma = 0.4
    cells = dist.Normal(recon, sigma).log_prob(target).sum()
    bound = study.minus_bound(recon, target, mu, logvar, jnp.log(sigma))
    assert float(bound) == pytest.approx(float(kl - cells) / batch, rel=1e-12)


def test_its_data_have_the_eigenvalues_that_were_measured():
    """Of 24 times: 17.2, 4.0, .78, .31 were measured apart, on 500 people."""
    largest = study.eigenvalues(study.simulate(20_000, seed=9))[:4]
    np.testing.assert_allclose(largest[:2], [17.2, 4.0], rtol=0.06)
    np.testing.assert_allclose(largest[2:], [0.78, 0.31], rtol=0.25)


@pytest.mark.slow
def test_the_sizes_are_the_listings():
    net = study.PKVAE(jax.random.key(0), hidden=study.LISTED)
    shapes = [layer.weight.shape for layer in (*net.encoder.layers, *net.decoder.layers)]
    assert shapes == [(64, 27), (32, 64), (16, 32), (32, 9), (64, 32), (24, 64)]


def collapsed(found):
    return found.divergence.sum() < 0.01 and found.r2 < 0.02


def learned(found):
    return found.active == 3 and found.r2 > 0.9


def test_the_mean_of_squares_collapses_and_the_bound_does_not():
    assert collapsed(study.train(study.MEAN_AND_SUM))
    good = study.train(study.BOUND)
    assert learned(good), good
    assert 0.2 < good.sigma < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_so_it_is_from_every_start(seed):
    wrong = study.train(study.MEAN_AND_SUM, seed=seed)
    good = study.train(study.BOUND, seed=seed)
    print(f"seed {seed}: R2 {wrong.r2:.3f}, {good.r2:.3f}; KL {wrong.divergence.sum():.4f}, {good.divergence.round(3)}")
    assert collapsed(wrong) and learned(good)


LISTING = {"people": 500, "times": 24, "latent_dim": 8, "hidden": study.LISTED, "steps": 2000, "rate": 3e-3}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_listing_itself_collapses_at_batches_of_32(seed):
    wrong = study.train(study.MEAN_AND_SUM, seed=seed, **LISTING)
    print(f"listing, seed {seed}: R2 {wrong.r2:.3f}, KL {wrong.divergence.sum():.5f}")
    assert collapsed(wrong)


@pytest.mark.slow
def test_the_size_of_a_batch_decides_as_the_theory_says():
    """A linear decoder keeps a dimension up to batches of 2 l / (beta T), 14.3 at l = 17.2, its KL 1/2 log(l / v)."""
    largest = study.eigenvalues(study.simulate(20_000, seed=9))[0]
    edge = 2 * largest / (study.BETA * study.TIMES.size)
    assert edge == pytest.approx(14.3, abs=0.5)
    for batch in (2, 4, 8, 12, 16, 20, 32):
        found = study.train(study.MEAN_AND_SUM, batch=batch, **LISTING)
        theory = float(elbow(largest, np.sqrt(study.implied_variance(batch))))
        print(f"batch {batch}: R2 {found.r2:.3f}, largest KL {found.divergence[0]:.3f}, linear theory {theory:.3f}")
        assert (theory > 0.0) == (batch < edge)
        if batch > edge:
            assert collapsed(found)
        if batch <= 4:
            assert found.divergence[0] == pytest.approx(theory, rel=0.5)
            assert found.r2 > 0.4
