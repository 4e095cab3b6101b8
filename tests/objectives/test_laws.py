"""Laws that hold for every method, on every model: exactness, invariance, gradients, stationarity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import FullOmega, FullProportional, Line, Logistic, Means, Schools, replaced, theophylline_model
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

import mefit as mf
from mefit.model.space import Space
from mefit.objectives import evaluation, sampled

EXACT_FOR_LINEAR = {
    "FO": mf.FO(),
    "FOCE": mf.FOCE(),
    "FOCE without interaction": mf.FOCE(interaction=False),
    "Laplace": mf.Laplace(),
    "AGQ(1)": mf.AGQ(1),
    "AGQ(4)": mf.AGQ(4),
    "AGQ(9)": mf.AGQ(9),
    "variational": mf.Variational(4),
}
SAMPLED = {"Monte Carlo": mf.MonteCarlo(50), "importance sampling": mf.ImportanceSampling(50)}
JOINT = {
    "naive pooled": mf.NaivePooled(),
    "joint MLE": mf.JointMLE(),
    "joint MAP": mf.JointMAP(),
    "joint MAP in z": mf.JointMAP(centred=False),
}
EVERY = EXACT_FOR_LINEAR | SAMPLED | JOINT
# One number of nodes stands for all in the laws of derivatives: the code is the same, and 1 node is Laplace.
ONE_AGQ = [name for name in EXACT_FOR_LINEAR if name not in ("AGQ(1)", "AGQ(4)")]
DIFFERENTIATED = [*ONE_AGQ, *SAMPLED, *JOINT]
NEED_GAUSSIAN = ("FO", "FOCE", "FOCE without interaction")


def value_and_gradient(method, model, population, x=None, key=None):
    """The objective and its gradient in the free coordinates."""
    key = jax.random.key(3) if key is None else key
    space = Space(model)
    x = space.vector() if x is None else x
    batches = evaluation.batches_of(method, model, population, key)
    value, gradient, _, _ = evaluation.evaluate(method, space, x, batches)
    return float(value), np.asarray(gradient)


def central_differences(method, model, population, step=1e-4):
    """Fourth-order central differences of the objective."""
    x = Space(model).vector()
    out = []
    for i in range(x.size):
        h = step * max(1.0, abs(x[i]))
        at = [value_and_gradient(method, model, population, x + k * h * np.eye(x.size)[i])[0] for k in (-2, -1, 1, 2)]
        out.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h))
    return np.array(out)


def closed_form(model, population):
    """log N(y; X beta, Z Omega Z' + sigma^2 I) over the observed rows, by SciPy."""
    total = 0.0
    for subject in population:
        seen = np.asarray(subject.mask)
        z = np.stack([np.ones(seen.sum()), np.asarray(subject.time)[seen]], axis=1)
        covariance = z @ np.asarray(model.omega) @ z.T + float(model.sigma) ** 2 * np.eye(seen.sum())
        total += multivariate_normal.logpdf(np.asarray(subject.y)[seen], z @ np.asarray(model.beta), covariance)
    return total


@pytest.fixture(scope="module")
def padded(linear_population):
    """The five subjects as they stand beside one of 30 rows."""
    long = mf.Subject(time=jnp.arange(30.0), y=jnp.arange(30.0) + 250.0, mask=jnp.ones(30, bool))
    population = mf.Population.from_subjects([*(linear_population[i] for i in range(5)), long])[:5]
    assert population.subjects.time.shape[1] == 30, "the shorter subjects should have been padded"
    return population


@pytest.mark.parametrize("name", EXACT_FOR_LINEAR)
def test_linear_gaussian_model_is_exact_in_any_order_and_padding(name, line_model, linear_population, padded):
    method = EXACT_FOR_LINEAR[name]
    value, gradient = value_and_gradient(method, line_model, padded)
    assert value == pytest.approx(closed_form(line_model, linear_population), rel=1e-12)
    _, reference = value_and_gradient(mf.FO(), line_model, linear_population)
    np.testing.assert_allclose(gradient, reference, rtol=1e-8, atol=1e-9)
    turned, turned_slope = value_and_gradient(method, line_model, padded[[3, 0, 4, 2, 1]])
    assert turned == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(turned_slope, gradient, rtol=1e-8, atol=1e-9)


def test_importance_sampling_closes_in_on_the_exact_value(line_model, linear_population):
    exact = closed_form(line_model, linear_population)
    errors = [
        abs(mf.log_likelihood(line_model, linear_population, mf.ImportanceSampling(m), key=jax.random.key(1)) - exact)
        for m in (100, 100_000)
    ]
    assert errors[1] < 0.02 and errors[1] < errors[0]


def test_draws_that_are_kept_are_those_drawn_anew(monkeypatch):
    """Where all draws together would take too much memory, each subject's key is kept in their place."""
    people = mf.datasets.clustered_binary(jax.random.key(5), 4, 4)
    model = Logistic(b0=0.3, omega=1.2)
    by = {"method": mf.ImportanceSampling(30), "key": jax.random.key(1), "by_subject": True}
    kept = mf.log_likelihood(model, people, **by)
    monkeypatch.setattr(sampled, "_LARGEST_DRAWN", 4 * 30 - 1)
    np.testing.assert_allclose(mf.log_likelihood(model, people, **by), kept, rtol=1e-13)


def test_agq_with_one_node_is_laplace(theophylline):
    model = theophylline_model()
    one, one_slope = value_and_gradient(mf.AGQ(1), model, theophylline)
    laplace, laplace_slope = value_and_gradient(mf.Laplace(), model, theophylline)
    assert one == pytest.approx(laplace, abs=1e-9)  # Laplace takes the curvature from the search, which ends there
    np.testing.assert_allclose(one_slope, laplace_slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", ["theophylline", "binary"])
def test_the_variational_bound_is_one(case, theophylline):
    """Below the log-likelihood of every subject, and not by much."""
    model, people = theophylline_model(), theophylline
    if case == "binary":
        model, people = Logistic(b0=0.3, omega=1.2), mf.datasets.clustered_binary(jax.random.key(5), 20, 4)
    short = mf.log_likelihood(model, people, mf.AGQ(15), by_subject=True)
    short = short - mf.log_likelihood(model, people, mf.Variational(15), by_subject=True)
    assert np.all(short > 0) and short.max() < 0.1


def test_the_variational_gaussian_is_the_best():
    """Against SciPy's maximum over mean and SD, with the integrals by fine quadrature."""
    people = mf.datasets.clustered_binary(jax.random.key(5), 3, 4)
    found = evaluation.terms_of(mf.Variational(25), Logistic(b0=0.3, omega=1.2), people)
    z, w = np.polynomial.hermite_e.hermegauss(80)
    for i, person in enumerate(people):
        y = np.asarray(person.y)[np.asarray(person.mask)]

        def minus_bound(at, y=y):
            eta = at[0] + np.exp(at[1]) * z
            log_joint = (y[:, None] * (0.3 + eta) - np.logaddexp(0.0, 0.3 + eta)).sum(0) + norm.logpdf(eta, 0.0, 1.2)
            return -(w @ log_joint / w.sum() + at[1] + 0.5 * np.log(2 * np.pi * np.e))

        best = minimize(minus_bound, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
        assert float(found.value[i]) == pytest.approx(-best.fun, abs=1e-9)
        assert float(found.eta[i, 0]) == pytest.approx(best.x[0], abs=1e-6)
        assert float(found.precision[i, 0, 0]) == pytest.approx(np.exp(-2 * best.x[1]), rel=1e-5)


def test_interaction_makes_no_difference_to_an_additive_error(theophylline):
    model = theophylline_model()
    values = [value_and_gradient(mf.FOCE(interaction=i), model, theophylline) for i in (True, False)]
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-12)
    np.testing.assert_allclose(values[0][1], values[1][1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", [*ONE_AGQ, "Monte Carlo"])  # the others follow, on a model with more
def test_gradient_on_a_nonlinear_model(name, theophylline):
    """Through the mode, the curvature and the quadrature points, against central differences.

    Of all subjects, with the program that fits them.
    """
    _, gradient = value_and_gradient(EVERY[name], theophylline_model(), theophylline)
    numeric = central_differences(EVERY[name], theophylline_model(), theophylline)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6)


OF_A_DEPENDENT_ERROR = [
    pytest.param(name, marks=() if name in ("FOCE", "Laplace") else pytest.mark.slow)
    for name in DIFFERENTIATED
    if name != "Monte Carlo"
]


@pytest.mark.parametrize("name", OF_A_DEPENDENT_ERROR)
def test_gradient_where_the_residual_error_depends_on_eta(name, theophylline_mg):
    frame = theophylline_mg[:3].to_frame()
    population = mf.Population.from_frame(frame[(frame.EVID == 1) | (frame.TIME > 0)])
    omega = jnp.array([[0.4, 0.02, 0.01], [0.02, 0.07, 0.015], [0.01, 0.015, 0.03]])
    model = FullProportional(ka=1.5, cl=2.8, v=32.0, omega=omega, slope=0.2)
    _, gradient = value_and_gradient(EVERY[name], model, population)
    numeric = central_differences(EVERY[name], model, population)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in DIFFERENTIATED if n not in (*NEED_GAUSSIAN, "joint MLE")])
def test_gradient_on_binary_data(name):
    population = mf.datasets.clustered_binary(jax.random.key(5), 20, 4)
    model = Logistic(b0=0.3, omega=1.2)
    _, gradient = value_and_gradient(EVERY[name], model, population)
    np.testing.assert_allclose(gradient, central_differences(EVERY[name], model, population), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", JOINT)
def test_order_of_subjects_and_padding_change_nothing(name, line_model, linear_population, padded):
    """Of the methods that have no closed form here."""
    value, gradient = value_and_gradient(JOINT[name], line_model, linear_population)
    for population in (linear_population[[3, 0, 4, 2, 1]], padded):
        same, same_slope = value_and_gradient(JOINT[name], line_model, population)
        assert same == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(same_slope, gradient, rtol=1e-8, atol=1e-9)


def test_chunks_change_nothing(monkeypatch, line_model, linear_population):
    one = value_and_gradient(mf.Laplace(), line_model, linear_population)
    monkeypatch.setattr(mf.Laplace, "at_once", 2)
    assert evaluation.batches_of(mf.Laplace(), line_model, linear_population, None).weights.shape == (3, 2)
    cut = value_and_gradient(mf.Laplace(), line_model, linear_population)
    assert cut[0] == pytest.approx(one[0], rel=1e-13)
    np.testing.assert_allclose(cut[1], one[1], rtol=1e-9)
    values = mf.log_likelihood(line_model, linear_population, mf.Laplace(), by_subject=True)
    assert values.shape == (5,) and values.sum() == pytest.approx(one[0])


MODELS = {
    "diagonal omega": theophylline_model(),
    "full omega": FullOmega(
        ka=1.5, cl=3.0, v=30.0, omega=[[0.4, 0.02, 0.01], [0.02, 0.07, 0.01], [0.01, 0.01, 0.02]], sigma=0.7
    ),
    "line": Line(beta=[250.0, 10.0], omega=[[600.0, -10.0], [-10.0, 35.0]], sigma=25.0),
    "scalars": Schools(mu=-3.0, tau=5.0),
    "means": Means(mu=0.0, omega=1e-3, sigma=1e3),
}


@pytest.mark.parametrize("name", MODELS)
def test_constrain_undoes_unconstrain(name):
    model = MODELS[name]
    back = mf.constrain(model, mf.unconstrain(model))
    assert jax.tree.structure(back) == jax.tree.structure(model)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ONE_AGQ)
def test_a_fit_is_a_stationary_point(name, fitted, theophylline):
    fit = fitted(EXACT_FOR_LINEAR[name])
    assert fit.converged
    _, gradient = value_and_gradient(fit.method, fit.model, theophylline)
    assert np.max(np.abs(gradient)) < 1e-4
    assert fit.log_likelihood == pytest.approx(mf.log_likelihood(fit.model, theophylline, fit.method), abs=1e-9)


def test_every_approximation_is_close_to_the_quadrature(fitted, theophylline):
    """One ruler: at the same parameters the approximations stand in the order of what they neglect."""
    model = fitted(mf.AGQ(9)).model
    exact = mf.log_likelihood(model, theophylline, mf.AGQ(15))
    methods = {name: EXACT_FOR_LINEAR[name] for name in ("FO", "FOCE", "Laplace", "AGQ(9)")}
    error = {n: abs(mf.log_likelihood(model, theophylline, m) - exact) for n, m in methods.items()}
    assert error["AGQ(9)"] < 1e-3 < error["Laplace"] < error["FOCE"] < error["FO"]
    sampled = mf.log_likelihood(model, theophylline, mf.ImportanceSampling(20_000), key=jax.random.key(0))
    assert sampled == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("name", ["FOCE", "Laplace", pytest.param("AGQ(4)", marks=pytest.mark.slow)])
def test_recovers_the_truth_from_simulated_data(name, key):
    """400 subjects: every estimate within four standard errors, and the standard errors of a believable size."""
    times = jnp.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])
    subject = mf.Subject(time=times, y=jnp.zeros(8), mask=jnp.ones(8, bool), doses=mf.Doses.of([4.0]))
    design = mf.Population.from_subjects([subject] * 400)
    truth = theophylline_model(ka=1.6, cl=0.04, v=0.46, omega=jnp.diag(jnp.array([0.3, 0.07, 0.02])), sigma=0.3)
    population = mf.simulate(truth, design, key)
    fit = mf.fit(theophylline_model(), population, EXACT_FOR_LINEAR[name], progress=False)
    table = fit.table
    expected = [1.6, 0.04, 0.46, *np.sqrt([0.3, 0.07, 0.02]), 0.3]
    assert fit.converged
    assert np.all(np.abs(table.estimate - expected) < 4 * table.se)
    assert np.all((table.rse > 0.5) & (table.rse < 10))


@pytest.mark.parametrize("effects", [0, 1, 10])
def test_any_number_of_random_effects(effects, key):
    """None, one, and ten, on a model whose marginal likelihood is known: y ~ N(mu, (omega^2 + sigma^2) I)."""
    import numpyro.distributions as dist

    class Shifts(mf.Model):
        mu: jax.Array = mf.real()
        omega: jax.Array = mf.scalar_covariance()
        sigma: jax.Array = mf.positive()

        def random_effects(self):
            return dist.MultivariateNormal(jnp.zeros(effects), self.omega) if effects else None

        def observations(self, eta, subject):
            return dist.Normal(self.mu + (jnp.zeros(10).at[:effects].set(eta) if effects else 0.0), self.sigma)

    y = jax.random.normal(key, (6, 10))
    rows = [mf.Subject(time=jnp.arange(10.0), y=v, mask=jnp.ones(10, bool)) for v in y]
    population = mf.Population.from_subjects(rows)
    model = Shifts(mu=0.2, omega=0.5 * jnp.eye(max(effects, 1)), sigma=0.8)
    spread = np.sqrt(0.64 + np.where(np.arange(10) < effects, 0.5, 0.0))
    expected = float(jnp.sum(dist.Normal(0.2, spread).log_prob(y)))
    for method in (mf.FO(), mf.FOCE(), mf.Laplace(), mf.AGQ(3), mf.AGQ(1), mf.Variational(2)):
        assert mf.log_likelihood(model, population, method) == pytest.approx(expected, rel=1e-11)
    fit = mf.fit(replaced(model, mu=1.0), population, mf.Laplace(), fixed=("omega",), progress=False)
    assert fit.converged and fit.eta.shape == (6, effects)
    assert float(fit.model.omega[0, 0]) == 0.5
