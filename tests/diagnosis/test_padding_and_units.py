"""What padding repeats decides no stratum, and the unit of the data no residual."""

import jax
import numpy as np
import pandas as pd
import pytest
from models import Means
from scipy.special import ndtri

import mefit as mf
from mefit.diagnosis.simulations import simulations


def at_truth(model, population):
    return mf.fit(model, population, mf.Laplace(), fixed=tuple(mf.parameters(model)), progress=False)


def test_strata_are_cut_at_the_median_of_the_rows_that_exist():
    """One person of 12 rows, so that 19 others of three have nine rows of padding each, at their last weight."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(20):
        weight = rng.uniform(50, 60) if person % 2 else rng.uniform(80, 90)
        count = 12 if person == 0 else 3
        rows += [(person, float(k), rng.normal(), weight + 0.5 * k) for k in range(count)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "WT"])
    fit = at_truth(Means(mu=0.0, omega=0.5, sigma=1.0), mf.Population.from_frame(frame, covariates="WT"))
    check = mf.vpc(fit, key=jax.random.key(0), samples=20, bins=1, stratify="WT")
    cut = frame.WT.median()
    assert check.points.stratum.value_counts().to_dict() == {
        f"WT ≤ {cut:g}": int((frame.WT <= cut).sum()),
        f"WT > {cut:g}": int((frame.WT > cut).sum()),
    }


def _in_unit(unit):
    rng = np.random.default_rng(0)
    rows = []
    for person in range(10):
        own = rng.normal()
        for k in range(3 if person else 5):  # most have rows of padding
            rows.append((person, float(k), unit * (10.0 + own + rng.normal())))
    population = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))
    return at_truth(Means(mu=10.0 * unit, omega=unit, sigma=unit), population)


def test_npde_are_the_same_in_every_unit():
    """Those of the definition: each person alone, by NumPy's own covariance and Cholesky factor."""
    key = jax.random.key(0)
    fit = _in_unit(1.0)
    simulated = simulations(fit, 200, key)
    expected = []
    for i, count in enumerate(fit.population.rows):
        drawn = simulated[:, i, :count]
        factor = np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False)))
        seen = factor @ (np.asarray(fit.population.subjects.y)[i, :count] - drawn.mean(0))
        below = np.sum((drawn - drawn.mean(0)) @ factor.T < seen, axis=0)
        expected.append(ndtri((below + 0.5) / 201.0))
    expected = np.concatenate(expected)
    for unit in (1.0, 1e-7, 1e-6, 1e6, 1e7):
        found = mf.residuals(_in_unit(unit), key=key, samples=200).NPDE
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=f"unit {unit:g}")


def test_too_few_samples_are_told_in_every_unit():
    for unit in (1e-7, 1.0, 1e7):
        with pytest.raises(ValueError, match="the simulated responses of subject 0 have a singular covariance"):
            mf.residuals(_in_unit(unit), key=jax.random.key(0), samples=4)


def test_a_vpc_of_numbers_without_percentiles_is_a_sentence():
    with pytest.raises(ValueError, match="percentiles of responses that are numbers: give one or more"):
        mf.vpc(_in_unit(1.0), percentiles=(), key=jax.random.key(0), samples=10)
