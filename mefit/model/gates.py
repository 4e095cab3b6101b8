"""Gates: what a mixture of experts says of a subject's class before any response was seen."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..curves.mlp import MLP
from ..curves.networks import L2, Penalty
from ..data.population import Population
from ..data.subject import Subject
from .domains import Weights
from .parameters import Parameter, parameters, real, simplex


class Gate(eqx.Module):
    """Base of the gates: the shares pi_k(w) of the classes, given a subject's covariates w at its first row.

    A gate has no random effects. A subject is in one class for good, so that an effect of its own in the linear
    predictor would be seen once: integrated out it leaves a flatter curve of shares, which smaller coefficients give as
    well, and its variance would not be identified. It would take subjects who change class from occasion to occasion,
    and a sum over all the ways to do so, which a mixture of experts does not do.
    """

    @abc.abstractmethod
    def sized(self, classes: int) -> "Gate":
        """The gate for this number of classes, at its starting values where it has none yet."""

    @abc.abstractmethod
    def log_shares(self, subject: Subject) -> Float[Array, " C"]:
        """log pi_k(w) of each class."""

    @abc.abstractmethod
    def reordered(self, order: Sequence[int]) -> "Gate":
        """The same gate with class `order[k]` in place k."""

    def declared(self) -> dict[str, Parameter]:
        """The declared parameters, by field name."""
        return parameters(self)

    def check(self, population: Population) -> None:
        """Raise ValueError where the gate cannot serve these subjects."""


class ConstantGate(Gate):
    """The same shares for everybody: the classical mixture.

    ```python
    gate = mf.ConstantGate(jnp.array([0.3, 0.7]))
    ```
    """

    classes: int = eqx.field(static=True)
    share: Array = simplex()

    def __init__(self, share: Any = (1.0,)):
        if np.ndim(share) == 0 and share != 1:
            raise ValueError(f"ConstantGate takes the share of each class, such as (0.3, 0.7), and got {share:g}.")
        self.share = jnp.atleast_1d(jnp.asarray(share, float))
        self.classes = self.share.size

    def sized(self, classes: int) -> "ConstantGate":
        if self.classes == classes:
            return self
        if self.classes > 1:
            raise ValueError(f"the gate has {self.classes} shares for {classes} experts: give one for each, or none.")
        return ConstantGate(np.full(classes, 1.0 / classes))

    def log_shares(self, subject: Subject) -> Float[Array, " C"]:
        return jnp.log(self.share)

    def reordered(self, order: Sequence[int]) -> "ConstantGate":
        return ConstantGate(self.share[np.asarray(order)])

    def declared(self) -> dict[str, Parameter]:
        if self.classes == 1:  # there is nothing to estimate
            return {}
        names = tuple(str(k + 1) for k in range(self.classes))
        return {"share": parameters(self)["share"]._replace(names=names)}


class Inputs(eqx.Module):
    """Covariates made ready for a gate: at a subject's first row, with mean 0 and SD 1 in the population.

    `missing` gives, by covariate, the number that stands for one that is not known, such as {"genotype": -1}. It counts
    as the mean, and a feature of its own, 1 where it is missing, says so: then the share of those without it is
    estimated from them, whatever the reason. With several covariates that is an approximation, in which the others say
    the same of those with and without it.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    codes: tuple[float, ...] = eqx.field(static=True)  # of each, what stands for a missing one; infinite for none
    # arrays, so that what is compiled serves other people too
    centre: Float[Array, " G"]
    spread: Float[Array, " G"]

    def __init__(self, population: Population, names: Iterable[str], missing: Any = None):
        self.names = (names,) if isinstance(names, str) else tuple(names)
        missing = {} if missing is None else missing
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError("a gate needs the names of one or more covariates, each once; leave it out for shares.")
        if not isinstance(missing, Mapping):
            raise ValueError(
                f"missing= says of each covariate by name which number stands for one that is not known, such as "
                f"{{{self.names[0]!r}: {missing}}}."
            )
        for name in missing:
            if name not in self.names:
                raise ValueError(f"missing names {name!r}, which is not among the gate's covariates: give it there.")
        self.codes = tuple(float(missing.get(name, np.inf)) for name in self.names)
        columns = [_baseline(population, name) for name in self.names]
        seen = [column[column != code] for column, code in zip(columns, self.codes, strict=True)]
        for name, column, values in zip(self.names, columns, seen, strict=True):
            if values.size < 2 or not np.std(values) > 1e-12 * np.max(np.abs(values)):
                raise ValueError(
                    f"covariate {name!r} is the same in all subjects, and tells no classes apart: drop it."
                )
            if name in missing and values.size == column.size:
                raise ValueError(
                    f"no subject lacks {name!r}, whose share could then not be estimated: drop it in missing=."
                )
        self.centre = jnp.asarray([np.mean(values) for values in seen], float)
        self.spread = jnp.asarray([np.std(values) for values in seen], float)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of what goes into the gate."""
        pairs = zip(self.names, self.codes, strict=True)
        return (*self.names, *(f"{name} missing" for name, code in pairs if np.isfinite(code)))

    def __call__(self, subject: Subject) -> Float[Array, " F"]:
        scaled = []
        lacking = []
        for i, (name, code) in enumerate(zip(self.names, self.codes, strict=True)):
            _refuse_unknown(name, subject.covariates)
            value = jnp.reshape(subject.covariates[name], -1)[0]
            scaled.append(jnp.where(value == code, 0.0, (value - self.centre[i]) / self.spread[i]))
            if np.isfinite(code):
                lacking.append(jnp.where(value == code, 1.0, 0.0))
        return jnp.stack([*scaled, *lacking])

    def check(self, population: Population) -> None:
        """Raise ValueError for a covariate that the population does not have."""
        for name in self.names:
            _refuse_unknown(name, population.subjects.covariates)


class LinearGate(Gate):
    """A softmax of a linear predictor: log pi_k(w) / pi_1(w) = a_k + b_k'z, with z the standardised covariates.

    `log_odds` (K - 1, 1 + F) holds a_k and b_k, against the first class, per SD of a covariate in `population`; a
    covariate that varies in time counts by its first row. `missing` gives, by covariate, the number that stands for one
    that is not known: it counts as the mean, and a feature of its own says so. `features` names what b_k multiplies.

        gate = mf.LinearGate(population, ["wt"])
    """

    inputs: Inputs
    classes: int = eqx.field(static=True)
    log_odds: Array = real()

    def __init__(
        self,
        population: Population | Inputs,
        covariates: Iterable[str] = (),
        log_odds: Any = None,
        *,
        missing: Any = None,
    ):
        self.inputs = population if isinstance(population, Inputs) else Inputs(population, covariates, missing)
        width = 1 + len(self.inputs.features)
        given = np.zeros((0, width)) if log_odds is None else np.atleast_2d(np.asarray(log_odds, float))
        if given.shape[-1] != width:
            raise ValueError(f"log_odds has {given.shape[-1]} columns, and the gate {width}: a constant first.")
        self.log_odds = jnp.asarray(given)
        self.classes = 1 + len(given)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of `log_odds`."""
        return ("constant", *self.inputs.features)

    def sized(self, classes: int) -> "LinearGate":
        if self.classes == classes:
            return self
        if self.classes > 1:
            raise ValueError(f"log_odds has {self.classes - 1} rows for {classes} experts: give {classes - 1}.")
        return self._with(jnp.zeros((classes - 1, len(self.features))))

    def _with(self, log_odds: Array) -> "LinearGate":
        return LinearGate(self.inputs, (), log_odds)

    def log_shares(self, subject: Subject) -> Float[Array, " C"]:
        z = jnp.append(1.0, self.inputs(subject))
        return jax.nn.log_softmax(jnp.append(0.0, self.log_odds @ z))

    def reordered(self, order: Sequence[int]) -> "LinearGate":
        every = jnp.concatenate([jnp.zeros((1, len(self.features))), self.log_odds])[np.asarray(order)]
        return self._with(every[1:] - every[0])

    def declared(self) -> dict[str, Parameter]:
        if self.classes == 1:
            return {}
        rows = range(2, 1 + self.classes)
        names = tuple(f"{k}: {feature}" for k in rows for feature in self.features)
        return {"log_odds": parameters(self)["log_odds"]._replace(names=names)}

    def check(self, population: Population) -> None:
        self.inputs.check(population)


class NetworkGate(Gate):
    """A softmax of a network of the standardised covariates, one output a class, with a prior on its weights.

    ```python
    gate = mf.NetworkGate(population, ["wt"], hidden=(4,))
    ```
    """

    inputs: Inputs
    hidden: tuple[int, ...] = eqx.field(static=True)
    prior: Penalty
    gate_network: MLP | None

    def __init__(
        self,
        population: Population,
        covariates: Iterable[str],
        hidden: Sequence[int] = (6,),
        prior: Penalty = L2(1.0),  # noqa: B008 - it has no state
        *,
        missing: Any = None,
    ):
        self.inputs = Inputs(population, covariates, missing)
        self.hidden = tuple(hidden)
        self.prior = prior
        self.gate_network = None

    def sized(self, classes: int) -> "NetworkGate":
        if classes < 2:
            raise ValueError("a network as a gate needs two experts or more.")
        if self.gate_network is None:
            network = MLP(len(self.inputs.features), self.hidden, classes)
            return eqx.tree_at(lambda g: g.gate_network, self, network, is_leaf=lambda x: x is None)
        outputs = len(self.gate_network.shift)
        if outputs != classes:
            raise ValueError(f"the gate's network has {outputs} outputs for {classes} experts: give one for each.")
        return self

    def log_shares(self, subject: Subject) -> Float[Array, " C"]:
        network: Any = self.gate_network  # of its own size once it stands in a mixture
        return jax.nn.log_softmax(network(self.inputs(subject)))

    def reordered(self, order: Sequence[int]) -> "NetworkGate":
        def last(gate: Any) -> Any:
            return gate.gate_network.weights[-1], gate.gate_network.biases[-1]

        return eqx.tree_at(last, self, tuple(part[np.asarray(order)] for part in last(self)))

    def declared(self) -> dict[str, Parameter]:
        return {"gate_network": Parameter(Weights(), "", self.prior, ())}

    def check(self, population: Population) -> None:
        self.inputs.check(population)


def _baseline(population: Population, name: str) -> Float[np.ndarray, " N"]:
    """A covariate of every subject at its first row; ValueError where the population has none of this name."""
    covariates = population.subjects.covariates
    _refuse_unknown(name, covariates)
    values = np.asarray(covariates[name], float)
    return values if values.ndim == 1 else values[:, 0]


def _refuse_unknown(name: str, covariates: Mapping[str, Any]) -> None:
    if name not in covariates:
        known = ", ".join(covariates) or "none"
        raise ValueError(
            f"the gate asks for the covariate {name!r}, and the population has {known}: "
            "name it in covariates= when the data are read."
        )
