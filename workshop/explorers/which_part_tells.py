"""Which part of the curve tells: CL, V and ka changed one by one, and how much each time knows of each.

One compartment, 100 mg by mouth or as a bolus; CL = 3 L/h, V = 30 L and ka = 0.3 /h, each times a factor.

    C(t) = dose ka / (V (ka - ke)) (exp(-ke t) - exp(-ka t)),    ke = CL / V;    or  dose / V exp(-ke t)

The sensitivity of a parameter is d log C(t) / d log parameter: by how many per cent the concentration rises where the
parameter rises by one. It is differentiated exactly by JAX, through the library's own closed form.
By mouth the curve is the difference of two straight lines on the logarithmic axis, and its tail the slower of both:
where absorption is slower than elimination (flip-flop), the tail falls at ka, and tells about ka.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.ticker import NullLocator

import mefit as mf
from mefit import style
from mefit.base.compiling import compiled
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

NAMES = ("CL", "V", "ka")
BASE, DOSE = np.array([3.0, 30.0, 0.3]), 100.0
ORAL, IV = "oral", "iv bolus"
TIME = np.linspace(0.0, 36.0, 181)
TIME[0] = 1e-3  # by mouth the logarithm begins just after the dose
_GREY: dict[str, Any] = {"color": "#9A9A9A", "linewidth": 2.0, "zorder": 2}


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
    """The curve as it was, as it is, and the factors of CL, V and ka between them."""

    factors: np.ndarray
    before: Curve
    after: Curve


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


def compute(cl: float, v: float, ka: float, route: str) -> Change:
    """The curve of a subject whose CL, V and ka are these multiples of the typical ones."""
    factors = np.array([cl, v, ka], float)
    if not (factors > 0).all():
        raise Refused(f"Factors of CL, V and ka must be positive, not {cl:g}, {v:g} and {ka:g}.")
    return Change(factors, read(BASE, route == ORAL), read(BASE * factors, route == ORAL))


def say(found: Change) -> str:
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
    text += f". As before: {', '.join(same)}." if same else "."
    if after.flip_flop:
        ka = after.parameters[2]
        text += f" Flip-flop: ka = {ka:.2g} /h is below CL/V = {after.ke:.2g} /h, the tail falls at ka."
    return text


def paint(picture: style.Picture, found: Change) -> Callable[[Change], None]:
    line = style.LINE["population"] | {"linewidth": 2.6}
    linear = picture.add_axes((0.07, 0.54, 0.41, 0.37), xlim=(0, 36), ylabel="concentration (mg/L)")
    log = picture.add_axes((0.575, 0.54, 0.41, 0.37), xlim=(0, 36), ylim=(0.02, 10), yscale="log")
    log.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    log.yaxis.set_minor_locator(NullLocator())
    log.set_ylabel("mg/L, log axis")
    ticks = [0, 6, 12, 18, 24, 30, 36]
    old, new, tails = [], [], []
    for axes in (linear, log):
        axes.set_xticks(ticks)
        old.append(axes.plot([], [], **_GREY, label="typical")[0])
        new.append(axes.plot([], [], **line, label="changed")[0])
    area = linear.fill_between(TIME, 0 * TIME, 0 * TIME, **style.AREA["population"], label="AUC")
    (peak,) = linear.plot([], [], **style.POINT["population"], label="peak", clip_on=False)
    for label, dashes in (("falls at CL/V", (4, 2)), ("falls at ka", (1, 1.5))):
        tails.append(log.plot([], [], color="#111111", linewidth=1.6, linestyle=(0, dashes), label=label, zorder=3)[0])
    linear.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=4, columnspacing=1.2, handlelength=1.4)
    log.legend(handles=tails, loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, columnspacing=1.4)
    strips = []
    for j, name in enumerate(NAMES):
        axes = picture.add_axes((0.07 + 0.3225 * j, 0.1, 0.27, 0.27), xlim=(0, 36))
        axes.set(xticks=[0, 12, 24, 36], xlabel="hours since the dose")
        axes.axhline(0, color="#111111", linewidth=0.8)
        (was,), (now,) = axes.plot([], [], **_GREY), axes.plot([], [], **line)
        fill = axes.fill_between(TIME, 0 * TIME, 0 * TIME, **style.AREA["population"])
        strips.append((was, now, fill))
        axes.set_title(f"what it tells about {name}", size=13)
    picture.axes[2].set_ylabel("% of C per 1%")
    picture.axes[2].yaxis.set_label_coords(-0.19, 0.5)  # where it stays when the axis gets longer

    def update(found: Change) -> None:
        before, after = found.before, found.after
        for was, now in zip(old, new, strict=True):
            was.set_data(TIME, before.concentration)
            now.set_data(TIME, after.concentration)
        area.set_data(TIME, 0 * TIME, after.concentration)
        peak.set_data([after.peak_time], [after.peak])
        highest = max(before.peak, after.peak)
        linear.set_ylim(0, next(top for top in (3, 4, 5, 8, 1e9) if top >= 1.05 * highest))
        for tail, values in zip(tails, after.parts, strict=True):
            tail.set_data(TIME, values)
        steepest = max(np.abs(before.sensitivity).max(), np.abs(after.sensitivity).max())
        reach = next(top for top in (4, 8, 16, 1e9) if top >= steepest)  # the same for the three, to compare them
        for j, (was, now, fill) in enumerate(strips):
            picture.axes[2 + j].set(ylim=(-reach, reach), yticks=[-reach, 0, reach])
            was.set_data(TIME, before.sensitivity[:, j])
            now.set_data(TIME, after.sensitivity[:, j])
            fill.set_data(TIME, 0 * TIME, after.sensitivity[:, j])

    update(found)
    return update


def which_part_tells() -> Explorer:
    """The explorer of lesson 06: CL, V and ka, each times a factor, and where on the curve it is seen."""
    for route in (ORAL, IV):
        compute(1.0, 1.0, 1.0, route)
    controls: dict[str, Control] = {
        "cl": Slider("CL multiplied by", 0.5, 2.0, 0.5, 0.05),
        "v": Slider("V multiplied by", 0.5, 2.0, 1.0, 0.05),
        "ka": Slider("ka multiplied by", 0.5, 2.0, 1.0, 0.05),
        "route": Choice("Route", (ORAL, IV), ORAL),
    }
    alt = (
        "Top: a concentration curve before and after its parameters change, on a linear and a logarithmic axis. "
        "Below: the curve's sensitivity to CL, V and ka over time."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=510)
