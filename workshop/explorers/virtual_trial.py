"""A virtual trial: arms, doses, a clinic, a target; the outcomes of new people, and what a trial of that size says."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mefit as mf
from mefit.base.compiling import compiled
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies import effect_study as study

MOST = 400  # people per arm
TIME = np.arange(0.0, 73.0, 1.0)
LAST_DAY = TIME >= 48.0
CLINICS = ("as in the study", "weaker responders", "slower absorbers")
ARMS = ("placebo", "the dose", "twice the dose")
_MOST_DOSES = 18


class Trial(NamedTuple):
    """For each arm and person the outcome: the mean of R over the third day, over R at rest."""

    outcomes: Float[np.ndarray, "3 n"]
    curves: Float[np.ndarray, "3 3 t"]
    """For each arm the 5th, 50th and 95th percentile of R over R at rest along `TIME`, of `MOST` people."""
    target: float
    reached: Float[np.ndarray, " 3"]
    expected: Float[np.ndarray, " 3"]
    """The same shares among `MOST` people per arm."""
    dose: float
    interval: int
    doses: int


@functools.lru_cache(maxsize=8)
def people(clinic: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariates (3, MOST, 7) of the people of three arms, and standard normal draws (3, MOST, 5) for their effects."""
    rng = np.random.default_rng(seed)
    x = np.stack([study.draw_covariates(MOST, rng) for _ in ARMS])
    if clinic == CLINICS[1]:
        x[..., 1] *= 0.5  # c1
    if clinic == CLINICS[2]:
        x[..., 4] = -np.abs(x[..., 4]) * np.sign(x[..., 3])  # c4: the product with c3 is never positive
    return x, rng.normal(size=(len(ARMS), MOST, 5))


@compiled
def _curves(model: Any, effects: Any, x: Array, z: Array, given: Array, amounts: Array) -> Array:
    times = jnp.asarray(TIME)
    spread = jnp.linalg.cholesky(effects.omega)

    def one(x: Array, z: Array, amount: Array) -> Array:
        doses = mf.Doses(given, amount, jnp.zeros_like(given), jnp.ones(given.shape, int))
        covariates = dict(zip(study.COVARIATES, x, strict=True))
        subject = mf.Subject(times, 0 * times, times >= 0, covariates, doses)
        eta = effects.network(x[1:]) + spread @ z
        return model.observations(eta, subject)["response"].mean / x[0]

    return jax.vmap(jax.vmap(one, (0, 0, None)))(x, z, amounts)


def responses(model: Any, effects: Any, dose: float, interval: int, clinic: str, seed: int) -> np.ndarray:
    """R over R at rest of everyone (3, MOST, t): nothing given, `dose` mg every `interval` h, and twice that.

    `model` is the mechanism (`study.Known`), `effects` a second stage: its network of covariates and what it leaves."""
    if not (dose > 0 and interval == int(interval) > 0):
        raise Refused("A trial needs a positive dose and an interval of whole hours.")
    count = _count(interval)
    places = 6 * -(-count // 6)  # a dose costs time, and every number of them a program: there are three
    given = np.full(places, 1e3)
    given[:count] = interval * np.arange(count)
    amounts = np.outer([0.0, dose, 2 * dose], np.arange(places) < count)
    x, z = people(clinic, int(seed))
    return np.asarray(_curves(model, effects, x, z, given, amounts))


def _count(interval: int) -> int:
    """How many doses three days hold."""
    return int(min(_MOST_DOSES, np.ceil(72 / interval)))


def read(curves: np.ndarray, dose: float, interval: int, people_an_arm: int, target: float) -> Trial:
    """What a trial of the first `people_an_arm` of each arm finds."""
    if not 1 <= people_an_arm <= MOST:
        raise Refused(f"A trial needs from 1 to {MOST} people per arm.")
    outcome = curves[..., LAST_DAY].mean(-1)
    bands = np.percentile(curves, [5, 50, 95], axis=1).swapaxes(0, 1)
    chosen = outcome[:, :people_an_arm]
    reached, expected = (chosen > target).mean(1), (outcome > target).mean(1)
    return Trial(chosen, bands, target, reached, expected, dose, int(interval), _count(interval))


def compute(
    model: Any, effects: Any, dose: float, interval: int, people_an_arm: int, target: float, clinic: str, seed: int
) -> Trial:
    """A trial over three days; see `responses` and `read`."""
    return read(responses(model, effects, dose, interval, clinic, seed), dose, interval, people_an_arm, target)


def say(found: Trial) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(ARMS, found.reached, strict=True))
    low, high = found.reached[1:]
    n = found.outcomes.shape[1]
    apart, error = high - low, np.sqrt((low * (1 - low) + high * (1 - high)) / n)
    verdict = "a gain that this trial shows" if apart > 2 * error else "too little for a trial of this size to show"
    text = (
        f"Twice the dose brings {100 * abs(apart):.0f} in a hundred {'more' if apart >= 0 else 'fewer'} to the target, "
        f"give or take {100 * error:.0f}: {verdict}."
    )
    if high == low == 0:
        text = "Nobody reaches the target, neither with the dose nor with twice the dose."
    return f"{text}\n{n} people per arm, {found.doses} doses. The target is reached by: {shares}."


_HEIGHTS = np.random.default_rng(0).uniform(-0.3, 0.3, MOST).round(2)
_RANGE = (0.8, 4.2)  # of the outcomes in the picture; what is beyond stands at its edge


def scene(found: Trial) -> Scene:
    given = [f"{k * found.dose:g} mg every {found.interval:g} h" for k in (1, 2)]
    outcome = Axis(*_RANGE, "mean response on day 3, times its rest", ticks=(1, 2, 3, 4))
    panels = {"outcomes": Panel(outcome, Axis(2.5, -0.5, ticks=()), "Everyone: drag the target")}
    marks: list[Mark] = []
    for arm, title in enumerate(("placebo: the response, times its rest", *given)):
        marks += [*_course(found, arm), *_outcomes(found, arm)]
        time = Axis(0, 72, "time (h)" if arm == 2 else "", ticks=range(0, 73, 12))
        panels[f"arm{arm}"] = Panel(time, Axis(0.5, 5.5, "× rest", ticks=(1, 3, 5)), title)
    marks.append(Rule("outcomes", "target", "prior", "x", found.target, label="target", drag=Drag("target")))
    return Scene(panels, marks)


def _course(found: Trial, arm: int) -> list[Mark]:
    """The responses of an arm over three days, the doses below them, the day that counts behind them."""
    name, first = f"arm{arm}", arm == 0
    low, middle, high = found.curves[arm]
    given = found.interval * np.arange(found.doses)
    drag = [Drag("interval", index=1)] if arm else []
    marks: list[Mark] = [
        Band(name, "day 3", "guide", [48, 72], [0.5, 0.5], [5.5, 5.5], "the day that counts" if first else ""),
        Band(name, "nine in ten", "individual", TIME, low, high, "nine people in ten" if first else ""),
        Line(name, "median", "population", TIME, middle, "median" if first else "", ghost=True),
    ]
    if arm:
        label = "doses" if arm == 1 else ""
        marks.append(Dots(name, "doses", "data", given, 0 * given + 0.75, label, drag, size=8, shape="^"))
    return marks


def _outcomes(found: Trial, arm: int) -> list[Mark]:
    """One dot for each person of an arm, stronger where the target is reached, and how many do."""
    outcome = np.clip(found.outcomes[arm], *_RANGE).round(3)
    height = arm + _HEIGHTS[: outcome.size]
    there = found.outcomes[arm] > found.target
    return [
        Dots("outcomes", f"below {arm}", "guide", outcome[~there], height[~there], size=5),
        Dots("outcomes", f"above {arm}", "individual", outcome[there], height[there], size=6, shape="o"),
        Text(
            "outcomes", f"share {arm}", "population", _RANGE[1], arm - 0.33, f"{found.reached[arm]:.0%} reach it", "end"
        ),
    ]


def virtual_trial(model: Any, effects: Any) -> Stage:
    """The explorer of lesson 09: a trial in the people of a fitted mechanism, whose covariates a network reads."""
    controls: dict[str, Control] = {
        "dose": Slider("Dose", 0.05, 2.0, 0.4, 0.05, unit="mg, and twice that"),
        "interval": Slider("One every", 4, 24, 12, 2, unit="h, for three days"),
        "people_an_arm": Slider("People per arm", 10, MOST, 100, 10),
        "target": Slider("Target", 1.1, 3.5, 2.0, 0.1, unit="times the rest, on day 3"),
        "seed": Slider("Another trial", 1, 20, 1, 1, unit="its number", play=True),
        "clinic": Choice("Clinic", CLINICS, CLINICS[0]),
    }
    alt = (
        "Left: response over three days in three arms, medians and nine people in ten, with the doses. Right: every "
        "person's outcome by arm, the target, to drag, and the share that reaches it."
    )
    tries: Sequence[Move] = [
        ("a small trial", {"people_an_arm": 20}),
        ("a large one", {"people_an_arm": MOST}),
        ("once a day", {"dose": 0.8, "interval": 24}),
        ("four times a day", {"dose": 0.2, "interval": 6}),
    ]

    @functools.lru_cache(maxsize=32)
    def kept(dose: float, interval: int, clinic: str, seed: int) -> np.ndarray:
        return responses(model, effects, dose, interval, clinic, seed)

    def moved(dose: float, interval: int, people_an_arm: int, target: float, clinic: str, seed: int) -> Trial:
        """As `compute`; who moves the target, or the size of the trial, need not wait for the people again."""
        return read(kept(dose, interval, clinic, seed), dose, interval, people_an_arm, target)

    return Stage(
        moved,
        scene,
        say,
        controls,
        alt=alt,
        layout=["arm0 outcomes", "arm1 outcomes", "arm2 outcomes"],
        widths=[1.1, 1],
        heights=[1, 1, 1.25],
        size=(900, 480),
        tries=tries,
    )
