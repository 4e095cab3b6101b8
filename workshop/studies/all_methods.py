"""Every method on three data sets, each scored by one referee: the picture of lesson 05b.

The fits take some minutes, so their estimates are kept in `all_methods.csv`, and the lesson scores those. To make the
file again:  python -m workshop.studies.all_methods    (the tests fit some of them again and compare)
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array

import mefit as mf
from mefit.base.progress import progress_line
from mefit.methods.method import Method
from mefit.model.densities import eta_size
from mefit.objectives.objective import Objective

FILE = Path(__file__).parents[1] / "data" / "all_methods.csv"
_GRID = 15**3  # points of the referee's grid: with two random effects 58 nodes in each direction, with three 15
METHODS: dict[str, Objective | Method] = {
    "naive pooled": mf.NaivePooled(),
    "two-stage": mf.TwoStage(),
    "joint ML": mf.JointMLE(),
    "FO": mf.FO(),
    "FOCE": mf.FOCE(),
    "Laplace": mf.Laplace(),
    "AGQ, 9 nodes": mf.AGQ(nodes=9),
    "Monte Carlo, 1000": mf.MonteCarlo(1000),
    "importance, 1000": mf.ImportanceSampling(1000),
    "SAEM": mf.SAEM(),
    "NUTS, mean": mf.NUTS(warmup=500, samples=1000, chains=2),
}
_KEY = 5


class Theophylline(mf.Model):
    """One compartment by mouth, dose in mg/kg, additive error.."""

    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h/kg")
    v: Array = mf.positive(unit="L/kg")
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array([self.ka, self.cl, self.v]) * jnp.exp(eta)
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v), self.sigma)


class Sleep(mf.Model):
    """A straight line each, intercept and slope correlated."""

    beta: Array = mf.real(names=("intercept", "slope"))
    omega: Array = mf.covariance(names=("intercept", "slope"))
    sigma: Array = mf.positive(unit="ms")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        intercept, slope = self.beta + eta
        return dist.Normal(intercept + slope * subject.time, self.sigma)


class Neonates(mf.Model):
    """One compartment, intravenous; clearance and volume proportional to weight; additive error."""

    cl: Array = mf.positive(unit="L/h/kg")
    v: Array = mf.positive(unit="L/kg")
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        cl, v = jnp.array([self.cl, self.v]) * subject.covariates["wt"] * jnp.exp(eta)
        return dist.Normal(mf.pk.iv_bolus_one_compartment(subject, cl=cl, v=v), self.sigma)


class TheophyllinePrior(Theophylline):
    """With wide priors, for NUTS."""

    ka: Array = mf.positive(unit="1/h", prior=dist.LogNormal(0.0, 1.5))
    cl: Array = mf.positive(unit="L/h/kg", prior=dist.LogNormal(-3.0, 1.5))
    v: Array = mf.positive(unit="L/kg", prior=dist.LogNormal(-1.0, 1.5))
    sigma: Array = mf.positive(unit="mg/L", prior=dist.HalfNormal(5.0))


class SleepPrior(Sleep):
    """With wide priors, for NUTS."""

    beta: Array = mf.real(names=("intercept", "slope"), prior=dist.Normal(jnp.array([250.0, 0.0]), 100.0))
    sigma: Array = mf.positive(unit="ms", prior=dist.HalfNormal(100.0))


class NeonatesPrior(Neonates):
    """With wide priors, for NUTS."""

    cl: Array = mf.positive(unit="L/h/kg", prior=dist.LogNormal(-5.0, 1.5))
    v: Array = mf.positive(unit="L/kg", prior=dist.LogNormal(0.0, 1.5))
    sigma: Array = mf.positive(unit="mg/L", prior=dist.HalfNormal(20.0))


STARTS: dict[str, dict[str, Any]] = {
    "theophylline": {"ka": 1.5, "cl": 0.04, "v": 0.5, "omega": np.diag([0.4, 0.1, 0.05]), "sigma": 0.7},
    "sleepstudy": {"beta": [250.0, 10.0], "omega": np.diag([600.0, 35.0]), "sigma": 25.0},
    "phenobarbital": {"cl": 0.005, "v": 1.0, "omega": np.diag([0.1, 0.05]), "sigma": 3.0},
}
MODELS: dict[str, tuple[type, type]] = {
    "theophylline": (Theophylline, TheophyllinePrior),
    "sleepstudy": (Sleep, SleepPrior),
    "phenobarbital": (Neonates, NeonatesPrior),
}


def population(data: str) -> mf.Population:
    """The data set of that name."""
    return getattr(mf.datasets, data)()


def fit(data: str, method: str) -> mf.Fit:
    """One fit of the table: `data` and `method` as in `STARTS` and `METHODS`; NUTS with the model that has priors."""
    model = MODELS[data][isinstance(METHODS[method], mf.NUTS)](**STARTS[data])
    return mf.fit(model, population(data), METHODS[method], key=jax.random.key(_KEY), progress=False)


def estimates(fits: Iterable[tuple[str, str, mf.Fit]]) -> pd.DataFrame:
    """A row for each number of each fit: data, method, parameter, estimate (NaN where there is none); own -2LL last."""
    rows: list[dict[str, Any]] = []
    for data, method, done in fits:
        not_estimated = done.table[done.table.remark.isin(["not estimated", "not identified"])].index
        for parameter, value in done.table.estimate.items():
            kept = np.nan if parameter in not_estimated else float(value)
            rows.append({"data": data, "method": method, "parameter": parameter, "estimate": kept})
        rows.append({"data": data, "method": method, "parameter": "own -2LL", "estimate": -2.0 * done.log_likelihood})
    return pd.DataFrame(rows)


def table(data: str) -> pd.DataFrame:
    """The kept estimates of one data set: a row for each method, a column for each parameter, and its own -2LL."""
    kept = pd.read_csv(FILE)
    kept = kept[kept.data == data]
    wide = kept.pivot(index="method", columns="parameter", values="estimate")
    return wide.loc[list(METHODS), list(dict.fromkeys(kept.parameter))].rename_axis(columns=None)


def model_at(data: str, row: pd.Series) -> mf.Model:
    """The model at the numbers of one row of the table."""
    values: dict[str, Any] = {}
    for name, at_start in STARTS[data].items():
        labels = [label for label in row.index if label == name or label.startswith(f"{name}[")]
        numbers = row[labels].to_numpy(float)
        if np.ndim(at_start) == 2:
            pairs = [label for label in row.index if label.startswith("corr(")]
            correlation = np.eye(len(numbers))
            correlation[np.tril_indices(len(numbers), -1)] = row[pairs].to_numpy(float) if pairs else 0.0
            correlation = np.tril(correlation) + np.tril(correlation, -1).T
            values[name] = numbers[:, None] * correlation * numbers
        else:
            values[name] = numbers if np.ndim(at_start) else float(numbers[0])
    return MODELS[data][0](**values)


def score(data: str) -> pd.DataFrame:
    """The table of one data set with `exact -2LL`, that of the referee at each method's estimates.

    Naive pooling is scored with everyone typical, as it was made; there is no score where a method does not estimate
    what the likelihood needs.
    """
    found, people = table(data), population(data)
    exact = {}
    for method, row in found.iterrows():
        if isinstance(METHODS[str(method)], mf.NaivePooled):
            exact[method] = row["own -2LL"]
        elif row.isna().any():
            exact[method] = np.nan
        else:
            model = model_at(data, row)
            exact[method] = -2.0 * _log_likelihood(model, people)
    return found.assign(**{"exact -2LL": pd.Series(exact)})


def _log_likelihood(model: mf.Model, people: mf.Population) -> float:
    """By as fine a grid as fits; where a posterior slips through it, as at two-stage's wild estimates, by draws."""
    grid = mf.AGQ(nodes=int(_GRID ** (1.0 / eta_size(model)) + 1e-9))
    try:
        return float(mf.log_likelihood(model, people, grid))
    except ValueError as why:
        if "slips through the grid" not in str(why):
            raise
        return float(mf.log_likelihood(model, people, mf.ImportanceSampling(20_000), key=jax.random.key(_KEY)))


def main() -> None:
    """Fit everything again and write the file."""
    pairs = [(data, method) for data in STARTS for method in METHODS]
    fits = []
    with progress_line("fitting", len(pairs)) as bar:
        for data, method in pairs:
            fits.append((data, method, fit(data, method)))
            bar.update()
    estimates(fits).to_csv(FILE, index=False, float_format="%.8g")


if __name__ == "__main__":
    main()
