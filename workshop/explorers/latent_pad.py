"""Two sliders move one subject through the family of curves that a fitted model holds.

A model with two random effects is a map from the plane to curves. For one subject, every point of the plane has

    the curve      E[y | eta],
    the fit        log p(y_i | eta), of that subject's data,
    the posterior  p(eta | y_i), proportional to p(y_i | eta) p(eta).

The pad shows the plane with the posterior of the chosen subject on it, and beside it the curve at the sliders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mefit import style
from mefit.base.compiling import compiled
from mefit.fitting.result import Fit
from mefit.model.densities import eta_mean, eta_size, log_conditional, log_random_effects, observation_density
from mefit.model.predict import on_grid
from mefit.plots import observed, time_grid
from workshop.explorers.panel import Control, Explorer, Refused, Slider

REACH, STEP = 3.0, 0.1
AXIS = np.round(np.arange(-REACH, REACH + STEP / 2, STEP), 6)  # of each random effect, in SDs
_SHADE = LinearSegmentedColormap.from_list("posterior", ["white", style.COLOUR["posterior"]])


@dataclass(frozen=True)
class Pad:
    """What no slider changes: of each chosen subject the curves (p, p, m) over the plane, eta_1 first, and the log
    density of its data there (p, p); `log_prior` (p, p); `time` (m,); `truth` (N, m) where it is known."""

    fit: Fit
    subjects: tuple[int, ...]
    time: np.ndarray
    curves: np.ndarray
    log_likelihood: np.ndarray
    log_prior: np.ndarray
    scale: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True)
class Place:
    """One position of the sliders: the subject's `row` on the pad and its name, `eta` (2,), the `curve` (m,), the log
    density of the data without and with the prior, and the point `best` of the plane where the latter is highest."""

    row: int
    name: str
    eta: np.ndarray
    curve: np.ndarray
    log_likelihood: float
    log_posterior: float
    best: np.ndarray
    highest: float


def prepare(fit: Fit, subjects: Sequence[int] = range(12), truth: np.ndarray | None = None) -> Pad:
    """The whole plane at once, so that a move is a look into a table."""
    model = fit.model
    if eta_size(model) != 2 or np.any(np.asarray(eta_mean(model)) != 0):
        raise ValueError("The pad has two sliders: it takes a fit with two random effects of mean zero.")
    effects: Any = model.random_effects()
    scale = np.broadcast_to(np.sqrt(np.asarray(effects.variance)).reshape(-1), 2)
    plane = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1).reshape(-1, 2) * scale
    time, size = time_grid(fit.population, 81), (AXIS.size, AXIS.size)

    @compiled
    def look(subject, smooth):
        curves = jax.vmap(lambda eta: observation_density(model, eta, smooth).mean)(plane)
        return curves, jax.vmap(lambda eta: log_conditional(model, eta, subject))(plane)

    chosen = tuple(subjects)
    some = fit.population[list(chosen)]
    smooth, found = on_grid(some, jnp.asarray(time)), []
    for i in range(len(chosen)):
        one, its_grid = jax.tree.map(lambda x, i=i: x[i], (some.subjects, smooth))
        curves, value = look(one, its_grid)
        found.append((np.asarray(curves).reshape(*size, -1), np.asarray(value).reshape(size)))
    prior = np.asarray(compiled(jax.vmap(lambda eta: log_random_effects(model, eta)))(plane)).reshape(size)
    curves, value = (np.stack(part) for part in zip(*found, strict=True))
    return Pad(fit, chosen, time, curves, value, prior, scale, truth)


def compute(pad: Pad, subject: int, eta1: float, eta2: float) -> Place:
    """The curve at `eta1` and `eta2` SDs, and how well it suits the `subject`-th of the chosen subjects, from 1."""
    if not (1 <= subject <= len(pad.subjects) and max(abs(eta1), abs(eta2)) <= REACH + 1e-9):
        raise Refused(f"The pad has subjects 1 to {len(pad.subjects)} and reaches {REACH:g} SDs each way.")
    i, j, who = round((eta1 + REACH) / STEP), round((eta2 + REACH) / STEP), subject - 1
    posterior = pad.log_likelihood[who] + pad.log_prior
    a, b = np.unravel_index(posterior.argmax(), posterior.shape)
    here, there = float(pad.log_likelihood[who, i, j]), float(posterior[a, b])
    eta, best = np.array([AXIS[i], AXIS[j]]), np.array([AXIS[a], AXIS[b]])
    name = str(pad.fit.population.ids[pad.subjects[who]])
    return Place(who, name, eta, pad.curves[who, i, j], here, float(posterior[i, j]), best, there)


def say(found: Place) -> str:
    who = f"Subject {found.name}"
    here = f"η = ({found.eta[0]:.1f}, {found.eta[1]:.1f})"
    numbers = f"log-likelihood {found.log_likelihood:.1f}, with the prior {found.log_posterior:.1f}"
    if np.allclose(found.eta, found.best):
        return f"{who} at {here}: {numbers}. There is no better place on the pad."
    best = f"({found.best[0]:.1f}, {found.best[1]:.1f})"
    return f"{who} at {here}: {numbers}. The best place on the pad is {best}, with {found.highest:.1f}."


def paint(pad: Pad, picture: style.Picture, found: Place) -> Callable[[Place], None]:
    left = picture.add_axes((0.075, 0.14, 0.37, 0.7), xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    left.set(xlabel="$\\eta_1$ (SDs)", ylabel="$\\eta_2$ (SDs)", xticks=range(-3, 4), yticks=range(-3, 4))
    edge = REACH + STEP / 2
    shade = left.imshow(
        np.zeros((AXIS.size, AXIS.size)), _SHADE, vmin=0, vmax=1, origin="lower", extent=(-edge, edge) * 2, zorder=0.5
    )
    left.set_aspect("auto")
    everybody = np.asarray(pad.fit.eta) / pad.scale
    left.plot(*everybody.T, **(style.POINT["individual"] | {"markersize": 4.5}))
    here = style.POINT["data"] | {"marker": "+", "markersize": 17, "markeredgewidth": 2.6, "markeredgecolor": "#111111"}
    (cross,) = left.plot([], [], **here)
    left.set_title("dots: everybody; darker: suits this subject", fontsize=12, weight="normal")

    right = picture.add_axes((0.535, 0.14, 0.45, 0.7), xlim=(pad.time[0], pad.time[-1]))
    middle = AXIS.size // 2
    rows = [np.asarray(observed(pad.fit.population, i)[1]) for i in pad.subjects]
    low, high = min(r.min() for r in rows), max(r.max() for r in rows)
    right.set(ylim=(low - 0.08 * (high - low), high + 0.22 * (high - low)))
    right.set(xlabel=pad.fit.population.time_label, ylabel=pad.fit.population.y_label)
    (typical,) = right.plot([], [], **style.LINE["population"], label="η = (0, 0)")
    thick = style.LINE["individual"] | {"linewidth": 3.0, "zorder": 2.45}
    (curve,) = right.plot([], [], **thick, label="at the sliders")
    (dots,) = right.plot([], [], **(style.POINT["data"] | {"markersize": 5.5}), label="measured")
    (true,) = right.plot([], [], **style.LINE["truth"], label="truth" if pad.truth is not None else None)
    names = {"ncols": 2, "columnspacing": 1.2, "handlelength": 1.6}
    right.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), **names)  # above: curves go anywhere

    def update(found: Place) -> None:
        log_posterior = pad.log_likelihood[found.row] + pad.log_prior
        # Not the density, a speck in a white plane: a shade that shows from afar which way is up.
        shade.set_data((1 / (1 + 0.1 * (log_posterior.max() - log_posterior))).T)
        cross.set_data([found.eta[0]], [found.eta[1]])
        typical.set_data(pad.time, pad.curves[found.row, middle, middle])
        curve.set_data(pad.time, found.curve)
        dots.set_data(*observed(pad.fit.population, pad.subjects[found.row]))
        if pad.truth is not None:
            true.set_data(pad.time, pad.truth[pad.subjects[found.row]])

    update(found)
    return update


def latent_pad(fit: Fit, subjects: Sequence[int] = range(12), truth: np.ndarray | None = None) -> Explorer:
    """The explorer of lesson 08, for any fit with two random effects: a subject's curve, moved by hand.

    **Arguments:**

    - `fit`: a fit of a model with two random effects.
    - `subjects`: the positions of those whose data can be chosen.
    - `truth`: the true curve of every subject (N, 81) on `plots.time_grid(fit.population, 81)`, where it is known.
    """
    pad = prepare(fit, subjects, truth)
    controls: dict[str, Control] = {
        "eta1": Slider("η₁", -REACH, REACH, 0.0, STEP, "SDs"),
        "eta2": Slider("η₂", -REACH, REACH, 0.0, STEP, "SDs"),
        "subject": Slider("Data of subject", 1, len(pad.subjects), 1, 1),
    }
    alt = (
        "Left, the plane of the two random effects with the estimates of all subjects and the posterior of the chosen "
        "one. Right, that subject's measurements with the curve at the sliders."
    )
    return Explorer(partial(compute, pad), partial(paint, pad), say, controls, alt=alt, width=900, height=400)
