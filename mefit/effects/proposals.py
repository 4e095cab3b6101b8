"""Independent proposals near each subject's posterior: around its mode, or around the answer of an encoder."""

import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.newton import Newton
from ..curves.encoding import AnyEncoder
from ..model.densities import eta_mean, eta_size
from .encoded import refuse_another_size
from .kernels import Kernel
from .standard import finite_sd, standard_of


class Place(NamedTuple):
    """Where the proposals of every subject lie: eta = centre + root z."""

    centre: Float[Array, "N K"]
    whiten: Float[Array, "N K K"]  # z = whiten (eta - centre)
    root: Float[Array, "N K K"]  # its inverse


def standard_draws(key: PRNGKeyArray, shape: tuple[int, ...], degrees_of_freedom: float) -> Float[Array, "*N K"]:
    """Draws (..., K) of Student's t with unit scale, whole degrees of freedom; of a Gaussian if they are infinite."""
    *draws, k = shape
    is_gaussian = math.isinf(degrees_of_freedom)
    pairs, odd = (0, 0) if is_gaussian else divmod(int(degrees_of_freedom), 2)
    key_z, key_pairs = jax.random.split(key)
    normal = jax.random.normal(key_z, (*draws, k + odd))
    if is_gaussian:
        return normal
    # Chi-squared is twice a sum of exponentials, cheaper than Gaussians, and one square more if df is odd.
    chi_squared = 2.0 * jnp.sum(jax.random.exponential(key_pairs, (*draws, pairs)), -1)
    chi_squared = chi_squared + jnp.sum(normal[..., k:] ** 2, -1)
    return normal[..., :k] * jnp.sqrt(degrees_of_freedom / chi_squared)[..., None]


def log_standard(z: Float[Array, "*N K"], degrees_of_freedom: float) -> Float[Array, "*N"]:
    """The log density of such draws, but for a constant."""
    squared = jnp.sum(z**2, -1)
    if math.isinf(degrees_of_freedom):
        return -0.5 * squared
    return -0.5 * (degrees_of_freedom + z.shape[-1]) * jnp.log1p(squared / degrees_of_freedom)


class Independent(Kernel):
    """Base of proposals that do not look where the chain is: Student's t around a place of each subject.

    Infinitely many `degrees_of_freedom` are a Gaussian, in whose tails, if they are lighter than those of the
    posterior, a chain can get stuck for good.
    """

    knows_one_posterior: ClassVar[bool] = True
    degrees_of_freedom: eqx.AbstractVar[float]

    def propose(self, key, target, eta, tuning, move):
        place = Place(*tuning)
        z = standard_draws(key, eta.shape, self.degrees_of_freedom)
        old = jnp.einsum("nab,cnb->cna", place.whiten, eta - place.centre)
        new = place.centre + jnp.einsum("nab,cnb->cna", place.root, z)
        return new, log_standard(old, self.degrees_of_freedom) - log_standard(z, self.degrees_of_freedom)


class LaplaceProposal(Independent):
    """Independent proposals around each subject's mode, with the curvature there: f-SAEM.

    eta = eta* + L^-T z, L L' = P = minus the Hessian of the log joint density at eta*, z from Student's t with a whole
    number of `degrees_of_freedom`. Infinitely many are the Gaussian of the source, in whose tails, if they are lighter
    than those of the posterior, a chain can get stuck for good. The modes follow theta by a few Newton steps an
    iteration from where they were; where one is not found, the proposal has the mean and SD of p(eta | theta).
    Source: Karimi, Lavielle and Moulines (2020), Comput. Stat. Data Anal. 141.

        method = mf.SAEM(kernels=(mf.LaplaceProposal(), mf.RandomWalk(steps=1)))
    """

    steps: int = 2
    degrees_of_freedom: float = 10.0
    newton: Newton = Newton(tolerance=0.1, max_steps=5)
    label: ClassVar[str] = "Laplace"

    def init(self, model, subjects):
        eye = jnp.tile(jnp.eye(eta_size(model)), (subjects, 1, 1))
        start = eta_mean(model) + 1e-7 * finite_sd(model)  # a hair beside: see `starting_points`
        return Place(jnp.tile(start, (subjects, 1)), eye, eye)

    def learn(self, target, tuning):
        def follow_all(model, own):
            standard = standard_of(model)

            def log_density(u, args):
                return standard.log_joint(model, u, args)

            def follow(start, subject):
                eye = jnp.eye(start.size)
                mode = self.newton.search(log_density, standard.of(start), subject)
                lower = jnp.linalg.cholesky(mode.precision)
                sound = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.isfinite(mode.eta))
                lower = jnp.where(sound, lower, eye)
                root = standard.lower @ solve_triangular(lower, eye, lower=True).T
                whiten = lower.T @ solve_triangular(standard.lower, eye, lower=True)
                return Place(jnp.where(sound, standard.eta(mode.eta), standard.mean), whiten, root)

            return jax.vmap(follow)(*own)

        return target.by_subject(follow_all, tuning[0])


class EncoderProposal(Independent):
    """Independent proposals around the answer of a trained `encoder`, in place of a search for each mode.

    eta = m + C z with q(eta | y) = N(m, C C'), z from Student's t with a whole number of `degrees_of_freedom`. The
    encoder stays as it was trained, whatever theta is: a chain leaves p(eta | y, theta) unchanged at any theta, and
    accepts the more, the nearer theta is to where the encoder was trained. So begin near there, at `fit.model`:

        method = mf.SAEM(kernels=(mf.EncoderProposal(fit.encoder), mf.RandomWalk(steps=1)))

    ValueError, before the first step, for an encoder of another number of random effects than the model's, or one that
    cannot read the population.
    """

    encoder: AnyEncoder  # type: ignore[misc]  # mypy takes abstract fields for fields
    steps: int = 2
    degrees_of_freedom: float = 10.0
    label: ClassVar[str] = "encoder"

    def check(self, model, population):
        refuse_another_size(self.encoder, model)
        self.encoder.check(population)

    def learn(self, target, tuning):
        def answer(subject):
            q = self.encoder(subject)
            return Place(q.mean, solve_triangular(q.lower, jnp.eye(q.mean.size), lower=True), q.lower)

        return jax.vmap(answer)(target.subjects)

    def adapt(self, tuning, accepted, gain):
        return None  # nothing is handed on: the encoder answers as before
