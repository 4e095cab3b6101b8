"""Missing and padded rows under every kind of density: neither value nor gradient knows of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from numpyro.distributions.transforms import AffineTransform, ExpTransform
from scipy import optimize, special, stats

import mefit as mf


class Any3(mf.Model):
    """Three numbers, and a density made of them and of the times."""

    a: Array = mf.real()
    density: Callable = eqx.field(static=True)

    def observations(self, eta, subject):
        return self.density(self.a, subject.time)


class Case(NamedTuple):
    density: Callable  # of a (3,) and the times (n,), for NumPyro
    log_p: Callable  # of a, one time and one response, by SciPy
    y: tuple[float, float]


A = np.array([0.3, -0.4, 0.2])
TIMES = (1.3, 2.6)
LEVELS = np.array([[0.0, 0.5, -0.3], [1.0, -0.2, 0.4]])  # logits of three categories: at log t = 0, and per log t
CUTS = np.array([-1.0, 0.2, 1.1])


def two_normals(y, first, second, scale, other, share):
    densities = stats.norm(first, scale).logpdf(y), stats.norm(second, other).logpdf(y)
    return np.logaddexp(np.log(share) + densities[0], np.log1p(-share) + densities[1])


def logits(a, log_t, xp=np):
    return xp.asarray(LEVELS[0]) * a[0] + xp.asarray(LEVELS[1]) * log_t + a[1] * xp.arange(3)


def ordered(y, predictor, cuts):
    below = np.concatenate([[0.0], special.expit(cuts - predictor), [1.0]])
    return np.log(below[int(y) + 1] - below[int(y)])


def probabilities(a, t):
    """Of three categories (n, 3): not a number at time 0."""
    log_t = jnp.log(jnp.where(t > 0, t, 1.0))
    return jax.vmap(lambda x: jax.nn.softmax(logits(a, x, jnp)))(log_t) + 0.0 * jnp.log(t)[:, None]


def mixture_with_shared_weights(a, t):
    means = jnp.stack([a[0] + jnp.log(t), a[1] - jnp.log(t)], axis=-1)
    scales = jnp.exp(jnp.stack([a[1], a[2]]))
    return dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.9, 0.1])), dist.Normal(means, scales))


def mixture_with_weights_of_rows(a, t):
    shares = jax.vmap(lambda log_t: logits(a, log_t, jnp))(jnp.log(t))
    return dist.MixtureSameFamily(dist.Categorical(logits=shares), dist.Normal(a, jnp.exp(a)))


def log_p_weights_of_rows(a, t, y):
    return special.logsumexp(special.log_softmax(logits(a, np.log(t))) + stats.norm(a, np.exp(a)).logpdf(y))


def mixture_of_two_families(a, t):
    parts = [dist.Normal(a[0] + jnp.log(t), 1.0), dist.Laplace(a[1] - jnp.log(t), jnp.exp(a[2]))]
    return dist.MixtureGeneral(dist.Categorical(probs=jnp.array([0.3, 0.7])), parts)


def log_p_two_families(a, t, y):
    first = np.log(0.3) + stats.norm(a[0] + np.log(t), 1.0).logpdf(y)
    return np.logaddexp(first, np.log(0.7) + stats.laplace(a[1] - np.log(t), np.exp(a[2])).logpdf(y))


def log_p_truncated(a, t, y):
    law = stats.norm(a[0] + np.log(t), np.exp(a[1]))
    return law.logpdf(y) - np.log(law.cdf(2 + np.log(t)) - law.cdf(np.log(t) - 1))


def log_p_zero_inflated(a, t, y):
    gate = special.expit(a[1] + np.log(t))
    return np.log(gate * (y == 0) + (1 - gate) * stats.poisson(np.exp(a[0])).pmf(y))


def log_p_negative_binomial(a, t, y):
    mean = np.exp(a[0]) + np.log(t)
    size = np.exp(a[1])
    return stats.nbinom(size, size / (size + mean)).logpmf(y)


def log_p_hurdle(a, t, y):
    law = stats.gamma(np.exp(a[0]), scale=1 / (np.exp(a[1]) + np.log(t)))
    return special.log_expit(a[2]) if y == 0 else special.log_expit(-a[2]) + law.logpdf(y)


CASES = {
    "Normal": Case(
        lambda a, t: dist.Normal(a[0] + jnp.log(t), jnp.exp(a[1])),
        lambda a, t, y: stats.norm(a[0] + np.log(t), np.exp(a[1])).logpdf(y),
        (0.2, 1.9),
    ),
    "Normal, as one event": Case(
        lambda a, t: dist.Normal(a[0] + jnp.log(t), jnp.exp(a[1])).to_event(1),
        lambda a, t, y: stats.norm(a[0] + np.log(t), np.exp(a[1])).logpdf(y),
        (0.2, 1.9),
    ),
    "Normal, the same for all rows": Case(
        lambda a, t: dist.Normal(a[0], jnp.exp(a[1])).expand(t.shape),
        lambda a, t, y: stats.norm(a[0], np.exp(a[1])).logpdf(y),
        (0.2, 1.9),
    ),
    "LogNormal": Case(
        lambda a, t: dist.LogNormal(a[0] + jnp.log(t), jnp.exp(a[1])),
        lambda a, t, y: stats.lognorm(np.exp(a[1]), scale=t * np.exp(a[0])).logpdf(y),
        (0.2, 1.9),
    ),
    "LogNormal, by vmap": Case(
        lambda a, t: jax.vmap(lambda one: dist.LogNormal(a[0] + jnp.log(one), jnp.exp(a[1])))(t),
        lambda a, t, y: stats.lognorm(np.exp(a[1]), scale=t * np.exp(a[0])).logpdf(y),
        (0.2, 1.9),
    ),
    "StudentT": Case(
        lambda a, t: dist.StudentT(4.0, a[0] + jnp.log(t), jnp.exp(a[1])),
        lambda a, t, y: stats.t(4.0, a[0] + np.log(t), np.exp(a[1])).logpdf(y),
        (0.2, 1.9),
    ),
    "Gamma": Case(
        lambda a, t: dist.Gamma(jnp.exp(a[0]), jnp.exp(a[1]) + jnp.log(t)),
        lambda a, t, y: stats.gamma(np.exp(a[0]), scale=1 / (np.exp(a[1]) + np.log(t))).logpdf(y),
        (0.2, 1.9),
    ),
    "Beta": Case(
        lambda a, t: dist.Beta(jnp.exp(a[0]) + jnp.log(t), jnp.exp(a[1])),
        lambda a, t, y: stats.beta(np.exp(a[0]) + np.log(t), np.exp(a[1])).logpdf(y),
        (0.2, 0.7),
    ),
    "Uniform": Case(
        lambda a, t: dist.Uniform(a[0] - jnp.log(t), a[1] + 3 + jnp.log(t)),
        lambda a, t, y: -np.log(a[1] + 3 + 2 * np.log(t) - a[0]),
        (0.2, 1.9),
    ),
    "TruncatedNormal": Case(
        lambda a, t: dist.TruncatedNormal(a[0] + jnp.log(t), jnp.exp(a[1]), low=jnp.log(t) - 1, high=2 + jnp.log(t)),
        log_p_truncated,
        (0.2, 1.9),
    ),
    "TransformedDistribution": Case(
        lambda a, t: dist.TransformedDistribution(
            dist.Normal(a[0], 1.0).expand(t.shape), [AffineTransform(jnp.log(t), jnp.exp(a[1])), ExpTransform()]
        ),
        lambda a, t, y: stats.lognorm(np.exp(a[1]), scale=t * np.exp(a[0] * np.exp(a[1]))).logpdf(y),
        (0.2, 1.9),
    ),
    "Mixture, shared weights": Case(
        mixture_with_shared_weights,
        lambda a, t, y: two_normals(y, a[0] + np.log(t), a[1] - np.log(t), np.exp(a[1]), np.exp(a[2]), 0.9),
        (0.2, 1.9),
    ),
    "Mixture, weights of rows": Case(mixture_with_weights_of_rows, log_p_weights_of_rows, (0.2, 1.9)),
    "Mixture of two families": Case(mixture_of_two_families, log_p_two_families, (0.2, 1.9)),
    "Mixture of log-normals": Case(
        lambda a, t: dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.array([0.4, 0.6])),
            dist.LogNormal(jnp.stack([a[0] + jnp.log(t), a[1] - jnp.log(t)], axis=-1), jnp.exp(a[:2])),
        ),
        lambda a, t, y: np.logaddexp(
            np.log(0.4) + stats.lognorm(np.exp(a[0]), scale=t * np.exp(a[0])).logpdf(y),
            np.log(0.6) + stats.lognorm(np.exp(a[1]), scale=np.exp(a[1]) / t).logpdf(y),
        ),
        (0.2, 1.9),
    ),
    "Mixture of mixtures": Case(
        lambda a, t: dist.MixtureGeneral(
            dist.Categorical(probs=jnp.array([0.25, 0.75])),
            [mixture_with_shared_weights(a, t), dist.Normal(a[2] + jnp.log(t), 2.0)],
        ),
        lambda a, t, y: np.logaddexp(
            np.log(0.25) + two_normals(y, a[0] + np.log(t), a[1] - np.log(t), np.exp(a[1]), np.exp(a[2]), 0.9),
            np.log(0.75) + stats.norm(a[2] + np.log(t), 2.0).logpdf(y),
        ),
        (0.2, 1.9),
    ),
    "Masked by rows": Case(
        lambda a, t: dist.Normal(a[0] + jnp.log(t), jnp.exp(a[1])).mask(t < 2.0),
        lambda a, t, y: stats.norm(a[0] + np.log(t), np.exp(a[1])).logpdf(y) if t < 2.0 else 0.0,
        (0.2, 1.9),
    ),
    "Zero-inflated negative binomial": Case(
        lambda a, t: dist.ZeroInflatedNegativeBinomial2(jnp.exp(a[0]) + jnp.log(t), jnp.exp(a[1]), gate_logits=a[2]),
        lambda a, t, y: np.logaddexp(
            special.log_expit(a[2]) if y == 0 else -np.inf, special.log_expit(-a[2]) + log_p_negative_binomial(a, t, y)
        ),
        (0, 3),
    ),
    "Zero-inflated, mixed with another": Case(
        lambda a, t: dist.MixtureGeneral(
            dist.Categorical(logits=a[:2]),
            [
                dist.ZeroInflatedDistribution(dist.Poisson(jnp.exp(a[0])), gate=jax.nn.sigmoid(a[1] + jnp.log(t))),
                dist.Poisson(jnp.exp(a[2] + jnp.log(t))),
            ],
        ),
        lambda a, t, y: np.logaddexp(
            special.log_softmax(a[:2])[0] + log_p_zero_inflated(a, t, y),
            special.log_softmax(a[:2])[1] + stats.poisson(t * np.exp(a[2])).logpmf(y),
        ),
        (0, 3),
    ),
    "HurdleGamma": Case(
        lambda a, t: dist.HurdleGamma(jax.nn.sigmoid(a[2]), jnp.exp(a[0]), jnp.exp(a[1]) + jnp.log(t)),
        log_p_hurdle,
        (0.2, 1.9),
    ),
    "Poisson": Case(
        lambda a, t: dist.Poisson(jnp.exp(a[0] + jnp.log(t))),
        lambda a, t, y: stats.poisson(t * np.exp(a[0])).logpmf(y),
        (0, 3),
    ),
    "NegativeBinomial": Case(
        lambda a, t: dist.NegativeBinomial2(jnp.exp(a[0]) + jnp.log(t), jnp.exp(a[1])),
        log_p_negative_binomial,
        (0, 3),
    ),
    "Binomial": Case(
        lambda a, t: dist.Binomial(jnp.where(t > 0, 5, 0), logits=a[0] + a[1] * jnp.where(t > 0, jnp.log(t), 0.0)),
        lambda a, t, y: stats.binom(5, special.expit(a[0] + a[1] * np.log(t))).logpmf(y),
        (0, 3),
    ),
    "Bernoulli": Case(
        lambda a, t: dist.Bernoulli(logits=a[0] + jnp.log(t)),
        lambda a, t, y: stats.bernoulli(special.expit(a[0] + np.log(t))).logpmf(y),
        (0, 1),
    ),
    "ZeroInflated": Case(
        lambda a, t: dist.ZeroInflatedDistribution(dist.Poisson(jnp.exp(a[0])), gate=jax.nn.sigmoid(a[1] + jnp.log(t))),
        log_p_zero_inflated,
        (0, 3),
    ),
    "Categorical, logits of rows": Case(
        lambda a, t: dist.Categorical(logits=jax.vmap(lambda log_t: logits(a, log_t, jnp))(jnp.log(t))),
        lambda a, t, y: special.log_softmax(logits(a, np.log(t)))[int(y)],
        (0, 2),
    ),
    "Categorical, probabilities of rows": Case(
        lambda a, t: dist.Categorical(probs=probabilities(a, t)),
        lambda a, t, y: special.log_softmax(logits(a, np.log(t)))[int(y)],
        (0, 2),
    ),
    "Categorical, the same for all rows": Case(
        lambda a, t: dist.Categorical(logits=a),
        lambda a, t, y: special.log_softmax(a)[int(y)],
        (0, 2),
    ),
    "OrderedLogistic": Case(
        lambda a, t: dist.OrderedLogistic(a[0] + jnp.log(t), jnp.asarray(CUTS) * jnp.exp(a[1])),
        lambda a, t, y: ordered(y, a[0] + np.log(t), CUTS * np.exp(a[1])),
        (0, 3),
    ),
}


def subject_of(y: tuple, observed: int, missing: int, padded: int) -> Any:
    """One subject with its padding; a missing row is at time 0, where log t is infinite."""
    times = [0.0] * missing + list(TIMES[:observed])
    first = pd.DataFrame({"ID": 1, "TIME": times, "DV": [np.nan] * missing + list(y[:observed])})
    rows = len(times) + padded
    longer = pd.DataFrame({"ID": 2, "TIME": np.arange(rows) + 1.0, "DV": y[0]})
    population = mf.Population.from_frame(pd.concat([first, longer]))
    return jax.tree.map(lambda x: x[0], population.subjects)


@pytest.mark.parametrize("name", CASES)
def test_unseen_rows_change_neither_value_nor_gradient(name):
    case = CASES[name]
    model = Any3(a=A, density=case.density)

    def value(a, subject):
        return mf.log_conditional(eqx.tree_at(lambda m: m.a, model, a), jnp.zeros(0), subject)

    # As many rows as components of a mixture (2) and as categories (3), with and without missing ones.
    both = jax.jit(lambda a, subject: (*jax.value_and_grad(value)(a, subject), jax.jacfwd(value)(a, subject)))
    for observed, missing, padded in ((2, 0, 0), (1, 1, 0), (2, 1, 0), (1, 1, 1)):
        subject = subject_of(case.y, observed, missing, padded)

        def exact(a, observed=observed):
            return sum(case.log_p(a, t, y) for t, y in zip(TIMES[:observed], case.y, strict=False))

        found, slope, forward = both(jnp.asarray(A), subject)
        assert found == pytest.approx(exact(A), rel=1e-10)
        np.testing.assert_allclose(slope, optimize.approx_fprime(A, exact, 1e-7), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(forward, slope, rtol=1e-9, atol=1e-12)


def test_shared_weights_as_long_as_the_rows_are_no_rows():
    class Outliers(mf.Model):
        scale: Array = mf.positive()

        def observations(self, eta, subject):
            scales = jnp.broadcast_to(jnp.stack([self.scale, 10.0]), (subject.time.size, 2))
            return dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.9, 0.1])), dist.Normal(0.0, scales))

    exact = two_normals(0.5, 0.0, 0.0, 1.0, 10.0, 0.9)
    assert exact == pytest.approx(-1.1368, abs=5e-5)
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0, 1.0], "DV": [0.5, np.nan]})
    for rows in (1, 2):
        population = mf.Population.from_frame(frame.iloc[:rows])
        assert mf.log_likelihood(Outliers(scale=1.0), population, mf.NaivePooled()) == pytest.approx(exact, abs=1e-12)


def test_rows_that_depend_on_each_other_are_refused():
    def density(a, t):
        return dist.MultivariateStudentT(4.0, a[0] * t, jnp.eye(t.size))

    with pytest.raises(ValueError, match="returns MultivariateStudentT, whose entries depend on each other"):
        mf.log_conditional(Any3(a=A, density=density), jnp.zeros(0), subject_of((0.1, 0.2), 2, 0, 0))
