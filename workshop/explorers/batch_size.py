"""The batch size of a loss, and whether patients differ: a mean of squares beside a sum of divergences.

The loss of `workshop.studies.wrong_autoencoder` is minus a bound whose noise has the variance v = beta B T / 2, for
batches of B people at T times. A linear decoder keeps dimension k of the data while its eigenvalue l_k is above v; it
then says 1/2 log(l_k / v) nats, and draws the share 1 - v / l_k of what it was shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies import wrong_autoencoder as study
from workshop.studies.collapse import elbow

SUM, MEAN = KINDS = ("summed over the batch, as listed", "averaged over the batch")
LEAST, MOST = 2, 40
TIMES = np.linspace(0.5, 24.0, 12)
_PER_PERSON = study.implied_variance(1, TIMES.size)  # of the noise
_BATCHES = np.arange(LEAST, MOST + 1)
_SHOWN = 4  # dimensions
_PEOPLE = 8
_SMALLEST = 0.05  # eigenvalue in sight


@dataclass(frozen=True)
class Prepared:
    """The data's `eigenvalues` (12,), largest first, and `axes` (12, 12) in columns; eight people `y` (8, 12); and of
    trained networks, by the size of their batches, the KL of each dimension."""

    eigenvalues: np.ndarray
    axes: np.ndarray
    y: np.ndarray
    trained: Mapping[int, np.ndarray]


def prepare(trained: Mapping[int, study.Trained]) -> Prepared:
    """The spectrum of a large sample, eight people of it, and what networks ended at."""
    data = study.simulate(20_000, seed=9, times=TIMES)
    values, axes = np.linalg.eigh(np.cov(data.y, rowvar=False))
    ends = {batch: found.divergence for batch, found in trained.items()}
    return Prepared(values[::-1], axes[:, ::-1], np.asarray(data.y[:_PEOPLE]), ends)


@dataclass(frozen=True)
class Squeezed:
    """At one size of batch: the noise `variance` that the loss implies, the `nats` (4,) of each dimension, and the
    `curves` (8, 12) that a linear decoder draws; over all sizes `along` (4, 39)."""

    batch: int
    kind: str
    variance: float
    nats: np.ndarray
    curves: np.ndarray
    along: np.ndarray
    r2: float
    threshold: int


def variance(batch: float, kind: str) -> float:
    """The noise that the loss takes for granted; averaged over people it does not hang on their number."""
    return _PER_PERSON * (batch if kind == SUM else 1.0)


def compute(prepared: Prepared, batch: int, kind: str = SUM) -> Squeezed:
    """What is left of the patients' differences with batches of this size."""
    if not LEAST <= batch <= MOST:
        raise Refused(f"Batches of {LEAST} to {MOST} people are looked at here.")
    v = variance(batch, kind)
    values = prepared.eigenvalues
    kept = np.maximum(0.0, 1.0 - v / values)
    along = np.array([elbow(values[:_SHOWN], np.sqrt(variance(float(b), kind))) for b in _BATCHES]).T
    return Squeezed(
        batch=batch,
        kind=kind,
        variance=v,
        nats=elbow(values[:_SHOWN], np.sqrt(v)),
        curves=(prepared.y @ prepared.axes * kept) @ prepared.axes.T,
        along=along,
        r2=float(np.sum(values * (1.0 - (1.0 - kept) ** 2)) / values.sum()),
        threshold=int(np.floor(values[0] / _PER_PERSON)),
    )


def say(found: Squeezed) -> str:
    awake = int(np.sum(found.nats > 0))
    if awake == 0:
        first = f"With batches of {found.batch} all patients get the same curve"
    else:
        dimensions = "1 dimension is" if awake == 1 else f"{awake} dimensions are"
        first = f"With batches of {found.batch}, {dimensions} awake, and {found.r2:.0%} of what differs is drawn"
    told = ", ".join(f"{nats:.2f}" for nats in found.nats)
    return (
        f"{first}.\nThe loss takes a noise of variance {found.variance:.2f} for granted. By dimension: {told} nats. "
        f"Summed over the batch, everything sleeps from {found.threshold + 1} people on."
    )


def scene(prepared: Prepared, found: Squeezed) -> Scene:
    hours = Axis(0.0, 24.5, "time (h)", ticks=(0, 6, 12, 18, 24))
    panels = {
        "spectrum": Panel(
            Axis(0.5, _SHOWN + 0.5, "dimension of the data", ticks=(1, 2, 3, 4)),
            Axis(_SMALLEST, 40.0, "variance", log=True, ticks=(0.1, 1, 10)),
            "Drag the noise",
        ),
        "nats": Panel(
            Axis(LEAST - 1, MOST + 1, "people in a batch", ticks=(2, 8, 14, 20, 32, 40)),
            Axis(-0.08, 2.0, "nats"),
            "What is said of a patient",
        ),
        "curves": Panel(hours, Axis(-3.2, 3.2, "log conc., standardised"), "What is drawn of eight patients"),
    }
    ranks = np.arange(1, _SHOWN + 1)
    values = prepared.eigenvalues[:_SHOWN]
    awake = values > found.variance
    noise = Drag(y="batch", scale_y=_PER_PERSON) if found.kind == SUM else ()
    marks: list[Mark] = [
        Dots("spectrum", "asleep", "guide", ranks[~awake], values[~awake], "asleep", size=11),
        Dots("spectrum", "awake", "population", ranks[awake], values[awake], "awake", size=13),
        Rule("spectrum", "noise", "joint", "y", found.variance, "noise of the loss", noise),
        Rule("nats", "batch", "guide", "x", found.batch, drag=Drag(x="batch")),
        Line("nats", "theory", "population", _BATCHES, found.along, "linear theory"),
        *_networks(prepared, found),
        Line("curves", "shown", "data", TIMES, prepared.y, weight="thin"),
        Line("curves", "drawn", "joint", TIMES, found.curves, "drawn", ghost=True),
    ]
    if not awake.any():
        marks.append(Text("curves", "same", "joint", 14.0, 2.4, "eight times the same", "middle"))
    return Scene(panels, marks)


def _networks(prepared: Prepared, found: Squeezed) -> list[Mark]:
    """Networks trained by the loss as listed, beside its theory."""
    if found.kind != SUM or not prepared.trained:
        return []
    batches = np.array(sorted(prepared.trained))
    largest = np.array([np.max(prepared.trained[batch]) for batch in batches])
    return [Dots("nats", "trained", "data", batches, largest, "trained, largest", size=10)]


def batch_size(trained: Mapping[int, study.Trained]) -> Stage:
    """The explorer of lesson 11: batches grow, the noise that a loss implies grows with them, and patients become one.

    **Arguments:** `trained`, networks of `wrong_autoencoder.train` at 12 times, by the size of their batches.
    """
    prepared = prepare(trained)
    controls: dict[str, Control] = {
        "batch": Slider("People in a batch", LEAST, MOST, 4, 1, play=True),
        "kind": Choice("The divergence is", KINDS, SUM),
    }
    alt = (
        "Left: the variances of the data's four largest dimensions, and the noise that the loss implies. Below them, "
        "the nats of each dimension against the batch size. Right: eight patients' curves, and what is drawn of them."
    )
    tries: Sequence[Move] = [
        ("as in the listing", {"batch": 32, "kind": SUM}),
        ("the last that is told", {"batch": 14, "kind": SUM}),
        ("average both", {"batch": 32, "kind": MEAN}),
    ]
    return Stage(
        partial(compute, prepared),
        partial(scene, prepared),
        say,
        controls,
        alt=alt,
        layout=["spectrum curves", "nats curves"],
        widths=[1, 1.1],
        size=(900, 480),
        tries=tries,
    )
