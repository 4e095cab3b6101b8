"""Pictures of a population and of a fit: axes in, axes out; nothing is ever shown by itself.

```python
from mefit import plots

plots.population_curves(population).figure          # as the last line of a notebook cell
axes = plots.individual_fits(fit, subjects=[0, 4])  # ... or keep the axes, and draw on
```

Every function draws on the axes it is given, or on a new picture of the kit's own style, and
returns the axes. The numbers come from the library (`predict`, `Fit`), so whatever is drawn can be
had as an array too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..data.population import Population, one_outcome
from ..data.subject import Subject
from ..fitting.about import climbs_a_likelihood, pools_subjects, treats_subjects_alone
from ..fitting.result import Fit
from ..methods.method import Method
from ..methods.nuts.draws import Draws
from ..model.densities import eta_mean, eta_sd, eta_size, log_random_effects
from ..model.model import Model
from ..model.numbers import Entry, entries, eta_names
from ..model.parameters import parameters
from ..model.predict import predict
from ..objectives.objective import Objective
from . import style

_MOST_CURVES = 200  # of a posterior, behind a band


def observed(population: Population, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and responses of subject i, without its missing rows; one outcome only."""
    one_outcome(population)
    subject = population[i]
    return _rows(subject, np.asarray(subject.mask))


def _rows(subject: Subject, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(subject.time)[which], np.asarray(subject.y)[which]


def _dots(ax: Axes, subject: Subject, label: str, labelled: set[str], **size: Any) -> None:
    """A subject's responses as dots; where only a limit is known a hollow triangle there, pointing to the response.

    Each kind has its label once: `labelled` are those that had it before.
    """
    there = np.asarray(subject.mask)
    side = np.zeros(there.shape, int) if subject.censored is None else np.asarray(subject.censored)
    hollow = {"markerfacecolor": "white", "markeredgecolor": style.COLOUR["data"], "markeredgewidth": 1.2}
    for sign, told, look in (
        (0, label, {}),
        (1, "below the limit", hollow | {"marker": "v"}),
        (-1, "above the limit", hollow | {"marker": "^"}),
    ):
        rows = there & (side == sign)
        if rows.any() or sign == 0:
            own = style.POINT["data"] | size | look
            ax.plot(*_rows(subject, rows), **own, label=None if told in labelled else told)
            labelled.add(told)


def _chosen(population: Population, subjects: Sequence[int] | None) -> list[int]:
    count = len(population)
    chosen = list(range(count) if subjects is None else subjects)
    if not chosen:
        raise ValueError(f"subjects are positions from 0 to {count - 1}, and none was given.")
    for i in chosen:
        if not 0 <= i < count:
            raise ValueError(f"subjects are positions from 0 to {count - 1}, and {i} is not one.")
    return chosen


def time_grid(population: Population, points: int = 200) -> np.ndarray:
    """Evenly spaced times from the first observation or dose to the last observation: the grid of a
    smooth curve."""
    time = np.asarray(population.subjects.time)
    doses = population.subjects.doses
    dosed = np.asarray(doses.time)[np.asarray(doses.amount) != 0]
    return np.linspace(min([time.min(), *dosed]), time.max(), points)


def population_curves(
    population: Population, ax: Axes | None = None, subjects: Sequence[int] | None = None, label: str = "measured"
) -> Axes:
    """The data, each subject's responses joined by a thin line; `subjects` are the positions of
    those to draw."""
    chosen = _chosen(population, subjects)
    alt = f"{population.y_label} against {population.time_label}, a line for each of {len(chosen)} subjects."
    with style.drawing(ax, alt, 1, 760, 420) as (ax,):
        few = len(chosen) <= 30
        size = {"markersize": 5 if few else 3, "markeredgewidth": 0.5}
        thin = {"linewidth": 0.8, "alpha": 0.45 if few else 0.2}
        one_outcome(population)
        labelled: set[str] = set()
        for i in chosen:
            subject = population[i]
            ax.plot(*_rows(subject, np.asarray(subject.mask)), **(style.LINE["data"] | thin))
            _dots(ax, subject, label, labelled, **size)
        ax.set(xlabel=population.time_label, ylabel=population.y_label)
        return ax


def individual_fits(fit: Fit, axes: Any = None, subjects: Sequence[int] | None = None) -> list[Axes]:
    """A panel a subject: its data, its curve at its empirical Bayes estimate, and the curve of the
    typical subject.

    The typical subject has the mean of the random effects, and this subject's doses and covariates.
    Where a covariate varies in time, curves join the predictions at the subject's own times. Of
    draws from a posterior there is a band, which holds the middle 95% of at most 200 curves at each
    time. `subjects` are positions; returns the axes.
    """
    population = one_outcome(fit.population)
    chosen = _chosen(population, subjects)
    if any(x.ndim == 2 for x in population.subjects.covariates.values()):
        grid = None
        time = np.asarray(population.subjects.time)
    else:
        grid = time_grid(population)
        time = np.tile(grid, (len(population), 1))

    def curves(model: Model, eta: Any) -> np.ndarray:
        return np.asarray(predict(model, population, eta, grid))

    individual = curves(fit.model, fit.eta)
    typical = curves(fit.model, None)
    band = None
    if fit.draws is not None:
        draws = fit.draws
        places = np.unique(np.linspace(0, len(draws) - 1, _MOST_CURVES).astype(int)).tolist()
        by_draw = [curves(draws.model(i), draws.eta[i]) for i in places]
        band = np.quantile(by_draw, [0.025, 0.975], axis=0)
    alt = f"Measurements of {len(chosen)} subjects, each with its own curve and that of the typical subject."
    with _panels_of(population, chosen, axes, alt) as panels:
        # Above the typical curve, which it would vanish under where the two agree.
        line = style.LINE["individual"] | {"zorder": style.LINE["population"]["zorder"] + 0.1}
        for ax, i in zip(panels, chosen, strict=True):
            if band is not None:
                ax.fill_between(time[i], *band[:, i], **style.AREA["posterior"], label="95% of its curves")
            ax.plot(time[i], typical[i], **style.LINE["population"], label="typical subject")
            ax.plot(time[i], individual[i], **line, label="this subject")
    return panels


def compare_fits(fits: Mapping[str, Fit], axes: Any = None, subjects: Sequence[int] | None = None) -> list[Axes]:
    """A panel a subject: its data, and its curve by each of several fits of the same population.

    `fits` maps the name of each, for the legend, to the fit; its curve is the prediction at its own
    `eta`: that of the typical subject after naive pooling. Curves are on a dense grid, as in
    `individual_fits`.
    """
    population = one_outcome(next(iter(fits.values())).population)
    chosen = _chosen(population, subjects)
    time = time_grid(population)
    alt = f"Measurements of {len(chosen)} subjects, each with its curve by several fits: {', '.join(fits)}."
    with _panels_of(population, chosen, axes, alt) as panels:
        for name, fit in fits.items():
            line = _line_of(fit.method)
            curves = np.asarray(predict(fit.model, population, fit.eta, time))
            for ax, i in zip(panels, chosen, strict=True):
                ax.plot(time, curves[i], **line, label=name)
    return panels


def _line_of(method: Objective | Method) -> dict[str, Any]:
    """The line of a method's curves: everyone alike, everyone alone, or everyone as a member of the
    population.

    The thinner lie above the thicker, so that curves which nearly coincide can all be seen.
    """
    if pools_subjects(method):
        return style.LINE["population"] | {"zorder": 2.0}
    if treats_subjects_alone(method):
        return style.LINE["joint"] | {"zorder": 2.2, "linewidth": 1.8}
    return style.LINE["individual"] | {"zorder": 2.1, "linewidth": 2.8}


@contextmanager
def _panels_of(population: Population, chosen: list[int], axes: Any, alt: str) -> Iterator[list[Axes]]:
    """A panel a subject, with its name, to draw on inside the `with`, which ends with the data of
    the subjects on top; labels around, and a legend, where the picture is new."""
    rows = math.ceil(len(chosen) / (4 if len(chosen) <= 12 else 6))
    with style.drawing(axes, alt, len(chosen), 900, 90 + 165 * rows, rows, sharex=True, sharey=True) as panels:
        for ax, i in zip(panels, chosen, strict=True):
            ax.set_title(f"subject {population.ids[i]}", fontsize=12)
        yield panels
        for ax, i in zip(panels, chosen, strict=True):
            _dots(ax, population[i], "measured", set(), markersize=5)
        if axes is None:
            figure: Any = panels[0].figure
            shown: dict[str, Any] = {}  # of all panels: not everybody has a response below a limit
            for ax in panels:
                for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                    shown.setdefault(label, handle)
            figure.legend(list(shown.values()), list(shown), loc="outside upper center", ncols=len(shown))
            figure.supxlabel(population.time_label, fontsize=13)
            figure.supylabel(population.y_label, fontsize=13)


def random_effects(fit: Fit, axes: Any = None) -> list[Axes]:
    """A panel a random effect: every subject's empirical Bayes estimate with +-1 SD, before the
    fitted prior.

    The grey hill is the density p(eta | theta) of that effect, stretched to the panel's height; the
    title tells the shrinkage, 1 - SD(estimates) / SD(prior). Where a method or the data give no
    finite SD there is no bar.
    """
    k = eta_size(fit.model)
    if k == 0:
        raise ValueError(f"{type(fit.model).__name__} has no random effects to draw.")
    mean = np.asarray(eta_mean(fit.model))
    sd = np.asarray(eta_sd(fit.model))
    names = eta_names(fit.model)
    variance = np.diagonal(np.asarray(fit.eta_covariance), axis1=1, axis2=2)
    error = np.sqrt(np.maximum(variance, 0.0))
    count = len(fit.population)
    order = np.arange(count)[::-1]  # the first subject at the top, as in a list
    alt = f"Estimates of {' and '.join(names)} of {count} subjects, each with an interval, before the fitted prior."
    with style.drawing(axes, alt, k, min(900, 320 * k + 60), 150 + min(500, 24 * count), sharey=True) as panels:
        for j, ax in enumerate(panels):
            x = mean[j] + np.linspace(-3.5, 3.5, 201) * sd[j]
            eta = np.tile(mean, (x.size, 1))  # the others at their mean
            eta[:, j] = x
            log_density = np.asarray(jax.vmap(lambda eta: log_random_effects(fit.model, eta))(eta))
            hill = count * np.exp(log_density - log_density.max()) - 0.5
            ax.fill_between(x, -0.5, hill, **style.AREA["prior"])
            ax.plot(x, hill, **style.LINE["prior"], label="fitted prior (any height)")
            ax.axvline(mean[j], **(style.LINE["population"] | {"linewidth": 1.5}))
            bars = np.where(np.isfinite(error[:, j]), error[:, j], 0.0)
            label = "empirical Bayes estimate ± 1 SD"
            ax.errorbar(fit.eta[:, j], order, xerr=bars, **style.POINT["individual"], elinewidth=2.2, label=label)
            ax.set(xlabel=f"η of {names[j]}", ylim=(-0.7, count + 0.4))
            ax.set_title(f"shrinkage {100 * fit.shrinkage[j]:.0f}%", fontsize=13)
        if count <= 40:
            panels[0].set_yticks(order, [str(i) for i in fit.population.ids], fontsize=10)
        panels[0].set_ylabel("subject")
        if axes is None:
            panels[0].figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return panels


def posterior(fit: Fit, axes: Any = None, numbers: Sequence[str] | None = None) -> list[Axes]:
    """A row a number of the table: its posterior density with mean and 95% interval, and the trace
    of every chain.

    The prior is drawn beside it where it is a density of that number alone, or of its variance.
    `numbers` are labels of the table. Returns the axes, two a row. Raises ValueError for a fit
    without draws.
    """
    draws = fit.draws
    if draws is None:
        raise ValueError(f"{fit.method.label} leaves no draws of the parameters: fit by NUTS to see a posterior.")
    sampled = [entry for entry in entries(fit.model) if entry.label in draws.frame]
    wrong = sorted(set(numbers or ()) - {entry.label for entry in sampled})
    chosen = [entry for entry in sampled if numbers is None or entry.label in numbers]
    if wrong or not chosen:
        labels = ", ".join(entry.label for entry in sampled)
        raise ValueError(f"choose numbers that were sampled: {labels or 'there are none'}.")
    alt = f"Posterior densities and traces of {', '.join(entry.label for entry in chosen)}."
    with style.drawing(axes, alt, 2 * len(chosen), 900, 60 + 170 * len(chosen), len(chosen)) as panels:
        densities = panels[::2]
        for entry, left, right in zip(chosen, densities, panels[1::2], strict=True):
            _posterior_density(fit, draws, entry, left)
            _trace(draws, entry, right)
        if axes is None:
            # Not all have a prior
            fullest = max(densities, key=lambda ax: len(ax.get_legend_handles_labels()[1]))
            panels[0].figure.legend(*fullest.get_legend_handles_labels(), loc="outside upper center", ncols=4)
        return panels


def _posterior_density(fit: Fit, draws: Draws, entry: Entry, ax: Axes) -> None:
    """The histogram of the draws of one number, its mean, its interval, and its prior where that is
    known."""
    summary = draws.summary.loc[entry.label]
    ax.hist(draws.frame[entry.label].to_numpy(), bins=40, density=True, **style.AREA["posterior"], label="posterior")
    ax.axvline(summary["mean"], **style.LINE["posterior"], label="mean")
    bar = style.LINE["posterior"] | {"linestyle": "-", "linewidth": 8.0, "solid_capstyle": "butt"}
    ax.plot(summary[["2.5%", "97.5%"]], [0, 0], **bar, label="95% interval")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    x = np.linspace(*ax.get_xlim(), 200)
    density = _prior_density(fit, entry, x)
    if density is not None:
        ax.plot(x, density, **style.LINE["prior"], label="prior")
    ax.set(xlabel=f"{entry.label} [{entry.unit}]" if entry.unit else entry.label, ylabel="density")


def _trace(draws: Draws, entry: Entry, ax: Axes) -> None:
    """Every chain's draws of one number, one after the other."""
    summary = draws.summary.loc[entry.label]
    for number, (_, chain) in enumerate(draws.frame.groupby("chain")):
        strength = 0.5 if number % 2 else 0.9
        line = style.LINE["posterior"] | {"linewidth": 0.7, "linestyle": "-", "alpha": strength}
        ax.plot(np.arange(len(chain)) + 1, chain[entry.label], **line)
    ax.set(xlabel="draw of each chain", ylabel=entry.label)
    ax.set_title(f"R-hat {summary.r_hat:.3f}, ESS {summary.ess:.0f}", fontsize=12)


def _prior_density(fit: Fit, entry: Entry, x: np.ndarray) -> np.ndarray | None:
    """The declared prior of one number of the table at x, where it is one of that number alone;
    else None."""
    parameter = parameters(fit.model)[entry.parameter]
    prior = parameter.prior
    if prior is None or prior.event_dim or entry.kind == "correlation" or isinstance(prior, dist.ImproperUniform):
        return None
    if parameter.domain.has_correlations:
        return None
    inside = np.ones(x.shape, bool)
    values = x
    volume = np.ones_like(x)
    if entry.kind == "sd":  # the prior is one of the variance
        inside = x > 0
        values = x**2
        volume = 2.0 * np.abs(x)
    inside &= np.asarray(prior.support(values))
    columns = np.reshape(values[inside], (-1, *(1 for _ in prior.batch_shape)))
    log_p = np.reshape(np.asarray(prior.log_prob(columns)), (len(columns), -1))
    of_entry = entry.place[0] if log_p.shape[1] > 1 else 0
    density = np.zeros(x.shape)
    density[inside] = np.exp(log_p[:, of_entry]) * volume[inside]
    return density


def history(fit: Fit, ax: Axes | None = None) -> Axes:
    """-2 log-likelihood (or -2 times the method's objective) by iteration, with its last value
    written beside it."""
    iteration = [step.iteration for step in fit.history]
    value = np.array([step.minus_two_objective for step in fit.history])
    with style.drawing(ax, f"The objective of {fit.method.label} by iteration.", 1, 620, 360) as (ax,):
        likelihood = climbs_a_likelihood(fit.method)
        meaning = type(fit.method).__name__
        if meaning not in style.METHODS:
            meaning = "marginal" if likelihood else "joint"
        ax.plot(iteration, value, **style.LINE[meaning])
        ax.plot(iteration, value, **(style.POINT[meaning] | {"markersize": 5}))
        ax.set_title(f"{fit.method.label}: ends at {value[-1]:.4f}")
        ax.set(xlabel="iteration", ylabel="−2 log-likelihood" if likelihood else "−2 × objective")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return ax
