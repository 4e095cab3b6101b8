"""Is a fit to be believed? Predictions, residuals and shrinkage."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, PRNGKeyArray
from scipy.stats import norm

from ..base.compiling import compiled
from ..data.population import Population, one_outcome
from ..data.subject import Subject
from ..fitting.about import _check, eta_names, typical
from ..fitting.result import Fit
from ..model.densities import eta_cov, eta_mean, observation_density
from ..model.model import Model
from ..model.predict import predict
from .simulations import simulations


def predictions(fit: Fit, time: Any = None, *, population: Population | None = None, eta: Any = None) -> pd.DataFrame:
    """ID, TIME, DV, PRED and IPRED of every row: of the fit's subjects, or of new ones with doses of their own.

    PRED = E[y | theta, eta at its mean], IPRED = E[y | theta, eta_i], in the unit of y. eta_i are the fit's `eta`; for
    another `population` they are at their mean, too, unless `eta` (N, K) is given. `time`, (m,) or (N, m), asks for
    other times than the subjects' own. DV is empty there and where a response is missing. ValueError as in `predict`.
    """
    eta = fit.eta if eta is None and population is None else eta
    population = one_outcome(fit.population if population is None else population)
    pred, ipred = (np.asarray(predict(fit.model, population, e, time)) for e in (None, eta))
    at, dv, rows = time, np.full(pred.shape, np.nan), np.ones(pred.shape, bool)
    if time is None:
        subjects = population.subjects
        at, dv = subjects.time, np.where(subjects.mask, subjects.y, np.nan)
        rows = np.asarray(subjects.real)
    return frame_of(population, rows, TIME=np.broadcast_to(np.asarray(at), pred.shape), DV=dv, PRED=pred, IPRED=ipred)


def residuals(fit: Fit, *, key: PRNGKeyArray | None = None, samples: int = 1000) -> pd.DataFrame:
    """ID, TIME, DV, PRED, IPRED, IWRES, CWRES and, with a `key`, EPRED, NPD, NPDE: a row for each observed response.

    - IWRES = (y - f(eta*)) / sd(eta*), f and sd the mean and SD of the observation density, eta* the fit's `eta`.
    - CWRES = L^-1 (y - f(eta*) + G (eta* - mean)), L L' = G Omega G' + R(eta*), G = df/deta at eta*: the model
      linearised at eta*, with interaction. N(0, 1) where it is linear and Gaussian, whatever eta* is.
    - EPRED is the mean of `samples` simulated data sets; NPD = Phi^-1((number below y + 1/2) / (samples + 1)). NPDE is
      the same after a subject's y and simulations are centred and multiplied by the inverse Cholesky factor of their
      simulated covariance. Where the model is right both are N(0, 1); only the NPDE of a subject are uncorrelated.
      Discrete outcomes, and their simulations, first get a uniform jitter of +-1/2, which breaks ties at random.
    - A censored response has no residual, and is left out.

    ValueError where a density has no positive, finite variance, or `samples` are too few for a subject's rows.
    Sources: CWRES: Hooker, Staatz and Karlsson (2007), Pharm. Res. 24; NPDE: Brendel et al. (2006), Pharm. Res. 23;
    Comets, Brendel and Mentré (2008), Comput. Methods Programs Biomed. 90.
    """
    _check(fit)
    population = fit.population.uncensored
    subjects, y = population.subjects, np.asarray(population.subjects.y)
    f, variance, iwres, cwres = _standardised(fit.model, jnp.asarray(fit.eta), subjects, typical(fit))
    if (bad := ~np.all((variance > 0) & np.isfinite(variance), axis=1)).any():
        who = f"subject {population.ids[int(np.argmax(bad))]}"
        raise ValueError(f"{who} has observations without a positive, finite variance: add an additive error.")
    pred = predict(fit.model, population)
    columns = {"TIME": subjects.time, "DV": y, "PRED": pred, "IPRED": f, "IWRES": iwres, "CWRES": cwres}
    if key is not None:
        simulated = simulations(fit, samples, key)
        columns["EPRED"] = simulated.mean(0)
        if is_discrete(fit):
            rng = np.random.default_rng(np.ravel(jax.random.key_data(key)))
            y, simulated = (a + rng.uniform(-0.5, 0.5, a.shape) for a in (y, simulated))
        for name, (one, many) in {"NPD": (y, simulated), "NPDE": _decorrelated(population, y, simulated)}.items():
            columns[name] = norm.ppf((np.sum(many < one, axis=0) + 0.5) / (samples + 1.0))
    return frame_of(population, np.asarray(subjects.mask), **columns)


def shrinkage(fit: Fit) -> pd.DataFrame:
    """How far individual estimates fall short of their distribution: a row for each eta, and one for epsilon.

    `sd_form` = 1 - SD(eta*) / omega (which is `fit.shrinkage`), `variance_form` = 1 - Var(eta*) / omega^2; for epsilon
    1 - SD(IWRES) and 1 - Var(IWRES). The divisor is count - 1. Source: Savic and Karlsson (2009), AAPS J. 11.
    """
    _check(fit, True)
    spread = np.append(1.0 - fit.shrinkage, residuals(fit).IWRES.std())
    names = pd.Index([*eta_names(fit.model), "epsilon"], name="effect")
    return pd.DataFrame({"sd_form": 1.0 - spread, "variance_form": 1.0 - spread**2}, index=names)


def random_effects_table(fit: Fit) -> pd.DataFrame:
    """A row for each subject: ID, each eta by its name, its SD (`<name>_sd`), and (first) values of the covariates."""
    _check(fit, True)
    sd = np.sqrt(np.diagonal(np.asarray(fit.eta_covariance), axis1=1, axis2=2))
    columns: dict[str, Any] = {"ID": list(fit.population.ids)}
    for j, name in enumerate(eta_names(fit.model)):
        columns |= {name: np.asarray(fit.eta)[:, j], f"{name}_sd": sd[:, j]}
    for name, x in fit.population.subjects.covariates.items():
        if name in columns:
            raise ValueError(f"{name} names both a random effect and a covariate; rename one of them.")
        columns[name] = np.asarray(x).reshape(len(sd), -1)[:, 0]
    return pd.DataFrame(columns)


def is_discrete(fit: Fit) -> bool:
    """Are the responses counts or categories, by the support of their density?"""
    return bool(observation_density(fit.model, eta_mean(fit.model), fit.population[0]).is_discrete)


@compiled
def _standardised(model: Model, eta: Array, subjects: Subject, pooled: bool) -> tuple[Array, Array, Array, Array]:
    """Mean and variance of the observation density, 0 and 1 where nothing was observed; IWRES and CWRES, (N, n)."""
    omega = jnp.zeros((eta.shape[1],) * 2) if pooled else eta_cov(model)

    def one(eta, subject):
        def moments(eta):
            density = observation_density(model, eta, subject)
            mean = jnp.where(subject.mask, density.mean, 0.0)
            return mean, (mean, jnp.where(subject.mask, density.variance, 1.0))

        g, (mean, variance) = jax.jacfwd(moments, has_aux=True)(eta)
        residual = jnp.where(subject.mask, subject.y - mean, 0.0)
        lower = jnp.linalg.cholesky(g @ omega @ g.T + jnp.diag(variance))
        cwres = jax.scipy.linalg.solve_triangular(lower, residual + g @ (eta - eta_mean(model)), lower=True)
        return mean, variance, residual / jnp.sqrt(variance), cwres

    return jax.vmap(one)(eta, subjects)


def _decorrelated(population: Population, y: np.ndarray, simulated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Responses (N, n) and simulations (S, N, n), centred and decorrelated within each subject."""
    mask = np.asarray(population.subjects.mask)
    apart = np.where(mask, np.concatenate([y[None], simulated]) - simulated.mean(0), 0.0).transpose(1, 2, 0)
    covariance = apart[..., 1:] @ apart[..., 1:].transpose(0, 2, 1) / (len(simulated) - 1)
    covariance += np.eye(mask.shape[1]) * ~mask[:, None]
    least = np.linalg.eigvalsh(covariance)[:, 0]
    if not np.min(least) > 1e-12 * np.max(covariance):
        who = f"subject {population.ids[int(np.argmin(least))]}"
        raise ValueError(f"the simulated responses of {who} have a singular covariance, so NPDE needs more samples.")
    both = np.linalg.solve(np.linalg.cholesky(covariance), apart).transpose(2, 0, 1)
    return both[0], both[1:]


def frame_of(population: Population, rows: np.ndarray, **columns: Any) -> pd.DataFrame:
    """A frame with a line for each true place of `rows` (N, m), from columns of that shape."""
    who, at = np.nonzero(rows)
    values = {name: np.asarray(column)[who, at] for name, column in columns.items()}
    frame = pd.DataFrame({"ID": [population.ids[i] for i in who]} | values)
    frame.attrs |= {"time_label": population.time_label, "y_label": population.y_label}
    return frame
