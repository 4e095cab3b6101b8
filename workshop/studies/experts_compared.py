"""Two kinds of straight lines behind a gate, and what models of several kinds predict of new people.

w ~ N(0, 1);  P(second) = logistic(2 w);  y = b1 + b2 t + e,  b ~ N(beta_k, s diag(0.5, 0.25)),  e ~ N(0, 0.5^2)
beta_1 = (1, 2),  beta_2 = (-1, -1),  t at 8 points of [0, 1].
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float
from scipy.special import expit

import mefit as mf

TIMES = np.linspace(0.0, 1.0, 8)
BETAS = (np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
SPREAD = np.diag([0.5, 0.25])
SIGMA = 0.5
STEEPNESS = 2.0
SEEN = 0.5  # forecasts are of what comes after, four of the eight
_DRAWS = 200  # of each person's random effects, where a network follows them


class Line(mf.Model):
    """A straight line of one's own."""

    beta: Array = mf.real(names=("intercept", "slope"))
    omega: Array = mf.covariance(names=("intercept", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        b = self.beta + eta
        return dist.Normal(b[0] + b[1] * subject.time, self.sigma)


class LineOfCovariate(Line):
    """The same, level and slope following w: a main effect and an interaction with time."""

    effect: Array = mf.real(names=("w", "w x time"))

    def observations(self, eta, subject):
        b = self.beta + self.effect * subject.covariates["w"] + eta
        return dist.Normal(b[0] + b[1] * subject.time, self.sigma)


class SameLine(mf.Model):
    """One line for everybody."""

    beta: Array = mf.real(names=("intercept", "slope"))
    sigma: Array = mf.positive()

    def observations(self, eta, subject):
        return dist.Normal(self.beta[0] + self.beta[1] * subject.time, self.sigma)


class MeNet(mf.Model):
    """A network of time, two random effects and w, which knows of no kinds and no lines."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.1))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.net.along(subject.time, eta, subject.covariates["w"]), self.sigma)


def simulate(count: int, seed: int, spread: float = 1.0) -> mf.Population:
    """`count` people, their random effects with `spread` times the variance."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(count)
    second = rng.random(count) < expit(STEEPNESS * w)
    b = np.where(second[:, None], BETAS[1], BETAS[0])
    b = b + rng.standard_normal((count, 2)) * np.sqrt(spread * np.diag(SPREAD))
    y = b[:, :1] + b[:, 1:] * TIMES + SIGMA * rng.standard_normal((count, TIMES.size))
    rows = {"ID": np.repeat(np.arange(count), TIMES.size), "TIME": np.tile(TIMES, count), "DV": y.ravel()}
    frame = pd.DataFrame(rows | {"W": np.repeat(w, TIMES.size)})
    return mf.Population.from_frame(frame, covariates={"w": "W"})


def truth(people: mf.Population, spread: float = 1.0) -> mf.MixtureOfExperts:
    """The model that made them, its gate in the units of these people."""
    w = np.asarray(people.subjects.covariates["w"])
    gate = mf.LinearGate(people, ["w"], [[STEEPNESS * w.mean(), STEEPNESS * w.std()]])
    omega = jnp.asarray(spread * SPREAD)
    experts = [Line(beta=jnp.asarray(beta), omega=omega, sigma=jnp.asarray(SIGMA)) for beta in BETAS]
    return mf.MixtureOfExperts(experts, gate=gate)


def starts(people: mf.Population, spread: float = 1.0) -> dict[str, mf.Model]:
    """The models to be fitted, by name; mixtures start at the truth, so that no luck is compared."""
    whole = truth(people, spread)
    total = jnp.sqrt(SIGMA**2 + spread)
    flat = [SameLine(beta=jnp.asarray(beta), sigma=total) for beta in BETAS]
    middle = jnp.asarray(0.5 * (BETAS[0] + BETAS[1]))
    wide = jnp.diag(jnp.array([1.0, 2.0]))
    sigma = jnp.asarray(SIGMA)
    effect = jnp.array([-0.5, -0.5])
    return {
        "experts": whole,
        "without random effects": mf.MixtureOfExperts(flat, gate=whole.gate),
        "without gate": mf.MixtureOfExperts(whole.experts),
        "one mixed model": Line(beta=middle, omega=wide, sigma=sigma),
        "one, with covariates": LineOfCovariate(beta=middle, omega=wide, sigma=sigma, effect=effect),
    }


def predicted(model: mf.Model, people: mf.Population) -> Float[np.ndarray, "N n"]:
    """E[y | what is seen] at all rows: of a mixture the sum over classes of r_k x'(beta_k + E[eta_k | y])."""
    if isinstance(model, MeNet):  # not linear in its random effects: a mean over draws of them
        known = mf.individual(model, people, draws=_DRAWS, proposed=4 * _DRAWS, key=jax.random.key(1))
        return np.mean(known.curves(), axis=1)
    if isinstance(model, mf.MixtureOfExperts):
        r = mf.responsibilities(model, people)
        parts = [r[k + 1].to_numpy()[:, None] * predicted(expert, people) for k, expert in enumerate(model.experts)]
        return np.sum(parts, axis=0)
    eta, _ = mf.empirical_bayes(model, people)
    return np.asarray(mf.predict(model, people, eta))


def error(model: mf.Model, people: mf.Population, until: float) -> float:
    """Mean squared error of the rows after a time, predicted from those before."""
    later = TIMES > until
    apart = np.asarray(people.subjects.y) - predicted(model, people.until(until))
    return float(np.mean(apart[:, later] ** 2))


def errors(models: dict[str, mf.Model], people: mf.Population) -> pd.DataFrame:
    """A row for each model: the error for people known by w alone, and of the last four rows given the first four."""
    rows = {name: (error(model, people, -1.0), error(model, people, SEEN)) for name, model in models.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["marginal", "forecast"])


def fitted(people: mf.Population, spread: float = 1.0, steps: int = 2000) -> dict[str, mf.Model]:
    """All competitors fitted to the same people: mixtures by EM, single models by Laplace, a MeNet by Adam."""
    models: dict[str, mf.Model] = {}
    for name, start in starts(people, spread).items():
        method = mf.EM() if isinstance(start, mf.MixtureOfExperts) else mf.Laplace()
        models[name] = mf.fit(start, people, method, progress=False).model
    net = mf.networks.MLP(4, (6, 6), centre=(0.5, 0.0, 0.0, 0.0), spread=(0.3, 3.0, 3.0, 1.0), scale=2.0, last=0.5)
    start = MeNet(net=net, sigma=jnp.asarray(SIGMA))
    models["MeNet"] = mf.fit(start, people, mf.Adam(mf.FOCE(), steps=steps), progress=False).model
    return models


def compared(fitted_to: mf.Population, new: mf.Population, spread: float = 1.0, steps: int = 2000) -> pd.DataFrame:
    """The truth and all competitors on one split: `errors` of new people, and how much worse than the truth's (%)."""
    table = errors({"truth": truth(new, spread)} | fitted(fitted_to, spread, steps), new)
    for kind in ("marginal", "forecast"):
        table[f"{kind}, % worse"] = 100.0 * (table[kind] / table.loc["truth", kind] - 1.0)
    return table
