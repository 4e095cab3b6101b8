"""The studies of lesson 09: a drug whose effect lags behind it, simulated, so that the truth is known.

The drug is absorbed (Ka), spreads in V and is cleared (CL). It raises what makes a response R,

    dR/dt = Kin (1 + Smax c^n / (SC50^n + c^n)) - Kout R,   R(0) = Kin / Kout,

an indirect response. `Truth` is the study of twelve or so people without covariates, `Known` the same mechanism with a
random effect on everything but CL, for studies where six covariates act and R at rest is known (`covariate_study`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

import mefit as mf
from mefit.effects.gauss_newton import GaussNewton

DAY = np.arange(25.0)  # hours at which the first study looks
LABELS = {"time_label": "time (h)", "y_label": "drug (mg/L), response"}
SIGMA = jnp.array([0.02, 0.1])  # of the drug and of the response
NEW_TIMES = np.arange(0.0, 49.0, 2.0)
NEW_REGIMEN = mf.Doses.of([0.3, 0.3, 0.3, 1.5, 1.5], time=[0.0, 3.0, 6.0, 25.0, 33.0])
SEARCH = GaussNewton(max_steps=12)  # for modes: from first derivatives only, so less to compile than Newton's steps
METHOD = mf.FOCE(newton=GaussNewton(max_steps=6), optimiser=mf.BFGS(max_iterations=20))
COVARIATES = ("R_eq", "c1", "c2", "c3", "c4", "c5", "c6")
EFFECTS = ("Smax", "SC50", "Ka", "V", "Kout")


def follow(rate: Callable, start: ArrayLike, drug: Callable, time: Float[Array, " n"], steps: int = 3) -> Array:
    """R (n,) at `time` with dR/dt = rate(c, R), R = `start` at the first time, and c(t) given by `drug(time=...)`.

    The midpoint rule with `steps` steps between one time and the next: the concentration is known at all of them
    beforehand, so that what is compiled is one short step, and not a solver.
    """
    h = jnp.repeat(jnp.diff(time) / steps, steps)
    begin = jnp.repeat(time[:-1], steps) + jnp.tile(jnp.arange(steps), len(time) - 1) * h
    c = drug(time=jnp.stack([begin, begin + h / 2]))

    def step(r: Array, at: Any) -> tuple[Array, Array]:
        h, c0, c1 = at
        r = r + h * rate(c1, r + h / 2 * rate(c0, r))
        return r, r

    _, path = jax.lax.scan(step, jnp.asarray(start, float), (h, *c))
    return jnp.concatenate([jnp.reshape(jnp.asarray(start, float), 1), path[steps - 1 :: steps]])


def indirect(
    kin: ArrayLike, kout: Array, smax: Array, sc50: Array, drug: Callable, time: Array, steps: int = 24
) -> Array:
    """R (n,) of the true mechanism. It is linear in R, and solved exactly for an effect that stays, within each
    of `steps` steps between two times, as it is in the step's middle."""
    h = jnp.repeat(jnp.diff(time) / steps, steps)
    begin = jnp.repeat(time[:-1], steps) + jnp.tile(jnp.arange(steps), len(time) - 1) * h
    x = (jnp.maximum(drug(time=begin + h / 2), 1e-9) / sc50) ** 1.5
    stays = jnp.exp(-kout * h)

    def step(rise: Array, at: Any) -> tuple[Array, Array]:
        stays, effect = at
        rise = stays * rise + (1.0 - stays) * effect
        return rise, rise

    _, path = jax.lax.scan(step, jnp.zeros(()), (stays, smax * x / (1.0 + x)))
    return jnp.asarray(kin) / kout * (1.0 + jnp.concatenate([jnp.zeros(1), path[steps - 1 :: steps]]))


def measured(drug: Array, effect: Array, sigma: Array) -> dict[str, dist.Distribution]:
    """The two things that are measured, with their errors."""
    return {"drug": dist.Normal(drug, sigma[0]), "response": dist.Normal(effect, sigma[1])}


class Truth(mf.Model):
    """What the first study is made with: five log-normal random effects of variance 0.1."""

    typical: Array = mf.positive(names=("ka", "v", "kout", "smax", "sc50"))
    sd: Array = mf.positive(names=("ka", "v", "kout", "smax", "sc50"))
    sigma: Array = mf.positive(names=("drug", "response"))

    def random_effects(self):
        return dist.Normal(jnp.zeros(5), self.sd)

    def observations(self, eta, subject):
        ka, v, kout, smax, sc50 = self.typical * jnp.exp(eta)

        def drug(time):
            return mf.pk.oral_one_compartment(subject, ka=ka, cl=1.0, v=v, time=time)

        return measured(drug(subject.time), indirect(0.8, kout, smax, sc50, drug, subject.time), self.sigma)


def truth() -> Truth:
    """The truth of the first study."""
    return Truth(typical=jnp.array([0.5, 1.0, 2.2, 2.9, 0.05]), sd=jnp.full(5, jnp.sqrt(0.1)), sigma=SIGMA)


def design(doses: list[mf.Doses], times: np.ndarray, covariates: np.ndarray | None = None) -> mf.Population:
    """People with these doses, seen at the same times, nothing measured yet; `covariates` are rows of `COVARIATES`."""
    nothing = {"drug": 0 * times, "response": 0 * times}
    people = [
        mf.Subject(jnp.asarray(times), nothing, {k: times >= 0 for k in nothing}, {}, d)
        if covariates is None
        else mf.Subject(
            jnp.asarray(times), nothing, {k: times >= 0 for k in nothing}, dict(zip(COVARIATES, x, strict=True)), d
        )
        for d, x in zip(doses, [None] * len(doses) if covariates is None else covariates, strict=True)
    ]
    return mf.Population.from_subjects(people, **LABELS)


def first_study(count: int, seed: int) -> tuple[mf.Population, Array]:
    """`count` people, two doses of 1 mg, the second after about 5 h, seen every hour for a day; and their true eta."""
    rng, key = np.random.default_rng(seed), jax.random.split(jax.random.key(seed))
    people = design([mf.Doses.of([1.0, 1.0], time=[0.0, rng.gamma(40, 1 / 8)]) for _ in range(count)], DAY)
    eta = mf.sample_random_effects(truth(), count, key[0])
    return mf.simulate(truth(), people, key[1], eta), eta


# ---------------------------------------------------------------- covariates


class Known(mf.Model):
    """The true mechanism with random effects (Smax, SC50, Ka, V, Kout), whose mean a network of the six covariates may
    move: eta = net(x) + eta'. `net` None: no covariates, but for R at rest, which is known of everyone.

    The equation is solved in three steps from one time to the next, for data and fit alike: two hours apart these are
    within 4% of its exact solution."""

    typical: Array = mf.positive(names=EFFECTS)
    omega: Array = mf.diagonal_covariance(names=EFFECTS)
    sigma: Array = mf.positive(names=("drug", "response"))
    net: mf.networks.MLP | None = mf.weights(prior=mf.networks.L2(5.0))

    def random_effects(self):
        return dist.Normal(jnp.zeros(5), jnp.sqrt(jnp.diagonal(self.omega)))

    def observations(self, eta, subject):
        if self.net is not None:
            eta = eta + self.net(*(subject.covariates[name] for name in COVARIATES[1:]))
        smax, sc50, ka, v, kout = self.typical * jnp.exp(eta)
        kin, m, d = subject.covariates["R_eq"] * kout, 0.5 * (ka + 1.0 / v), 0.5 * (ka - 1.0 / v)

        def drug(time):
            """`mf.pk.oral_one_compartment` in fewer operations, since it is computed for a thousand people: CL = 1."""
            s = jnp.maximum(time[..., None] - subject.doses.time, 0.0)
            near = jnp.abs(d * s) < 1e-3
            x = jnp.where(near, 1.0, d * s)
            spread = jnp.where(near, 1.0 + (d * s) ** 2 / 6.0, jnp.sinh(x) / x)
            return (s * jnp.exp(-m * s) * spread) @ (subject.doses.amount * ka / v)

        return measured(drug(subject.time), indirect(kin, kout, smax, sc50, drug, subject.time, 3), self.sigma)


def no_covariates() -> Known:
    """Where the fit without covariates begins: every value wrong."""
    typical = jnp.array([2.0, 0.05, 0.8, 0.8, 1.5])
    return Known(typical=typical, omega=0.1 * jnp.eye(5), sigma=jnp.array([0.05, 0.2]), net=None)


def true_mechanism() -> Known:
    """The truth of the covariate studies; what the covariates do is in `expected_effects`."""
    typical = jnp.array([1.0, 0.02, 0.5, 1.0, 2.2])
    return Known(typical=typical, omega=0.05 * jnp.eye(5), sigma=SIGMA, net=None)


def draw_covariates(count: int, rng: np.random.Generator) -> Float[np.ndarray, "N 7"]:
    """A row a person, in the order of `COVARIATES`."""
    return np.stack([
        rng.gamma(50, 1 / 50, count), rng.gamma(5, 2, count), rng.gamma(21, 1, count), rng.normal(size=count),
        rng.normal(size=count), rng.gamma(11, 1, count), rng.gamma(11, 1, count),
    ], axis=1)  # fmt: skip


def expected_effects(x: ArrayLike) -> Array:
    """(N, 5): where the covariates (N, 7) put the logarithms of `EFFECTS`, relative to `true_mechanism().typical`."""
    _, c1, c2, c3, c4, c5, c6 = jnp.asarray(x).T
    smax = jnp.log(1.2 + 3 * c1 / (12 + c1))
    return jnp.stack([smax, 0.2 * (c2 / 20) ** 0.75, 0.3 * c3 * c4, 0.3 * c3, 0.3 * c5 / (c5 + c6)], 1)


class Study(NamedTuple):
    """A simulated study: the people and what was measured, their covariates, true effects, and those to be expected."""

    people: mf.Population
    x: np.ndarray
    eta: Array
    expected: Array


TWO_DAILY = mf.Doses.of([0.5, 0.5], time=[0.0, 8.0])
EVERY_TWO_HOURS = np.arange(0.0, 25.0, 2.0)


def covariate_study(count: int, seed: int) -> Study:
    """`count` people with seven covariates, 0.5 mg at 0 and 8 h, looked at 13 times in a day."""
    x, key = draw_covariates(count, np.random.default_rng(seed)), jax.random.split(jax.random.key(seed))
    expected, model = expected_effects(x), true_mechanism()
    eta = expected + mf.sample_random_effects(model, count, key[0])
    people = design([TWO_DAILY] * count, EVERY_TWO_HOURS, x)
    return Study(mf.simulate(model, people, key[1], eta), x, eta, expected)


def truth_of_covariates(x: Float[Array, " 6"]) -> Array:
    """(5,): what six covariates of one person do, as a network would say it."""
    return expected_effects(jnp.concatenate([jnp.ones(1), x])[None])[0]


def network(seed: int = 0) -> mf.networks.MLP:
    """From six covariates, brought to size one by the moments they are drawn with, to the five effects."""
    centre, spread = (10.0, 21.0, 0.0, 0.0, 11.0, 11.0), (4.5, 4.6, 1.0, 1.0, 3.3, 3.3)
    return mf.networks.MLP(6, (9, 9), outputs=5, centre=centre, spread=spread, scale=0.3, seed=seed)


def for_others(fit: mf.Fit, people: mf.Population) -> mf.Fit:
    """The same fitted model, with the estimates of other people."""
    eta, covariance = mf.empirical_bayes(fit.model, people, SEARCH)
    return dataclasses.replace(fit, population=people, eta=np.asarray(eta), eta_covariance=np.asarray(covariance))


def with_network(model: Known, stage: Any) -> Known:
    """The model with the network and the spread of a second stage: where a fit of all together begins."""
    return dataclasses.replace(model, net=stage.model.network, omega=stage.model.omega)


def copies(people: mf.Population, which: int, count: int) -> mf.Population:
    """`count` times the same person, with ids of their own."""
    person = people[which]
    return mf.Population.from_subjects([person] * count, **LABELS)
