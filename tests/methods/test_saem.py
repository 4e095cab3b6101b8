"""SAEM: what it finds out about a model, kernels that leave the posterior alone, and estimates against exact ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from models import Additive, FullOmega, Line, Logistic, Means, Schools, replaced, theophylline_model

import mefit as mf
from mefit.base.compiling import compiled
from mefit.effects.kernels import Target, sweep
from mefit.methods.method import Problem
from mefit.methods.saem.maximisation import block
from mefit.methods.saem.structure import find_structure
from mefit.model.densities import eta_size
from mefit.model.space import Space
from mefit.objectives.evaluation import _terms, evaluate

RANDOM_WALKS = (mf.PriorProposal(), mf.RandomWalk(), mf.ComponentWise())
KERNELS = (*RANDOM_WALKS, mf.LaplaceProposal(), mf.LaplaceProposal(degrees_of_freedom=np.inf))

LONG = {"smoothing": 4000, "tolerance": 0.02}
PRECISE = mf.SAEM(**LONG)


def run(model, population, method, seed=0, fixed=()):
    """The last state of a fit, without the likelihood at its end."""
    problem = Problem(model, population, jax.random.key(seed), fixed)
    state = method.init(problem)
    while not state.done:
        state = method.step(problem, state)
    return state


def numbers(model):
    """Theophylline's logarithms of ka, CL and V, the SDs of their random effects, and sigma."""
    return np.array([*np.log([model.ka, model.cl, model.v]), *np.sqrt(np.diagonal(model.omega)), model.sigma])


def far_start():
    return Additive(ka=1.0, cl=np.exp(-3.0), v=np.exp(-1.0), omega=jnp.eye(3), sigma=1.0)


@pytest.fixture(scope="module")
def fit(theophylline):
    return mf.fit(far_start(), theophylline, mf.SAEM(likelihood_by=mf.AGQ(9)), key=jax.random.key(1), progress=False)


def test_theophylline_is_close_to_quadrature(fit, fitted, theophylline):
    exact = fitted(mf.AGQ(9))
    assert fit.converged and "scatters by less than 5% of a standard error" in fit.message
    np.testing.assert_allclose(numbers(fit.model), numbers(exact.model), atol=0.02)
    assert fit.log_likelihood == pytest.approx(mf.log_likelihood(fit.model, theophylline, mf.AGQ(9)), abs=1e-9)
    assert exact.log_likelihood - 0.01 < fit.log_likelihood <= exact.log_likelihood
    np.testing.assert_allclose(fit.table.se, exact.table.se, rtol=0.05)
    assert "by AGQ at the estimates of SAEM" in str(fit) and f"({fit.history[-1].iteration} iterations" in str(fit)


def test_the_likelihood_and_the_standard_errors_share_a_program(linear_population, line_model):
    def programs():
        return evaluate.program._cached._cache_size(), _terms.program._cached._cache_size()

    values, terms = programs()
    short = mf.SAEM(exploration=10, smoothing=10, block=10, likelihood_by=mf.AGQ(3))
    found = mf.fit(line_model, linear_population[:7], short, key=jax.random.key(0), progress=False)
    assert np.all(np.isfinite(found.table.se))
    assert programs() == (values + 1, terms)
    at_the_end = mf.log_likelihood(found.model, linear_population[:7], mf.AGQ(3))
    assert found.log_likelihood == pytest.approx(at_the_end, abs=1e-9)


def test_everything_there_is_to_look_at(fit, theophylline):
    run = fit.saem
    count = fit.history[-1].iteration
    trajectory, acceptance = fit.trajectory, run.acceptance
    assert len(trajectory) == count + 1 and len(acceptance) == count and acceptance.index[0] == 1
    assert list(trajectory.columns[-2:]) == ["omega[v]", "sigma"]
    assert trajectory["ka"].iloc[0] == pytest.approx(1.0) and trajectory["cl"].iloc[-1] == pytest.approx(fit.model.cl)
    sd = trajectory["omega[v]"].to_numpy()[:40]
    assert np.all(sd[1:] >= 0.97 * sd[:-1] * (1 - 1e-9)) and sd[-1] < 0.5, "annealing: 3% an iteration, and no more"
    late = acceptance.iloc[-100:].mean()
    assert 0.8 < late["Laplace"] < 0.95 and 0.25 < late["random walk"] < 0.35
    assert run.eta_draws.shape == (5, 12, 3)
    sd = np.sqrt(np.diagonal(fit.eta_covariance, axis1=1, axis2=2))
    assert np.max(np.abs(run.conditional_mean - fit.eta) / sd) < 0.5
    np.testing.assert_allclose(run.conditional_sd / sd, 1.0, atol=0.25)


@pytest.mark.slow
def test_a_step_at_a_time_and_interrupted(theophylline, monkeypatch):
    method = mf.SAEM(exploration=4, smoothing=3, block=1, kernels=(mf.RandomWalk(),), likelihood_by=mf.FO())
    steps = list(mf.iterate(theophylline_model(), theophylline, method, key=jax.random.key(0)))
    assert [step.iteration for _, step in steps] == list(range(8))
    assert len({float(model.ka) for model, _ in steps}) == 8
    step, calls = mf.SAEM.step, []

    def interrupted(self, problem, state):
        calls.append(state)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, problem, state)

    monkeypatch.setattr(mf.SAEM, "step", interrupted)
    fit = mf.fit(theophylline_model(), theophylline, method, key=jax.random.key(0), progress=False)
    assert not fit.converged and "interrupted after 3 iterations" in fit.message
    assert float(fit.model.ka) == float(steps[3][0].ka)


class Baseline(mf.Model):
    """A baseline with an additive random effect, a dose effect in a covariate, and a slope that has none."""

    base: jax.Array = mf.positive()
    by_weight: jax.Array = mf.real()
    slope: jax.Array = mf.real()
    sd: jax.Array = mf.positive()
    sigma: jax.Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), self.sd)

    def observations(self, eta, subject):
        level = self.base + self.by_weight * subject.covariates["WT"] + eta[0]
        return dist.Normal(level + self.slope * subject.time, self.sigma)


class Proportional(Schools):
    """A random effect that multiplies: no shift."""

    def observations(self, eta, subject):
        return dist.Normal(self.mu * (1.0 + eta), subject.covariates["se"])


class HeavyTails(Schools):
    def random_effects(self):
        return dist.StudentT(4.0, 0.0, self.tau)


@pytest.mark.slow
def test_the_structure_of_a_model_is_found(linear_population, theophylline):
    frame = linear_population.to_frame()
    frame["WT"] = 50.0 + 7.0 * frame["ID"].astype(float)
    weighed = mf.Population.from_frame(frame, covariates="WT")
    schools, omega = mf.datasets.eight_schools(), 100.0 * jnp.eye(2)
    cases = [
        (theophylline_model(), theophylline, {"ka", "cl", "v"}, "omega", {"sigma"}),
        (Line(beta=[250.0, 10.0], omega=omega, sigma=9.0), linear_population, {"beta"}, "omega", {"sigma"}),
        (
            Baseline(base=200.0, by_weight=0.3, slope=9.0, sd=20.0, sigma=9.0),
            weighed,
            {"base", "by_weight"},
            "sd",
            {"slope", "sigma"},
        ),
        (Schools(mu=8.0, tau=5.0), schools, {"mu"}, "tau", set()),
        (Proportional(mu=8.0, tau=5.0), schools, set(), "tau", {"mu"}),
        (HeavyTails(mu=8.0, tau=5.0), schools, {"mu"}, "", {"tau"}),
    ]
    for model, population, shift, covariance, newton in cases:
        problem = Problem(model, population, None, ())
        found = find_structure(problem, jax.random.key(1))
        names = [c.parameter for c in Space(model).coordinates]
        assert {names[i] for i in found.shift} == shift and found.covariance == covariance, type(model)
        assert {names[i] for i in found.newton} == newton, type(model)
        assert found.directions.shape == (len(population), eta_size(model), len(found.shift))
        if isinstance(model, Baseline):
            assert found.natural == (True, False)
            np.testing.assert_allclose(found.directions[:, 0, 1], population.subjects.covariates["WT"])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.label} {getattr(k, 'degrees_of_freedom', '')}".strip())
def test_kernels_leave_the_posterior_alone(kernel):
    """Eight Schools given mu and tau: the posterior of every eta is Gaussian and known."""
    population, model = mf.datasets.eight_schools(), Schools(mu=8.0, tau=6.0)

    @compiled
    def sample(model, subjects, key):
        target = Target(model, subjects)

        def one(carry, inputs):
            key, gain = inputs
            eta, _, tuning, taken = sweep((kernel,), key, target, *carry, gain)
            return (eta, tuning), (jnp.mean(eta, 0), jnp.mean(eta**2, 0), taken)

        begin = (jnp.zeros((20, 8, 1)), (kernel.init(model, 8),))
        gains = 1.0 / jnp.arange(1.0, 1501.0) ** 0.6
        return jax.lax.scan(one, begin, (jax.random.split(key, 1500), gains))[1]

    mean, square, taken = (np.asarray(x)[300:].mean(0) for x in sample(model, population.subjects, jax.random.key(2)))
    variance = 1.0 / (1.0 / 36.0 + 1.0 / np.asarray(population.subjects.covariates["se"]) ** 2)
    exact = variance * (np.asarray(population.subjects.y)[:, 0] - 8.0)
    exact = exact / np.asarray(population.subjects.covariates["se"]) ** 2
    np.testing.assert_allclose(mean[:, 0], exact, atol=0.25)
    np.testing.assert_allclose(np.sqrt(square - mean**2)[:, 0], np.sqrt(variance), rtol=0.04)
    assert 0.25 < taken[0] <= 1.0


@pytest.mark.slow
def test_em_goes_at_its_known_rate():
    """y ~ N(mu + eta, sigma^2), mu and sigma known: EM's map is w <- mean(m^2 + v), its rate 1 - B^2 at the end.

    With thousands of exact draws for each subject an iteration of SAEM is one of EM, and B = n w / (n w + sigma^2).
    """
    n, truth = 4, 0.5
    subject = mf.Subject(time=jnp.arange(4.0), y=jnp.zeros(4), mask=jnp.ones(4, bool))
    model = Means(mu=0.0, omega=2.0, sigma=1.0)
    population = mf.simulate(
        Means(mu=0.0, omega=truth, sigma=1.0), mf.Population.from_subjects([subject] * 50), jax.random.key(4)
    )
    method = mf.SAEM(
        chains=4000,
        exploration=12,
        smoothing=20,
        block=1,
        annealing=0.0,
        kernels=(mf.LaplaceProposal(steps=1, degrees_of_freedom=np.inf, newton=mf.Newton(1e-6)),),
    )
    kept = mf.iterate(model, population, method, key=jax.random.key(0), fixed=("mu", "sigma"))
    w = np.array([float(m.omega) ** 2 for m, _ in kept])
    ybar = np.asarray(population.subjects.y).mean(1)

    def em(w):
        b = n * w / (n * w + 1.0)
        return np.mean((b * ybar) ** 2) + b / n

    gains = np.concatenate([np.ones(12), 1.0 / np.arange(1, 21)])
    np.testing.assert_allclose(w[1:], [old + g * (em(old) - old) for old, g in zip(w, gains, strict=False)], rtol=0.01)
    end = np.mean(ybar**2) - 1.0 / n
    b = n * end / (n * end + 1.0)
    slope = (em(end + 1e-5) - em(end - 1e-5)) / 2e-5
    assert slope == pytest.approx(1.0 - b**2, abs=1e-6)
    assert np.mean((w[3:7] - end) / (w[2:6] - end)) == pytest.approx(1.0 - b**2, abs=0.12)


def test_kl_identity_of_em():
    """For a fixed q(eta), E_q log p(eta | theta) + KL(q, p(. | theta)) is the same number for every theta."""
    q = dist.MultivariateNormal(jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.1], [0.1, 0.2]]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    z = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    weight = np.outer(weights, weights).reshape(-1) / (2.0 * np.pi)
    eta = q.loc + z @ q.scale_tril.T
    sums = []
    for scale in (0.3, 1.0, 4.0):
        omega = scale * jnp.array([[1.0, 0.3], [0.3, 2.0]])
        model = Line(beta=[0.0, 0.0], omega=omega, sigma=1.0)
        expected = weight @ jax.vmap(lambda e, model=model: mf.log_random_effects(model, e))(eta)
        sums.append(expected + dist.kl_divergence(q, model.random_effects()))
    np.testing.assert_allclose(sums, -q.entropy(), rtol=1e-12)


def test_linear_gaussian_model_ends_at_maximum_likelihood():
    """Sleepstudy with a full covariance: lme4's estimates, whose standard errors are 6.6, 1.5 and 1.5 ms."""
    start = Line(beta=[200.0, 0.0], omega=[[900.0, 0.0], [0.0, 100.0]], sigma=50.0)
    state = run(start, mf.datasets.sleepstudy(), PRECISE)
    assert state.ending.converged
    np.testing.assert_allclose(state.model.beta, [251.405, 10.467], atol=0.5)
    np.testing.assert_allclose(np.sqrt(np.diagonal(state.model.omega)), [23.78, 5.717], rtol=0.02)
    assert float(state.model.omega[0, 1]) == pytest.approx(11.06, abs=6.0)
    assert float(state.model.sigma) == pytest.approx(25.592, rel=0.005)


@pytest.mark.slow
def test_maximum_a_posteriori_and_a_fixed_effect_without_a_random_one(linear_population):
    """Priors on a shift, on a slope without a random effect, on the residual SD, and on one variance for all."""

    class Penalised(mf.Model):
        level: jax.Array = mf.real(prior=dist.Normal(240.0, 5.0))
        slope: jax.Array = mf.real(prior=dist.Normal(5.0, 1.0))
        omega: jax.Array = mf.scalar_covariance(prior=dist.InverseGamma(3.0, 400.0))
        sigma: jax.Array = mf.positive(prior=dist.Gamma(20.0, 2.0))

        def random_effects(self):
            return dist.MultivariateNormal(jnp.zeros(2), self.omega)

        def observations(self, eta, subject):
            return dist.Normal(self.level + eta[0] + (self.slope + eta[1] / 4.0) * subject.time, self.sigma)

    start = Penalised(level=200.0, slope=0.0, omega=900.0 * jnp.eye(2), sigma=30.0)
    exact = mf.fit(start, linear_population, mf.FO(), progress=False)
    state = run(start, linear_population, PRECISE)
    assert state.ending.converged
    error = [getattr(state.model, n) - getattr(exact.model, n) for n in ("level", "slope", "sigma")]
    assert np.all(np.abs(error) < [0.3, 0.1, 0.2])
    assert float(state.model.omega[0, 0]) == pytest.approx(float(exact.model.omega[0, 0]), rel=0.06)


@pytest.mark.slow
def test_one_variance_for_all_and_fixed_parameters(linear_population):
    class Alike(Line):
        omega: jax.Array = mf.scalar_covariance()

    start = Alike(beta=[240.0, 8.0], omega=200.0 * jnp.eye(2), sigma=14.0)
    exact = mf.fit(start, linear_population, mf.FO(), fixed=("sigma",), progress=False)
    state = run(start, linear_population, mf.SAEM(kernels=RANDOM_WALKS, **LONG), fixed=("sigma",))
    assert float(state.model.sigma) == 14.0
    assert float(state.model.omega[0, 0]) == pytest.approx(float(exact.model.omega[0, 0]), rel=0.06)
    assert np.all(
        np.abs(state.model.beta - exact.model.beta) < 0.15 * exact.table.se[["beta[intercept]", "beta[slope]"]]
    )


@pytest.mark.slow
def test_binary_data():
    population = mf.datasets.clustered_binary(jax.random.key(5), 100, 5)
    exact = mf.fit(Logistic(b0=0.0, omega=1.0), population, mf.AGQ(15), progress=False)
    state = run(Logistic(b0=1.0, omega=0.5), population, mf.SAEM())
    assert state.ending.converged
    assert np.abs(state.model.b0 - exact.model.b0) < 0.15 * exact.table.se["b0"]
    assert np.abs(state.model.omega - exact.model.omega) < 0.15 * exact.table.se["omega"]


@pytest.mark.slow
def test_padding_changes_nothing_and_a_block_is_compiled_once(linear_population, line_model):
    method = mf.SAEM(exploration=20, smoothing=20, block=20, kernels=(mf.RandomWalk(),))
    long = mf.Subject(time=jnp.arange(30.0), y=jnp.arange(30.0) + 250.0, mask=jnp.ones(30, bool))
    padded = mf.Population.from_subjects([*(linear_population[i] for i in range(5)), long])[:5]
    before = block.program._cached._cache_size()
    narrow, wide = (run(line_model, population, method).memory.trace.x for population in (linear_population, padded))
    np.testing.assert_allclose(narrow, wide, rtol=1e-6, atol=1e-6)
    run(line_model, mf.simulate(line_model, padded, jax.random.key(0)), method, seed=1)
    assert block.program._cached._cache_size() == before + 2, "one program for each shape, and none for other data"


@pytest.mark.slow
def test_a_network_is_learned():
    """A curve that is a network's, shifted by one random effect: SAEM climbs to where Laplace does."""

    class Curve(mf.Model):
        network: eqx.nn.MLP = mf.weights(prior=dist.Normal(0.0, 1.0))
        omega: jax.Array = mf.positive()
        sigma: jax.Array = mf.positive()

        def random_effects(self):
            return dist.Normal(0.0, self.omega)

        def observations(self, eta, subject):
            return dist.Normal(jax.vmap(self.network)(subject.time[:, None])[:, 0] + eta, self.sigma)

    network = eqx.nn.MLP(1, 1, 4, 1, jnp.tanh, key=jax.random.key(0))
    network = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, network)
    start = Curve(network=network, omega=0.3, sigma=0.5)
    time, key = jnp.linspace(0.0, 2.0, 8), jax.random.split(jax.random.key(1), (20, 2))
    subjects = [
        mf.Subject(
            time=time,
            y=jnp.sin(3 * time) + 0.5 * jax.random.normal(a) + 0.1 * jax.random.normal(b, (8,)),
            mask=jnp.ones(8, bool),
        )
        for a, b in key
    ]
    population = mf.Population.from_subjects(subjects)
    exact = mf.fit(start, population, mf.FO(), progress=False)
    state = run(start, population, mf.SAEM(exploration=1500, smoothing=500, stop_early=False, learning_rate=0.03))
    assert state.memory.setting.structure.covariance == "omega" and len(state.memory.setting.structure.weights) == 13
    reached = mf.log_likelihood(state.model, population, mf.FO()) + float(mf.log_prior(state.model))
    begun = mf.log_likelihood(start, population, mf.FO()) + float(mf.log_prior(start))
    best = exact.log_likelihood + exact.log_prior
    assert best - reached < 0.03 * (best - begun)


@pytest.mark.slow
def test_refusals_are_one_sentence(theophylline, linear_population, line_model):
    class Flat(Schools):
        def random_effects(self):
            return None

        def observations(self, eta, subject):
            return dist.Normal(self.mu, subject.covariates["se"])

    class Bounded(Line):
        sigma: jax.Array = mf.positive(prior=dist.Beta(2.0, 2.0))

    schools, key = mf.datasets.eight_schools(), jax.random.key(0)
    bounded = Bounded(beta=[250.0, 10.0], omega=400.0 * jnp.eye(2), sigma=14.0)
    cases = [
        (Flat(mu=1.0, tau=1.0), schools, mf.SAEM(), key, "this model has none"),
        (theophylline_model(), theophylline, mf.SAEM(), None, "SAEM draws at random: give it a key"),
        (
            theophylline_model(),
            theophylline,
            mf.SAEM(likelihood_by=mf.JointMAP()),
            key,
            "must be a likelihood of theta",
        ),
        (theophylline_model(), theophylline, mf.SAEM(likelihood_by=mf.AGQ(100)), key, "at most 46 nodes"),
        (theophylline_model(), theophylline, mf.SAEM(chains=0), key, "one or more chains"),
        (bounded, linear_population, mf.SAEM(), key, "log prior is not finite at the starting values"),
    ]
    for model, population, method, key, words in cases:
        with pytest.raises(ValueError, match=words):
            mf.fit(model, population, method, key=key, progress=False)
    with pytest.raises(ValueError, match="no log-likelihood to evaluate"):
        mf.log_likelihood(line_model, linear_population, mf.SAEM(), key=jax.random.key(0))


@pytest.mark.slow
def test_eight_seeds_agree_with_quadrature(fitted, theophylline):
    """Mean of 8 seeds within 0.003 of AGQ. The Laplace proposal halves the spread of twice as many others."""
    exact, estimates = numbers(fitted(mf.AGQ(9)).model), {}
    for kernels in ((mf.LaplaceProposal(),), (mf.PriorProposal(), mf.RandomWalk())):
        method = mf.SAEM(exploration=300, smoothing=100, stop_early=False, kernels=kernels)
        runs = [run(far_start(), theophylline, method, seed) for seed in range(8)]
        estimates[kernels[-1].label] = np.array([numbers(state.model) for state in runs])
    assert np.max(np.abs(estimates["Laplace"].mean(0) - exact)) < 0.003
    spread = {label: e.std(0, ddof=1) for label, e in estimates.items()}
    assert np.exp(np.mean(np.log(spread["Laplace"] / spread["random walk"]))) < 0.5


@pytest.mark.slow
def test_a_full_covariance(theophylline_mg):
    """48 subjects with correlated random effects; with the 12 real ones the likelihood is highest at a singular one."""
    start = FullOmega(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7)
    truth = replaced(start, omega=[[0.3, 0.05, 0.02], [0.05, 0.07, 0.02], [0.02, 0.02, 0.03]])
    population = mf.simulate(truth, theophylline_mg[np.arange(48) % 12], jax.random.key(3))
    exact = mf.fit(start, population, mf.AGQ(5), progress=False)
    state = run(start, population, mf.SAEM())
    assert state.ending.converged
    short = exact.log_likelihood - mf.log_likelihood(state.model, population, mf.AGQ(5))
    assert -1e-6 <= short < 0.05
    state = run(start, theophylline_mg, mf.SAEM(exploration=3000))
    assert not state.ending.converged and "before a covariance became singular" in state.message
    assert np.all(np.linalg.eigvalsh(state.model.omega) > 0)


def few_rows():
    """Eighty lines of three noisy rows each: their spread is hardly known, and EM is slow."""
    rng = np.random.default_rng(3)
    times = np.array([0.0, 0.5, 1.0])
    b = np.array([1.0, 2.0]) + rng.normal(size=(80, 2)) * np.sqrt([0.5, 0.25])
    y = b[:, :1] + b[:, 1:] * times + 0.7 * rng.normal(size=(80, 3))
    rows = {"ID": np.repeat(np.arange(80), 3), "TIME": np.tile(times, 80), "DV": y.ravel()}
    return mf.Population.from_frame(pd.DataFrame(rows))


def test_a_stop_before_the_maximum_is_told_and_polishing_ends_at_it():
    """For lines Laplace is exact. What is averaged scatters little long before EM has come to its end."""
    population = few_rows()
    start = Line(beta=jnp.array([1.0, 2.0]), omega=jnp.diag(jnp.array([0.5, 0.25])), sigma=0.5)
    best = mf.fit(start, population, mf.Laplace(), progress=False)
    found = {}
    for polish in (None, True):
        method = mf.SAEM(likelihood_by=mf.Laplace(), polish=polish)
        found[polish] = mf.fit(start, population, method, key=jax.random.key(2), progress=False)
    away = np.abs(found[None].table.estimate - best.table.estimate) / best.table.se
    assert found[None].converged and away.max() > 0.2
    assert "standard errors away in" in str(found[None]) and "polish=True" in str(found[None])
    assert found[True].log_likelihood == pytest.approx(best.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(found[True].table.estimate, best.table.estimate, atol=1e-3)
    assert "standard errors away" not in str(found[True])
    assert found[True].evaluations > found[None].evaluations  # what was drawn is counted, too
