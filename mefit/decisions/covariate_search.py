"""Which covariates belong into a model? Forward and backward, all candidates of a round at once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import chdtrc, ndtri

from ..base.asked import require_share
from ..base.stopping import Bar
from ..fitting.about import likelihood_of
from ..fitting.fit import fit as fit_model
from ..fitting.result import Fit
from ..inference.influence import scores_and_slopes
from ..inference.many import maximise_many
from ..inference.pairs import Pairs
from ..inference.ratios import twice_log_ratio
from ..model.covariate_effects import EFFECT, CovariateEffects, Relation, factor, relate
from ..model.numbers import eta_names
from ..model.space import Space
from ..objectives.information import inverse_information

_SHRINKAGE = 0.3  # Savic and Karlsson (2009), AAPS J. 11: 20 to 30%
_FORWARD = "forward"
_BACKWARD = "backward"
_DONE = "done"
_ENDS = (5.0, 95.0)  # percentiles of a covariate, between which its effect is told


@dataclasses.dataclass(frozen=True)
class CovariateSearch:
    """What a search found.

    `steps` has a row for each candidate of each round: its direction, the relation, `-2LL` with it (forward) or without
    it (backward), `change` of -2LL, `p`, `BIC change`, and what was decided. `chosen` are the relations that stay, and
    `fit` the fit of the model with these; None where the search was interrupted, and then `mf.covariate_search(...,
    resume=search)` goes on. `forest` has two rows for each chosen relation, the factor exp(b z) at the 5th and the 95th
    percentile of its covariate (or at its second value), with an interval.
    """

    base: Fit
    steps: pd.DataFrame
    chosen: tuple[Relation, ...]
    fit: Fit | None
    forest: pd.DataFrame
    remarks: tuple[str, ...] = ()
    place: "_Place | None" = dataclasses.field(default=None, repr=False)  # where an interrupted search goes on

    def __str__(self) -> str:
        names = ", ".join(relation.label for relation in self.chosen) or "none"
        return "\n".join([f"Chosen: {names}.", self.steps.to_string(float_format="{:.4g}".format), *self.remarks])

    def _repr_html_(self) -> str:
        names = ", ".join(relation.label for relation in self.chosen) or "none"
        notes = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        return f"<b>Chosen: {names}</b>{self.steps.to_html(float_format='{:.4g}'.format)}{notes}"


class _Place(NamedTuple):
    """How far a search has come."""

    relations: tuple[Relation, ...]
    chosen: tuple[int, ...]
    x: Float[np.ndarray, " P"]  # the maximum with these
    value: float
    rows: tuple[dict, ...]
    rounds: int
    phase: str


def covariate_search(
    fit: Fit,
    candidates: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    *,
    forward: float | int = 0.05,
    backward: float | int = 0.01,
    bic: bool = False,
    resume: CovariateSearch | None = None,
    level: float | int = 0.95,
    progress: bool = True,
) -> CovariateSearch:
    """Forward selection of covariates, then backward elimination, from a fit without them.

    A covariate shifts the mean of a random effect, as `CovariateEffects` says. In each round all candidates are fitted
    at once, each with every other parameter free, by BFGS through one compiled program. Forward, the one that lowers
    -2LL most joins, if the likelihood ratio's p is below `forward`; backward, the one whose loss costs least leaves, if
    its p is above `backward`. With `bic` the one that lowers -2LL + p log N most joins or leaves, N the number of
    subjects, as long as there is one: a shift of random effects is learned from subjects, not from observations.

    - `candidates`: for each random effect the covariates to try, `{"cl": ["wt", "age"]}`; or covariates to try on every
      random effect; all on all where it is left out. One with two values is 0 or 1, a positive one enters as
      log(x / median), any other as x - median. Of several categories make columns of 0 and 1.
    - `resume`: a search that was interrupted; the others stay as they were for it.

    Likelihood ratios do not suffer from shrinkage, as pictures of individual estimates do; a remark tells where there
    is much of it. Every search of this kind finds too much: its p ignore how many relations were tried, and the effects
    it chooses are on average exaggerated. Report `steps`, and try the final model on other data.

    **Raises:** ValueError for a fit without a likelihood (see `observed_information`), for a covariate that is not
    there, changes in time or is the same for all, and for levels outside 0 to 1.
    Sources: Wählby, Jonsson and Karlsson (2002), AAPS PharmSci 4; BIC: Delattre, Lavielle and Poursat (2014), Electron.
    J. Stat. 8; selection bias: Ribbing and Jonsson (2004), J. Pharmacokinet. Pharmacodyn. 31.

        search = mf.covariate_search(fit, {"cl": ["wt"], "v": ["wt"]})
        search.forest
    """
    if not (0.0 < forward < 1.0 and 0.0 < backward < 1.0):
        raise ValueError(f"forward and backward are probabilities; they are {forward:g} and {backward:g}.")
    require_share(level)
    likelihood_of(fit)
    relations = _relations(fit, candidates)
    if resume is not None and (resume.place is None or resume.place.relations != relations):
        raise ValueError("resume takes a search of the same fit and candidates that was interrupted: leave it out.")
    rules = _Rules(forward, backward, float(np.log(len(fit.population))) if bic else None)
    work = _Work(fit, relations)
    place = work.start() if resume is None or resume.place is None else resume.place
    stopped = False
    with Bar("covariates", shown=progress) as bar:
        try:
            while place.phase != _DONE:
                place = _round(work, place, rules)
                bar.update()
        except KeyboardInterrupt:
            stopped = True
    remarks = _remarks(fit, place, stopped)
    chosen = tuple(relations[r] for r in place.chosen)
    made = None if stopped else _final(fit, work, place)
    return CovariateSearch(
        base=fit,
        steps=pd.DataFrame(list(place.rows), columns=_COLUMNS),
        chosen=chosen,
        fit=made,
        forest=_forest(made, chosen, level),
        remarks=remarks,
        place=place if stopped else None,
    )


_COLUMNS = ["round", "direction", "relation", "-2LL", "change", "p", "BIC change", "decision"]


def _relations(fit: Fit, candidates: Mapping[str, Sequence[str]] | Sequence[str] | None) -> tuple[Relation, ...]:
    effects = eta_names(fit.model)
    if candidates is None:
        candidates = list(fit.population.subjects.covariates)
    if not isinstance(candidates, Mapping):
        every = (candidates,) if isinstance(candidates, str) else tuple(candidates)
        candidates = dict.fromkeys(effects, every)
    found = []
    for effect, names in candidates.items():
        wanted = (names,) if isinstance(names, str) else tuple(names)
        found += [relate(fit.model, fit.population, effect, name) for name in wanted]
    if not found:
        raise ValueError("there is no covariate to try: name them when the data are read, or in candidates.")
    return tuple(found)


class _Rules(NamedTuple):
    """When a relation joins, and when it leaves."""

    forward: float
    backward: float
    penalty: float | None  # of BIC, for each parameter; None for likelihood ratios

    def joins(self, change: float, p: float) -> bool:
        return -change > self.penalty if self.penalty is not None else p < self.forward

    def leaves(self, change: float, p: float) -> bool:
        return change < self.penalty if self.penalty is not None else p > self.backward


class _Work:
    """The model with all relations, and many fits of it at once, in each of which some of them are held at zero."""

    def __init__(self, fit: Fit, relations: tuple[Relation, ...]):
        self.fit = fit
        self.relations = relations
        model = CovariateEffects(fit.model, relations)
        self.space = Space(model, fit.fixed)
        coordinates = self.space.coordinates
        self.effects = np.array([i for i, c in enumerate(coordinates) if c.parameter == EFFECT])
        self.others = np.array([i for i, c in enumerate(coordinates) if c.parameter != EFFECT], int)
        self.pairs = Pairs.of(likelihood_of(fit), self.space, fit.population, fit.key)
        self.x = self.space.vector()
        self.count = len(fit.population)
        self.root = self._root()

    def _root(self) -> Float[np.ndarray, "P P"]:
        """A step of one is about a standard error in each direction, and each effect stands apart."""
        scale = np.ones(self.x.size)
        sizes = [np.std(self._amounts(relation)) for relation in self.relations]
        scale[self.effects] = 0.1 / np.array(sizes)
        _, slopes = scores_and_slopes(self.pairs, self.x, scale, self.count)
        information = slopes.sum(axis=0)
        own = np.diagonal(information)[self.effects]
        for relation, amount in zip(self.relations, own, strict=True):
            if not amount > 0.0:
                raise ValueError(f"the data say nothing of {relation.label} where there is none: leave it out.")
        root = np.zeros(information.shape)
        labels = [self.space.labels[i] for i in self.others]
        block = inverse_information(information[np.ix_(self.others, self.others)], labels)
        root[np.ix_(self.others, self.others)] = np.linalg.cholesky(block)
        root[self.effects, self.effects] = 1.0 / np.sqrt(own)
        return root

    def _amounts(self, relation: Relation) -> np.ndarray:
        return np.asarray(
            relation.amount(np.asarray(self.fit.population.subjects.covariates[relation.covariate], float))
        )

    def start(self) -> _Place:
        """Nothing chosen yet."""
        everyone = np.ones((1, self.count), int)
        value = -float(self.pairs.total(self.x[None], everyone).value[0])
        return _Place(self.relations, (), self.x, value, rows=(), rounds=0, phase=_FORWARD)

    def maxima(self, begin: Float[np.ndarray, " P"], sets: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """The maximum with each set of relations, from one point: values (R,), NaN where not found, and x (R, P)."""
        moving = np.ones((len(sets), self.x.size), bool)
        start = np.tile(begin, (len(sets), 1))
        for row, chosen in enumerate(sets):
            held = [place for k, place in enumerate(self.effects) if k not in chosen]
            moving[row, held] = False
            start[row, held] = 0.0
        everyone = np.ones((len(sets), self.count), int)
        found = maximise_many(self.pairs, self.x, self.root, everyone, begin=start, moving=moving)
        return np.where(found.ended, found.value, np.nan), found.x


def _round(work: _Work, place: _Place, rules: _Rules) -> _Place:
    """One round: forward until nothing joins, then backward until nothing leaves."""
    if place.phase == _FORWARD:
        moved = [r for r in range(len(place.relations)) if r not in place.chosen]
        sets = [(*place.chosen, r) for r in moved]
    else:
        moved = list(place.chosen)
        sets = [tuple(r for r in place.chosen if r != out) for out in moved]
    onward = _tried(work, place, sets, moved, rules) if sets else place
    if onward.chosen != place.chosen:
        return onward._replace(phase=place.phase if onward.chosen or place.phase == _FORWARD else _DONE)
    return onward._replace(phase=_BACKWARD if place.phase == _FORWARD and onward.chosen else _DONE)


def _tried(work: _Work, place: _Place, sets: list[tuple[int, ...]], moved: list[int], rules: _Rules) -> _Place:
    """All sets fitted, and the best one taken, where the rules allow it."""
    value, x = work.maxima(place.x, sets)
    change = -twice_log_ratio(np.full(value.shape, place.value), value)
    forward = place.phase == _FORWARD
    p = chdtrc(1.0, np.maximum(-change if forward else change, 0.0))  # a larger model that ends lower proves nothing
    penalty = float(np.log(work.count))
    order = np.argsort(np.where(np.isnan(change), np.inf, change), kind="stable")
    best = int(order[0])
    allowed = rules.joins if forward else rules.leaves
    taken = bool(np.isfinite(change[best]) and allowed(float(change[best]), float(p[best])))
    rows = []
    for k in order.tolist():
        verdict = ("joins" if forward else "leaves") if taken and k == best else ""
        rows.append(
            {
                "round": place.rounds + 1,
                "direction": place.phase,
                "relation": place.relations[moved[k]].label,
                "-2LL": -2.0 * value[k],
                "change": change[k],
                "p": p[k],
                "BIC change": change[k] + (penalty if forward else -penalty),
                "decision": verdict if np.isfinite(change[k]) else "not found",
            }
        )
    onward = place._replace(rows=(*place.rows, *rows), rounds=place.rounds + 1)
    return onward._replace(chosen=sets[best], x=x[best], value=float(value[best])) if taken else onward


# ---------------------------------------------------------------- what is told


def _final(fit: Fit, work: _Work, place: _Place) -> Fit:
    """The fit of the model with the chosen relations alone; the first fit, where there are none."""
    if not place.chosen:
        return fit
    model = work.space.model_at(place.x)
    chosen = [place.relations[r] for r in place.chosen]
    coefficients = np.asarray(model.effect)[list(place.chosen)]
    small = CovariateEffects(model.base, chosen, coefficients)
    return fit_model(small, fit.population, fit.method, key=fit.key, fixed=fit.fixed, progress=False)


def _forest(fit: Fit | None, chosen: tuple[Relation, ...], level: float | int) -> pd.DataFrame:
    """exp(b z) with its interval, exp((b -+ z_level SE) z), at two values of each covariate."""
    rows = []
    for relation in chosen:
        if fit is None:  # the search was interrupted
            break
        values = np.asarray(fit.population.subjects.covariates[relation.covariate], float)
        levels = np.unique(values)
        ends = levels[1:] if levels.size == 2 else np.percentile(values, _ENDS)
        told = fit.table.loc[f"{EFFECT}[{relation.label}]"]
        half = ndtri(0.5 + 0.5 * level) * told.se
        for end in ends.tolist():
            sides = [factor(relation, told.estimate + side * half, end) for side in (-1.0, 1.0)]
            row = {"relation": relation.label, "value": end, "reference": relation.centre}
            factors = {"factor": factor(relation, told.estimate, end), "low": min(sides), "high": max(sides)}
            rows.append(row | factors)
    return pd.DataFrame(rows, columns=["relation", "value", "reference", "factor", "low", "high"])


def _remarks(fit: Fit, place: _Place, stopped: bool) -> tuple[str, ...]:
    said = []
    if stopped:
        said.append("interrupted: mf.covariate_search(..., resume=search) goes on from here.")
    shrunken = []
    for name, share in zip(eta_names(fit.model), fit.shrinkage, strict=False):
        if share > _SHRINKAGE and any(relation.effect_name == name for relation in place.relations):
            shrunken.append(f"{name} ({100 * share:.0f}%)")
    if shrunken:
        said.append(
            f"shrinkage of {', '.join(shrunken)} is above {100 * _SHRINKAGE:g}%: pictures against covariates mislead "
            "there, and the data have little power to find a relation."
        )
    lost = sum(row["decision"] == "not found" for row in place.rows)
    if lost:
        said.append(f"{lost} {'fit' if lost == 1 else 'fits'} did not come to an end, and took no part.")
    tried = sum(row["direction"] == _FORWARD for row in place.rows)
    if place.chosen:
        said.append(
            f"chosen among {tried} likelihood ratios, the effects are on average exaggerated, the weak ones most: try "
            "the model on other data."
        )
    return tuple(said)
