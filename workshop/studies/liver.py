"""Patients of lesson 12: who is fitted, who calibrates and who is new, their residuals, and a picture of their sets."""

from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

import mefit as mf
from mefit import style

GATE = ("age", "male", "edema", "hepatomegaly", "albumin")
_SEED = 12
_FITTED = 212  # patients; of the others 50 calibrate, and 50 are new
_CALIBRATE = 50


def split(seed: int = _SEED) -> tuple[mf.Population, mf.Population, mf.Population]:
    """The patients with primary biliary cholangitis: 212 to fit, 50 to calibrate, 50 who are new."""
    people = mf.datasets.bilirubin()
    order = np.random.default_rng(seed).permutation(len(people))
    ends = np.cumsum([0, _FITTED, _CALIBRATE, len(people) - _FITTED - _CALIBRATE])
    parts = [people[sorted(order[a:b].tolist())] for a, b in zip(ends, ends[1:], strict=False)]
    return parts[0], parts[1], parts[2]


def together(first: mf.Population, second: mf.Population) -> mf.Population:
    """Both groups as one."""
    people = mf.datasets.bilirubin()
    wanted = {*first.ids, *second.ids}
    return people[[place for place, name in enumerate(people.ids) if name in wanted]]


def residuals(fit: Any) -> list[Float[np.ndarray, " n"]]:
    """Of each person what is left of the responses about the own line, in units of sigma."""
    curves = np.asarray(mf.predict(fit.model, fit.population, fit.eta))
    left = (np.asarray(fit.population.subjects.y) - curves) / float(fit.model.sigma)
    mask = np.asarray(fit.population.subjects.mask)
    return [row[own] for row, own in zip(left, mask, strict=True)]


def spread_of_scatter(
    residual: list[Float[np.ndarray, " n"]], shuffles: int, least: int = 8
) -> tuple[float, Float[np.ndarray, " shuffles"]]:
    """The SD, over persons with `least` rows or more, of the logarithm of each one's residual SD: as the residuals are,
    and with them dealt out to these persons at random."""
    kept = [own for own in residual if own.size >= least]
    pool = np.concatenate(kept)
    begins = np.cumsum([0, *(own.size for own in kept)])[:-1]
    sizes = np.array([own.size for own in kept])
    rng = np.random.default_rng(_SEED)

    def spread(values: np.ndarray) -> float:
        mean = np.add.reduceat(values, begins) / sizes
        variance = np.add.reduceat(values**2, begins) / sizes - mean**2
        return float(np.std(0.5 * np.log(variance)))

    return spread(pool), np.array([spread(rng.permutation(pool)) for _ in range(shuffles)])


def share_held(levels: Float[np.ndarray, "N m"], seen: np.ndarray, level: float) -> float:
    """The mean over people of the share of their rows that sets of this level hold."""
    each = [np.mean(own[rows] <= level) for own, rows in zip(levels, seen, strict=True) if rows.any()]
    return float(np.mean(each))


def kept_promises(
    start: mf.MixtureOfExperts, seed: int, level: float = 0.95, known: float = 1.1, draws: int = 200
) -> tuple[float, float]:
    """Which share of the later measurements of 50 new patients, each patient counting once, sets of this level hold
    that know the first `known` years: those of a mixture fitted to 212 others, and those that 50 more calibrated."""
    fitted_to, calibrating, new = split(seed)
    fit = mf.fit(start, fitted_to, mf.EM(), progress=False)
    key = jax.random.key(seed)

    def told(people: mf.Population) -> mf.Predictive:
        return mf.predictive(mf.individual(fit, people.until(known), draws=draws, key=key), components=draws)

    safe = mf.conformal(told, calibrating, level, after=known, key=key)
    seen = np.asarray(new.subjects.mask) & (np.asarray(new.subjects.time) > known)
    levels = told(new).level_of(new.subjects.y)
    return share_held(levels, seen, level), share_held(levels, seen, safe.level)


def draw_sets(
    axes: Any, sets: pd.DataFrame, people: mf.Population, seen: np.ndarray, inside: np.ndarray, patients: int = 12
) -> None:
    """Bars of the sets of the first `patients` who have rows that were predicted, beside what came."""
    y = np.asarray(people.subjects.y)
    time = np.asarray(people.subjects.time)
    place = 0.0
    middles = []
    for i in np.flatnonzero(seen.any(axis=1))[:patients]:
        own = sets[sets.ID == people.ids[i]]
        begin = place
        for j in np.flatnonzero(seen[i]):
            for _, bar in own[np.isclose(own.TIME, time[i, j])].iterrows():
                axes.plot([place, place], [bar.low, bar.high], color=style.COLOUR["posterior"], lw=4, alpha=0.6)
            meaning = "data" if inside[i, j] else "joint"
            axes.plot(place, y[i, j], **style.POINT[meaning])
            place += 1
        middles.append(0.5 * (begin + place - 1))
        place += 1.5
    for meaning, label in (("data", "held"), ("joint", "missed")):
        axes.plot([], [], **style.POINT[meaning], label=label)
    axes.plot([], [], color=style.COLOUR["posterior"], lw=4, alpha=0.6, label="prediction set")
    axes.set_xticks(middles, [str(k + 1) for k in range(len(middles))])
    axes.set(xlabel="new patients, visits in order", ylabel="log bilirubin (mg/dL)")
    axes.legend(ncols=3, loc="lower right")
    axes.set_ylim(-3.6, 6.2)
