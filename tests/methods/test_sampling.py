"""NUTS: posteriors that are known, the volume of each transform, and which posteriors are refused."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree
from models import Additive, FullOmega, Line, Schools, theophylline_model

import mefit as mf
from mefit import plots
from mefit.base import devices
from mefit.methods.method import Problem
from mefit.methods.nuts.draws import diagnose
from mefit.methods.nuts.propriety import _open_ended, _tails
from mefit.model.domains import DiagonalCovariance, FullCovariance, ScalarCovariance
from mefit.model.free import log_jacobian
from mefit.model.numbers import entries


class Weak(Additive):
    """Theophylline with priors that say little."""

    ka: jax.Array = mf.positive(unit="1/h", prior=dist.LogNormal(0.0, 2.0))
    cl: jax.Array = mf.positive(unit="L/h/kg", prior=dist.LogNormal(-3.0, 2.0))
    v: jax.Array = mf.positive(unit="L/kg", prior=dist.LogNormal(-1.0, 2.0))
    omega: jax.Array = mf.diagonal_covariance(names=("ka", "cl", "v"), prior=dist.LogNormal(-3.0, 2.0))
    sigma: jax.Array = mf.positive(unit="mg/L", prior=dist.LogNormal(0.0, 2.0))


class Known(Line):
    """A line with a Gaussian prior of its mean; omega and sigma are held fixed, so the posterior is Gaussian."""

    beta: jax.Array = mf.real(names=("intercept", "slope"), prior=dist.Normal(250.0, 30.0))


@pytest.fixture(scope="module")
def schools():
    method = mf.NUTS(target_accept=0.99, samples=2500, chains=4, block=500, likelihood_by=mf.FO())
    start = Schools(mu=7.0, tau=5.0)
    return mf.fit(start, mf.datasets.eight_schools(), method, key=jax.random.key(2), progress=False)


@pytest.mark.slow
def test_the_posterior_of_eight_schools(schools):
    """Flat in mu and tau: exact means by quadrature, within four Monte Carlo errors."""
    assert schools.converged and "at most 1.0" in schools.message
    assert "mu, tau: no proper prior" in schools.remarks[0]
    summary, draws = schools.draws.summary, schools.draws
    error = 4.0 * summary.sd / np.sqrt(summary.ess)
    assert abs(summary["mean"].tau - 6.575) < error.tau and abs(summary["mean"].mu - 7.93) < error.mu
    assert summary["50%"].tau == pytest.approx(5.227, abs=0.4)
    assert summary.sd.mu == pytest.approx(5.18, rel=0.05)
    means = (draws.frame.mu.to_numpy()[:, None] + draws.eta[..., 0]).mean(0)
    np.testing.assert_allclose(means, [11.40, 7.89, 6.13, 7.64, 5.13, 6.14, 10.67, 8.46], atol=0.4)


def test_what_a_posterior_leaves(schools):
    draws, population = schools.draws, schools.population
    assert len(draws) == 10000 and draws.eta.shape == (10000, 8, 1) and list(draws.frame) == ["chain", "mu", "tau"]
    assert list(draws.summary) == ["mean", "sd", "2.5%", "50%", "97.5%", "r_hat", "ess"]
    assert float(draws.model(7).tau) == pytest.approx(draws.frame.tau[7]) and draws.models.mu.shape == (10000,)
    assert float(schools.model.mu) == pytest.approx(draws.frame.mu.mean())
    np.testing.assert_allclose(schools.eta, draws.eta.mean(0))
    np.testing.assert_allclose(schools.eta_covariance[:, 0, 0], draws.eta[..., 0].var(0, ddof=1))
    assert schools.log_likelihood == pytest.approx(mf.log_likelihood(schools.model, population, mf.FO()))
    assert mf.predict(schools.model, population, schools.eta).shape == (8, 1)
    report = str(schools)
    assert "10000 draws of 4 chains, 0 divergences" in report and "95% interval" in report and "R-hat" in report
    assert "SD" in schools._repr_html_() and np.allclose(schools.table.se, draws.summary.sd)
    with pytest.raises(ValueError, match="NUTS maximises no likelihood of theta"):
        mf.observed_information(schools)


def test_pictures_of_a_posterior(schools, fitted):
    panels = plots.posterior(schools, numbers=["tau"])
    assert len(panels) == 2 and len(panels[1].get_lines()) == 4, "a trace of every chain"
    bar = next(line for line in panels[0].get_lines() if line.get_label() == "95% interval")
    np.testing.assert_allclose(bar.get_xdata(), schools.draws.summary.loc["tau", ["2.5%", "97.5%"]].astype(float))
    with pytest.raises(ValueError, match="choose numbers that were sampled: mu, tau"):
        plots.posterior(schools, numbers=["sigma"])
    with pytest.raises(ValueError, match="leaves no draws"):
        plots.posterior(fitted(mf.FOCE()))
    (band,) = plots.individual_fits(schools, subjects=[0])[0].collections
    some = np.unique(np.linspace(0, 9999, 200).astype(int))
    curve = schools.draws.frame.mu.to_numpy()[some] + schools.draws.eta[some, 0, 0]
    low, high = np.ptp(band.get_paths()[0].vertices[:, 1]), np.ptp(np.quantile(curve, [0.025, 0.975]))
    assert low == pytest.approx(high)


def test_the_prior_in_the_picture_is_a_density():
    model = Weak(**{name: getattr(theophylline_model(), name) for name in mf.parameters(theophylline_model())})
    fit, rows = SimpleNamespace(model=model), {entry.label: entry for entry in entries(model)}
    for label, end in (("ka", 400.0), ("omega[cl]", 40.0)):
        x = np.concatenate([[-1.0], np.geomspace(1e-6, end, 20001)])
        density = plots.fits._prior_density(fit, rows[label], x)
        assert density[0] == 0 and np.trapezoid(density[1:], x[1:]) == pytest.approx(1.0, abs=0.01)


def test_a_gaussian_posterior(line_model, linear_population):
    """Generalised least squares with a prior; omega and sigma fixed. The same key gives the same draws."""
    start = Known(beta=line_model.beta, omega=line_model.omega, sigma=line_model.sigma)
    precision, right = np.eye(2) / 30.0**2, np.full(2, 250.0 / 30.0**2)
    for i in range(len(linear_population)):
        subject = linear_population[i]
        mask = np.asarray(subject.mask)
        design = np.stack([np.ones(mask.sum()), np.asarray(subject.time)[mask]], 1)
        v = design @ np.asarray(start.omega) @ design.T + float(start.sigma) ** 2 * np.eye(mask.sum())
        weighted = np.linalg.solve(v, design)
        precision, right = precision + design.T @ weighted, right + weighted.T @ np.asarray(subject.y)[mask]
    mean, covariance = np.linalg.solve(precision, right), np.linalg.inv(precision)
    method, fixed = mf.NUTS(warmup=300, samples=1000, likelihood_by=mf.FO()), ("omega", "sigma")
    fits = [
        mf.fit(start, linear_population, method, key=jax.random.key(seed), fixed=fixed, progress=False)
        for seed in (0, 0, 1)
    ]
    summary = fits[0].draws.summary
    assert fits[0].converged and list(summary.index) == ["beta[intercept]", "beta[slope]"]
    assert np.all(np.abs(summary["mean"] - mean) < 4.0 * summary.sd / np.sqrt(summary.ess))
    np.testing.assert_allclose(summary.sd, np.sqrt(np.diagonal(covariance)), rtol=0.12)
    pd.testing.assert_frame_equal(fits[0].draws.frame, fits[1].draws.frame)
    assert not np.allclose(fits[0].draws.frame.iloc[:, 1], fits[2].draws.frame.iloc[:, 1])
    assert list(fits[0].table.remark[2:]) == ["fixed"] * 4 and float(fits[0].model.sigma) == float(start.sigma)


def test_what_else_a_computer_does_changes_no_draw(line_model, linear_population, monkeypatch):
    """On a busy computer most work goes to one device, where a last digit may be rounded otherwise."""
    start = Known(beta=line_model.beta, omega=line_model.omega, sigma=line_model.sigma)
    method = mf.NUTS(warmup=20, samples=20, likelihood_by=mf.FO())
    fits = []
    for busy in (False, True):
        monkeypatch.setattr(devices, "_is_crowded", lambda busy=busy: busy)
        fit = mf.fit(start, linear_population, method, key=jax.random.key(0), fixed=("omega", "sigma"), progress=False)
        fits.append(fit.draws.frame.to_numpy())
    assert np.array_equal(*fits)


@pytest.mark.slow
def test_a_step_at_a_time_and_interrupted(schools, monkeypatch):
    population, start, step = schools.population, Schools(mu=7.0, tau=5.0), mf.NUTS.step
    method = mf.NUTS(warmup=30, samples=30, block=20, likelihood_by=mf.FO())
    steps = list(mf.iterate(start, population, method, key=jax.random.key(0)))
    assert [s.iteration for _, s in steps] == [0, 20, 30, 50, 60]
    for stop, draws, word in ((4, 40, "interrupted after 50 iterations: 40 draws"), (2, 40, "interrupted after 20")):
        calls = []

        def interrupted(self, problem, state, stop=stop, calls=calls):
            calls.append(state)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return step(self, problem, state)

        monkeypatch.setattr(mf.NUTS, "step", interrupted)
        fit = mf.fit(start, population, method, key=jax.random.key(0), progress=False)
        assert not fit.converged and word in fit.message and len(fit.draws) == draws
        assert ("from the warm-up" in " ".join(fit.remarks)) == (stop == 2)
        assert float(fit.model.mu) == pytest.approx(fit.draws.frame.mu.mean())
        assert float(fit.model.mu) == pytest.approx(float(steps[stop - 1][0].mu))


DOMAINS = {
    "real": (mf.real(), jnp.array([-1.0, 2.0])),
    "positive": (mf.positive(), jnp.array([0.3, 5.0])),
    "interval": (mf.interval(-1.0, 3.0), jnp.array(0.4)),
    "simplex": (mf.simplex(), jnp.array([0.2, 0.3, 0.5])),
    "covariance": (mf.covariance(), jnp.array([[1.0, 0.3, -0.2], [0.3, 2.0, 0.4], [-0.2, 0.4, 0.5]])),
    "diagonal": (mf.diagonal_covariance(), jnp.diag(jnp.array([0.5, 3.0]))),
    "scalar": (mf.scalar_covariance(), 0.7 * jnp.eye(3)),
    "weights": (mf.weights(), jnp.array([0.1, -2.0])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
def test_the_volume_of_every_transform(name):
    """Against the determinant of automatic derivatives, of the numbers that can move independently."""
    declared, value = DOMAINS[name]

    class One(mf.Model):
        field: jax.Array = declared

        def observations(self, eta, subject):
            return dist.Normal(0.0, 1.0)

    model = One(field=value)
    free = mf.unconstrain(model)
    x, unravel = ravel_pytree(free)
    domain = mf.parameters(model)["field"].domain

    def independent(x):
        value = mf.constrain(model, unravel(x)).field
        if isinstance(domain, ScalarCovariance):
            return value[:1, 0]
        if isinstance(domain, DiagonalCovariance):
            return jnp.diagonal(value)
        if isinstance(domain, FullCovariance):
            return value[jnp.tril_indices(len(value))]
        return jnp.reshape(value, -1)[: x.size]

    expected = np.linalg.slogdet(np.atleast_2d(jax.jacfwd(independent)(x)))[1]
    assert float(log_jacobian(model, free)) == pytest.approx(expected, abs=1e-10)


class Reciprocal(dist.Distribution):
    """The improper density 1/x on the positive numbers."""

    support = dist.constraints.positive

    def __init__(self):
        super().__init__()

    def log_prob(self, value):
        return -jnp.log(value)


def with_priors(**priors):
    """Eight Schools with other declarations."""
    made = {"mu": mf.real(prior=priors.get("mu")), "tau": mf.positive(prior=priors.get("tau"))}
    body = {"__annotations__": dict.fromkeys(made, jax.Array), **made}
    return type(Schools)("Declared", (Schools,), body)(mu=7.0, tau=5.0)


def begins(model, population, **fit):
    """Does the method go to work, or refuse?"""
    next(mf.iterate(model, population, mf.NUTS(chains=1, likelihood_by=mf.FO()), key=jax.random.key(0), **fit))


def check(model, population, likelihood):
    """What the method looks at before it compiles the sampler; which parameters had to be looked at."""
    problem = Problem(model, population, jax.random.key(0), ())
    names = _open_ended(problem)
    if names:
        _tails(problem, likelihood, names)
    return names


class FullVariances(Line):
    """Priors of the variances leave the correlation open, so the tails are looked at."""

    beta: jax.Array = mf.real(names=("intercept", "slope"), prior=dist.Normal(0.0, 100.0).expand([2]))
    omega: jax.Array = mf.covariance(prior=dist.LogNormal(0.0, 2.0))
    sigma: jax.Array = mf.positive(prior=dist.HalfNormal(10.0))


def test_improper_posteriors_are_refused_with_the_reason(theophylline, linear_population):
    schools = mf.datasets.eight_schools()
    assert check(Schools(mu=7.0, tau=5.0), schools[np.arange(3)], mf.FO()) == ["mu", "tau"], "three are enough"
    with pytest.raises(ValueError, match="improper: .* as tau goes to infinity; give tau a proper prior"):
        begins(Schools(mu=7.0, tau=5.0), schools[np.arange(2)])
    with pytest.raises(ValueError, match="as tau goes to 0; give tau"):
        check(with_priors(tau=Reciprocal()), schools, mf.FO())
    flat = dist.ImproperUniform(dist.constraints.positive, (), ())
    assert check(with_priors(tau=flat, mu=dist.Normal(0.0, 9.0)), schools, mf.FO()) == ["tau"]
    assert check(with_priors(tau=dist.HalfCauchy(5.0), mu=dist.Normal(0.0, 9.0)), schools, mf.FO()) == []
    assert check(
        FullVariances(beta=[245.0, 9.0], omega=np.diag([400.0, 30.0]), sigma=14.0), linear_population, mf.FO()
    ) == ["omega"]
    with pytest.raises(ValueError, match="as ka goes to infinity; give ka"):
        check(theophylline_model(), theophylline, mf.Laplace())


def test_other_refusals_say_what_to_do(theophylline):
    class Net(Schools):
        net: eqx.nn.MLP = mf.weights()

    population = mf.datasets.eight_schools()
    net = Net(mu=7.0, tau=5.0, net=eqx.nn.MLP(1, 1, 2, 1, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="net has no prior, .* such as mf.weights"):
        begins(net, population)
    begins(net, population, fixed="net")
    with pytest.raises(ValueError, match="not finite at the starting values"):
        begins(with_priors(tau=dist.Uniform(0.0, 1.0), mu=dist.Normal(0.0, 1.0)), population)
    with pytest.raises(ValueError, match="give it a key"):
        mf.fit(with_priors(), population, mf.NUTS())
    with pytest.raises(ValueError, match="of 1 or more"):
        mf.fit(with_priors(), population, mf.NUTS(samples=0), key=jax.random.key(0))


class Pooled(mf.Model):
    """No random effects: y ~ N(mu, se^2)."""

    mu: jax.Array = mf.real(prior=dist.Normal(0.0, 10.0))

    def observations(self, eta, subject):
        return dist.Normal(self.mu, subject.covariates["se"])


class Bounded(Pooled):
    """A random effect that is positive: y ~ N(mu + eta, se^2), eta ~ Gamma(2, 1/5)."""

    def random_effects(self):
        return dist.Gamma(2.0, 0.2)

    def observations(self, eta, subject):
        return dist.Normal(self.mu + eta, subject.covariates["se"])


@pytest.mark.slow
def test_no_random_effects_and_bounded_ones():
    population = mf.datasets.eight_schools()
    method = mf.NUTS(warmup=200, samples=500, likelihood_by=mf.MonteCarlo(100))
    fit = mf.fit(Pooled(mu=1.0), population, method, key=jax.random.key(2), progress=False)
    se, y = np.asarray(population.subjects.covariates["se"]), np.asarray(population.subjects.y)[:, 0]
    precision = 1 / 100 + np.sum(1 / se**2)
    row = fit.draws.summary.loc["mu"]
    assert abs(row["mean"] - np.sum(y / se**2) / precision) < 4 * row.sd / np.sqrt(row.ess)
    assert row.sd == pytest.approx(precision**-0.5, rel=0.12) and fit.eta.shape == (8, 0)
    fit = mf.fit(Bounded(mu=1.0), population, method, key=jax.random.key(2), progress=False)
    assert "(centred)" in fit.remarks[0] and np.all(fit.draws.eta > 0)
    # Given mu, each eta's posterior is known up to one integral: the mean of y - mu - eta over draws, against a grid.
    eta = np.linspace(1e-3, 150.0, 4001)
    mu = fit.draws.frame.mu.to_numpy()[::10, None, None]
    log_p = np.log(eta) - 0.2 * eta - 0.5 * ((y[:, None] - mu - eta) / se[:, None]) ** 2
    weight = np.exp(log_p - log_p.max(-1, keepdims=True))
    expected = np.mean(np.sum(weight * eta, -1) / np.sum(weight, -1), 0)
    np.testing.assert_allclose(fit.eta[:, 0], expected, atol=1.0)


def test_r_hat_and_effective_sample_size():
    rng = np.random.default_rng(1)
    white = rng.normal(size=(4, 1000, 1))
    r_hat, ess = diagnose(white)
    assert abs(r_hat[0] - 1) < 0.01 and 3000 < ess[0] < 5000
    slow = np.zeros((4, 4000, 1))
    for i in range(1, 4000):  # autocorrelation 0.9: (1 - 0.9) / (1 + 0.9) of the draws count
        slow[:, i] = 0.9 * slow[:, i - 1] + rng.normal(size=(4, 1))
    assert diagnose(slow)[1][0] == pytest.approx(16000 / 19, rel=0.25)
    assert diagnose(white + np.arange(4)[:, None, None])[0][0] > 1.3
    assert diagnose(white * np.array([1, 1, 1, 9])[:, None, None])[0][0] > 1.05, "the same mean, another spread"
    assert np.isnan(diagnose(white[:, :3])[0][0])


@pytest.mark.slow
def test_theophylline_with_weak_priors(theophylline, fitted):
    exact, start = fitted(mf.AGQ(9)), theophylline_model()
    values = {name: getattr(start, name) for name in mf.parameters(start)}
    method = mf.NUTS(warmup=500, samples=1000)
    fit = mf.fit(Weak(**values), theophylline, method, key=jax.random.key(1), progress=False)
    assert fit.converged, fit.message
    log = np.log(fit.draws.frame.drop(columns="chain"))
    table = exact.table
    se = table.se / table.estimate  # of the logarithms
    shift = (log.mean() - np.log(table.estimate)) / se
    assert np.all(np.abs(shift) < 0.6), shift
    ratio = log.std() / se
    assert np.all((ratio > 0.85) & (ratio < 1.6)), ratio
    assert np.max(np.abs(fit.eta - exact.eta)) < 0.1


@pytest.mark.slow
def test_a_full_covariance_is_averaged_as_a_matrix(theophylline_mg):
    class Wishart(FullOmega):
        ka: jax.Array = mf.positive(prior=dist.LogNormal(0.0, 2.0))
        cl: jax.Array = mf.positive(prior=dist.LogNormal(1.0, 2.0))
        v: jax.Array = mf.positive(prior=dist.LogNormal(3.0, 2.0))
        omega: jax.Array = mf.covariance(
            names=("ka", "cl", "v"), prior=dist.InverseWishart(5.0, scale_matrix=0.1 * jnp.eye(3))
        )
        sigma: jax.Array = mf.positive(prior=dist.LogNormal(0.0, 2.0))

    start = Wishart(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7)
    method = mf.NUTS(warmup=300, samples=300)
    fit = mf.fit(start, theophylline_mg, method, key=jax.random.key(1), progress=False)
    every = np.asarray(fit.draws.models.omega)
    assert every.shape == (600, 3, 3) and np.all(np.linalg.eigvalsh(every) > 0)
    np.testing.assert_allclose(fit.model.omega, every.mean(0), rtol=1e-10)
    np.testing.assert_allclose(
        fit.draws.frame["corr(ka, cl)"], every[:, 1, 0] / np.sqrt(every[:, 0, 0] * every[:, 1, 1])
    )
    assert fit.draws.summary.r_hat.max() < 1.1
