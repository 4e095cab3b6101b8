"""Which part of the curve tells: CL, V and ka changed one by one, and how much each time knows of each.

One compartment, 100 mg by mouth or as a bolus; CL = 3 L/h, V = 30 L and ka = 0.3 /h, each times a factor.

    C(t) = dose ka / (V (ka - ke)) (exp(-ke t) - exp(-ka t)),    ke = CL / V;    or  dose / V exp(-ke t)

The sensitivity of a parameter is d log C(t) / d log parameter: by how many per cent the concentration rises where the
parameter rises by one. It is differentiated exactly by JAX, through the library's own closed form.
By mouth the curve is the difference of two straight lines on the logarithmic axis, and its tail the slower of both:
where absorption is slower than elimination (flip-flop), the tail falls at ka, and tells about ka.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mefit as mf
from mefit.base.compiling import compiled
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage

NAMES = ("CL", "V", "ka")
BASE, DOSE = np.array([3.0, 30.0, 0.3]), 100.0
ORAL, IV = "oral", "iv bolus"
TIME = np.linspace(0.0, 36.0, 181)
TIME[0] = 1e-3  # by mouth the logarithm begins just after the dose
HIGHEST = {ORAL: 5.0, IV: 7.0}  # mg/L, of the picture: what the sliders can reach
REACH = 4.0  # of a sensitivity, in the picture


@compiled
def curve(log_parameters: Float[Array, " 3"], time: Float[Array, " n"], oral: bool) -> tuple[Array, Array]:
    """Concentration (n,) and its sensitivities d log C / d log (CL, V, ka) (n, 3)."""
    subject = mf.Subject(time, jnp.zeros_like(time), jnp.ones_like(time, bool), {}, mf.Doses.of(DOSE))

    def concentration(x: Float[Array, " 3"]) -> tuple[Array, Array]:
        cl, v, ka = jnp.exp(x)
        if oral:
            c = mf.pk.oral_one_compartment(subject, cl=cl, v=v, ka=ka)
        else:
            c = mf.pk.iv_bolus_one_compartment(subject, cl=cl, v=v)
        return jnp.log(c), c

    sensitivity, c = jax.jacfwd(concentration, has_aux=True)(log_parameters)
    return c, sensitivity


@dataclass(frozen=True)
class Curve:
    """One curve over `TIME` with its sensitivities (n, 3) to CL, V, ka, and what is read off it.

    The half-life is that of the tail, log 2 / min(ke, ka)."""

    parameters: np.ndarray
    oral: bool
    concentration: np.ndarray
    sensitivity: np.ndarray
    auc: float
    half_life: float
    peak: float
    peak_time: float

    @property
    def ke(self) -> float:
        """CL / V (1/h)."""
        return float(self.parameters[0] / self.parameters[1])

    @property
    def parts(self) -> np.ndarray:
        """The exponentials (2, n) at the rates CL / V and ka whose difference is the curve; NaN where there are none,
        as where ka = CL / V."""
        _, v, ka = self.parameters
        height = DOSE / v
        if self.oral:
            height = np.nan if np.isclose(ka, self.ke, rtol=1e-3) else height * ka / abs(ka - self.ke)
        return height * np.exp(-np.outer([self.ke, ka if self.oral else np.nan], TIME))

    @property
    def flip_flop(self) -> bool:
        """Whether absorption is slower than elimination."""
        return bool(self.oral and self.parameters[2] < self.ke)


@dataclass(frozen=True)
class Change:
    """The curve as it was, as it is, the factors of CL, V and ka between them, and the `time` of a sample on it."""

    factors: np.ndarray
    before: Curve
    after: Curve
    time: float

    @property
    def sampled(self) -> tuple[float, np.ndarray]:
        """The concentration at the sample, and its sensitivities (3,)."""
        after = self.after
        return (
            float(np.interp(self.time, TIME, after.concentration)),
            np.array([np.interp(self.time, TIME, s) for s in after.sensitivity.T]),
        )


def read(parameters: np.ndarray, oral: bool) -> Curve:
    """The curve of CL, V, ka."""
    x = np.log(parameters)
    c, sensitivity = (np.asarray(a) for a in curve(x, TIME, oral))
    cl, v, ka = parameters
    ke, slow, high, late = cl / v, cl / v, DOSE / v, 0.0
    if oral:
        # log(ka / ke) / (ka - ke), which has a limit where both are the same
        late = 1 / ke if np.isclose(ka, ke, rtol=1e-9) else np.log(ka / ke) / (ka - ke)
        slow, high = min(ka, ke), DOSE / v * np.exp(-ke * late)
    return Curve(parameters, oral, c, sensitivity, DOSE / cl, np.log(2) / slow, high, late)


def compute(cl: float, v: float, ka: float, route: str, time: float = 12.0) -> Change:
    """The curve of a subject whose CL, V and ka are these multiples of the typical ones, sampled at `time` (h)."""
    factors = np.array([cl, v, ka], float)
    if not (factors > 0).all():
        raise Refused(f"Factors of CL, V and ka must be positive, not {cl:g}, {v:g} and {ka:g}.")
    return Change(factors, read(BASE, route == ORAL), read(BASE * factors, route == ORAL), time)


def say(found: Change) -> str:
    sensitivity = found.sampled[1]
    names = NAMES if found.after.oral else NAMES[:2]
    most = int(np.argmax(np.abs(sensitivity)))
    way = "lower" if sensitivity[most] < 0 else "higher"
    text = (
        f"A sample at {found.time:g} h tells most about {names[most]}: "
        f"1% more of it makes the concentration {abs(sensitivity[most]):.1f}% {way}."
    )
    if found.after.flip_flop:
        text += " Absorption is slower than elimination (flip-flop): the tail falls at ka."
    return f"{text}\n{_changes(found)}"


def _changes(found: Change) -> str:
    """What is read off the curve, before and after, and the rates of a flip-flop."""
    before, after = found.before, found.after
    told = [("AUC", "auc", " mg·h/L"), ("half-life", "half_life", " h"), ("Cmax", "peak", " mg/L")]
    told += [("tmax", "peak_time", " h")] if after.oral else []
    parts, same = [], []
    for name, key, unit in told:
        old, new = getattr(before, key), getattr(after, key)
        if np.isclose(old, new, rtol=5e-3):
            same.append(f"{name} {new:.3g}{unit}")
        else:
            parts.append(f"{name} {old:.3g} to {new:.3g}{unit}")
    text = "; ".join(parts) or "Nothing has changed"
    text = text[0].upper() + text[1:]
    text += f". As before: {', '.join(same)}." if same else "."
    if after.flip_flop:
        text += f" Flip-flop: ka = {after.parameters[2]:.2g} /h is below CL/V = {after.ke:.2g} /h."
    return text


def scene(found: Change) -> Scene:
    before, after = found.before, found.after
    hours = Axis(0, 36, "time after the dose (h)", ticks=(0, 6, 12, 18, 24, 30, 36))
    high = HIGHEST[ORAL if after.oral else IV]
    height = found.sampled[0]
    panels = {
        "linear": Panel(hours, Axis(0, high, "concentration (mg/L)", ticks=range(int(high) + 1)), "Drag the sample"),
        "log": Panel(hours, Axis(0.02, 10, "mg/L, log axis", log=True)),
    }
    shown = TIME[::2]
    was, now, parts = (y[..., ::2] for y in (before.concentration, after.concentration, after.parts))
    marks: list[Mark] = [
        Band("linear", "area", "individual", shown, 0 * shown, now, label="AUC"),
        Line("log", "parts", "guide", shown, parts, weight="thin"),
        _rates(after),
    ]
    for panel in ("linear", "log"):
        told = panel == "linear"
        drag = Drag("time", along="changed")
        marks += [
            Line(panel, "typical", "population", shown, was, label="typical" if told else ""),
            Line(
                panel, "changed", "individual", shown, now, label="changed" if told else "", weight="strong", ghost=True
            ),
            Rule(panel, "now", "guide", "x", found.time, weight="thin"),
            Dots(panel, "sample", "data", found.time, height, drag=drag, size=11, label="sample" if told else ""),
        ]
    for j, name in enumerate(NAMES):
        panels[name] = _strip(name, j)
        marks += _sensitivity(found, name, j)
    return Scene(panels, marks)


def _rates(curve: Curve) -> Mark:
    """Words on the straight lines that the curve is made of: above the slow one, and at the end of the quick one.

    A bolus is one line, with nothing to absorb."""
    if not curve.oral:
        return Text("log", "rates", "guide", [1.0], [1.35 * curve.parts[0, 0]], ["falls at CL/V"])
    quick, slow = sorted((curve.ke, float(curve.parameters[2])), reverse=True)
    start = curve.parts[0, 0] if curve.parts[0, 0] < 6 else np.nan  # no room above a higher one
    end = np.log(start / 0.05) / quick + 0.6
    names = {curve.ke: "falls at CL/V", float(curve.parameters[2]): "falls at ka"}
    return Text("log", "rates", "guide", [1.0, end], [1.35 * start, 0.05], [names[slow], names[quick]])


def _strip(name: str, place: int) -> Panel:
    label = "C changes by (%)" if place == 0 else ""
    hours = Axis(0, 36, "time after the dose (h)", ticks=(0, 12, 24, 36))
    return Panel(hours, Axis(-REACH, REACH, label, ticks=(-4, -2, 0, 2, 4)), f"If {name} rises by 1%")


def _sensitivity(found: Change, name: str, place: int) -> list[Mark]:
    shown = TIME[::3]
    was, now = found.before.sensitivity[::3, place], found.after.sensitivity[::3, place]
    here = float(np.clip(found.sampled[1][place], -REACH, REACH))
    hold = Drag("time", along="changed")
    return [
        Rule(name, "zero", "guide", "y", 0.0, weight="thin"),
        Rule(name, "now", "guide", "x", found.time, weight="thin"),
        Band(name, "changed, area", "individual", shown, 0 * shown, now),
        Line(name, "typical", "population", shown, was),
        Line(name, "changed", "individual", shown, now, weight="strong"),
        Dots(name, "sample", "data", found.time, here, size=10, drag=hold),
    ]


def which_part_tells() -> Stage:
    """The explorer of lesson 06: CL, V and ka, each times a factor, and where on the curve it is seen."""
    for route in (ORAL, IV):
        compute(1.0, 1.0, 1.0, route)
    controls: dict[str, Control] = {
        "cl": Slider("CL multiplied by", 0.5, 2.0, 0.5, 0.05),
        "v": Slider("V multiplied by", 0.5, 2.0, 1.0, 0.05),
        "ka": Slider("ka multiplied by", 0.5, 2.0, 1.0, 0.05),
        "time": Slider("Sample at", 0.25, 36.0, 12.0, 0.25, unit="h"),
        "route": Choice("Route", (ORAL, IV), ORAL),
    }
    alt = (
        "Top: a concentration curve before and after its parameters change, on a linear and a logarithmic axis, with a "
        "sample to drag. Below: by how many per cent the curve changes where CL, V and ka rise by 1%, over time."
    )
    as_typical = {"cl": 1.0, "v": 1.0, "ka": 1.0}
    tries: Sequence[Move] = [
        ("halve CL", as_typical | {"cl": 0.5}),
        ("halve V", as_typical | {"v": 0.5}),
        ("halve ka", as_typical | {"ka": 0.5}),
        ("flip-flop", as_typical | {"cl": 2.0, "ka": 0.5}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["linear linear linear log log log", "CL CL V V ka ka"],
        heights=[1.1, 1],
        size=(900, 500),
        tries=tries,
    )
