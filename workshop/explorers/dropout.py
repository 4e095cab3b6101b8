"""Dropout, and five ways with it: the mean of everybody at the end, by those who left and those who stayed.

800 people with nearly linear curves are seen at 20 times, until they leave (`workshop.studies.autoencoders`). Four ways
are wrong (`workshop.studies.missing`). The right one here is the likelihood of the observed cells, by the largest model
there is for a mean and a covariance, y ~ N(mu, S) with nothing assumed of either. For people who leave for good its
maximum has a closed form: with y_1 ... y_{j-1} before it, y_j is regressed among those who were seen at j,

    y_j = a_j + b_j' (y_1 ... y_{j-1}) + e_j,    mu_j = a_j + b_j' mu_{<j},
    S_{j,<j} = b_j' S_{<j},                      S_jj = Var(e_j) + b_j' S_{<j} b_j.

Nobody's missing values are made up. Source: Anderson (1957), J. Am. Stat. Assoc. 52, 200-203.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider, Switch
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Move, Stage
from workshop.studies import autoencoders as study
from workshop.studies import missing

SEEN, UNSEEN = REASONS = ("what was seen of them", "what nobody saw")
RIGHT = "observed cells"
WAYS = ("available cases", "completers", "last value carried on", "mean filled in")
_MEANING = dict(zip((RIGHT, *WAYS), ("marginal", "first", "second", "third", "fourth"), strict=True))
STRENGTHS = np.linspace(0.0, 2.0, 9)
PEOPLE = 800
_SEED = 1


def observed_cells(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and covariance (n, n) at the maximum of the likelihood; NaN in `y` (N, n) from where a person left."""
    count = y.shape[1]
    mean = np.zeros(count)
    covariance = np.zeros((count, count))
    for j in range(count):
        there = ~np.isnan(y[:, j])
        before = np.column_stack([np.ones(there.sum()), y[there, :j]])
        weights = np.linalg.solve(before.T @ before, before.T @ y[there, j])
        left = y[there, j] - before @ weights
        known = covariance[:j, :j]
        mean[j] = weights[0] + weights[1:] @ mean[:j]
        covariance[j, :j] = covariance[:j, j] = known @ weights[1:]
        covariance[j, j] = np.mean(left**2) + weights[1:] @ known @ weights[1:]
    return mean, covariance


@dataclass(frozen=True)
class Told:
    """Of each way the mean (20,) of everybody's responses and the SD of those at the end; `gone` is the share that has
    left by the end, and `truth` mean and SD of all 800, nobody lost."""

    gone: float
    truth: tuple[np.ndarray, float]
    means: dict[str, np.ndarray]
    spreads: dict[str, float]

    def error(self, way: str) -> float:
        """Of the mean at the end."""
        return float(self.means[way][-1] - self.truth[0][-1])


@functools.cache
def told(reason: str, strength: float) -> Told:
    """What each way makes of the 800 people."""
    simulate = study.simulate_dropout if reason == SEEN else missing.simulate_unseen_dropout
    y, left = simulate(PEOPLE, _SEED, strength)
    population = study.population_of(left)
    by_way = {
        "completers": missing.completers(population),
        "last value carried on": missing.last_value_carried_forward(population),
        "mean filled in": missing.mean_imputed(population),
    }
    filled = {way: missing.responses_with_gaps(people) for way, people in by_way.items()}
    mean, covariance = observed_cells(left)
    means = {way: table.mean(axis=0) for way, table in filled.items()}
    spreads = {way: float(table[:, -1].std()) for way, table in filled.items()}
    means |= {RIGHT: mean, "available cases": missing.available_case_means(population)}
    spreads |= {RIGHT: float(np.sqrt(covariance[-1, -1])), "available cases": float(np.nanstd(left[:, -1]))}
    gone = float(np.mean(np.isnan(left[:, -1])))
    return Told(gone, (y.mean(axis=0), float(y[:, -1].std())), means, spreads)


@dataclass(frozen=True)
class Ways:
    """The ways at one `strength`, and along `STRENGTHS`; `shown` says whether the wrong ones are."""

    reason: str
    strength: float
    here: Told
    along: tuple[Told, ...]
    shown: bool


def compute(strength: float, reason: str = SEEN, wrong: bool = True) -> Ways:
    """The ways where leaving hangs on the response with this `strength`, a whole number of quarters."""
    if not (0 <= strength <= STRENGTHS[-1] and float(strength) in STRENGTHS):
        raise Refused(f"The strength goes from 0 to {STRENGTHS[-1]:g} in quarters, and {strength:g} is none.")
    along = tuple(told(reason, float(one)) for one in STRENGTHS)
    return Ways(reason, strength, told(reason, float(strength)), along, wrong)


def say(found: Ways) -> str:
    here = found.here
    worst = max(WAYS, key=lambda way: abs(here.error(way)))
    right = here.error(RIGHT)
    if found.strength == 0:
        first = "People leave by chance alone"
    else:
        first = f"{here.gone:.0%} have left by the end"
    if abs(right) < 0.05:
        second = f"the likelihood of observed cells is right to {abs(right):.2f}"
    else:
        second = f"even the likelihood of observed cells is off by {right:+.2f}"
    if found.shown:
        second += f", and {worst} is off by {here.error(worst):+.2f}"
    told = "; ".join(f"{way} {here.error(way):+.2f}, {here.spreads[way]:.2f}" for way in (RIGHT, *WAYS))
    return f"{first}; {second}.\nError and SD at the end (in truth 0, {here.truth[1]:.2f}): {told}."


def scene(found: Ways) -> Scene:
    ways = (RIGHT, *WAYS) if found.shown else (RIGHT,)
    strength = Axis(-0.06, 2.06, "how far leaving hangs on the response")
    panels = {
        "means": Panel(Axis(-0.02, 1.02, "time"), Axis(0.0, 5.4, "mean response"), "The mean of everybody"),
        "error": Panel(Axis(-0.06, 2.06), Axis(-1.3, 0.3), "Error of the mean at the end"),
        "spread": Panel(strength, Axis(0.6, 1.6), "SD between people at the end"),
    }
    hold = Drag(x="strength")
    marks: list[Mark] = [
        Line("means", "truth", "truth", study.TIMES, found.here.truth[0], "nobody lost"),
        Rule("error", "now", "guide", "x", found.strength, drag=hold),
        Rule("error", "none", "truth", "y", 0.0, weight="thin"),
        Rule("spread", "now too", "guide", "x", found.strength, drag=hold),
        Rule("spread", "true", "truth", "y", found.here.truth[1], weight="thin"),
    ]
    for way in reversed(ways):
        meaning = _MEANING[way]
        errors = [one.error(way) for one in found.along]
        spreads = [one.spreads[way] for one in found.along]
        marks += [
            Line("means", way, meaning, study.TIMES, found.here.means[way], way),
            Line("error", way, meaning, STRENGTHS, errors),
            Line("spread", way, meaning, STRENGTHS, spreads),
            Dots("error", f"{way} here", meaning, found.strength, found.here.error(way), size=9),
            Dots("spread", f"{way} here", meaning, found.strength, found.here.spreads[way], size=9),
        ]
    return Scene(panels, marks)


def dropout() -> Stage:
    """The explorer of lesson 10: how strongly leaving hangs on the response, seen or unseen, and five ways with it."""
    controls: dict[str, Control] = {
        "strength": Slider("How far leaving hangs on y", 0.0, 2.0, 1.0, 0.25, play=True),
        "reason": Choice("People leave by", REASONS, SEEN),
        "wrong": Switch("show the wrong ways", True),
    }
    alt = (
        "Left: the mean response over time, if nobody were lost, and by five ways with those who left. Right: the "
        "error of the mean at the end, and the SD between people there, against how far leaving hangs on the response."
    )
    for reason in REASONS:
        compute(1.0, reason)  # kept, so that no move has to wait for it
    tries: Sequence[Move] = [
        ("leave by chance", {"strength": 0.0}),
        ("leave by what was seen", {"strength": 2.0, "reason": SEEN}),
        ("leave by what nobody saw", {"strength": 1.0, "reason": UNSEEN}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["means error", "means spread"],
        widths=[1.15, 1],
        heights=[1.3, 1],
        size=(940, 520),
        tries=tries,
    )
