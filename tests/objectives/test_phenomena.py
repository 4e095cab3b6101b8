"""What the lessons show, as numbers: closed forms, collapses and biases of the methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import Logistic, Means, Schools, replaced, theophylline_model
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, gammaln, logsumexp

import mefit as mf
from mefit.objectives.evaluation import terms_of

# --- Eight Schools ---


@pytest.fixture(scope="module")
def schools():
    return mf.datasets.eight_schools()


def profile(method, population, tau):
    """max over mu of the objective at a given tau."""
    return mf.fit(Schools(mu=8.0, tau=tau), population, method, fixed=("tau",), progress=False).log_likelihood


@pytest.mark.parametrize("tau, expected", [(1, -29.68677), (5, -29.99358), (10, -30.89229), (20, -33.31806)])
@pytest.mark.parametrize("method", [mf.Laplace(), mf.FO()], ids=["Laplace", "FO"])
def test_marginal_profile(schools, method, tau, expected):
    assert profile(method, schools, tau) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "tau, centred, not_centred",
    [
        (1e-3, 18.236, -37.0258),
        (0.01, -0.184, None),
        (0.1, -18.605, None),
        (1, -37.008, -37.0083),
        (5, None, -36.6632),
        (10, -54.484, -36.0630),
        (100, None, -34.7097),
        (1000, -89.935, None),
    ],
)
def test_joint_profiles(schools, tau, centred, not_centred):
    if centred is not None:
        assert profile(mf.JointMAP(), schools, tau) == pytest.approx(centred, abs=1e-3)
    if not_centred is not None:
        assert profile(mf.JointMAP(centred=False), schools, tau) == pytest.approx(not_centred, abs=1e-4)


@pytest.mark.parametrize("method", [mf.FO(), mf.FOCE(), mf.Laplace(), mf.AGQ(5)], ids=lambda m: m.label)
def test_marginal_maximum_is_a_boundary_and_said_to_be(schools, method):
    fit = mf.fit(Schools(mu=3.0, tau=5.0), schools, method, progress=False)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-29.67424, abs=1e-5)
    assert float(fit.model.mu) == pytest.approx(7.6856, abs=1e-4)
    assert fit.table.se["mu"] == pytest.approx(4.0719, abs=1e-3)
    assert float(fit.model.tau) < 1e-3
    assert "at its boundary" in fit.table.remark["tau"]
    assert any("tau is at its boundary, 0" in remark for remark in fit.remarks)


def mode_of_tau(factor, joint, low, high):
    """Where the profile over mu peaks, by closed form: -(1/2) sum (cy - mu)^2/v - 8 log tau, or (1/2) sum log v."""
    y, se = factor * np.array([28, 8, -3, 7, -1, 1, 18, 12.0]), np.array([15, 10, 16, 11, 9, 11, 10, 18.0])

    def loss(tau):
        v = se**2 + tau**2
        mu = np.sum(y / v) / np.sum(1 / v)
        return 0.5 * np.sum((y - mu) ** 2 / v) + (8 * np.log(tau) if joint else 0.5 * np.sum(np.log(v)))

    return minimize_scalar(loss, bounds=(low, high), method="bounded", options=dict(xatol=1e-9)).x


@pytest.mark.parametrize("factor, tau", [(2, 13.580), (3, 25.478), (4, 36.247), (5, 46.598)])
def test_larger_effects_have_an_interior_marginal_maximum(schools, factor, tau):
    larger = schools.with_responses(factor * schools.subjects.y)
    fit = mf.fit(Schools(mu=8.0 * factor, tau=10.0), larger, mf.Laplace(), progress=False)
    assert mode_of_tau(factor, False, 1, 100) == pytest.approx(tau, abs=1e-3)
    assert float(fit.model.tau) == pytest.approx(tau, abs=1e-3) and not fit.remarks


def test_joint_map_centred_says_that_it_is_unbounded_towards_zero(schools):
    fit = mf.fit(Schools(mu=8.0, tau=5.0), schools, mf.JointMAP(), progress=False)
    assert not fit.converged
    assert "unbounded" in fit.message and "tau goes to 0" in fit.message and "by 8 for each unit" in fit.message
    assert float(fit.model.tau) < 1e-4
    assert "NOT CONVERGED" in str(fit)


def test_joint_map_in_z_says_that_it_climbs_to_infinity(schools):
    fit = mf.fit(Schools(mu=8.0, tau=5.0), schools, mf.JointMAP(centred=False), progress=False)
    assert not fit.converged and "tau goes to infinity" in fit.message
    assert fit.log_likelihood == pytest.approx(-34.6722, abs=1e-3)


@pytest.mark.parametrize("factor, tau", [(3, 20.527), (4, 33.514), (5, 44.623)])
def test_a_local_joint_mode_is_born_and_called_local(schools, factor, tau):
    larger = schools.with_responses(factor * schools.subjects.y)
    fit = mf.fit(Schools(mu=8.0 * factor, tau=60.0), larger, mf.JointMAP(), progress=False)
    assert mode_of_tau(factor, True, 12 + 3 * (factor - 2), 100) == pytest.approx(tau, abs=1e-3)
    assert float(fit.model.tau) == pytest.approx(tau, abs=2e-3)
    assert "local mode" in fit.remarks[0] and "unbounded" in fit.remarks[0] and "nearer to 0" in fit.remarks[0]


def test_no_local_joint_mode_below_the_critical_factor(schools):
    smaller = schools.with_responses(2.66 * schools.subjects.y)
    fit = mf.fit(Schools(mu=20.0, tau=16.0), smaller, mf.JointMAP(), progress=False)
    assert not fit.converged and "unbounded" in fit.message


def test_joint_map_on_theophylline_finds_a_local_mode_and_says_so(fitted):
    fit = fitted(mf.JointMAP())
    assert "local mode" in fit.remarks[0] and "SD of omega" in fit.remarks[0]


# --- Neyman and Scott ---


@pytest.mark.slow
@pytest.mark.parametrize("n, share", [(2, 0.5), (10, 0.9)])
def test_joint_mle_loses_degrees_of_freedom(n, share):
    population = mf.datasets.neyman_scott(jax.random.key(11), groups=1000, size=n)
    y = np.asarray(population.subjects.y)
    fit = mf.fit(Means(mu=0.0, omega=1.0, sigma=1.0), population, mf.JointMLE(), fixed=("mu", "omega"), progress=False)
    assert float(fit.model.sigma) ** 2 == pytest.approx(np.mean((y - y.mean(1, keepdims=True)) ** 2), rel=1e-5)
    assert float(fit.model.sigma) ** 2 == pytest.approx(share, abs=4 * 0.0224)
    marginal = mf.fit(Means(mu=0.0, omega=1.0, sigma=1.0), population, mf.Laplace(), progress=False)
    assert float(marginal.model.sigma) ** 2 == pytest.approx(1.0, abs=0.15)


def test_joint_map_with_known_omega_is_still_biased():
    population = mf.datasets.neyman_scott(jax.random.key(12), groups=20_000, size=2)
    start = Means(mu=0.0, omega=1.0, sigma=1.0)
    fit = mf.fit(start, population, mf.JointMAP(), fixed=("mu", "omega"), progress=False)
    assert float(fit.model.sigma) ** 2 == pytest.approx(0.5747, abs=0.02)


def test_what_joint_mle_cannot_identify_is_said(theophylline):
    fit = mf.fit(theophylline_model(), theophylline, mf.JointMLE(), progress=False)
    assert "not identified" in fit.remarks[0]
    assert list(fit.table.remark[["ka", "cl", "v"]]) == ["not identified"] * 3
    assert fit.table.remark["sigma"] == ""


# --- Monte Carlo from the prior ---


@pytest.mark.parametrize("dimension", [1, 2, 5, 10])
def test_error_of_monte_carlo_from_the_prior(dimension):
    """At y = 0 with likelihood SD s: Var(p-hat) / p^2 = (r0^d - 1) / M, r0 = (1 + s^2) / (s sqrt(2 + s^2))."""
    import numpyro.distributions as dist

    s, draws, repeats = 0.5, 2000, 400

    class Shifts(mf.Model):
        sd: jax.Array = mf.positive()

        def random_effects(self):
            return dist.Normal(jnp.zeros(dimension), 1.0)

        def observations(self, eta, subject):
            return dist.Normal(eta, self.sd)

    subject = mf.Subject(time=jnp.arange(float(dimension)), y=jnp.zeros(dimension), mask=jnp.ones(dimension, bool))
    population = mf.Population.from_subjects([subject] * repeats)
    estimates = mf.log_likelihood(
        Shifts(sd=s), population, mf.MonteCarlo(draws), key=jax.random.key(dimension), by_subject=True
    )
    exact = -0.5 * dimension * np.log(2 * np.pi * (1 + s**2))
    ratio = np.exp(estimates - exact)
    r0 = (1 + s**2) / (s * np.sqrt(2 + s**2))
    expected = np.sqrt((r0**dimension - 1) / draws)
    assert np.mean(ratio) == pytest.approx(1.0, abs=4 * expected / np.sqrt(repeats))  # unbiased
    if dimension <= 5:  # in ten dimensions the variance itself is carried by draws that hardly ever come
        assert np.std(ratio) == pytest.approx(expected, rel=0.2)
    assert np.mean(estimates - exact) < 3 * expected / np.sqrt(repeats)  # the logarithm falls short (Jensen)


@pytest.mark.slow
def test_monte_carlo_fails_with_dimension_and_its_effective_sample_size_shows_it():
    import numpyro.distributions as dist

    sizes, errors = [], []
    for dimension in (1, 5, 10, 20):

        class Shifts(mf.Model):
            sd: jax.Array = mf.positive()

            def random_effects(self, k=dimension):
                return dist.Normal(jnp.zeros(k), 1.0)

            def observations(self, eta, subject):
                return dist.Normal(eta, self.sd)

        subject = mf.Subject(time=jnp.arange(float(dimension)), y=jnp.zeros(dimension), mask=jnp.ones(dimension, bool))
        population = mf.Population.from_subjects([subject] * 25)
        term = terms_of(mf.MonteCarlo(1000), Shifts(sd=0.1), population, jax.random.key(0))
        exact = -0.5 * dimension * np.log(2 * np.pi * 1.01)
        errors.append(float(np.mean(np.asarray(term.value) - exact)))
        sizes.append(float(np.mean(np.asarray(term.details["effective_sample_size"]))))
        if dimension in (1, 20):  # a proposal does not fail at either end
            proposal = terms_of(mf.ImportanceSampling(1000), Shifts(sd=0.1), population, jax.random.key(0))
            assert float(np.mean(np.asarray(proposal.value) - exact)) == pytest.approx(0.0, abs=0.05)
            assert np.mean(np.asarray(proposal.details["effective_sample_size"])) > 50
    assert errors[0] == pytest.approx(0.0, abs=0.05) and errors[2] < -30 and errors[3] < -150
    assert sizes[0] > 100 > 10 > sizes[1] > sizes[3] and sizes[3] < 1.5


# --- sparse binary data ---


def population_limit(method, n, b0, omega):
    """Estimates as the number of clusters goes to infinity: every count, weighted by its exact probability."""
    z, w = np.polynomial.hermite_e.hermegauss(101)
    k = np.arange(n + 1)
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    p = expit(b0 + omega * z)
    probability = np.exp(choose) * np.array([np.sum(w / w.sum() * p**i * (1 - p) ** (n - i)) for i in k])
    rows = [
        mf.Subject(time=jnp.arange(float(n)), y=(jnp.arange(n) < i).astype(float), mask=jnp.ones(n, bool)) for i in k
    ]
    population = mf.Population.from_subjects(rows)

    def loss(x):
        model = Logistic(b0=x[0], omega=np.exp(x[1]))
        return -float(probability @ mf.log_likelihood(model, population, method, by_subject=True))

    x = minimize(loss, [b0, np.log(omega)], method="Nelder-Mead", options=dict(xatol=1e-5, fatol=1e-11)).x
    return x[0], np.exp(x[1])


@pytest.mark.parametrize(
    "method, b0, omega, expected",
    [
        (mf.Laplace(), 0, 1, (0, 0.702)),
        (mf.AGQ(3), 0, 1, (0, 0.987)),
        (mf.AGQ(9), 0, 1, (0, 1.000)),
        (mf.Laplace(), 0, 2, (0, 1.537)),
        (mf.AGQ(9), 0, 2, (0, 1.999)),
        (mf.Laplace(), -1, 1, (-0.949, 0.767)),
    ],
    ids=["Laplace", "AGQ 3", "AGQ 9", "Laplace, omega 2", "AGQ 9, omega 2", "Laplace, b0 -1"],
)
def test_laplace_is_biased_on_sparse_binary_data(method, b0, omega, expected):
    assert population_limit(method, 2, b0, omega) == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_binary_clusters_are_exact_in_the_limit_of_nodes():
    population = mf.datasets.clustered_binary(jax.random.key(2), 30, 3)
    model = Logistic(b0=0.2, omega=1.5)
    z, w = np.polynomial.hermite_e.hermegauss(101)
    y = np.asarray(population.subjects.y)
    logit = 0.2 + 1.5 * z
    log_p = y.sum(1)[:, None] * logit - 3 * np.log1p(np.exp(logit))
    exact = np.sum(logsumexp(log_p + np.log(w / w.sum()), axis=1))
    assert mf.log_likelihood(model, population, mf.AGQ(25)) == pytest.approx(exact, abs=1e-6)


# --- theophylline ---

TRUTH = {
    "FO": (mf.FO(), 174.2773, [2.864, 0.03976, 0.4820, 0.9125, 0.3025, 0.1503, 0.6149]),
    "FOCE": (mf.FOCE(), 179.2931, [1.588, 0.04005, 0.4602, 0.6548, 0.2643, 0.1359, 0.6904]),
    "Laplace": (mf.Laplace(), 180.1533, [1.579, 0.04004, 0.4575, 0.6526, 0.2652, 0.1339, 0.6912]),
    "AGQ": (mf.AGQ(9), 179.9505, [1.5818, 0.04003, 0.45755, 0.6577, 0.2656, 0.1346, 0.6915]),
}


@pytest.mark.parametrize("name", TRUTH)
def test_theophylline_optima(fitted, name):
    method, minus_log_likelihood, estimates = TRUTH[name]
    fit = fitted(method)
    assert -fit.log_likelihood == pytest.approx(minus_log_likelihood, abs=1e-3)
    np.testing.assert_allclose(fit.table.estimate, estimates, rtol=6e-4)


def test_theophylline_shrinkage(fitted):
    np.testing.assert_allclose(fitted(mf.AGQ(9)).shrinkage, [0.020, 0.041, 0.100], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, starts",
    [(name, 20) for name in TRUTH if name != "AGQ"]
    + [pytest.param(name, 50, marks=pytest.mark.slow) for name in TRUTH],
)
def test_theophylline_from_random_starts(theophylline, name, starts):
    """Every parameter starts within a factor of three; 24 of 25 must arrive."""
    method, minus_log_likelihood, _ = TRUTH[name]
    rng = np.random.default_rng(0)
    arrived = 0
    for _ in range(starts):
        ka, cl, v, *omega, sigma = np.exp(rng.uniform(-np.log(3), np.log(3), 7)) * [1.5, 0.04, 0.5, 0.4, 0.1, 0.05, 0.7]
        start = theophylline_model(ka=ka, cl=cl, v=v, omega=np.diag(omega), sigma=sigma)
        fit = mf.fit(start, theophylline, method, progress=False)
        arrived += fit.converged and abs(-fit.log_likelihood - minus_log_likelihood) < 1e-3
    assert arrived >= 0.96 * starts


def test_naive_pooling_swallows_the_variability(fitted):
    fit = fitted(mf.NaivePooled())
    assert float(fit.model.sigma) > 1.4 and np.all(fit.eta == 0.0)
    assert fit.table.remark["omega[ka]"] == "not estimated"


def test_separate_fits_overstate_the_variability(fitted):
    two_stage = fitted(mf.TwoStage())
    assert two_stage.converged
    np.testing.assert_allclose(np.mean(two_stage.eta, axis=0), 0.0, atol=1e-6)
    omega = np.sqrt(np.diagonal(two_stage.model.omega))
    np.testing.assert_allclose(omega, np.std(two_stage.eta, axis=0), rtol=1e-4)
    assert omega[0] > fitted(mf.AGQ(9)).table.estimate["omega[ka]"]
    assert float(two_stage.model.sigma) < float(replaced(fitted(mf.AGQ(9)).model).sigma)


def test_a_search_that_starts_at_a_kink_goes_on(key):
    """NumPyro's Bernoulli has the wrong derivative at a logit of exactly 0, where the typical subject stands here."""
    population = mf.datasets.clustered_binary(key, 1, 20)
    population = population.with_responses(np.zeros((1, 20)))
    eta = np.linspace(-30.0, 10.0, 40_001)
    joint = -20 * np.logaddexp(0.0, eta) - 0.5 * (eta / 2.0) ** 2 - np.log(2.0 * np.sqrt(2 * np.pi))
    exact = np.log(np.trapezoid(np.exp(joint), eta))
    found = mf.log_likelihood(Logistic(b0=0.0, omega=2.0), population, mf.AGQ(31))
    assert found == pytest.approx(exact, abs=1e-5)
