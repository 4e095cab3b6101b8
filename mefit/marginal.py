"""Marginal likelihoods: log p(y | theta) = log of the integral of p(y | theta, eta) p(eta | theta) over eta.

Each class is one approximation of the integral, for one subject. All keep every constant.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

from .empirical_bayes import Mode, Newton, curvature, hold_constant, principal_axes, subject_mode
from .method import Problem
from .model import Model, eta_mean, eta_size, log_conditional, log_joint, log_random_effects, observation_density
from .objective import Objective, Term, no_modes
from .outcomes import plain
from .subject import Subject, as_dict

_LOG_2PI = float(np.log(2.0 * np.pi))


def gaussian_effects(model: Model) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """Mean and Cholesky factor L (covariance L L') of Gaussian random effects; ValueError where they are not."""
    effects = model.random_effects()
    if effects is None:
        return jnp.zeros(0), jnp.zeros((0, 0))
    if isinstance(effects, dist.MultivariateNormal):
        return effects.loc, effects.scale_tril
    if isinstance(normal := plain(effects), dist.Normal):
        return eta_mean(model), jnp.diag(jnp.reshape(jnp.broadcast_to(normal.scale, effects.shape()), -1))
    what = f"{type(model).__name__}.random_effects returns {type(effects).__name__}"
    advice = "use Laplace or AGQ, or a Normal or MultivariateNormal"
    raise ValueError(f"FO and FOCE need Gaussian random effects, but {what}: {advice}.")


def stacked(subject: Subject) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Responses and mask of a subject, several outcomes one after the other in the order of their names."""
    y, mask = (as_dict(x) for x in (subject.y, subject.mask))
    return tuple(jnp.concatenate([x[k] for k in sorted(x)]) for x in (y, mask))  # type: ignore[return-value]


def gaussian_moments(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean f and variance R of Gaussian observations, (n,) each, several outcomes stacked.

    Rows without a response get mean y and variance 1. ValueError where an outcome is not Gaussian, or is censored.
    """
    refusal, means, variances = "FO and FOCE linearise a Gaussian observation", [], []
    for name, density in sorted(as_dict(observation_density(model, eta, subject)).items()):
        density, shape = plain(density), subject.time.shape
        if not isinstance(density, dist.Normal):
            what = f"{type(model).__name__}.observations returns {type(density).__name__}" + f" for {name}" * bool(name)
            raise ValueError(f"{refusal}, but {what}: use Laplace, AGQ or ImportanceSampling.")
        means.append(jnp.broadcast_to(density.loc, shape))
        variances.append(jnp.broadcast_to(density.scale**2, shape))
    if subject.censored is not None:
        raise ValueError(f"{refusal}, and a censored one is none: use Laplace or AGQ.")
    y, mask = stacked(subject)
    return jnp.where(mask, jnp.concatenate(means), y), jnp.where(mask, jnp.concatenate(variances), 1.0)


def gaussian_marginal(residual: Array, jacobian: Array, chol: Array, variance: Array, mask: Array) -> Array:
    """log N(residual; 0, G L L' G' + R) over the observed rows, by the K x K form, which never inverts L L'."""
    m = jacobian @ chol
    a = jnp.eye(chol.shape[0]) + m.T @ (m / variance[:, None])
    lower = jnp.linalg.cholesky(a)
    c = jax.scipy.linalg.solve_triangular(lower, m.T @ (residual / variance), lower=True)
    log_det = jnp.sum(jnp.log(variance)) + 2.0 * _half_log_det(lower)
    return -0.5 * (jnp.sum(mask) * _LOG_2PI + log_det + jnp.sum(residual**2 / variance) - c @ c)


def linearised(model: Model, eta: Array, subject: Subject) -> tuple[Array, Array, Array, Array]:
    """Mean f and variance R of Gaussian observations, and the derivatives of f and of log R in eta."""

    def moments(eta):
        f, variance = gaussian_moments(model, eta, subject)
        return (f, jnp.log(variance)), (f, variance)

    (jacobian, relative), (f, variance) = jax.jacfwd(moments, has_aux=True)(eta)
    return f, variance, jacobian, relative


def _half_log_det(lower: Array) -> Array:
    return jnp.sum(jnp.log(jnp.diagonal(lower)))


def _half_log_det_of_curvature(log_density: Callable[[Array], Array], mode: Mode) -> Array:
    """(1/2) log|P| with its derivative (1/2) tr(P^-1 dP), P = minus the Hessian at the mode, known from the search.

    With the columns c of P^-1/2 held constant the trace is a sum of second derivatives along them: K directions
    instead of K^2, and no derivative of a Cholesky factor. A second derivative with respect to theta is not had.
    """
    if mode.eta.size == 0:
        return jnp.zeros(())
    lower = jnp.linalg.cholesky(mode.precision)
    columns = jax.scipy.linalg.solve_triangular(lower, jnp.eye(mode.eta.size), lower=True)  # its rows, L^-1

    def bend(direction):
        def slope(eta):
            return jax.jvp(log_density, (eta,), (direction,))[1]

        return jax.jvp(slope, (mode.eta,), (direction,))[1]

    trace = -0.5 * jnp.sum(jax.vmap(bend)(columns))
    return _half_log_det(lower) + trace - jax.lax.stop_gradient(trace)


def slope_and_information(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """The gradient of the log joint density in eta, and H = Omega^-1 + sum_j [g g'/R + c c'/2]; see `FOCE`."""
    mean, chol = gaussian_effects(model)
    f, variance, g, c = linearised(model, eta, subject)
    residual = stacked(subject)[0] - f
    prior = jax.scipy.linalg.cho_solve((chol, True), jnp.eye(eta.size))
    slope = g.T @ (residual / variance) + 0.5 * c.T @ (residual**2 / variance - 1.0) - prior @ (eta - mean)
    return slope, prior + g.T @ (g / variance[:, None]) + 0.5 * c.T @ c


class _Linearised(Objective):
    """What FO and FOCE share: they need Gaussian observations and random effects."""

    def rehearse(self, problem: Problem) -> None:
        eqx.filter_eval_shape(self.subject, problem.model, problem.population[0], None)


class FO(_Linearised):
    """First-order method: y is linearised in eta at its mean.

    y_i ~ N(f(0), G L L' G' + R(f(0))), G = df/deta at 0. Needs Gaussian observations and random effects.
    Source: Beal and Sheiner (1982), Estimating population kinetics, CRC Crit. Rev. Biomed. Eng. 8.
    """

    label: ClassVar[str] = "FO"
    finds_modes: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mean, chol = gaussian_effects(model)
        f, variance, jacobian, _ = linearised(model, mean, subject)
        y, mask = stacked(subject)
        return no_modes(model, gaussian_marginal(y - f, jacobian, chol, variance, mask))


class FOCE(_Linearised):
    """First-order conditional estimation: y is linearised in eta at each subject's mode eta*.

    With interaction (the default), -2 log L_i = -2 log p(y, eta*) - K log 2 pi + log|H|,
    H = Omega^-1 + sum_j [g g'/R + c c'/2], g = df/deta, c = (dR/deta)/R at eta*: NONMEM's FOCEI.
    Without, the residual variance R stays at eta = 0, for the mode too: NONMEM's FOCE. Both agree where R does not
    depend on eta.
    Source: Wang (2007), Derivation of various NONMEM estimation methods, J. Pharmacokinet. Pharmacodyn. 34.
    """

    interaction: bool = True
    label: ClassVar[str] = "FOCE"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        if not self.interaction:
            return self._without(model, subject)
        mode = subject_mode(model, subject, self.newton)
        _, precision = slope_and_information(model, mode.eta, subject)
        half = _half_log_det(jnp.linalg.cholesky(precision))
        value = log_joint(model, mode.eta, subject) + 0.5 * mode.eta.size * _LOG_2PI - half
        return Term(value, mode.eta, precision, mode.converged, {})

    def _without(self, model: Model, subject: Subject) -> Term:
        (mean, chol), (y, mask) = gaussian_effects(model), stacked(subject)

        def log_density(eta, args):
            model, subject = args
            (_, variance), (f, _) = (gaussian_moments(model, at, subject) for at in (eta_mean(model), eta))
            return -0.5 * jnp.sum((stacked(subject)[0] - f) ** 2 / variance) + log_random_effects(model, eta)

        mode = self.newton(log_density, self.newton.points(model), (model, subject))
        f, _, jacobian, _ = linearised(model, mode.eta, subject)
        _, variance = gaussian_moments(model, mean, subject)
        residual = y - f + jacobian @ (mode.eta - mean)
        return Term(gaussian_marginal(residual, jacobian, chol, variance, mask), *mode, {})


class Laplace(Objective):
    """Laplace's approximation: the joint density as a Gaussian around its mode, with its exact Hessian.

    log L_i = log p(y, eta*) + (K/2) log 2 pi - (1/2) log|P|, P = minus the Hessian of log p(y, eta) at eta*.
    Exact where the joint density is Gaussian in eta. Source: Tierney and Kadane (1986), JASA 81.
    """

    label: ClassVar[str] = "Laplace"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = subject_mode(model, subject, self.newton)
        half = _half_log_det_of_curvature(lambda eta: log_joint(model, eta, subject), mode)
        return Term(log_joint(model, mode.eta, subject) + 0.5 * mode.eta.size * _LOG_2PI - half, *mode, {})


def _mode_with_curvature(model: Model, subject: Subject, newton: Newton) -> tuple[Mode, Array]:
    """The mode, and minus the Hessian there with its derivative, which the search does not give."""
    mode = subject_mode(model, subject, newton)
    return mode, curvature(lambda eta: log_joint(model, eta, subject), mode.eta)[2]


class AGQ(Objective):
    """Adaptive Gauss-Hermite quadrature: `nodes` to the power K points around each subject's mode.

    log L_i = log sum_k w_k exp(z_k'z_k / 2) p(y, eta* + C z_k) + log|C|, C C' = P^-1 along its principal axes, with
    the tensor grid of the Gauss-Hermite rule of weight exp(-z^2/2). One node is Laplace. Exact in the limit of many
    nodes; its cost grows as nodes^K. Raises ValueError beyond `largest_grid` points.
    Source: Pinheiro and Bates (1995), J. Comput. Graph. Stat. 4.
    """

    nodes: int = 9
    largest_grid: int = 100_000
    fewest: ClassVar[int] = 1
    label: ClassVar[str] = "AGQ"

    def check(self, problem: Problem) -> None:
        k = eta_size(problem.model)
        if self.nodes < self.fewest:
            raise ValueError(f"{self.label} with nodes={self.nodes} has too few points: give {self.fewest} or more.")
        if self.nodes**k > self.largest_grid:
            advice = f"use at most {int(self.largest_grid ** (1.0 / k))} nodes, or ImportanceSampling"
            many = f"{self.label} with {self.nodes} nodes and {k} random effects is {self.nodes**k:,} points a subject"
            raise ValueError(f"{many}: {advice}.")

    def evaluations(self, model: Model) -> int:
        return self.nodes ** eta_size(model)

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode, precision = _mode_with_curvature(model, subject, self.newton)
        (z, log_w), (root, log_det) = self.grid(mode.eta.size), principal_axes(precision)
        joint = jax.vmap(lambda move: log_joint(model, mode.eta + move, subject))(z @ root.T)
        value = logsumexp(joint + (log_w + 0.5 * np.sum(z**2, 1))) + log_det
        return Term(value, mode.eta, precision, mode.converged, {})

    def grid(self, k: int) -> tuple[Float[np.ndarray, "G {k}"], Float[np.ndarray, " G"]]:
        """The points of the tensor grid in k directions, and the logarithms of their weights."""
        z1, w1 = np.polynomial.hermite_e.hermegauss(self.nodes)
        node = np.indices((self.nodes,) * k).reshape(k, self.nodes**k).T  # of each point, in each direction
        return z1[node], np.sum(np.log(w1)[node], 1)


class Variational(AGQ):
    """The evidence lower bound: of all Gaussians q = N(m, V) of a subject's eta, the one nearest to its posterior.

    log L_i >= E_q[log p(y, eta)] + (K/2) (1 + log 2 pi) + log|C|, C C' = V, at its maximum over m and the full V, where
    E_q[gradient] = 0 and V^-1 = -E_q[Hessian]. The divergence of q from the posterior is what is missing: nothing where
    the joint density is Gaussian in eta. E_q is a quadrature of `nodes` to the power K points, and gradients give the
    Hessian, E_q[gradient z'] = E_q[Hessian] C. From the Laplace approximation on both equations are solved in turn,
    at most `updates` times. `eta` of the fit are the means m, `eta_covariance` the V.
    Source: Opper and Archambeau (2009), The variational Gaussian approximation revisited, Neural Comput. 21.
    """

    nodes: int = 5
    updates: int = 200
    fewest: ClassVar[int] = 2
    label: ClassVar[str] = "Variational"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = subject_mode(model, subject, self.newton)
        (z, log_w), eye, held = self.grid(mode.eta.size), jnp.eye(mode.eta.size), hold_constant((model, subject))
        weights = np.exp(log_w) / np.sum(np.exp(log_w))

        def update(at):  # nothing is derived through it: at the maximum the bound is flat in m and C
            centre, lower, _, count = at
            root = jax.scipy.linalg.solve_triangular(lower, eye, lower=True, trans="T")
            slopes = jax.vmap(jax.jacfwd(lambda eta: log_joint(held[0], eta, held[1])))(centre + z @ root.T)
            bend, move = -root.T @ (slopes.T @ (weights[:, None] * z)), root.T @ (weights @ slopes)
            bend = jnp.triu(bend) + jnp.triu(bend, 1).T  # as C is: then the bound is flat however few the nodes
            sound = jnp.all(jnp.linalg.eigvalsh(bend) > 0.1) & jnp.all(jnp.isfinite(move))
            error = jnp.max(jnp.abs(jnp.append(move, bend - eye)), initial=0.0)
            new = jnp.where(sound, lower @ jnp.linalg.cholesky(bend), lower)
            return centre + root @ jnp.where(sound, move, 0.1 * move), new, error, count + 1

        lower = jnp.linalg.cholesky(mode.precision)
        lower = jnp.where(jnp.all(jnp.isfinite(lower)), lower, eye)
        begin = (*hold_constant((mode.eta, lower)), jnp.asarray(jnp.inf), jnp.asarray(0))
        eta, lower, error, _ = jax.lax.while_loop(lambda at: (at[2] > 1e-9) & (at[3] < self.updates), update, begin)
        root = jax.scipy.linalg.solve_triangular(lower, eye, lower=True, trans="T")
        joint = jax.vmap(lambda move: log_joint(model, eta + move, subject))(z @ root.T)
        value = weights @ joint - _half_log_det(lower) + 0.5 * len(eye) * (1.0 + _LOG_2PI)
        return Term(value, eta, lower @ lower.T, error < 1e-6, {})


def _effective_sample_size(log_weight: Array) -> Array:
    return jnp.exp(2.0 * logsumexp(log_weight) - logsumexp(2.0 * log_weight))


class _Sampled(Objective):
    """What the sampling methods share: one key a subject, the same at every evaluation (common random numbers)."""

    samples: int = 1000
    random: ClassVar[bool] = True

    def extras(self, model, population, key):
        return jax.random.split(key, len(population))

    def evaluations(self, model: Model) -> int:
        return self.samples


class MonteCarlo(_Sampled):
    """Plain Monte Carlo: log (1/M) sum_m p(y | theta, eta_m), eta_m drawn from the prior p(eta | theta).

    The draws are the same at every evaluation, moving with theta, so the estimate is a smooth function with an exact
    gradient. Honest only for few random effects and little data a subject: with s the width of the likelihood in
    prior SDs, M must grow as ((1 + 1/s^2)^K - 1), and the log of the estimate falls short on average.
    `details["effective_sample_size"]` tells how many draws of each subject count.
    """

    label: ClassVar[str] = "Monte Carlo"
    finds_modes: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        effects = model.random_effects()
        if effects is None:
            return no_modes(model, log_conditional(model, jnp.zeros(0), subject))
        draws = jnp.reshape(effects.sample(extra, (self.samples,)), (self.samples, -1))
        log_weight = jax.vmap(lambda eta: log_conditional(model, eta, subject))(draws)
        details = {"effective_sample_size": _effective_sample_size(log_weight)}
        return no_modes(model, logsumexp(log_weight) - np.log(self.samples))._replace(details=details)


class ImportanceSampling(_Sampled):
    """Importance sampling: eta_m = eta* + C t_m from a multivariate t around the Laplace mode, C C' = P^-1.

    log L_i = log (1/M) sum_m p(y, eta_m) / q(eta_m). A t with few `degrees_of_freedom` has heavier tails than the
    posterior, so the weights are bounded. Exact as M grows; the error is unbiased in L. `details` as in MonteCarlo.
    """

    degrees_of_freedom: float = 5.0
    label: ClassVar[str] = "Importance sampling"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode, precision = _mode_with_curvature(model, subject, self.newton)
        k = mode.eta.size
        standard = dist.MultivariateStudentT(self.degrees_of_freedom, jnp.zeros(k), jnp.eye(k))
        t = standard.sample(extra, (self.samples,))
        lower = jnp.linalg.cholesky(precision)
        moves = jax.scipy.linalg.solve_triangular(lower, t.T, lower=True, trans="T").T
        log_q = standard.log_prob(t) + jnp.sum(jnp.log(jnp.diagonal(lower)))
        log_weight = jax.vmap(lambda move: log_joint(model, mode.eta + move, subject))(moves) - log_q
        details = {"effective_sample_size": _effective_sample_size(log_weight)}
        return Term(logsumexp(log_weight) - np.log(self.samples), mode.eta, precision, mode.converged, details)
