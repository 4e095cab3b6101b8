"""The study of lesson 08: curves that rise and level off, each person in a way of their own, and the best answers.

    X(t) = c1 t / (t + c2),   c1 ~ U(0.5, 1.5),   c2 ~ LogNormal(-2, 1),   y ~ N(X, sigma^2),   t = 0, 0.05, ..., 1

Because c1 enters linearly, the marginal likelihood is an integral over c2 alone, and quadrature gives it to all digits:
what no model can beat on average. `MeNet` is the model that has to learn all this from data.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array
from scipy.special import log_ndtr, logsumexp

import mefit as mf
from mefit import style
from mefit.plots import observed

TIMES = np.arange(21) * 0.05
LOW, HIGH, CENTRE, SPREAD = 0.5, 1.5, -2.0, 1.0  # of c1; of log c2
_Z = np.linspace(-7.0, 7.0, 1401)  # where log c2 is put for the quadrature, in SDs
ADAM = mf.Adam(mf.FOCE(), steps=1000)


def people(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """c1 and c2 of `count` people."""
    return _people(count, np.random.default_rng(seed))


def _people(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(LOW, HIGH, count), np.exp(rng.normal(CENTRE, SPREAD, count))


def curves(c1: np.ndarray, c2: np.ndarray, times: np.ndarray = TIMES) -> np.ndarray:
    """X (N, t): how each person's curve runs."""
    return c1[:, None] * times / (times + c2[:, None])


def simulate(count: int, seed: int, sigma: float = 0.05) -> mf.Population:
    """A study of `count` people: who they are depends on the seed, and not on sigma."""
    rng = np.random.default_rng(seed)
    x = curves(*_people(count, rng))
    y = x + sigma * rng.standard_normal(x.shape)
    table = {"ID": np.repeat(np.arange(count) + 1, TIMES.size), "TIME": np.tile(TIMES, count), "DV": y.ravel()}
    return mf.Population.from_frame(pd.DataFrame(table), time_label="time", y_label="response")


def thinned(population: mf.Population, count: int, seed: int) -> mf.Population:
    """The study with `count` measurements left of each person, at random and none at time 0, where all begin at 0."""
    rng = np.random.default_rng(seed)
    kept = np.argsort(rng.random((len(population), TIMES.size - 1)), axis=1)[:, :count] + 1
    mask = np.zeros((len(population), TIMES.size), bool)
    np.put_along_axis(mask, kept, True, axis=1)
    return dataclasses.replace(population, subjects=dataclasses.replace(population.subjects, mask=jnp.asarray(mask)))


class MeNet(mf.Model):
    """A network of time and of two random effects, whose SD is one by definition; `dials` of 1 or 0 switch them on."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    sigma: Array = mf.positive()
    dials: Array = mf.real()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.net.along(subject.time, self.dials * eta), self.sigma)


def start(dials: tuple[float, float] = (1.0, 1.0), seed: int = 0) -> MeNet:
    """An untrained MeNet: time is brought to mean 0 and SD 1, random effects to a third, so that nothing folds."""
    net = mf.networks.MLP(3, (6, 6), centre=(0.5, 0.0, 0.0), spread=(0.3, 3.0, 3.0), last=1.0, seed=seed)
    return MeNet(net=net, sigma=jnp.array(0.2), dials=jnp.array(dials))


def train(population: mf.Population, dials: tuple[float, float] = (1.0, 1.0), seed: int = 0) -> mf.Fit:
    """A trained MeNet. All dials go through one compiled program: a random effect that is off keeps its prior."""
    return mf.fit(start(dials, seed), population, ADAM, fixed="dials", progress=False)


def panels(fit: mf.Fit, subjects: Sequence[int], truth: np.ndarray) -> style.Picture:
    """A panel a subject: measurements, the curve at its own eta, the typical one, and the true curve (N, m)."""
    smooth = np.linspace(TIMES[0], TIMES[-1], truth.shape[1])
    own, typical = (np.asarray(mf.predict(fit.model, fit.population, eta, smooth)) for eta in (fit.eta, None))
    picture = style.figure(900, 300)
    picture.alt = f"{len(subjects)} people with their measurements, their fitted and true curves, and the typical one."
    with style.use():
        for ax, i in zip(picture.subplots(1, len(subjects), sharey=True), subjects, strict=True):
            thin = {"linewidth": 1.6} if fit.eta.size else {}
            ax.plot(smooth, typical[i], **(style.LINE["population"] | thin), label="typical person")
            if fit.eta.size:
                above = {"linewidth": 3.4, "zorder": 2.45}
                ax.plot(smooth, own[i], **(style.LINE["individual"] | above), label="fitted to this one")
            ax.plot(smooth, truth[i], **(style.LINE["truth"] | {"linewidth": 1.8}), label="truth")
            ax.plot(*observed(fit.population, i), **(style.POINT["data"] | {"markersize": 4}), label="measured")
            ax.set(title=f"person {fit.population.ids[i]}", xlabel="time", xticks=(0, 0.5, 1))
        picture.axes[0].set_ylabel("response")
        picture.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return picture


def _given_c2(y: np.ndarray, sigma: float, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of y (N, n): log p(y, log c2) up to the grid's step (N, grid), E[c1 | y, c2] (N, grid), and the shapes (grid, n).

    Given c2, y = c1 g + noise: in c1 a normal density with mean m and SD s, cut off at LOW and HIGH.
    """
    g = curves(np.ones(_Z.size), np.exp(CENTRE + SPREAD * _Z), times)
    gg, yg, yy = (g**2).sum(1), y @ g.T, (y**2).sum(1)[:, None]
    m, s = yg / gg, sigma / np.sqrt(gg)
    a, b = (LOW - m) / s, (HIGH - m) / s
    flip = a > 0  # the side on which the tails are small, where a difference of them keeps its digits
    low, high = log_ndtr(np.where(flip, -b, a)), log_ndtr(np.where(flip, -a, b))
    area = high + np.log1p(-np.exp(np.minimum(low - high, -1e-300)))
    log_p = -0.5 * (yy - yg * m) / sigma**2 - y.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))
    log_p += 0.5 * np.log(2 * np.pi) + np.log(s / (HIGH - LOW)) + area
    phi = [np.exp(-0.5 * z**2 - area) / np.sqrt(2 * np.pi) for z in (a, b)]
    return log_p - 0.5 * _Z**2 - 0.5 * np.log(2 * np.pi), m + s * (phi[0] - phi[1]), g


def oracle(population: mf.Population, sigma: float) -> np.ndarray:
    """log p(y_i) (N,) of every subject under the model that made the data: what nobody beats on average."""
    y, times = np.asarray(population.subjects.y), np.asarray(population.subjects.time)[0]
    seen = times > 0  # at time 0 every curve is 0, whoever it is
    at_0 = -0.5 * (y[:, ~seen] / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))
    log_p, _, _ = _given_c2(y[:, seen], sigma, times[seen])
    return logsumexp(log_p, axis=1) + np.log(_Z[1] - _Z[0]) + at_0.sum(1)


def best_curves(population: mf.Population, sigma: float, times: np.ndarray = TIMES) -> np.ndarray:
    """E[X(t) | y_i] (N, t): the curve of each subject as well as its data can tell it."""
    y, at = np.asarray(population.subjects.y), np.asarray(population.subjects.time)[0]
    seen = at > 0
    log_p, c1, _ = _given_c2(y[:, seen], sigma, at[seen])
    weights = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
    return (weights * c1) @ curves(np.ones(_Z.size), np.exp(CENTRE + SPREAD * _Z), times)
