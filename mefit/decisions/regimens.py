"""New regimens for a fitted population: virtual subjects, their curves, and what these come to."""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..base.labelled import labelled
from ..data.doses import Doses, repeated_times
from ..data.population import Population
from ..data.subject import Subject
from ..fitting.about import check, typical
from ..fitting.result import Fit
from ..model.model import Model
from ..model.simulate import new_people
from .exposure import regimen_measures


def regimen(
    amount: float | int,
    *,
    every: float | int | None = None,
    count: int = 1,
    start: float | int = 0.0,
    duration: float | int = 0.0,
    compartment: int = 1,
    loading: float | int | None = None,
) -> Doses:
    """`count` doses of `amount`, `every` so many units of time from `start`; `loading` replaces the
    first amount.

    A `duration` above 0 makes them infusions. Units are those of the data.
    ValueError for a number that is negative (but for `start`) or not finite, a count or compartment
    below 1, or several doses without `every`.
    """
    given = {"amount": amount, "every": every, "start": start, "duration": duration, "loading": loading}
    for name, x in given.items():
        if x is None:
            continue
        if np.ndim(x) or not np.isfinite(x) or (x < 0 and name != "start"):
            which = "a finite number" if name == "start" else "a finite number, 0 or more"
            raise ValueError(f"regimen: {name} is {x}; give {which}.")
    if min(count, compartment) < 1 or count % 1 or compartment % 1:
        raise ValueError(f"regimen: count is {count} and compartment {compartment}; both are whole numbers from 1 on.")
    if count > 1 and not every:
        raise ValueError(f"regimen: {count} doses need the time from one to the next, such as every=12.")
    amounts = np.where(np.arange(count) == 0, amount if loading is None else loading, amount)
    turn = np.arange(count)
    times = repeated_times(np.full(count, start), np.full(count, every or 0.0), turn)
    return Doses.of(amounts, times, duration, compartment)


@dataclasses.dataclass(frozen=True)
class Regimens:
    """What `simulate_regimens` found. One number is one virtual subject, the same under every
    regimen."""

    # A row for each regimen and TIME, and a column for each percentile ("5%", ...).
    curves: pd.DataFrame
    # A row for each regimen and quantity (see `exposure`), and the same columns.
    table: pd.DataFrame
    # A row for each regimen and virtual subject: its constant covariates, and its exposure.
    subjects: pd.DataFrame
    time_label: str
    y_label: str
    caption: str

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.table.to_string(index=False, float_format='{:.4g}'.format)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"<p>{html.escape(self.caption)}</p>{table}"

    def to_xarray(self) -> Any:
        """The curves as an `xarray.Dataset`: `response` (regimen, time, percentile), in the unit of y.

        ImportError where xarray is not installed.
        """
        names = list(dict.fromkeys(self.curves.regimen))
        columns = list(self.curves.columns.drop(["regimen", "TIME"]))
        values = self.curves[columns].to_numpy().reshape(len(names), -1, len(columns))
        time = self.curves.TIME.to_numpy()[: values.shape[1]]
        axes = {"regimen": names, "time": time, "percentile": columns}
        about = {"caption": self.caption, "time": self.time_label, "response": self.y_label}
        return labelled({"response": (("regimen", "time", "percentile"), values)}, axes, about)


def simulate_regimens(
    fit: Fit,
    regimens: Mapping[str, Doses],
    time: Float[ArrayLike, " m"],
    *,
    key: PRNGKeyArray | None = None,
    subjects: int = 500,
    covariates: Mapping[str, Any] | pd.DataFrame | None = None,
    outcome: str | None = None,
    percentiles: Sequence[float | int] = (5, 50, 95),
    above: float | int | None = None,
) -> Regimens:
    """Virtual subjects under `regimens`, doses by name: E[y | theta, eta, x], without residual
    error, at `time` (m,).

        often = {"every 12 h": mf.regimen(4.0, every=12, count=6)}
        result = mf.simulate_regimens(fit, often, np.linspace(48, 72, 49), key=jax.random.key(1))

    Each has an eta ~ p(eta | theta), and its own draw of theta where the fit has draws from a
    posterior; after naive pooling all are typical. Covariates are those of someone in the fitted
    population, together, but for what `covariates` names: numbers for all, or values of L people
    (L,), drawn together too; (L, m) for what changes in time. The same people get every regimen.
    `outcome` is one of several. The exposure is over `time`, first to last; `above` adds
    `time_above`, how long a curve lies above that level.

    ValueError for an outcome or covariate that is unknown, one that changes in time and is not
    given, parameters of the random effects that the fit has not estimated, or a prediction that is
    not finite.
    """
    fit = fit if outcome is None else fit.outcome(outcome)
    check(fit, key=key)
    population = fit.population
    time = np.asarray(time, float)
    names = np.array([*regimens], object)
    _check_request(regimens, time, subjects, percentiles)
    keys: Any = jax.random.split(key, 3)  # type: ignore[arg-type]  # `check` saw to a key
    given = {} if covariates is None else dict(covariates)
    drawn = _covariates(population, time.size, subjects, given, keys[0])
    unseen = jnp.ones((subjects, time.size))
    people = Subject(time=jnp.tile(time, (subjects, 1)), y=unseen, mask=unseen, covariates=drawn)
    models = fit.model
    turns = None
    if fit.draws is not None:
        models = fit.draws.models
        turns = jnp.resize(jax.random.permutation(keys[1], len(fit.draws)), (subjects,))
    doses = Doses.together(list(regimens.values()))
    c = np.asarray(_curves(models, turns, jax.random.split(keys[2], subjects), people, doses, typical(fit)))
    not_finite = names[~np.isfinite(c).all((1, 2))]
    if not_finite.size:
        raise ValueError(
            f"regimen {not_finite[0]}: not all predictions are finite; look at its compartments, or the solver."
        )
    quantities = regimen_measures(time, c, above)
    by_quantity = np.stack([*quantities.values()], 1)
    kind = "virtual subjects, typical but for covariates" if typical(fit) else "virtual subjects"
    return Regimens(
        curves=_percentiles(c.swapaxes(1, 2), names, "TIME", time, percentiles),
        table=_percentiles(by_quantity, names, "quantity", [*quantities], percentiles),
        subjects=_everyone(names, subjects, drawn, quantities),
        time_label=population.time_label,
        y_label=population.y_label,
        caption=f"{population.y_label}, {population.time_label}: {subjects} {kind}",
    )


def _everyone(
    names: np.ndarray, count: int, covariates: dict[str, Array], quantities: dict[str, Array]
) -> pd.DataFrame:
    """A row for each regimen and virtual subject: its constant covariates, and its exposure."""
    columns = {"regimen": np.repeat(names, count), "subject": np.tile(np.arange(count) + 1, len(names))}
    columns |= {name: np.tile(x, len(names)) for name, x in covariates.items() if x.ndim == 1}
    columns |= {name: np.ravel(x) for name, x in quantities.items()}
    return pd.DataFrame(columns)


def _check_request(
    regimens: Mapping[str, Doses], time: np.ndarray, subjects: int, percentiles: Sequence[float | int]
) -> None:
    """Raise ValueError for regimens, times, a number of people or percentiles that cannot be."""
    if not regimens or not all(isinstance(doses, Doses) and doses.time.ndim == 1 for doses in regimens.values()):
        raise ValueError('regimens are doses by name, such as {"daily": mf.regimen(100, every=24, count=7)}.')
    if time.ndim != 1 or time.size < 2 or not (np.all(np.isfinite(time)) and np.all(np.diff(time) > 0)):
        raise ValueError("time needs two times or more, (m,), finite and rising, such as np.linspace(0, 48, 97).")
    if subjects < 1 or not 0 <= min(percentiles, default=-1) <= max(percentiles) <= 100:
        raise ValueError("simulate_regimens needs one virtual subject or more, and percentiles between 0 and 100.")


def _percentiles(
    x: Float[np.ndarray, "R V S"], names: np.ndarray, label: str, values: Any, percentiles: Sequence[float | int]
) -> pd.DataFrame:
    """Percentiles over S subjects: a row for each of R regimens and V values of what `label`
    names."""
    index = pd.MultiIndex.from_product([names, values], names=["regimen", label])
    columns = {f"{p:g}%": np.percentile(x, p, -1).ravel() for p in percentiles}
    return pd.DataFrame(columns, index).reset_index()


@compiled
def _curves(
    models: Model, turns: Any, keys: Any, subjects: Subject, doses: Doses, at_mean: bool
) -> Float[Array, "D S m"]:
    """The mean curves of S virtual subjects under each of D regimens; each has a key, and may have its own draw."""

    def curve(turn, key, subject):
        alone = jax.tree.map(lambda x: x[None], subject)
        return new_people(models, turn, alone, key, None, at_mean=at_mean)[0]

    def curves_under(doses):
        same = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(keys), x.size)), doses)
        return jax.vmap(curve)(turns, keys, dataclasses.replace(subjects, doses=same))

    return jax.vmap(curves_under)(doses)


def _covariates(population: Population, times: int, count: int, given: dict[str, Any], key: Any) -> dict[str, Array]:
    """(count,) of every covariate, or (count, m) of one that changes in time."""
    known = population.subjects.covariates
    numbers = {name: jnp.asarray(x, float) for name, x in given.items()}
    strange = sorted(numbers.keys() - known.keys())
    if strange:
        raise ValueError(f"covariate {strange[0]} is not one of the fitted population's: {', '.join(known) or 'none'}.")
    lengths = {len(x) for x in numbers.values() if x.ndim}
    key_fitted, key_given = jax.random.split(key)
    covariates = {}
    for name, fitted in known.items():
        if name in numbers:
            _check_covariate(name, numbers[name], lengths, times if fitted.ndim == 2 else None)
            drawn = _drawn(numbers[name], count, key_given)
        elif fitted.ndim == 2:
            raise ValueError(f"covariate {name} changes in time: say how, in covariates={{{name!r}: ...}}.")
        else:
            drawn = _drawn(fitted, count, key_fitted)
        if drawn.ndim < fitted.ndim:  # held at one value all the time
            drawn = jnp.repeat(drawn[:, None], times, 1)
        covariates[name] = drawn
    return covariates


def _check_covariate(name: str, x: Array, lengths: set[int], times: int | None) -> None:
    """Raise ValueError for what is no number, nor one for each person; at `times`, where it changes
    in time."""
    shapes = [()] if times is None else [(), (times,)]
    one_length = len(lengths) <= 1 and 0 not in lengths
    if not one_length or x.shape[1:] not in shapes or not bool(jnp.isfinite(x).all()):
        raise ValueError(f"covariate {name} of shape {x.shape}: give a finite number, or one for each of L people.")


def _drawn(x: Array, count: int, key: Any) -> Array:
    """One number for all; or values of people drawn by the key.

    The same key, for the same number of people, chooses the same ones, so that a person's values
    stay together.
    """
    if x.ndim == 0:
        return jnp.full(count, x)
    return x[jax.random.choice(key, len(x), (count,))]
