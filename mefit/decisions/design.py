"""What a study can know before it is done: expected standard errors from its sampling times."""

import dataclasses
import html
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.chance import require_key
from ..base.compiling import compiled
from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import gaussian_effects, linearised
from ..inference.standard_errors import numbers_and_slopes, prior_hessian
from ..model.model import Model
from ..model.numbers import entries
from ..model.parameters import as_names
from ..model.predict import on_grid
from ..model.simulate import simulate
from ..model.space import Space
from ..objectives import mixture
from ..objectives.information import spectrum
from ..objectives.objective import Objective

_BLIND = 1e-11  # a standardised eigenvalue at or below this is zero
_HIT = 1e-6  # of a number's slope: what lies along directions that the study does not see
_REPLICATES = 20  # of the population, where the information is simulated


@dataclasses.dataclass(frozen=True)
class Design:
    """Expected standard errors of each schedule.

    `table` has a row for each schedule and parameter: its value, unit, `se`, and `rse` in percent, infinite where no
    number of subjects makes it known. `information` holds the matrices in the free coordinates, and `efficiency` how
    many subjects each schedule is worth beside the best, by (|M| / |M_best|)^(1/P).
    """

    table: pd.DataFrame
    information: dict[str, Float[np.ndarray, "P P"]] = dataclasses.field(repr=False)
    efficiency: pd.Series
    how: str

    def __repr__(self) -> str:
        return f"{self.how}\n{self._wide.to_string(float_format='{:.3g}'.format)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.how)}</p>{self._wide.to_html(float_format='{:.3g}'.format)}"

    @property
    def _wide(self) -> pd.DataFrame:
        wide = self.table.pivot(index="schedule", columns="parameter", values="rse")
        order = list(dict.fromkeys(self.table.parameter))
        return wide.loc[list(self.information), order].assign(efficiency=self.efficiency)


def design(
    model: Model,
    population: Population,
    schedules: Mapping[str, Any],  # of times (m,)
    *,
    fixed: str | Iterable[str] = (),
    method: Objective | None = None,
    key: PRNGKeyArray | None = None,
) -> Design:
    """Expected relative standard errors of a study of `population`'s subjects, doses and covariates at other times.

        mf.design(fit.model, population, {"rich": [0.5, 1, 2, 4, 8, 24], "sparse": [2, 24]})

    To first order a subject's responses are Gaussian with mean f(theta) and covariance V(theta), and the expected
    information is

        M = sum_i  (df/dx)' V^-1 (df/dx) + 1/2 tr(V^-1 dV/dx_a V^-1 dV/dx_b),

    with dV/dx = 0 for what moves the mean, the form that comes closest to simulated studies. With a `method`, it is
    instead the mean of s s' over responses that are simulated from the model, s the score of a subject by that method:
    `mf.FOCE()` or `mf.Laplace()` for a model that bends in eta. A declared prior adds its own curvature.

    **Arguments**

    - `model`: at the parameters that are thought to be true.
    - `schedules`: times by name, the same for all.
    - `fixed`: names of parameters that will not be estimated.
    - `method`, `key`: for the information by simulation, 20 responses of each subject.

    **Returns:** a `Design`.

    **Raises:** ValueError for no schedules, a covariate that changes in time, nothing to estimate, or responses
    that are not Gaussian and no `method`.
    Sources: Retout, Mentré and Bruno (2002), Stat. Med. 21; compared: Nyberg et al. (2015), Br. J. Clin. Pharmacol. 79.
    """
    if not schedules:
        raise ValueError('schedules are times by name, such as {"rich": [0.5, 1, 2, 4, 8, 24], "sparse": [2, 24]}.')
    held = as_names(fixed)
    space = Space(model, held)
    if not space.size:
        raise ValueError("every parameter is in fixed, so there is no standard error to expect: leave some out of it.")
    x = jnp.asarray(space.vector())
    if method is not None:
        require_key(key, "design with a method")
    found: dict[str, np.ndarray] = {}
    for name, times in schedules.items():
        subjects = on_grid(population, jnp.asarray(times, float))
        planned = dataclasses.replace(population, subjects=subjects)
        if method is None:
            information = _first_order(space, x, subjects)
        else:
            information = _simulated(space, x, planned, method, key)
        found[name] = np.asarray(information) - np.asarray(prior_hessian(space, x))
    values, slopes = numbers_and_slopes(space, x)
    rows = entries(model, held)
    parts = []
    for name, information in found.items():
        se = _standard_errors(information, np.asarray(slopes.natural))
        value = np.asarray(values.natural)
        columns = {"schedule": name, "parameter": [entry.label for entry in rows], "value": value}
        columns |= {"unit": [entry.unit for entry in rows], "se": se, "rse": 100.0 * se / np.abs(value)}
        parts.append(pd.DataFrame(columns))
    how = "by simulation, " + method.label if method is not None else "to first order"
    return Design(
        table=pd.concat(parts, ignore_index=True),
        information=found,
        efficiency=_efficiency(found),
        how=f"Expected relative standard errors (%) of {len(population)} subjects, {how}",
    )


@compiled
def _first_order(space: Space, x: Float[Array, " P"], subjects: Subject) -> Float[Array, "P P"]:
    def of_subject(subject):
        def moments(x):
            model = space.at(x)
            law = gaussian_effects(model)
            at, jacobian, _ = linearised(model, law.mean, subject)
            loaded = jacobian @ law.lower
            lower = at.lower if at.lower.ndim == 2 else jnp.diag(at.lower)
            return at.mean, loaded @ loaded.T + lower @ lower.T

        return moments(x)[1], *jax.jacfwd(moments)(x)

    covariance, mean_slope, covariance_slope = jax.vmap(of_subject)(subjects)
    moves_mean = jnp.any(mean_slope != 0.0, axis=(0, 1))
    of_spread = jnp.where(moves_mean, 0.0, covariance_slope)

    def information(v, f, dv):
        lower = jnp.linalg.cholesky(v)
        solved = jax.scipy.linalg.cho_solve((lower, True), dv.reshape(len(v), -1)).reshape(dv.shape)
        return f.T @ jax.scipy.linalg.cho_solve((lower, True), f) + 0.5 * jnp.einsum("ija,jib->ab", solved, solved)

    return jnp.sum(jax.vmap(information)(covariance, mean_slope, of_spread), axis=0)


def _simulated(
    space: Space, x: Float[Array, " P"], planned: Population, method: Objective, key: Any
) -> Float[np.ndarray, "P P"]:
    total = np.zeros((x.size, x.size))
    for one in jax.random.split(key, _REPLICATES):
        key_y, key_draws = jax.random.split(one)
        people = simulate(space.template, planned, key_y)
        extras = mixture.extras_of(method, space.template, people, key_draws)
        scores = np.asarray(_scores(method, space, x, people.subjects, extras))
        total += scores.T @ scores / _REPLICATES
    return total


@compiled
def _scores(method: Objective, space: Space, x: Array, subjects: Subject, extras: Any) -> Float[Array, "N P"]:
    def value(x, subject, extra):
        return mixture.term(method, space.at(x), subject, extra).value

    return jax.vmap(jax.grad(value), in_axes=(None, 0, 0))(x, subjects, extras)


def _standard_errors(information: Float[np.ndarray, "P P"], slopes: Float[np.ndarray, "E P"]) -> np.ndarray:
    """Of the numbers with these slopes; infinite for what a singular information does not single out."""
    found = spectrum(information)
    along = (slopes / found.scale) @ found.axes
    blind = found.strength <= _BLIND * max(found.strength[-1], 0.0)
    variance = np.sum(along[:, ~blind] ** 2 / found.strength[~blind], axis=1)
    hit = np.sum(along[:, blind] ** 2, axis=1) > _HIT**2 * np.sum(along**2, axis=1)
    return np.where(hit, np.inf, np.sqrt(variance))


def _efficiency(found: dict[str, np.ndarray]) -> pd.Series:
    """(|M| / |M_best|)^(1/P): a half means that twice as many subjects are needed."""
    log_det = {}
    for name, information in found.items():
        sign, value = np.linalg.slogdet(information)
        log_det[name] = value if sign > 0 else -np.inf
    series = pd.Series(log_det)
    if not np.isfinite(series.max()):
        return series * 0.0
    return np.exp((series - series.max()) / len(next(iter(found.values()))))
