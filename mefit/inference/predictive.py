"""The distribution of responses yet to be seen: density, quantiles, and the smallest set that holds 95% of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Bool, Float
from numpyro.distributions.distribution import validation_enabled
from scipy.special import ndtr

from ..base.compiling import compiled
from ..base.parts import in_parts
from ..data.by_outcome import UNNAMED, as_dict
from ..data.doses import Doses
from ..data.subject import Subject
from ..model.densities import observation_density
from ..model.model import Model, model_at
from ..model.normals import NormalRows, normal_rows
from .individual import Individuals

_GRID = 600  # points of each density
_FINER = 8  # times as many, between which the logarithm of a density is a straight line
_NOTHING = 1e-300  # a density that is no more
_REACH = 7.0  # SDs beyond the outermost component
_AT_ONCE = 2_000_000  # numbers of all densities that are evaluated together
_RARE = 1e-6  # of the weight of others: such a density does not say how far a grid reaches
_HALVINGS = 80  # of an interval that holds a quantile


@dataclasses.dataclass(frozen=True)
class Predictive:
    """p(y | what each person's records say), of one outcome at each of m times: an average of M densities,

        p(y) = sum_m v_m p(y | theta, eta_m),

    each normal, on the scale of y or of its logarithm or logit (`curve`). `loc` and `scale` are (N, M, m) on that
    scale, and `weight` is (N, M): 1/M each where it is left out. It may have several peaks, as that of a mixture of
    experts. `real` are the rows that are there: people of fewer rows than others have some beyond their last.
    """

    ids: tuple
    time: Float[np.ndarray, "N m"]
    loc: Float[np.ndarray, "N M m"] = dataclasses.field(repr=False)
    scale: Float[np.ndarray, "N M m"] = dataclasses.field(repr=False)
    curve: Any = dataclasses.field(default=None, repr=False)  # from the normal's scale to that of y; None for y itself
    weight: Float[np.ndarray, "N M"] | None = dataclasses.field(default=None, repr=False)
    real: Bool[np.ndarray, "N m"] | None = dataclasses.field(default=None, repr=False)

    @property
    def mean(self) -> Float[np.ndarray, "N m"]:
        """E[y], by Gauss-Hermite quadrature of each density."""
        point, weight = np.polynomial.hermite_e.hermegauss(1 if self.curve is None else 40)
        total = np.zeros(self.time.shape)
        for z, share in zip(point, weight / weight.sum(), strict=True):
            total += share * self._averaged(self._carried(self.loc + self.scale * z))
        return total

    def density(self, y: Float[ArrayLike, "N m"]) -> Float[np.ndarray, "N m"]:
        """p(y) of a response of each person at each time, per unit of y; 0 where y is not possible."""
        row = self._rows()
        seen = jnp.ones(self.time.shape[1], bool)
        y = np.asarray(y, float)
        possible = np.isfinite(row.bound(jnp.asarray(y)))
        safe = np.where(possible, y, self._carried(np.zeros(())))
        w, _ = row.working(jnp.asarray(safe), seen)
        return np.where(possible, self._density_at(np.asarray(w)) * self._slope(np.asarray(w), safe), 0.0)

    def probability_below(self, y: Float[ArrayLike, "N m"]) -> Float[np.ndarray, "N m"]:
        """P(response < y)."""
        w = np.asarray(self._rows().bound(jnp.asarray(y, float)))
        return self._averaged(ndtr((w[:, None] - self.loc) / self.scale))

    def quantile(self, probability: float | int) -> Float[np.ndarray, "N m"]:
        """The y below which a response lies with this probability, by halving an interval."""
        if not 0.0 < probability < 1.0:
            raise ValueError(f"a quantile needs a probability between 0 and 1, and got {probability:g}.")
        low, high = self._ends()
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            below = self._averaged(ndtr((middle[:, None] - self.loc) / self.scale)) < probability
            low = np.where(below, middle, low)
            high = np.where(below, high, middle)
        return self._carried(0.5 * (low + high))

    def highest_density(self, level: float | int = 0.95) -> pd.DataFrame:
        """The smallest set that holds a response with probability `level`: {y: p(y) >= c}, a union of intervals.

        A row for each interval: ID, TIME, part (1, 2, ...), low, high. Source: Hyndman (1996), Am. Stat. 50.
        """
        _check_level(level)
        rows = []
        for i, j, y, p, mass in self._grids(self._there):
            falling, held = _held(p, mass)
            cut = float(np.interp(level, held, falling))
            for part, (low, high) in enumerate(_intervals(y, p, cut)):
                rows.append({"ID": self.ids[i], "TIME": self.time[i, j], "part": part + 1, "low": low, "high": high})
        return pd.DataFrame(rows, columns=["ID", "TIME", "part", "low", "high"])

    def level_of(self, y: Float[ArrayLike, "N m"]) -> Float[np.ndarray, "N m"]:
        """The level of the smallest highest-density set that holds y: P(p(response) > p(y)).

        It is uniform on (0, 1) where predictions are right; a y that is not possible has 1, and one that is missing
        (NaN), or beyond a person's last row, has none (NaN).
        """
        own = self.density(y)
        asked = self._there & ~np.isnan(np.asarray(y, float))
        levels = np.where(asked, 1.0, np.nan)
        for i, j, _, p, mass in self._grids(asked):
            if own[i, j] >= p.min():
                falling, held = _held(p, mass)
                levels[i, j] = np.interp(own[i, j], falling[::-1], held[::-1])
        return levels

    # ---------------------------------------------------------------- the scale of the normals, and that of y

    @property
    def _there(self) -> Bool[np.ndarray, "N m"]:
        return np.ones(self.time.shape, bool) if self.real is None else self.real

    @property
    def _weights(self) -> Float[np.ndarray, "N M"]:
        count = self.loc.shape[1]
        return np.full(self.loc.shape[:2], 1.0 / count) if self.weight is None else self.weight

    def _averaged(self, values: np.ndarray) -> Float[np.ndarray, "N m"]:
        """Of a number (N, M, m) of each density."""
        return np.einsum("nm,nmj->nj", self._weights, values)

    def _rows(self) -> NormalRows:
        return NormalRows(jnp.zeros(()), jnp.ones(()), self.curve)

    def _carried(self, w: np.ndarray) -> np.ndarray:
        return np.asarray(w) if self.curve is None else np.asarray(self.curve(jnp.asarray(w)))

    def _slope(self, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """|dw / dy|."""
        if self.curve is None:
            return np.ones(np.shape(w))
        return np.exp(-np.asarray(self.curve.log_abs_det_jacobian(jnp.asarray(w), jnp.asarray(y))))

    def _density_at(self, w: np.ndarray) -> np.ndarray:
        z = (w[:, None] - self.loc) / self.scale
        return self._averaged(np.exp(-0.5 * z**2) / self.scale) / np.sqrt(2.0 * np.pi)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        counts = (self._weights * self.loc.shape[1] > _RARE)[:, :, None]
        low = np.min(np.where(counts, self.loc - _REACH * self.scale, np.inf), axis=1)
        high = np.max(np.where(counts, self.loc + _REACH * self.scale, -np.inf), axis=1)
        return low, high

    def _grids(self, asked: Bool[np.ndarray, "N m"]) -> Any:
        """Of each person and time that is asked for: a grid of y, p there, and the probability around each point."""
        low, high = self._ends()
        weights = self._weights
        share = np.linspace(0.0, 1.0, _GRID)
        fine = np.linspace(0.0, 1.0, _FINER * _GRID)
        for i, j in np.argwhere(asked).tolist():
            w = low[i, j] + (high[i, j] - low[i, j]) * share
            z = (w - self.loc[i, :, j, None]) / self.scale[i, :, j, None]
            each = np.exp(-0.5 * z**2) / self.scale[i, :, j, None]
            log_p = np.log(np.maximum(weights[i] @ each, _NOTHING) / np.sqrt(2.0 * np.pi))
            of_w = np.exp(np.interp(fine, share, log_p))
            w = low[i, j] + (high[i, j] - low[i, j]) * fine
            y = self._carried(w)
            mass = of_w / np.sum(of_w)
            yield i, j, y, of_w * self._slope(w, y), mass


def predictive(
    people: Individuals,
    time: Float[ArrayLike, "..."] | Sequence | None = None,
    doses: Doses | Sequence[Doses] | None = None,
    *,
    outcome: str = UNNAMED,
    components: int = 400,
) -> Predictive:
    """What each person's next responses may be: an average over the draws of its random effects.

    Of a mixture of experts the average is taken within each class, and the classes count by the person's
    responsibilities, sum_k r_k (1/M) sum_m p_k(y | eta_km), so that of a rare class as much is known as of others.

    **Arguments**

    - `people`: from `mf.individual`, of any model: of people known by their covariates only, or by their first
      measurements too.
    - `time`: (m,) for all or (N, m); left out, the person's own rows. `doses`: others than their own.
    - `outcome`: its name, where there are several.
    - `components`: how many of the draws to average over, at most; of a mixture, in each class.

    **Raises:** ValueError for responses that are not normal, log-normal or logit-normal given the random effects.
    """
    subjects = people.rows_at(time, doses)
    parts = []
    weights = []
    for model, eta, share in _parts_of(people):
        count = eta.shape[1] if eta.shape[2] else 1  # without random effects one density is all
        chosen = np.unique(np.linspace(0, count - 1, min(components, count)).round().astype(int))
        theta = None if people.theta is None else people.theta[:, chosen]
        parts.append(_normals_of(model, theta, eta[:, chosen], subjects, outcome))
        weights.append(np.repeat(share[:, None] / chosen.size, chosen.size, axis=1))
    curve = parts[0].curve
    if any(type(part.curve) is not type(curve) for part in parts):
        raise ValueError("the experts give responses on different scales, and predictive needs one: write them alike.")
    return Predictive(
        ids=tuple(people.population.ids),
        time=np.asarray(subjects.time),
        loc=np.concatenate([np.asarray(part.loc) for part in parts], axis=1),
        scale=np.concatenate([np.asarray(part.scale) for part in parts], axis=1),
        curve=curve,
        weight=np.concatenate(weights, axis=1) if people.in_class else None,
        real=np.broadcast_to(np.asarray(subjects.real, bool), np.shape(subjects.time)),
    )


def _parts_of(people: Individuals) -> list[tuple[Model, np.ndarray, np.ndarray]]:
    """Models, draws (N, M, K) of their random effects, and the share (N,) that each has: of a mixture its experts."""
    if not people.in_class:
        return [(people.models_drawn, people.eta, np.ones(len(people)))]
    mixture: Any = people.model
    shares: Any = people.responsibilities
    return list(zip(mixture.experts, people.in_class, shares.T, strict=True))


def _normals_of(model: Model, theta: Any, eta: np.ndarray, subjects: Subject, outcome: str) -> NormalRows:
    """The normal densities of draws (N, M, m) of one model, or with `theta` of a stack of models."""
    first = jax.tree.map(lambda leaf: leaf[0], subjects)
    turn = None if theta is None else theta[0, 0]
    with validation_enabled(False):
        density = as_dict(observation_density(model_at(model, turn), jnp.asarray(eta[0, 0]), first))
    if outcome not in density:
        raise ValueError(f"give outcome=, one of {', '.join(sorted(density))}.")
    kind = normal_rows(density[outcome])
    if kind is None:
        raise ValueError(
            f"{type(model).__name__} gives {type(density[outcome]).__name__} responses, and predictive needs "
            "normal, log-normal or logit-normal ones: use mf.landmark, or people.bands(error=True)."
        )
    loc, scale = _components(model, theta, eta, subjects, outcome)
    return NormalRows(loc, scale, kind.curve)


@compiled
def _components(
    model: Model, thetas: Any, etas: Float[Array, "N M K"], subjects: Subject, outcome: str
) -> tuple[Array, Array]:
    def of_draw(turn: Any, eta: Array, subject: Subject) -> tuple[Array, Array]:
        density = observation_density(model_at(model, turn), eta, subject)
        rows: Any = normal_rows(as_dict(density)[outcome])
        shape = subject.time.shape
        return jnp.broadcast_to(rows.loc, shape), jnp.broadcast_to(rows.scale, shape)

    def of_person(one: Any) -> tuple[Array, Array]:
        turns, own, subject = one
        return jax.vmap(lambda turn, eta: of_draw(turn, eta, subject))(turns, own)

    at_once = max(1, _AT_ONCE // (etas.shape[1] * subjects.time.shape[1]))
    return in_parts(of_person, (thetas, etas, subjects), at_once)


def _check_level(level: float | int) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"a set needs a level between 0 and 1, and got {level:g}.")


def _held(p: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The densities of a grid from the highest on, and the probability of those above each."""
    order = np.argsort(-p, kind="stable")
    return p[order], np.cumsum(mass[order]) - 0.5 * mass[order]


def _intervals(y: np.ndarray, p: np.ndarray, cut: float) -> list[tuple[float, float]]:
    """Where p is at least `cut`, its ends found between the points of the grid on a line of p."""
    inside = p >= cut
    turns = np.flatnonzero(np.diff(inside.astype(int)))
    ends = [float(np.interp(cut, np.sort(p[[k, k + 1]]), y[[k, k + 1]][np.argsort(p[[k, k + 1]])])) for k in turns]
    if inside[0]:
        ends.insert(0, float(y[0]))
    if inside[-1]:
        ends.append(float(y[-1]))
    return list(zip(ends[::2], ends[1::2], strict=True))
