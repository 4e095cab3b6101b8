"""One law, many spellings: the same numbers, the same closed forms and the same coordinates to sample in."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from numpyro.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyAffine,
    SigmoidTransform,
)
from scipy import stats

import mefit as mf
from mefit.effects.gaussian import gaussian_effects
from mefit.methods.method import Problem
from mefit.methods.nuts.nuts import _is_centred
from mefit.methods.saem.structure import find_structure
from mefit.model.densities import eta_cov, eta_mean, eta_sd

OMEGA = np.array([[0.30, 0.12], [0.12, 0.50]])
FULL = {
    "covariance": lambda omega: dist.MultivariateNormal(jnp.zeros(2), omega),
    "covariance, mean left out": lambda omega: dist.MultivariateNormal(covariance_matrix=omega),
    "precision": lambda omega: dist.MultivariateNormal(jnp.zeros(2), precision_matrix=jnp.linalg.inv(omega)),
    "Cholesky factor": lambda omega: dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.linalg.cholesky(omega)),
    "low rank": lambda omega: dist.LowRankMultivariateNormal(
        jnp.zeros(2),
        (omega[0, 1] * jnp.array([1.0, 1.0]) / jnp.sqrt(omega[0, 1]))[:, None],
        jnp.diagonal(omega) - omega[0, 1],
    ),
    "affine, of a vector": lambda omega: dist.TransformedDistribution(
        dist.Normal(jnp.zeros(2), 1.0).to_event(1), LowerCholeskyAffine(jnp.zeros(2), jnp.linalg.cholesky(omega))
    ),
}
VARIANCES = np.array([0.3, 0.5])
DIAGONAL = {
    "Normal": lambda omega: dist.Normal(jnp.zeros(2), sd(omega)),
    "Normal, one mean": lambda omega: dist.Normal(0.0, sd(omega)),
    "as one event": lambda omega: dist.Normal(jnp.zeros(2), sd(omega)).to_event(1),
    "Independent": lambda omega: dist.Independent(dist.Normal(0.0, sd(omega)), 1),
    "expanded": lambda omega: dist.Normal(0.0, sd(omega)).expand((2,)).to_event(1),
    "covariance": lambda omega: dist.MultivariateNormal(jnp.zeros(2), omega),
    "precision": lambda omega: dist.MultivariateNormal(jnp.zeros(2), precision_matrix=jnp.linalg.inv(omega)),
    "low rank": lambda omega: dist.LowRankMultivariateNormal(jnp.zeros(2), jnp.zeros((2, 1)), jnp.diagonal(omega)),
    "a batch of vectors": lambda omega: dist.MultivariateNormal(jnp.zeros((2, 1)), jnp.diagonal(omega)[:, None, None]),
    "by vmap": lambda omega: jax.vmap(lambda s: dist.Normal(0.0, s))(sd(omega)),
    "affine": lambda omega: dist.TransformedDistribution(
        dist.Normal(jnp.zeros(2), 1.0), AffineTransform(0.0, sd(omega))
    ),
    "affine, turned round": lambda omega: dist.TransformedDistribution(
        dist.Normal(2.0, 1.0).expand((2,)), [AffineTransform(1.0, -1.0), AffineTransform(sd(omega), sd(omega))]
    ),
    "affine, by an inverse": lambda omega: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand((2,)), AffineTransform(0.0, 1.0 / sd(omega)).inv
    ),
    "affine, nested": lambda omega: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand((2,)).to_event(1),
        ComposeTransform([IndependentTransform(AffineTransform(0.0, sd(omega)), 1)]),
    ),
}
SPELLINGS = [("full", name) for name in FULL] + [("diagonal", name) for name in DIAGONAL]
FEW = [  # one of each way to be told, for what is slow to compile
    ("full", "precision"),
    ("full", "low rank"),
    ("full", "affine, of a vector"),
    ("diagonal", "as one event"),
    ("diagonal", "a batch of vectors"),
    ("diagonal", "affine, turned round"),
]


def sd(omega):
    return jnp.sqrt(jnp.diagonal(omega))


class Bent(mf.Model):
    """A line with a random intercept, and a rate that a random effect bends."""

    a: Array = mf.real()
    b: Array = mf.positive()
    sigma: Array = mf.positive()
    spelling: Callable = eqx.field(static=True)

    def random_effects(self):
        return self.spelling(self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.a + eta[0] + self.b * jnp.exp(eta[1]) * subject.time, self.sigma)


class FullBent(Bent):
    omega: Array = mf.covariance()


class DiagonalBent(Bent):
    omega: Array = mf.diagonal_covariance()


def model_of(kind, name):
    values = dict(a=1.0, b=0.5, sigma=0.4)
    if kind == "full":
        return FullBent(**values, omega=OMEGA, spelling=FULL[name])
    return DiagonalBent(**values, omega=np.diag(VARIANCES), spelling=DIAGONAL[name])


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(4)
    rows = []
    for who in range(6):
        eta = rng.normal(size=2) * np.sqrt(VARIANCES)
        rows += [(who, t, 1 + eta[0] + 0.5 * np.exp(eta[1]) * t + 0.4 * rng.normal()) for t in range(2 + who % 3)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


@pytest.mark.parametrize(("kind", "name"), SPELLINGS)
def test_every_spelling_is_the_same_gaussian_law(kind, name):
    model = model_of(kind, name)
    omega = np.asarray(model.omega)
    law = gaussian_effects(model)
    np.testing.assert_allclose(law.mean, np.zeros(2), atol=1e-15)
    np.testing.assert_allclose(law.lower, np.linalg.cholesky(omega), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(eta_cov(model), omega, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(eta_mean(model), np.zeros(2), atol=1e-15)
    np.testing.assert_allclose(eta_sd(model), np.sqrt(np.diagonal(omega)), rtol=1e-12)
    exact = stats.multivariate_normal(np.zeros(2), omega).logpdf([0.3, -0.7])
    assert mf.log_random_effects(model, jnp.array([0.3, -0.7])) == pytest.approx(exact, rel=1e-12)
    assert not _is_centred(mf.NUTS(), model)


@pytest.fixture(scope="module")
def by_plain_spelling(people):
    return {
        (kind, method): mf.log_likelihood(model_of(kind, "covariance"), people, method)
        for kind in ("full", "diagonal")
        for method in (mf.FO(), mf.FOCE(), mf.JointMAP(centred=False))
    }


@pytest.mark.parametrize(("kind", "name"), FEW)
def test_every_spelling_has_the_same_closed_forms(kind, name, people, by_plain_spelling):
    model = model_of(kind, name)
    for method in (mf.FO(), mf.FOCE(), mf.JointMAP(centred=False)):
        assert mf.log_likelihood(model, people, method) == pytest.approx(by_plain_spelling[kind, method], rel=1e-10)


@pytest.mark.parametrize(("kind", "name"), FEW)
def test_every_spelling_has_the_same_m_steps(kind, name, people):
    problem = Problem(model_of(kind, name), people, jax.random.key(1), ())
    structure = find_structure(problem, jax.random.key(2))
    labels = [coordinate.parameter for coordinate in problem.space.coordinates]
    assert structure.covariance == "omega"
    assert {labels[i] for i in structure.variances} == {"omega"}
    assert {labels[i] for i in structure.shift} == {"a", "b"}
    assert {labels[i] for i in structure.newton} == {"sigma"}


class Schools(mf.Model):
    """The Eight Schools: an effect of each, known with its own error."""

    mu: Array = mf.real(prior=dist.Normal(0.0, 5.0))
    tau: Array = mf.positive(prior=dist.HalfCauchy(5.0))
    as_event: bool = eqx.field(static=True)

    def random_effects(self):
        law = dist.Normal(jnp.zeros(1), self.tau)
        return law.to_event(1) if self.as_event else law

    def observations(self, eta, subject):
        return dist.Normal(self.mu + eta[0] + 0.0 * subject.time, subject.covariates["error"])


def schools():
    """Rubin (1981), J. Educ. Stat. 6."""
    effect = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
    error = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
    frame = pd.DataFrame({"ID": np.arange(8), "TIME": 0.0, "DV": effect, "error": error})
    return mf.Population.from_frame(frame, covariates=["error"])


@pytest.mark.slow
def test_a_model_spelled_otherwise_is_sampled_alike():
    method = mf.NUTS(warmup=40, samples=20, chains=1)
    draws = []
    for as_event in (False, True):
        model = Schools(mu=4.0, tau=5.0, as_event=as_event)
        fit = mf.fit(model, schools(), method, key=jax.random.key(0), progress=False)
        assert not any("not Gaussian" in remark for remark in fit.remarks)
        draws.append(fit.draws.frame.to_numpy())
    np.testing.assert_allclose(draws[1], draws[0], rtol=1e-6)


# ---------------------------------------------------------------- responses


LINEAR = {
    "Normal": lambda m, s: dist.Normal(m, s),
    "as one event": lambda m, s: dist.Normal(m, s).to_event(1),
    "affine": lambda m, s: dist.TransformedDistribution(dist.Normal(0.0, 1.0), AffineTransform(m, s)),
    "affine, turned round": lambda m, s: dist.TransformedDistribution(
        dist.Normal(0.0, s), [AffineTransform(0.0, -1.0), AffineTransform(m, 1.0)]
    ),
}
LOGARITHMIC = {
    "LogNormal": lambda m, s: dist.LogNormal(m, s),
    "as one event": lambda m, s: dist.LogNormal(m, s).to_event(1),
    "exp of a Normal": lambda m, s: dist.TransformedDistribution(dist.Normal(m, s), ExpTransform()),
    "exp of an affine": lambda m, s: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0), [AffineTransform(m, s), ExpTransform()]
    ),
}
LOGISTIC = {"logit-normal": lambda m, s: dist.TransformedDistribution(dist.Normal(m, s), SigmoidTransform())}


class Level(mf.Model):
    """A bent line seen through a density, its error growing with it."""

    a: Array = mf.real()
    density: Callable = eqx.field(static=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), jnp.array([0.4, 0.3]))

    def observations(self, eta, subject):
        mean = self.a + eta[0] + 0.3 * jnp.exp(eta[1]) * subject.time
        return self.density(mean, 0.2 + 0.1 * mean**2)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["linear", "logarithmic", "logistic"])
def test_transformed_normals_are_linearised_as_what_they_are_made_of(scale, people):
    """log p(y) = log p(w) + log |dw/dy|: of the logarithms, and the sum of -log y. nlmixr #268 and #144, log data."""
    spelled, forward, slope = {
        "linear": (LINEAR, lambda w: w, lambda y: 1.0 + 0.0 * y),
        "logarithmic": (LOGARITHMIC, np.exp, lambda y: 1.0 / y),
        "logistic": (LOGISTIC, lambda w: 1.0 / (1.0 + np.exp(-w)), lambda y: 1.0 / (y * (1.0 - y))),
    }[scale]
    working = np.asarray(people.subjects.y) / 2.0
    there = np.asarray(people.subjects.mask)
    of_working = people.with_responses(working)
    seen = people.with_responses(np.where(there, forward(working), 0.0))
    jacobian = np.sum(np.log(slope(forward(working)))[there])
    for method in (mf.FO(), mf.FOCE(), mf.FOCE(interaction=False), mf.Laplace()):
        exact = mf.log_likelihood(Level(a=0.7, density=LINEAR["Normal"]), of_working, method) + jacobian
        for name, density in spelled.items():
            if method == mf.FOCE(interaction=False) and name not in ("LogNormal", "logit-normal"):
                continue
            found = mf.log_likelihood(Level(a=0.7, density=density), seen, method)
            assert found == pytest.approx(exact, rel=1e-10), (method, name)


@pytest.mark.parametrize("name", LOGARITHMIC)
def test_moments_and_intervals_of_a_log_normal_by_any_spelling(name):
    frame = {"ID": 1, "TIME": [0.0, 1.0, 2.0], "DV": [1.2, 0.3, 0.9], "CENS": [0, 1, 1], "LIMIT": [np.nan, np.nan, 0.4]}
    population = mf.Population.from_frame(pd.DataFrame(frame))
    model = Level(a=0.2, density=LOGARITHMIC[name])
    mean = 0.2 + 0.3 * np.arange(3.0)
    law = stats.lognorm(0.2 + 0.1 * mean**2, scale=np.exp(mean))
    exact = law.logpdf(1.2)[0] + law.logcdf(0.3)[1] + np.log(law.cdf(0.9) - law.cdf(0.4))[2]
    assert mf.log_conditional(model, jnp.zeros(2), population[0]) == pytest.approx(exact, rel=1e-12)
    np.testing.assert_allclose(mf.predict(model, population)[0], law.mean(), rtol=1e-12)


def test_what_is_not_gaussian_is_not_taken_for_it(people):
    class Heavy(Bent):
        def random_effects(self):
            return dist.StudentT(4.0, jnp.zeros(2), 1.0)

    class Positive(Bent):
        def random_effects(self):
            return dist.TransformedDistribution(dist.Normal(jnp.zeros(2), 1.0), SigmoidTransform())

    heavy = Heavy(a=1.0, b=0.5, sigma=0.4, spelling=None)
    with pytest.raises(ValueError, match="random_effects returns StudentT, which is not Gaussian: use JointMAP()"):
        mf.log_likelihood(heavy, people, mf.JointMAP(centred=False))
    with pytest.raises(ValueError, match="need Gaussian random effects, but Heavy.random_effects returns StudentT"):
        mf.log_likelihood(heavy, people, mf.FO())
    with pytest.raises(ValueError, match="TransformedDistribution, whose .* is not known in closed form"):
        mf.log_likelihood(Positive(a=1.0, b=0.5, sigma=0.4, spelling=None), people, mf.Laplace())


# ---------------------------------------------------------------- all rows of a subject together


def low_rank(mean, covariance):
    """The same covariance as a diagonal and a factor of one column, where it has that form."""
    shared = covariance[0, -1]
    return dist.LowRankMultivariateNormal(
        mean, jnp.sqrt(shared) * jnp.ones((mean.size, 1)), jnp.diagonal(covariance) - shared
    )


TOGETHER = {
    "covariance": lambda mean, cov: dist.MultivariateNormal(mean, cov),
    "precision": lambda mean, cov: dist.MultivariateNormal(mean, precision_matrix=jnp.linalg.inv(cov)),
    "Cholesky factor": lambda mean, cov: dist.MultivariateNormal(mean, scale_tril=jnp.linalg.cholesky(cov)),
    "low rank": low_rank,
    "affine": lambda mean, cov: dist.TransformedDistribution(
        dist.Normal(jnp.zeros(mean.size), 1.0).to_event(1), LowerCholeskyAffine(mean, jnp.linalg.cholesky(cov))
    ),
}


class Whole(mf.Model):
    """A line with two random effects, its rows together: of one variance, and sharing `shared`."""

    a: Array = mf.real()
    sigma: Array = mf.positive()
    shared: Array = mf.real()
    spelling: Callable | None = eqx.field(static=True)

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), jnp.array([0.7, 0.4]))

    def observations(self, eta, subject):
        mean = self.a + eta[0] + eta[1] * subject.time
        if self.spelling is None:
            return dist.Normal(mean, self.sigma)
        cov = self.sigma**2 * jnp.eye(mean.size) + self.shared * (1.0 + 0.0 * subject.time[:, None] * subject.time)
        return self.spelling(mean, cov)


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_together_have_the_marginal_of_those_that_were_seen(name, people):
    """Against SciPy, rows that are missing or padded left out; and without what is shared, against plain rows."""
    model = Whole(a=0.8, sigma=0.5, shared=0.2, spelling=TOGETHER[name])
    exact = 0.0
    for subject in people:
        t = np.asarray(subject.time)
        design = np.stack([np.ones(t.size), t], axis=1)
        cov = design @ np.diag([0.49, 0.16]) @ design.T + 0.25 * np.eye(t.size) + 0.2
        exact += stats.multivariate_normal(np.full(t.size, 0.8), cov).logpdf(np.asarray(subject.y))
    methods = (mf.FO(), mf.FOCE(), mf.Laplace()) if name in ("covariance", "low rank") else (mf.FO(),)
    for method in methods:
        assert mf.log_likelihood(model, people, method) == pytest.approx(exact, rel=1e-10), method
    if name != "low rank":
        alone = eqx.tree_at(lambda m: m.shared, model, jnp.zeros(()))
        plain = mf.log_likelihood(Whole(a=0.8, sigma=0.5, shared=0.0, spelling=None), people, mf.FO())
        assert mf.log_likelihood(alone, people, mf.FO()) == pytest.approx(plain, rel=1e-10)


class Growing(Whole):
    """An error that grows with the prediction, and with it the covariance of the rows."""

    def observations(self, eta, subject):
        mean = self.a + eta[0] + eta[1] * subject.time
        sd = self.sigma * (1.0 + 0.3 * mean**2)
        if self.spelling is None:
            return dist.Normal(mean, sd)
        return self.spelling(mean, jnp.outer(sd, sd) * jnp.eye(mean.size))


@pytest.mark.slow
def test_interaction_of_rows_together_is_that_of_rows(people):
    together = Growing(a=0.8, sigma=0.3, shared=0.0, spelling=TOGETHER["covariance"])
    apart = Growing(a=0.8, sigma=0.3, shared=0.0, spelling=None)
    for method in (mf.FOCE(), mf.FOCE(interaction=False)):
        exact = mf.log_likelihood(apart, people, method)
        assert mf.log_likelihood(together, people, method) == pytest.approx(exact, rel=1e-10)


@pytest.mark.slow
def test_what_looks_at_rows_together(people):
    model = Whole(a=0.8, sigma=0.5, shared=0.2, spelling=TOGETHER["covariance"])
    many = people[[4] * 4000]
    drawn = np.asarray(mf.simulate(model, many, jax.random.key(3)).subjects.y)[:, :3]
    t = np.arange(3.0)
    exact = 0.49 + 0.16 * np.outer(t, t) + 0.25 * np.eye(3) + 0.2
    np.testing.assert_allclose(np.cov(drawn.T), exact, atol=0.1)
    fit = mf.fit(model, people, mf.FO(), fixed=("sigma", "shared"), progress=False)
    table = mf.residuals(fit)
    one = table[table.ID == 4]
    size = len(one)
    t = np.arange(float(size))
    cov = 0.49 + 0.16 * np.outer(t, t) + 0.25 * np.eye(size) + 0.2
    whitened = np.linalg.solve(np.linalg.cholesky(cov), one.DV - float(fit.model.a))
    np.testing.assert_allclose(one.CWRES, whitened, atol=1e-8)
