"""The data sets are the published ones, and the simulators are what they say."""

from importlib.resources import files

import jax
import numpy as np
import pytest

from mefit import datasets


def test_theophylline_in_both_units():
    per_kg, mg = datasets.theophylline(), datasets.theophylline(per_kg=False)
    assert repr(per_kg) == "Population of 12 subjects, 132 observations (0 missing), 12 doses, covariates: wt"
    assert per_kg.subjects.y.shape == (12, 11) and per_kg.ids == tuple(range(1, 13))
    assert per_kg.subjects.y[0].tolist() == [0.74, 2.84, 6.57, 10.5, 9.66, 8.58, 8.36, 7.47, 6.89, 5.94, 3.28]
    assert float(per_kg.subjects.doses.amount[0, 0]) == 4.02 and float(mg.subjects.doses.amount[0, 0]) == 319.992
    weight = np.asarray(mg.subjects.covariates["wt"])[:, None]
    np.testing.assert_allclose(per_kg.subjects.doses.amount * weight, mg.subjects.doses.amount, atol=5e-5)
    np.testing.assert_array_equal(per_kg.subjects.y, mg.subjects.y)
    assert np.asarray(mg.subjects.doses.time).max() == 0 and "(h)" in mg.time_label and "(mg/L)" in mg.y_label
    # the two files hold the same study
    table = datasets._csv("theoph.csv")
    np.testing.assert_array_equal(table["conc"].to_numpy().reshape(12, 11), per_kg.subjects.y)
    np.testing.assert_array_equal(table["Time"].to_numpy().reshape(12, 11), per_kg.subjects.time)
    assert table["Subject"].unique().tolist() == list(per_kg.ids)


def test_sleepstudy():
    p = datasets.sleepstudy()
    assert p.subjects.y.shape == (18, 10) and p.n_observations == 180 and p.ids[0] == 308
    assert (np.asarray(p.subjects.time) == np.arange(10)).all()
    assert p.subjects.y[0, :2].tolist() == [249.56, 258.7047] and p.subjects.doses.amount.shape == (18, 0)


def test_eight_schools():
    p = datasets.eight_schools()
    assert p.ids == tuple("ABCDEFGH") and p.subjects.y[:, 0].tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert p.subjects.covariates["se"].tolist() == [15, 10, 16, 11, 9, 11, 10, 18]


def test_phenobarbital():
    p = datasets.phenobarbital()
    assert repr(p) == "Population of 59 subjects, 155 observations (0 missing), 589 doses, covariates: wt"
    assert p.rows.min() == 1 and p.rows.max() == 6 and "(h)" in p.time_label and "(mg/L)" in p.y_label
    first = p[0]  # 1.4 kg; 25 mg, then 3.5 mg every 12 hours
    assert first.time.tolist() == [2.0, 112.5] and first.y.tolist() == [17.3, 31.0]
    assert float(first.covariates["wt"]) == 1.4 and first.doses.amount[:3].tolist() == [25.0, 3.5, 3.5]
    table = datasets._csv("phenobarb.csv")
    assert p.subjects.y.sum() == pytest.approx(table["conc"].sum()), "a concentration was lost"
    assert p.subjects.doses.amount.sum() == pytest.approx(table["dose"].sum())
    # mg and mg/L: a loading dose of some 20 mg/kg in a volume of about 1 L/kg
    assert 10 < np.median(p.subjects.doses.amount[:, 0] / p.subjects.covariates["wt"]) < 30


def test_neyman_scott_has_the_moments_it_says():
    p = datasets.neyman_scott(jax.random.key(0), groups=20_000, size=3, mean_sd=2.0, sigma=0.5)
    y = np.asarray(p.subjects.y)
    assert y.shape == (20_000, 3) and p.n_observations == 60_000
    within = y.var(axis=1, ddof=1)
    # five standard errors: the SD of a variance estimate with k degrees of freedom is sigma^2 sqrt(2/k)
    assert within.mean() == pytest.approx(0.25, abs=5 * 0.25 * np.sqrt(2 / 40_000))
    between = 4 + 0.25 / 3
    assert y.mean(axis=1).var() == pytest.approx(between, abs=5 * between * np.sqrt(2 / 20_000))
    again = datasets.neyman_scott(jax.random.key(0), groups=20_000, size=3, mean_sd=2.0, sigma=0.5)
    np.testing.assert_array_equal(again.subjects.y, y)
    other = datasets.neyman_scott(jax.random.key(1), groups=20_000, size=3)
    assert not np.array_equal(other.subjects.y, y)


def test_clustered_binary_has_the_moments_it_says():
    p = datasets.clustered_binary(jax.random.key(0), clusters=20_000, size=2, b0=-1.0, omega=2.0)
    y = np.asarray(p.subjects.y)
    assert set(np.unique(y)) == {0.0, 1.0}
    # P(1) and P(1, 1) by Gauss-Hermite quadrature over eta
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    chance = 1 / (1 + np.exp(1.0 - 2.0 * nodes))
    one, both = (np.sum(weights * chance**k) / weights.sum() for k in (1, 2))
    assert y.mean() == pytest.approx(one, abs=5 * np.sqrt(one / 20_000))
    assert y.prod(axis=1).mean() == pytest.approx(both, abs=5 * np.sqrt(both / 20_000))


def test_every_file_has_its_source_and_licence():
    folder = files("mefit.datasets")
    text = (folder / "README.md").read_text(encoding="utf-8")
    for name in (f.name for f in folder.iterdir() if f.name.endswith(".csv")):
        assert name in text
    assert text.count("**Source**") == text.count("**Licence**") == 5
