"""Against other programs: the same models at fixed parameters, and at each method's own optimum."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from models import Additive, Combined, FullOmega, Line, Proportional

import mefit as mf

REFERENCE = json.loads((pathlib.Path(__file__).parents[1] / "reference.json").read_text())
METHODS = {
    "FO": mf.FO(),
    "FOCE": mf.FOCE(interaction=False),
    "FOCEI": mf.FOCE(),
    "LAPLACE": mf.Laplace(),
    "AGQ5": mf.AGQ(5, standardised=False),  # the other program has its grid in the effects' own units
    "AGQ9": mf.AGQ(9, standardised=False),
    "AGQ15": mf.AGQ(15, standardised=False),
}
IN_MG = dict(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])))


def at_specification(spec):
    """The model of a specification at its parameters, and its data."""
    theta, omega = np.asarray(spec["theta"]), jnp.asarray(spec["omega"], float)
    if spec["model"] == "line":
        return Line(beta=theta, omega=omega, sigma=spec["a"]), mf.datasets.sleepstudy()
    population = mf.datasets.theophylline(per_kg=False)
    structure = dict(ka=np.exp(theta[0]), cl=np.exp(theta[1]), v=np.exp(theta[2]), omega=omega)
    if spec["err"] == "prop":  # the other class again, so that one program serves both
        return Combined(**structure, sigma=1e-30, slope=spec["b"]), positive_times(population)
    if spec["err"] == "comb2":
        return Combined(**structure, sigma=spec["a"], slope=spec["b"]), population
    kind = FullOmega if np.any(spec["omega"] != np.diag(np.diagonal(spec["omega"]))) else Additive
    return kind(**structure, sigma=spec["a"]), population


def positive_times(population):
    """Proportional error gives the row at time 0, where the prediction is 0, no variance: its response is left out."""
    frame = population.to_frame()
    frame.loc[(frame.EVID == 0) & (frame.TIME == 0), "DV"] = np.nan
    return mf.Population.from_frame(frame)


def cases_and_methods():
    """Every case by every method; 5, 9 and 15 nodes are one code, so that one case shows 9 and 15 by default."""
    first = next(iter(REFERENCE["fixed"]))
    for case in REFERENCE["fixed"]:
        for method in METHODS:
            again = method in ("AGQ9", "AGQ15") and case != first
            yield pytest.param(case, method, marks=pytest.mark.slow if again else (), id=f"{case}-{method}")


@pytest.mark.parametrize("case, method", cases_and_methods())
def test_marginal_at_fixed_parameters(case, method):
    model, population = at_specification(REFERENCE["fixed"][case]["spec"])
    value = -2 * mf.log_likelihood(model, population, METHODS[method])
    assert value == pytest.approx(REFERENCE["fixed"][case]["m2ll"][method], abs=1e-6 if method != "LAPLACE" else 1e-4)


@pytest.mark.parametrize("case", ["theoph_add_v1", "theoph_comb2_v1", "theoph_add_full", "sleepstudy_v1"])
def test_every_subject_and_every_mode_at_fixed_parameters(case):
    oracle = REFERENCE["fixed"][case]
    model, population = at_specification(oracle["spec"])
    for method in ("FO", "FOCEI", "FOCE", "LAPLACE"):
        values = -2 * mf.log_likelihood(model, population, METHODS[method], by_subject=True)
        np.testing.assert_allclose(values, oracle["m2ll_per_subject"][method], atol=1e-5)
    eta, _ = mf.empirical_bayes(model, population)
    np.testing.assert_allclose(eta, oracle["eta_mode"], atol=1e-7)


# -2 log-likelihood at each method's own optimum, dose in mg.
OPTIMA = {
    "additive": (
        Additive,
        dict(sigma=0.7),
        {"FO": 346.4689, "FOCE": 359.4032, "FOCEI": 359.4032, "LAPLACE": 361.1033, "AGQ9": 360.7007},
    ),
    "proportional": (
        Proportional,
        dict(slope=0.2),
        {"FO": 311.0227, "FOCE": 306.6821, "FOCEI": 353.7480, "LAPLACE": 353.9528, "AGQ9": 352.7393},
    ),
    "combined": (
        Combined,
        dict(sigma=0.5, slope=0.1),
        {"FO": 307.5422, "FOCE": 312.7123, "FOCEI": 346.9219, "LAPLACE": 347.8463, "AGQ9": 347.1024},
    ),
    "full omega": (FullOmega, dict(sigma=0.7), {"LAPLACE": 349.3759}),
}


def kinds_and_methods():
    """Every optimum; most of a proportional and a combined error only if asked: an additive one shows the same code."""
    for kind, (_, _, values) in OPTIMA.items():
        for method in values:
            again = kind == "proportional" or (kind == "combined" and method != "FOCEI")
            yield pytest.param(kind, method, marks=pytest.mark.slow if again else (), id=f"{kind}-{method}")


@pytest.mark.parametrize("kind, method", kinds_and_methods())
def test_optimum_of_theophylline_in_mg(theophylline_mg, kind, method):
    make, error, expected = OPTIMA[kind]
    population = positive_times(theophylline_mg) if kind == "proportional" else theophylline_mg
    fit = mf.fit(make(**IN_MG, **error), population, METHODS[method], progress=False)
    assert fit.converged, fit.message
    value = fit.minus_two_log_likelihood
    if method == "AGQ9":  # the table's value is exact: 21 nodes, at the optimum of nine
        value = -2 * mf.log_likelihood(fit.model, population, mf.AGQ(21))
    assert value == pytest.approx(expected[method], abs=1e-3)


def test_full_omega_by_quadrature_at_the_optimum_of_laplace(theophylline_mg):
    start = FullOmega(**IN_MG, sigma=0.7)
    fit = mf.fit(start, theophylline_mg, mf.Laplace(), progress=False)
    value = -2 * mf.log_likelihood(fit.model, theophylline_mg, mf.AGQ(15))
    assert value == pytest.approx(349.1516, abs=2e-3)
    assert fit.table.estimate["corr(cl, v)"] == pytest.approx(0.98, abs=0.01)
