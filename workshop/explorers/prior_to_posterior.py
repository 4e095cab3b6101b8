"""From the population to one subject, an observation at a time.

Before anything is measured, a new subject's curve is one of the population's: eta ~ p(eta), band of E[y | eta]. Every
observation multiplies the density of eta by its likelihood,

    p(eta | y_1, ..., y_k)  proportional to  p(eta) p(y_1 | eta) ... p(y_k | eta),

and the band of curves narrows. The densities here are exact to the eye: sums over points that cover the plane of eta
evenly, and then again that part of it where the posterior is; not draws from it and not a normal approximation.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from mefit.base.compiling import compiled
from mefit.data.population import Population
from mefit.fitting.result import Fit
from mefit.model.densities import eta_mean, eta_size, log_conditional, log_random_effects, observation_density
from mefit.model.predict import on_grid
from mefit.plots import observed, time_grid
from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Scene
from workshop.explorers.stage import Move, Stage

LEVELS = (0.05, 0.5, 0.95)
LEFT, SPREAD = "from the left", "spread out"
_POINTS = qmc.Halton(2, scramble=False).random(2500)  # a lattice would show in the bands, as ripples


@dataclasses.dataclass(frozen=True)
class Known:
    """What `count` observations of a subject tell: `band` (3, m) of its curve over `time`, the `prior` one (3, m), the
    measurements used and not yet used, the posterior's SDs of eta (2,), and the average widths of the band after none,
    one, ... `count` observations, as shares of the prior's; `error` is the root mean square distance of its middle from
    the truth, or NaN. `shown` says whether what is not yet known may be seen."""

    name: str
    count: int
    time: np.ndarray
    prior: np.ndarray
    band: np.ndarray
    used: tuple[np.ndarray, np.ndarray]
    left: tuple[np.ndarray, np.ndarray]
    sd: np.ndarray
    widths: np.ndarray
    truth: np.ndarray | None
    error: float
    shown: bool


class Watch:
    """A fit and the subjects to watch, with the compiled functions that the points go through."""

    def __init__(self, fit: Fit, people: Population, subjects: Sequence[int], truth: np.ndarray | None):
        model = fit.model
        if eta_size(model) != 2:
            raise ValueError(f"This explorer takes a fit with two random effects, and this one has {eta_size(model)}.")
        self.people, self.subjects, self.truth = people, tuple(subjects), truth
        self.time = time_grid(people, 81)
        self.some = people[list(self.subjects)]
        self.most = int(np.asarray(self.some.subjects.mask).sum(1).max())
        self.smooth = on_grid(self.some, jnp.asarray(self.time))
        effects: Any = model.random_effects()
        self.mean = np.asarray(eta_mean(model))
        self.scale = np.broadcast_to(np.sqrt(np.asarray(effects.variance)).reshape(-1), 2)

        def log_p(eta, subject):
            return log_conditional(model, eta, subject) + log_random_effects(model, eta)

        self.log_density = compiled(jax.vmap(log_p, (0, None)))
        self.curves = compiled(jax.vmap(lambda eta, s: observation_density(model, eta, s).mean, (0, None)))
        self.known = functools.lru_cache(maxsize=512)(self._known)

    @functools.cached_property
    def response(self) -> Axis:
        """Wide enough for everyone, so that it stands still."""
        y = np.concatenate([observed(self.people, i)[1] for i in self.subjects])
        prior = np.stack([self.known(row, 0, LEFT)[0] for row in range(len(self.subjects))])
        low, high = min(y.min(), prior[:, 0].min()), max(y.max(), prior[:, 2].max())
        spare = 0.15 * float(high - low)
        return Axis(float(low) - spare, float(high) + spare, self.people.y_label)

    def order(self, row: int, count: int, how: str) -> np.ndarray:
        """The rows that the first `count` observations are: in their order, or at every stage spread over all."""
        seen = np.flatnonzero(np.asarray(self.some[row].mask))
        if how == LEFT or count >= len(seen):
            return seen[:count]
        return seen[np.unique(np.linspace(0, len(seen), count + 2)[1:-1].round().astype(int))] if count else seen[:0]

    def posterior(self, row: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (G, 2) and their weights (G,): the density of eta given these rows of a subject."""
        subject = jax.tree.map(lambda x: x[row], self.some.subjects)
        mask = np.zeros(subject.mask.shape, bool)
        mask[rows] = True
        some = dataclasses.replace(subject, mask=jnp.asarray(mask))
        low, high = self.mean - 4.5 * self.scale, self.mean + 4.5 * self.scale
        for _ in range(4):  # each time the points gather where there is any weight
            eta = low + (high - low) * _POINTS
            log_p = np.asarray(self.log_density(eta, some))
            inside = eta[log_p > log_p.max() - 14.0]
            step = (high - low) / np.sqrt(len(_POINTS))
            new = np.maximum(inside.min(0) - step, low), np.minimum(inside.max(0) + step, high)
            if np.all(new[1] - new[0] > 0.8 * (high - low)):
                break
            low, high = new
        weights = np.exp(log_p - log_p.max())
        return eta, weights / weights.sum()

    def _known(self, row: int, count: int, how: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = self.order(row, count, how)
        eta, weights = self.posterior(row, rows)
        kept = weights > 1e-7 * weights.max()
        grid = jax.tree.map(lambda x: x[row], self.smooth)
        curves = np.asarray(self.curves(eta, grid))[kept]
        order = np.argsort(curves, axis=0)
        share = np.cumsum(weights[kept][order], axis=0)
        at = [np.argmax(share >= level * share[-1], axis=0) for level in LEVELS]
        band = np.stack([np.take_along_axis(curves, order[a, np.arange(a.size)][None], 0)[0] for a in at])
        mean = weights @ eta
        return band, np.sqrt(weights @ (eta - mean) ** 2), rows


def compute(watch: Watch, subject: int, observations: int, order: str, answer: bool = False) -> Known:
    """What the first `observations` of the `subject`-th of the watched subjects, from 1, tell of its curve."""
    if not 1 <= subject <= len(watch.subjects) or observations < 0:
        raise Refused(f"There are subjects 1 to {len(watch.subjects)}, with no observation or more.")
    row, place = subject - 1, watch.subjects[subject - 1]
    prior = watch.known(row, 0, LEFT)[0]
    band, sd, rows = watch.known(row, observations, order)
    bands = [prior, *(watch.known(row, count, order)[0] for count in range(1, len(rows))), band][: len(rows) + 1]
    widths = np.array([np.mean(b[2] - b[0]) for b in bands]) / np.mean(prior[2] - prior[0])
    time, y = (np.asarray(x) for x in (watch.some[row].time, watch.some[row].y))
    rest = np.setdiff1d(np.flatnonzero(np.asarray(watch.some[row].mask)), rows)
    truth = None if watch.truth is None else watch.truth[place]
    error = np.nan if truth is None else float(np.sqrt(np.mean((band[1] - truth) ** 2)))
    used, left = ((time[r], y[r]) for r in (rows, rest))
    name = str(watch.people.ids[place])
    told = (watch.time, prior, band, used, left, sd / watch.scale, widths, truth, error, answer)
    return Known(name, len(rows), *told)


def say(found: Known) -> str:
    some = "1 observation" if found.count == 1 else f"{found.count or 'no'} observations"
    text = f"After {some} the band of subject {found.name}'s curve is {found.widths[-1]:.0%} as wide as the prior's"
    if found.count:
        share = (found.band[2] - found.band[0]) / np.maximum(found.prior[2] - found.prior[0], 1e-12)
        least = found.time[np.argmax(share)]
        text += f": least is known near time {least:.2g}"
    text += f".\nSDs of η {found.sd[0]:.2f} and {found.sd[1]:.2f} of the prior's."
    if found.truth is not None and found.shown:
        text += f" The middle of the band misses the truth by {found.error:.3f} (root mean square)."
    return text


def scene(watch: Watch, found: Known) -> Scene:
    most = watch.most
    first, last = float(found.time[0]), float(found.time[-1])
    time = Axis(first - 0.01 * (last - first), last + 0.01 * (last - first), watch.people.time_label)
    panels = {
        "curve": Panel(time, watch.response),
        "width": Panel(
            Axis(-0.03 * most, 1.03 * most, "observations"),
            Axis(0, 1.05, ticks=[(0, "0"), (0.5, "50%"), (1, "100%")]),
            "Width of the band",
        ),
    }
    marks: list[Mark] = [
        Band("curve", "prior", "prior", found.time, found.prior[0], found.prior[2], "prior: 9 of 10 people"),
        Band("curve", "posterior", "posterior", found.time, found.band[0], found.band[2], "posterior"),
        Line("curve", "middle", "posterior", found.time, found.band[1]),
    ]
    if found.shown:
        if found.truth is not None:
            marks.append(Line("curve", "truth", "truth", found.time, found.truth, "truth"))
        marks.append(Dots("curve", "not yet", "guide", *found.left, "not yet measured", size=7))
    marks.append(Dots("curve", "measured", "data", *found.used, "measured", size=8))
    counts = np.arange(found.widths.size)
    hold = Drag(x="observations")
    marks += [
        Line("width", "so far", "posterior", counts, found.widths, weight="thin"),
        Dots("width", "each", "posterior", counts, found.widths, size=6, shape="o"),
        Dots("width", "here", "posterior", found.count, found.widths[-1], drag=hold, size=12, shape="o"),
    ]
    return Scene(panels, marks)


def prior_to_posterior(
    fit: Fit, people: Population, subjects: Sequence[int] = range(12), truth: np.ndarray | None = None
) -> Stage:
    """The explorer of lesson 08, for any fit with two random effects: a band of curves that narrows with the data.

    **Arguments:**

    - `fit`: a fit of a model with two random effects.
    - `people`: those to watch, new ones or those of the fit, and `subjects`, their positions.
    - `truth`: the true curve of each of `people` (N, 81) on `plots.time_grid(people, 81)`, where it is known.
    """
    watch = Watch(fit, people, subjects, truth)
    most = watch.most
    controls: dict[str, Control] = {
        "observations": Slider("Observations", 0, most, min(3, most), 1, play=True),
        "subject": Slider("Subject", 1, len(watch.subjects), 1, 1),
        "order": Choice("Taken", (LEFT, SPREAD), LEFT),
        "answer": ANSWER,
    }
    alt = (
        "Left, the band that holds nine in ten people's curves, and the band that holds one subject's curve after some "
        "observations, with its measurements. Right, the width of the band against the number of observations."
    )
    tries: Sequence[Move] = [
        ("know nothing", {"observations": 0}),
        ("measure to the end", {"observations": most}),
        ("four, spread out", {"observations": min(4, most), "order": SPREAD}),
    ]
    parts = functools.partial(compute, watch), functools.partial(scene, watch)
    layout, widths = ["curve width"], [2, 1]
    return Stage(*parts, say, controls, alt=alt, layout=layout, widths=widths, size=(900, 400), tries=tries)
