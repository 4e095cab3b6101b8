"""Build a regimen: concentration and effect over a week, of a typical subject and of 200 virtual ones.

One compartment, doses by mouth, as a bolus or infused; and an indirect response (Dayneka, Garg and Jusko 1993):

    CL = 2 exp(eta_1) L/h, V = 50 exp(eta_2) L, ka = 1 exp(eta_3) /h     SDs of eta 0.3, 0.2, 0.4
    R' = Kin (1 + Emax C / (EC50 + C)) - Kout R,   R(0) = Kin / Kout     EC50 = 4 exp(eta_4) mg/L, SD of eta 0.3

Everything in C is linear in the doses, so one curve a subject, that of a unit dose, is enough: C is its sum over the
doses, each shifted to its own time (superposition). R is integrated by Kutta's method with a step of half an hour,
which no dose falls into; at the end of a step C is the one just before a dose, at its beginning the one just after.
At steady state the average is dose / (interval CL), and a bolus is 1 / (1 - exp(-CL / V interval)) of itself.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mefit as mf
from mefit.base.compiling import compiled
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

ORAL, BOLUS, INFUSION = "oral", "bolus", "infusion"
CL, V, KA, EC50 = 2.0, 50.0, 1.0, 4.0
SD = np.array([0.3, 0.2, 0.4, 0.3])
KOUT, EMAX = 0.04, 1.5
WINDOW, SUBJECTS = (3.0, 8.0), 200
WEEK, _PER_HOUR = 168, 4
_LEAST = 10.0  # mg, of the picture
TIME = np.linspace(0.0, WEEK, _PER_HOUR * WEEK + 1)  # what is within a step of half an hour is its middle


@functools.cache
def virtual() -> np.ndarray:
    """CL, V, ka, EC50 of the typical subject, in the first row, and of the virtual ones: (201, 4)."""
    eta = np.array(jax.random.normal(jax.random.key(6), (SUBJECTS, 4)))
    eta = SD * (eta - eta.mean(0)) / eta.std(0)
    return np.array([CL, V, KA, EC50]) * np.exp(np.vstack([np.zeros(4), eta]))


@compiled
def _curves(
    parameters: Float[Array, "N 4"], doses: mf.Doses, time: Float[Array, " n"], oral: bool
) -> Float[Array, "N n"]:
    """Concentrations (N, n) after `doses`, of all subjects."""
    subject = mf.Subject(time, jnp.zeros_like(time), jnp.ones_like(time, bool), {}, doses)

    def one(p: Float[Array, " 4"]) -> Float[Array, " n"]:
        if oral:
            return mf.pk.oral_one_compartment(subject, ka=p[2], cl=p[0], v=p[1])
        return mf.pk.infusion_one_compartment(subject, cl=p[0], v=p[1])

    return jax.vmap(one)(parameters)


@compiled
def _response(start: Float[Array, "N n"], middle: Float[Array, "N n"], end: Float[Array, "N n"], ec50: Array) -> Array:
    """R as a share of Kin / Kout at the end of every step (N, n), from C within each step."""
    h = 1 / (_PER_HOUR / 2)

    def step(r: Array, c: Array) -> tuple[Array, Array]:
        inflow = KOUT * (1 + EMAX * c / (ec50 + c))  # Kin = Kout makes R a share of its baseline
        k1 = inflow[0] - KOUT * r
        k2 = inflow[1] - KOUT * (r + h / 2 * k1)
        k3 = inflow[1] - KOUT * (r + h / 2 * k2)
        k4 = inflow[2] - KOUT * (r + h * k3)
        r = r + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return r, r

    return jax.lax.scan(step, jnp.ones(len(ec50)), jnp.stack([start, middle, end]).transpose(2, 0, 1))[1].T


@functools.lru_cache(maxsize=64)
def _unit(oral: bool, duration: float) -> np.ndarray:
    """Concentrations (201, n) after 1 mg at time 0."""
    return np.asarray(_curves(virtual(), mf.Doses.of(1.0, duration=duration), TIME, oral))


@functools.lru_cache(maxsize=64)
def _steady(oral: bool, duration: float, interval: float) -> np.ndarray:
    """The typical subject's concentration over an interval at steady state, of 1 mg each."""
    doses = mf.Doses.of(1.0, duration=duration, interval=interval, steady_state=True)
    time = np.sort(np.append(np.linspace(0.0, interval, 193), duration))  # an infusion is at its peak at its end
    return np.asarray(_curves(virtual()[:1], doses, time, oral))[0]


@dataclass(frozen=True)
class Regimen:
    """Rows of `concentration` and `response` are the typical subject and the virtual ones; columns are `TIME`, and
    every other of it. Amounts in mg, the first `loading` times as large, times in h, concentrations in mg/L, responses
    as shares of the baseline."""

    given: np.ndarray
    amounts: np.ndarray
    loading: float
    interval: int
    duration: float
    concentration: np.ndarray
    response: np.ndarray
    peak: float
    trough: float
    average: float
    """Of the typical subject at steady state."""
    reached: np.ndarray
    """The typical average over each interval that a dose begins, as a share of the one at steady state."""
    within: float
    """The share of the virtual subjects that stay within the window in the interval after the last dose."""

    @property
    def accumulation(self) -> float:
        """What is there of a bolus and all former ones at steady state, in boluses: 1 / (1 - exp(-CL / V interval))."""
        return float(-1 / np.expm1(-CL / V * self.interval))

    @property
    def last(self) -> slice:
        """Where the interval after the last dose is in `TIME`."""
        begin = int(self.given[-1]) * _PER_HOUR
        return slice(begin, begin + self.interval * _PER_HOUR + 1)

    @property
    def below(self) -> float:
        """The share of the virtual subjects that fall below the window after the last dose."""
        return float(np.mean(self.concentration[1:, self.last].min(1) < WINDOW[0]))

    @property
    def above(self) -> float:
        """The share of them that rise above it."""
        return float(np.mean(self.concentration[1:, self.last].max(1) > WINDOW[1]))


def compute(dose: float, interval: int, doses: int, loading: float, route: str, hours: float) -> Regimen:
    """`doses` of `dose` mg every `interval` h, the first `loading` times as large; no more than fit into the week.

    An infusion takes `hours`, or the whole interval where that is shorter: then it never stops."""
    if not (dose > 0 and loading > 0 and doses >= 1 and hours > 0 and interval == int(interval) > 0):
        raise Refused("A regimen needs a positive dose, loading and duration, and an interval of whole hours.")
    interval, oral = int(interval), route == ORAL
    duration = float(min(hours, interval)) if route == INFUSION else 0.0
    given = interval * np.arange(min(doses, WEEK // interval))
    amounts = np.full(len(given), float(dose))
    amounts[0] *= loading
    unit, c = _unit(oral, duration), np.zeros((SUBJECTS + 1, TIME.size))
    for time, amount in zip(given * _PER_HOUR, amounts, strict=True):
        c[:, time:] += amount * unit[:, : TIME.size - time]
    before = c[:, 2::2].copy()
    jumps = given[1:] * _PER_HOUR // 2 - 1  # the first is at the beginning of the week
    before[:, jumps] -= dose * unit[:, :1]  # 0 unless it is a bolus
    rise = np.asarray(_response(c[:, :-1:2], c[:, 1::2], before, virtual()[:, 3]))
    response = np.hstack([np.ones((SUBJECTS + 1, 1)), rise])
    average, count = dose / (interval * CL), interval * _PER_HOUR
    steps = c[0, :-1].copy()
    steps[1::2] += before[0]
    steps[0::2] += c[0, 1::2]
    reached = 0.5 * steps[: len(given) * count].reshape(-1, count).mean(1) / average
    steady, found = (
        np.round(dose * _steady(oral, duration, interval), 9),
        (given, amounts, loading, interval, duration, c, response),
    )
    last = c[1:, Regimen(*found, 0, 0, 0, reached, 0).last]
    within = np.mean((last.min(1) >= WINDOW[0]) & (last.max(1) <= WINDOW[1]))
    return Regimen(*found, steady.max(), steady[-1], average, reached, float(within))


def say(found: Regimen) -> str:
    there = np.flatnonzero(found.reached >= 0.9)
    when = f"{found.reached[-1]:.0%} of it after the last dose"
    if there.size:
        when = "90% of it at once" if there[0] == 0 else f"90% of it from hour {found.given[there[0]]:g} on"
    doses = "dose" if len(found.given) == 1 else "doses"
    pause = ", without a pause" if found.duration == found.interval else ""
    ends = "as many fall below it as rise above it"
    if found.below != found.above:
        ends = "most fall below it" if found.below > found.above else "most rise above it"
    others = "" if found.within == 1 else f"; of the others {ends}"
    stay = f"{found.within:.0%} stay"
    if found.within == 0:
        stay, others = "nobody stays", f"; {ends}"
    return (
        f"After the last dose {stay} within {WINDOW[0]:g}–{WINDOW[1]:g} mg/L{others}.\n"
        f"{len(found.given)} {doses}{pause}. The typical subject at steady state: peak {found.peak:.3g}, trough "
        f"{found.trough:.3g}, average {found.average:.3g} mg/L, {when}; accumulation {found.accumulation:.2g}-fold. "
        f"Response up to {found.response[0].max():.0%} of the baseline."
    )


def scene(found: Regimen) -> Scene:
    week = Axis(0, WEEK / 24, "days since the first dose")
    level = Axis(0, _room(_outer(found.concentration)[1].max(), (10, 20, 40, 80, 160, 320)), "concentration (mg/L)")
    # It holds what the sliders can reach: an axis that grew would take the dose out of the hand.
    largest = Axis(_LEAST, 2500, "dose (mg)", log=True, ticks=(10, 100, 1000))
    panels = {
        "doses": Panel(replace(week, label=""), largest, "Drag the doses, and their end"),
        "response": Panel(replace(week, label=""), Axis(80, 276, "response (%)", ticks=(100, 150, 200, 250))),
        "week": Panel(week, level),
        "last": Panel(Axis(0, found.interval, "hours since the last dose"), replace(level, label="")),
    }
    panels["last"] = replace(panels["last"], title=f"{found.within:.0%} stay within")
    hours = TIME[found.last] - TIME[found.last.start]
    most = 100 * (1 + EMAX)
    marks: list[Mark] = [
        *_doses(found),
        Rule("response", "most", "guide", "y", most, weight="thin"),
        Text("response", "most, in words", "guide", week.high, most + 6, "the most that is possible", "end"),
        *_people("response", TIME[::8] / 24, 100 * found.response[:, ::4]),
        *_window("week", week.high, "therapeutic window"),
        *_people("week", TIME[::2] / 24, found.concentration[:, ::2], ("9 of 10 virtual subjects", "typical subject")),
        *_window("last", found.interval),
        *_people("last", hours, found.concentration[:, found.last]),
    ]
    return Scene(panels, marks)


def _room(highest: float, ends: tuple[int, ...]) -> float:
    """The lowest of the ends that leaves room: the axis stands still as long as it can."""
    return next((end for end in ends if end >= 1.04 * highest), 1.04 * highest)


def _outer(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which two values nine in ten of the virtual subjects are, at each time."""
    cut = round(0.05 * SUBJECTS)
    low, high = np.partition(curves[1:], (cut, SUBJECTS - cut - 1), axis=0)[[cut, SUBJECTS - cut - 1]]
    return low, high


def _people(panel: str, x: np.ndarray, curves: np.ndarray, labels: tuple[str, str] = ("", "")) -> list[Mark]:
    return [
        Band(panel, "nine in ten", "individual", x, *_outer(curves), label=labels[0]),
        Line(panel, "typical", "population", x, curves[0], label=labels[1], ghost=panel != "last"),
    ]


def _window(panel: str, end: float, label: str = "") -> list[Mark]:
    low, high = WINDOW
    return [
        Band(panel, "window", "guide", [0, end], [low, low], [high, high], label=label),
        Rule(panel, "its edges", "guide", "y", WINDOW, weight="thin"),
    ]


def _doses(found: Regimen) -> list[Mark]:
    """The doses as pins. The second carries dose and interval, the first how much larger it is, the line the end."""
    given = found.given / 24
    per_hour = found.interval / 24
    first = Drag(y="loading", scale_y=found.amounts[0] / found.loading)
    second = [Drag("interval", "dose", index=1, scale_x=1 / 24)] if len(given) > 1 else []
    end = Drag("doses", scale_x=per_hour)
    return [
        Rule("doses", "end", "guide", "x", len(given) * per_hour, weight="thin", drag=end),
        Span("doses", "pins", "data", given, 0 * given + _LEAST, given, found.amounts),
        Dots("doses", "dose", "data", given, found.amounts, drag=[*second, first], label="dose"),
    ]


def regimen_builder() -> Stage:
    """The explorer of lesson 06: how much, how often, how many times, by which route."""
    for route in (ORAL, INFUSION):
        compute(100.0, 12, 10, 1.0, route, 2.0)
    controls: dict[str, Control] = {
        "dose": Slider("Dose", 20, 400, 100, 10, unit="mg"),
        "interval": Slider("One every", 4, 48, 12, 2, unit="h"),
        "doses": Slider("How many", 1, 40, 10, 1, unit="within a week"),
        "loading": Slider("The first is larger", 1.0, 5.0, 1.0, 0.1, unit="times"),
        "hours": Slider("An infusion takes", 1, 24, 2, 1, unit="h"),
        "route": Choice("Route", (ORAL, BOLUS, INFUSION), INFUSION),
    }
    alt = (
        "Top left, the doses of a week, to drag; below them the concentration of a typical subject and of nine in ten "
        "virtual ones, with the therapeutic window. Top right, the response; below it the interval after the last dose."
    )
    tries: Sequence[Move] = [
        ("once a day", {"dose": 200, "interval": 24, "doses": 5}),
        ("four times a day", {"dose": 50, "interval": 6, "doses": 20}),
        ("begin with more", {"loading": 2.6}),
        ("without a pause", {"route": INFUSION, "hours": 24}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["doses response", "week last"],
        widths=[1.5, 1],
        heights=[0.75, 1],
        size=(900, 470),
        tries=tries,
    )
