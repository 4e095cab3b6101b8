"""Mixtures of experts: a gate gives each subject to one of several models, each a whole one."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int

from ..data.by_outcome import as_dict, as_given
from ..data.subject import Subject
from .densities import eta_shape, eta_size, gaussian_law_of
from .free import with_values
from .gates import ConstantGate, Gate
from .model import Model
from .parameters import Parameter, parameters


class MixtureOfExperts(Model):
    """Several populations in one: p(y_i | theta) = sum_k pi_k(w_i) p_k(y_i | theta_k).

    The `gate` gives the shares pi_k(w_i) from the covariates w_i of subject i, and each expert is a whole model with
    random effects of its own, p_k(y | theta_k) = int p_k(y | eta_k) p_k(eta_k) d eta_k.

        import dataclasses

        twice = dataclasses.replace(model, cl=2 * model.cl)
        gate = mf.LinearGate(population, ["wt"])
        mixture = mf.MixtureOfExperts((model, twice), gate=gate, shared=("ka", "v", "omega", "sigma"))
        fit = mf.fit(mixture, population, mf.Laplace())

    - `experts`: the models at their starting values. Where all are alike nothing tells the classes apart: `EM` splits
      the subjects then, and other methods need values that differ. Their random effects are Gaussian.
    - `gate`: left out, shares that are the same for all (`ConstantGate`); `LinearGate` and `NetworkGate` read
      covariates.
    - `shared`: names of parameters that all experts which have them have in common.

    Parameter `cl` of expert 2 is `cl_2`, in tables and in `fixed=`; a shared one keeps its name. `experts` are the
    models with their present values.

    As a model like any other its random effects are (u, eta_1, ..., eta_K), with u ~ N(0, 1): the class is the one in
    whose share Phi(u) lies, and the responses are those of its expert. So it is simulated. A typical prediction is the
    mean of those of the classes, by their shares; individual predictions and residuals are those of each subject's most
    probable class. Likelihoods sum over the classes instead.

    **Raises:** ValueError for experts that cannot stand side by side, or a parameter that is not shared as it is told.
    Source: Jordan and Jacobs (1994), Neural Computation 6; of mixed models, Proust-Lima et al. (2017), J. Stat. Softw.
    78.
    """

    parts: ClassVar[tuple[str, ...]] = ("members", "gate")
    members: tuple[Model, ...]  # the experts; of a shared parameter only the first has the present value
    gate: Gate
    shared: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, experts: Iterable[Model], gate: Gate | None = None, shared: Iterable[str] = ()):
        self.members = tuple(experts)
        if not self.members or not all(isinstance(expert, Model) for expert in self.members):
            raise ValueError("a mixture needs one or more experts, each a model such as MyModel(cl=1.0, ...).")
        if any(isinstance(expert, MixtureOfExperts) for expert in self.members):
            raise ValueError("an expert cannot be a mixture itself: give its experts.")
        self.gate = (ConstantGate() if gate is None else gate).sized(len(self.members))
        self.shared = (shared,) if isinstance(shared, str) else tuple(shared)
        _check_shared(self.members, self.shared)
        _check_effects(self.members)
        twice = [name for name, count in collections.Counter(_all_names(self)).items() if count > 1]
        if twice:
            raise ValueError(f"two parameters would be called {twice[0]!r} in the mixture: rename one in its model.")

    def __getattr__(self, name: str) -> Any:
        """The value of a parameter by its name in the mixture."""
        if name.startswith("_") or "shared" not in vars(self):
            raise AttributeError(name)
        place = _places(self).get(name)
        if place is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        owner, field = place
        return getattr(owner, field)

    def parameters_of_parts(self) -> dict[str, Parameter]:
        """The declared parameters of the experts and the gate, by their names in the mixture."""
        found = {}
        for k, expert in enumerate(self.members):
            for field, parameter in parameters(expert).items():
                name = self.name_of(k, field)
                if name not in found:
                    found[name] = _told_apart(parameter, getattr(expert, field), k, name == field)
        return found | self.gate.declared()

    def name_of(self, k: int, field: str) -> str:
        """The name in the mixture of a parameter of expert k, counted from 0."""
        return field if field in self.shared else f"{field}_{k + 1}"

    @property
    def experts(self) -> tuple[Model, ...]:
        """The models of the classes, with the present values of what they share."""
        if not self.shared:
            return self.members
        return tuple(self._tied(expert) for expert in self.members)

    def _tied(self, expert: Model) -> Model:
        names = [name for name in self.shared if name in parameters(expert)]
        return with_values(expert, {name: getattr(self, name) for name in names})

    @property
    def places(self) -> tuple[slice, ...]:
        """Where each expert's random effects stand among those of the mixture; the first is u."""
        sizes = [eta_size(expert) for expert in self.members]
        ends = 1 + np.cumsum(sizes)
        return tuple(slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True))

    def random_effects(self) -> dist.Distribution:
        """(u, eta_1, ..., eta_K), independent of each other."""
        laws = [_effects_of(expert) for expert in self.experts]
        mean = jnp.concatenate([jnp.zeros(1), *[law.mean for law in laws]])
        lower = jax.scipy.linalg.block_diag(jnp.ones((1, 1)), *[law.lower for law in laws if law.mean.size])
        return dist.MultivariateNormal(mean, scale_tril=lower)

    def observations(self, eta: Array, subject: Subject) -> Any:
        """The density of the expert in whose share Phi(u) lies."""
        which = self.class_of(eta[0], subject)
        by_outcome = []
        for expert, place in zip(self.experts, self.places, strict=True):
            own = jnp.reshape(eta[place], eta_shape(expert))
            by_outcome.append(as_dict(expert.observations(own, subject)))
        if any(one.keys() != by_outcome[0].keys() for one in by_outcome):
            raise ValueError("the experts of a mixture have different outcomes: each has to give a density of all.")
        chosen = {name: _chosen(which, [one[name] for one in by_outcome]) for name in by_outcome[0]}
        return as_given(chosen)

    def class_of(self, u: Array, subject: Subject) -> Int[Array, ""]:
        """The class in whose share Phi(u) lies, counted from 0."""
        shares = jnp.exp(self.gate.log_shares(subject))
        edges = _normal_quantile(jnp.cumsum(shares)[:-1], jnp.cumsum(shares[::-1])[::-1][1:])
        return jnp.sum(u > edges)

    def inside_class(self, share: Array, log_shares: Float[Array, " C"], which: Int[Array, ""]) -> Array:
        """The u below which this `share` of the interval of a class lies."""
        shares = jnp.exp(log_shares)
        own = shares[which]
        before = jnp.sum(jnp.where(jnp.arange(shares.size) < which, shares, 0.0))
        after = jnp.sum(jnp.where(jnp.arange(shares.size) > which, shares, 0.0))
        return _normal_quantile(before + share * own, after + (1.0 - share) * own)

    def reordered(self, order: Sequence[int]) -> "MixtureOfExperts":
        """The same mixture with class `order[k]`, counted from 0, in place k."""
        experts = self.experts
        return MixtureOfExperts([experts[k] for k in order], self.gate.reordered(order), self.shared)


def _normal_quantile(below: Array, above: Array) -> Array:
    """u with Phi(u) = `below` = 1 - `above`, by the smaller of both, so that a rare class keeps its place."""
    return jnp.where(below < above, ndtri(below), -ndtri(above))


def _effects_of(expert: Model) -> Any:
    law = gaussian_law_of(expert)
    if law is None:
        raise ValueError(f"the random effects of {type(expert).__name__} are not Gaussian, which a mixture's must be.")
    return law


def _check_effects(experts: tuple[Model, ...]) -> None:
    for expert in experts:
        _effects_of(expert)


def _check_shared(experts: tuple[Model, ...], shared: tuple[str, ...]) -> None:
    for name in shared:
        owners = [expert for expert in experts if name in parameters(expert)]
        if len(owners) < 2:
            raise ValueError(f"shared names {name!r}, which fewer than two of the experts have as a parameter.")
        first = parameters(owners[0])[name]
        for other in owners[1:]:
            domain = parameters(other)[name].domain
            if type(domain) is not type(first.domain) or vars(domain) != vars(first.domain):
                raise ValueError(f"{name!r} is shared, but the experts declare it over different domains.")
            if not eqx.tree_equal(getattr(other, name), getattr(owners[0], name)):
                raise ValueError(f"{name!r} is shared, but the experts start it at different values: give the same.")


def _all_names(mixture: MixtureOfExperts) -> list[str]:
    """The names of all parameters, a shared one once, and of the fields of a mixture."""
    names = [*mixture.shared, *mixture.gate.declared(), "members", "gate", "shared", "parts", "places", "experts"]
    for k, expert in enumerate(mixture.members):
        names += [mixture.name_of(k, field) for field in parameters(expert) if field not in mixture.shared]
    return names


def _places(mixture: MixtureOfExperts) -> dict[str, tuple[Any, str]]:
    """Whose field each parameter is."""
    found: dict[str, tuple[Any, str]] = {}
    for k, expert in enumerate(mixture.members):
        for field in parameters(expert):
            found.setdefault(mixture.name_of(k, field), (expert, field))
    for field in mixture.gate.declared():
        found[field] = (mixture.gate, field)
    return found


def _told_apart(parameter: Parameter, value: Any, k: int, is_shared: bool) -> Parameter:
    """The parameter, the random effects of a covariance named by their class: correlations bear these names alone."""
    if is_shared or not parameter.domain.has_correlations:
        return parameter
    own = parameter.names if len(parameter.names) == len(value) else tuple(str(j + 1) for j in range(len(value)))
    return parameter._replace(names=tuple(f"{name} {k + 1}" for name in own))


def _chosen(which: Array, densities: list[dist.Distribution]) -> dist.Distribution:
    """The density of this number; all have to be of one kind."""
    kinds = {jax.tree.structure(density) for density in densities}
    if len(kinds) > 1:
        names = " and ".join(sorted({type(density).__name__ for density in densities}))
        raise ValueError(
            f"the experts give densities of different kinds or shapes ({names}), among which a simulation cannot "
            "choose: write them as one kind, with an entry for each time."
        )

    def choose(*leaves: Any) -> Array:
        stacked = jnp.stack(jnp.broadcast_arrays(*leaves))
        return stacked[which]

    return jax.tree.map(choose, *densities)
