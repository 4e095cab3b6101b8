"""Inside the differential equation: dials move the learned surface NN(c, R), and a person's response with it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mefit as mf
from mefit import style
from mefit.base.compiling import compiled
from workshop.explorers.panel import Control, Explorer, Refused, Slider
from workshop.studies import effect_study as study

TIME = np.linspace(0.0, 24.0, 97)
C, R = np.linspace(0.0, 1.2, 41), np.linspace(0.0, 3.5, 36)
LIMIT = 2.0  # of dR/dt, on the surface
GIVEN = 5.0  # hours from the first dose to the second


class Inside(NamedTuple):
    """Along `TIME` the concentration, this person's response and the typical one; dR/dt on the grid of `R` and `C`."""

    drug: Float[np.ndarray, " n"]
    response: Float[np.ndarray, " n"]
    typical: Float[np.ndarray, " n"]
    surface: Float[np.ndarray, "r c"]
    inside: float
    """The share of the path on which c and R are no higher than the highest that the study has seen."""


@compiled
def _inside(model: Any, dials: Array, dose: Array) -> tuple[Array, ...]:
    times = jnp.asarray(TIME)
    doses = mf.Doses(jnp.array([0.0, GIVEN]), dose * jnp.ones(2), jnp.zeros(2), jnp.ones(2, int))
    subject = mf.Subject(times, 0 * times, times >= 0, {}, doses)

    def one(dials: Array) -> tuple[Array, Array]:
        found = model.observations(jnp.concatenate([jnp.zeros(2), dials]), subject)
        return found["drug"].mean, found["response"].mean

    drug, response = one(dials)
    surface = jax.vmap(lambda r: jax.vmap(lambda c: model.net(c, r, dials))(jnp.asarray(C)))(jnp.asarray(R))
    return drug, response, one(jnp.zeros(3))[1], surface


@functools.cache
def seen() -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " 2"]]:
    """The states (c, R) that the ten people of the study went through, by the truth; and the largest of each."""
    ten, eta = study.first_study(10, seed=1)
    true = mf.predict(study.truth(), ten, eta)
    states = np.stack([np.ravel(true["drug"]), np.ravel(true["response"])], 1)
    return states, states.max(0)


def compute(model: Any, dial_1: float, dial_2: float, dial_3: float, dose: float) -> Inside:
    """The fitted network's person with these dials, after two doses of `dose` mg, five hours apart."""
    if not dose > 0:
        raise Refused("A dose is a positive number of mg.")
    dials = np.array([dial_1, dial_2, dial_3], float)
    drug, response, typical, surface = (np.asarray(x) for x in _inside(model, dials, np.asarray(dose, float)))
    most = seen()[1]
    within = np.mean((drug <= most[0]) & (response <= most[1]))
    return Inside(drug, response, typical, surface, float(within))


def say(found: Inside) -> str:
    peak, typical = found.response.max(), found.typical.max()
    above = np.flatnonzero(found.response >= 0.5 * (found.response[0] + peak))  # the peak, if nothing else
    back = TIME[above[-1]]
    returns = f"is half-way back at hour {back:.1f}" if back < TIME[-1] else "is not half-way back after a day"
    return (
        f"R begins at {found.response[0]:.2f}, rises to {peak:.2f} (typical: {typical:.2f}) and {returns}. "
        f"{found.inside:.0%} of the path lies below the highest c and the highest R that the study has seen."
    )


def paint(picture: style.Picture, found: Inside) -> Callable[[Inside], None]:
    left = picture.add_axes((0.075, 0.15, 0.4, 0.74), xlim=(0, 24), ylim=(0, 3.5))
    right = picture.add_axes((0.575, 0.15, 0.4, 0.74), xlim=(C[0], C[-1]), ylim=(R[0], R[-1]))
    left.set(xlabel="time (h)", ylabel="response R", xticks=range(0, 25, 6))
    right.set(xlabel="concentration c (mg/L)", ylabel="R", title="dR/dt: red rises, blue falls")
    (typical,) = left.plot(TIME, found.typical, **style.LINE["population"], label="typical person")
    (mine,) = left.plot(TIME, found.response, **style.LINE["individual"] | {"linewidth": 3}, label="these dials")
    left.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, columnspacing=1.4)
    extent = (C[0], C[-1], R[0], R[-1])
    image = right.imshow(
        found.surface, extent=extent, origin="lower", aspect="auto", vmin=-LIMIT, vmax=LIMIT, cmap="RdBu_r"
    )
    right.plot(*seen()[0].T, **style.POINT["data"] | {"markersize": 3.5, "markeredgewidth": 0})
    (path,) = right.plot([], [], **style.LINE["individual"] | {"linewidth": 3, "color": "#0B5D8F"})
    (rest,) = right.plot([], [], color="#111111", linewidth=1.6, linestyle="--")

    def update(found: Inside) -> None:
        typical.set_ydata(found.typical)
        mine.set_ydata(found.response)
        left.set_ylim(0, max(R[-1], 1.05 * found.response.max(), 1.05 * found.typical.max()))
        image.set_data(found.surface)
        path.set_data(found.drug, found.response)
        rest.set_data(C, _zero(found.surface))

    update(found)
    return update


def _zero(surface: Float[np.ndarray, "r c"]) -> Float[np.ndarray, " c"]:
    """For every c the lowest R at which dR/dt turns from rising to falling; NaN where it does not."""
    turns = (surface[:-1] > 0) & (surface[1:] <= 0)
    row = turns.argmax(0)
    above, below = (np.take_along_axis(surface, at[None], 0)[0] for at in (row, row + 1))
    with np.errstate(all="ignore"):
        level = R[row] + (R[1] - R[0]) * above / (above - below)
    return np.where(turns.any(0), level, np.nan)


def inside_the_ode(model: Any) -> Explorer:
    """The explorer of lesson 09 for a fitted deep NLME `model`: three dials and a dose."""
    controls: dict[str, Control] = {
        "dial_1": Slider("Dial 1", -2.5, 2.5, 0.0, 0.1, unit="SD"),
        "dial_2": Slider("Dial 2", -2.5, 2.5, 0.0, 0.1, unit="SD"),
        "dial_3": Slider("Dial 3", -2.5, 2.5, 0.0, 0.1, unit="SD"),
        "dose": Slider("Two doses of", 0.1, 10.0, 1.0, unit="mg", log=True),
    }
    alt = (
        "Left: response over a day of a person with these dials and of the typical one. Right: the learned surface of "
        "dR/dt over c and R, the path through it, where nothing changes, and the states that data have seen."
    )
    return Explorer(functools.partial(compute, model), paint, say, controls, alt=alt, width=900, height=400)
