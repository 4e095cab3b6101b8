"""Does a fit depend on where it starts? Many random starts, and where they end."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray

from ..base.chance import numpy_generator, require_key
from ..base.stopping import Bar
from ..curves.networks import encoder_for
from ..data.population import Population
from ..fitting.fit import fit as fit_model
from ..fitting.result import Fit
from ..methods.adam import Adam
from ..methods.augmented import Augmented
from ..methods.method import Method
from ..model.densities import eta_size
from ..model.model import Model
from ..model.numbers import labels_of
from ..model.parameters import as_names
from ..model.space import Space
from ..objectives import mixture
from ..objectives.amortised import Amortised
from ..objectives.natural_scale import natural_scale
from ..objectives.objective import Objective
from .many import maximise_many
from .pairs import Pairs
from .standard_errors import natural

_SAME = 0.01  # nats: what comes so close to the best has arrived
_ELSEWHERE = 0.1  # scales of a start: ends further apart than this are two places, unless a plateau joins them
_ENDED = 0.05  # of a gradient, for a move of one scale: a steeper end is none
_MOST = 200  # rounds of the searches


@dataclasses.dataclass(frozen=True)
class Starts:
    """Where random starts ended.

    `table` has a row for each start, the model's own first: `-2LL` where it ended, `delta` above the best, `ended`
    whether its search came to an end, `place`, the number of the place where it ended (0 the best), and the numbers
    there. `share` is how many of all arrived at the best value. `fit` is the fit from the best end.
    """

    fit: Fit
    table: pd.DataFrame
    begun: pd.DataFrame  # the numbers at the starts
    share: float
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{100 * self.share:.0f}% of {len(self.table)} starts arrived at -2LL = {self.table['-2LL'].min():.4f}."
        return "\n".join([head, *self.remarks])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        return f"<p>{str(self).splitlines()[0]}</p>{self.table.to_html(float_format='{:.4g}'.format)}{notes}"


def starts(
    model: Model,
    population: Population,
    method: Objective | Method,
    n: int = 20,
    *,
    key: PRNGKeyArray | None = None,
    spread: float | int = 1.0,
    fixed: Iterable[str] = (),
    progress: bool = True,
) -> Starts:
    """Fit from `n` random starts, and say how many arrive at the best, and where the others went.

    The first start is the model's own. In each other every free coordinate moves by N(0, spread^2) times its scale: 1
    for a logarithm or a logit, so that a positive number is multiplied or divided by e at spread = 1, and the number's
    own size for one that may be negative. The weights of a model's networks stay; those of an encoder that is trained
    are drawn anew, so that `starts(model, population, mf.Amortised(), 3, key=key).fit` is the best of three trainings.

    Where the method maximises a likelihood, all searches run at once through one compiled program (BFGS on every start,
    a trial each a round); other methods fit one start after the other. The best end is then fitted in the ordinary way.

    **Raises:** ValueError without a key, for n below 2, a spread that is not positive, or where no start led anywhere.

        found = mf.starts(model, population, mf.FO(), n=5, key=key)
        found.share
    """
    require_key(key, "starts")
    if n < 2 or not spread > 0:
        raise ValueError(f"starts needs two or more starts and a positive spread; it got n={n}, spread={spread:g}.")
    fixed = as_names(fixed)
    space = Space(model, fixed)
    scale = _scales(space, population)
    begin = np.tile(space.vector(), (n, 1))
    begin[1:] += spread * scale * numpy_generator(key).standard_normal((n - 1, scale.size))
    if isinstance(method, Objective) and method.likelihood and method.guide is None and method.reported is method:
        ends = _at_once(method, space, population, key, begin, np.where(scale > 0.0, scale, 1.0))
    else:
        ends = _one_by_one(method, space, population, key, begin, progress)
    if not np.any(np.isfinite(ends.value)):
        raise ValueError("no start led anywhere: look at the model at its starting values, or make spread smaller.")
    best = int(np.nanargmax(ends.value))
    fit = ends.fits[best] if ends.fits else None
    if fit is None:
        fit = fit_model(space.model_at(ends.x[best]), population, method, key=key, fixed=fixed, progress=progress)
    return _told(space, fit, begin, ends, np.where(scale > 0.0, scale, 1.0))


@dataclasses.dataclass(frozen=True)
class _Ends:
    """Where the searches came to."""

    x: Float[np.ndarray, "R P"]
    value: Float[np.ndarray, " R"]  # log-likelihood plus log prior; NaN where a start led nowhere
    ended: np.ndarray
    fits: tuple[Fit | None, ...] = ()
    between: Callable[[int, int], float] | None = None  # the value half way between two ends


def _scales(space: Space, population: Population) -> Float[np.ndarray, " P"]:
    """How far a start may lie from another, coordinate by coordinate: 0 for the weights of a network."""
    sizes = space.sizes
    unknown = sizes.measured & (sizes.guess <= 0.0)
    guess = np.where(unknown, natural_scale(space, population), sizes.guess) if unknown.any() else sizes.guess
    return np.where(sizes.measured, guess, 0.0)


def _at_once(
    objective: Objective,
    space: Space,
    population: Population,
    key: PRNGKeyArray | None,
    begin: np.ndarray,
    scale: np.ndarray,
) -> _Ends:
    mixture.check(objective, space.template, population)
    pairs = Pairs.of(objective, space, population, key)
    everyone = np.ones((len(begin), len(population)), int)
    found = maximise_many(pairs, space.vector(), np.diag(scale), everyone, begin=begin, most=_MOST)
    lost = ~np.isfinite(found.value)

    def between(i: int, j: int) -> float:
        return -float(pairs.total(0.5 * (found.x[i] + found.x[j])[None], everyone[:1]).value[0])

    return _Ends(
        x=np.where(lost[:, None], begin, found.x),
        value=np.where(lost, np.nan, found.value),
        ended=~lost & (found.gradient < _ENDED),
        between=between,
    )


def _one_by_one(
    method: Objective | Method,
    space: Space,
    population: Population,
    key: PRNGKeyArray | None,
    begin: np.ndarray,
    progress: bool,
) -> _Ends:
    fits: list[Fit | None] = []
    with Bar("starts", total=len(begin), shown=progress) as bar:
        for turn, x in enumerate(begin):
            model = space.model_at(x)
            own = _with_another_encoder(method, model, population, turn) if turn else method
            try:
                made = fit_model(model, population, own, key=key, fixed=space.fixed, progress=False)
            except ValueError:  # a start at which the density is no number
                made = None
            fits.append(made)
            bar.update()
    value = [np.nan if made is None else made.log_likelihood + made.log_prior for made in fits]
    x = [start if made is None else made.space.vector() for start, made in zip(begin, fits, strict=True)]
    ended = [made is not None and made.converged for made in fits]
    return _Ends(np.stack(x), np.array(value), np.array(ended), tuple(fits))


def _with_another_encoder(
    method: Objective | Method, model: Model, population: Population, seed: int
) -> Objective | Method:
    """The method, its encoder, if it trains one, at other weights."""
    if isinstance(method, Adam):
        objective: Any = _with_another_encoder(method.objective, model, population, seed)
        return dataclasses.replace(method, objective=objective)
    if not isinstance(method, Amortised | Augmented):
        return method
    encoder = method.encoder or encoder_for(population, eta_size(model))
    return dataclasses.replace(method, encoder=encoder.begun_anew(seed))


def _told(space: Space, fit: Fit, begin: np.ndarray, ends: _Ends, scale: np.ndarray) -> Starts:
    labels = labels_of(space.template, space.fixed)
    value = ends.value
    delta = 2.0 * (np.nanmax(value) - value)
    order = np.argsort(np.where(np.isnan(delta), np.inf, delta), kind="stable")
    place = np.full(len(value), -1)
    heads: list[int] = []
    for i in order.tolist():
        if np.isnan(delta[i]) or not ends.ended[i]:
            continue
        near = [k for k, j in enumerate(heads) if _one_place(ends, i, j, scale)]
        if not near:
            heads.append(i)
        place[i] = near[0] if near else len(heads) - 1
    arrived = delta <= 2.0 * _SAME
    numbers = pd.DataFrame(np.asarray(natural(space, ends.x)), columns=labels)
    table = pd.DataFrame({"-2LL": -2.0 * value, "delta": delta, "ended": ends.ended, "place": place})
    return Starts(
        fit=fit,
        table=table.join(numbers).rename_axis("start"),
        begun=pd.DataFrame(np.asarray(natural(space, begin)), columns=labels).rename_axis("start"),
        share=float(np.mean(arrived)),
        remarks=_remarks(delta, place, heads, ends, numbers),
    )


def _one_place(ends: _Ends, i: int, j: int, scale: np.ndarray) -> bool:
    """Are two ends the same place: close to each other, or on one plateau, such as an SD of next to nothing?"""
    if np.max(np.abs(ends.x[i] - ends.x[j]) / scale) < _ELSEWHERE:
        return True
    alike = abs(ends.value[i] - ends.value[j]) <= _SAME
    return bool(alike and ends.between is not None and ends.between(i, j) >= ends.value[j] - _SAME)


def _remarks(
    delta: np.ndarray, place: np.ndarray, heads: list[int], ends: _Ends, numbers: pd.DataFrame
) -> tuple[str, ...]:
    said = []
    alike = [i for i in heads if delta[i] <= 2.0 * _SAME]
    if len(alike) > 1:
        places = "; ".join(_where(numbers, i, alike[0]) for i in alike[1:4])
        said.append(
            f"{len(alike)} places fit alike, and the data do not tell them apart; from the best the others differ in: "
            f"{places}."
        )
    for i in [i for i in heads if delta[i] > 2.0 * _SAME][:3]:
        count = int(np.sum(place == place[i]))
        said.append(f"{count} ended where -2LL is {delta[i]:.4g} higher: {_where(numbers, i, heads[0])}.")
    lost = int(np.sum(np.isnan(ends.value)))
    unended = int(np.sum(~ends.ended)) - lost
    if lost:
        said.append(f"{lost} led nowhere: the likelihood was no number there.")
    if unended:
        said.append(f"{unended} did not come to an end.")
    return tuple(said)


def _where(numbers: pd.DataFrame, i: int, best: int) -> str:
    """The numbers that differ most from those at the best, three at most."""
    here = numbers.iloc[i]
    there = numbers.iloc[best]
    change = ((here - there).abs() / (here.abs() + there.abs())).sort_values(ascending=False)
    return ", ".join(f"{name} {here[name]:.3g} (best {there[name]:.3g})" for name in change.index[:3])
