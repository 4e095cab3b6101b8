"""Draw people who never were: curves of a fitted model, and whether they are spread as real ones are.

A virtual subject is eta ~ p(eta), then y ~ p(y | eta). Percentiles of many of them at each time are set beside those of
people the model was not trained on. With so few real ones their percentiles are uncertain themselves: the band around
each holds nine in ten of what as many virtual people give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from mefit import style
from mefit.data.population import Population
from mefit.fitting.result import Fit
from mefit.model.densities import eta_size, sample_random_effects
from mefit.model.predict import predict
from mefit.model.simulate import simulate_responses as respond
from workshop.explorers.panel import Control, Explorer, Refused, Slider, Switch

PERCENTILES = (5, 25, 50, 75, 95)
MOST, STUDIES = 400, 40


@dataclass(frozen=True)
class Crowd:
    """What no control changes: the real people's `time` (n,) and responses (N, n), the virtual ones' curves and
    responses (S, M, n), one row of them a press of the button, and the bands (3, n) around each outer percentile."""

    labels: tuple[str, str]
    time: np.ndarray
    real: np.ndarray
    curves: np.ndarray
    responses: np.ndarray
    bands: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """`shown` (people, n) virtual people, the percentiles (5, n) of them and of the real ones, the share of the real
    percentiles 5, 50 and 95 within the bands, and the largest distance of the outer two from the real ones."""

    people: int
    noise: bool
    shown: np.ndarray
    virtual: np.ndarray
    real: np.ndarray
    inside: float
    apart: float


def prepare(fit: Fit, people: Population) -> Crowd:
    """Forty studies of 400 virtual people at the times of the first of `people`, who all have to share their times."""
    time, y = (np.asarray(x) for x in (people.subjects.time, people.subjects.y))
    if not (np.all(time == time[0]) and np.all(np.asarray(people.subjects.mask))):
        raise ValueError("This explorer compares people at the same times: give some that were all measured at them.")
    if eta_size(fit.model) == 0:
        raise ValueError("A model without random effects draws the same curve again and again.")
    one = people[np.zeros(MOST, int)]
    keys, curves, responses = jax.random.split(jax.random.key(8), (STUDIES, 2)), [], []
    for key, own in keys:
        eta = sample_random_effects(fit.model, MOST, key)
        curves.append(np.asarray(predict(fit.model, one, eta)))
        responses.append(np.asarray(respond(fit.model, eta, one.subjects, jax.random.split(own, MOST))))
    crowd, groups = np.stack(responses), MOST // len(people)
    if groups == 0:
        raise ValueError(f"There are {len(people)} real people: at most {MOST} can be compared.")
    studies = crowd[:, : groups * len(people)].reshape(STUDIES * groups, len(people), -1)
    bands = np.percentile(np.percentile(studies, (5, 50, 95), axis=1), (5, 50, 95), axis=1)
    return Crowd((people.time_label, people.y_label), time[0], y, np.stack(curves), crowd, np.moveaxis(bands, 1, 0))


def compute(crowd: Crowd, people: int, draw: int, noise: bool) -> Drawn:
    """The first `people` of the `draw`-th virtual study, with measurement error or without."""
    if not (1 <= people <= MOST and 1 <= draw <= STUDIES):
        raise Refused(f"There are {STUDIES} virtual studies of up to {MOST} people.")
    virtual = (crowd.responses if noise else crowd.curves)[draw - 1, :people]
    found, real = (np.percentile(y, PERCENTILES, axis=0) for y in (virtual, crowd.real))
    inside = np.mean((real[::2] >= crowd.bands[:, 0]) & (real[::2] <= crowd.bands[:, 2]))
    return Drawn(people, noise, virtual, found, real, float(inside), float(np.abs(found - real)[[0, -1]].max()))


def say(found: Drawn) -> str:
    error = "with" if found.noise else "without"
    return (
        f"{found.people} virtual people, {error} measurement error. Their 5% and 95% percentiles are at most "
        f"{found.apart:.2f} from those of the real people. Of the real percentiles {found.inside:.0%} lie in the bands."
    )


def paint(crowd: Crowd, picture: style.Picture, found: Drawn) -> Callable[[Drawn], None]:
    low, high = crowd.real.min(), crowd.real.max()
    limits = (low - 0.08 * (high - low), high + 0.08 * (high - low))
    left = picture.add_axes((0.09, 0.14, 0.385, 0.72), xlim=(crowd.time[0], crowd.time[-1]), ylim=limits)
    right = picture.add_axes((0.56, 0.14, 0.425, 0.72), xlim=(crowd.time[0], crowd.time[-1]), ylim=limits)
    for axes in (left, right):
        axes.set_xlabel(crowd.labels[0])
    left.set_ylabel(crowd.labels[1])
    gap = np.full((50, 1), np.nan)

    def joined(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Up to fifty curves as one line with gaps: one artist, and fifty times as quick."""
        some = y[:50]
        return np.tile(np.append(crowd.time, np.nan), len(some)), np.hstack([some, gap[: len(some)]]).ravel()

    left.plot(*joined(crowd.real), **(style.LINE["data"] | {"linewidth": 0.7, "alpha": 0.35}), label="real")
    thin = style.LINE["individual"] | {"linewidth": 1.0}
    (lines,) = left.plot([], [], **thin, label="virtual (up to 50 of each)")
    for band in crowd.bands:
        right.fill_between(crowd.time, band[0], band[2], **(style.AREA["population"] | {"alpha": 0.18}))
    made = [right.plot([], [], **(style.LINE["population"] | {"linewidth": 2.2}))[0] for _ in (5, 50, 95)]
    made[0].set_label("virtual: 5, 50, 95%")
    size = style.POINT["data"] | {"markersize": 5}
    for k, line in enumerate(found.real[::2]):
        right.plot(crowd.time, line, **size, label="real" if k == 0 else None)
    for axes in (left, right):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2, handlelength=1.6)

    def update(found: Drawn) -> None:
        lines.set_data(*joined(found.shown))
        for line, values in zip(made, found.virtual[::2], strict=True):
            line.set_data(crowd.time, values)

    update(found)
    return update


def generative(fit: Fit, people: Population) -> Explorer:
    """The explorer of lesson 08: virtual subjects drawn from a fit, beside `people` whom it has never seen."""
    crowd = prepare(fit, people)
    controls: dict[str, Control] = {
        "people": Slider("Virtual people", 10, MOST, 100, 10),
        "draw": Slider("Draw", 1, STUDIES, 1, 1, play=True),
        "noise": Switch("with measurement error", True),
    }
    alt = (
        "Left, curves of virtual and of real people. Right, percentiles over time of the virtual people and of the "
        "real ones, with the bands in which the real ones should lie."
    )
    return Explorer(partial(compute, crowd), partial(paint, crowd), say, controls, alt=alt, width=900, height=400)
