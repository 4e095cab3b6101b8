"""The likelihood as a bound and a gap: an encoder of two numbers, moved by hand, for the people of lesson 04.

Person i of sleepstudy lies d_i above the common line on average over three days: d_i = eta_i + e_i, eta_i ~ N(0, w),
w = omega^2, e_i ~ N(0, a), a = sigma^2 / 3. An encoder says of everybody q_i = N(c d_i, v): one slope c and one SD
sqrt(v) for all. With the posterior p_i = N(B d_i, (1 - B) w), B = w / (w + a),

    log L_i(w)   = log N(d_i; 0, w + a)
    bound_i      = E_q log N(d_i; eta, a) - KL(q_i || N(0, w))
    log L_i      = bound_i + KL(q_i || p_i),

    KL(N(m, v) || N(m0, v0)) = 1/2 (v / v0 + (m - m0)^2 / v0 - 1 - log(v / v0)) = integral of q log(q / p).

The sums over the 18 people are shown. At the best c = B and v = (1 - B) w the gap is nothing, and the bound as a
function of omega touches log L there: that is the E-step of EM, and its M-step goes to the bound's top,
w = mean of (c d_i)^2 + v.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import norm

import mefit as mf
from workshop.explorers.controls import ANSWER, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

LOW, HIGH = 5.0, 60.0  # of omega, in ms
START = {"omega": 40.0, "slope": 0.5, "sd": 22.0}
_OMEGA = np.linspace(LOW, HIGH, 111)
_D = np.array([-60.0, 60.0])  # of the picture of the encoder
_ETA = np.linspace(-60.0, 100.0, 161)
_DEEP = -12.0  # below the maximum of log L, what is lower leaves the picture
_SHOWN = 40.0  # about how far above the line the person is whose densities are drawn


@cache
def people() -> tuple[np.ndarray, float]:
    """d (18,), each person's mean over the first three days above the line of all ten; and a = sigma^2 / 3, of ten."""
    sleep = mf.datasets.sleepstudy()
    day = np.asarray(sleep.subjects.time)
    reaction = np.asarray(sleep.subjects.y)
    slope, intercept = np.polyfit(day.ravel(), reaction.ravel(), 1)
    above = reaction - (intercept + slope * day)
    within = above - above.mean(axis=1, keepdims=True)
    count, days = above.shape
    return above[:, :3].mean(axis=1), float(np.sum(within**2) / (count * (days - 1))) / 3


def divergence(m: np.ndarray, v: float, m0: np.ndarray, v0: float | np.ndarray) -> np.ndarray:
    """KL(N(m, v) || N(m0, v0))."""
    return 0.5 * (v / v0 + (m - m0) ** 2 / v0 - 1 - np.log(v / v0))


def log_likelihood(omega: np.ndarray) -> np.ndarray:
    """Of all people, for each omega."""
    d, a = people()
    return norm.logpdf(d, 0.0, np.sqrt(np.square(omega)[..., None] + a)).sum(-1)


def bound(omega: np.ndarray, slope: float, sd: float) -> np.ndarray:
    """Of all people, for each omega, by an encoder."""
    d, a = people()
    expected = -0.5 * np.log(2 * np.pi * a) - ((d - slope * d) ** 2 + sd**2) / (2 * a)
    return (expected - divergence(slope * d, sd**2, 0.0 * d, np.square(omega)[..., None])).sum(-1)


def exact_encoder(omega: float) -> tuple[float, float]:
    """The slope and the SD at which the encoder is the posterior."""
    _, a = people()
    b = omega**2 / (omega**2 + a)
    return b, float(np.sqrt((1 - b) * omega**2))


def top_of_the_bound(slope: float, sd: float) -> float:
    """The omega at which the bound is highest."""
    d, _ = people()
    return float(np.sqrt(np.mean((slope * d) ** 2) + sd**2))


@dataclass(frozen=True)
class Split:
    """log L at `omega`, in nats over the 18 people: `value` = `lower` + `gap`. `exact` are slope and SD of the
    posterior. `best` is log L at its maximum, and `loss` by how much less the bound is than that; of the person drawn
    `d`, the densities `q` and `p` (m,) and `share`, KL(q || p) of that person alone."""

    omega: float
    slope: float
    sd: float
    value: float
    lower: float
    gap: float
    best: float
    curve: np.ndarray
    bounds: np.ndarray
    exact: tuple[float, float]
    d: float
    q: np.ndarray
    p: np.ndarray
    integrand: np.ndarray
    share: float
    shown: bool


def compute(omega: float, slope: float, sd: float, answer: bool = False) -> Split:
    """log L at `omega`, in two parts, by the encoder N(slope d, sd^2)."""
    if not (omega > 0 and sd > 0):
        raise Refused(f"omega and the encoder's SD must be positive, not {omega:g} and {sd:g}.")
    d, a = people()
    exact = exact_encoder(omega)
    one = float(d[np.argmin(np.abs(d - _SHOWN))])
    q = norm.pdf(_ETA, slope * one, sd)
    p = norm.pdf(_ETA, exact[0] * one, exact[1])
    ratio = norm.logpdf(_ETA, slope * one, sd) - norm.logpdf(_ETA, exact[0] * one, exact[1])
    here = np.asarray(omega)
    maximum = np.sqrt(max(np.mean(d**2) - a, 0.0))
    value = float(log_likelihood(here))
    lower = float(bound(here, slope, sd))
    return Split(
        omega=omega,
        slope=slope,
        sd=sd,
        value=value,
        lower=lower,
        gap=float(divergence(slope * d, sd**2, exact[0] * d, exact[1] ** 2).sum()),
        best=float(log_likelihood(maximum)),
        curve=log_likelihood(_OMEGA),
        bounds=bound(_OMEGA, slope, sd),
        exact=exact,
        d=one,
        q=q,
        p=p,
        integrand=q * ratio,
        share=float(divergence(np.asarray(slope * one), sd**2, np.asarray(exact[0] * one), exact[1] ** 2)),
        shown=answer,
    )


def say(found: Split) -> str:
    if found.gap < 0.05:
        first = "The encoder is the posterior, so the bound touches log L: there is no gap"
    else:
        first = f"The bound lies {found.gap:.1f} below log L: so far is q from the posteriors, added over 18 people"
    above = top_of_the_bound(found.slope, found.sd)
    if abs(above - found.omega) < 0.5:
        second = "Here ω is at the top of the bound."
    else:
        second = f"The top of the bound is at ω = {above:.1f}."
    return (
        f"{first}. {second}\nlog L = {found.value:.2f} = {found.lower:.2f} + {found.gap:.2f}, "
        f"{found.best - found.value:.2f} below its maximum. The posterior has slope B = {found.exact[0]:.3f} and SD "
        f"{found.exact[1]:.1f} ms. Of the person drawn, KL = {found.share:.3f}."
    )


def scene(found: Split) -> Scene:
    panels = {
        "encoder": Panel(
            Axis(-60, 60, "mean above the line, d (ms)"),
            Axis(-60, 60, "η (ms)"),
            "The encoder: from d to q",
            "Variational",
        ),
        "bound": Panel(
            Axis(LOW, HIGH, "ω (ms)"), Axis(_DEEP, 0.8, "less its maximum"), "log L, and the bound", "marginal"
        ),
        "person": Panel(Axis(-60, 100, "η of one person (ms)"), Axis(0, 0.045, ticks=[]), "q, and the posterior"),
        "area": Panel(
            Axis(-60, 100, "η of one person (ms)"), Axis(-0.012, 0.05, ticks=[0]), "The area of q log(q / posterior)"
        ),
    }
    return Scene(panels, [*_encoder(found), *_bound(found), *_person(found)])


def _encoder(found: Split) -> list[Mark]:
    """The line and the band that the encoder is, and what takes hold of them."""
    d, _ = people()
    end = 50.0
    slope = Drag(y="slope", scale_y=end)
    marks: list[Mark] = []
    if found.shown:
        b, sd = found.exact
        marks += [
            Band("encoder", "posteriors", "posterior", _D, b * _D - sd, b * _D + sd),
            Line("encoder", "posterior means", "posterior", _D, b * _D),
        ]
    middle = found.slope * _D
    return [
        *marks,
        Band("encoder", "spread", "Variational", _D, middle - found.sd, middle + found.sd),
        Line("encoder", "means", "Variational", _D, middle, "q"),
        Dots("encoder", "people", "individual", d, found.slope * d, size=6),
        Dots("encoder", "slope", "Variational", end, found.slope * end, drag=slope, size=13),
        Dots("encoder", "sd", "Variational", 0.0, found.sd, drag=Drag(y="sd"), size=13),
    ]


def _bound(found: Split) -> list[Mark]:
    """log L and the bound against omega, with the gap at the present one."""
    low = found.lower - found.best
    kept = np.where(found.bounds - found.best > 3 * _DEEP, found.bounds - found.best, np.nan)
    marks: list[Mark] = [
        Rule("bound", "now", "guide", "x", found.omega, weight="thin"),
        Line("bound", "log L", "marginal", _OMEGA, found.curve - found.best, "log L"),
        Line("bound", "bound", "Variational", _OMEGA, kept, "the bound, q held"),
        Span("bound", "gap", "data", found.omega, low, found.omega, found.value - found.best, weight="strong"),
        _gap_in_words(found),
    ]
    hold = Drag(x="omega", along="log L")
    return [*marks, Dots("bound", "here", "marginal", found.omega, found.value - found.best, drag=hold, size=12)]


def _gap_in_words(found: Split) -> Text:
    """The gap beside its line, clear of log L, which falls to the right of its top; a short one beside the handle."""
    low = found.lower - found.best
    here = found.value - found.best
    if low <= _DEEP:
        side = found.omega < 0.55 * HIGH
        words = f"gap {found.gap:.1f}, bound below ↓"
        height = _DEEP + 0.8
    else:
        side = found.omega < 0.7 * HIGH
        words = f"gap {found.gap:.2f}"
        height = low + (0.25 if side else 0.5) * found.gap
    away = 1.0
    if found.gap < 1.0:
        away = 2.5  # there is no room below the handle
        falls = found.omega > _OMEGA[found.curve.argmax()]
        height = here + (0.6 if side and falls else -0.8)
    return Text("bound", "words", "data", found.omega + (away if side else -away), height, words, _anchor(side))


def _anchor(right: bool) -> str:
    return "start" if right else "end"


def _person(found: Split) -> list[Mark]:
    """One person's densities, and the integrand whose area is the divergence."""
    hold = Drag(x="slope", scale_x=found.d)
    top = float(norm.pdf(0.0, 0.0, found.sd))
    return [
        Line("person", "posterior", "posterior", _ETA, found.p, "posterior"),
        Line("person", "q", "Variational", _ETA, np.minimum(found.q, 0.05)),
        Dots("person", "mean", "Variational", found.slope * found.d, min(top, 0.044), drag=hold, size=12),
        Rule("area", "zero", "guide", "y", 0.0, weight="thin"),
        Band("area", "gap", "Variational", _ETA, 0 * _ETA, np.clip(found.integrand, -0.012, 0.05)),
        Line("area", "integrand", "Variational", _ETA, np.clip(found.integrand, -0.012, 0.05)),
        Text("area", "words", "data", 98, 0.04, f"that person's gap: {found.share:.2f}", "end"),
    ]


def steps_of_em(omega: float, count: int) -> list[Move]:
    """The moves of EM from this omega: q to the posterior, omega to the top of the bound, and again."""
    moves: list[Move] = []
    for number in range(1, count + 1):
        slope, sd = exact_encoder(omega)
        slope, sd = round(slope, 3), round(sd, 2)  # as many digits as their boxes have room for
        omega = round(top_of_the_bound(slope, sd), 2)
        moves.append((f"{number}. E: q to the posterior", {"slope": slope, "sd": sd}))
        moves.append((f"{number}. M: ω to the top", {"omega": omega}))
    return moves


def bound_and_gap() -> Stage:
    """The explorer of lesson 10: log L of 18 people as a bound and a gap, and the encoder between them."""
    controls: dict[str, Control] = {
        "omega": Slider("SD between people ω", LOW, HIGH, START["omega"], 0.5, unit="ms"),
        "slope": Slider("Slope of the encoder", 0.0, 1.2, START["slope"], 0.01),
        "sd": Slider("SD of q", 2.0, 45.0, START["sd"], 0.5, unit="ms"),
        "answer": ANSWER,
    }
    alt = (
        "Above left: the encoder, a line from a person's mean to the mean of q, with a band of one SD. Above right: "
        "the log-likelihood against omega, and the bound below it. Below: q and the posterior of one person."
    )
    tries: Sequence[Move] = [
        *steps_of_em(START["omega"], 2),
        ("say the same of everybody", {"slope": 0.0, "sd": 40.0, "omega": 40.0}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["encoder bound", "person area"],
        heights=[1.35, 1],
        size=(900, 560),
        tries=tries,
    )
