"""Hazards along a person's own curve, against closed forms; and a joint model of a marker and a time to event."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.integrate import quad

import mefit as mf
from mefit.model.views import seen_through

TIMES = np.array([0.5, 1.0, 2.5, 4.0])


def subject_at(time, seen=None):
    seen = np.ones(len(time), bool) if seen is None else np.asarray(seen)
    return mf.Subject(time=np.asarray(time), y=np.zeros(len(time)), mask=seen)


@pytest.mark.parametrize("shape", [0.5, 0.8, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_a_weibull_hazard(shape, unit):
    """H(t) = (t / scale)^shape: from the start to the first row, and between rows."""
    scale = 3.0 * unit

    def log_hazard(t):
        return jnp.log(shape / scale) + (shape - 1.0) * jnp.log(t / scale)

    event = mf.hazard(log_hazard, subject_at(TIMES * unit))
    expected = np.diff((TIMES / 3.0) ** shape, prepend=0.0)
    np.testing.assert_allclose(event.cumulative_hazard, expected, rtol=2e-5)
    np.testing.assert_allclose(event.log_hazard, log_hazard(TIMES * unit), rtol=1e-12)


def test_a_gompertz_hazard_that_follows_a_straight_line():
    """log h = a + c t + alpha (b0 + b1 t): H = exp(a + alpha b0) (exp(k t) - 1) / k, k = c + alpha b1."""
    a, c, alpha, b0, b1 = -2.0, 0.1, 0.6, 1.3, 0.4

    def log_hazard(t):
        return a + c * t + alpha * (b0 + b1 * t)

    k = c + alpha * b1
    whole = np.exp(a + alpha * b0) * np.expm1(k * TIMES) / k
    event = mf.hazard(log_hazard, subject_at(TIMES))
    np.testing.assert_allclose(event.cumulative_hazard, np.diff(whole, prepend=0.0), rtol=1e-10)
    # watched from a later time on, as in late entry
    late = mf.hazard(log_hazard, subject_at(TIMES), start=0.25)
    first = np.exp(a + alpha * b0) * (np.exp(k * 0.5) - np.exp(k * 0.25)) / k
    np.testing.assert_allclose(late.cumulative_hazard[0], first, rtol=1e-10)


def test_time_is_counted_from_the_last_row_at_which_it_was_seen():
    def log_hazard(t):
        return jnp.log(2.0 * t)  # H(t) = t^2

    seen = [False, True, False, True]
    event = mf.hazard(log_hazard, subject_at(TIMES, seen))
    np.testing.assert_allclose(event.cumulative_hazard, [0.25, 1.0, 2.5**2 - 1.0, 15.0], rtol=1e-10)
    order = np.array([3, 1, 0, 2])
    turned = mf.hazard(log_hazard, subject_at(TIMES[order], np.array(seen)[order]))
    np.testing.assert_allclose(turned.cumulative_hazard, event.cumulative_hazard[order], rtol=1e-12)
    padded = mf.hazard(log_hazard, subject_at([*TIMES, 4.0, 4.0], [*seen, False, False]))
    np.testing.assert_allclose(padded.cumulative_hazard[:4], event.cumulative_hazard, rtol=1e-12)
    np.testing.assert_allclose(padded.cumulative_hazard[4:], 0.0)


def test_a_row_at_the_start_tells_nothing_and_spoils_no_derivative():
    def total(shape):
        event = mf.hazard(lambda t: jnp.log(shape) + (shape - 1.0) * jnp.log(t), subject_at([0.0, 2.0]))
        return jnp.sum(event.log_prob(jnp.array([0, 1])))

    value, slope = jax.value_and_grad(total)(0.7)
    assert float(value) == pytest.approx(np.log(0.7) - 0.3 * np.log(2.0) - 2.0**0.7, rel=1e-6)
    assert float(slope) == pytest.approx(1 / 0.7 + np.log(2.0) - np.log(2.0) * 2.0**0.7, rel=1e-4)
    event = mf.hazard(lambda t: 0.3, subject_at([0.0, 2.0]))
    np.testing.assert_allclose(event.cumulative_hazard, [0.0, 2.0 * np.exp(0.3)], rtol=1e-12)
    assert np.isneginf(event.log_prob(jnp.array([1, 0]))[0])


def test_what_cannot_be():
    with pytest.raises(ValueError, match="one or more"):
        mf.hazard(lambda t: t, subject_at(TIMES), nodes=0)
    with pytest.raises(ValueError, match="'death', and the data have one outcome without a name"):
        mf.hazard(lambda t: t, subject_at(TIMES), "death")
    with pytest.raises(ValueError, match="one number for each time"):
        mf.hazard(lambda t: jnp.zeros((2, 2)), subject_at(TIMES))


class Joint(mf.Model):
    """A marker that goes along a straight line of one's own, and a hazard that follows its current value."""

    line: Array = mf.real()
    spread: Array = mf.positive()
    sigma: Array = mf.positive()
    base: Array = mf.real()
    alpha: Array = mf.real()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), self.spread)

    def observations(self, eta, subject):
        def marker(t):
            return self.line[0] + eta[0] + (self.line[1] + eta[1]) * t

        death = mf.hazard(lambda t: self.base + self.alpha * marker(t), subject, "death")
        return {"marker": dist.Normal(marker(subject.time), self.sigma), "death": death}


TRUTH = {"line": [1.0, 0.5], "spread": [0.6, 0.3], "sigma": 0.4, "base": -3.5, "alpha": 0.8}
VISITS = np.arange(0.0, 6.0)


def joint_data(count, seed):
    """Visits each year until the event, or six years; its time by inverting the closed-form cumulative hazard."""
    rng = np.random.default_rng(seed)
    rows = []
    for who in range(count):
        b0, b1 = np.array(TRUTH["line"]) + rng.normal(0, TRUTH["spread"])
        k = TRUTH["alpha"] * b1
        reached = 1.0 + k * rng.exponential() / np.exp(TRUTH["base"] + TRUTH["alpha"] * b0)
        time = np.log(reached) / k if reached > 0 else np.inf
        end = min(time, 6.0)
        for t in VISITS[VISITS < end]:
            rows.append((who, t, b0 + b1 * t + TRUTH["sigma"] * rng.normal(), 0.0))
        rows.append((who, end, np.nan, float(time < 6.0)))
    return pd.DataFrame(rows, columns=["ID", "TIME", "marker", "death"])


def population_of(frame):
    return mf.Population.from_frame(frame, y={"marker": "marker", "death": "death"})


def at_truth():
    return Joint(**{name: jnp.asarray(value) for name, value in TRUTH.items()})


def test_the_likelihood_of_a_joint_model_is_the_integral_over_its_line():
    frame = joint_data(2, seed=4)
    value = mf.log_likelihood(at_truth(), population_of(frame), mf.AGQ(nodes=25), by_subject=True)
    for who, part in frame.groupby("ID"):
        seen = part.dropna()
        end, died = part.TIME.iloc[-1], part.death.iloc[-1]

        def integrand(e1, e0, seen=seen, end=end, died=died):
            b0, b1 = TRUTH["line"][0] + e0, TRUTH["line"][1] + e1
            k = TRUTH["alpha"] * b1
            whole = np.exp(TRUTH["base"] + TRUTH["alpha"] * b0) * (np.expm1(k * end) / k if k else end)
            log_p = died * (TRUTH["base"] + TRUTH["alpha"] * (b0 + b1 * end)) - whole
            away = (seen.marker - b0 - b1 * seen.TIME) / TRUTH["sigma"]
            log_p += -0.5 * np.sum(away**2) - len(seen) * np.log(TRUTH["sigma"] * np.sqrt(2 * np.pi))
            log_p += -0.5 * (e0 / 0.6) ** 2 - 0.5 * (e1 / 0.3) ** 2 - np.log(0.6 * 0.3 * 2 * np.pi)
            return np.exp(log_p)

        grid0, weight0 = np.polynomial.legendre.leggauss(120)
        total = sum(
            w * 3.0 * quad(integrand, -1.6, 1.6, args=(3.0 * g,))[0] for g, w in zip(grid0, weight0, strict=True)
        )
        assert float(value[who]) == pytest.approx(np.log(total), abs=1e-5)


@pytest.mark.slow
def test_a_joint_model_from_a_description():
    """Its hazard is exp(a + k t) where the basis is a straight line: Gompertz's, by shared random effects."""
    population = population_of(joint_data(30, seed=2))
    outcomes = {"marker": mf.families.Gaussian(), "death": mf.families.Hazard()}
    model = mf.deep_mixed_model(population, outcomes, effects=2, basis=1, seed=3)
    eta = jnp.array([0.7, -1.2])
    for i in (0, 5, 9):
        subject = population[i]
        event = model.observations(eta, subject)["death"]
        row = model.outcomes.index("death")
        times = np.asarray(subject.time)
        log_h = np.asarray(model.linear(eta, subject))[row]
        k = (log_h[-1] - log_h[0]) / (times[-1] - times[0])
        whole = np.exp(log_h[0] - k * times[0]) * np.expm1(k * times) / k
        np.testing.assert_allclose(event.cumulative_hazard, np.diff(whole, prepend=0.0), rtol=1e-8, atol=1e-14)
    # it begins at events over time watched
    died = np.asarray(population.subjects.y["death"])[np.asarray(population.subjects.mask["death"])].sum()
    watched = np.where(population.subjects.mask["death"], population.subjects.time, 0.0).max(axis=1).sum()
    assert model.centre[model.outcomes.index("death")] == pytest.approx(np.log((died + 0.5) / watched))
    with pytest.raises(ValueError, match="nobody was watched after 100"):
        late = {**outcomes, "death": mf.families.Hazard(start_of_watch=100.0)}
        mf.deep_mixed_model(population, late, effects=2)
    with pytest.raises(ValueError, match="values at the rows alone"):
        mf.families.Hazard().density(jnp.zeros(3), jnp.zeros(0), jnp.zeros(0))


@pytest.mark.slow
def test_an_encoder_reads_both_and_the_fit_is_that_of_laplace():
    population = population_of(joint_data(250, seed=1))
    start = Joint(line=jnp.zeros(2), spread=jnp.ones(2), sigma=1.0, base=-2.0, alpha=0.0)
    best = mf.fit(start, population, mf.Laplace(), progress=False)
    encoder = mf.networks.SetEncoder(population, effects=2, hidden=(16,), seed=2)
    method = mf.Adam(mf.Amortised(encoder, samples=500), steps=4000, learning_rate=0.02, batch=50)
    fit = mf.fit(start, population, method, key=jax.random.key(2), progress=False)
    exact = mf.log_likelihood(fit.model, population, mf.AGQ(nodes=9))
    assert fit.log_likelihood == pytest.approx(exact, abs=0.7)
    assert exact > best.log_likelihood - 1.5
    assert fit.amortised.gap < 0.05
    assert float(fit.model.alpha) == pytest.approx(float(best.model.alpha), abs=0.1)
    assert float(best.model.alpha) == pytest.approx(TRUTH["alpha"], abs=0.35)  # 2.5 of its standard errors
    # and its answers are the posteriors: close to everybody's mode, with the death or without it
    modes, covariances = mf.empirical_bayes(fit.model, population)
    answers = jax.vmap(fit.encoder)(population.subjects)
    away = (answers.mean - modes) / np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    assert float(np.sqrt(np.mean(away**2))) < 0.3


class MarkerAndDeath(mf.Model):
    """As in the docstring of `mf.hazard`, each by its own random effect, so that one tells nothing of the other."""

    level: Array = mf.real()
    base: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return {
            "marker": dist.Normal(self.level + eta + 0.2 * subject.time, self.sigma),
            "death": mf.hazard(lambda t: self.base + eta + 0.0 * t, subject, "death"),
        }


@pytest.fixture(scope="module")
def seen_alone():
    rows = [("A", 0.5, "marker", 2.0), ("A", 1.0, "death", 0.0), ("A", 2.0, "marker", 1.5), ("A", 3.5, "death", 1.0)]
    rows += [("B", 1.0, "marker", 0.2), ("B", 1.0, "death", 0.0), ("B", 3.0, "death", 2.0), ("C", 4.0, "death", 0.0)]
    population = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DVID", "DV"]))
    model = MarkerAndDeath(level=1.0, base=-2.0, omega=1.0, sigma=0.5)
    return mf.fit(model, population, mf.AGQ(9), fixed=tuple(mf.parameters(model)), progress=False)


def test_the_marker_of_a_joint_model_is_looked_at_alone(seen_alone):
    marker = seen_alone.outcome("marker")
    table = mf.residuals(marker)
    eta = np.asarray(seen_alone.eta)[:, 0]
    expected = np.array([2.0, 1.5, 0.2]) - 1.0 - 0.2 * np.array([0.5, 2.0, 1.0]) - eta[[0, 0, 1]]
    np.testing.assert_allclose(table.IWRES, expected / 0.5, rtol=1e-12)
    assert mf.shrinkage(marker).sd_form["epsilon"] == pytest.approx(1.0 - (expected / 0.5).std(ddof=1))
    assert mf.vpc(marker, key=jax.random.key(1), samples=20, bins=1).observed["count"].tolist() == [3, 3, 3]
    drawn = mf.conditional_draws(marker, 4000, key=jax.random.key(2))[..., 0]
    # y | eta ~ N(eta, 0.25), eta ~ N(0, 1): B has one row of -1.0 beyond the line, A two of 0.9 and 0.1, C none
    np.testing.assert_allclose(drawn.mean(1), [4.0 / 9.0, -0.8, 0.0], atol=0.06)
    np.testing.assert_allclose(drawn.std(1), [1.0 / 3.0, 0.2**0.5, 1.0], atol=0.06)


def test_the_death_of_a_joint_model_is_looked_at_alone(seen_alone):
    death = seen_alone.outcome("death")
    drawn = mf.conditional_draws(death, 4000, key=jax.random.key(2))[..., 0]
    z = np.linspace(-8.0, 8.0, 8001)
    rate = np.exp(-2.0 + z)
    seen = (rate * np.exp(-3.5 * rate), np.exp(-rate) - np.exp(-3.0 * rate), np.exp(-4.0 * rate))
    for own, likelihood in zip(drawn, seen, strict=True):
        weight = likelihood * np.exp(-0.5 * z**2)
        assert own.mean() == pytest.approx(np.sum(weight * z) / np.sum(weight), abs=0.08)
    for ask in (mf.residuals, mf.shrinkage):
        with pytest.raises(ValueError, match="the codes 0, 1 and 2 of an Event have no variance"):
            ask(death)
    with pytest.raises(ValueError, match="An Event has its time in the data"):
        mf.vpc(death, key=jax.random.key(1), samples=20)


def test_what_uses_a_hazard_whose_rows_are_not_known_shows():
    subject = subject_at(TIMES)
    with seen_through("marker"):
        assert np.all(np.isnan(mf.hazard(lambda t: t, subject, "death").cumulative_hazard))
    with pytest.raises(ValueError, match="hazard is asked for 'death', and the data have one outcome without a name"):
        mf.hazard(lambda t: t, subject, "death")
