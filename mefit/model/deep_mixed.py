"""Deep generalised mixed models without writing one: outcomes with families, a basis of time, networks of effects."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ..curves.bases import NaturalSpline
from ..curves.encoding import covariates_of, responses_of, sizes_of_covariates
from ..curves.mlp import MLP
from ..curves.networks import L2
from ..data.by_outcome import UNNAMED, as_dict, as_given
from ..data.population import Population
from ..data.subject import Subject
from .families import Family
from .model import Model
from .parameters import positive, real, weights

_RIDGE = 4.0  # of the networks: between 2 and 8 they were best on people held out


class DeepMixedModel(Model):
    """A generalised mixed model whose random effects may bend its curves.

    For outcome o of a subject with standardised covariates w and random effects eta ~ N(0, I),

        linear_o(t) = centre_o + scale_o B(t)' (mean_o + eta' loadings_o + net(eta)_o + covariate_net(w)_o),

    B a basis of time; the density of y_o(t) is that of its family. Without networks it is a generalised linear mixed
    model, its random effects' covariance loadings' loadings. All outcomes share the random effects. Centre and scale
    come from the data, so that all other numbers are near one, whatever the units. Make one by `deep_mixed_model`.
    Source of the decoder: Rizopoulos, van Gerwen and Willemsen, deep generalised mixed models; the form that is linear
    in the basis is ours.
    """

    families: tuple[Family, ...]
    basis: Callable
    outcomes: tuple[str, ...] = eqx.field(static=True)
    covariates: tuple[str, ...] = eqx.field(static=True)
    centre: tuple[float, ...] = eqx.field(static=True)
    scale: tuple[float, ...] = eqx.field(static=True)
    mean: Array = real()  # (O, J)
    loadings: Array = real()  # (K, O, J)
    net: MLP | None = weights(prior=L2(_RIDGE))  # from K to O J
    covariate_net: MLP | None = weights(prior=L2(_RIDGE))
    dispersion: Array = positive()
    first_cut: Array = real()  # of each ordinal outcome
    cut_steps: Array = positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.loadings.shape[0]), 1.0)

    def names_within(self, parameter):
        """Outcome, and place in the basis; of an outcome without a name the place alone."""
        if self.outcomes == (UNNAMED,):
            return ()
        effects, _, size = self.loadings.shape
        coefficients = [f"{outcome} {j}" for outcome in self.outcomes for j in range(size)]
        families = dict(zip(self.outcomes, self.families, strict=True))
        names = {
            "mean": coefficients,
            "loadings": [f"eta{k + 1} {one}" for k in range(effects) for one in coefficients],
            "dispersion": [name for name, family in families.items() if family.dispersions],
            "first_cut": [name for name, family in families.items() if family.cuts],
            "cut_steps": [f"{name} {i}" for name, family in families.items() for i in range(1, family.cuts)],
        }
        return tuple(names.get(parameter, ()))

    def linear(self, eta: Float[Array, " K"], subject: Subject) -> Float[Array, "O n"]:
        """The linear predictors of all outcomes along the subject's times."""
        return self.curves(self.coefficients(eta, subject), subject.time)

    def coefficients(self, eta: Float[Array, " K"], subject: Subject) -> Float[Array, "O J"]:
        """Of the basis, for each outcome: its linear predictor less its centre and over its scale."""
        coefficients = self.mean + jnp.tensordot(eta, self.loadings, 1)
        if self.net is not None:
            coefficients = coefficients + jnp.reshape(self.net(eta), self.mean.shape)
        if self.covariate_net is not None:
            values = covariates_of(subject, self.covariates)
            coefficients = coefficients + jnp.reshape(self.covariate_net(values), self.mean.shape)
        return coefficients

    def curves(self, coefficients: Float[Array, "O J"], time: Float[Array, " m"]) -> Float[Array, "O m"]:
        """The linear predictors of all outcomes at these times, given the coefficients of the basis."""
        scaled = jnp.asarray(self.scale)[:, None] * (coefficients @ self.basis(time).T)
        return jnp.asarray(self.centre)[:, None] + scaled

    def observations(self, eta, subject):
        coefficients = self.coefficients(eta, subject)
        linear = self.curves(coefficients, subject.time)
        by_outcome = {}
        dispersions = 0
        ordinal = 0
        steps = 0
        for row, (name, family) in enumerate(zip(self.outcomes, self.families, strict=True)):
            own = self.dispersion[dispersions : dispersions + family.dispersions]
            dispersions += family.dispersions
            cuts = jnp.zeros(0)
            if family.cuts:
                upward = self.cut_steps[steps : steps + family.cuts - 1]
                cuts = self.first_cut[ordinal] + jnp.append(0.0, jnp.cumsum(upward))
                steps += family.cuts - 1
                ordinal += 1

            def curve(time: Array, row: int = row) -> Array:
                return self.curves(coefficients, time)[row]

            by_outcome[name] = family.observed(linear[row], curve, subject, name, own, cuts)
        return as_given(by_outcome)


def deep_mixed_model(
    population: Population,
    outcomes: Family | Mapping[str, Family],
    *,
    effects: int,
    basis: Callable | int = 5,
    hidden: Sequence[int] | None = (16,),
    covariates: Sequence[str] = (),
    covariates_hidden: Sequence[int] = (16,),
    seed: int = 0,
) -> DeepMixedModel:
    """A deep generalised mixed model at its start, ready to be fitted by `Amortised`, or by any other method.

    **Arguments**

    - `population`: it gives times, outcomes, and the sizes of responses and covariates.
    - `outcomes`: a family, or one by each outcome's name: `{"pain": mf.families.Ordinal(4)}`.
    - `effects`: K, the number of random effects. Too many cost little: those that are not needed sleep.
    - `basis`: a function from times (n,) to (n, J), such as `mf.networks.NaturalSpline(8, 0, 1)`, or your own; a number
      is the df of natural splines over the population's times.
    - `hidden`: layers of the network of the random effects; None for none: a linear mixed model.
    - `covariates`, `covariates_hidden`: names of those that move the mean, by a network of these layers; () is linear.
      One that changes in time counts as it is in the first row.
    - `seed`: of all starting weights.

    **Raises:** ValueError for outcomes or covariates that the population has not, and for responses that a family
    cannot give.

        start = mf.deep_mixed_model(population, mf.families.Gaussian(), effects=2, hidden=(4,))
        fit = mf.fit(start, population, mf.Adam(mf.Amortised(), steps=3000), key=key)
    """
    families = _families_of(population, outcomes)
    real_rows = np.asarray(population.subjects.real, bool)
    time = np.asarray(population.subjects.time, float)[real_rows]
    curve = NaturalSpline(basis, float(time.min()), float(time.max())) if isinstance(basis, int) else basis
    size = int(np.shape(curve(jnp.asarray(time[:1])))[1])
    seen = {name: _seen(population, name) for name in families}
    linked = [family.linked_in(population, name) for name, family in families.items()]
    starts = [family.start(seen[name]) for name, family in families.items()]
    cuts = [values for _, values in starts if values]
    rng = np.random.default_rng(seed)
    shape = (len(families), size)
    wide = int(np.prod(shape))
    network = None if hidden is None else MLP(effects, hidden, wide, seed=seed)
    return DeepMixedModel(
        mean=jnp.zeros(shape),
        loadings=jnp.asarray(0.3 * rng.standard_normal((effects, *shape))),
        net=network,
        covariate_net=_covariate_net(population, covariates, covariates_hidden, wide, seed),
        dispersion=jnp.array([value for values, _ in starts for value in values]),
        first_cut=jnp.array([values[0] for values in cuts]),
        cut_steps=jnp.concatenate([jnp.zeros(0), *[jnp.diff(jnp.asarray(values)) for values in cuts]]),
        families=tuple(families.values()),
        basis=curve,
        outcomes=tuple(families),
        covariates=tuple(covariates),
        centre=tuple(centre for centre, _ in linked),
        scale=tuple(scale for _, scale in linked),
    )


def _families_of(population: Population, outcomes: Any) -> dict[str, Family]:
    """A family for each outcome, in the order of names."""
    asked = as_dict(outcomes)
    names = sorted(as_dict(population.subjects.y))
    if sorted(asked) != names:
        told = ", ".join(name or "one without a name" for name in names)
        raise ValueError(f"a family is needed for each outcome of the data: {told}.")
    return {name: asked[name] for name in names}


def _seen(population: Population, outcome: str) -> np.ndarray:
    """All responses of an outcome; ValueError where there are none."""
    values = responses_of(population, outcome)
    if values.size == 0:
        raise ValueError(f"nothing was observed of {outcome or 'the outcome'}, so no model can be made for it.")
    return values


def _covariate_net(
    population: Population, names: Sequence[str], hidden: Sequence[int], outputs: int, seed: int
) -> MLP | None:
    if not names:
        return None
    centre, spread = sizes_of_covariates(population, names)
    return MLP(len(names), hidden, outputs, centre=np.asarray(centre), spread=np.asarray(spread), seed=seed + 1)
