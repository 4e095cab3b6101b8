"""Concentrations after one dose that one and two compartments miss: three mechanisms, simulated and fitted.

    two inputs       a share of the dose is absorbed at once, the rest hours later, at a rate of its own
    recirculation    bile collects drug, and empties into the gut after two meals, whose times shift from person to
                     person
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
EMPTYING = 0.5  # h that a meal's bile takes; at once would leave kinks in the density of when a person eats
BACKGROUND = 0.02  # mg/L, of the assay in the study of binding; known


class LogCurve(mf.Model):
    """Log-concentrations about a curve: y = log(C(t) + background) + e. What the curve is, says `concentration`."""

    sigma: Array = mf.positive()
    background: float = eqx.field(static=True, kw_only=True)

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

    In amounts: gut' = e - ka gut, central' = ka gut - (CL + CLb) / V central, bile' = CLb / V central - e. From a meal
    on the gut gets at a constant rate e, over `EMPTYING`, what was in the bile; else e is 0. Of one dose.
    """

    def concentration(self, eta, subject):
        ka, cl, to_bile, v = self.typical * jnp.exp(eta[:4])
        k = (cl + to_bile) / v
        since = subject.time - subject.doses.time[0]
        meals = jnp.asarray(MEALS) + eta[4]
        begins = jnp.append(0.0, jnp.maximum(jnp.stack([meals, meals + EMPTYING], axis=1), 0.0))  # none before the dose
        empties = jnp.append(0.0, jnp.tile(jnp.array([1.0, 0.0]), len(MEALS)))
        lengths = jnp.append(jnp.diff(begins), 0.0)

        def follow(held, segment):
            gut, central, bile = held
            begin, length, empty = segment
            inflow = empty * bile / EMPTYING
            now = _Linear(gut - inflow / ka, central, inflow, ka, k)
            bile = bile * (1.0 - empty) + to_bile / v * now.area_until(length)
            inside = now.central_after(jnp.maximum(since - begin, 0.0))
            return (now.gut_after(length), now.central_after(length), bile), inside

        held = (subject.doses.amount[0], jnp.zeros(()), jnp.zeros(()))
        _, central = jax.lax.scan(follow, held, (begins, lengths, empties))  # one segment is compiled, not five
        latest = jnp.sum(since[:, None] >= begins, axis=1) - 1
        return central[latest, jnp.arange(since.size)] / v


class _Linear(NamedTuple):
    """Amounts under a constant inflow to the gut: what it holds beyond inflow / ka, and the central compartment."""

    gut: Array
    central: Array
    inflow: Array
    ka: Array
    k: Array

    def gut_after(self, t: Array) -> Array:
        """What is in the gut a time t later."""
        return self.inflow / self.ka + self.gut * jnp.exp(-self.ka * t)

    def central_after(self, t: Array) -> Array:
        """What is in the central compartment a time t later."""
        early = self.gut * self.ka / (self.ka - self.k) * (jnp.exp(-self.k * t) - jnp.exp(-self.ka * t))
        return self.central * jnp.exp(-self.k * t) + early - self.inflow * jnp.expm1(-self.k * t) / self.k

    def area_until(self, t: Array) -> Array:
        """The integral of `central_after` from 0 to t."""
        slow = -jnp.expm1(-self.k * t) / self.k
        early = self.gut * self.ka / (self.ka - self.k) * (slow + jnp.expm1(-self.ka * t) / self.ka)
        return self.central * slow + early + self.inflow / self.k * (t - slow)


class Binding(Mechanism):
    """CL, V, the target's level without drug, and the rate at which drug and target are removed together.

    Total drug T and total target R, free drug C = ((T - R - kss) + sqrt((T - R - kss)^2 + 4 kss T)) / 2:

        T' = -CL / V C - kint R C / (kss + C),    R' = kdeg (R0 - R) - (kint - kdeg) R C / (kss + C),

    with kss and kdeg known. The dose enters T as amount / V.
    """

    kss: float = eqx.field(static=True, kw_only=True)
    kdeg: float = eqx.field(static=True, kw_only=True)

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
        time=jnp.asarray(time),
        y=jnp.zeros(time.shape),
        mask=jnp.ones(time.shape, bool),
        covariates={"dose": jnp.log(amount / 100.0)},
        doses=mf.Doses.together([mf.regimen(one) for one in amount]),
    )
    unseen = mf.Population(subjects, tuple(range(people)), time_label="time (h)", y_label="log concentration (mg/L)")
    y = np.asarray(mf.predict(model, unseen, eta)) + ERROR * rng.standard_normal(time.shape)
    return Study(unseen.with_responses(y), eta)


def curves(name: str, study: Study, time: Float[np.ndarray, " m"], dose: float | None = None) -> np.ndarray:
    """The true log-concentrations (N, m) of these people, at their own doses or all at another."""
    population = study.population if dose is None else study.population.with_doses(mf.regimen(dose))
    return np.asarray(mf.predict(truth(name), population, study.eta, time))
