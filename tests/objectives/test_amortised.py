"""Encoders: what they read, their bound against closed forms, and a fit by them against the exact likelihood."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line
from scipy.stats import multivariate_normal

import mefit as mf
from mefit.base.compiling import compiled_for_devices
from mefit.curves.encoding import Gaussian
from mefit.effects.encoded import divergence, gaussian_divergence
from mefit.methods import adam, adam_block

TIMES = np.arange(5.0)


def growth_data(count=200, seed=1, unit=1.0, gaps=0.0):
    rng = np.random.default_rng(seed)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.3]], count)
    y = unit * (b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((count, 5)))
    y = np.where(rng.random(y.shape) < gaps, np.nan, y)
    rows = [(i, t, y[i, j]) for i in range(count) for j, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]), drop_unobserved=gaps > 0)


def exact(model, population):
    """log N(y; X beta, X Omega X' + sigma^2 I) of the observed rows, by SciPy."""
    design = np.column_stack([np.ones(5), TIMES])
    total = 0.0
    for y, seen in zip(np.asarray(population.subjects.y), np.asarray(population.subjects.mask), strict=True):
        x = design[seen]
        cov = x @ np.asarray(model.omega) @ x.T + float(model.sigma) ** 2 * np.eye(len(x))
        total += multivariate_normal(x @ np.asarray(model.beta), cov).logpdf(y[seen])
    return total


def start(unit=1.0):
    return Line(beta=jnp.array([1.0, 0.0]) * unit, omega=jnp.diag(jnp.array([1.0, 1.0])) * unit**2, sigma=unit)


@pytest.fixture(scope="module")
def grown():
    return growth_data()


@pytest.fixture(scope="module")
def fitted(grown):
    """The growth model by each encoder."""
    key = jax.random.key(3)
    encoders = {
        "planned": mf.networks.Encoder(grown, effects=2, hidden=(8,)),
        "any times": mf.networks.SetEncoder(grown, effects=2, hidden=(8,)),
    }
    method = {name: mf.Adam(mf.Amortised(e), steps=1500, learning_rate=0.02, batch=50) for name, e in encoders.items()}
    return {name: mf.fit(start(), grown, method[name], key=key, progress=False) for name in encoders}


def test_divergence_from_the_prior():
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=(3, 3)), -1) + np.diag([0.5, 1.2, 2.0])
    prior_lower = np.tril(rng.normal(size=(3, 3)), -1) + np.diag([1.5, 0.7, 1.0])
    mean, prior_mean = rng.normal(size=(2, 3))
    q = Gaussian(jnp.asarray(mean), jnp.asarray(lower))
    full = float(gaussian_divergence(q, jnp.asarray(prior_mean), jnp.asarray(prior_lower)))
    numpyro = dist.kl_divergence(
        dist.MultivariateNormal(mean, scale_tril=lower), dist.MultivariateNormal(prior_mean, scale_tril=prior_lower)
    )
    assert full == pytest.approx(float(numpyro), rel=1e-12)
    # of independent effects: the sum of one-dimensional ones, 1/2 (m^2 + s^2 - 1 - log s^2)
    sd = np.array([0.3, 1.0, 1.7])
    alone = float(gaussian_divergence(Gaussian(q.mean, jnp.diag(jnp.asarray(sd))), jnp.zeros(3), jnp.eye(3)))
    assert alone == pytest.approx(0.5 * np.sum(mean**2 + sd**2 - 1 - 2 * np.log(sd)), rel=1e-12)


def test_divergence_from_a_prior_that_is_not_gaussian_is_drawn():
    class Laplacian(Line):
        def random_effects(self):
            return dist.Laplace(jnp.zeros(2), jnp.ones(2))

    q = Gaussian(jnp.array([0.3, -0.2]), jnp.diag(jnp.array([0.5, 0.8])))
    draws = jax.random.normal(jax.random.key(0), (200_000, 2))
    value = float(divergence(Laplacian(**vars(start())), q, draws))

    def integral(mean, sd):
        x = np.linspace(-12, 12, 200_001)
        density = np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        log_ratio = -0.5 * ((x - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi)) + np.abs(x) + np.log(2)
        return np.trapezoid(density * log_ratio, x)

    assert value == pytest.approx(integral(0.3, 0.5) + integral(-0.2, 0.8), abs=0.01)


@pytest.mark.parametrize("name", ["planned", "any times"])
def test_the_fit_is_the_exact_one(fitted, grown, name):
    fit = fitted[name]
    best = mf.fit(start(), grown, mf.Laplace(), progress=False)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(exact(fit.model, grown), abs=0.5)  # 200 people, by 1,000 draws each
    assert exact(fit.model, grown) > best.log_likelihood - 0.5
    assert fit.amortised.bound < exact(fit.model, grown) + 0.5
    assert 0.0 <= fit.amortised.gap < 0.03
    assert fit.amortised.remarks == ()
    assert np.quantile(fit.effective_sample_size, 0.05) > 800
    np.testing.assert_allclose(fit.eta, best.eta, atol=0.4)
    np.testing.assert_allclose(fit.model.beta, best.model.beta, atol=0.05)


@pytest.mark.parametrize("name", ["planned", "any times"])
def test_rows_and_padding(fitted, grown, name):
    encoder = fitted[name].encoder
    subject = grown[3]
    mean, lower = encoder(subject)
    turned = subject.with_rows(lambda rows: rows[::-1])
    for other in (turned, padded(subject)):
        np.testing.assert_allclose(encoder(other).mean, mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(encoder(other).lower, lower, rtol=1e-9, atol=1e-12)


def padded(subject):
    """The subject as it stands in a population beside one with more rows."""
    more = subject.with_rows(lambda rows: jnp.concatenate([rows, rows]))
    return jax.tree.map(lambda leaf: leaf[0], mf.Population.from_subjects([subject, more]).subjects)


def test_an_encoder_needs_the_times_and_outcomes_it_was_made_for(grown):
    encoder = mf.networks.Encoder(grown, effects=2)
    frame = grown.to_frame()
    frame["TIME"] += 0.5
    elsewhere = mf.Population.from_frame(frame)
    with pytest.raises(ValueError, match="subject 0 was seen at 0.5, which is none of them"):
        mf.fit(start(), elsewhere, mf.Amortised(encoder), key=jax.random.key(0), progress=False)
    with pytest.raises(ValueError, match="answers for 3 random effects, and Line has 2"):
        three = mf.networks.Encoder(grown, effects=3)
        mf.fit(start(), grown, mf.Amortised(three), key=jax.random.key(0), progress=False)
    with pytest.raises(ValueError, match="draws of 2 or more"):
        mf.fit(start(), grown, mf.Amortised(encoder, importance=True), key=jax.random.key(0), progress=False)
    with pytest.raises(ValueError, match="covariate 'wt'"):
        mf.networks.Encoder(grown, effects=2, covariates=["wt"])
    with pytest.raises(ValueError, match="must be one or more"):
        mf.networks.SetEncoder(grown, effects=0)


def test_units_do_not_matter(fitted, grown):
    large = growth_data(unit=1e6)
    encoder = mf.networks.Encoder(large, effects=2, hidden=(8,))
    method = mf.Adam(mf.Amortised(encoder), steps=1500, learning_rate=0.02, batch=50)
    fit = mf.fit(start(1e6), large, method, key=jax.random.key(3), progress=False)
    small = fitted["planned"]
    constant = large.n_observations * np.log(1e6)
    np.testing.assert_allclose(np.asarray(fit.model.beta) / 1e6, small.model.beta, rtol=1e-3)
    assert fit.log_likelihood + constant == pytest.approx(small.log_likelihood, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "short"), [("planned", 0.03), ("any times", 0.01)])
def test_gaps_cost_nothing_but_what_they_hide(name, short):
    """Cells missing at random: the bound is over what was seen, and nothing is imputed. What the planned encoder lacks
    of the best likelihood, per subject, is that it must learn every pattern of gaps; the other one is made for them."""
    seen = growth_data(400, seed=5, gaps=0.4)
    kind = mf.networks.Encoder if name == "planned" else mf.networks.SetEncoder
    method = mf.Adam(mf.Amortised(kind(seen, effects=2, hidden=(16,))), steps=2000, learning_rate=0.02, batch=100)
    fit = mf.fit(start(), seen, method, key=jax.random.key(1), progress=False)
    best = mf.fit(start(), seen, mf.Laplace(), progress=False)
    assert exact(fit.model, seen) > best.log_likelihood - short * len(seen)
    assert fit.log_likelihood == pytest.approx(exact(fit.model, seen), abs=1.0)
    assert fit.amortised.gap < 0.1


class Rotated(mf.Model):
    """The linear model of the theory of collapse: y = b1 w1 + b2 w2 t + e with independent b."""

    scale: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.scale[0] * eta[0] + self.scale[1] * eta[1] * subject.time, self.sigma)


@pytest.mark.slow
def test_a_diagonal_answer_puts_a_random_effect_to_sleep(grown):
    """Intercept and slope over t = 0..4, sigma 1: with a diagonal q the bound is highest where the intercept is gone,
    at slope SD 1.047 and sigma 1.190 (the bound's own maximum in closed form); with a full one at the truth."""
    rng = np.random.default_rng(11)
    b = rng.standard_normal((1000, 2))
    y = b[:, :1] + b[:, 1:] * TIMES + rng.standard_normal((1000, 5))
    rows = [(i, t, y[i, j]) for i in range(1000) for j, t in enumerate(TIMES)]
    population = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))
    begin = Rotated(scale=jnp.ones(2), sigma=1.0)
    fits = {}
    for full in (False, True):
        encoder = mf.networks.Encoder(population, effects=2, hidden=(16,), full=full)
        method = mf.Adam(mf.Amortised(encoder, samples=200), steps=4000, learning_rate=0.02, batch=200)
        fits[full] = mf.fit(begin, population, method, key=jax.random.key(2), progress=False)
    asleep, awake = fits[False], fits[True]
    assert float(asleep.model.scale[0]) < 0.15
    assert float(asleep.model.scale[1]) == pytest.approx(1.047, abs=0.06)
    assert float(asleep.model.sigma) == pytest.approx(1.190, abs=0.02)
    assert "random effect 1 sleeps" in asleep.remarks[-1]
    np.testing.assert_allclose(awake.model.scale, 1.0, atol=0.08)
    assert awake.amortised.remarks == ()
    # the bound is tight where it is wrong: the gap does not warn, and the likelihood does
    assert asleep.amortised.gap < 0.02
    assert awake.log_likelihood > asleep.log_likelihood + 100


@pytest.mark.slow
def test_it_goes_on_where_it_was_interrupted(grown, monkeypatch):
    encoder = mf.networks.Encoder(grown, effects=2, hidden=(4,))
    method = mf.Adam(mf.Amortised(encoder, annealing=100, samples=50), steps=200, batch=50, block=50)
    whole = mf.fit(start(), grown, method, key=jax.random.key(4), progress=False)
    step, calls = mf.Adam.step, []

    def interrupted(self, problem, state):
        calls.append(state)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, problem, state)

    monkeypatch.setattr(mf.Adam, "step", interrupted)
    half = mf.fit(start(), grown, method, key=jax.random.key(4), progress=False)
    monkeypatch.setattr(mf.Adam, "step", step)
    assert half.ending is mf.Ending.INTERRUPTED and np.isfinite(half.log_likelihood)
    again = mf.fit(start(), grown, dataclasses.replace(method, resume=half), key=jax.random.key(4), progress=False)
    assert again.log_likelihood == whole.log_likelihood
    np.testing.assert_array_equal(again.eta, whole.eta)


@pytest.mark.parametrize("others", [{}, {"draws": 2, "importance": True}, {"annealing": 10}])
def test_what_is_drawn_ahead_is_what_each_step_would_draw(others, monkeypatch):
    people = growth_data(12)
    encoder = mf.networks.Encoder(people, effects=2, hidden=(3,))
    method = mf.Adam(mf.Amortised(encoder, samples=10, **others), steps=15, batch=5, block=10)

    def trained():
        # a program of its own, which knows the limit of this moment
        monkeypatch.setattr(adam, "block", compiled_for_devices(adam_block.block._function))
        return mf.fit(start(), people, method, key=jax.random.key(4), progress=False)

    ahead = trained()
    monkeypatch.setattr(adam_block, "_DRAWN_TOGETHER", 0)
    step_by_step = trained()
    np.testing.assert_allclose(ahead.curve["objective"], step_by_step.curve["objective"], rtol=1e-12)
    np.testing.assert_allclose(ahead.log_likelihood, step_by_step.log_likelihood, rtol=1e-12)


@pytest.mark.slow
def test_held_out_subjects_choose_the_model(grown):
    encoder = mf.networks.Encoder(grown, effects=2, hidden=(8,))
    method = mf.Adam(
        mf.Amortised(encoder, samples=50), steps=200, batch=50, block=50, held_out=growth_data(50, 8), patience=2
    )
    fit = mf.fit(start(), grown, method, key=jax.random.key(4), progress=False)
    best = fit.curve["held_out"].max()
    score = mf.log_likelihood(
        fit.model,
        growth_data(50, 8),
        mf.ImportanceSampling(samples=50),  # whatever the encoder knows of them
        key=jax.random.key(4),
    )
    assert score / 50 == pytest.approx(best, abs=1e-9)


@pytest.mark.slow
def test_the_likelihood_is_never_the_bound(fitted, grown):
    fit = fitted["planned"]
    objective = mf.Amortised(fit.encoder, samples=1000)
    value = mf.log_likelihood(fit.model, grown, objective, key=jax.random.key(9))
    assert value == pytest.approx(exact(fit.model, grown), abs=0.5)


@pytest.mark.slow
def test_standard_errors_are_those_of_the_likelihood(fitted, grown):
    """By the Hessian of importance sampling with the encoder's draws: as those of the exact likelihood."""
    fit = fitted["planned"]
    best = mf.fit(start(), grown, mf.Laplace(), progress=False)
    ours = np.sqrt(np.diagonal(fit.covariance))
    theirs = np.sqrt(np.diagonal(best.covariance))
    np.testing.assert_allclose(ours, theirs, rtol=0.15)


@pytest.mark.slow
def test_left_out_an_encoder_is_made_for_the_population(grown):
    fit = mf.fit(start(), grown, mf.Adam(mf.Amortised(samples=20), steps=50), key=jax.random.key(0), progress=False)
    assert isinstance(fit.encoder, mf.networks.Encoder)
    frame = grown.to_frame()
    frame["TIME"] += np.random.default_rng(0).random(len(frame)) * 0.5
    everywhere = mf.Population.from_frame(frame)
    short = mf.Adam(mf.Amortised(samples=20), steps=50)
    fit = mf.fit(start(), everywhere, short, key=jax.random.key(0), progress=False)
    assert isinstance(fit.encoder, mf.networks.SetEncoder)
    assert np.isfinite(fit.log_likelihood)


@pytest.mark.slow
def test_an_encoder_that_has_seen_cut_records_knows_them(grown):
    """After the first two of five measurements the posterior is known in closed form. An encoder for planned times
    that was only shown whole records errs there; one that was shown cut ones does not, and theta is the same."""
    design = np.column_stack([np.ones(2), TIMES[:2]])
    short = grown.until(1.0)
    distance = {}
    for cut in (False, True):
        encoder = mf.networks.Encoder(grown, effects=2, hidden=(16,))
        amortised = mf.Amortised(encoder, cut_records=cut, samples=50)
        method = mf.Adam(amortised, steps=1500, learning_rate=0.02, batch=50)
        fit = mf.fit(start(), grown, method, key=jax.random.key(3), progress=False)
        omega, sigma = np.asarray(fit.model.omega), float(fit.model.sigma)
        covariance = np.linalg.inv(np.linalg.inv(omega) + design.T @ design / sigma**2)
        residual = np.asarray(short.subjects.y)[:, :2] - design @ np.asarray(fit.model.beta)
        exact_mean = residual @ design @ covariance / sigma**2
        mean = jax.vmap(lambda subject, encoder=fit.encoder: encoder(subject).mean)(short.subjects)
        away = (np.asarray(mean) - exact_mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
        distance[cut] = float(np.sqrt(np.mean(away**2)))
        assert float(fit.model.sigma) == pytest.approx(0.51, abs=0.02)
    assert distance[True] < 0.3
    assert distance[False] > 2 * distance[True]


@pytest.mark.slow
def test_a_trained_encoder_answers_as_before_when_it_is_trained_on(fitted, grown):
    """Its answers are in the unit of the random effects that it began with, wherever theta has gone meanwhile."""
    fit = fitted["planned"]
    method = mf.Adam(mf.Amortised(fit.encoder, samples=20), steps=1, learning_rate=1e-12, block=1)
    again = mf.fit(fit.model, grown, method, key=jax.random.key(0), progress=False)
    for before, after in zip(fit.encoder(grown[0]), again.encoder(grown[0]), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6)


def test_without_an_encoder_there_is_no_bound(grown):
    with pytest.raises(ValueError, match="no encoder before it is trained"):
        mf.log_density(start(), grown, mf.Amortised(), key=jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [mf.networks.Encoder, mf.networks.SetEncoder])
def test_one_subject_alone(kind):
    alone = growth_data(1)
    method = mf.Adam(mf.Amortised(kind(alone, effects=2, hidden=(4,))), steps=20, block=20)
    fit = mf.fit(start(), alone, method, key=jax.random.key(0), progress=False, fixed="omega")
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(exact(fit.model, alone), abs=0.2)
    assert np.all(np.isfinite(fit.amortised.divergence))
