"""How far a data set, and each profile in it, is from what simple models can say: in nats, on people held out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

from ..base.chance import numpy_generator, require_key
from ..data.by_outcome import as_dict
from ..data.population import Population
from ..fitting.fit import fit, log_likelihood
from ..methods.method import Method
from ..model.model import Model
from ..objectives.objective import Objective
from ..objectives.sampled import ImportanceSampling

Recipe = tuple[Model, Objective | Method]  # a model at its start, and the method that fits it


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What a flexible model gains over the best of simple ones, on people whom neither has seen.

    `score` is the gain in nats a measurement, `error` its standard error over people; at zero or below, the template
    says all that there is to say. `best` names the template. `profiles` has a row for each person, those who need the
    flexible model most first: `measurements`, the held-out log-likelihood by each model, and `gain` in nats a
    measurement. A template that is fitted to people whom it cannot describe takes their shape for noise, and loses a
    little on all others too: so look at the order of gains, and for a gap in it, rather than at their sign. Who needs
    the flexible model is told by a mixture of both, fitted together: `mf.responsibilities` of an `mf.MixtureOfExperts`.
    """

    score: float
    error: float
    best: str
    profiles: pd.DataFrame
    remarks: tuple[str, ...] = ()  # on models whose fits did not converge

    def __repr__(self) -> str:
        most = self.profiles.gain.iloc[0]
        sentence = (
            f"complexity {self.score:.3f} +- {self.error:.3f} nats a measurement over {self.best!r}, held out; "
            f"most of {self.profiles.index[0]}, {most:.3f}"
        )
        return "\n".join([sentence, *self.remarks])


def complexity(
    templates: Mapping[str, Recipe],
    flexible: Recipe,
    population: Population,
    *,
    folds: int = 5,
    by: Objective = ImportanceSampling(),  # noqa: B008 - it has no state
    key: PRNGKeyArray,
) -> Complexity:
    """How complex the profiles of a population are: held-out nats a measurement over the best template,

        sum_i (log p_i - log t_i) / sum_i n_i,    each person's density by models that were fitted without them.

    People are dealt into `folds` at random, and every model is fitted `folds` times. In the sample itself a flexible
    model always wins, and a mean squared error counts noise for complexity; this does neither. The template that is
    best on all held-out people is the one compared with, which favours it a little.

    **Arguments**

    - `templates`: pairs of a model at its start and a method, by name: {"1-cpt": (model, mf.FOCE()), ...}.
    - `flexible`: such a pair; `Amortised` without an encoder makes one for each fold.
    - `by`: the ruler of every log-likelihood.
    - `key`: a `jax.random.key`.

    **Raises:** ValueError for no templates, fewer than two folds, or more than there are people.
    Source: of log scores, Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102.

        found = mf.complexity({"one rate": (model, mf.FO())}, (model, mf.FOCE()), population, folds=2, key=key)
    """
    require_key(key, "complexity")
    if not templates:
        raise ValueError('complexity needs templates by name, such as {"1-cpt": (model, mf.FOCE())}.')
    count = len(population)
    if not 2 <= folds <= count:
        raise ValueError(
            f"complexity in {folds} folds of {count} people: take two or more, and one person each at least."
        )
    key_folds, key_fits = jax.random.split(key)
    fold = numpy_generator(key_folds).permutation(np.arange(count) % folds)
    flexible_name = "flexible" if "flexible" not in templates else "the flexible one"
    recipes = {**templates, flexible_name: flexible}
    scores = {}
    remarks = []
    for name, recipe in recipes.items():
        scores[name], failed = _held_out(recipe, population, fold, by, key_fits)
        if failed:
            remarks.append(
                f"{len(failed)} of {folds} fits of {name!r} did not converge ({failed[0]}), so its scores, and "
                "gains over it, say little: start it closer, or allow more iterations."
            )
    profiles = pd.DataFrame({"ID": list(population.ids), "measurements": _measurements(population), **scores})
    best = max(templates, key=lambda name: scores[name].sum())
    difference = scores[flexible_name] - scores[best]
    total = profiles.measurements.sum()
    profiles["gain"] = difference / np.where(profiles.measurements > 0, profiles.measurements, np.nan)
    return Complexity(
        score=float(difference.sum() / total),
        error=float(difference.std(ddof=1) * np.sqrt(count) / total),
        best=best,
        profiles=profiles.set_index("ID").sort_values("gain", ascending=False, kind="stable"),
        remarks=tuple(remarks),
    )


def _held_out(
    recipe: Recipe, population: Population, fold: np.ndarray, by: Objective, key: Any
) -> tuple[np.ndarray, list[str]]:
    """Each person's log-likelihood by the model that was fitted without them; what fits that did not converge said."""
    model, method = recipe
    failed = []
    values = np.zeros(len(population))
    for turn in range(fold.max() + 1):
        out = fold == turn
        key_fit, key_score = jax.random.split(jax.random.fold_in(key, turn))
        fitted = fit(model, population[~out], method, key=key_fit, progress=False)
        values[out] = log_likelihood(fitted.model, population[out], by, key=key_score, by_subject=True)
        if not fitted.converged:
            failed.append(fitted.message)
    return values, failed


def _measurements(population: Population) -> np.ndarray:
    """How many responses of each person were seen."""
    return sum(np.asarray(mask).sum(axis=1) for mask in as_dict(population.subjects.mask).values())
