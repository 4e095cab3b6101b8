"""What a study can know before it is done: expected standard errors from its sampling times.

One compartment, one dose of 100 mg by mouth; every one of N subjects gives the same samples:

    CL = 3 exp(eta_1), V = 30 exp(eta_2), ka = 1.2 exp(eta_3)     SDs omega of eta 0.3, 0.2, 0.4, independent
    log y_j = log C(t_j) + e_j                                    SD of e sigma

Linear in eta (first order), a subject's log y is Gaussian with covariance S = J Omega J' + sigma^2 I, where
J = d log C / d log (CL, V, ka), n x 3, is also how its mean moves with the typical values. The expected information is

    N J' S^-1 J            of log (CL, V, ka), whose standard errors are relative ones
    N/2 tr(S^-1 dS/da S^-1 dS/db)    of a, b among log omega and log sigma, sigma being estimated too

with J held where it is, so that the two blocks do not meet (Retout, Mentré and Bruno 2002; Nyberg et al. 2015 find this
form closest to simulated studies). Where a block is singular, the parameters that it does not single out have no finite
standard error: no number of subjects makes them known. Being of first order, a large error tells that, not how large.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage
from workshop.explorers.which_part_tells import curve

NAMES = ("CL", "V", "ka", "ω of CL", "ω of V", "ω of ka")
TYPICAL, OMEGA = np.array([3.0, 30.0, 1.2]), np.array([0.3, 0.2, 0.4])
RICH = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 24.0)
_GRID = np.linspace(0.0, 25.0, 101)
_TOP = 100.0


@functools.lru_cache(maxsize=256)
def sensitivity(times: tuple[float, ...]) -> np.ndarray:
    """J (n, 3) at times (h) after 0. Four at a time are computed, so that one compiled program serves all designs."""
    rows = -(-len(times) // 4) * 4
    padded = np.array([*times, *[1.0] * (rows - len(times))]).reshape(-1, 4)
    parts = [np.asarray(curve(np.log(TYPICAL), part, True)[1]) for part in padded]
    return np.concatenate(parts or [np.zeros((0, 3))])[: len(times)]


def information(times: tuple[float, ...], subjects: int, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Expected information of log (CL, V, ka) (3, 3), and of the logs of their omegas and of sigma (4, 4)."""
    j = sensitivity(times)
    n = len(times)
    # dS / d log omega_k = 2 omega_k^2 J_k J_k', dS / d log sigma = 2 sigma^2 I
    slopes = np.array([*(2 * w**2 * np.outer(c, c) for w, c in zip(OMEGA, j.T, strict=True)), 2 * error**2 * np.eye(n)])
    s = (j * OMEGA**2) @ j.T + error**2 * np.eye(n)
    solved = np.linalg.solve(s, slopes)
    return subjects * j.T @ np.linalg.solve(s, j), 0.5 * subjects * np.einsum("aij,bji->ab", solved, solved)


def standard_errors(information: np.ndarray) -> np.ndarray:
    """Roots of the diagonal of the inverse; infinite for what a singular information does not single out."""
    values, vectors = np.linalg.eigh(information)
    blind = values <= 1e-11 * max(values[-1], 1e-300)
    variance = np.sum(vectors[:, ~blind] ** 2 / values[~blind], axis=1)
    return np.where(np.sum(vectors[:, blind] ** 2, axis=1) > 1e-9, np.inf, np.sqrt(variance))


@dataclass(frozen=True)
class Known:
    """Relative standard errors (6,), as shares, of CL, V, ka and their omegas; `rich` are those of 12 samples.

    `asked` are the four times as they were asked for, a 0 for a sample that is not taken."""

    asked: tuple[float, ...]
    times: tuple[float, ...]
    subjects: int
    rse: np.ndarray
    rich: np.ndarray

    @property
    def unknown(self) -> list[str]:
        """What the study cannot tell: no finite relative standard error, or one above 100%."""
        return [name for name, rse in zip(NAMES, self.rse, strict=True) if not rse <= 1]


def expected(times: tuple[float, ...], subjects: int, error: float) -> np.ndarray:
    """Relative standard errors (6,) of CL, V, ka and their omegas."""
    fixed, variance = (standard_errors(block) for block in information(times, subjects, error))
    return np.concatenate([fixed, variance[:3]])


def compute(t1: float, t2: float, t3: float, t4: float, subjects: int, error: float) -> Known:
    """What `subjects` sampled at these times (h) tell; a sample at time 0 is not taken."""
    times = tuple(sorted(t for t in (t1, t2, t3, t4) if t != 0))
    if not (subjects >= 1 and error > 0 and all(t > 0 for t in times)):
        raise Refused("A study needs a subject or more, a positive residual error, and times from 0 on.")
    return Known((t1, t2, t3, t4), times, subjects, expected(times, subjects, error), expected(RICH, subjects, error))


def say(found: Known) -> str:
    if not found.times:
        return "Nobody gives a sample, so nothing can be known."
    well = [name for name, rse in zip(NAMES, found.rse, strict=True) if rse <= 0.3]
    badly = [name for name, rse in zip(NAMES, found.rse, strict=True) if 0.3 < rse <= 1]
    groups = {"Known to within 30%": well, "Hardly known": badly, "Cannot be known": found.unknown}
    text = " ".join(f"{what}: {', '.join(names)}." for what, names in groups.items() if names)
    if len(well) == len(NAMES):
        text = "All six will be known to within 30%."
    known = [f"{n} {e:.2g}%" for n, e in zip(NAMES, 100 * found.rse, strict=True) if e <= 100]
    text += f"\n{found.subjects} subjects, sampled at {', '.join(f'{t:g}' for t in found.times)} h."
    return text + (f" Expected relative standard errors: {', '.join(known)}." if known else "")


@functools.cache
def _people() -> tuple[np.ndarray, np.ndarray]:
    """Concentrations on the grid: between which nine in ten subjects are (2, n), and of the typical one (n,)."""
    eta = OMEGA * np.random.default_rng(7).normal(size=(1000, 3))
    return np.percentile(concentration(TYPICAL * np.exp(eta)), [5, 95], axis=0), concentration(TYPICAL[None])[0]


def scene(found: Known) -> Scene:
    people, typical = _people()
    hours = Axis(0, 25, "time after the dose (h)", ticks=(0, 2, 4, 6, 8, 12, 16, 20, 24))
    at = concentration(TYPICAL[None], np.array(found.asked))[0]
    drags = [Drag(f"t{k + 1}", along="typical", index=k) for k in range(len(at))]
    names = [(float(k), name) for k, name in enumerate(NAMES)]
    panels = {
        "curve": Panel(hours, Axis(0, 4.2, "mg/L", ticks=(0, 2, 4)), "Drag the samples; at 0 one is not taken"),
        "errors": Panel(
            Axis(-0.5, 5.5, "typical values, and SDs between subjects", ticks=names),
            Axis(0, 1.08 * _TOP, "expected RSE (%)", ticks=(0, 25, 50, 75, 100)),
        ),
    }
    marks: list[Mark] = [
        Band("curve", "people", "individual", _GRID, people[0], people[1], label="9 of 10 subjects", weight="thin"),
        Line("curve", "typical", "population", _GRID, typical, label="typical subject"),
        Span("curve", "pins", "guide", found.asked, 0 * at, found.asked, at, weight="thin"),
        Dots("curve", "samples", "data", found.asked, at, drag=drags, size=11, label="sampling times"),
        *_errors(found),
    ]
    return Scene(panels, marks)


def _errors(found: Known) -> list[Mark]:
    """A pin for what can be known, as high as its relative standard error, and words for what cannot."""
    place = np.arange(len(NAMES), dtype=float)
    rse = 100 * np.where(found.rse <= 1, found.rse, np.nan)
    unknown = np.isnan(rse)
    said = [f"{error:.2g}%" for error in rse[~unknown]]
    return [
        Rule("errors", "between", "guide", "x", 2.5, weight="thin"),
        Span("errors", "pins", "posterior", place, 0 * place, place, rse, weight="strong"),
        Dots("errors", "error", "posterior", place, rse, size=11, label="expected error", ghost=True),
        Dots("errors", "rich", "truth", place + 0.14, np.minimum(100 * found.rich, _TOP), size=9,
             label=f"with {len(RICH)} samples per subject"),
        Text("errors", "numbers", "posterior", place[~unknown], rse[~unknown] + 7, said, "middle"),
        Text("errors", "unknown", "guide", place[unknown], 0 * place[unknown] + 55, ["not known"] * unknown.sum(),
             "middle"),
    ]  # fmt: skip


def concentration(parameters: np.ndarray, time: np.ndarray = _GRID) -> np.ndarray:
    """Concentrations (N, t) in mg/L of CL, V, ka (N, 3), by the formula."""
    cl, v, ka = parameters.T[..., None]
    return 100.0 * ka / (v * ka - cl) * (np.exp(-cl / v * time) - np.exp(-ka * time))


def what_can_be_known() -> Stage:
    """The explorer of lesson 06: when samples are taken, of how many subjects, and how well they are measured."""
    compute(1.0, 4.0, 12.0, 24.0, 40, 0.2)
    default = (4.0, 8.0, 12.0, 20.0)
    controls: dict[str, Control] = {
        **{f"t{k}": Slider(f"Sample {k} at", 0.0, 24.0, t, 0.25, "h") for k, t in enumerate(default, 1)},
        "subjects": Slider("Subjects", 10, 400, 40, 10),
        "error": Slider("Residual error σ", 0.05, 0.5, 0.2, 0.05, unit="SD of log mg/L"),
    }
    alt = (
        "Top: the typical concentration curve with the sampling times, to drag. Below: the expected relative standard "
        "errors of CL, V, ka and of the SDs of their random effects, with those of a rich design."
    )
    tries: Sequence[Move] = [
        ("one early", {"t1": 0.5}),
        ("ten times the people", {"subjects": 400}),
        ("two samples only", {"t1": 0.0, "t2": 0.0}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["curve", "errors"],
        heights=[1, 1.2],
        size=(900, 460),
        tries=tries,
    )
