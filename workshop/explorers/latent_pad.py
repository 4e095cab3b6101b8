"""A point on a plane moves one subject through the family of curves that a fitted model holds.

A model with two random effects is a map from the plane to curves. For one subject, every point of the plane has

    the curve      E[y | eta],
    the fit        log p(y_i | eta), of that subject's data,
    the posterior  p(eta | y_i), proportional to p(y_i | eta) p(eta).

The pad shows the plane, with the posterior of the chosen subject on it when the answer is asked for, and beside it the
curve at the point that is dragged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mefit.base.compiling import compiled
from mefit.fitting.result import Fit
from mefit.model.densities import eta_mean, eta_size, log_conditional, log_random_effects, observation_density
from mefit.model.predict import on_grid
from mefit.plots import observed, time_grid
from workshop.explorers.controls import ANSWER, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Heat, Line, Mark, Panel, Scene
from workshop.explorers.stage import Stage

REACH, STEP = 3.0, 0.1
AXIS = np.round(np.arange(-REACH, REACH + STEP / 2, STEP), 6)  # of each random effect, in SDs


@dataclass(frozen=True)
class Pad:
    """What no slider changes: of each chosen subject the curves (p, p, m) over the plane, eta_1 first, and the log
    density of its data there (p, p), and what was `measured` (times, responses); `log_prior` (p, p); `time` (m,);
    where `everybody` is (N, 2), in SDs; `truth` (N, m) where it is known."""

    fit: Fit
    subjects: tuple[int, ...]
    time: np.ndarray
    curves: np.ndarray
    log_likelihood: np.ndarray
    log_prior: np.ndarray
    measured: tuple[tuple[np.ndarray, np.ndarray], ...]
    everybody: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True)
class Place:
    """One position of the sliders: the subject's `row` on the pad and its name, `eta` (2,), the `curve` (m,), the log
    density of the data without and with the prior, and the point `best` of the plane where the latter is highest, which
    is `shown` or not."""

    row: int
    name: str
    eta: np.ndarray
    curve: np.ndarray
    log_likelihood: float
    log_posterior: float
    best: np.ndarray
    highest: float
    shown: bool


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
    measured = tuple(observed(fit.population, i) for i in chosen)
    return Pad(fit, chosen, time, curves, value, prior, measured, np.asarray(fit.eta) / scale, truth)


def compute(pad: Pad, subject: int, eta1: float, eta2: float, answer: bool = False) -> Place:
    """The curve at `eta1` and `eta2` SDs, and how well it suits the `subject`-th of the chosen subjects, from 1.

    With `answer` the picture shows which places suit the subject, and the sentence names the best.
    """
    if not (1 <= subject <= len(pad.subjects) and max(abs(eta1), abs(eta2)) <= REACH + 1e-9):
        raise Refused(f"The pad has subjects 1 to {len(pad.subjects)} and reaches {REACH:g} SDs each way.")
    i, j, who = round((eta1 + REACH) / STEP), round((eta2 + REACH) / STEP), subject - 1
    posterior = pad.log_likelihood[who] + pad.log_prior
    a, b = np.unravel_index(posterior.argmax(), posterior.shape)
    here, there = float(pad.log_likelihood[who, i, j]), float(posterior[a, b])
    eta, best = np.array([AXIS[i], AXIS[j]]), np.array([AXIS[a], AXIS[b]])
    name = str(pad.fit.population.ids[pad.subjects[who]])
    return Place(who, name, eta, pad.curves[who, i, j], here, float(posterior[i, j]), best, there, answer)


def say(found: Place) -> str:
    first = f"Subject {found.name}: log-likelihood {_minus(found.log_likelihood)} at this point."
    numbers = f"η = {_place(found.eta)}, where with the prior it is {_minus(found.log_posterior)}."
    if np.allclose(found.eta, found.best):
        return f"{first} There is no better place on the pad.\n{numbers}"
    if not found.shown:
        return f"{first}\n{numbers}"
    best = f"The best place on the pad is {_place(found.best)}."
    return f"{first} {best}\n{numbers} At the best place it is {_minus(found.highest)}."


def _minus(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _place(eta: np.ndarray) -> str:
    return f"({_minus(eta[0])}, {_minus(eta[1])})"


def scene(pad: Pad, found: Place) -> Scene:
    population = pad.fit.population
    low, high = (float(end([end(y) for _, y in pad.measured])) for end in (np.min, np.max))
    time = Axis(float(pad.time[0]), float(pad.time[-1]), population.time_label)
    response = Axis(low - 0.08 * (high - low), high + 0.22 * (high - low), population.y_label)
    ticks = range(-int(REACH), int(REACH) + 1)
    edge = REACH + STEP / 2
    plane = Panel(Axis(-edge, edge, "η₁ (SDs)", ticks=ticks), Axis(-edge, edge, "η₂ (SDs)", ticks=ticks))
    middle = AXIS.size // 2
    marks: list[Mark] = []
    if found.shown:
        log_posterior = pad.log_likelihood[found.row] + pad.log_prior
        # Not the density, a speck in an empty plane: a shade that shows from afar which way is up.
        shade = 1 / (1 + 0.1 * (log_posterior.max() - log_posterior))
        marks.append(Heat("plane", "suits", "posterior", (-edge, edge), (-edge, edge), shade.T, "suits the subject"))
    marks += [
        Dots("plane", "everybody", "individual", pad.everybody[:, 0], pad.everybody[:, 1], "everybody", size=6),
        Dots("plane", "here", "individual", found.eta[0], found.eta[1], size=14, drag=Drag(x="eta1", y="eta2")),
        Line("curve", "nobody in particular", "population", pad.time, pad.curves[found.row, middle, middle],
             "η = (0, 0)"),
    ]  # fmt: skip
    if pad.truth is not None:
        marks.append(Line("curve", "truth", "truth", pad.time, pad.truth[pad.subjects[found.row]], "truth"))
    marks += [
        Line("curve", "here", "individual", pad.time, found.curve, "at the point", weight="strong"),
        Dots("curve", "measured", "data", *pad.measured[found.row], "measured", size=7),
    ]
    return Scene({"plane": plane, "curve": Panel(time, response)}, marks)


def latent_pad(fit: Fit, subjects: Sequence[int] = range(12), truth: np.ndarray | None = None) -> Stage:
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
        "answer": ANSWER,
    }
    alt = (
        "Left, the plane of the two random effects with the estimates of all subjects, a point to drag, and on demand "
        "the posterior of the chosen one. Right, that subject's measurements with the curve at the point."
    )
    return Stage(
        partial(compute, pad),
        partial(scene, pad),
        say,
        controls,
        alt=alt,
        layout=["plane curve"],
        widths=[1, 1.3],
        size=(900, 400),
    )
