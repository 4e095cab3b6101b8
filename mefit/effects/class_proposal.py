"""Independent proposals for the random effects of every class of a mixture of experts."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Array, Float

from ..model.densities import eta_size, sample_random_effects
from ..model.every_class import EveryClass
from .gaussian import LOG_2PI
from .kernels import Kernel, log_effects
from .proposals import LaplaceProposal, Place, log_standard, standard_draws

_LEAST = 0.05  # the share of proposals, dealt out evenly, that asks no responsibilities which class a subject is in


class ClassProposal(Kernel):
    """Independent proposals for (eta_1, ..., eta_C) of a mixture: a class k by its responsibility, eta_k near its mode
    there, and the random effects of all other classes from their prior:

        q(eta) = sum_k r_k t_k(eta_k) prod_{j != k} p_j(eta_j)

    With the exact r_k and posteriors t_k(eta_k) = p_k(eta_k | y) this is the posterior itself, so that chains change
    classes as often as they should. Here r_k is by Laplace's approximation and t_k the proposal of `near` in class k.
    """

    near: LaplaceProposal  # type: ignore[misc]  # mypy takes abstract fields for fields
    steps: int = 2
    label: ClassVar[str] = "Laplace"

    def init(self, model, subjects):
        experts = model.mixture.experts
        places = tuple(self.near.init(expert, subjects) for expert in experts)
        return places, jnp.full((subjects, len(experts)), -math.log(len(experts)), float)

    def learn(self, target, tuning):
        model: Any = target.model
        places = []
        values = []
        for expert, known in zip(model.mixture.experts, tuning[0], strict=True):
            own = target._replace(model=expert)
            place = self.near.learn(own, known) if eta_size(expert) else known
            places.append(place)
            values.append(own.log_density(place.centre[None])[0] + _log_volume(place))
        shares = jax.vmap(model.mixture.gate.log_shares)(target.subjects)
        each = shares + jnp.stack(values, -1)
        each = jnp.where(jnp.isfinite(each), each, -jnp.inf)
        r = jnp.exp(each - logsumexp(each, axis=-1, keepdims=True))
        r = jnp.where(jnp.isfinite(r), r, 1.0 / r.shape[-1])
        return tuple(places), jnp.log((1.0 - _LEAST) * r + _LEAST / r.shape[-1])

    def propose(self, key, target, eta, tuning, move):
        model: Any = target.model
        places, log_r = tuning
        chains, subjects, _ = eta.shape
        keys = jax.random.split(key, 2 * len(places) + 1)
        which = jax.random.categorical(keys[-1], log_r, shape=(chains, subjects))
        parts = []
        for k, (expert, place) in enumerate(zip(model.mixture.experts, places, strict=True)):
            shape = (chains, subjects, place.centre.shape[-1])
            apart = sample_random_effects(expert, chains * subjects, keys[2 * k]).reshape(shape)
            z = standard_draws(keys[2 * k + 1], shape, self.near.degrees_of_freedom)
            near = place.centre + jnp.einsum("nab,cnb->cna", place.root, z)
            parts.append(jnp.where((which == k)[..., None], near, apart))
        new = jnp.concatenate(parts, -1)
        return new, self._log_density(model, eta, places, log_r) - self._log_density(model, new, places, log_r)

    def _log_density(
        self, model: EveryClass, eta: Float[Array, "C N K"], places: tuple[Place, ...], log_r: Float[Array, "N L"]
    ) -> Float[Array, "C N"]:
        """log q, up to a constant that is the same for all eta."""
        prior = []
        ratio = []
        for k, (expert, place) in enumerate(zip(model.mixture.experts, places, strict=True)):
            own = eta[..., model.places[k]]
            z = jnp.einsum("nab,cnb->cna", place.whiten, own - place.centre)
            near = log_standard(z, self.near.degrees_of_freedom) + jnp.linalg.slogdet(place.whiten)[1]
            near = near + _log_constant(z.shape[-1], self.near.degrees_of_freedom)
            prior.append(log_effects(expert, own))
            ratio.append(log_r[:, k] + near - prior[-1])
        return sum(prior) + logsumexp(jnp.stack(ratio), axis=0)


def _log_volume(place: Place) -> Float[Array, " N"]:
    """log of the integral of a Gaussian of this width and height one: what Laplace adds to the density at the mode."""
    size = place.centre.shape[-1]
    return 0.5 * size * LOG_2PI - jnp.linalg.slogdet(place.whiten)[1]


def _log_constant(size: int, degrees_of_freedom: float) -> Any:
    """The constant that `log_standard` leaves out."""
    if math.isinf(degrees_of_freedom):
        return -0.5 * size * LOG_2PI
    half = 0.5 * degrees_of_freedom
    return gammaln(half + 0.5 * size) - gammaln(half) - 0.5 * size * math.log(degrees_of_freedom * math.pi)


def for_classes(kernel: Kernel) -> Kernel:
    """The kernel that does for a mixture what this one does for a model with one law of random effects.

    ValueError for a kernel that knows one posterior only.
    """
    if isinstance(kernel, LaplaceProposal):
        return ClassProposal(near=kernel, steps=kernel.steps)
    if kernel.knows_one_posterior:
        raise ValueError(
            f"the kernel {type(kernel).__name__} knows one posterior of each subject, and in a mixture of experts "
            "there is one for each class: use LaplaceProposal() and RandomWalk()."
        )
    return kernel
