"""One network for everybody: each person's arrow from the encoder's answer to the best Gaussian of their own.

With theta held, every person has one best Gaussian q_i* = N(m_i, V_i), found by a search of their own (`Variational`).
An encoder N(mean(y_i), C C') answers for all of them at once, and how far it is from each is

    KL(q_i || q_i*) = 1/2 (tr(V^-1 C C') + (mean - m)' V^-1 (mean - m) - K + log|V| - log|C C'|),

which training takes down. The plane is that of the two directions of the random effects of which the data tell most.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

import mefit as mf
from mefit.curves.encoding import AnyEncoder
from mefit.fitting.result import Fit
from mefit.plots import observed, time_grid
from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Scene, Span
from workshop.explorers.stage import Stage

_CIRCLE = np.linspace(0.0, 2 * np.pi, 73)
_SDS = 2.0  # of an ellipse
_WATCHED = 12  # people whose data can be shown
_REACH = 3.2
_LEAST = 1e-3


@dataclasses.dataclass(frozen=True)
class Answers:
    """Of S stages of training and N people: `mean` (S, N, 2) and `covariance` (S, N, 2, 2) of q in the plane,
    `distance` (S, N) from the own best Gaussian, whose `own_mean` (N, 2) and `own_covariance` (N, 2, 2) are in the
    plane too; the curves (S, 12, m) and (12, m) at the means, along `time` (m,); and what was `measured` of the 12."""

    steps: tuple[int, ...]
    mean: np.ndarray
    covariance: np.ndarray
    distance: np.ndarray
    own_mean: np.ndarray
    own_covariance: np.ndarray
    time: np.ndarray
    curves: np.ndarray
    own_curves: np.ndarray
    measured: tuple[tuple[np.ndarray, np.ndarray], ...]
    labels: tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Stand:
    """One stage of training and one person's place in the table, from 0."""

    stage: int
    steps: int
    person: int
    name: str
    average: float
    alone: float


def distance(mean: np.ndarray, lower: np.ndarray, own_mean: np.ndarray, own: np.ndarray) -> np.ndarray:
    """KL(N(mean, lower lower') || N(own_mean, own)) of each person."""
    root = np.linalg.cholesky(own)
    spread = np.linalg.solve(root, lower)
    away = np.linalg.solve(root, (mean - own_mean)[..., None])[..., 0]
    logs = [np.log(np.diagonal(one, axis1=-2, axis2=-1)).sum(-1) for one in (root, lower)]
    return 0.5 * ((spread**2).sum((-2, -1)) + (away**2).sum(-1) - mean.shape[-1]) + logs[0] - logs[1]


def prepare(own: Fit, encoders: Mapping[int, AnyEncoder], directions: np.ndarray) -> Answers:
    """What all encoders say of the people of `own`, in the plane of the first two `directions`."""
    people = own.population
    if len(people) < _WATCHED or len(encoders) < 2:
        raise ValueError(f"One network is shown for {_WATCHED} people or more, and at two stages or more.")
    plane = np.asarray(directions)[:2]
    time = time_grid(people, 61)
    watched = people[np.arange(_WATCHED)]
    own_mean = np.asarray(own.eta)
    own_covariance = np.asarray(own.eta_covariance)

    def curves(etas: np.ndarray) -> np.ndarray:
        drawn: Any = mf.predict(own.model, watched, etas[:_WATCHED], time)
        return np.asarray(drawn)

    means, covariances, distances, drawn = [], [], [], []
    for encoder in encoders.values():
        mean, lower = (np.asarray(part) for part in jax.vmap(encoder)(people.subjects))
        means.append(mean @ plane.T)
        covariances.append(plane @ lower @ np.swapaxes(lower, 1, 2) @ plane.T)
        distances.append(distance(mean, lower, own_mean, own_covariance))
        drawn.append(curves(mean))
    return Answers(
        steps=tuple(encoders),
        mean=np.array(means),
        covariance=np.array(covariances),
        distance=np.array(distances),
        own_mean=own_mean @ plane.T,
        own_covariance=plane @ own_covariance @ plane.T,
        time=time,
        curves=np.array(drawn),
        own_curves=curves(own_mean),
        measured=tuple(observed(people, i) for i in range(_WATCHED)),
        labels=(people.time_label, people.y_label),
    )


def compute(answers: Answers, stage: int, person: int) -> Stand:
    """The encoder at a `stage` of its training, and the `person` who is looked at, from 1."""
    if not (0 <= stage < len(answers.steps) and 1 <= person <= _WATCHED):
        raise Refused(f"There are stages 0 to {len(answers.steps) - 1} and people 1 to {_WATCHED}.")
    apart = answers.distance[stage]
    return Stand(stage, answers.steps[stage], person - 1, str(person), float(apart.mean()), float(apart[person - 1]))


def say(found: Stand) -> str:
    if found.steps == 0:
        first = "Untrained, the network gives everybody the same answer: the prior"
    elif found.average > 20:
        first = f"After {found.steps} steps the network has hardly begun to tell people apart"
    elif found.average > 0.2:
        first = f"After {found.steps} steps most answers are on their way"
    else:
        first = f"After {found.steps} steps one network answers nearly as well as a search for each person"
    return (
        f"{first}; on average q is {_about(found.average)} nats from a person's own best Gaussian.\n"
        f"Subject {found.name}: {found.alone:.3g} nats. Average {found.average:.3g}."
    )


def _about(nats: float) -> str:
    return f"{nats:.2g}" if nats < 100 else f"{nats:.0f}"


def scene(answers: Answers, found: Stand) -> Scene:
    time, y = answers.labels
    values = np.concatenate([answers.own_curves.ravel(), *(seen[1] for seen in answers.measured)])
    spare = 0.08 * float(np.ptp(values))
    width = float(np.ptp(answers.time))
    ticks = [(k, str(steps)) for k, steps in enumerate(answers.steps)]
    panels = {
        "plane": Panel(
            Axis(-_REACH, _REACH, "first direction of η"), Axis(-_REACH, _REACH, "second"), "The encoder: who it is"
        ),
        "curve": Panel(
            Axis(float(answers.time[0]) - 0.02 * width, float(answers.time[-1]) + 0.02 * width, time),
            Axis(float(values.min()) - spare, float(values.max()) + spare, y),
            "The decoder: that person's curve",
        ),
        "apart": Panel(
            Axis(-0.3, len(ticks) - 0.7, "steps of training", ticks=ticks),
            Axis(_LEAST, 1.5 * float(answers.distance.max()), "nats", log=True),
            "q to the own best",
            "Variational",
        ),
    }
    return Scene(panels, [*_plane(answers, found), *_curve(answers, found), *_apart(answers, found)])


def _plane(answers: Answers, found: Stand) -> list[Mark]:
    """Arrows of all, and the ellipses of one."""
    here = answers.mean[found.stage]
    there = answers.own_mean
    k = found.person
    return [
        Span("plane", "arrows", "guide", here[:, 0], here[:, 1], there[:, 0], there[:, 1], weight="thin"),
        Dots("plane", "own", "posterior", there[:, 0], there[:, 1], "own best Gaussian", size=5),
        Dots("plane", "answers", "Variational", here[:, 0], here[:, 1], "the encoder's answer", size=6),
        Line("plane", "own ellipse", "posterior", *_ellipse(there[k], answers.own_covariance[k])),
        Line("plane", "ellipse", "Variational", *_ellipse(here[k], answers.covariance[found.stage, k])),
    ]


def _ellipse(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = mean[:, None] + _SDS * np.linalg.cholesky(covariance) @ np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)])
    return points[0], points[1]


def _curve(answers: Answers, found: Stand) -> list[Mark]:
    k = found.person
    return [
        Line("curve", "own", "posterior", answers.time, answers.own_curves[k]),
        Line("curve", "answer", "Variational", answers.time, answers.curves[found.stage, k]),
        Dots("curve", "measured", "data", *answers.measured[k], "measured", size=7),
    ]


def _apart(answers: Answers, found: Stand) -> list[Mark]:
    stages = np.arange(len(answers.steps))
    average = np.maximum(answers.distance.mean(axis=1), _LEAST)
    alone = np.maximum(answers.distance[:, found.person], _LEAST)
    hold = Drag(x="stage", along="average")
    return [
        Line("apart", "alone", "individual", stages, alone, "this person"),
        Line("apart", "average", "Variational", stages, average, "average"),
        Dots("apart", "here", "Variational", found.stage, average[found.stage], drag=hold, size=13),
    ]


def one_network(own: Fit, encoders: Mapping[int, AnyEncoder], directions: np.ndarray) -> Stage:
    """The explorer of lesson 10: an encoder in training, its answer for each person, and the best that each could have.

    **Arguments:**

    - `own`: a fit by `Variational` with all parameters held: each person's own best Gaussian.
    - `encoders`: for each number of steps, rising, the encoder that was trained so long at the same parameters.
    - `directions`: (K, K) of a fit's `amortised`, the plane that is shown first.
    """
    answers = prepare(own, encoders, directions)
    controls: dict[str, Control] = {
        "stage": Slider("Stage of training", 0, len(answers.steps) - 1, 1, 1, play=True),
        "person": Slider("Data of subject", 1, _WATCHED, 1, 1),
    }
    alt = (
        "Left: for each person an arrow from the encoder's answer to the own best Gaussian, with two ellipses for one. "
        "Middle: that person's data and the curves of both. Right: the distance between the two against training."
    )
    return Stage(
        partial(compute, answers),
        partial(scene, answers),
        say,
        controls,
        alt=alt,
        layout=["plane curve apart"],
        widths=[1.1, 1.1, 1.05],
        size=(980, 400),
    )
