"""Families of responses for generalised mixed models: what a response can be, and how a linear predictor makes it so.

mf.families.Gaussian()            any number             identity
mf.families.Bernoulli()           0 or 1                 logit
mf.families.Poisson()             counts                 log
mf.families.NegativeBinomial()    counts, overdispersed  log
mf.families.Ordinal(4)            grades 0 to 3          proportional odds
mf.families.ScaledBeta(1, 7)      between two ends       logit of the share of the way
mf.families.Hazard()              an event in time       log of the hazard

A model of one or several of them: `mf.deep_mixed_model`.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ..base.gammas import beta_draws, log_beta
from ..curves.encoding import responses_of
from ..data.by_outcome import as_dict
from ..data.population import Population
from ..data.subject import Subject
from .hazard import hazard


class Family(eqx.Module):
    """Base of families: from a linear predictor (n,), and what else the family has, to the density of each row.

    `dispersions` is how many positive numbers it has besides, and `cuts` how many real ones in rising order.
    """

    dispersions: ClassVar[int] = 0

    @property
    def cuts(self) -> int:
        """How many cut points it has."""
        return 0

    @abc.abstractmethod
    def density(self, linear: Float[Array, " n"], dispersion: Array, cuts: Array) -> Any:
        """The density of each row."""

    @abc.abstractmethod
    def linked(self, y: Float[np.ndarray, " m"]) -> tuple[float, float]:
        """Where the linear predictor of a typical response lies, and how far it goes: what a start is made of.

        ValueError for responses that the family cannot give.
        """

    def linked_in(self, population: Population, outcome: str) -> tuple[float, float]:
        """`linked` of the responses of one outcome that were seen."""
        return self.linked(responses_of(population, outcome))

    def start(self, y: Float[np.ndarray, " m"]) -> tuple[list[float], list[float]]:
        """Starting values of the dispersions and the cut points."""
        return [1.0] * self.dispersions, []

    def observed(
        self,
        linear: Float[Array, " n"],
        curve: Callable[[Array], Array],
        subject: Subject,
        outcome: str,
        dispersion: Array,
        cuts: Array,
    ) -> Any:
        """The density of each row of a subject, from its linear predictor at the rows and as a function of times."""
        return self.density(linear, dispersion, cuts)


def _refuse(y: np.ndarray, wrong: np.ndarray, family: str, needs: str, remedy: str = "choose another family") -> None:
    if np.any(wrong):
        raise ValueError(f"{family} is for {needs}, and the data hold {y[wrong][0]:g}: {remedy}.")


def _logit(share: float) -> float:
    return float(np.log(share) - np.log1p(-share))


class Gaussian(Family):
    """y ~ N(linear, dispersion^2)."""

    dispersions: ClassVar[int] = 1

    def density(self, linear, dispersion, cuts):
        return dist.Normal(linear, dispersion[0])

    def linked(self, y):
        spread = float(np.std(y))
        return float(np.mean(y)), spread if spread > 0.0 else 1.0

    def start(self, y):
        return [self.linked(y)[1] / 2.0], []


class Bernoulli(Family):
    """y = 1 with probability 1 / (1 + exp(-linear)), else 0."""

    def density(self, linear, dispersion, cuts):
        return dist.BernoulliLogits(linear)

    def linked(self, y):
        wrong = ~np.isin(y, (0.0, 1.0))
        _refuse(y, wrong, "Bernoulli", "responses of 0 and 1", "code them so, or choose another family")
        return _logit((y.sum() + 0.5) / (y.size + 1.0)), 1.0


class Poisson(Family):
    """y ~ Poisson(exp(linear))."""

    def density(self, linear, dispersion, cuts):
        return dist.Poisson(jnp.exp(linear))

    def linked(self, y):
        _refuse(y, (y < 0) | (y != np.round(y)), type(self).__name__, "counts")
        return float(np.log(y.mean() + 0.5 / y.size)), 1.0


class NegativeBinomial(Poisson):
    """y with mean m = exp(linear) and variance m + m^2 / dispersion."""

    dispersions: ClassVar[int] = 1

    def density(self, linear, dispersion, cuts):
        return dist.NegativeBinomial2(jnp.exp(linear), dispersion[0])


class Ordinal(Family):
    """Grades 0 to `levels` - 1, by proportional odds: P(y <= g) = 1 / (1 + exp(linear - cut_g))."""

    levels: int = eqx.field(static=True)

    @property
    def cuts(self) -> int:
        return self.levels - 1

    def density(self, linear, dispersion, cuts):
        return dist.OrderedLogistic(linear, cuts)

    def linked(self, y):
        wrong = ~np.isin(y, np.arange(self.levels))
        if np.any(wrong):
            _refuse(y, wrong, f"Ordinal({self.levels})", f"grades 0 to {self.levels - 1}", _of_grades(y))
        return 0.0, 1.0

    def start(self, y):
        below = [(np.sum(y <= grade) + 0.5 * (grade + 1)) / (y.size + 0.5 * self.levels) for grade in range(self.cuts)]
        return [], [_logit(float(share)) for share in below]


def _of_grades(y: np.ndarray) -> str:
    """What to do about grades that an ordinal family has not."""
    if np.any(y != np.round(y)):
        return "choose another family"
    if y.min() != 0.0:
        return f"count grades from 0, which is here {y.min():g}"
    return f"take Ordinal({y.max() + 1:g})"


class Share(dist.Beta):
    """The Beta distribution, faster: see `mefit.base.gammas`."""

    def log_prob(self, value: Any) -> Array:
        a = self.concentration1
        b = self.concentration0
        return (a - 1.0) * jnp.log(value) + (b - 1.0) * jnp.log1p(-value) - log_beta(a, b)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        shape = self.shape(sample_shape)
        a = jnp.broadcast_to(self.concentration1, shape)
        return beta_draws(key, a, jnp.broadcast_to(self.concentration0, shape))


class OnScale(dist.TransformedDistribution):
    """A share of the way between two ends, on their scale, with its moments."""

    @property
    def mean(self) -> Array:
        (line,) = self.transforms
        return line.loc + line.scale * self.base_dist.mean

    @property
    def variance(self) -> Array:
        (line,) = self.transforms
        return line.scale**2 * self.base_dist.variance


class ScaledBeta(Family):
    """y = low + (high - low) u, u ~ Beta with mean m = 1 / (1 + exp(-linear)) and precision `dispersion`.

    The two numbers of the Beta are m dispersion and (1 - m) dispersion. Responses at an end itself are refused, for a
    Beta never gives them: declare ends a little beyond the scale's own, such as `ScaledBeta(0.5, 7.5)` for 1 to 7.
    Source: Ferrari and Cribari-Neto (2004), J. Appl. Stat. 31, eq. 4.
    """

    low: float | int = eqx.field(static=True)
    high: float | int = eqx.field(static=True)
    dispersions: ClassVar[int] = 1

    def __check_init__(self):
        if not self.low < self.high:
            raise ValueError(f"ScaledBeta({self.low:g}, {self.high:g}) is empty: give the lower end first.")

    def density(self, linear, dispersion, cuts):
        mean = jax.nn.sigmoid(linear)
        share = Share(mean * dispersion[0], (1.0 - mean) * dispersion[0])
        return OnScale(share, dist.transforms.AffineTransform(self.low, self.high - self.low))

    def linked(self, y):
        outside = (y <= self.low) | (y >= self.high)
        name = f"ScaledBeta({self.low:g}, {self.high:g})"
        between = f"responses strictly between {self.low:g} and {self.high:g}"
        _refuse(y, outside, name, between, "declare ends beyond all of them, or choose another family")
        return _logit(float(np.mean((y - self.low) / (self.high - self.low)))), 1.0

    def start(self, y):
        share = (y - self.low) / (self.high - self.low)
        mean = float(share.mean())
        return [max(2.0, 2.0 * mean * (1.0 - mean) / max(float(share.var()), 1e-6))], []


class Hazard(Family):
    """Time to an event, whose hazard is exp(linear(t)) in 1 / unit of time, integrated along the person's own curve.

    Responses are 0 where the person was free of it until then, 1 at the event, 2 where it was found to have happened
    since the row before, as `mf.hazard` reads them. `start_of_watch` is the time from which people were watched. With
    other outcomes beside it this is a joint model by shared random effects; a hazard that follows another outcome's
    current value is written by `mf.hazard`.
    """

    start_of_watch: float | int = eqx.field(static=True, default=0.0)

    def density(self, linear, dispersion, cuts):
        raise ValueError("a hazard is integrated over time, so that values at the rows alone do not give its density.")

    def observed(self, linear, curve, subject, outcome, dispersion, cuts):
        return hazard(curve, subject, outcome, start=self.start_of_watch)

    def linked(self, y):
        _refuse(y, ~np.isin(y, (0.0, 1.0, 2.0)), "Hazard", "0 (free of it), 1 (the event) or 2 (since the row before)")
        return 0.0, 1.0

    def linked_in(self, population, outcome):
        """The logarithm of events over the time that people were watched."""
        y = responses_of(population, outcome)
        _, spread = self.linked(y)
        seen = np.asarray(as_dict(population.subjects.mask)[outcome], bool)
        time = np.asarray(population.subjects.time, float)
        watched = np.where(seen, time - self.start_of_watch, 0.0).max(axis=1).sum()
        if not watched > 0.0:
            raise ValueError(
                f"nobody was watched after {self.start_of_watch:g}: give Hazard an earlier start_of_watch."
            )
        return float(np.log((np.sum(y > 0) + 0.5) / watched)), spread
