"""The explorers of lesson 02: their closed forms against known numbers, and against the library."""

import sys

import numpy as np
import pytest
import test_stage
from models import Schools
from scipy.integrate import quad

import mefit as mf
from workshop import explorers

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
schools, sparse, patients = (
    sys.modules[f"workshop.explorers.{name}"] for name in ("eight_schools", "sparse_theophylline", "three_patients")
)


def bisect(holds, low: float, high: float) -> float:
    """The smallest c in (low, high) where `holds`, to 1e-6."""
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


# Three patients


def test_three_patients_at_the_prior_of_the_lecture():
    found = patients.compute(1.1)
    np.testing.assert_allclose(found.mode, [0.279, -1.488, 0.599], atol=5e-4)
    np.testing.assert_allclose(found.peak, [0.245, 0.130, 0.113], atol=5e-4)
    np.testing.assert_allclose(found.area, [0.178, 0.032, 0.198], atol=5e-4)
    np.testing.assert_allclose(found.shrinkage, [0.07, 0.01, 0.40], atol=5e-3)
    assert patients.rank(found.peak) == ["1st", "2nd", "3rd"]
    assert patients.rank(found.area) == ["2nd", "3rd", "1st"]


@pytest.mark.parametrize("omega", [0.2, 1.1, 4.0])
def test_three_patients_closed_forms_against_quadrature(omega):
    found = patients.compute(omega)
    for i in range(3):

        def product(eta, i=i):
            likelihood = patients.HEIGHT[i] * np.exp(-0.5 * ((eta - patients.BEST[i]) / patients.WIDTH[i]) ** 2)
            return likelihood * np.exp(-0.5 * (eta / omega) ** 2) / np.sqrt(2 * np.pi) / omega

        assert found.peak[i] == pytest.approx(product(found.mode[i]), rel=1e-12)
        assert product(found.mode[i]) > max(product(found.mode[i] + 1e-3), product(found.mode[i] - 1e-3))
        # A range around the mode: quad alone would step over a spike.
        near = (found.mode[i] - 12 * min(omega, patients.WIDTH[i]), found.mode[i] + 12 * min(omega, patients.WIDTH[i]))
        assert found.area[i] == pytest.approx(quad(product, *near, epsabs=0, epsrel=1e-11)[0], rel=1e-9)
        np.testing.assert_allclose(found.product[i], [product(eta) for eta in found.eta], rtol=1e-9, atol=1e-300)


def test_three_patients_says_who_ranks_first():
    text = patients.say(patients.compute(1.1))
    assert (
        "Patient 1 ranks first by the peak (joint: 1, 2, 3), patient 3 by the area (marginal: 3, 1, 2): an area" in text
    )
    assert "patient 1 by the area (marginal: 1, 3, 2): here the two agree" in patients.say(patients.compute(0.2))


def test_three_patients_refuse_a_flat_prior():
    with pytest.raises(explorers.Refused, match="must be positive, not 0"):
        patients.compute(0.0)


# Eight Schools


def test_the_schools_are_those_of_the_data_set():
    data = mf.datasets.eight_schools().subjects
    np.testing.assert_array_equal(schools.EFFECT, data.y[:, 0])
    np.testing.assert_array_equal(schools.ERROR, data.covariates["se"].reshape(8, -1)[:, 0])


def test_profiles_of_eight_schools():
    marginal = schools.log_marginal(np.array([0.0, 1, 5, 10, 20]))
    np.testing.assert_allclose(marginal, [-29.67424, -29.68677, -29.99358, -30.89229, -33.31806], atol=1e-5)
    centred = schools.log_centred(np.array([1e-6, 0.001, 0.01, 0.1, 1, 10, 1000]))
    np.testing.assert_allclose(centred, [73.498, 18.236, -0.184, -18.605, -37.008, -54.484, -89.935], atol=5e-4)
    non_centred = schools.log_non_centred(np.array([0.001, 1, 5, 10, 100, 1e6]))
    known = [-37.0258, -37.0083, -36.6632, -36.0630, -34.7097, -34.67221]
    np.testing.assert_allclose(non_centred, known, atol=5e-5)
    assert float(schools.pooled_mean(np.asarray(0.0))) == pytest.approx(7.6856, abs=5e-5)


@pytest.mark.parametrize("c", [1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("form", ["centred", "non_centred", "marginal"])
def test_slopes_are_derivatives_of_the_profiles(form, c):
    profile, slope = getattr(schools, f"log_{form}"), getattr(schools, f"slope_{form}")
    log_tau = np.linspace(-3, 6, 40)
    step = 1e-5
    numerical = (profile(np.exp(log_tau + step), c) - profile(np.exp(log_tau - step), c)) / (2 * step)
    np.testing.assert_allclose(slope(np.exp(log_tau), c), numerical, atol=1e-7)


def test_neither_joint_density_has_a_mode():
    tau = np.geomspace(1e-6, 1e6, 2000)
    assert np.all(schools.slope_centred(tau) < 0) and np.all(schools.slope_non_centred(tau) > 0)
    assert schools.slope_centred(tau)[0] == pytest.approx(-8)
    assert schools.local_joint_mode(1.0) is None and schools.marginal_maximum(1.0) == 0.0


def test_birth_of_the_local_mode_and_of_the_marginal_maximum():
    assert bisect(lambda c: schools.local_joint_mode(c) is not None, 2.0, 4.0) == pytest.approx(2.6729, abs=1e-4)
    assert bisect(lambda c: schools.marginal_maximum(c) > 0, 1.0, 2.0) == pytest.approx(1.3071, abs=1e-4)


@pytest.mark.parametrize(
    ("c", "joint", "marginal"),
    [(2, None, 13.5796), (3, 20.5267, 25.4780), (4, 33.5144, 36.2468), (5, 44.6234, 46.5983)],
)
def test_positions_of_the_modes_and_that_the_library_finds_them(c, joint, marginal):
    found = schools.local_joint_mode(c)
    assert found is None if joint is None else found == pytest.approx(joint, abs=1e-4)
    assert schools.marginal_maximum(c) == pytest.approx(marginal, abs=1e-4)
    data = mf.datasets.eight_schools()
    data = data.with_responses(c * data.subjects.y)
    fit = mf.fit(Schools(mu=8.0 * c, tau=10.0 * c), data, mf.Laplace(), progress=False)
    assert float(fit.model.tau) == pytest.approx(marginal, abs=1e-2)
    if joint is not None:
        assert joint < marginal
        fit = mf.fit(Schools(mu=8.0 * c, tau=10.0 * c), data, mf.JointMAP(), progress=False)
        assert float(fit.model.tau) == pytest.approx(joint, abs=1e-2)


@pytest.mark.parametrize("tau", [0.05, 1.0, 7.0, 60.0])
@pytest.mark.parametrize("c", [1.0, 3.0])
def test_closed_forms_against_the_library(tau, c):
    data = mf.datasets.eight_schools()
    data = data.with_responses(c * data.subjects.y)
    model = Schools(mu=float(schools.pooled_mean(np.asarray(tau), c)), tau=tau)
    methods = {"marginal": mf.Laplace(), "centred": mf.JointMAP(), "non_centred": mf.JointMAP(centred=False)}
    for name, method in methods.items():
        mine = float(getattr(schools, f"log_{name}")(np.asarray(tau), c))
        assert mine == pytest.approx(mf.log_likelihood(model, data, method), abs=1e-9), name
    fit = mf.fit(Schools(mu=0.0, tau=tau), data, mf.JointMAP(), fixed="tau", progress=False)
    assert float(fit.model.mu) == pytest.approx(float(model.mu), abs=1e-4)
    np.testing.assert_allclose(schools.compute(tau, c=c).estimate, fit.model.mu + fit.eta[:, 0], atol=1e-4)


def test_eight_schools_says_which_way_each_density_climbs():
    assert "climbing towards τ = 0, complete pooling: it has no mode" in schools.say(schools.compute(5.0))
    assert "towards τ = ∞, no pooling: it has no mode" in schools.say(schools.compute(5.0, schools.NON_CENTRED))
    assert "maximum at τ = 0, the boundary" in schools.say(schools.compute(5.0))
    near, past = (schools.say(schools.compute(tau, c=3.0)) for tau in (30.0, 1.0))
    assert (
        "climbing towards a local mode at τ = 20.53 (but below τ = 7.2 towards 0)" in near
        and "maximum at τ = 25.48" in near
    )
    assert "climbing towards τ = 0, complete pooling, past its local mode at τ = 20.53" in past
    with pytest.raises(ValueError, match="must be positive"):
        schools.compute(0.0)


# Theophylline with two samples a subject


def test_what_is_held_is_what_all_samples_say(fitted):
    full = fitted(mf.Laplace()).model
    assert sparse.KA == pytest.approx(float(full.ka), abs=5e-3) and sparse.SIGMA == pytest.approx(
        float(full.sigma), abs=5e-4
    )
    np.testing.assert_allclose(sparse.SD, np.sqrt(np.diagonal(full.omega))[1:], atol=5e-4)


@pytest.mark.parametrize(("i", "quadrature"), [(0, 1e-4), (10, 2e-3), (20, 0.1)])  # its error with 9 nodes
def test_sparse_profiles_against_the_library(i, quadrature, theophylline):
    found, s = sparse.table(), float(sparse.GRID[i])
    data = theophylline.keep_rows(sparse.ROWS)
    assert data.n_observations == 24
    cl, v = np.exp(found.typical[i])
    at_marginal = sparse.model_at(s, cl, v)
    marginal = mf.log_likelihood(at_marginal, data, mf.AGQ(nodes=21))
    assert found.marginal[i] == pytest.approx(marginal, abs=quadrature)
    for change in (0.99, 1.01):  # the typical CL is at its best
        assert mf.log_likelihood(sparse.model_at(s, cl * change, v), data, mf.AGQ(nodes=9)) < found.marginal[i]
    modes = np.log([cl, v]) + np.asarray(mf.empirical_bayes(at_marginal, data)[0])
    np.testing.assert_allclose(found.own[i], modes, atol=1e-6)
    joint = mf.fit(sparse.model_at(s), data, mf.JointMAP(centred=False), fixed=("ka", "omega", "sigma"), progress=False)
    assert found.non_centred[i] == pytest.approx(joint.log_likelihood, abs=1e-5)
    assert found.centred[i] == pytest.approx(mf.log_likelihood(joint.model, data, mf.JointMAP()), abs=1e-5)


def test_sparse_profiles_have_opposite_collapses_and_one_maximum():
    found = sparse.table()
    assert np.all(np.diff(found.centred) < 0) and np.all(np.diff(found.non_centred) > 0)
    slope = np.diff(found.centred) / np.diff(np.log(sparse.GRID))
    assert slope[0] == pytest.approx(-24, abs=2)  # N K = 24 random effects, each worth -log s
    assert found.best == pytest.approx(1.01, abs=0.02)
    assert found.highest >= found.marginal.max() - 1e-6


def test_sparse_curves_are_those_of_the_model(theophylline):
    found = sparse.compute(1.0, subject=4)
    model, subject = sparse.model_at(1.0), theophylline[3]
    eta = sparse.table().own[10, 3] - np.log([float(model.cl), float(model.v)])
    table = sparse.table()
    mine = sparse.concentration(np.asarray(subject.time), table.dose, table.own[10])[3]
    np.testing.assert_allclose(mine, model.observations(eta, subject).loc, rtol=1e-12)
    np.testing.assert_allclose(found.individual, sparse.concentration(sparse._TIME, table.dose, table.own[10])[3])
    np.testing.assert_allclose(found.own, np.exp(table.own[10]), rtol=1e-9)
    low, high = (np.ptp(sparse.compute(s).own, axis=0) for s in (0.1, 10.0))
    assert np.all(low < 0.1 * high)
    np.testing.assert_allclose(sparse.compute(10.0).own, found.alone)
    assert "climbing towards s = 0, everyone the same" in sparse.say(found)
    assert "s = ∞, everyone fitted alone" in sparse.say(sparse.compute(1.0, sparse.NON_CENTRED))
    with pytest.raises(ValueError, match="from 0.1 to 10, not for 11"):
        sparse.compute(11.0)


# As every explorer


@pytest.mark.parametrize("check", test_stage.OF_EVERY_STAGE)
def test_eight_schools_as_every_stage(check):
    check(explorers.eight_schools)


@pytest.mark.parametrize("tau", [0.01, 5.0, 100.0])
@pytest.mark.parametrize(("form", "c"), [("centred", 1.0), ("centred", 4.0), ("non-centred", 1.0)])
def test_the_axes_of_eight_schools_stand_still_under_tau(tau, form, c):
    there, here = (schools.scene(schools.compute(t, form, c)).data() for t in (1.0, tau))
    assert there["panels"] == here["panels"]


MORE = [explorers.three_patients, explorers.sparse_theophylline]


@pytest.mark.parametrize("make", MORE)
@pytest.mark.parametrize("check", test_stage.OF_EVERY_STAGE)
def test_as_every_stage(check, make):
    check(make)


@pytest.mark.parametrize("make", MORE)
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)


@pytest.mark.parametrize("omega", [0.2, 0.5, 5.0])
def test_the_prior_narrows_on_axes_that_stand_still(omega):
    there, here = (patients.scene(patients.compute(w)).data() for w in (1.1, omega))
    assert there["panels"] == here["panels"]
    kept = [mark for mark in there["marks"] if mark["id"] == "likelihood"]
    assert [mark for mark in here["marks"] if mark["id"] == "likelihood"] == kept and len(kept) == 3
    (hold,) = [mark for mark in here["marks"] if mark["id"] == "omega" and mark["panel"] == "p0"]
    assert hold["x"] == [omega] and 0 < hold["y"][0] < patients.TOP  # in reach of the hand


def test_what_is_looked_at_is_drawn():
    def names(show):
        return {mark["id"] for mark in patients.scene(patients.compute(1.1, show)).data()["marks"]}

    assert names("both") - names("the peak") == {"area", "areas", "area numbers"}
    assert names("both") - names("the area") == {"peak", "product", "peaks", "peak numbers"}


@pytest.mark.parametrize(("s", "form"), [(0.1, "centred"), (10.0, "centred"), (0.1, "non-centred")])
def test_the_axes_of_sparse_theophylline_stand_still_under_s(s, form):
    there, here = (sparse.scene(sparse.compute(at, form)).data() for at in (1.0, s))
    assert there["panels"] == here["panels"]


def test_who_is_pulled_furthest_from_two_samples():
    misses = []
    for i in range(12):
        found = sparse.compute(0.1, subject=i + 1)
        data = sparse.table()
        rows = list(sparse.ROWS)
        misses.append(data.y[i, rows] - np.interp(data.time[i, rows], sparse._TIME, found.individual))
    assert int(np.argmax(np.abs(misses).max(1))) == 0
    np.testing.assert_allclose(np.abs(misses[0]), [2.8, 2.6], atol=0.06)
