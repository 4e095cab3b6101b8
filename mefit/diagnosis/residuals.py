"""Is a fit to be believed? Predictions, residuals and shrinkage."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import ndtri

from ..base.compiling import compiled
from ..data.population import Population, one_outcome
from ..data.subject import Subject
from ..fitting.about import check, typical
from ..fitting.result import Fit
from ..model.categorical import is_discrete as has_discrete_support
from ..model.densities import eta_cov, eta_mean, first_density, observation_density, shrinkage_of
from ..model.model import Model
from ..model.moments import mean_of, variance_of
from ..model.normals import correlated_rows
from ..model.numbers import eta_names
from ..model.predict import predict
from .individuals import individuals
from .simulations import simulations

_SINGULAR = 1e-12  # of correlations: a smallest eigenvalue no greater is zero


# ---------------------------------------------------------------- the tables


def predictions(fit: Fit, time: Any = None, *, population: Population | None = None, eta: Any = None) -> pd.DataFrame:
    """ID, TIME, DV, PRED and IPRED of every row: of the fit's subjects, or of those of another
    `population`.

    PRED = E[y | theta, eta at its mean], IPRED = E[y | theta, eta_i], in the unit of y. eta_i are
    the fit's `eta`; for another `population` they are found by empirical Bayes from its responses
    (so a subject without any is typical), unless `eta` (N, K) is given. `time`, (m,) or (N, m),
    asks for other times than the subjects' own. DV is empty there and where a response is missing.

    ValueError as in `predict`; and where eta is to be found though the fit has not estimated its
    law.

        mf.predictions(fit)
        mf.predictions(fit, time=[1.0, 2.0, 4.0])
    """
    looked_at = one_outcome(fit.population if population is None else population)
    if eta is None:
        eta = individuals(fit, population).eta
    time = None if time is None else np.asarray(time, float)
    pred = np.asarray(predict(fit.model, looked_at, None, time))
    ipred = np.asarray(predict(fit.model, looked_at, eta, time))
    if time is None:
        subjects = looked_at.subjects
        times = np.asarray(subjects.time)
        dv = np.where(subjects.mask, subjects.y, np.nan)
        rows = np.asarray(subjects.real)
    else:
        times = np.broadcast_to(time, pred.shape)
        dv = np.full(pred.shape, np.nan)
        rows = np.ones(pred.shape, bool)
    return frame_of(looked_at, rows, TIME=times, DV=dv, PRED=pred, IPRED=ipred)


def residuals(
    fit: Fit,
    *,
    population: Population | None = None,
    key: PRNGKeyArray | None = None,
    samples: int = 1000,
) -> pd.DataFrame:
    """ID, TIME, DV, PRED, IPRED, IWRES, CWRES and, with a `key`, EPRED, NPD, NPDE: a row for each
    observed response.

        table = mf.residuals(fit, key=jax.random.key(1))

    - IWRES = (y - f(eta*)) / sd(eta*), f and sd the mean and SD of the observation density, eta*
      the fit's `eta`.
    - CWRES = L^-1 (y - f(eta*) + G (eta* - mean)), L L' = G Omega G' + R(eta*), G = df/deta at
      eta*: the model linearised at eta*, with interaction. N(0, 1) where it is linear and Gaussian,
      whatever eta* is.
    - EPRED is the mean of `samples` simulated data sets; NPD = Phi^-1((number below y + 1/2) /
      (samples + 1)). NPDE is the same after a subject's y and simulations are centred and
      multiplied by the inverse Cholesky factor of their simulated covariance. Where the model is
      right both are N(0, 1); only the NPDE of a subject are uncorrelated. Discrete outcomes, and
      their simulations, first get a uniform jitter of +-1/2, which breaks ties at random.
    - A censored response has no residual, and is left out.

    Of another `population` eta* is found by empirical Bayes at the fit's theta; its censored
    responses count there.

    ValueError where a density has no positive, finite variance, such as that of an event, or
    `samples` are too few for a subject's rows.
    Sources: CWRES: Hooker, Staatz and Karlsson (2007), Pharm. Res. 24; NPDE: Brendel et al. (2006),
    Pharm. Res. 23; Comets, Brendel and Mentré (2008), Comput. Methods Programs Biomed. 90.
    """
    check(fit, population=population)
    people = individuals(fit, population)
    measured = people.population.uncensored
    subjects = measured.subjects
    mean, variance, iwres, cwres = _standardised(fit.model, jnp.asarray(people.eta), subjects, typical(fit))
    bad = ~np.all((variance > 0) & np.isfinite(variance), axis=1)
    if bad.any():
        raise ValueError(
            f"subject {measured.ids[int(np.argmax(bad))]} has observations without a positive, finite variance: "
            "add an additive error."
        )
    columns = {
        "TIME": subjects.time,
        "DV": subjects.y,
        "PRED": predict(fit.model, measured),
        "IPRED": mean,
        "IWRES": iwres,
        "CWRES": cwres,
    }
    if key is not None:
        simulated = simulations(fit, samples, key, population=people.population)
        columns |= _prediction_discrepancies(fit.model, measured, simulated, key)
    return frame_of(measured, np.asarray(subjects.mask), **columns)


def shrinkage(fit: Fit, *, population: Population | None = None) -> pd.DataFrame:
    """How far individual estimates fall short of their distribution: a row for each eta, and one
    for epsilon.

        mf.shrinkage(fit)

    `sd_form` = 1 - SD(eta*) / omega (which is `fit.shrinkage`), `variance_form` = 1 - Var(eta*) /
    omega^2; for epsilon 1 - SD(IWRES) and 1 - Var(IWRES). The divisor is count - 1. People who were
    never observed count too where they were kept, with eta* at the mean. Of another `population`
    eta* is found by empirical Bayes at the fit's theta.
    Source: Savic and Karlsson (2009), AAPS J. 11.
    """
    check(fit, True, population=population)
    people = individuals(fit, population)
    of_effects = 1.0 - shrinkage_of(fit.model, people.eta)
    spread = np.append(of_effects, residuals(fit, population=people.population).IWRES.std())
    names = pd.Index([*eta_names(fit.model), "epsilon"], name="effect")
    return pd.DataFrame({"sd_form": 1.0 - spread, "variance_form": 1.0 - spread**2}, index=names)


def random_effects_table(fit: Fit, *, population: Population | None = None) -> pd.DataFrame:
    """A row for each subject: ID, each eta by its name, its SD (`<name>_sd`), and (first) values of
    the covariates.

        mf.random_effects_table(fit)

    Of another `population` they are found by empirical Bayes at the fit's theta.
    ValueError where a random effect and a covariate have one name, or the fit has no random effects
    or has not estimated their law.
    """
    check(fit, True, population=population)
    people = individuals(fit, population)
    sd = np.sqrt(np.diagonal(people.covariance, axis1=1, axis2=2))
    columns: dict[str, Any] = {"ID": list(people.population.ids)}
    for j, name in enumerate(eta_names(fit.model)):
        columns[name] = people.eta[:, j]
        columns[f"{name}_sd"] = sd[:, j]
    for name, values in people.population.subjects.covariates.items():
        if name in columns:
            raise ValueError(f"{name} names both a random effect and a covariate; rename one of them.")
        columns[name] = np.asarray(values).reshape(len(sd), -1)[:, 0]
    return pd.DataFrame(columns)


def is_discrete(model: Model, population: Population) -> bool:
    """Are the responses counts or categories, by the support of their density?"""
    return has_discrete_support(first_density(model, population))


def frame_of(population: Population, rows: np.ndarray, **columns: Any) -> pd.DataFrame:
    """A frame with a line for each true place of `rows` (N, m), from columns of that shape."""
    subject, row = np.nonzero(rows)
    values = {name: np.asarray(column)[subject, row] for name, column in columns.items()}
    frame = pd.DataFrame({"ID": [population.ids[i] for i in subject]} | values)
    frame.attrs |= {"time_label": population.time_label, "y_label": population.y_label}
    return frame


# ---------------------------------------------------------------- the residuals


class _Standardised(NamedTuple):
    mean: Float[Array, "N n"]  # of the observation density; 0 where nothing was observed
    variance: Float[Array, "N n"]  # of it; 1 where nothing was observed
    iwres: Float[Array, "N n"]
    cwres: Float[Array, "N n"]


@compiled
def _standardised(model: Model, eta: Array, subjects: Subject, pooled: bool) -> _Standardised:
    """Moments and residuals of every row; `pooled` says that everyone is typical."""
    omega = jnp.zeros((eta.shape[1],) * 2) if pooled else eta_cov(model)

    def of_subject(eta, subject):
        def moments(eta):
            density = observation_density(model, eta, subject)
            who = f"{type(model).__name__}.observations"
            mean = jnp.where(subject.mask, mean_of(density, who), 0.0)
            variance = jnp.where(subject.mask, variance_of(density, who), 1.0)
            return mean, (mean, variance, _within(density, variance, subject.mask))

        g, (mean, variance, within) = jax.jacfwd(moments, has_aux=True)(eta)
        residual = jnp.where(subject.mask, subject.y - mean, 0.0)
        lower = jnp.linalg.cholesky(g @ omega @ g.T + within)
        from_mean = residual + g @ (eta - eta_mean(model))
        cwres = jax.scipy.linalg.solve_triangular(lower, from_mean, lower=True)
        return _Standardised(mean=mean, variance=variance, iwres=residual / jnp.sqrt(variance), cwres=cwres)

    return jax.vmap(of_subject)(eta, subjects)


def _within(density: Any, variance: Array, mask: Array) -> Float[Array, "n n"]:
    """R, the covariance of a subject's rows given its random effects; 1 where nothing was observed."""
    correlated = correlated_rows(density)
    if correlated is None:
        return jnp.diag(variance)
    return jnp.where(mask[:, None] & mask[None, :], correlated.covariance, jnp.diag(variance))


class _Responses(NamedTuple):
    """Responses, and data sets simulated in their place."""

    observed: Float[np.ndarray, "N n"]
    simulated: Float[np.ndarray, "S N n"]

    def normal_scores(self) -> Float[np.ndarray, "N n"]:
        """Phi^-1 of the share of the simulations below each response, kept from 0 and 1 by half a
        simulation."""
        below = np.sum(self.simulated < self.observed, axis=0)
        return ndtri((below + 0.5) / (len(self.simulated) + 1.0))


def _prediction_discrepancies(
    model: Model, population: Population, simulated: np.ndarray, key: PRNGKeyArray
) -> dict[str, np.ndarray]:
    """EPRED, NPD and NPDE, (N, n) each, from responses simulated at the rows of the population."""
    expected = simulated.mean(0)
    observed = np.asarray(population.subjects.y)
    if is_discrete(model, population):
        rng = np.random.default_rng(np.ravel(jax.random.key_data(key)))
        observed = observed + rng.uniform(-0.5, 0.5, observed.shape)
        simulated = simulated + rng.uniform(-0.5, 0.5, simulated.shape)
    responses = _Responses(observed, simulated)
    return {
        "EPRED": expected,
        "NPD": responses.normal_scores(),
        "NPDE": _decorrelated(population, responses).normal_scores(),
    }


def _decorrelated(population: Population, responses: _Responses) -> _Responses:
    """The same, centred and decorrelated within each subject."""
    mask = np.asarray(population.subjects.mask)
    together = np.concatenate([responses.observed[None], responses.simulated])
    # (N, n, 1 + S)
    centred = np.where(mask, together - responses.simulated.mean(0), 0.0).transpose(1, 2, 0)
    spread = np.std(centred[..., 1:], axis=2, ddof=1)
    # as correlations, so that no unit of the data, and no other subject, decides what is singular
    scaled = centred / np.where(spread > 0, spread, 1.0)[..., None]
    correlation = scaled[..., 1:] @ scaled[..., 1:].transpose(0, 2, 1) / (len(responses.simulated) - 1)
    correlation += np.eye(mask.shape[1]) * ~mask[:, None]
    least = np.linalg.eigvalsh(correlation)[:, 0]
    if not np.min(least) > _SINGULAR:
        raise ValueError(
            f"the simulated responses of subject {population.ids[int(np.argmin(least))]} have a singular covariance, "
            "so NPDE needs more samples."
        )
    whitened = np.linalg.solve(np.linalg.cholesky(correlation), scaled).transpose(2, 0, 1)
    return _Responses(observed=whitened[0], simulated=whitened[1:])
