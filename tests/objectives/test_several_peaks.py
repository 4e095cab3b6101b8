"""People with several peaks at parameters that stand still: every peak that counts is found, and integrated over.

The right values are integrals by SciPy, and one maximum of such integrals.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import integrate, optimize
from scipy.stats import norm

import mefit as mf

KEY = jax.random.key(2)
MEAN, SIGMA = 0.8, 0.5
POINTS = 6001  # steps of 0.001, where the narrowest peak has an SD of 0.01


class Squared(mf.Model):
    """A response whose sign of the random effect is not seen; all in a `unit`."""

    mean: Array = mf.real()
    sigma: Array = mf.positive()
    unit: Array = mf.real()

    def random_effects(self):
        return dist.Normal(self.mean, self.unit).expand([1]).to_event(0)

    def observations(self, eta, subject):
        return dist.Normal(eta[0] ** 2 / self.unit + 0.0 * subject.time, self.sigma)


def model_at(mean=MEAN, sigma=SIGMA, unit=1.0):
    return Squared(mean=jnp.asarray(mean) * unit, sigma=jnp.asarray(sigma) * unit, unit=jnp.asarray(unit))


def people(count=30, unit=1.0, seed=1):
    rng = np.random.default_rng(seed)
    y = rng.normal(MEAN, 1.0, count)[:, None] ** 2 + SIGMA * rng.standard_normal((count, 3))
    number, time = np.indices(y.shape)
    return mf.Population.from_frame(pd.DataFrame({"ID": number.ravel(), "TIME": time.ravel(), "DV": unit * y.ravel()}))


def exact(population, mean, sigma):
    """log L of each person in units of 1."""
    return np.array([np.log(sum(sides)) + top for sides, top in by_side(population, mean, sigma)])


def by_side(population, mean, sigma):
    """Of each person what lies left and right of zero, over the exponential of the second."""
    found = []
    for y in np.asarray(population.subjects.y):

        def log_density(eta, y=y):
            return norm.logpdf(y[:, None], eta**2, sigma).sum(axis=0) + norm.logpdf(eta, mean)

        grids = (np.linspace(-6.0, 0.0, POINTS), np.linspace(0.0, 6.0, POINTS))
        heights = [log_density(grid) for grid in grids]
        top = np.max(heights)
        sides = [integrate.simpson(np.exp(h - top), x=grid) for h, grid in zip(heights, grids, strict=True)]
        found.append((sides, top))
    return found


def test_the_ruler_is_that_of_adaptive_quadrature():
    y = np.asarray(people().subjects.y)[4]

    def density(eta):
        return np.exp(norm.logpdf(y, eta**2, 0.05).sum() + norm.logpdf(eta, MEAN))

    root = np.sqrt(y.mean())
    right = integrate.quad(density, -6.0, 6.0, points=[-root, root], limit=500, epsabs=0.0)[0]
    assert exact(people(), MEAN, 0.05)[4] == pytest.approx(np.log(right), abs=1e-8)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("mean", [0.8, -1.5])
def test_a_log_likelihood_covers_both_peaks(mean, sigma):
    population = people()
    right = exact(population, mean, sigma)
    by_grid = mf.log_likelihood(model_at(mean, sigma), population, mf.AGQ(25), by_subject=True)
    np.testing.assert_allclose(by_grid, right, atol=0.01)  # around one of the peaks it was off by 0.2 and more
    sampling = mf.ImportanceSampling(4000)
    by_draws = mf.log_likelihood(model_at(mean, sigma), population, sampling, key=KEY, by_subject=True)
    np.testing.assert_allclose(by_draws, right, atol=0.1)
    assert np.sum(by_draws) == pytest.approx(np.sum(right), abs=0.3)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("method", [mf.Laplace(), mf.AGQ(9), mf.ImportanceSampling(200)], ids=lambda m: m.label)
def test_units_do_not_matter_to_which_peaks_are_found(method, unit):
    one = mf.log_likelihood(model_at(), people(), method, key=KEY)
    other = mf.log_likelihood(model_at(unit=unit), people(unit=unit), method, key=KEY)
    assert other == pytest.approx(one - 90 * np.log(unit), rel=1e-9)


@pytest.fixture(scope="module")
def maximum():
    """(mean, sigma) and the log-likelihood at its maximum, where the mean is positive."""
    population = people()
    found = optimize.minimize(
        lambda x: -exact(population, np.exp(x[0]), np.exp(x[1])).sum(), np.log([MEAN, SIGMA]), method="Nelder-Mead"
    )
    return np.exp(found.x), -found.fun


@pytest.mark.parametrize(
    ("method", "near"),
    [(mf.AGQ(15), 0.002), (mf.ImportanceSampling(2000), 0.1), (mf.SAEM(), 0.15)],
    ids=["AGQ", "IS", "SAEM"],
)
def test_fits_of_people_with_two_peaks_end_at_the_maximum(maximum, method, near):
    start = model_at(0.5, 1.0)
    fit = mf.fit(start, people(), method, key=KEY, fixed=["unit"], progress=False)
    (mean, sigma), value = maximum
    assert fit.converged
    assert exact(people(), float(fit.model.mean), float(fit.model.sigma)).sum() == pytest.approx(value, abs=near)
    assert float(fit.model.sigma) == pytest.approx(sigma, rel=0.05)
    assert fit.log_likelihood == pytest.approx(value, abs=0.3)
    if not isinstance(method, mf.SAEM):
        assert any("covers them" in remark for remark in fit.remarks)


def test_the_draws_of_one_person_are_on_both_sides_as_often_as_they_should_be():
    population = people()
    drawn = mf.individual(model_at(), population, draws=2000, proposed=8000, key=KEY)
    assert not drawn.remarks
    right = np.array([left / (left + right) for (left, right), _ in by_side(population, MEAN, SIGMA)])
    np.testing.assert_allclose(np.mean(drawn.eta[:, :, 0] < 0, axis=1), right, atol=0.04)


def test_estimates_of_new_people_stand_on_the_side_that_their_law_prefers():
    model = model_at(mean=-0.3)
    eta, _ = mf.empirical_bayes(model, people())
    clear = np.asarray(people().subjects.y).mean(axis=1) > 0.5
    assert np.all(np.asarray(eta)[clear] < 0)


class Square(mf.Model):
    """The signs of all random effects are unseen: 2^K peaks, all the same."""

    effects: int = 2

    def random_effects(self):
        return dist.Normal(0.0, 1.0).expand([self.effects]).to_event(1)

    def observations(self, eta, subject):
        seen = eta[jnp.minimum(subject.time.astype(int), self.effects - 1)]
        return dist.Normal(seen**2, 0.3)


def seen_at_each(y):
    y = np.asarray(y)
    number, time = np.indices(y.shape)
    return mf.Population.from_frame(pd.DataFrame({"ID": number.ravel(), "TIME": time.ravel(), "DV": y.ravel()}))


def log_integral(y):
    """Of one effect that is seen once."""
    grid = np.linspace(-8.0, 8.0, 16001)
    return np.log(integrate.simpson(np.exp(norm.logpdf(y, grid**2, 0.3) + norm.logpdf(grid)), x=grid))


@pytest.mark.parametrize("method", [mf.AGQ(25), mf.ImportanceSampling(4000)], ids=lambda m: m.label)
def test_four_equal_peaks_are_covered(method):
    y = [[1.2, 0.9], [2.0, 1.5]]
    right = [log_integral(a) + log_integral(b) for a, b in y]
    found = mf.log_likelihood(Square(2), seen_at_each(y), method, key=KEY, by_subject=True)
    np.testing.assert_allclose(found, right, atol=0.03)


def test_who_has_more_peaks_than_are_covered_is_refused_and_remarked_on():
    model = Square(3)
    population = seen_at_each([[1.2, 0.9, 1.5]])
    told = r"short, by 0\.[56]\d or more at worst, for subject 0, whose .* more peaks"
    for method in (mf.AGQ(5), mf.ImportanceSampling(400)):
        with pytest.raises(ValueError, match=told):
            mf.log_likelihood(model, population, method, key=KEY)
    (remark,) = mf.individual(model, population, draws=100, key=KEY).remarks
    assert "more peaks than the draws cover" in remark


def test_one_person_missing_rows_and_two_outcomes_have_two_peaks_all_the_same():
    population = people(3)
    y = np.asarray(population.subjects.y)
    rows = [(i, t, "ab"[t == 2], y[i, t] if (i, t) != (1, 0) else np.nan) for i in range(3) for t in range(3)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DVID", "DV"])

    class TwoOutcomes(Squared):
        def observations(self, eta, subject):
            law = super().observations(eta, subject)
            return {"a": law, "b": law}

    model = TwoOutcomes(mean=jnp.asarray(MEAN), sigma=jnp.asarray(SIGMA), unit=jnp.asarray(1.0))
    apart = mf.Population.from_frame(frame)
    whole = mf.log_likelihood(model, apart, mf.AGQ(25), by_subject=True)
    right = exact(population, MEAN, SIGMA)
    np.testing.assert_allclose(whole[[0, 2]], right[[0, 2]], atol=0.01)
    grid = np.linspace(-6.0, 6.0, 12001)
    seen = np.exp(norm.logpdf(y[1, 1:, None], grid**2, SIGMA).sum(axis=0) + norm.logpdf(grid, MEAN))
    assert whole[1] == pytest.approx(np.log(integrate.simpson(seen, x=grid)), abs=0.01)
    alone = mf.log_likelihood(model_at(), population[[0]], mf.AGQ(25))
    assert alone == pytest.approx(right[0], abs=0.01)
