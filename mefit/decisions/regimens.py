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
from ..data.population import Population
from ..data.subject import Doses, Subject
from ..fitting.about import _check, typical
from ..fitting.result import Fit
from ..model.model import Model
from ..model.simulate import new_people


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
    """`count` doses of `amount`, `every` so many units of time from `start`; `loading` replaces the first amount.

    A `duration` above 0 makes them infusions. Units are those of the data. ValueError for a number that is negative
    (but for `start`) or not finite, a count or compartment below 1, or several doses without `every`.
    """
    for name, x in dict(amount=amount, every=every, start=start, duration=duration, loading=loading).items():
        if x is not None and not (np.ndim(x) == 0 and np.isfinite(x) and (x >= 0 or name == "start")):
            raise ValueError(f"regimen: {name} is {x}; give a finite number{', 0 or more' * (name != 'start')}.")
    if min(count, compartment) < 1 or count % 1 or compartment % 1:
        raise ValueError(f"regimen: count is {count} and compartment {compartment}; both are whole numbers from 1 on.")
    if count > 1 and not every:
        raise ValueError(f"regimen: {count} doses need the time from one to the next, such as every=12.")
    amounts = np.where(np.arange(count) == 0, amount if loading is None else loading, amount)
    return Doses.of(amounts, start + (every or 0.0) * np.arange(count), duration, compartment)


def exposure(time: Float[ArrayLike, "... m"], concentration: Float[ArrayLike, "... m"]) -> dict[str, Array]:
    """Of curves (m,) or (N, m) at times (m,) or (N, m): `cmax` and `cmin`, their highest and lowest value, `tmax`, the
    time of the (first) highest, and `auc`, their area by the linear trapezoidal rule. Peak and area need a fine grid, a
    trough the times of its interval. ValueError for times that fall, other shapes, or a value that is not finite.
    """
    t, c = jnp.asarray(time, float), jnp.asarray(concentration, float)
    if c.ndim * c.size == 0 or t.shape not in (c.shape[-1:], c.shape):
        raise ValueError(f"exposure: time has shape {t.shape}, concentration {c.shape}; give (m,) or (N, m) of both.")
    sound = jnp.all(jnp.diff(t) >= 0) & jnp.all(jnp.isfinite(t)) & jnp.all(jnp.isfinite(c))
    if not isinstance(sound, jax.core.Tracer) and not bool(sound):
        raise ValueError("exposure: times must rise, and times and concentrations be finite; sort, and leave gaps out.")
    t = jnp.broadcast_to(t, c.shape)
    peak = jnp.take_along_axis(t, jnp.argmax(c, -1)[..., None], -1)[..., 0]
    return {"cmax": jnp.max(c, -1), "tmax": peak, "cmin": jnp.min(c, -1), "auc": jnp.trapezoid(c, t, axis=-1)}


@dataclasses.dataclass(frozen=True)
class Regimens:
    """What `simulate_regimens` found. `curves` has a row a regimen and TIME, `table` one a regimen and quantity (see
    `exposure`), both with a column a percentile ("5%", ...); `subjects` has one a regimen and virtual subject, with its
    constant covariates and exposure. One number is one person, under every regimen.
    """

    curves: pd.DataFrame
    table: pd.DataFrame
    subjects: pd.DataFrame
    time_label: str
    y_label: str
    caption: str

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.table.to_string(index=False, float_format='{:.4g}'.format)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"<p>{html.escape(self.caption)}</p>{table}"


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
) -> Regimens:
    """Virtual subjects under `regimens`, doses by name: E[y | theta, eta, x], without residual error, at `time` (m,).

    Each has an eta ~ p(eta | theta), and its own draw of theta where the fit has draws from a posterior; after naive
    pooling all are typical. Covariates are those of someone in the fitted population, together, but for what
    `covariates` names: numbers for all, or values of L people (L,), drawn together too; (L, m) for what changes in
    time. The same people get every regimen. `outcome` is one of several. The exposure is over `time`, first to last.

    ValueError for an outcome or covariate that is unknown, one that changes in time and is not given, parameters of the
    random effects that the fit has not estimated, or a prediction that is not finite.
    """
    fit = fit if outcome is None else fit.outcome(outcome)
    _check(fit, key=key)
    population, time, names = fit.population, np.asarray(time, float), np.array([*regimens], object)
    if not regimens or not all(isinstance(d, Doses) and d.time.ndim == 1 for d in regimens.values()):
        raise ValueError('regimens are doses by name, such as {"daily": mf.regimen(100, every=24, count=7)}.')
    if time.ndim != 1 or time.size < 2 or not (np.all(np.isfinite(time)) and np.all(np.diff(time) > 0)):
        raise ValueError("time needs two times or more, (m,), finite and rising, such as np.linspace(0, 48, 97).")
    if subjects < 1 or not 0 <= min(percentiles, default=-1) <= max(percentiles) <= 100:
        raise ValueError("simulate_regimens needs one virtual subject or more, and percentiles between 0 and 100.")
    keys: Any = jax.random.split(key, 3)  # type: ignore[arg-type]  # `_check` saw to a key
    who = _covariates(population, time.size, subjects, dict({} if covariates is None else covariates), keys[0])
    unseen = jnp.ones((subjects, time.size))
    people = Subject(jnp.tile(time, (subjects, 1)), unseen, unseen, who)
    turns = None if fit.draws is None else jnp.resize(jax.random.permutation(keys[1], len(fit.draws)), (subjects,))
    about = fit.draws.models if fit.draws else fit.model, turns, jax.random.split(keys[2], subjects), people
    c = np.asarray(_curves(*about, Doses.together(list(regimens.values())), typical(fit)))
    for name in names[~np.isfinite(c).all((1, 2))]:
        raise ValueError(f"regimen {name}: not all predictions are finite; look at its compartments, or the solver.")
    found = exposure(time, c)

    def banded(x: np.ndarray, label: str, values: Any) -> pd.DataFrame:
        index = pd.MultiIndex.from_product([names, values], names=["regimen", label])
        return pd.DataFrame({f"{p:g}%": np.percentile(x, p, -1).ravel() for p in percentiles}, index).reset_index()

    frames = banded(c.swapaxes(1, 2), "TIME", time), banded(np.stack([*found.values()], 1), "quantity", [*found])
    labels = population.time_label, population.y_label
    caption = f"{labels[1]}, {labels[0]}: {subjects} virtual subjects" + ", typical but for covariates" * typical(fit)
    each = {"regimen": np.repeat(names, subjects), "subject": np.tile(np.arange(subjects) + 1, len(names))}
    each |= {k: np.tile(x, len(names)) for k, x in who.items() if x.ndim == 1}
    each |= {k: np.ravel(x) for k, x in found.items()}
    return Regimens(*frames, pd.DataFrame(each), *labels, caption)


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
    known, given = population.subjects.covariates, {k: jnp.asarray(x, float) for k, x in given.items()}
    lengths, keys, out = {len(x) for x in given.values() if x.ndim}, jax.random.split(key), {}
    if strange := sorted(given.keys() - known.keys()):
        raise ValueError(f"covariate {strange[0]} is not one of the fitted population's: {', '.join(known) or 'none'}.")
    for name, old in known.items():
        new, x, shapes = name in given, given.get(name, old), ((), (times,)[: old.ndim - 1])
        if old.ndim == 2 and not new:
            raise ValueError(f"covariate {name} changes in time: say how, in covariates={{{name!r}: ...}}.")
        if new and (len(lengths) > 1 or 0 in lengths or x.shape[1:] not in shapes or not bool(jnp.isfinite(x).all())):
            raise ValueError(f"covariate {name} of shape {x.shape}: give a finite number, or one for each of L people.")
        # The same key, for the same number of people, chooses the same ones, so that a person's values stay together.
        x = x[jax.random.choice(keys[int(new)], len(x), (count,))] if x.ndim else jnp.full(count, x)
        out[name] = jnp.repeat(x[:, None], times, 1) if x.ndim < old.ndim else x
    return out
