"""An autoencoder for concentrations at any times, held against the exact posterior of the people's own truth.

The truth is one compartment by mouth, ka 1.2/h, CL 3 L/h, V 30 L with SDs of 0.4, 0.3 and 0.2, and log C is measured
with an SD of 0.2. People to learn from are seen once to six times between 0.25 and 30 h, log-uniform, after 50, 100 or
200 mg. People to judge by got 100 mg, and were seen at the same times: what is wanted is the logarithm of their area to
infinity, log(dose / CL).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

import mefit as mf

from .flexible_curves import Decoder, Template
from .one_person import ERROR, SD, TYPICAL

_SIX = (0.5, 1.0, 2.0, 4.0, 8.0, 24.0)
DESIGNS: dict[str, tuple[float, ...]] = {
    "none": (),
    "4 h": (4.0,),
    "24 h": (24.0,),
    "2, 24 h": (2.0, 24.0),
    "1, 4, 24 h": (1.0, 4.0, 24.0),
    "six": _SIX,
}
FIRST, LAST = 0.25, 30.0  # h, of the people to learn from
DOSES = (50.0, 100.0, 200.0)
_TIME = np.concatenate([np.linspace(0.0, 6.0, 31), np.geomspace(6.5, 160.0, 40)])  # all but 1e-6 of an area is in it
_Z = 1.6449  # of a central interval of 90%


def truth() -> Template:
    """The model that people are made with."""
    values: dict[str, Any] = {"typical": jnp.asarray(TYPICAL), "omega": jnp.diag(jnp.asarray(SD) ** 2)}
    return Template(**values, sigma=jnp.asarray(ERROR), background=0.0)


class People(NamedTuple):
    """People, and the logarithms (N,) of their true areas."""

    population: mf.Population
    log_area: Float[np.ndarray, " N"]


def to_learn_from(count: int, seed: int) -> mf.Population:
    """`count` people with one to six samples each at times of their own."""
    rng = np.random.default_rng(seed)
    time = np.sort(np.exp(rng.uniform(np.log(FIRST), np.log(LAST), (count, 6))), axis=1)
    samples = rng.integers(1, 7, count)
    seen = np.argsort(rng.random(time.shape), axis=1) < samples[:, None]
    return _people(time, seen, rng.choice(DOSES, count), rng).population


def patients(count: int, times: Sequence[float], seed: int) -> People:
    """`count` people seen at some of the six times, the same people whatever the times.

    All have a row at each of the six, so that one program serves every design. ValueError for a time that is none.
    """
    if not set(times) <= set(_SIX):
        raise ValueError(f"these people can be seen at {_SIX} h, and not at {tuple(times)}.")
    rng = np.random.default_rng(10_000 + seed)
    time = np.tile(_SIX, (count, 1))
    return _people(time, np.isin(time, times), np.full(count, 100.0), rng)


def _people(time: np.ndarray, seen: np.ndarray, amount: np.ndarray, rng: np.random.Generator) -> People:
    count = len(time)
    eta = rng.standard_normal((count, 3)) * SD
    subjects = mf.Subject(
        time=jnp.asarray(time),
        y=jnp.zeros(time.shape),
        mask=seen,
        covariates={"dose": jnp.log(amount / 100.0)},
        doses=mf.Doses.together([mf.regimen(one) for one in amount]),
        real=jnp.ones(time.shape, bool),
    )
    unseen = mf.Population(subjects, tuple(range(count)), time_label="time (h)", y_label="log concentration (mg/L)")
    y = np.asarray(mf.predict(truth(), unseen, eta)) + ERROR * rng.standard_normal(time.shape)
    return People(unseen.with_responses(np.where(seen, y, 0.0)), np.log(amount / TYPICAL[1]) - eta[:, 1])


def decoder(population: mf.Population, effects: int = 3, seed: int = 0) -> Decoder:
    """A learned response to a unit dose at its start; its time levels off, and it ends in an exponential."""
    response = mf.networks.UnitResponse.of(population, effects, logarithms=True, seed=seed)
    start: dict[str, Any] = {"response": response, "sigma": jnp.asarray(0.4)}
    return Decoder(**start, effects=effects, dose_read=False, background=0.0)


def learned(population: mf.Population, effects: int = 3, steps: int = 3000, seed: int = 0) -> mf.Fit:
    """Decoder and encoder, trained together on the bound."""
    basis = mf.networks.LevellingOff.over(population)
    encoder = mf.networks.SetEncoder(population, effects, basis=basis, covariates=["dose"], seed=seed)
    method = mf.Adam(mf.Amortised(encoder, samples=200), steps=steps, learning_rate=5e-3, batch=64)
    return mf.fit(decoder(population, effects, seed), population, method, key=jax.random.key(seed), progress=False)


def best_of(population: mf.Population, seeds: Sequence[int]) -> mf.Fit:
    """The most likely of several trainings, as one may keep a latent asleep that another wakes or bends better."""
    return max((learned(population, seed=seed) for seed in seeds), key=lambda fit: fit.log_likelihood)


def log_areas(people: mf.Individuals) -> Float[np.ndarray, "N M"]:
    """The logarithm of the area of each draw's curve."""
    if isinstance(people.model, Template):
        clearance = people.of(lambda model, eta, subject: model.typical[1] * jnp.exp(eta[1]))  # type: ignore[attr-defined]
        return np.log(100.0 / clearance)
    return np.log(np.trapezoid(np.exp(people.curves(_TIME[1:])), _TIME[1:], axis=-1))


class Answer(NamedTuple):
    """What is said of each person's log area."""

    mean: Float[np.ndarray, " N"]
    sd: Float[np.ndarray, " N"]


def weighed(model: mf.Model, people: People, key: PRNGKeyArray, encoder: Any = None, draws: int = 300) -> Answer:
    """By importance sampling: from the encoder's answers, or without one around each person's mode."""
    known = mf.individual(model, people.population, draws=draws, proposed=2 * draws, proposal=encoder, key=key)
    return _answer(log_areas(known))


def unweighed(fit: mf.Fit, people: People, key: PRNGKeyArray, draws: int = 300) -> Answer:
    """By the encoder's answers as they are."""
    return _answer(log_areas(guessed_people(fit, people, key, draws)))


def guessed_people(fit: mf.Fit, people: People, key: PRNGKeyArray, draws: int = 300) -> mf.Individuals:
    """Draws from the encoder's Gaussians, without weights."""
    encoder = fit.encoder
    assert encoder is not None
    q = jax.vmap(encoder)(people.population.subjects)
    z = jax.random.normal(key, (len(people.population), draws, encoder.effects))
    eta = np.asarray(q.mean[:, None] + jnp.einsum("nab,nmb->nma", q.lower, z))
    nothing = np.full(len(eta), np.nan)
    return mf.Individuals(fit.model, people.population, eta, nothing, nothing, key=key)


def _answer(draws: Float[np.ndarray, "N M"]) -> Answer:
    return Answer(draws.mean(axis=1), draws.std(axis=1))


def compared(fit: mf.Fit, count: int = 300, seed: int = 0, key: Any = None) -> pd.DataFrame:
    """For each design and each way: the error of log areas, over that of the exact posterior; how wide the posterior
    is, over the exact; how far its mean is from the exact one, in exact SDs; and what 90% intervals cover."""
    key = jax.random.key(seed) if key is None else key
    rows = []
    for design, times in DESIGNS.items():
        people = patients(count, times, seed)
        exact = weighed(truth(), people, key)
        ways = {
            "exact": exact,
            "encoder": unweighed(fit, people, key),
            "encoder, weighed": weighed(fit.model, people, key, fit.encoder),
        }
        for way, found in ways.items():
            rows.append({"design": design, "way": way} | _scores(found, exact, people.log_area))
    return pd.DataFrame(rows).set_index(["design", "way"])


def _scores(found: Answer, exact: Answer, true: np.ndarray) -> dict[str, float]:
    def error(answer: Answer) -> float:
        return float(np.sqrt(np.mean((answer.mean - true) ** 2)))

    return {
        "RMSE": error(found),
        "over exact": error(found) / error(exact),
        "SD ratio": float(np.mean(found.sd / exact.sd)),
        "distance": float(np.sqrt(np.mean(((found.mean - exact.mean) / exact.sd) ** 2))),
        "cover": float(np.mean(np.abs(true - found.mean) <= _Z * found.sd)),
    }


def second_sample(known: mf.Individuals, times: Sequence[float]) -> pd.DataFrame:
    """What one more sample at each time would show of people, by draws of what is known of them so far.

    With log C(t) and the log area both uncertain, their variances v and w and correlation r given the samples so far,
    a new sample with error sigma leaves of the area's variance about

        w (1 - r^2 v / (v + sigma^2)),

    exactly where they are jointly Gaussian. A row a time, each a mean over people: `spread` of log C(t), `correlation`
    with the log area, and `promised`, the SD that is left.
    """
    area = log_areas(known)
    curves = known.curves(np.asarray(times, float))
    sigma = float(known.model.sigma)  # type: ignore[attr-defined]
    centred = curves - curves.mean(axis=1, keepdims=True)
    off = area - area.mean(axis=1, keepdims=True)
    v = np.mean(centred**2, axis=1)
    w = np.mean(off**2, axis=1)[:, None]
    r = np.mean(centred * off[:, :, None], axis=1) / np.sqrt(v * w)
    left = np.sqrt(w * (1.0 - r**2 * v / (v + sigma**2)))
    columns = {"spread": np.sqrt(v), "correlation": r, "promised": left}
    return pd.DataFrame({name: x.mean(axis=0) for name, x in columns.items()}, index=pd.Index(times, name="time"))


def promised_by_directions(times: Sequence[float], directions: int) -> Float[np.ndarray, " m"]:
    """The SD of log area that a second sample at each time is thought to leave, after one at 24 h, by a model whose
    random effects are only so many `directions` of the truth's three.

    To first order, log C(t) = f(t) + g(t)'z and the log area a'z + constant, with z ~ N(0, I): of the directions of z
    those are kept that move curves most over the times that people are seen at. With z's precision P = I + g g' / s^2
    after the first sample, and v, w, r as in `second_sample`, the answer is in closed form.
    """
    everywhere = _loadings(np.geomspace(FIRST, LAST, 200))
    kept = np.linalg.svd(everywhere, full_matrices=False)[2][:directions]
    first = _loadings(np.array([24.0])) @ kept.T
    left = np.linalg.inv(np.eye(directions) + first.T @ first / ERROR**2)
    area = kept @ np.array([0.0, -SD[1], 0.0])
    rows = _loadings(np.asarray(times, float)) @ kept.T
    v = np.einsum("tk,kl,tl->t", rows, left, rows)
    shared = rows @ left @ area
    return np.sqrt(area @ left @ area - shared**2 / (v + ERROR**2))


def _loadings(times: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m 3"]:
    """Derivatives of log C in the random effects, each in its SD, at the typical person."""

    def log_c(eta: Array) -> Array:
        ka, cl, v = jnp.asarray(TYPICAL) * jnp.exp(eta)
        k = cl / v
        return jnp.log(ka / (v * (ka - k)) * (jnp.exp(-k * times) - jnp.exp(-ka * times)))

    return np.asarray(jax.jacfwd(log_c)(jnp.zeros(3))) * SD
