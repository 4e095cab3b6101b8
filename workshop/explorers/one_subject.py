"""One subject, one random effect: the joint density as a curve, and six ways to find the area under it.

The theory is in `workshop/studies/one_density.py`.
"""

from dataclasses import replace

import numpy as np

from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies.one_density import (
    AGQ,
    CASES,
    FO,
    FOCE,
    GRID,
    IMPORTANCE,
    LAPLACE,
    LEFT,
    METHODS,
    MONTE_CARLO,
    MOST_DRAWS,
    MOST_NODES,
    ONE,
    PRIOR_HEIGHT,
    RIGHT,
    TWO,
    Area,
    areas,
    concentration,
    data,
)

MEANING = dict(zip(METHODS, ("MonteCarlo", "ImportanceSampling", "FO", "FOCE", "Laplace", "AGQ"), strict=True))
_CLIP = 200.0  # percent: the last that has a place
_END = 275.0  # percent: the end of the axis
_TOPS = (1.15, 7.4)  # of the picture: all methods but FO stay in the first
_MOST_STICKS = 300
HOURS = np.linspace(0, 25, 101)
TRIES: list[Move] = [
    ("a tangent at η = 0", {"method": FO}),
    ("a tangent at the mode", {"method": FOCE}),
    ("fifteen bars", {"method": AGQ, "nodes": MOST_NODES}),
    ("ten times the draws", {"method": MONTE_CARLO, "draws": 500}),
    ("a second hump", {"method": LAPLACE, "case": ONE, "omega": 2.0}),
]


def compute(
    method: str, case: str, omega: float, draws: int, nodes: int, eta: float = 0.0, answer: bool = False
) -> Area:
    """Six areas under the joint density of one subject, the outline of the chosen one, and an `eta` to look at."""
    if not omega > 0:
        raise Refused(f"The prior's standard deviation must be positive, not {omega:g}.")
    return replace(areas(method, case, omega, draws, nodes), eta=eta, shown=answer)


def say(found: Area) -> str:
    i = METHODS.index(found.method)
    area = found.log_areas[i]
    error = area - found.log_exact
    what = "node" if found.method == AGQ else "draw"
    many = f" with {found.count} {what}{'s' * (found.count > 1)}" if found.count else ""
    text = (
        f"{found.method[0].upper()}{found.method[1:]}{many}: {_percent(error)} of the exact "
        f"area, an error of {error:+.3f} in the log-likelihood.\n{area:.3f} in place of {found.log_exact:.3f}."
    )
    if found.relative_sd[i]:
        text += f" Other draws would differ by ±{_percent(np.log(found.relative_sd[i]))} (one SD)."
    here = float(np.interp(found.eta, GRID, found.exact))
    return text + f" At η = {found.eta:.2f} the joint density is {100 * here:.2g}% of its peak."


def _percent(log_share: float) -> str:
    share = 100 * np.exp(log_share)
    return f"{share:.3g}%" if share < 99.5 or 100.5 < share < 1000 else f"{share:.4g}%"


def scene(found: Area) -> Scene:
    highest = 1.08 * float(np.max(found.height, initial=0.0))
    top = next((level for level in _TOPS if level > highest), highest)
    eta = Axis(LEFT, RIGHT, "random effect η of log ka: slow absorption, or fast")
    height = Axis(0.0, top, "density, exact peak = 1")
    density = Panel(eta, height, "Joint density, and the area that is wanted")
    hours = Axis(0, 25, "time (h)", ticks=range(0, 25, 6))
    level = Axis(0, 13, "C (mg/L)", ticks=(0, 4, 8, 12))
    share = Axis(0, _END, "area, % of the exact one", ticks=(0, 100, 200))
    method = Axis(5.6, -1.2, ticks=list(enumerate(METHODS)))
    marks = [*_density_marks(found), *_data_marks(found), *_area_marks(found)]
    subject = Panel(hours, level, "The subject")
    return Scene({"density": density, "data": subject, "areas": Panel(share, method)}, marks)


def _density_marks(found: Area) -> list[Mark]:
    """The exact curve, what the method puts in its place, and two handles: eta on the curve, omega on the prior."""
    name = MEANING[found.method]
    bell = PRIOR_HEIGHT * np.exp(-0.5 * (GRID / found.omega) ** 2)
    drawn = found.method in (MONTE_CARLO, IMPORTANCE)
    inside = (found.points >= LEFT) & (found.points <= RIGHT)
    x = found.points[inside][:_MOST_STICKS]
    height = found.point_height[inside][:_MOST_STICKS]
    here = float(np.interp(found.eta, GRID, found.exact))
    marks: list[Mark] = []
    if found.x.size:
        marks.append(Band("density", "area", name, found.x, 0 * found.x, found.height))
    marks.append(Line("density", "prior", "prior", GRID[::4], bell[::4], "prior, any height"))
    if found.method == IMPORTANCE:
        marks.append(Line("density", "proposal", name, GRID[::4], found.sampled_from[::4], "draws come from here"))
    if drawn:
        marks.append(Span("density", "draws", name, x, 0 * x, x, height, "draws, at most 300 shown", "thin"))
    marks.append(Line("density", "exact", "truth", GRID[::2], found.exact[::2], "exact", ghost=True))
    if found.x.size:
        thin = slice(None, None, 1 if found.method == AGQ else 4)
        marks.append(Line("density", "outline", name, found.x[thin], found.height[thin], found.method, ghost=True))
    if not drawn:
        marks.append(Dots("density", "points", name, x, 0 * x if found.method == FO else height, "where it looks"))
    width = Drag(x="omega", along="prior")
    return [
        *marks,
        Span("density", "stem", "individual", found.eta, 0.0, found.eta, here, weight="thin"),
        Dots("density", "omega", "prior", found.omega, PRIOR_HEIGHT * np.exp(-0.5), drag=width, size=11),
        Dots("density", "eta", "individual", found.eta, here, drag=Drag(x="eta", along="exact"), size=12),
    ]


def _data_marks(found: Area) -> list[Mark]:
    """What the density is of: the measurements, and the curve at the eta that is held."""
    time, y, *_ = data(found.case)
    typical, here = (concentration(eta, found.case, HOURS)[0] for eta in (0.0, found.eta))
    return [
        Line("data", "typical", "population", HOURS, typical, "at η = 0"),
        Line("data", "here", "individual", HOURS, here, "at the η that you hold", ghost=True),
        Dots("data", "measured", "data", time, y, "measured", size=8),
    ]


def _area_marks(found: Area) -> list[Mark]:
    """The area by the chosen method, and by all of them once the answer is asked for."""
    errors = found.log_areas - found.log_exact
    share = 100 * np.exp(errors)
    marks: list[Mark] = [
        Rule("areas", "exact", "truth", "x", 100.0),
        Text("areas", "head", "guide", _END - 3, -0.75, "error of log L", "end"),
    ]
    for i, method in enumerate(METHODS):
        chosen = method == found.method
        if not (chosen or found.shown):
            continue
        name = MEANING[method]
        at = min(share[i], _CLIP)
        reach = 100 * found.relative_sd[i]
        if reach:
            ends = np.clip([share[i] - reach, share[i] + reach], 0, _CLIP)
            marks.append(Span("areas", f"spread {i}", name, ends[0], float(i), ends[1], float(i)))
        mark = "chosen" if chosen else method
        marks.append(Dots("areas", mark, name, at, float(i), size=14 if chosen else 9, ghost=chosen))
        words = f"{errors[i]:+.2f}".replace("-", "−") + (" →" if share[i] > _CLIP else "")
        marks.append(Text("areas", f"error {i}", name, _END - 3, i + 0.2, words, "end"))
    return marks


def one_subject() -> Stage:
    """The explorer of lesson 03: how, how much the subjects differ, how many draws and how many nodes."""
    controls: dict[str, Control] = {
        "method": Choice("Method", METHODS, LAPLACE),
        "case": Choice("Data", CASES, TWO),
        "omega": Slider("Prior SD ω", 0.2, 2.0, 0.66, unit="of log ka", log=True),
        "eta": Slider("Try η", LEFT, RIGHT, 1.5, 0.05),
        "draws": Slider("Draws (both samplers)", 10, MOST_DRAWS, 50, 10),
        "nodes": Slider("Nodes (AGQ)", 1, MOST_NODES, 3, 1),
        "answer": ANSWER,
    }
    alt = (
        "Left: the joint density of one subject over its random effect, and what the chosen method puts in its place. "
        "Right: the subject's data with the curve at one value of the random effect, and the area by each method, in "
        "percent of the exact one."
    )
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["density data", "density areas"],
        widths=[1.35, 1],
        heights=[1.1, 1.2],
        size=(940, 470),
        tries=TRIES,
    )
