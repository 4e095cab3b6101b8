"""Joint densities with several peaks, far from the start, or with a peak that only a prior holds."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import integrate, optimize, stats

import mefit as mf


class Square(mf.Model):
    """The square of a random effect: its sign is not seen, so that there are two peaks."""

    a: Array = mf.real()
    shift: float = eqx.field(static=True, default=0.0)

    def random_effects(self):
        return dist.Normal(0.0, 1.0)

    def observations(self, eta, subject):
        return dist.Normal((eta + self.shift) ** 2 + self.a + 0.0 * subject.time, 0.3)


def people(values):
    return mf.Population.from_frame(pd.DataFrame({"ID": np.arange(len(values)), "TIME": 0.0, "DV": values}))


def log_joint(eta, y, a, shift):
    return stats.norm(0.0, 1.0).logpdf(eta) + stats.norm((eta + shift) ** 2 + a, 0.3).logpdf(y)


def highest_peak(y, a, shift):
    """Laplace's approximation at the highest of all peaks, seen on a grid and polished."""
    grid = np.linspace(-6.0, 6.0, 2401)
    at = grid[np.argmax(log_joint(grid, y, a, shift))]
    found = optimize.minimize_scalar(lambda e: -log_joint(e, y, a, shift), (at - 0.01, at + 0.01), tol=1e-14)
    e = found.x
    bend = 1.0 + ((2.0 * (e + shift)) ** 2 + 2.0 * ((e + shift) ** 2 + a - y)) / 0.09
    return -found.fun + 0.5 * np.log(2.0 * np.pi) - 0.5 * np.log(bend)


def test_subjects_with_two_peaks_are_counted():
    values = [1.5, 2.0, 0.9, 2.6, -0.2, 1.2]  # with a at 0, two peaks where the response is well above zero
    fit = mf.fit(Square(a=0.0), people(values), mf.Laplace(), progress=False)
    a = float(fit.model.a)
    grid = np.linspace(-4.0, 4.0, 4001)
    several = 0
    for y in values:
        p = log_joint(grid, y, a, 0.0)
        several += np.sum((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])) > 1
    assert 0 < several < len(values)
    assert any(f"found for {several} of 6 subjects" in remark for remark in fit.remarks)


def test_a_better_peak_than_the_first_is_found():
    """ferx-core #891: an inner search that ends on a lesser peak, 20 units of -2 log L away."""
    values = [3.9, 1.6, 3.0, 2.2]
    model = Square(a=0.0, shift=-0.15)  # from the mean a search rolls to the left, and the right is farther
    fit = mf.fit(model, people(values), mf.Laplace(), progress=False)
    a = float(fit.model.a)
    exact = sum(highest_peak(y, a, -0.15) for y in values)
    assert fit.log_likelihood == pytest.approx(exact, abs=1e-6)
    again = mf.log_likelihood(fit.model, fit.population, fit.method)
    assert again == pytest.approx(fit.log_likelihood, abs=1e-9)


@pytest.mark.slow
def test_a_model_with_one_peak_is_not_said_to_have_more(fitted):
    assert not any("peak" in remark for remark in fitted(mf.Laplace()).remarks)


class Counts(mf.Model):
    log_rate: Array = mf.real()

    def random_effects(self):
        return dist.Normal(0.0, 1.0)

    def observations(self, eta, subject):
        return dist.Poisson(jnp.exp(self.log_rate + eta + 0.0 * subject.time))


@pytest.mark.parametrize(("y", "log_rate"), [(183, 0.6), (91, -0.2), (171, 0.6), (0, 3.0)])
def test_a_mode_far_from_the_start(y, log_rate):
    """stan-dev/math #3205: counts far from their rate, where an inner search went astray; by quadrature.

    lme4 #161 and #567: log-likelihoods by one node and by several are on one scale, every constant included.
    """

    def density(eta):
        return stats.norm.pdf(eta) * stats.poisson(np.exp(log_rate + eta)).pmf(y)

    grid = np.linspace(-6.0, 8.0, 20001)
    exact = np.log(integrate.simpson(density(grid), x=grid))
    model = Counts(log_rate=log_rate)
    assert mf.log_likelihood(model, people([float(y)]), mf.AGQ(31)) == pytest.approx(exact, abs=1e-6)
    if y:
        assert mf.log_likelihood(model, people([float(y)]), mf.Laplace()) == pytest.approx(exact, abs=0.01)


# ---------------------------------------------------------------- priors of variances that vanish


class Level(mf.Model):
    """A mean, and a random intercept whose SD has a prior."""

    mu: Array = mf.real()
    omega: Array = mf.positive(prior=dist.LogNormal(0.0, 1.0))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.mu + eta + 0.0 * subject.time, self.sigma)


class Peaked(Level):
    omega: Array = mf.positive(prior=dist.InverseGamma(0.001, 0.001))


@pytest.fixture(scope="module")
def alike():
    """People whose means differ less than chance would have it: the likelihood is highest at omega = 0."""
    y = np.array([[1.0, 3.0, 2.0], [2.9, 1.1, 2.0], [2.0, 0.7, 3.2], [3.1, 2.0, 0.9], [1.9, 3.0, 1.2]])
    rows = [(who, t, y[who, t]) for who in range(5) for t in range(3)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


def test_a_variance_that_only_its_prior_holds(alike):
    start = dict(mu=2.0, omega=1.0, sigma=1.0)
    fit = mf.fit(Peaked(**start), alike, mf.Laplace(), progress=False)
    assert fit.ending is mf.Ending.BOUNDARY
    assert float(fit.model.omega) == pytest.approx(0.001 / 1.001, rel=1e-3)  # the mode of its prior
    assert any("omega is at its boundary, 0, for all that the data tell" in remark for remark in fit.remarks)
    y = np.asarray(alike.subjects.y)
    assert float(fit.model.sigma) == pytest.approx(np.std(y), rel=1e-4)  # as without random effects
    joint = mf.fit(Level(**start), alike, mf.JointMAP(), progress=False)
    assert joint.ending is mf.Ending.DEGENERATE and not joint.converged
    assert "a degenerate maximum: the joint density climbs as omega goes to 0" in joint.message
    assert float(joint.model.omega) == pytest.approx(np.exp(-(len(alike) + 1.0)), rel=0.02)  # -N log w and its prior
    assert "NOT CONVERGED: a degenerate maximum" in str(joint)


def test_a_prior_that_keeps_a_variance_away_from_zero_is_no_boundary(alike):
    fit = mf.fit(Level(mu=2.0, omega=1.0, sigma=1.0), alike, mf.Laplace(), progress=False)
    y = np.asarray(alike.subjects.y)

    def loss(x):
        omega, sigma = np.exp(x)
        cov = omega**2 * np.ones((3, 3)) + sigma**2 * np.eye(3)
        log_p = stats.multivariate_normal(np.full(3, y.mean()), cov).logpdf(y).sum()
        return -log_p - stats.lognorm(1.0).logpdf(omega)

    exact = optimize.minimize(loss, [-1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert fit.ending is mf.Ending.CONVERGED
    assert float(fit.model.omega) == pytest.approx(np.exp(exact.x[0]), rel=1e-4)


class Wave(mf.Model):
    """A wave whose phase is a person's own: any peak of a density comes again a period later."""

    rate: Array = mf.positive()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(jnp.sin(self.rate * subject.time + eta), 0.2)


def test_a_fit_that_is_stuck_says_so_of_people_with_several_peaks():
    """Where modes jump from peak to peak the objective is broken, and its maximiser may find no way up."""
    rng = np.random.default_rng(2)
    time = np.linspace(0.0, 3.0, 6)
    y = np.sin(2.0 * time + rng.normal(0.0, 1.5, 12)[:, None]) + 0.2 * rng.standard_normal((12, 6))
    rows = pd.DataFrame({"ID": np.repeat(np.arange(12), 6), "TIME": np.tile(time, 12), "DV": y.ravel()})
    model = Wave(rate=jnp.asarray(1.5), omega=jnp.asarray(1.0))
    fit = mf.fit(model, mf.Population.from_frame(rows), mf.Laplace(), progress=False)
    assert any("more than one peak" in remark for remark in fit.remarks)
