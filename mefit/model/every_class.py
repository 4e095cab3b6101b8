"""A mixture of experts with the random effects of all its classes, and the class itself summed over."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from ..data.subject import Subject
from .densities import log_conditional
from .mixture import MixtureOfExperts
from .model import OneDensity
from .parameters import Parameter, parameters


class EveryClass(OneDensity):
    """The mixture with the random effects (eta_1, ..., eta_C) of every class, and no class among them:

        p(y, eta | theta) = [sum_k pi_k(w) p_k(y | eta_k)] prod_k p_k(eta_k)

    Its integral over all eta is sum_k pi_k(w) int p_k(y | eta_k) p_k(eta_k) d eta_k, the likelihood of the mixture.
    Unlike the mixture with its class drawn as a random effect, it has a derivative in the parameters of the gate. Its
    parameters are the mixture's, by the same names.
    """

    parts: ClassVar[tuple[str, ...]] = ("mixture",)
    mixture: MixtureOfExperts

    def __getattr__(self, name: str) -> Any:
        """The value of a parameter by its name in the mixture."""
        if name.startswith("_") or "mixture" not in vars(self):
            raise AttributeError(name)
        return getattr(self.mixture, name)

    def parameters_of_parts(self) -> dict[str, Parameter]:
        """The parameters of the mixture."""
        return parameters(self.mixture)

    @property
    def places(self) -> tuple[slice, ...]:
        """Where the random effects of each class stand."""
        return tuple(slice(place.start - 1, place.stop - 1) for place in self.mixture.places)

    def random_effects(self) -> dist.Distribution:
        """(eta_1, ..., eta_C), independent of each other."""
        law: Any = self.mixture.random_effects()  # the first is u
        return dist.MultivariateNormal(law.loc[1:], scale_tril=law.scale_tril[1:, 1:])

    def log_conditional(self, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
        """log sum_k pi_k(w) p_k(y | eta_k)."""
        return logsumexp(self.by_class(eta, subject))

    def by_class(self, eta: Float[Array, " K"], subject: Subject) -> Float[Array, " C"]:
        """log pi_k(w) + log p_k(y | eta_k) of each class."""
        experts = self.mixture.experts
        each = [log_conditional(one, eta[place], subject) for one, place in zip(experts, self.places, strict=True)]
        return self.mixture.gate.log_shares(subject) + jnp.stack(each)
