"""One person, visit by visit: what the first visits say of those to come, and how the band narrows.

After c visits a person's draws of eta | y_1 ... y_c, by `mefit.individual` with an encoder as its proposal, give the
band that holds nine in ten curves, and the chance that the last response will lie above a line. All records, cut after
every visit, are asked at once, so that a move is a look into a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

import mefit as mf
from mefit.fitting.result import Fit
from workshop.explorers.controls import ANSWER, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Move, Stage
from workshop.studies import autoencoders as study

VISITS = study.TIMES.size
WATCHED = 8
LEVELS = (0.05, 0.5, 0.95)
ABOVE = 4.5  # the line
_DRAWS = 400
_SMOOTH = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True)
class Records:
    """Of 8 people and 0 to 20 visits: the `band` (8, 21, 3, 41) of their curves, the `chance` (8, 21) that the last
    response lies above the line; `y` (8, 20) is what came and `truth` (8, 20) their true curves."""

    band: np.ndarray
    chance: np.ndarray
    y: np.ndarray
    truth: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """(8, 21) of the bands at the end."""
        return self.band[:, :, 2, -1] - self.band[:, :, 0, -1]


def cut(people: mf.Population) -> mf.Population:
    """Each person's record 21 times: after no visit, one, and so on to all."""
    rows = np.repeat(np.arange(len(people)), VISITS + 1)
    count = np.tile(np.arange(VISITS + 1), len(people))
    copies = people[rows]
    seen = jnp.asarray(np.arange(VISITS) < count[:, None])
    return replace(copies, subjects=replace(copies.subjects, mask=copies.subjects.mask & seen))


def prepare(fit: Fit, people: study.Study, key: jax.Array) -> Records:
    """What the records of the first 8 people say, cut after every visit."""
    some = people.population[np.arange(WATCHED)]
    model: Any = fit.model
    who = mf.individual(model, cut(some), draws=_DRAWS, proposal=fit.encoder, key=key)
    curves = who.curves(_SMOOTH)
    band = np.moveaxis(np.quantile(curves, LEVELS, axis=1), 0, 1)
    chance = norm.sf(ABOVE, curves[:, :, -1], float(model.sigma)).mean(axis=1)
    shape = (WATCHED, VISITS + 1)
    return Records(
        band=band.reshape(*shape, len(LEVELS), _SMOOTH.size),
        chance=chance.reshape(shape),
        y=np.asarray(some.subjects.y),
        truth=people.curves[:WATCHED],
    )


@dataclass(frozen=True)
class Today:
    """A person's place in the table, from 0, after `count` visits; `missed` is by how much the middle of the band
    misses the true curve from today on, root mean square, NaN at the end."""

    person: int
    count: int
    width: float
    first: float
    chance: float
    missed: float
    shown: bool


def compute(records: Records, visits: int, person: int, answer: bool = False) -> Today:
    """The `person`, from 1, after so many `visits`."""
    if not (0 <= visits <= VISITS and 1 <= person <= WATCHED):
        raise Refused(f"There are visits 0 to {VISITS} of people 1 to {WATCHED}.")
    k = person - 1
    middle = np.interp(study.TIMES, _SMOOTH, records.band[k, visits, 1])
    later = (middle - records.truth[k])[visits:]
    missed = float(np.sqrt(np.mean(later**2))) if later.size else np.nan
    widths = records.width[k]
    return Today(
        person=k,
        count=visits,
        width=float(widths[visits]),
        first=float(widths[0]),
        chance=float(records.chance[k, visits]),
        missed=missed,
        shown=answer,
    )


def say(found: Today) -> str:
    if found.count == 0:
        wide = f"Before any visit the band at the end is {found.width:.1f} wide"
    else:
        visits = "1 visit" if found.count == 1 else f"{found.count} visits"
        wide = f"After {visits} the band at the end is {found.width / found.first:.0%} as wide as before the first"
    text = (
        f"{wide}, and the chance to end above the line is {found.chance:.0%}.\n"
        f"The line is at {ABOVE:g}, the width {found.width:.2f}."
    )
    if found.shown and np.isfinite(found.missed):
        text += f" From today on the middle misses the true curve by {found.missed:.2f} (root mean square)."
    return text


def scene(records: Records, found: Today) -> Scene:
    k = found.person
    c = found.count
    count = Axis(-0.6, VISITS + 0.6, "visits so far")
    panels = {
        "curve": Panel(Axis(-0.02, 1.02, "time"), Axis(-3.0, 8.0, "response"), f"Subject {k + 1}"),
        "width": Panel(replace(count, label=""), Axis(0.0, 1.1 * float(records.width.max())), "Width of the band at 1"),
        "chance": Panel(
            count, Axis(-0.04, 1.04, ticks=[(0, "0"), (0.5, "50%"), (1, "100%")]), f"Chance to end above {ABOVE:g}"
        ),
    }
    low, middle, high = records.band[k, c]
    today = c / VISITS  # after visit c, and before the next: visits are 1/19 apart
    hold = Drag(x="visits", scale_x=1 / VISITS)
    marks: list[Mark] = [
        Band("curve", "prior", "prior", _SMOOTH, records.band[k, 0, 0], records.band[k, 0, 2], "before any visit"),
        Band("curve", "band", "posterior", _SMOOTH, low, high, "nine in ten curves"),
        Line("curve", "middle", "posterior", _SMOOTH, middle),
        Line("curve", "line", "guide", [0.0, 1.0], [ABOVE, ABOVE], weight="thin"),
    ]
    if found.shown:
        marks += [
            Line("curve", "truth", "truth", study.TIMES, records.truth[k], "truth"),
            Dots("curve", "to come", "guide", study.TIMES[c:], records.y[k, c:], "what came", size=7),
        ]
    marks += [
        Dots("curve", "seen", "data", study.TIMES[:c], records.y[k, :c], "seen", size=8),
        Rule("curve", "today", "guide", "x", today, drag=hold),
    ]
    return Scene(panels, [*marks, *_over_visits(records, found)])


def _over_visits(records: Records, found: Today) -> list[Mark]:
    """Width and chance, after each number of visits."""
    counts = np.arange(VISITS + 1)
    marks: list[Mark] = []
    for panel, table in {"width": records.width, "chance": records.chance}.items():
        line = table[found.person]
        hold = Drag(x="visits", along="so far")
        marks += [
            Line(panel, "so far", "posterior", counts, line),
            Dots(panel, "here", "posterior", found.count, line[found.count], drag=hold, size=12),
        ]
    came = records.y[found.person, -1] > ABOVE
    if found.shown:
        marks.append(Dots("chance", "came", "data", VISITS, float(came), size=10))
    return marks


def day_by_day(fit: Fit, people: study.Study, key: jax.Array) -> Stage:
    """The explorer of lesson 10: 'today' moves along a new person's record, and the band of what is to come narrows.

    **Arguments:**

    - `fit`: a fit with an encoder, of the simulated study.
    - `people`: new people of that study, the first 8 of whom are watched, with their true curves.
    - `key`: a `jax.random.key`.
    """
    records = prepare(fit, people, key)
    controls: dict[str, Control] = {
        "visits": Slider("Visits so far", 0, VISITS, 4, 1, play=True),
        "person": Slider("Subject", 1, WATCHED, 1, 1),
        "answer": ANSWER,
    }
    alt = (
        "Left: a person's responses until today, and the band that holds nine in ten curves given them. Right: the "
        "width of the band at the end, and the chance to end above a line, against the number of visits."
    )
    tries: Sequence[Move] = [
        ("know nothing", {"visits": 0}),
        ("half of the way", {"visits": 10}),
        ("to the end", {"visits": VISITS}),
    ]
    return Stage(
        partial(compute, records),
        partial(scene, records),
        say,
        controls,
        alt=alt,
        layout=["curve width", "curve chance"],
        widths=[1.6, 1],
        size=(940, 480),
        tries=tries,
    )
