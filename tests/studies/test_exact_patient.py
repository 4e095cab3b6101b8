"""The quadrature of one person's posterior against an integrator, against draws, and against a finer grid."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from workshop.studies import exact_patient as exact
from workshop.studies.one_person import ERROR, SD, TYPICAL

TIMES = (2.0, 24.0)


def prior_draws(count=400_000, seed=3):
    return np.random.default_rng(seed).standard_normal((count, 3)) * SD


def weighted(etas, times, y):
    """Weights of prior draws by the density of LogNormal(log C - s^2 / 2, s)."""
    away = np.log(y)[:, None] - exact.log_concentration(etas, np.asarray(times)) + ERROR**2 / 2
    log_w = -0.5 * np.sum((away / ERROR) ** 2, axis=0)
    w = np.exp(log_w - log_w.max())
    return w / w.sum()


@pytest.mark.parametrize("eta", [(0.0, 0.0, 0.0), (-1.2, 0.9, -0.7), (np.log(0.1 / 1.2), 0.0, 0.0)])
def test_the_curve_is_that_of_the_equations(eta):
    """By integration; the second eta is a flip-flop, in the third both rates are the same."""
    ka, cl, v = np.array(TYPICAL) * np.exp(eta)
    times = np.array([0.5, 4.0, 24.0])

    def slopes(_, a):
        return [-ka * a[0], ka * a[0] - cl / v * a[1]]

    path = solve_ivp(slopes, (0, 24), [exact.DOSE, 0.0], t_eval=times, rtol=1e-10, atol=1e-12)
    found = np.exp(exact.log_concentration(np.array([eta]), times)[:, 0])
    np.testing.assert_allclose(found, path.y[1] / v, rtol=1e-6)


def test_the_posterior_is_that_of_weighted_draws():
    patient = exact.patients()[1]
    y = [patient.sample(time, turn) for turn, time in enumerate(TIMES)]
    etas = prior_draws()
    w = weighted(etas, TIMES, np.array(y))
    count = 1 / np.sum(w**2)
    mean = w @ etas[:, 1]
    sd = np.sqrt(w @ (etas[:, 1] - mean) ** 2)
    mass = exact.masses(TIMES, y)
    found = exact.log_clearance(mass)
    assert found[0] == pytest.approx(np.log(3.0) + mean, abs=4 * sd / np.sqrt(count))
    assert found[1] == pytest.approx(sd, rel=4 / np.sqrt(2 * count))
    picked = etas[np.random.default_rng(1).choice(len(w), 40_000, p=w)]
    curves = np.exp(exact.log_concentration(picked, np.array([1.0, 6.0, 30.0])))
    bands = exact.bands(mass, (1.0, 6.0, 30.0))
    np.testing.assert_allclose(bands, np.quantile(curves, (0.05, 0.5, 0.95), axis=1), rtol=0.04)


def test_no_sample_leaves_the_prior():
    mass = exact.masses((), ())
    assert exact.log_clearance(mass) == pytest.approx((np.log(3.0), 0.3), rel=2e-3)  # cut at 3.75 SDs
    x, height = exact.density(mass)
    np.testing.assert_allclose(
        height, np.exp(-0.5 * ((x - np.log(3.0)) / 0.3) ** 2) / 0.3 / np.sqrt(2 * np.pi), rtol=1e-3
    )


def test_the_density_has_the_moments_of_the_masses():
    patient = exact.patients()[0]
    times = (0.5, 1.0, 2.0, 4.0, 8.0, 24.0)
    mass = exact.masses(times, [patient.sample(time, 0) for time in times])
    x, height = exact.density(mass)
    mean = np.trapezoid(x * height, x)
    sd = np.sqrt(np.trapezoid((x - mean) ** 2 * height, x))
    assert (mean, sd) == pytest.approx(exact.log_clearance(mass), rel=1e-4)
    assert sd < 0.11  # six samples


@pytest.mark.slow
def test_what_a_sample_is_expected_to_leave_is_a_mean_over_what_it_may_show():
    """By simulation: a person from the posterior, a sample of theirs, and the posterior given that too."""
    patient = exact.patients()[2]
    in_hand = ((4.0,), [patient.sample(4.0, 0)])
    mass = exact.masses(*in_hand)
    rng = np.random.default_rng(8)
    etas = exact.grid()[0][rng.choice(mass.size, 300, p=mass)]
    for time, expected in zip((1.0, 24.0), exact.expected_sd(mass, (1.0, 24.0)), strict=True):
        curves = np.exp(exact.log_concentration(etas, np.array([time]))[0])
        y = curves * np.exp(ERROR * rng.standard_normal(300) - 0.5 * ERROR**2)
        left = [exact.log_clearance(exact.masses((4.0, time), (*in_hand[1], one)))[1] for one in y]
        assert expected == pytest.approx(np.mean(left), abs=4 * np.std(left) / np.sqrt(300) + 1e-3)


def test_the_first_sample_is_late():
    """The posterior SDs of the closed forms in print: .28 after 4 h, .13 after 24 h."""
    at = exact.expected_sd(exact.masses((), ()), (4.0, 24.0))
    assert at == pytest.approx([0.277, 0.134], abs=0.004)


def test_a_finer_grid_changes_nothing(monkeypatch):
    patient = exact.patients()[0]
    y = [patient.sample(time, turn) for turn, time in enumerate(TIMES)]
    coarse = exact.masses(TIMES, y)
    before = (*exact.log_clearance(coarse), *exact.expected_sd(coarse, (1.0, 12.0)))
    monkeypatch.setattr(exact, "_NODES", (37, 89, 53))
    exact.grid.cache_clear()
    fine = exact.masses(TIMES, y)
    after = (*exact.log_clearance(fine), *exact.expected_sd(fine, (1.0, 12.0)))
    monkeypatch.undo()
    exact.grid.cache_clear()
    np.testing.assert_allclose(before, after, rtol=2e-3)
