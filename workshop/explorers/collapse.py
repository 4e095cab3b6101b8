"""Posterior collapse under a slider: a diagonal q on random intercepts and slopes, in closed form.

The decoder is a linear mixed model with two independent random effects, which a diagonal q approximates. What it ends
at is worked out for endless people, by `workshop.studies.collapse`: as the noise of the data grows, the intercepts
fall asleep at once, although the data go on telling 1/2 log(l_j / sigma^2) nats of each principal direction, l_j the
eigenvalues of their covariance. The bound as a function of the intercepts' SD then has two peaks, and the higher one is
at zero.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies import collapse as theory

FIRST, MIDDLE = ZEROS = ("the first visit", "the middle")
LOW, HIGH = 0.3, 3.0  # of the noise
GRID = np.linspace(LOW, HIGH, 46)
_A_WORD = 0.45  # nats that the height of a word takes
_ABOVE = 0.24  # nats from the end of a line up to its name
_RATIO = np.linspace(0.0, 3.0, 121)  # the intercepts' SD in units of the decoder's noise
_PLACE = {FIRST: 0.0, MIDDLE: 2.0}


@dataclass(frozen=True)
class Asleep:
    """What a diagonal q ends at, `found`, and what a full one does, `full`: KL (2, 46) of intercept and slope, and the
    SDs (2, 46), over `GRID`; of the data `told` (2, 46), 1/2 log(l_j / sigma^2), largest first. `diagonal_profile` and
    `full_profile` (121,) are the bound and log L, less their highest values, over the intercepts' SD."""

    noise: float
    sd1: float
    zero: str
    found: theory.Best
    full: theory.Best
    divergence: np.ndarray
    sds: np.ndarray
    told: np.ndarray
    told_here: np.ndarray
    diagonal_profile: np.ndarray
    full_profile: np.ndarray


@functools.lru_cache(maxsize=64)
def along(sd1: float, zero: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """KL, SDs and what the data tell, each (2, 46), over the noise."""
    ends = [theory.best(float(noise), (sd1, 1.0), zero) for noise in GRID]
    told = np.array([_told(float(noise), sd1, zero) for noise in GRID])
    return (np.array([one.divergence for one in ends]).T, np.array([(one.om1, one.om2) for one in ends]).T, told.T)


def _told(noise: float, sd1: float, zero: float) -> np.ndarray:
    """1/2 log(l / noise^2) of the two largest eigenvalues l of the data's covariance, largest first."""
    largest = np.linalg.eigvalsh(theory.covariance(noise, (sd1, 1.0), zero))[:-3:-1]
    return theory.elbow(largest, noise)


def compute(noise: float, sd1: float = 1.0, zero: str = FIRST) -> Asleep:
    """The end of a fit with a diagonal q, of data with this noise and these intercepts; slopes have SD 1."""
    if not (noise > 0 and sd1 > 0):
        raise Refused(f"The noise and the SD must be positive, not {noise:g} and {sd1:g}.")
    at = _PLACE[zero]
    sds = (sd1, 1.0)
    divergence, lines, told = along(sd1, at)
    profiles = [theory.profile(_RATIO, noise, sds, at, kind) for kind in (theory.DIAGONAL, theory.FULL)]
    return Asleep(
        noise=noise,
        sd1=sd1,
        zero=zero,
        found=theory.best(noise, sds, at),
        full=theory.best(noise, sds, at, theory.FULL),
        divergence=divergence,
        sds=lines,
        told=told,
        told_here=_told(noise, sd1, at),
        diagonal_profile=profiles[0] - profiles[0].max(),
        full_profile=profiles[1] - profiles[1].max(),
    )


def say(found: Asleep) -> str:
    end = found.found
    if end.om1 == 0.0:
        first = "Collapsed: with a diagonal q the intercepts sleep, and the noise swells to make up for them"
    elif end.om2 == 0.0:
        first = "Collapsed: with a diagonal q the slopes sleep, and the noise swells to make up for them"
    elif found.full.value - end.value < 1e-6:
        first = "Both random effects are awake, and the diagonal q loses nothing"
    else:
        first = f"Both random effects are awake; the SD of intercepts comes out as {end.om1:.2f} for {found.sd1:.2f}"
    return (
        f"{first}.\nDiagonal q: SDs {end.om1:.3f} and {end.om2:.3f}, noise {end.s:.3f} for {found.noise:.2f}; KL "
        f"{end.divergence[0]:.2f} and {end.divergence[1]:.2f} nats; {found.full.value - end.value:.3f} nats "
        f"per person below log L. Data tell {found.told_here[0]:.2f} and {found.told_here[1]:.2f} of two directions."
    )


def scene(found: Asleep) -> Scene:
    noise = Axis(LOW, HIGH, "noise of the data, σ")
    panels = {
        "nats": Panel(Axis(LOW, HIGH), Axis(-0.1, 3.6, "nats per person"), "KL, dimension by dimension"),
        "sds": Panel(noise, Axis(-0.08, 2.3, "SD found"), "What is estimated", "Variational"),
        "peaks": Panel(
            Axis(-0.03, 3.0, "SD of intercepts / noise found"),
            Axis(-0.4, 0.05, "less its highest value"),
            "Bound and log L here",
        ),
    }
    return Scene(panels, [*_over_noise(found), *_peaks(found)])


def _over_noise(found: Asleep) -> list[Mark]:
    """What q says and what data tell, and the SDs, over the noise."""
    hold = Drag(x="noise")
    marks: list[Mark] = [
        Rule("nats", "now", "guide", "x", found.noise, drag=hold),
        Line("nats", "told", "marginal", GRID, found.told, "full q: ½ log(λ / σ²)"),
        Rule("sds", "now too", "guide", "x", found.noise, drag=hold),
        Line("sds", "true SDs", "truth", GRID, np.outer([found.sd1, 1.0], np.ones(GRID.size)), "truth"),
    ]
    for k, name in enumerate(("intercepts", "slopes")):
        values = (found.found.divergence[k], (found.found.om1, found.found.om2)[k])
        for panel, line, value in zip(("nats", "sds"), (found.divergence[k], found.sds[k]), values, strict=True):
            label = "diagonal q" if panel == "nats" and k == 0 else ""
            marks += [
                Line(panel, f"{name} line", "Variational", GRID, _broken(line), label),
                Dots(panel, f"{name} here", "Variational", found.noise, value, size=10, shape="so"[k]),
            ]
    intercepts, slopes = names_at(found)
    marks.append(Text("nats", "intercepts", "Variational", HIGH - 0.05, intercepts, "intercepts", "end"))
    marks.append(Text("nats", "slopes", "Variational", HIGH - 0.05, slopes, "slopes", "end"))
    return marks


def names_at(found: Asleep) -> tuple[float, float]:
    """A little above the end of each line, for its name; one name over the other where the lines meet."""
    intercepts = float(found.divergence[0][-1]) + _ABOVE
    slopes = float(found.divergence[1][-1]) + _ABOVE
    if slopes >= intercepts:
        return intercepts, max(slopes, intercepts + _A_WORD)
    return max(intercepts, slopes + _A_WORD), slopes


def _broken(line: np.ndarray) -> np.ndarray:
    """A line with a gap where it falls to nothing at once."""
    jump = np.flatnonzero((line[:-1] > 0.2) & (line[1:] == 0.0))
    broken = line.copy()
    broken[jump + 1] = np.nan
    return broken


def _peaks(found: Asleep) -> list[Mark]:
    """Both functions over the SD of the intercepts, and where each is highest."""
    ends = found.found.om1 / found.found.s, found.full.om1 / found.full.s
    return [
        Line("peaks", "log L", "marginal", _RATIO, found.full_profile, "log L"),
        Line("peaks", "bound", "Variational", _RATIO, found.diagonal_profile, "bound, diagonal q", ghost=True),
        Dots("peaks", "top of log L", "marginal", min(ends[1], 3.0), 0.0, size=11),
        Dots("peaks", "top of the bound", "Variational", min(ends[0], 3.0), 0.0, size=13),
    ]


def collapse() -> Stage:
    """The explorer of lesson 10: a random effect that falls asleep as the noise grows."""
    controls: dict[str, Control] = {
        "noise": Slider("Noise of the data σ", LOW, HIGH, 0.6, 0.02, play=True),
        "sd1": Slider("SD of the intercepts ω₁", 0.4, 2.0, 1.0, 0.1),
        "zero": Choice("Time is counted from", ZEROS, FIRST),
    }
    alt = (
        "Left above: the divergence of each random effect from its prior, against the noise, beside what data tell. "
        "Left below: the SDs found. Right: the bound and the log-likelihood against the SD of the intercepts."
    )
    tries: Sequence[Move] = [
        ("over the edge", {"noise": 1.0}),
        ("count from the middle", {"zero": MIDDLE}),
        ("larger intercepts", {"sd1": 2.0, "zero": FIRST, "noise": 1.0}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["nats peaks", "sds peaks"],
        widths=[1.1, 1],
        size=(900, 520),
        tries=tries,
    )
