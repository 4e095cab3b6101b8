"""A virtual trial: arms, doses, a clinic, a target; the outcomes of new people, and what a trial of that size says."""

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
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider
from workshop.studies import effect_study as study

MOST = 400  # people an arm
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
    """The same shares among `MOST` people an arm."""
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


def compute(
    model: Any, effects: Any, dose: float, interval: int, people_an_arm: int, target: float, clinic: str, seed: int
) -> Trial:
    """A trial over three days: nothing, `dose` mg every `interval` h, and twice that.

    `model` is the mechanism (`study.Known`), `effects` a second stage: its network of covariates and what it leaves."""
    if not (dose > 0 and interval == int(interval) > 0 and 1 <= people_an_arm <= MOST):
        raise Refused(f"A trial needs a positive dose and interval, and from 1 to {MOST} people an arm.")
    count = int(min(_MOST_DOSES, np.ceil(72 / interval)))
    places = 6 * -(-count // 6)  # a dose costs time, and every number of them a program: there are three
    given = np.full(places, 1e3)
    given[:count] = interval * np.arange(count)
    amounts = np.outer([0.0, dose, 2 * dose], np.arange(places) < count)
    x, z = people(clinic, int(seed))
    curves = np.asarray(_curves(model, effects, x, z, given, amounts))
    outcome = curves[..., LAST_DAY].mean(-1)
    bands = np.percentile(curves, [5, 50, 95], axis=1).swapaxes(0, 1)
    chosen = outcome[:, :people_an_arm]
    return Trial(chosen, bands, target, (chosen > target).mean(1), (outcome > target).mean(1), count)


def say(found: Trial) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(ARMS, found.reached, strict=True))
    low, high = found.reached[1:]
    n = found.outcomes.shape[1]
    apart, error = high - low, np.sqrt((low * (1 - low) + high * (1 - high)) / n)
    return (
        f"{n} people an arm, {found.doses} doses. The target is reached by: {shares}. Twice the dose gains "
        f"{100 * apart:.0f} points, and another trial of this size would differ by ±{100 * error:.0f}."
    )


def paint(picture: style.Picture, found: Trial) -> Callable[[Trial], None]:
    left = picture.add_axes((0.075, 0.15, 0.45, 0.74), xlim=(0, 72), ylim=(0.8, 5.6))
    right = picture.add_axes((0.6, 0.15, 0.39, 0.74), xlim=(0.8, 4.2), ylim=(-0.6, 2.75))
    left.set(xlabel="time (h)", ylabel="response, times its rest", xticks=range(0, 73, 12))
    right.set(
        xlabel="mean response on day 3, times its rest", yticks=[0, 1, 2], yticklabels=("placebo", "dose", "double")
    )
    right.tick_params(axis="y", labelrotation=90)
    for label in right.get_yticklabels():
        label.set_verticalalignment("center")
    left.axvspan(48, 72, color="#EEEEEE", linewidth=0, zorder=0.5)
    parts = []
    for arm, meaning in enumerate(("prior", "individual", "marginal")):
        band = left.fill_between(TIME, 0 * TIME, 0 * TIME, **style.AREA[meaning])
        (line,) = left.plot([], [], **style.LINE[meaning] | {"linewidth": 2.4}, label=ARMS[arm])
        (dots,) = right.plot([], [], "o", color=style.COLOUR[meaning], markersize=3.5, alpha=0.5)
        text = right.text(4.15, arm + 0.34, "", ha="right", size=12, weight="bold", zorder=5)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # the target may pass behind it
        parts.append((band, line, dots, text))
    (target,) = right.plot([], [], color="#111111", linewidth=1.6, linestyle="--")
    left.legend(loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=3, columnspacing=1.2)
    heights = np.random.default_rng(0).uniform(-0.3, 0.22, MOST)

    def update(found: Trial) -> None:
        for arm, (band, line, dots, text) in enumerate(parts):
            band.set_data(TIME, found.curves[arm, 0], found.curves[arm, 2])
            line.set_data(TIME, found.curves[arm, 1])
            dots.set_data(np.clip(found.outcomes[arm], 0.82, 4.18), arm + heights[: found.outcomes.shape[1]])
            text.set_text(f"{found.reached[arm]:.0%} reach it")
        target.set_data([found.target] * 2, [-0.6, 2.75])

    update(found)
    return update


def virtual_trial(model: Any, effects: Any) -> Explorer:
    """The explorer of lesson 09: a trial in the people of a fitted mechanism, whose covariates a network reads."""
    controls: dict[str, Control] = {
        "dose": Slider("Dose", 0.05, 2.0, 0.4, 0.05, unit="mg, and twice that"),
        "interval": Slider("One every", 4, 24, 12, 2, unit="h, for three days"),
        "people_an_arm": Slider("People an arm", 10, MOST, 100, 10),
        "target": Slider("Target", 1.1, 3.5, 2.0, 0.1, unit="times the rest, on day 3"),
        "seed": Slider("Another trial", 1, 20, 1, 1, unit="its number"),
        "clinic": Choice("Clinic", CLINICS, CLINICS[0]),
    }
    alt = (
        "Left: response over three days in three arms, medians and nine people in ten. Right: every person's outcome "
        "by arm, the target, and the share that reaches it."
    )
    found = functools.partial(compute, model, effects)
    return Explorer(found, paint, say, controls, alt=alt, width=900, height=420)
