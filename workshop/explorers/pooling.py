"""From separate fits through the mixed fit to the pooled one, by a single line that is dragged.

At the fitted theta and sigma, the SDs of the random effects are multiplied by a factor f before the empirical Bayes
estimates are found again,

    eta_i(f) = argmax over eta of  log p(y_i | theta, eta) + log N(eta; 0, f^2 Omega).

Large f lets every subject go its own way (separate fits), f = 1 is the mixed fit, and small f holds everyone at the
typical subject (the pooled curve). How far the estimates are pulled is read off as 1 - SD(eta(f)) / SD(eta(infinity)),
one number a random effect: 0 where the subjects are left alone, 1 where they are all alike. In the linear model with
one random effect it is exactly 1 - B(f), B(f) = n f^2 omega^2 / (n f^2 omega^2 + sigma^2).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mefit.effects.modes import empirical_bayes
from mefit.fitting.result import Fit
from mefit.model.parameters import effect_names, parameters
from mefit.model.predict import predict
from mefit.plots import observed, time_grid
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Stage

POOLED, SEPARATE = 1e-3, 1e3  # the ends of the slider


@dataclasses.dataclass(frozen=True)
class Pooling:
    """What no slider changes: `time` (m,), curves (N, m) of the typical and of the separately fitted subject, the
    `path` (p, N, K) that the estimates take over `factors` (p,) from pooled to separate, and the ids of the subjects
    whose own data do not determine a separate fit."""

    fit: Fit
    spread: str
    names: tuple[str, ...]
    time: np.ndarray
    typical: np.ndarray
    separate: np.ndarray
    factors: np.ndarray
    path: np.ndarray
    undetermined: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pooled:
    """One position of the slider: `eta` (N, K), `curves` (N, m), `pull` (K,), and which random effect to look at.

    Where separate fits are undetermined there is nothing to be pulled from, and `pull` is NaN."""

    factor: float
    effect: int
    names: tuple[str, ...]
    eta: np.ndarray
    curves: np.ndarray
    pull: np.ndarray
    undetermined: tuple[str, ...]


def estimates(fit: Fit, factor: float, spread: str = "omega") -> tuple[np.ndarray, np.ndarray]:
    """Empirical Bayes estimates (N, K) and their variances, the SDs of the random effects multiplied by `factor`.

    `spread` names the parameter they come from: a covariance is multiplied by the factor squared, an SD by the factor.
    """
    declared = parameters(fit.model)
    if spread not in declared:
        raise ValueError(f"{type(fit.model).__name__} has no parameter {spread!r}; there are {', '.join(declared)}.")
    if not factor > 0:
        raise Refused(f"The factor on the SDs must be positive, not {factor:g}.")
    power = 2 if declared[spread].domain.is_covariance else 1
    value = np.asarray(getattr(fit.model, spread)) * factor**power
    eta, covariance = empirical_bayes(replace(fit.model, **{spread: value}), fit.population)
    return np.asarray(eta), np.diagonal(np.asarray(covariance), axis1=1, axis2=2)


def effects_variance(fit: Fit) -> np.ndarray:
    """Variances (K,) of the fitted random effects."""
    effects: Any = fit.model.random_effects()
    return np.reshape(np.broadcast_to(np.asarray(effects.variance), effects.shape()), -1)


def prepare(fit: Fit, spread: str = "omega") -> Pooling:
    """Everything that one slider move need not compute again."""
    factors = np.logspace(np.log10(POOLED), np.log10(SEPARATE), 31)
    path = np.stack([estimates(fit, factor, spread)[0] for factor in factors])
    # A thousand times the prior's SD says nothing, so what is still as loose as that has not heard from the data.
    variance = estimates(fit, SEPARATE, spread)[1]
    held = (variance > 0) & (variance < (0.1 * SEPARATE) ** 2 * effects_variance(fit))
    undetermined = tuple(str(fit.population.ids[i]) for i in np.flatnonzero(~held.all(axis=1)))
    time = time_grid(fit.population, 80)
    names = effect_names(parameters(fit.model)[spread].names, path.shape[2])
    typical, separate = (np.asarray(predict(fit.model, fit.population, eta, time)) for eta in (None, path[-1]))
    return Pooling(fit, spread, names, time, typical, separate, factors, path, undetermined)


def compute(pooling: Pooling, factor: float, effect: str | None = None) -> Pooled:
    """The estimates and curves at one factor; `effect` names the random effect to look at, the first if left out."""
    eta, _ = estimates(pooling.fit, factor, pooling.spread)
    curves = np.asarray(predict(pooling.fit.model, pooling.fit.population, eta, pooling.time))
    names, lost = pooling.names, pooling.undetermined
    pull = 1 - np.std(eta, axis=0) / (np.nan if lost else np.std(pooling.path[-1], axis=0))
    return Pooled(factor, names.index(effect) if effect else 0, names, eta, curves, pull, lost)


def say(found: Pooled) -> str:
    if found.factor == 1:
        what = "The mixed fit"
    elif found.factor < 0.003:
        what = "As good as pooled: everyone is the typical subject"
    elif found.factor > 300:
        what = "As good as separate fits: nobody knows of the others"
    else:
        what = "Between separate and mixed" if found.factor > 1 else "Between mixed and pooled"
    factor = f"ω × {found.factor:.4g}"
    if found.undetermined:
        few = ", ".join(found.undetermined[:5]) + (", ..." if len(found.undetermined) > 5 else "")
        many = f"{len(found.undetermined)} of {len(found.eta)} subjects"
        return (
            f"{what}. For {many} their own data do not determine a separate fit.\n"
            f"{factor}. The data of subject {few} alone do not determine a separate fit."
        )
    between = what.startswith("Between")
    pulls = ", ".join(f"{name} {_share(pull, between)}" for name, pull in zip(found.names, found.pull, strict=True))
    low, high = (_share(float(end(found.pull)), between) for end in (np.min, np.max))
    share = low if low == high else f"{low.removesuffix('%')} to {high}"
    return (
        f"{what}. The estimates are pulled {share} of the way to the typical subject.\n"
        f"{factor}. Pulled from the separate estimates towards 0: {pulls}."
    )


def _share(pull: float, between: bool) -> str:
    """In per cent; `between` the ends of the slider it is not rounded to what it is only there."""
    percent = round(100 * pull)
    if between and percent >= 100:
        return "more than 99%"
    return "less than 1%" if between and percent <= 0 else f"{percent}%"


def apart(heights: np.ndarray, least: float) -> np.ndarray:
    """The heights, moved so little that no two of them are nearer to each other than `least`."""
    order, places = np.argsort(heights), np.sort(heights)
    for _ in range(100):
        short = np.maximum(least - np.diff(places), 0)
        if short.max(initial=0) < 1e-3 * least:
            break
        places[1:] += short / 2
        places[:-1] -= short / 2
    moved = np.empty_like(places)
    moved[order] = places
    return moved


def scene(pooling: Pooling, subjects: Sequence[int], found: Pooled) -> Scene:
    population = pooling.fit.population
    data = [observed(population, i) for i in subjects]
    heights = [*(y for _, y in data), pooling.separate[list(subjects)], pooling.typical[list(subjects)]]
    low, high = min(float(np.min(y)) for y in heights), max(float(np.max(y)) for y in heights)
    response = Axis(low - 0.05 * (high - low), high + 0.08 * (high - low), population.y_label)
    time = Axis(float(pooling.time[0]), float(pooling.time[-1]), population.time_label)
    panels: dict[str, Panel] = {}
    marks: list[Mark] = []
    for place, i in enumerate(subjects):
        # Times are named below the last of a column, and responses beside the first of a row.
        across = time if place + 3 >= len(subjects) else replace(time, label="")
        up = response if place % 3 == 0 else replace(response, label="")
        name = f"s{place}"
        panels[name] = Panel(across, up, f"subject {population.ids[i]}")
        # One entry of the legend for each meaning
        labels = ("typical subject", "separate fit", "with the factor on ω", "measured") if place == 0 else [""] * 4
        marks += [
            Line(name, "typical", "population", pooling.time, pooling.typical[i], labels[0]),
            Line(name, "separate", "joint", pooling.time, pooling.separate[i], labels[1]),
            Line(name, "here", "individual", pooling.time, found.curves[i], labels[2], weight="strong"),
            Dots(name, "measured", "data", *data[place], labels[3], size=6),
        ]
    panels["eta"] = Panel(
        Axis(
            POOLED, 10 * SEPARATE, "factor on ω", log=True, ticks=[(1e-3, "pooled"), (1.0, "mixed"), (1e3, "separate")]
        ),
        _reach(pooling.path[:, :, found.effect]),
        f"η of {found.names[found.effect]}, all subjects",
    )
    return Scene(panels, marks + _ways(pooling, subjects, found))


def _reach(path: np.ndarray) -> Axis:
    spare = 0.06 * float(np.ptp(path))
    return Axis(float(path.min()) - spare, float(path.max()) + spare)


def _ways(pooling: Pooling, subjects: Sequence[int], found: Pooled) -> list[Mark]:
    """The way of every subject's estimate from pooled to separate, and where it is now."""
    path = pooling.path[:, :, found.effect]
    everyone = path.shape[1]
    size = float(np.ptp(path))
    tags = apart(path[-1, list(subjects)], 0.055 * size) - 0.015 * size  # words stand on their place
    names = [str(pooling.fit.population.ids[i]) for i in subjects]
    return [
        Rule("eta", "zero", "population", "y", 0.0, weight="thin"),
        Line("eta", "ways", "individual", pooling.factors, path.T, weight="thin"),
        Rule("eta", "factor", "prior", "x", found.factor, drag=Drag(x="factor")),
        Dots("eta", "separate", "joint", np.full(everyone, SEPARATE), path[-1], size=6),
        Dots("eta", "estimates", "individual", np.full(everyone, found.factor), found.eta[:, found.effect], size=10),
        Text("eta", "names", "guide", np.full(len(names), 1.7 * SEPARATE), tags, names),
    ]


def pooling(fit: Fit, subjects: Sequence[int] | None = None, spread: str = "omega") -> Stage:
    """The explorer of lesson 01, for any fit: one slider from pooled through mixed to separate.

    **Arguments:**

    - `fit`: a fit of a model with random effects.
    - `subjects`: positions of up to six subjects whose curves to show; left out, those furthest from the typical one.
    - `spread`: the parameter that the spread of the random effects comes from.
    """
    fixed = prepare(fit, spread)
    far = np.argsort(-np.abs(fixed.separate - fixed.typical).max(axis=1))
    shown = sorted(far[:6]) if subjects is None else list(subjects)
    if not 1 <= len(shown) <= 6:
        raise ValueError(f"This explorer shows one to six subjects, not {len(shown)}.")
    controls: dict[str, Control] = {"factor": Slider("Factor on ω", POOLED, SEPARATE, 1.0, 0.1, log=True)}
    if len(fixed.names) > 1:
        controls["effect"] = Choice("Random effect", fixed.names, fixed.names[0])
    alt = (
        "Left, measurements of six subjects with the curve of the typical subject, of a separate fit, and at the "
        "chosen factor. Right, the estimated random effect of every subject against the factor on omega; the six "
        "are named."
    )
    columns = min(3, len(shown))
    cells = [f"s{place}" for place in range(len(shown))] + ["."] * (-len(shown) % columns)
    layout = [" ".join([*cells[k : k + columns], "eta"]) for k in range(0, len(cells), columns)]
    return Stage(
        partial(compute, fixed),
        partial(scene, fixed, shown),
        say,
        controls,
        alt=alt,
        layout=layout,
        widths=[1] * columns + [1.7],
        size=(900, 430),
        tries=[
            ("pool everyone", {"factor": POOLED}),
            ("fit everyone alone", {"factor": SEPARATE}),
            ("mix", {"factor": 1.0}),
        ],
    )
