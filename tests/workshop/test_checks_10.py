"""The checks of lesson 10: wrong answers as learners write them, with the reason each gets, and right ones."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from planted import Table
from scipy.integrate import quad
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal, norm

import mefit as mf
from workshop.checks import bound_10, divergence_10, lesson_10, models_10, sleep_10, weights_10
from workshop.checks.engine import Checker, Wrong
from workshop.checks.lesson_10 import EXERCISES
from workshop.studies import small_trials as trials

check = Checker(lambda lesson: EXERCISES, None)
inv = np.linalg.inv
logdet = lambda matrix: np.log(np.linalg.det(matrix))  # noqa: E731

# ------------------------------------------------------------------------------------ answers, as they are written


def kl(m, s, w, ratio=None, trace=None, away=None, less=None, half=0.5):
    w_inverse = inv(w)
    first = np.trace(w_inverse @ s) if trace is None else trace(s, w)
    second = m.T @ w_inverse @ m if away is None else away(m, w)
    third = len(m) if less is None else less(m)
    return 0.5 * (first + second - third) + half * (logdet(w) - logdet(s) if ratio is None else ratio(s, w))


def with_kl(**parts):
    return lambda m, s, w: kl(m, s, w, **parts)


def by_numpyro(m, s, w):
    zero = np.zeros(len(m))
    return dist.kl_divergence(dist.MultivariateNormal(m, s), dist.MultivariateNormal(zero, w))


def by_cholesky(m, s, w):
    prior = np.linalg.cholesky(w)
    root = np.linalg.solve(prior, np.linalg.cholesky(s))
    return 0.5 * (np.sum(root**2) + np.sum(np.linalg.solve(prior, m) ** 2) - m.size) - np.log(np.diag(root)).sum()


def elbo(
    place=lambda m, c, e: np.array([m + c @ one for one in e]),
    row=norm.logpdf,
    rows=np.sum,
    draws=np.mean,
    cost=lambda m, c, w, e: kl(m, c @ c.T, w),
    sign=-1,
):
    def bound(y, z, omega, sigma, mean, lower, normal):
        logs = [rows(row(y, z @ eta, sigma)) for eta in place(mean, lower, normal)]
        return draws(logs) + sign * cost(mean, lower, omega, normal)

    return bound


def kl_by_draws(m, c, w, e):
    etas = m + e @ c.T
    q = multivariate_normal(m, c @ c.T)
    return np.mean(q.logpdf(etas) - multivariate_normal(np.zeros(len(m)), w).logpdf(etas))


def cov(z, omega, sigma):
    """By the other form, from the covariance of y."""
    gain = omega @ z.T @ inv(z @ omega @ z.T + sigma**2 * np.eye(len(z)))
    return omega - gain @ z @ omega


def blup(y, z, omega, sigma):
    return omega @ z.T @ inv(z @ omega @ z.T + sigma**2 * np.eye(len(z))) @ y


def precision(z, omega, sigma):
    return z.T @ z / sigma**2 + inv(omega)


def seen(fill=lambda y, m, mask: jnp.where(mask, y, m), keep=lambda log, mask: jnp.where(mask, log, 0.0), end=jnp.sum):
    def masked(mean, sigma, y, mask):
        z = (fill(y, mean, mask) - mean) / sigma
        return end(keep(-(z**2) / 2 - jnp.log(sigma * jnp.sqrt(2 * jnp.pi)), mask))

    return masked


def as_it_is(y, m, mask):
    return y


def everything(log, mask):
    return log


def elbow(values=np.linalg.eigvalsh, square=True, factor=0.5, least=0.0, up=False):
    def nats(covariance, noise):
        ratio = np.sort(values(covariance)) / (noise**2 if square else noise)
        found = factor * np.log(ratio)
        found = found if least is None else np.where(found < least, least, found)
        return found if up else found[::-1]

    return nats


def correlations(matrix):
    scale = np.diag(1 / np.sqrt(np.diag(matrix)))
    return scale @ matrix @ scale


def gap(matrix=precision, end=lambda r: -0.5 * np.log(np.linalg.det(r))):
    return lambda z, omega, sigma: end(correlations(matrix(z, omega, sigma)))


def wide(z, omega, sigma):
    """The gap of a q with the posterior's own variances."""
    s = cov(z, omega, sigma)
    return kl(np.zeros(3), np.diag(np.diag(s)), s)


def weights(prior=True, proposal=lambda etas, m, c, e: dist.MultivariateNormal(m, scale_tril=c).log_prob(etas), **own):
    place = own.get("place", lambda m, c, e: m + jnp.einsum("kj,mj->mk", c, e))
    rows = own.get("rows", jnp.sum)
    spread = own.get("spread", lambda s: s)

    def log_weights(theta, y, time, mean, lower, normal):
        etas = place(mean, lower, normal)
        curve = theta[0] * etas[:, 0, None] + theta[1] * etas[:, 1, None] * time[None, :]
        log_y = rows(dist.Normal(curve, spread(theta[2])).log_prob(y), -1) if own.get("likelihood", True) else 0.0
        log_p = dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)).log_prob(etas) if prior else 0.0
        return log_y + log_p - proposal(etas, mean, lower, normal)

    return log_weights


def standard(e):
    return dist.Normal(0.0, 1.0).log_prob(e).sum(-1)


def log_size(c):
    return jnp.log(jnp.linalg.det(c))


def weighted(share=softmax, sd=lambda w, v: np.sqrt(w @ v**2 - (w @ v) ** 2)):
    def forecast(log_weight, value):
        with np.errstate(all="ignore"):
            w = share(np.asarray(log_weight))
            return np.array([w @ value, sd(w, value)])

    return forecast


def curvature(total=lambda w: sum(jax.nn.logsumexp(one) for one in w), end=lambda h: np.sqrt(np.diag(inv(-h)))):
    def errors(log_weights_of, theta):
        with np.errstate(all="ignore"):
            return end(np.asarray(jax.jacfwd(jax.jacrev(lambda t: total(log_weights_of(t))))(theta)))

    return errors


def scores_products(log_weights_of, theta):
    s = np.asarray(jax.jacrev(lambda t: jax.nn.logsumexp(log_weights_of(t), axis=1))(theta))
    return np.sqrt(np.diag(inv(s.T @ s)))


def second(answer):
    return [elbo(), answer, ...]


def third(answer):
    return [elbo(), cov, answer]


WAYS = {name: truth for name, (truth, _) in lesson_10.WAYS.items()}
SCORES = trials.pain()
END = trials.most_likely_end(SCORES)


def ways(**changed):
    return [END, {**WAYS, **{name.replace("_", " "): value for name, value in changed.items()}}]


PLANTED = [
    # the divergence
    ("10.1", lambda m, s, w: kl(m, w, s), "the other way round", 1),
    ("10.1", with_kl(ratio=lambda s, w: 0.0), "The log-determinants are missing", 2),
    ("10.1", with_kl(ratio=lambda s, w: -logdet(s)), "log-determinant of omega is missing", 2),
    ("10.1", with_kl(ratio=lambda s, w: logdet(w)), "of q's covariance is missing", 2),
    ("10.1", with_kl(ratio=lambda s, w: logdet(s) - logdet(w)), "each other's sign", 2),
    ("10.1", with_kl(less=lambda m: 0), "K is not taken off", 3),
    ("10.1", with_kl(less=lambda m: -m.size), "K is added", 3),
    ("10.1", with_kl(less=lambda m: 1), "A one is taken off", 3),
    ("10.1", with_kl(half=1.0), "The half stands in front of everything", 3),
    ("10.1", lambda m, s, w: kl(m, np.diag(np.diag(s)), np.diag(np.diag(w))), "the diagonals only", 2),
    ("10.1", with_kl(ratio=lambda s, w: logdet(w) - np.log(np.diag(s)).sum()), "taken for the product", 2),
    ("10.1", with_kl(ratio=lambda s, w: np.log(np.diag(w) / np.diag(s)).sum()), "A determinant is the product", 2),
    ("10.1", lambda m, s, w: kl(m, s, np.eye(len(m))), "the KL from N(0, I)", 1),
    ("10.1", with_kl(trace=lambda s, w: np.trace(s)), "In the trace", 1),
    ("10.1", with_kl(away=lambda m, w: m @ m), "in the prior's unit", 1),
    ("10.1", with_kl(away=lambda m, w: 0), "The mean does not count", 1),
    ("10.1", with_kl(away=lambda m, w: m @ w @ m), "where its inverse belongs", 1),
    (
        "10.1",
        with_kl(trace=lambda s, w: (np.diag(s) / np.diag(w)).sum(), away=lambda m, w: (m / np.diag(w) * m).sum()),
        "entry by entry",
        2,
    ),
    (
        "10.1",
        lambda m, s, w: (
            -by_numpyro(m, s, w) * 0 + 0.5 * (np.trace(inv(w) @ s) + m @ inv(w) @ m + logdet(2 * np.pi * w))
        ),
        "minus the average of log p alone",
        1,
    ),
    ("10.1", lambda m, s, w: 2 * kl(m, s, w), "the half in front is missing", 3),
    ("10.1", 0.5, "A function is asked for", None),
    # the bound: the slip of the slide first
    ("10.2", [elbo(sign=1), ..., ...], "The KL is added, the slip of a slide", 1),
    ("10.2", [lambda *given: -elbo(sign=1)(*given), ..., ...], "the loss as one slide prints it", 1),
    ("10.2", [lambda *given: -elbo()(*given), ..., ...], "the loss that a program minimises", 1),
    ("10.2", [elbo(sign=0), ..., ...], "The KL is missing", 1),
    ("10.2", [elbo(draws=lambda logs: logsumexp(logs) - np.log(len(logs))), ..., ...], "Jensen", 2),
    ("10.2", [elbo(draws=np.sum), ..., ...], "The draws are added up", 2),
    ("10.2", [elbo(rows=np.mean), ..., ...], "The mean over the rows of y", 2),
    ("10.2", [elbo(place=lambda m, c, e: m + e), ..., ...], "The draws have the covariance I", 1),
    ("10.2", [elbo(place=lambda m, c, e: e @ c.T), ..., ...], "The draws stand around zero", 1),
    ("10.2", [elbo(place=lambda m, c, e: m + e @ c), ..., ...], "another covariance, lower' lower", 3),
    ("10.2", [elbo(place=lambda m, c, e: m + e * np.diag(c)), ..., ...], "Only the diagonal of the factor", 2),
    ("10.2", [elbo(place=lambda m, c, e: m + e @ c @ c.T), ..., ...], "multiplied by the covariance", 1),
    (
        "10.2",
        [
            lambda y, z, w, s, m, c, e: (
                np.mean(norm.logpdf(y, e @ np.linalg.cholesky(w).T @ z.T, s).sum(1)) - kl(m, c @ c.T, w)
            ),
            ...,
            ...,
        ],
        "The draws are from the prior",
        1,
    ),
    ("10.2", [elbo(place=lambda m, c, e: [m]), ..., ...], "the mean of q alone", 1),
    (
        "10.2",
        [elbo(row=lambda y, f, s: norm.logpdf(y, f, s) + np.log(2 * np.pi) / 2), ..., ...],
        "The constant of the normal density",
        3,
    ),
    ("10.2", [elbo(row=lambda y, f, s: -(((y - f) / s) ** 2) / 2), ..., ...], "The normalising constant", 3),
    ("10.2", [elbo(row=lambda y, f, s: norm.logpdf(y, f, s**0.5)), ..., ...], "sigma is taken for a variance", 2),
    ("10.2", [elbo(cost=lambda m, c, w, e: kl(m, c @ c.T, np.eye(3))), ..., ...], "the one from N(0, I)", 2),
    ("10.2", [elbo(cost=lambda m, c, w, e: kl(m, w, c @ c.T)), ..., ...], "the other way round", 2),
    ("10.2", [elbo(cost=lambda m, c, w, e: kl(m, c, w)), ..., ...], "got the Cholesky factor", 3),
    ("10.2", [elbo(cost=lambda m, c, w, e: kl(m, c.T @ c, w)), ..., ...], "The KL got lower' lower", 3),
    ("10.2", [elbo(cost=lambda m, c, w, e: len(e) * kl(m, c @ c.T, w)), ..., ...], "once for every draw", 2),
    (
        "10.2",
        [lambda y, *g: elbo(sign=0)(y, *g) - len(y) * kl(g[3], g[4] @ g[4].T, g[1]), ..., ...],
        "once for every row",
        2,
    ),
    ("10.2", [elbo(cost=kl_by_draws), ..., ...], "taken by the draws as well", 2),
    ("10.2", second(precision), "This is the precision", 2),
    ("10.2", second(lambda z, w, s: inv(z.T @ z / s**2)), "The prior is missing", 1),
    ("10.2", second(lambda z, w, s: inv(z.T @ z / s**2 + w)), "its inverse is what is added", 1),
    ("10.2", second(lambda z, w, s: inv(z.T @ z / s + inv(w))), "its square is the variance of a row", 2),
    ("10.2", second(lambda z, w, s: inv(z.T @ z * s**2 + inv(w))), "*divided* by the variance", 2),
    ("10.2", second(lambda z, w, s: inv(z.T @ z + inv(w))), "sigma does not appear", 2),
    ("10.2", second(lambda z, w, s: np.diag(1 / np.diag(precision(z, w, s)))), "best *diagonal* q", 2),
    ("10.2", second(lambda z, w, s: np.diag(np.diag(cov(z, w, s)))), "The covariances are cut off", 2),
    ("10.2", second(lambda z, w, s: np.linalg.cholesky(cov(z, w, s))), "its Cholesky factor", 2),
    ("10.2", second(lambda z, w, s: inv(z.T @ z / s**2) + w), "Two covariances are added", 1),
    ("10.2", second(lambda z, w, s: z @ z.T), "The function returns", 1),
    ("10.2", third(lambda y, z, w, s: cov(z, w, s) @ z.T @ y), "by which they are divided, is missing", 3),
    ("10.2", third(lambda y, z, w, s: inv(z.T @ z) @ z.T @ y), "This is least squares", 1),
    ("10.2", third(lambda y, z, w, s: z.T @ y / s**2), "Multiply by the posterior covariance", 3),
    ("10.2", third(lambda y, z, w, s: cov(z, w, s) @ z.T @ y / s), "divide by its square", 3),
    ("10.2", third(lambda y, z, w, s: precision(z, w, s) @ z.T @ y / s**2), "Multiplied by the precision", 2),
    ("10.2", third(lambda y, z, w, s: w @ z.T @ y / s**2), "the prior's covariance", 3),
    ("10.2", third(lambda y, z, w, s: z.T @ y / s**2 / np.diag(precision(z, w, s))), "a diagonal covariance", 2),
    # the mask
    ("10.3", seen(as_it_is, everything), "The mask is not used", 1),
    ("10.3", seen(as_it_is, everything, jnp.nansum), "leaves out NaN, not what the mask says", 1),
    ("10.3", seen(as_it_is, lambda log, mask: mask.astype(float) * log), "Multiplied by the mask", 2),
    ("10.3", seen(lambda y, m, mask: jnp.where(mask, y, 0.0), everything), "filled with 0", 2),
    ("10.3", seen(keep=everything), "exactly on the curve", 2),
    (
        "10.3",
        lambda m, s, y, mask: -0.5 * jnp.sum(jnp.where(mask, (y - m) / s, 0) ** 2) - len(y) * jnp.log(s * 2.5066282746),
        "exactly on the curve",
        2,
    ),
    (
        "10.3",
        seen(lambda y, m, mask: jnp.where(mask, y, jnp.mean(y, where=mask)), everything),
        "that is mean imputation",
        2,
    ),
    ("10.3", lambda *g: seen()(*g) / g[3].sum(), "The mean over the cells that were seen", 1),
    ("10.3", seen(end=jnp.mean), "The mean over all cells", 1),
    ("10.3", lambda *g: seen(end=jnp.mean)(*g) * g[3].size ** 2 / g[3].sum(), "Scaled up", 1),
    ("10.3", lambda m, s, y, mask: seen(as_it_is)(m, s, y, ~mask), "turned round", 1),
    ("10.3", lambda m, s, y, mask: -0.5 * (jnp.where(mask, (y - m) / s, 0) ** 2).sum(), "The constants", 3),
    ("10.3", lambda m, s, y, mask: seen()(m, s**0.5, y, mask), "taken for a variance", 3),
    ("10.3", lambda *g: seen()(*g) + jnp.log(2 * jnp.pi) / 2 * g[3].sum(), "log 2π / 2 is missing", 3),
    ("10.3", seen(as_it_is), "a first jnp.where", 3),
    ("10.3", lambda m, s, y, mask: dist.Normal(m[mask], s).log_prob(y[mask]).sum(), "another length", 1),
    (
        "10.3",
        lambda m, s, y, mask: np.sum(norm.logpdf(np.where(mask, y, m), m, s), where=np.array(mask)),
        "NumPy takes no derivatives",
        None,
    ),
    ("10.3", lambda *g: seen()(jax.lax.stop_gradient(g[0]), *g[1:]), "with respect to the mean is not", 3),
    # sleep
    ("10.5", [elbow(least=None), ..., ...], "Some are negative", 2),
    ("10.5", [elbow(least=0.0, square=False), ..., ...], "What a variance is held against", 1),
    ("10.5", [elbow(factor=1.0), ..., ...], "The half is missing", 1),
    ("10.5", [elbow(up=True), ..., ...], "the smallest first", 3),
    ("10.5", [elbow(factor=0.5 / np.log(2)), ..., ...], "These are bits", 1),
    ("10.5", [lambda c, s: 0.5 * np.log(1 + np.linalg.eigvalsh(c)[::-1] / s**2), ..., ...], "nothing would ever", 2),
    ("10.5", [elbow(values=np.diag), ..., ...], "The variances at the single times", 1),
    ("10.5", [elbow(factor=0.25), ..., ...], "A ratio of SDs has its half already", 1),
    (
        "10.5",
        [lambda c, s: np.where((r := np.linalg.eigvalsh(c)[::-1] / s**2) > 1, np.log(r) / 2, np.nan), ..., ...],
        "not NaN",
        2,
    ),
    ("10.5", [elbow(), gap(end=lambda r: np.log(np.linalg.det(r)) / 2), ...], "The sign is turned", 3),
    ("10.5", [elbow(), gap(end=lambda r: -np.log(np.linalg.det(r))), ...], "The half in front", 3),
    ("10.5", [elbow(), gap(cov), ...], "correlations of the posterior's covariance", 1),
    ("10.5", [elbow(), wide, ...], "the posterior's own variances", 2),
    ("10.5", [elbow(), lambda *g: -0.5 * np.log(np.linalg.det(precision(*g))), ...], "scaled to a diagonal", 2),
    ("10.5", [elbow(), gap(lambda z, w, s: z.T @ z), ...], "The prior's precision is missing", 1),
    ("10.5", [elbow(), gap(lambda z, w, s: z.T @ z / s**2 + w), ...], "omega's inverse in it", 1),
    ("10.5", [elbow(), gap(lambda z, w, s: z.T @ z / s + inv(w)), ...], "its square stands in", 1),
    ("10.5", [elbow(), gap(end=lambda r: 1 - np.linalg.det(r)), ...], "nats are logarithms", 3),
    ("10.5", [elbow(), gap(end=np.linalg.det), ...], "This is det R itself", 3),
    (
        "10.5",
        [elbow(), lambda z, w, s: kl(np.zeros(3), np.diag(1 / np.diag(precision(z, w, s))), w), ...],
        "best diagonal q from the *prior*",
        1,
    ),
    # dropout
    ("10.6", [trials.available(SCORES), ...], "still there at the last visit", 1),
    ("10.6", [trials.imputed_by_means(SCORES), ...], "still there at the last visit", 1),
    ("10.6", [np.float64(trials.carried_forward(SCORES)), ...], "carries the last score forward", 1),
    ("10.6", [jnp.asarray(trials.pooled_line(SCORES)), ...], "one line through all rows", 1),
    ("10.6", [SCORES[:, 0].mean(), ...], "This is the first visit", 3),
    ("10.6", [END - SCORES[:, 0].mean(), ...], "the change since", 3),
    ("10.6", [np.nanmean(SCORES), ...], "mean of all scores that were seen", 1),
    ("10.6", [3.6, ...], "too large", 1),
    ("10.6", [[3.0, 3.1], ...], "the question asks for one number", None),
    ("10.6", ways(available_cases="right"), "the ones with little pain", 3),
    ("10.6", ways(last_value_carried_forward="too low"), "with a high score that is then kept", 3),
    ("10.6", ways(mean_imputation="right"), "once more", 3),
    ("10.6", [END, {**WAYS, "available cases, leaving by lot": "too low"}], "a random half", 3),
    ("10.6", [END, {**WAYS, "last value carried forward, leaving by lot": "right"}], "no score of week 5", 3),
    ("10.6", [END, {**WAYS, "the bound, leaving by the score that is missed": "right"}], "that nobody saw", 3),
    ("10.6", ways(mean_imputation="low"), "is none of", None),
    ("10.6", [END, {"available cases": "too low"}], "Keep the six names", None),
    ("10.6", [END, "too low"], "Keep the six names", None),
    # weights
    ("10.7", [weights(proposal=lambda *g: 0.0), ..., ...], "is not divided out", 1),
    ("10.7", [weights(prior=False), ..., ...], "The prior p(eta) is missing", 1),
    ("10.7", [weights(likelihood=False), ..., ...], "The likelihood of y is missing", 1),
    ("10.7", [weights(proposal=lambda etas, m, c, e: standard(e)), ..., ...], "factor is missing in log q", 3),
    ("10.7", [weights(proposal=lambda etas, m, c, e: standard(e) + log_size(c)), ..., ...], "the wrong sign", 3),
    ("10.7", [weights(proposal=lambda etas, m, c, e: standard(e) - 2 * log_size(c)), ..., ...], "factor, once", 3),
    (
        "10.7",
        [
            weights(proposal=lambda etas, m, c, e: dist.Normal(m, jnp.diagonal(c)).log_prob(etas).sum(1)),
            ...,
            ...,
        ],
        "that of independent draws",
        2,
    ),
    (
        "10.7",
        [weights(place=lambda m, c, e: m + e @ c, proposal=lambda t, m, c, e: standard(e) - log_size(c)), ..., ...],
        "another covariance",
        2,
    ),
    (
        "10.7",
        [weights(place=lambda m, c, e: m + e, proposal=lambda t, m, c, e: standard(e) - log_size(c)), ..., ...],
        "multiply them by the factor",
        2,
    ),
    ("10.7", [weights(rows=jnp.mean), ..., ...], "The mean over the rows of y", 2),
    ("10.7", [lambda *g: jnp.exp(weights()(*g)), ..., ...], "Asked for are their logarithms", 1),
    ("10.7", [weights(spread=jnp.sqrt), ..., ...], "theta[2] is taken for a variance", 2),
    (
        "10.7",
        [lambda *g: weights()(*g) + np.log(2 * np.pi), ..., ...],
        "log 2π stands in log q",
        3,
    ),
    ("10.7", [weights(proposal=lambda etas, m, c, e: standard(etas)), ..., ...], "The prior is divided out", 1),
    (
        "10.7",
        [lambda t, y, time, m, c, e: np.asarray(weights()(*map(np.asarray, (t, y, time, m, c, e)))), ..., ...],
        "write jnp for np",
        None,
    ),
    ("10.7", [weights(), weighted(lambda w: np.exp(w) / np.exp(w).sum()), ...], "take the largest log weight off", 3),
    ("10.7", [weights(), weighted(lambda w: np.ones(w.size) / w.size), ...], "All draws count the same", 1),
    ("10.7", [weights(), weighted(np.exp, lambda w, v: np.sqrt(w @ (v - w @ v) ** 2)), ...], "add up to one", 2),
    (
        "10.7",
        [weights(), weighted(lambda w: np.exp(w - w.max()), lambda w, v: np.sqrt(w @ (v - w @ v) ** 2)), ...],
        "add up to one",
        2,
    ),
    (
        "10.7",
        [weights(), weighted(lambda w: w / w.sum(), lambda w, v: np.sqrt(w @ (v - w @ v) ** 2)), ...],
        "with the logarithms",
        1,
    ),
    ("10.7", [weights(), weighted(sd=lambda w, v: w @ v**2 - (w @ v) ** 2), ...], "the variance; asked for", 3),
    ("10.7", [weights(), weighted(sd=lambda w, v: np.sqrt(w @ v**2)), ...], "squared as they are", 3),
    ("10.7", [weights(), weighted(sd=lambda w, v: v.std()), ...], "without weights", 3),
    (
        "10.7",
        [weights(), weighted(sd=lambda w, v: np.sqrt(w @ (v - v.mean()) ** 2)), ...],
        "not around the weighted",
        3,
    ),
    ("10.7", [weights(), weighted(sd=lambda w, v: np.sqrt(w**2 @ (v - w @ v) ** 2)), ...], "how sure the *mean* is", 3),
    (
        "10.7",
        [weights(), lambda w, v: (v[w.argmax()], weighted()(w, v)[1]), ...],
        "the draw that counts most",
        2,
    ),
    # standard errors: the curvature of the bound first
    ("10.7", [weights(), weighted(), curvature(lambda w: w.mean(1).sum())], "the curvature of the *bound*", 1),
    ("10.7", [weights(), weighted(), curvature(jax.nn.logsumexp)], "thrown into one mean", 2),
    ("10.7", [weights(), weighted(), curvature(lambda w: jax.nn.logsumexp(w.sum(0)))], "draw by draw first", 2),
    (
        "10.7",
        [weights(), weighted(), curvature(lambda w: jax.nn.logsumexp(w, axis=1).mean())],
        "the mean over people",
        2,
    ),
    ("10.7", [weights(), weighted(), curvature(end=lambda h: np.sqrt(np.diag(inv(h))))], "without its minus", 3),
    ("10.7", [weights(), weighted(), curvature(end=lambda h: np.diag(inv(-h)))], "These are the variances. A", 3),
    ("10.7", [weights(), weighted(), curvature(end=lambda h: np.diag(-h) ** -0.5)], "One over the diagonal", 3),
    ("10.7", [weights(), weighted(), curvature(end=lambda h: np.diag(-h) ** 0.5)], "root of the information", 3),
    ("10.7", [weights(), weighted(), scores_products], "the products of the scores", 2),
]
RIGHT = [
    ("10.1", kl),
    ("10.1", by_numpyro),
    ("10.1", by_cholesky),
    ("10.2", [elbo(), cov, blup]),
    (
        "10.2",
        (elbo(), lambda *g: inv(precision(*g)), lambda y, z, w, s: np.linalg.solve(precision(z, w, s), z.T @ y) / s**2),
    ),
    ("10.3", seen()),
    ("10.3", seen(lambda y, m, mask: jnp.where(mask, y, 0.0), lambda log, mask: log * mask)),
    ("10.3", seen(lambda y, m, mask: jnp.where(mask, y, 7.0), end=lambda log: log @ jnp.ones(log.size))),
    ("10.6", [END, WAYS]),
    ("10.6", [np.float64(trials.PAIN_AT_THE_END), {name: value.upper() for name, value in WAYS.items()}]),
    ("10.7", [weights(), weighted(), curvature()]),
    (
        "10.7",
        [
            weights(proposal=lambda etas, m, c, e: standard(e) - jnp.log(jnp.diagonal(c)).sum()),
            lambda w, v: [np.average(v, weights=softmax(w)), np.cov(v, aweights=softmax(w), ddof=0) ** 0.5],
            curvature(lambda w: jnp.sum(jnp.log(jnp.mean(jnp.exp(w), axis=1)))),
        ],
    ),
]
DOTS = {
    "10.2": [lambda *given: ...] * 3,
    "10.4": [..., ..., [...] * 3],
    "10.5": [lambda *given: ..., lambda *given: ..., ...],
    "10.6": [..., dict.fromkeys(WAYS, ...)],
    "10.7": [lambda *given: ...] * 3,
}
TABLE = Table(
    exercises=EXERCISES,
    planted=PLANTED,
    right=RIGHT,
    dots=DOTS,
    elsewhere=("10.4", "10.5"),
    apart=True,
)


def test_every_mistake_is_planted():
    for number, exercise in EXERCISES.items():
        planted = [reason for n, _, reason, _ in PLANTED if n == number]
        parts = getattr(exercise, "parts", (exercise,))
        for mistake in (m for part in parts for m in getattr(part, "mistakes", ())):
            assert any(reason in mistake.reason for reason in planted), mistake.reason
    for _, reason in lesson_10.WAYS.values():
        assert any(part in reason for n, _, part, _ in PLANTED if n == "10.6"), reason


# ------------------------------------------------------------------------------------ 10.4: the model


class Plateau(mf.Model):
    top: Array = mf.positive()
    rate: Array = mf.positive()
    omega: Array = mf.diagonal_covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.curve(jnp.exp(eta), subject.time), self.sigma)

    def curve(self, factor, time):
        return self.top * factor[0] * (1 - jnp.exp(-self.rate * factor[1] * time))


class WithoutSigma(mf.Model):
    top: Array = mf.positive()
    rate: Array = mf.positive()
    omega: Array = mf.diagonal_covariance()
    random_effects = Plateau.random_effects

    def observations(self, eta, subject):
        return dist.Normal(subject.time, 1.0)


def at(kind=Plateau, **changed):
    return kind(**{"top": 8.0, "rate": 0.3, "omega": 0.2 * jnp.eye(2), "sigma": 1.0} | changed)


def variant(**methods):
    return at(type("Plateau", (Plateau,), methods | {"__annotations__": {}}))


def observed(mean, sd=lambda m: m.sigma):
    return variant(observations=lambda self, eta, s: dist.Normal(mean(self, eta, s.time), sd(self)))


def right(self, eta, time):
    return self.curve(jnp.exp(eta), time)


MODELS = [
    (Plateau, "This is the class", 1),
    (3.0, "A model is asked for", 1),
    (WithoutSigma(top=8.0, rate=0.3, omega=jnp.eye(2)), "sigma is not declared", 1),
    (variant(random_effects=lambda self: None), "returns nothing", None),
    (variant(random_effects=lambda self: dist.Normal(0.0, 1.0)), "of two numbers", 1),
    (variant(random_effects=lambda self: dist.Normal(jnp.zeros(2), jnp.diagonal(self.omega))), "taken for SDs", 1),
    (variant(random_effects=lambda self: dist.Normal(jnp.zeros(2), 1.0)), "do not depend on omega", 1),
    (variant(random_effects=lambda self: dist.Normal(jnp.ones(2), 1.0)), "are not N(0, omega)", 1),
    (observed(lambda m, e, t: right(m, e[::-1], t)), "changed places", 1),
    (observed(lambda m, e, t: right(m, 0 * e, t)), "everybody is typical", 1),
    (observed(lambda m, e, t: right(m, e * jnp.array([1, 0]), t)), "that of rate, has no effect", 1),
    (observed(lambda m, e, t: right(m, e * jnp.array([0, 1]), t)), "that of top, has no effect", 1),
    (observed(lambda m, e, t: (m.top + e[0]) * (1 - jnp.exp(-(m.rate + e[1]) * t))), "are added", 1),
    (observed(lambda m, e, t: m.top * jnp.exp(e[0] - m.rate * jnp.exp(e[1]) * t)), "falls from the top", 1),
    (observed(lambda m, e, t: right(m, e, -t)), "lost its minus", 1),
    (observed(lambda m, e, t: right(m, 2 * e, t)), "The mean is not top", 1),
    (observed(lambda m, e, t: right(m, e, t[0])), "A mean for each time", 1),
    (observed(right, lambda m: m.sigma**2), "sigma is squared", 1),
    (observed(right, lambda m: 1.0), "do not have the SD", 1),
    (variant(observations=lambda self, eta, s: self.oops), "observations stopped with AttributeError", None),
]


@pytest.mark.parametrize("model, part, hint", MODELS)
def test_a_wrong_model_gets_its_reason(model, part, hint):
    verdict = check("10.4", [model, ..., [...] * 3])
    assert verdict.state == "wrong", verdict.text
    assert part in verdict.reason and verdict.hint == hint, verdict.text


def test_a_right_model_is_right_however_it_is_written():
    independent = variant(random_effects=lambda self: dist.Normal(jnp.zeros(2), jnp.sqrt(jnp.diagonal(self.omega))))
    for model in (
        at(),
        independent,
        at(top=5.0),
        observed(lambda m, e, t: -right(m, e, t) * jnp.expm1(0.0) + right(m, e, t)),
    ):
        verdict = check("10.4", [model, ..., [...] * 3])
        assert verdict.state == "open" and "model right. Next is fit" in verdict.reason, verdict.text


# ------------------------------------------------------------------------------------ fits, as they look from outside


class Account:
    bound, gap, divergence = -1600.0, 0.04, np.array([2.0, 1.0])


def outside(**changes):
    """A fit without training, which takes seconds and is done by the worked solution."""
    fit = object.__new__(mf.Fit)
    shown = {
        "model": at(),
        "method": mf.Adam(mf.Amortised()),
        "fixed": (),
        "amortised": Account(),
        "log_likelihood": -1592.0,
        "effective_sample_size": np.linspace(700.0, 900.0, 200),
        "population": trials.growth(),
    }
    for name, value in (shown | changes).items():
        object.__setattr__(fit, name, value)
    return fit


def said(judge, answer):
    with pytest.raises(Wrong) as wrong:
        judge(answer)
    return wrong.value.reason


def test_a_fit_that_is_none_gets_its_reason():
    models_10.judge_fit(outside())
    loose = Account()
    loose.gap = 0.5
    assert "not what mf.fit" in said(models_10.judge_fit, at())
    assert "trains no encoder" in said(models_10.judge_fit, outside(amortised=None, method=mf.FOCE()))
    assert "other people" in said(models_10.judge_fit, outside(population=trials.growth(10)))
    assert "another model" in said(models_10.judge_fit, outside(model=trials.lines_start()))
    assert "held fixed" in said(models_10.judge_fit, outside(fixed=("sigma",)))
    assert "to the end" in said(models_10.judge_fit, outside(amortised=loose))


RIGHT_TOLD = [-8.0, 0.04, 0.8]


@pytest.mark.parametrize(
    "place, value, part",
    [
        (0, -1600.0, "divide by how many"),
        (0, -7.96, "by importance sampling"),
        (0, -1592.0, "of all people, not"),
        (0, -7.92, "The gap is added"),
        (0, 8.0, "sign"),
        (1, 8.0, "gap of all people together"),
        (1, 0.0002, "per person already"),
        (1, -0.04, "not below zero"),
        (1, 3.0, "from the *prior*"),
        (2, 800.0, "a number of draws"),
        (2, 0.7, "with the smallest"),
        (2, 160.0, "take the mean"),
        (2, "all", "cannot be read as numbers"),
    ],
)
def test_a_number_told_wrong_gets_its_reason(place, value, part):
    told = list(RIGHT_TOLD)
    told[place] = value
    verdict = check("10.4", [at(), outside(), told])
    assert verdict.state == "wrong" and part in verdict.reason and verdict.hint == 3, verdict.text


def test_three_right_numbers_are_right():
    fit = outside(log_likelihood=-1592.0)
    for told in (RIGHT_TOLD, tuple(RIGHT_TOLD), np.array(RIGHT_TOLD)):
        assert check("10.4", [at(), fit, told])
    assert "Give three numbers" in check("10.4", [at(), fit, -8.0]).reason
    assert check("10.4", [at(), fit, [-8.0, ..., ...]]).state == "open"


def of_lines(full=True, **changes):
    best = models_10.best_of_lines()
    told = Account()
    told.encoder = mf.networks.Encoder(trials.lines(), 2, (4,), full=full)
    shown = {"population": trials.lines(), "model": trials.lines_start(), "log_likelihood": best - 0.5}
    return outside(**shown | {"amortised": told} | changes)


def test_a_cure_that_is_none_gets_its_reason():
    models_10.judge_cured(of_lines())
    asleep = {"log_likelihood": models_10.best_of_lines() - 100.0}
    annealed = mf.Adam(mf.Amortised(annealing=500))
    assert "still sleeps" in said(models_10.judge_cured, of_lines(full=False, **asleep))
    assert "it delays" in said(models_10.judge_cured, of_lines(full=False, method=annealed, **asleep))
    assert "trained to the end" in said(models_10.judge_cured, of_lines(**asleep))
    assert "held fixed" in said(models_10.judge_cured, of_lines(fixed=("scale",)))
    assert "other people" in said(models_10.judge_cured, of_lines(population=trials.lines(20)))
    assert "trains no encoder" in said(models_10.judge_cured, of_lines(amortised=None, method=mf.FOCE()))
    assert "not what mf.fit" in said(models_10.judge_cured, 3.0)
    assert check("10.5", [elbow(), gap(), of_lines()])
    assert check(
        "10.5", [sleep_10.nats, lambda *g: -0.5 * np.linalg.slogdet(correlations(precision(*g)))[1], of_lines()]
    )


def test_what_comes_next_is_said():
    assert "bound right. Next is posterior_covariance" in check("10.2", [elbo(), lambda *g: ..., ...]).reason
    assert "nats and lost right. Next is cured" in check("10.5", [elbow(), gap(), ...]).reason
    assert "at_the_end right. Next is misled" in check("10.6", [END, {**WAYS, "available cases": ...}]).reason


# ------------------------------------------------------------------------------------ the truths themselves


def test_the_divergence_is_the_integral():
    m, sd, prior = 0.4, 0.6, 1.3

    def ratio(x):
        return norm.pdf(x, m, sd) * (norm.logpdf(x, m, sd) - norm.logpdf(x, 0, prior))

    value = divergence_10.divergence(np.array([m]), np.array([[sd**2]]), np.array([[prior**2]]))
    assert value == pytest.approx(quad(ratio, -8, 8)[0], rel=1e-9)


def test_the_bound_at_the_posterior_is_the_likelihood():
    """With all by draws each draw gives log L; and what the best diagonal q lacks is the closed form of `lost`."""
    rng = np.random.default_rng(2)
    y, z, omega, sigma = bound_10.rows_of_one(rng)
    law = multivariate_normal(np.zeros(len(y)), z @ omega @ z.T + sigma**2 * np.eye(len(y)))
    mean = bound_10.posterior_mean(y, z, omega, sigma)
    normal = rng.normal(size=(400_000, 3))
    full = bound_10.posterior_covariance(z, omega, sigma)
    diagonal = np.diag(1 / np.diagonal(inv(full)))
    for covariance, lacking in ((full, 0.0), (diagonal, sleep_10.lost(z, omega, sigma))):
        value = bound_10.bound(y, z, omega, sigma, mean, np.linalg.cholesky(covariance), normal)
        assert law.logpdf(y) - value == pytest.approx(lacking, abs=0.02)


def test_the_weights_give_the_likelihood_and_the_posterior():
    theta, y, time, _, _, _ = (np.asarray(x) for x in weights_10.a_guess(np.random.default_rng(3)))
    z = np.column_stack([np.ones(5), time]) * theta[:2]
    exact = multivariate_normal(np.zeros(5), z @ z.T + theta[2] ** 2 * np.eye(5)).logpdf(y)
    normal = np.random.default_rng(4).normal(size=(200_000, 2))
    lower = np.array([[1.0, 0.0], [-0.2, 0.9]])
    log_weight = weights_10.log_weights(theta, y, time, np.zeros(2), lower, normal)
    assert logsumexp(log_weight) - np.log(len(normal)) == pytest.approx(exact, abs=0.02)
    mean, sd = weights_10.forecast(log_weight, (normal @ lower.T)[:, 1])
    assert mean == pytest.approx(bound_10.posterior_mean(y, z, np.eye(2), theta[2])[1], abs=0.02)
    assert sd == pytest.approx(np.sqrt(bound_10.posterior_covariance(z, np.eye(2), theta[2])[1, 1]), abs=0.02)


def test_what_dropout_does_to_each_way_is_what_is_said():
    """In large trials, against the truth that all would have shown."""
    for leaves_by, likelihood in (("seen", "right"), ("lot", "right"), ("unseen", "too low")):
        y = trials.pain(10_000, 5, leaves_by)
        lot = ", leaving by lot" if leaves_by == "lot" else ""
        found = {
            f"available cases{lot}": trials.available(y),
            f"last value carried forward{lot}": trials.carried_forward(y),
        }
        if leaves_by == "seen":
            found["mean imputation"] = trials.imputed_by_means(y)
        if leaves_by != "unseen":
            assert {name: way(value) for name, value in found.items()} == {name: WAYS[name] for name in found}
        assert way(trials.most_likely_end(y)) == likelihood
    assert WAYS["the bound, leaving by the score that is missed"] == "too low"


def way(value):
    if abs(value - trials.PAIN_AT_THE_END) < 0.08:  # four standard errors
        return "right"
    return "too low" if value < trials.PAIN_AT_THE_END else "too high"


def test_the_best_of_the_lines_is_that_of_the_exact_likelihood():
    best = mf.fit(trials.lines_start(), trials.lines(), mf.Laplace(), progress=False)
    assert best.log_likelihood == pytest.approx(models_10.best_of_lines(), abs=1e-3)
