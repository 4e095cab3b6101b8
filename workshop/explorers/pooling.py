"""From separate fits through the mixed fit to the pooled one, with a single slider.

At the fitted theta and sigma, the SDs of the random effects are multiplied by a factor f before the empirical Bayes
estimates are found again,

    eta_i(f) = argmax over eta of  log p(y_i | theta, eta) + log N(eta; 0, f^2 Omega).

Large f lets every subject go its own way (separate fits), f = 1 is the mixed fit, and small f holds everyone at the
typical subject (the pooled curve). How far the estimates are pulled is read off as 1 - SD(eta(f)) / SD(eta(infinity)),
one number a random effect: 0 where the subjects are left alone, 1 where they are all alike. In the linear model with
one random effect it is exactly 1 - B(f), B(f) = n f^2 omega^2 / (n f^2 omega^2 + sigma^2).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mefit import style
from mefit.effects.modes import empirical_bayes
from mefit.fitting.result import Fit
from mefit.model.parameters import effect_names, parameters
from mefit.model.predict import predict
from mefit.plots import observed, time_grid
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

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
    eta, covariance = empirical_bayes(dataclasses.replace(fit.model, **{spread: value}), fit.population)
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
    if found.undetermined:
        few = ", ".join(found.undetermined[:5]) + (", ..." if len(found.undetermined) > 5 else "")
        return f"{what} (ω × {found.factor:.4g}). The data of subject {few} alone do not determine a separate fit."
    pulls = ", ".join(f"{name} {pull:.0%}" for name, pull in zip(found.names, found.pull, strict=True))
    return f"{what} (ω × {found.factor:.4g}). Pulled from the separate estimates towards 0: {pulls}."


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


def paint(pooling: Pooling, subjects: Sequence[int], picture: style.Picture, found: Pooled) -> Callable[[Pooled], None]:
    population = pooling.fit.population
    grid = picture.add_gridspec(2, 5, left=0.095, right=0.94, top=0.85, bottom=0.17, hspace=0.26, wspace=0.12,
                                width_ratios=(1, 1, 1, 0.46, 1.9))  # fmt: skip
    front = {"zorder": style.LINE["population"]["zorder"] + 0.2, "linewidth": 2.4}
    moving, panels, first = [], [], None
    for place, i in enumerate(subjects):
        ax = picture.add_subplot(grid[place // 3, place % 3], sharex=first, sharey=first)
        first = first or ax
        panels.append(ax)
        ax.plot(pooling.time, pooling.typical[i], **style.LINE["population"], label="typical subject")
        ax.plot(pooling.time, pooling.separate[i], **(style.LINE["joint"] | {"linewidth": 1.8}), label="separate fit")
        moving += ax.plot([], [], **(style.LINE["individual"] | front), label="with the slider's ω")
        ax.plot(*observed(population, i), **(style.POINT["data"] | {"markersize": 4.5}), label="measured")
        ax.tick_params(labelbottom=place // 3 == 1 or place + 3 >= len(subjects), labelleft=place % 3 == 0)
        ax.set_title(f"subject {population.ids[i]}", fontsize=12, loc="right", y=1.01)
        ax.locator_params(nbins=4, steps=[1, 2, 5, 10])
    picture.legend(*panels[0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.05, 1.0), ncols=4)
    left, right = panels[0].get_position().x0, panels[-1].get_position().x1
    picture.text((left + right) / 2, 0.045, population.time_label, ha="center", size=13)
    picture.text(0.006, 0.49, population.y_label, va="center", rotation=90, size=13)

    beside = picture.add_subplot(grid[:, 4], xscale="log", xlim=(POOLED, SEPARATE))
    ways = [beside.plot([], [], **(style.LINE["individual"] | {"linewidth": 0.9}))[0] for _ in population.ids]
    tags = [beside.text(1.7 * SEPARATE, 0, population.ids[i], size=10, va="center") for i in subjects]
    beside.axhline(0, **(style.LINE["population"] | {"linewidth": 1.5}))
    here = beside.axvline(1, color=style.COLOUR["prior"], linewidth=1.2)
    dots = style.POINT["individual"] | {"markersize": 8}
    (estimate,) = beside.plot([], [], **dots)
    (alone,) = beside.plot([], [], **(style.POINT["joint"] | {"markersize": 5}), clip_on=False)
    beside.set_xticks([1e-3, 1, 1e3], ["0.001\npooled", "1\nmixed", "1000\nseparate"])
    beside.minorticks_off()
    beside.set_xlabel("factor on ω")
    name = beside.set_title("", fontsize=13, y=1.01, loc="right")
    for ax in (*panels, beside):  # places given by hand: looking for free ones took a third of the time of a move
        ax.xaxis.set_label_coords(0.5, -0.18)
        ax.yaxis.set_label_coords(-0.1, 0.5)

    def update(found: Pooled) -> None:
        for curve, i in zip(moving, subjects, strict=True):
            curve.set_data(pooling.time, found.curves[i])
        path = pooling.path[:, :, found.effect]
        for i, way in enumerate(ways):
            way.set_data(pooling.factors, path[:, i])
        estimate.set_data(np.full(len(path[0]), found.factor), found.eta[:, found.effect])
        alone.set_data(np.full(len(path[0]), SEPARATE), path[-1])
        here.set_xdata([found.factor] * 2)
        name.set_text(f"η of {found.names[found.effect]}, all subjects")
        reach = 0.06 * np.ptp(path)
        beside.set_ylim(path.min() - reach, path.max() + reach)
        for tag, y in zip(tags, apart(path[-1, list(subjects)], 0.055 * np.ptp(path)), strict=True):
            tag.set_y(y)

    update(found)
    return update


def pooling(fit: Fit, subjects: Sequence[int] | None = None, spread: str = "omega") -> Explorer:
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
        "Left, measurements of six subjects with the curve of the typical subject, of a separate fit, and of the "
        "slider's position. Right, the estimated random effect of every subject against the factor on omega; the six "
        "are named."
    )
    return Explorer(
        partial(compute, fixed), partial(paint, fixed, shown), say, controls, alt=alt, width=840, height=430
    )
