"""Concentrations after one dose that one and two compartments miss: three mechanisms, simulated and fitted.

    two inputs       a share of the dose is absorbed at once, the rest hours later, at a rate of its own
    recirculation    bile collects drug, and empties into the gut at two meals, whose times shift from person to person
    binding          an injection, much of which a target binds and removes: quasi-steady state

Responses are log C with an error of SD 0.15. Doses of 50 to 200 mg, ten times a person between 0.25 and 24 h.
Source of the binding: Gibiansky, Gibiansky, Kakkar and Ma (2008), J. Pharmacokinet. Pharmacodyn. 35.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mefit as mf

TWO_INPUTS, RECIRCULATION, BINDING = "two inputs", "recirculation", "binding"
TRUTHS = (TWO_INPUTS, RECIRCULATION, BINDING)
LOWEST, HIGHEST = 50.0, 200.0  # mg
FIRST, LAST = 0.25, 24.0  # h
ERROR = 0.15
MEALS = (4.0, 10.0)  # h
BACKGROUND = 0.02  # mg/L, of the assay in the study of binding; known


class LogCurve(mf.Model):
    """Log-concentrations about a curve: y = log(C(t) + background) + e. What the curve is, says `concentration`."""

    sigma: Array = mf.positive()
    background: float = eqx.field(static=True)

    def concentration(self, eta: Float[Array, " K"], subject: mf.Subject) -> Float[Array, " n"]:
        """C of one person at the times of the rows, mg/L."""
        raise NotImplementedError

    def observations(self, eta, subject):
        return dist.Normal(jnp.log(self.concentration(eta, subject) + self.background), self.sigma)


class Mechanism(LogCurve):
    """A mechanism whose parameters are `typical`, positive, times exp(eta)."""

    typical: Array = mf.positive()
    omega: Array = mf.diagonal_covariance()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(len(self.omega)), self.omega)


class TwoInputs(Mechanism):
    """ka, ka of the late input, CL, V, the late input's lag, and the odds of the early one."""

    def concentration(self, eta, subject):
        ka, ka_late, cl, v, lag, odds = self.typical * jnp.exp(eta)
        share = odds / (1.0 + odds)
        early = mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v, bioavailability=share)
        late = mf.pk.oral_one_compartment(subject, ka=ka_late, cl=cl, v=v, lag=lag, bioavailability=1.0 - share)
        return early + late


class Recirculation(Mechanism):
    """ka, CL, the clearance into bile, V; and by how many hours meals shift, a random effect whose mean is 0.

    Between meals, in amounts: gut' = -ka gut, central' = ka gut - (CL + CLb) / V central, bile' = CLb / V central. At a
    meal the gut gets all that is in the bile. Of one dose.
    """

    def concentration(self, eta, subject):
        ka, cl, to_bile, v = self.typical * jnp.exp(eta[:4])
        k = (cl + to_bile) / v
        since = subject.time - subject.doses.time[0]
        meals = [jnp.asarray(0.0), *(meal + eta[4] for meal in MEALS)]
        gut = subject.doses.amount[0]
        central = jnp.zeros(())
        curve = jnp.zeros(since.shape)
        for begin, end in zip(meals, [*meals[1:], None], strict=True):
            passed = jnp.maximum(since - begin, 0.0)
            curve = jnp.where(since >= begin, _central(gut, central, ka, k, passed), curve)
            if end is not None:
                length = end - begin
                area = _area(gut, central, ka, k, length)
                central_then = _central(gut, central, ka, k, length)
                gut = gut * jnp.exp(-ka * length) + to_bile / v * area
                central = central_then
        return curve / v


def _central(gut: Array, central: Array, ka: Array, k: Array, t: Array) -> Array:
    """What is in the central compartment a time t after gut and central held these amounts."""
    return central * jnp.exp(-k * t) + gut * ka / (ka - k) * (jnp.exp(-k * t) - jnp.exp(-ka * t))


def _area(gut: Array, central: Array, ka: Array, k: Array, t: Array) -> Array:
    """The integral of `_central` from 0 to t."""
    slow = -jnp.expm1(-k * t) / k
    return central * slow + gut * ka / (ka - k) * (slow + jnp.expm1(-ka * t) / ka)


class Binding(Mechanism):
    """CL, V, the target's level without drug, and the rate at which drug and target are removed together.

    Total drug T and total target R, free drug C = ((T - R - kss) + sqrt((T - R - kss)^2 + 4 kss T)) / 2:

        T' = -CL / V C - kint R C / (kss + C),    R' = kdeg (R0 - R) - (kint - kdeg) R C / (kss + C),

    with kss and kdeg known. The dose enters T as amount / V.
    """

    kss: float = eqx.field(static=True)
    kdeg: float = eqx.field(static=True)

    def concentration(self, eta, subject):
        cl, v, target, kint = self.typical * jnp.exp(eta)

        def free(amount, bound):
            b = amount / v - bound - self.kss
            return 0.5 * (b + jnp.sqrt(b**2 + 4.0 * self.kss * jnp.maximum(amount / v, 0.0)))

        def rhs(t, state):
            amount, bound = state
            c = free(amount, bound)
            taken = bound * c / (self.kss + c)
            return [-cl * c - v * kint * taken, self.kdeg * (target - bound) - (kint - self.kdeg) * taken]

        states = mf.dynamics.solve(rhs, [0.0, target], subject, solver=mf.dynamics.RK4(6))
        return jax.vmap(free)(states[:, 0], states[:, 1])


def truth(name: str) -> Mechanism:
    """The mechanism that people are made with."""
    settings: dict[str, Callable[[], Mechanism]] = {
        TWO_INPUTS: lambda: _made(TwoInputs, (1.2, 0.7, 3.0, 30.0, 4.0, 1.0), (0.4, 0.4, 0.3, 0.2, 0.3, 1.0)),
        RECIRCULATION: lambda: _made(Recirculation, (1.2, 3.0, 6.0, 20.0), (0.4, 0.3, 0.4, 0.2, 0.5)),
        BINDING: lambda: _made(
            Binding, (1.0, 20.0, 3.0, 0.3), (0.3, 0.2, 0.3, 0.3), background=BACKGROUND, kss=0.15, kdeg=0.05
        ),
    }
    return settings[name]()


def _made(kind: type[Mechanism], typical: tuple[float, ...], sds: tuple[float, ...], **others: Any) -> Mechanism:
    values: dict[str, Any] = {"background": 0.0, **others}
    return kind(typical=jnp.asarray(typical), omega=jnp.diag(jnp.asarray(sds) ** 2), sigma=jnp.asarray(ERROR), **values)


class Study(NamedTuple):
    """People with ten samples each, and the random effects (N, K) that are theirs in truth."""

    population: mf.Population
    eta: Float[np.ndarray, "N K"]


def simulate(name: str, people: int, seed: int) -> Study:
    """`people` of one truth, each with one dose, log-uniform, whose logarithm over 100 mg is the covariate "dose"."""
    rng = np.random.default_rng([seed, TRUTHS.index(name)])
    model = truth(name)
    eta = rng.standard_normal((people, len(model.omega))) @ np.sqrt(np.asarray(model.omega))
    time = np.sort(rng.uniform(FIRST, LAST, (people, 10)), axis=1)
    amount = np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST), people))
    subjects = mf.Subject(
        time=time,
        y=np.zeros(time.shape),
        mask=np.ones(time.shape, bool),
        covariates={"dose": np.log(amount / 100.0)},
        doses=mf.Doses.together([mf.regimen(one) for one in amount]),
    )
    unseen = mf.Population(subjects, tuple(range(people)), time_label="time (h)", y_label="log concentration (mg/L)")
    y = np.asarray(mf.predict(model, unseen, eta)) + ERROR * rng.standard_normal(time.shape)
    return Study(unseen.with_responses(y), eta)


def curves(name: str, study: Study, time: Float[np.ndarray, " m"], dose: float | None = None) -> np.ndarray:
    """The true log-concentrations (N, m) of these people, at their own doses or all at another."""
    population = study.population if dose is None else study.population.with_doses(mf.regimen(dose))
    return np.asarray(mf.predict(truth(name), population, study.eta, time))
