"""Each subject left out, and random starts: against refits, closed forms and a likelihood with two equal maxima."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Means, theophylline_model

import mefit as mf

# ---------------------------------------------------------------- influence


@pytest.fixture(scope="module")
def deleted(fitted):
    return mf.influence(fitted(mf.Laplace()))


def without(population, i):
    return population[[k for k in range(len(population)) if k != i]]


def test_a_step_goes_where_refits_go_on_theophylline(fitted, deleted):
    """All twelve refits in one program, and two by an ordinary fit of the eleven others."""
    fit = fitted(mf.Laplace())
    refits = mf.influence(fit, refit=True)
    light = (refits.table.cook < 1.0).to_numpy()
    assert light.sum() >= 6
    np.testing.assert_allclose(deleted.shifts[light], refits.shifts[light], atol=0.35)
    assert np.corrcoef(deleted.shifts.to_numpy().ravel(), refits.shifts.to_numpy().ravel())[0, 1] > 0.95
    for i in (0, int(np.argmax(refits.table.cook))):
        alone = mf.fit(fit.model, without(fit.population, i), mf.Laplace(), progress=False)
        labels = list(refits.estimates)
        np.testing.assert_allclose(alone.table.estimate[labels], refits.estimates.iloc[i], rtol=2e-3)


def test_of_a_mean_the_step_is_exact():
    """y_i ~ N(mu, 2) of one row each with the variances fixed: without i the mean is that of the others, and the step
    of Newton, on a parabola, is exact."""
    rng = np.random.default_rng(2)
    y = rng.normal(3.0, 1.4, 15)
    subjects = [mf.Subject(time=jnp.zeros(1), y=jnp.array([v]), mask=jnp.ones(1, bool)) for v in y]
    population = mf.Population.from_subjects(subjects)
    fit = mf.fit(Means(mu=2.0, omega=1.0, sigma=1.0), population, mf.FO(), fixed=("omega", "sigma"), progress=False)
    found = mf.influence(fit)
    others = (y.sum() - y) / 14
    np.testing.assert_allclose(found.estimates["mu"], others, atol=1e-5)
    np.testing.assert_allclose(found.table.cook, np.abs(others - y.mean()) / np.sqrt(2.0 / 15), rtol=1e-3)
    np.testing.assert_allclose(found.table.covariance_ratio, np.sqrt(15 / 14), rtol=1e-5)


def test_units_change_no_score(fitted, deleted, theophylline):
    fit = fitted(mf.Laplace())
    large = theophylline.with_responses(1000.0 * theophylline.subjects.y)
    amount = 1000.0 * theophylline.subjects.doses.amount
    scaled = eqx.tree_at(lambda people: people.subjects.doses.amount, large, amount)
    again = mf.influence(mf.fit(theophylline_model(sigma=700.0), scaled, mf.Laplace(), progress=False))
    assert again.table.cook.to_numpy() == pytest.approx(deleted.table.cook.to_numpy(), rel=0.02)
    assert len(fit.population) == len(again.table)


def test_a_fit_without_a_likelihood_is_refused(fitted):
    with pytest.raises(ValueError, match="maximises no likelihood"):
        mf.influence(fitted(mf.TwoStage()))


# ---------------------------------------------------------------- starts


class Flip(mf.Model):
    """One compartment by mouth, everyone alike: exchanging the two rates, with V in proportion, changes nothing."""

    ka: Array = mf.positive()
    ke: Array = mf.positive()
    f: Array = mf.positive()  # dose times ka / V, so that y = f (e^{-ke t} - e^{-ka t}) / (ka - ke)
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        t = subject.time
        gap = self.ka - self.ke
        small = jnp.abs(gap) < 1e-6
        safe = jnp.where(small, 1.0, gap)
        curve = jnp.where(small, t * jnp.exp(-self.ke * t), (jnp.exp(-self.ke * t) - jnp.exp(-self.ka * t)) / safe)
        return dist.Normal(self.f * curve, self.sigma)


@pytest.fixture(scope="module")
def flip_population():
    times = jnp.array([0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0])
    subject = mf.Subject(time=times, y=jnp.zeros(8), mask=jnp.ones(8, bool))
    truth = Flip(ka=1.5, ke=0.2, f=10.0, sigma=0.2)
    return mf.simulate(truth, mf.Population.from_subjects([subject] * 6), jax.random.key(4))


def test_two_places_that_fit_alike_are_both_named(flip_population):
    start = Flip(ka=1.0, ke=0.4, f=8.0, sigma=0.4)
    found = mf.starts(start, flip_population, mf.NaivePooled(), 12, key=jax.random.key(1), progress=False)
    ended = found.table[found.table.ended & (found.table.delta < 0.02)]
    rates = np.sort(ended[["ka", "ke"]].to_numpy(), axis=1)
    np.testing.assert_allclose(rates, np.broadcast_to(rates[0], rates.shape), rtol=1e-2)
    assert (ended.ka > ended.ke).any() and (ended.ka < ended.ke).any()
    assert "2 places fit alike, and the data do not tell them apart" in str(found)
    assert found.share == pytest.approx(np.mean(found.table.delta <= 0.02))
    direct = mf.fit(start, flip_population, mf.NaivePooled(), progress=False)
    assert found.fit.log_likelihood == pytest.approx(direct.log_likelihood, abs=1e-3)


@pytest.mark.slow
def test_starts_of_a_sound_model_arrive_and_one_by_one_they_arrive_there_too(flip_population):
    """People do not differ here, so that the SD goes to nothing, from each start by its own way: one place."""
    y = np.asarray(flip_population.subjects.y)
    start = Means(mu=1.0, omega=0.5, sigma=1.0)
    found = mf.starts(start, flip_population, mf.FO(), 6, key=jax.random.key(2), progress=False)
    assert found.share == 1.0 and found.table.place.nunique() == 1
    np.testing.assert_allclose(found.table.mu, y.mean(), rtol=1e-3)  # balanced: the mean of all
    slowly = mf.starts(start, flip_population, mf.TwoStage(), 2, key=jax.random.key(2), progress=False)
    np.testing.assert_allclose(slowly.table.mu, y.mean(), rtol=1e-3)


def test_what_starts_cannot_do_is_refused(flip_population):
    start = Means(mu=1.0, omega=0.5, sigma=1.0)
    with pytest.raises(ValueError, match="two or more starts and a positive spread"):
        mf.starts(start, flip_population, mf.FO(), 1, key=jax.random.key(2))
    with pytest.raises(ValueError, match="key"):
        mf.starts(start, flip_population, mf.FO(), 3)
