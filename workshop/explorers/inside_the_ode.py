"""Inside the differential equation: dials move the learned surface NN(c, R), and a person's response with it."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mefit as mf
from mefit.base.compiling import compiled
from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Heat, Line, Mark, Panel, Rule, Scene, Span
from workshop.explorers.stage import Stage
from workshop.studies import effect_study as study

TIME = np.linspace(0.0, 24.0, 97)
C, R = np.linspace(0.0, 1.2, 41), np.linspace(0.0, 3.5, 36)
LIMIT = 2.0  # of dR/dt, on the surface
REACH = 2.5  # of a dial
_TOPS = (3.5, 7.0, 14.0)  # of the response in the picture
GIVEN = 5.0  # hours from the first dose to the second


class Inside(NamedTuple):
    """Along `TIME` the concentration, this person's response and the typical one; dR/dt on the grid of `R` and `C`."""

    drug: Float[np.ndarray, " n"]
    response: Float[np.ndarray, " n"]
    typical: Float[np.ndarray, " n"]
    surface: Float[np.ndarray, "r c"]
    dials: tuple[float, float, float]
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
    return Inside(drug, response, typical, surface, (dial_1, dial_2, dial_3), float(within))


def say(found: Inside) -> str:
    peak, typical = found.response.max(), found.typical.max()
    above = np.flatnonzero(found.response >= 0.5 * (found.response[0] + peak))  # the peak, if nothing else
    back = TIME[above[-1]]
    returns = f"is half-way back at hour {back:.1f}" if back < TIME[-1] else "is not half-way back after a day"
    known = "" if found.inside == 1 else " Part of the path lies where the study has seen nobody."
    return (
        f"R rises to {peak:.2f} (typical: {typical:.2f}) and {returns}.{known}\nR begins at {found.response[0]:.2f}. "
        f"{found.inside:.0%} of the path lies below the highest c and the highest R that the study has seen."
    )


def scene(found: Inside) -> Scene:
    highest = max(float(found.response.max()), float(found.typical.max()))
    top = next((level for level in _TOPS if level > highest), 1.05 * highest)
    panels = {
        "response": Panel(Axis(0, 24, "time (h)", ticks=range(0, 25, 6)), Axis(0, top, "response R")),
        "surface": Panel(Axis(C[0], C[-1], "concentration c (mg/L)"), Axis(R[0], R[-1], "R"), "dR/dt, learned"),
        "dials": Panel(
            Axis(-REACH, REACH, "SDs from the typical person", ticks=range(-2, 3)),
            Axis(3.6, 0.4, ticks=[(k, f"dial {k}") for k in (1, 2, 3)]),
            "Drag the dials",
        ),
    }
    corners = (float(C[0]), float(C[-1])), (float(R[0]), float(R[-1]))
    share = found.surface / LIMIT
    seen_c, seen_r = seen()[0].T
    marks: list[Mark] = [
        Line("response", "typical", "population", TIME, found.typical, "typical person"),
        Line("response", "mine", "individual", TIME, found.response, "these dials", weight="strong", ghost=True),
        Heat("surface", "rises", "second", *corners, np.clip(share, 0, 1), "R rises"),
        Heat("surface", "falls", "third", *corners, np.clip(-share, 0, 1), "R falls"),
        Dots("surface", "seen", "data", seen_c, seen_r, "seen by the study", size=4),
        Line("surface", "rest", "guide", C, _zero(found.surface), "R at rest", weight="strong", ghost=True),
        Line("surface", "path", "individual", found.drug, found.response, weight="strong"),
        Rule("dials", "typical", "population", "x", 0.0, weight="thin"),
    ]
    for k, value in enumerate(found.dials, 1):
        row = float(k)
        marks += [
            Span("dials", f"from zero {k}", "individual", 0.0, row, value, row),
            Dots("dials", f"dial {k}", "individual", value, row, drag=Drag(x=f"dial_{k}"), size=13),
        ]
    return Scene(panels, marks)


def _zero(surface: Float[np.ndarray, "r c"]) -> Float[np.ndarray, " c"]:
    """For every c the lowest R at which dR/dt turns from rising to falling; NaN where it does not."""
    turns = (surface[:-1] > 0) & (surface[1:] <= 0)
    row = turns.argmax(0)
    above, below = (np.take_along_axis(surface, at[None], 0)[0] for at in (row, row + 1))
    with np.errstate(all="ignore"):
        level = R[row] + (R[1] - R[0]) * above / (above - below)
    return np.where(turns.any(0), level, np.nan)


def inside_the_ode(model: Any) -> Stage:
    """The explorer of lesson 09 for a fitted deep NLME `model`: three dials and a dose."""
    controls: dict[str, Control] = {
        "dial_1": Slider("Dial 1", -REACH, REACH, 0.0, 0.1, unit="SD"),
        "dial_2": Slider("Dial 2", -REACH, REACH, 0.0, 0.1, unit="SD"),
        "dial_3": Slider("Dial 3", -REACH, REACH, 0.0, 0.1, unit="SD"),
        "dose": Slider("Two doses of", 0.1, 10.0, 1.0, unit="mg", log=True),
    }
    alt = (
        "Left: response over a day of a person with these dials and of the typical one. Middle: the learned surface of "
        "dR/dt over c and R, the path through it, where nothing changes, and the states that data have seen. Right: "
        "the three dials, to drag."
    )
    return Stage(
        functools.partial(compute, model),
        scene,
        say,
        controls,
        alt=alt,
        layout=["response surface dials"],
        widths=[1, 1.1, 0.8],
        size=(940, 380),
        tries=[
            ("dial 2 down", {"dial_2": -1.5}),
            ("dial 3 up", {"dial_3": 1.5}),
            ("ten times the dose", {"dose": 10.0}),
        ],
    )
