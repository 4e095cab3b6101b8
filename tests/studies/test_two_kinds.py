"""Lines of two kinds in closed form against SciPy and the library; smallest sets by root finding; normals by EM."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from models import Line
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

import mefit as mf
from workshop.studies import fits_of_kinds as given
from workshop.studies import liver
from workshop.studies import two_kinds as study

RISING = study.Kind(np.array([1.04, 0.27]), np.array([[1.0, -0.01], [-0.01, 0.02]]), 0.47)
STEADY = study.Kind(np.array([-0.15, 0.06]), np.array([[0.26, 0.01], [0.01, 0.004]]), 0.22)
TIME = np.array([0.0, 0.5, 1.1, 3.0])
Y = np.array([0.4, 0.5, 0.9, 1.6])


def covariance(kind, z):
    return z @ kind.omega @ z.T + kind.sigma**2 * np.eye(len(z))


def test_the_marginal_and_the_own_line_are_those_of_a_joint_gaussian():
    """Level and slope by conditioning the joint covariance of (b, y), and log N(y) by SciPy."""
    z = np.stack([np.ones(4), TIME], axis=1)
    v = covariance(RISING, z)
    assert study.log_marginal(RISING, TIME, Y) == pytest.approx(multivariate_normal.logpdf(Y, z @ RISING.beta, v))
    mean, spread = study.own_line(RISING, TIME, Y)
    cross = RISING.omega @ z.T
    np.testing.assert_allclose(mean, RISING.beta + cross @ np.linalg.inv(v) @ (Y - z @ RISING.beta), rtol=1e-9)
    np.testing.assert_allclose(spread, RISING.omega - cross @ np.linalg.inv(v) @ cross.T, atol=1e-12)


def test_without_a_measurement_all_is_as_before():
    none = np.zeros(0)
    assert study.log_marginal(RISING, none, none) == 0.0
    mean, spread = study.own_line(STEADY, none, none)
    np.testing.assert_allclose(mean, STEADY.beta)
    np.testing.assert_allclose(spread, STEADY.omega)


def test_what_may_come_is_the_ratio_of_two_marginals():
    """p(y_new | y) = p(y, y_new) / p(y), each a mixture of two Gaussians by SciPy."""
    log_shares = np.log([0.3, 0.7])
    told = study.ahead([RISING, STEADY], log_shares, TIME, Y, np.array([5.0]))
    longer = np.append(TIME, 5.0)
    z = np.stack([np.ones(5), longer], axis=1)

    def mixture(y, rows):
        laws = [multivariate_normal(z[:rows] @ k.beta, covariance(k, z[:rows])) for k in (RISING, STEADY)]
        return 0.3 * laws[0].pdf(y) + 0.7 * laws[1].pdf(y)

    for new in (0.5, 1.9, 3.0):
        expected = mixture(np.append(Y, new), 5) / mixture(Y, 4)
        assert told.density(np.array([[new]]))[0, 0] == pytest.approx(expected, rel=1e-8)


def test_the_library_says_the_same_of_a_patient():
    experts = [Line(beta=k.beta, omega=k.omega, sigma=k.sigma) for k in (RISING, STEADY)]
    people, _, _ = liver.split()
    few = people[[0, 1, 2]]
    model = mf.MixtureOfExperts(experts, gate=mf.ConstantGate([0.4, 0.6]))
    expected = mf.responsibilities(model, few)[[1, 2]].to_numpy()
    for own, (time, y) in zip(expected, study.records(few), strict=True):
        log_l = [study.log_marginal(kind, time, y) for kind in study.kinds_of(model)]
        np.testing.assert_allclose(study.responsibilities(np.log([0.4, 0.6]), log_l), own, atol=1e-8)


def test_the_smallest_set_of_two_peaks_is_found_by_roots():
    mixed = study.Mixed(np.array([0.6, 0.4]), np.array([[0.0, 6.0]]), np.array([[1.0, 0.5]]))

    def density(y):
        return 0.6 * norm.pdf(y) + 0.4 * norm.pdf(y, 6.0, 0.5)

    def ends(cut):
        grid = np.linspace(-8.0, 12.0, 4001)
        turns = np.flatnonzero(np.diff((density(grid) >= cut).astype(int)))
        return np.array([brentq(lambda y: density(y) - cut, grid[k], grid[k + 1]) for k in turns]).reshape(-1, 2)

    def excess(cut):
        return sum(float(np.diff(mixed.below(part[None])[0])[0]) for part in ends(cut)) - 0.95

    cut = brentq(excess, 1e-4, 0.15)
    found = study.smallest_sets(mixed, 0.95)[0]
    np.testing.assert_allclose(found.parts, ends(cut), atol=0.01)
    assert found.height == pytest.approx(cut, rel=0.02) and found.length == pytest.approx(
        np.ptp(ends(cut), axis=1).sum(), abs=0.02
    )


def test_normals_by_em_end_where_nothing_pulls():
    """At a maximum the gradient is 0: by differences in the shares, means and SDs of SciPy's densities."""
    y = np.concatenate([norm.ppf((np.arange(60) + 0.5) / 60), norm.ppf((np.arange(40) + 0.5) / 40, 4.0, 0.6)])
    found = study.normals(y, 2, steps=3000)

    def value(x):
        share = 1 / (1 + np.exp(-x[0]))
        return np.sum(np.log(share * norm.pdf(y, x[1], x[3]) + (1 - share) * norm.pdf(y, x[2], x[4])))

    at = np.array([np.log(found.share[0] / found.share[1]), *found.mean, *found.sd])
    assert value(at) == pytest.approx(found.log_likelihood, abs=1e-8)
    for k in range(5):
        step = 1e-4 * np.eye(5)[k]
        assert abs(value(at + step) - value(at - step)) / 2e-4 < 1e-4
    assert found.bic == pytest.approx(-2 * value(at) + 5 * np.log(100), abs=1e-6)


def test_skewness_and_an_outlier_make_classes_that_are_none():
    """Log-normal areas are normal on the log scale; 61 numbers of one kind are 60 and one."""
    area = given.skewed()
    assert study.normals(area, 2).bic < study.normals(area, 1).bic - 10
    assert study.normals(np.log(area), 1).bic < study.normals(np.log(area), 2).bic - 5
    far = study.normals(given.with_an_outlier(), 2, least=0.05)
    assert far.bic < study.normals(given.with_an_outlier(), 1).bic - 10
    np.testing.assert_allclose(far.responsibilities.sum(axis=0), [60.0, 1.0], atol=0.01)


def test_nobody_is_in_two_groups():
    fitted, calibrating, new = liver.split()
    assert (len(fitted), len(calibrating), len(new)) == (212, 50, 50)
    groups = [set(one.ids) for one in (fitted, calibrating, new)]
    assert len(set.union(*groups)) == 312
    assert set(liver.together(calibrating, new).ids) == groups[1] | groups[2]


def test_scatter_of_people_who_are_alike_is_that_of_shuffles():
    """Of one normal error the spread of log SDs lies among its shuffles; of two errors it does not."""
    rng = np.random.default_rng(8)
    alike = [rng.standard_normal(10) for _ in range(60)]
    as_it_is, shuffled = liver.spread_of_scatter(alike, 99)
    assert 0.01 < np.mean(shuffled < as_it_is) < 0.99
    apart = [own * (0.4 if k % 2 else 1.6) for k, own in enumerate(alike)]
    as_it_is, shuffled = liver.spread_of_scatter([*apart, np.array([9.0])], 99)
    assert as_it_is > shuffled.max()


def test_the_share_held_is_a_mean_over_people():
    levels = np.array([[0.1, 0.95, 0.5], [0.95, 0.2, 0.2], [0.1, 0.1, 0.1]])
    seen = np.array([[True, True, False], [True, False, False], [False, False, False]])
    assert liver.share_held(levels, seen, 0.9) == pytest.approx((0.5 + 0.0) / 2)


def test_residuals_are_measured_less_the_own_line():
    """Of anything with a model, its people and their random effects: here the closed form's."""
    people, _, _ = liver.split()
    few = people[[0, 1, 2]]
    eta = np.array([study.own_line(RISING, *one)[0] - RISING.beta for one in study.records(few)])
    fit = SimpleNamespace(model=Line(beta=RISING.beta, omega=RISING.omega, sigma=0.5), population=few, eta=eta)
    for own, (time, y), (level, slope) in zip(liver.residuals(fit), study.records(few), eta + RISING.beta, strict=True):
        np.testing.assert_allclose(own, (y - level - slope * time) / 0.5, atol=1e-10)


def log_likelihood_by_scipy(model, people):
    """sum_i log sum_k pi_k N(y_i; Z beta_k, V_k), the gate by the library."""
    total = 0.0
    for i, (time, y) in enumerate(study.records(people)):
        z = np.stack([np.ones(time.size), time], axis=1)
        log_l = [multivariate_normal.logpdf(y, z @ k.beta, covariance(k, z)) for k in study.kinds_of(model)]
        total += np.logaddexp.reduce(np.asarray(model.gate.log_shares(people[i])) + log_l)
    return float(total)


@pytest.mark.slow
def test_the_fits_that_the_exercise_is_given_are_those_of_the_lesson():
    """Two kinds by EM, as the lesson fits them: their likelihood at the end by SciPy, too."""
    people, _, _ = liver.split()
    start = Line(beta=np.array([0.5, 0.1]), omega=np.diag([1.0, 0.03]), sigma=0.4)
    one = mf.fit(start, people, mf.Laplace(), progress=False)
    assert (one.log_likelihood, one.n_parameters) == pytest.approx(given.FITS[1], abs=0.006)
    gate = mf.LinearGate(people, liver.GATE)
    method = mf.EM(starts=3, order=lambda expert: -expert.beta[1])
    key = jax.random.key(1)
    two = mf.fit(mf.MixtureOfExperts((start, start), gate=gate), people, method, key=key, progress=False)
    assert (two.log_likelihood, two.n_parameters) == pytest.approx(given.FITS[2], abs=0.006)
    assert log_likelihood_by_scipy(two.model, people) == pytest.approx(two.log_likelihood, abs=1e-6)
    assert (len(people), people.n_observations) == (given.PEOPLE, given.ROWS)
