"""Draw people who never were: curves of a fitted model, and whether they are spread as real ones are.

A virtual subject is eta ~ p(eta), then y ~ p(y | eta). Percentiles of many of them at each time are set beside those of
people the model was not trained on. With so few real ones their percentiles are uncertain themselves: the band around
each holds nine in ten of what as many virtual people give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from mefit.data.population import Population
from mefit.fitting.result import Fit
from mefit.model.densities import eta_size, sample_random_effects
from mefit.model.predict import predict
from mefit.model.simulate import simulate_responses as respond
from workshop.explorers.controls import ANSWER, Control, Refused, Slider, Switch
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Move, Stage

PERCENTILES = (5, 25, 50, 75, 95)
MOST, STUDIES = 400, 40
_CURVES = 40  # shown of each, as many of the real as of the virtual


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
    percentiles 5, 50 and 95 within the bands, and the largest distance of the outer two from the real ones.

    `time` is the one that is looked at, `place` where the nearest measurement stands, and `expected` whether the outer
    percentiles of the real people are within their bands there. Of the two panels of curves the first shows the real
    people where `real_first`, which is told where the `answer` is asked for."""

    people: int
    noise: bool
    time: float
    place: int
    expected: bool
    real_first: bool
    answer: bool
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


def compute(
    crowd: Crowd, people: int, draw: int, noise: bool, time: float | None = None, answer: bool = False
) -> Drawn:
    """The first `people` of the `draw`-th virtual study, with measurement error or without, looked at at one `time`."""
    if not (1 <= people <= MOST and 1 <= draw <= STUDIES):
        raise Refused(f"There are {STUDIES} virtual studies of up to {MOST} people.")
    time = float(crowd.time[len(crowd.time) // 2] if time is None else time)
    place = int(np.argmin(np.abs(crowd.time - time)))
    virtual = (crowd.responses if noise else crowd.curves)[draw - 1, :people]
    found, real = (np.percentile(y, PERCENTILES, axis=0) for y in (virtual, crowd.real))
    within = (real[::2] >= crowd.bands[:, 0]) & (real[::2] <= crowd.bands[:, 2])
    apart = float(np.abs(found - real)[[0, -1]].max())
    looked_at = (time, place, bool(within[[0, -1], place].all()), _real_first(draw), answer)
    return Drawn(people, noise, *looked_at, virtual, found, real, float(within.mean()), apart)


def _real_first(draw: int) -> bool:
    """By a coin for each draw."""
    return bool(np.random.default_rng(draw).random() < 0.5)


def say(found: Drawn) -> str:
    virtual, real = (float(y[-1, found.place] - y[0, found.place]) for y in (found.virtual, found.real))
    verdict = "within" if found.expected else "outside"
    answer = f" {'A' if found.real_first else 'B'} is real." if found.answer else ""
    error = "with" if found.noise else "without"
    return (
        f"At time {found.time:.2g} nine in ten virtual people span {virtual:.2f}, nine in ten real ones {real:.2f}: "
        f"the real ones are {verdict} what chance allows.{answer}\n{found.people} virtual people, {error} measurement "
        f"error; their outer percentiles are at most {found.apart:.2f} from the real ones. Of the real percentiles "
        f"{found.inside:.0%} lie in the bands."
    )


def scene(crowd: Crowd, found: Drawn) -> Scene:
    low, high = crowd.real.min(), crowd.real.max()
    time = Axis(float(crowd.time[0]), float(crowd.time[-1]), crowd.labels[0])
    level = Axis(float(low - 0.15 * (high - low)), float(high + 0.15 * (high - low)))
    count = min(found.people, _CURVES, len(crowd.real))
    groups = [("real", "data", crowd.real[:count]), ("virtual", "individual", found.shown[:count])]
    if not found.real_first:
        groups.reverse()
    panels = {}
    marks: list[Mark] = []
    for letter, (who, meaning, curves) in zip("AB", groups, strict=True):
        up = Axis(level.low, level.high, crowd.labels[1] if letter == "A" else "")
        panels[letter] = Panel(time, up, f"{letter}: {who} people" if found.answer else f"{letter}: real or virtual?")
        marks.append(Line(letter, "curves", meaning if found.answer else "guide", crowd.time, curves, weight="thin"))
    panels["spread"] = Panel(time, level, "Percentiles 5, 50 and 95")
    return Scene(panels, marks + _spread(crowd, found))


def _spread(crowd: Crowd, found: Drawn) -> list[Mark]:
    """The percentiles of the virtual people and of the real ones, with the bands for the latter, and a line to drag."""
    marks: list[Mark] = []
    for row, name in enumerate(PERCENTILES[::2]):
        first = row == 0
        band = crowd.bands[row]
        of = f"of {len(crowd.real)} virtual people, in 9 of 10 draws"
        marks.append(Band("spread", f"band {name}", "marginal", crowd.time, band[0], band[2], of if first else ""))
    for row, name in enumerate(PERCENTILES[::2]):
        label = f"of these {found.people} virtual people" if row == 0 else ""
        marks.append(Line("spread", f"virtual {name}", "marginal", crowd.time, found.virtual[2 * row], label))
    for row, name in enumerate(PERCENTILES[::2]):
        label = "of the real people" if row == 0 else ""
        marks.append(Dots("spread", f"real {name}", "data", crowd.time, found.real[2 * row], label, size=7))
    ends = np.array([found.virtual[0, found.place], found.virtual[-1, found.place]])
    marks += [
        Rule("spread", "now", "prior", "x", found.time, drag=Drag("time")),
        Dots("spread", "ends", "marginal", np.full(2, crowd.time[found.place]), ends, size=10),
    ]
    return marks


def generative(fit: Fit, people: Population) -> Stage:
    """The explorer of lesson 08: virtual subjects drawn from a fit, beside `people` whom it has never seen."""
    crowd = prepare(fit, people)
    first, middle, last = (float(crowd.time[k]) for k in (0, len(crowd.time) // 2, -1))
    step = float(np.diff(crowd.time).min())
    controls: dict[str, Control] = {
        "time": Slider("Look at time", first, last, middle, step),
        "people": Slider("Virtual people", 10, MOST, 100, 10),
        "draw": Slider("Draw", 1, STUDIES, 1, 1, play=True),
        "noise": Switch("with measurement error", True),
        "answer": ANSWER,
    }
    alt = (
        "Left, curves of virtual and of real people, in a random order. Right, percentiles over time of the virtual "
        "people and of the real ones, with the bands in which the real ones should lie, and a line to drag."
    )
    tries: Sequence[Move] = [
        ("draw four hundred", {"people": MOST}),
        ("measure without error", {"noise": False}),
    ]
    return Stage(
        partial(compute, crowd),
        partial(scene, crowd),
        say,
        controls,
        alt=alt,
        layout=["A B spread"],
        widths=[1, 1, 1.5],
        size=(960, 400),
        tries=tries,
    )
