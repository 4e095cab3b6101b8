"""The marginal likelihood by averages over draws."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from ..base.compiling import compiled
from ..base.newton import hold_constant
from ..base.parts import has_loop, in_parts
from ..base.peaks import MOST_KEPT, Mode, Peaks, highest_of, only
from ..base.small_matrices import half_log_det
from ..curves.encoding import AnyEncoder
from ..data.population import Population
from ..data.subject import Subject
from ..effects.encoded import precision_of, refuse_another_size
from ..effects.gaussian import LOG_2PI
from ..effects.modes import peaks_with_curvature
from ..effects.proposals import standard_draws
from ..effects.standard import Standard, standard_of
from ..model.densities import eta_size, log_conditional
from ..model.model import Model
from .objective import Objective, Term, no_modes

_LARGEST_DRAWN = 10_000_000  # numbers of all draws kept at once: 80 MB


def _standard_t(degrees_of_freedom: float, k: int) -> dist.MultivariateStudentT:
    return dist.MultivariateStudentT(degrees_of_freedom, jnp.zeros(k), jnp.eye(k))


@compiled
def _draws(degrees_of_freedom: float, keys: Array, around: int, of_prior: int, k: int) -> Array:
    """(N, M, K): for each key, the draws of one subject."""
    return jax.vmap(lambda key: _draws_of_one(degrees_of_freedom, key, around, of_prior, k))(keys)


def _draws_of_one(degrees_of_freedom: float, key: Array, around: int, of_prior: int, k: int) -> Array:
    """(M, K): so many from a standard t, and after them so many from a standard Gaussian.

    The t by exponentials where its degrees of freedom are whole, which are cheaper than JAX's gamma variables.
    """
    key_t, key_prior = jax.random.split(key)
    if float(degrees_of_freedom).is_integer():
        t = standard_draws(key_t, (around, k), degrees_of_freedom)
    else:
        t = _standard_t(degrees_of_freedom, k).sample(key_t, (around,))
    return jnp.concatenate([t, jax.random.normal(key_prior, (of_prior, k))])


def _effective_sample_size(log_weight: Float[Array, " M"], part: Int[Array, " M"] | None = None) -> Float[Array, ""]:
    """The number of even draws whose mean is known as well: (sum w)^2 / sum w^2, where all are of one part.

    1/ESS = 1/M + Var(mean w) / (mean w)^2; of draws made in parts of fixed sizes the variance is that within them.
    """
    weight = jnp.exp(log_weight - jnp.max(log_weight))
    part = jnp.zeros(len(weight), int) if part is None else part
    of_part = (part == jnp.arange(MOST_KEPT + 1)[:, None]).astype(float)
    mean = of_part @ weight / jnp.maximum(jnp.sum(of_part, axis=1), 1.0)
    within = jnp.sum((weight - mean[part]) ** 2)
    return 1.0 / (1.0 / len(weight) + within / jnp.sum(weight) ** 2)


class _Sampled(Objective):
    """What the sampling methods share: one key a subject, the same at every evaluation (common random numbers)."""

    samples: int = 1000
    random: ClassVar[bool] = True
    mixes: ClassVar[bool] = True

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

        mf.log_likelihood(model, population, mf.MonteCarlo(samples=200), key=key)
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


class Weighted(NamedTuple):
    """Draws of one subject's random effects from a proposal q, with weights w = p(y, eta) / q(eta)."""

    place: Mode  # of the proposal
    etas: Float[Array, "M K"]
    log_weight: Float[Array, " M"]
    part: Int[Array, " M"]  # of the proposal that each is from: a peak, or the prior, which comes last
    left_out: Float[Array, ""]  # share of what lies under all peaks, under those that q does not cover


class ImportanceSampling(_Sampled):
    """Importance sampling: eta_m = eta* + C t_m from a multivariate t around the Laplace mode, C C' = P^-1.

    log L_i = log (1/M) sum_m p(y, eta_m) / q(eta_m). A t with few `degrees_of_freedom` has heavier tails than most
    posteriors. A posterior that bends away from its mode may still lie out of its reach, and nothing would tell; so a
    share of the draws, `prior_share`, comes from the law of the random effects, and q is the mixture of both: no weight
    is more than p(y | eta) / `prior_share`, and `details["effective_sample_size"]` is small where draws around the mode
    missed much. The more random effects, the fewer such draws meet anything.
    Exact as M grows; the estimate of L is unbiased.
    Where a thorough search finds several peaks, q is a mixture of t distributions around them with equal parts of the
    draws, so that the estimate stays smooth in theta as what lies under the peaks changes.
    `mf.log_likelihood` searches so, and a fit from where it meets a subject with several peaks.
    With an encoder as `proposal`, the t stands around the encoder's mean, C C' its covariance, and no mode is searched.
    Source of the defensive mixture, and of parts that are not drawn: Owen and Zhou (2000), JASA 95.

        mf.log_likelihood(model, population, mf.ImportanceSampling(samples=200), key=key)
    """

    degrees_of_freedom: float = 5.0
    prior_share: float = 0.2
    proposal: AnyEncoder | None = None
    label: ClassVar[str] = "Importance sampling"
    covers_peaks: ClassVar[bool] = True

    def extras(self, model, population, key):
        """The draws t of every subject, (N, M, K), or its key where they would take too much memory.

        They do not depend on theta. Drawn by a program of their own, which all models share, they need not be
        compiled into each evaluation, where they took a fifth of the time.
        """
        keys = super().extras(model, population, key)
        k = eta_size(model)
        if len(population) * self.samples * k > _LARGEST_DRAWN:
            return keys
        return _draws(self.degrees_of_freedom, keys, self.samples - self._of_prior, self._of_prior, k)

    @property
    def _of_prior(self) -> int:
        return int(self.prior_share * self.samples)

    @property
    def derived_twice(self) -> bool:
        return self.proposal is not None  # then the draws stand still whatever theta is

    def check(self, model: Model, population: Population) -> None:
        if not 0.0 <= self.prior_share < 1.0:
            raise ValueError(
                f"ImportanceSampling needs a prior_share of 0 or more and below 1, not {self.prior_share}."
            )
        if self.proposal is not None:
            refuse_another_size(self.proposal, model)
            self.proposal.check(population)

    def weighted(self, model: Model, subject: Subject, extra: Any, at_once: int | None = None) -> Weighted:
        """The draws of one subject, and what each of them counts.

        Where the density goes through a loop, no more than `at_once` draws are looked at together.
        """
        standard, peaks, roots, whiten = self._proposed(model, subject)
        k = peaks.modes.eta.shape[-1]
        is_key = jnp.issubdtype(extra.dtype, jax.dtypes.prng_key)
        of_prior = self._of_prior
        z = _draws_of_one(self.degrees_of_freedom, extra, self.samples - of_prior, of_prior, k) if is_key else extra
        us, log_q, part = self._placed(peaks, roots, whiten, z)

        def log_joint(u):
            return standard.log_joint(model, u, subject)

        together = at_once if at_once is not None and has_loop(log_joint, us[0]) else len(us)
        here = highest_of(peaks)
        nowhere = self._without_density(standard, model, subject, us, together)
        us = jnp.where(nowhere[:, None], here.eta, us)  # where derivatives are numbers
        log_weight = jnp.where(nowhere, -jnp.inf, in_parts(log_joint, us, together) - log_q)
        return Weighted(standard.mode(here), jax.vmap(standard.eta)(us), log_weight, part, peaks.left_out)

    def _without_density(
        self, standard: Standard, model: Model, subject: Subject, us: Float[Array, "M K"], together: int
    ) -> Bool[Array, " M"]:
        """Which of the draws from the prior lie where the density is no number, as of a volume below zero.

        They count nothing. Closer to the mode that is a fault of the model, and not passed over.
        """
        around = len(us) - self._of_prior
        if around == len(us):
            return jnp.zeros(len(us), bool)
        standard, model, us = hold_constant((standard, model, us))
        values = in_parts(lambda u: standard.log_joint(model, u, subject), us[around:], together)
        return jnp.concatenate([jnp.zeros(around, bool), jnp.isnan(values)])

    def _placed(self, peaks: Peaks, roots: Array, whiten: Array, z: Float[Array, "M K"]) -> tuple[Array, Array, Array]:
        """The draws u (M, K), log q of each (M,), and which part of q each is from (M,)."""
        around = len(z) - self._of_prior
        t = z[:around]
        found = jnp.sum(jnp.isfinite(peaks.log_share))
        which = jnp.arange(around) * found // around  # the peak of each draw; those that were found come first
        us = jnp.concatenate([peaks.modes.eta[which] + jnp.einsum("mij,mj->mi", roots[which], t), z[around:]])
        part = jnp.concatenate([which, jnp.full(self._of_prior, len(roots))])
        log_parts = jnp.log(jnp.mean(part[:, None] == jnp.arange(len(roots)), axis=0))
        log_t = _standard_t(self.degrees_of_freedom, z.shape[-1]).log_prob

        def about(mode: Array, whiten: Array) -> Array:
            return log_t((us - mode) @ whiten.T) + half_log_det(whiten)

        log_q = logsumexp(jax.vmap(about)(peaks.modes.eta, whiten) + log_parts[:, None], axis=0)
        if self._of_prior:
            log_prior = -0.5 * (jnp.sum(us**2, axis=1) + us.shape[1] * LOG_2PI)
            log_q = jnp.logaddexp(log_q, np.log(self._of_prior / len(z)) + log_prior)
        return us, log_q, part

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        place, _, log_weight, part, left_out = self.weighted(model, subject, extra)
        details = {"effective_sample_size": _effective_sample_size(log_weight, part), "left_out": left_out}
        return Term(logsumexp(log_weight) - np.log(self.samples), *place, details)

    def _proposed(self, model: Model, subject: Subject) -> tuple[Standard, Peaks, Array, Array]:
        """Around what the draws of u stand; and of each (C, K, K) a triangular root R, R R' their spread, and R^-1."""
        if self.proposal is not None:
            standard = standard_of(model)
            q = standard.of_gaussian(self.proposal(subject))
            whiten = solve_triangular(q.lower, jnp.eye(len(q.lower)), lower=True)
            return standard, only(Mode(q.mean, precision_of(q), jnp.asarray(True))), q.lower[None], whiten[None]
        standard, peaks = peaks_with_curvature(model, subject, self.newton)

        def root_and_inverse(precision: Array) -> tuple[Array, Array]:
            lower = jnp.linalg.cholesky(precision)
            return solve_triangular(lower, jnp.eye(len(precision)), lower=True, trans="T"), lower.T

        return standard, peaks, *jax.vmap(root_and_inverse)(peaks.modes.precision)
