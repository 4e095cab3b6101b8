"""The explorers of lesson 06, against closed forms, SciPy's integrators and simulated studies."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_widgets
from jaxtyping import Array
from scipy.integrate import quad, solve_ivp
from scipy.optimize import approx_fprime, minimize_scalar

import mefit as mf
from workshop import explorers

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
regimen, part, known = (
    sys.modules[f"workshop.explorers.{name}"] for name in ("regimen_builder", "which_part_tells", "what_can_be_known")
)
ALL = [explorers.regimen_builder, explorers.which_part_tells, explorers.what_can_be_known]


def oral(t, cl, v, ka, dose=100.0):
    return dose * ka / (v * ka - cl) * (np.exp(-cl / v * t) - np.exp(-ka * t))


# A regimen


@pytest.mark.parametrize(
    ("route", "interval", "hours", "loading"),
    [(regimen.ORAL, 7, 2, 2.0), (regimen.BOLUS, 24, 2, 1.0), (regimen.INFUSION, 12, 3, 3.0)],
)
def test_concentration_and_response_solve_the_equations(route, interval, hours, loading):
    found = regimen.compute(80.0, interval, 4, loading, route, hours)
    np.testing.assert_array_equal(found.given, interval * np.arange(4))
    np.testing.assert_array_equal(found.amounts, [80.0 * loading, 80.0, 80.0, 80.0])
    for row in (0, 17):
        cl, v, ka, ec50 = regimen.virtual()[row]
        state, times = np.array([0.0, 0.0, 1.0]), [*found.given, 168.0]
        rate, amounts, c, r = 0.0, dict(zip(found.given, found.amounts, strict=True)), {}, {}
        if route == regimen.INFUSION:
            times = sorted({*times, *(found.given + hours)})

        def rhs(t, y, rate, cl=cl, v=v, ka=ka, ec50=ec50):
            c = y[1] / v
            effect = regimen.KOUT * (1 + regimen.EMAX * c / (ec50 + c)) - regimen.KOUT * y[2]
            return [-ka * y[0], ka * y[0] - cl / v * y[1] + rate, effect]

        for begin, end in zip(times[:-1], times[1:], strict=True):
            amount = amounts.get(begin, 0.0)
            if route == regimen.INFUSION:
                rate = amount / hours
            else:
                state = state + amount * np.array([route == regimen.ORAL, route == regimen.BOLUS, 0])
            grid = regimen.TIME[(regimen.TIME >= begin) & (regimen.TIME < end)]
            out = solve_ivp(rhs, (begin, end), state, t_eval=[*grid, end], args=(rate,), rtol=1e-9, atol=1e-11).y
            c |= dict(zip(grid, out[1] / v, strict=False))
            r |= dict(zip(grid, out[2], strict=False))
            state = out[:, -1]
        np.testing.assert_allclose(found.concentration[row, :-1], list(c.values()), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.response[row, :-1], list(r.values())[::2], rtol=2e-5)


@pytest.mark.parametrize("interval", [4, 12, 36])
def test_steady_state_is_that_of_the_geometric_series(interval):
    ke, v = regimen.CL / regimen.V, regimen.V
    left = np.exp(-ke * interval)
    bolus = regimen.compute(120.0, interval, 40, 1.0, regimen.BOLUS, 1)
    assert (bolus.peak, bolus.trough) == pytest.approx((120 / v / (1 - left), 120 / v * left / (1 - left)))
    assert bolus.accumulation == pytest.approx(1 / (1 - left))
    infused = regimen.compute(120.0, interval, 40, 1.0, regimen.INFUSION, 2)
    end = 60 / regimen.CL * (1 - np.exp(-2 * ke)) / (1 - left)
    assert (infused.peak, infused.trough) == pytest.approx((end, end * np.exp(-ke * (interval - 2))))
    for found in (bolus, infused, regimen.compute(120.0, interval, 40, 1.0, regimen.ORAL, 1)):
        assert found.average == pytest.approx(120 / interval / regimen.CL)
        assert found.trough < found.average < found.peak
    # of a bolus every interval k = 1, 2, ... has 1 - exp(-k CL / V interval) of the average at steady state
    shares = 1 - left ** np.arange(1, len(bolus.given) + 1)
    np.testing.assert_allclose(bolus.reached, shares, rtol=1e-4)


def test_what_a_loading_dose_a_pause_and_a_larger_dose_do():
    plain = regimen.compute(100.0, 12, 10, 1.0, regimen.BOLUS, 2)
    loaded = regimen.compute(100.0, 12, 10, plain.accumulation, regimen.BOLUS, 2)
    np.testing.assert_allclose(loaded.reached, 1.0, rtol=1e-4)  # at once, and for good
    assert "90% of it at once" in regimen.say(loaded) and "90% of it from hour 48 on" in regimen.say(plain)
    # an infusion without a pause: no peak and no trough; the average is that of any regimen of the same rate
    steady = regimen.compute(50.0, 6, 28, 1.0, regimen.INFUSION, 24)
    assert (steady.peak, steady.trough) == pytest.approx((steady.average, steady.average), rel=1e-9)
    assert steady.average == pytest.approx(plain.average) and "without a pause" in regimen.say(steady)
    # the effect lags behind, and 8 times the dose is far from 8 times the effect
    top = plain.given[-1]
    assert regimen.TIME[::2][plain.response[0].argmax()] > top + 6
    rise = [f.response[0].max() - 1 for f in (plain, regimen.compute(800.0, 12, 10, 1.0, regimen.BOLUS, 2))]
    assert 1.2 * rise[0] < rise[1] < 2.5 * rise[0] and rise[1] < regimen.EMAX


def test_who_stays_within_the_window():
    found = regimen.compute(100.0, 12, 10, 1.0, regimen.INFUSION, 2)
    cl, v = regimen.virtual()[1:, :2].T
    t = np.linspace(108.0, 120.0, 2401)
    c = np.zeros((regimen.SUBJECTS, t.size))
    for given in found.given:
        since = np.maximum(t - given, 0.0)
        running = np.minimum(since, 2.0)
        ke = (cl / v)[:, None]
        c += 50.0 / cl[:, None] * (1 - np.exp(-ke * running)) * np.exp(-ke * (since - running))
    inside = np.mean((c.min(1) >= 3.0) & (c.max(1) <= 8.0))
    assert found.within == pytest.approx(inside, abs=1e-12) and 0.5 < inside < 0.7
    np.testing.assert_allclose(found.concentration[1:, found.last], c[:, ::50], rtol=1e-9)
    np.testing.assert_allclose(np.log(regimen.virtual()[1:]).std(0), regimen.SD, rtol=1e-9)
    few = regimen.compute(100.0, 48, 20, 1.0, regimen.ORAL, 2)
    assert len(few.given) == 3 and "3 doses." in regimen.say(few)  # no more fit into a week
    with pytest.raises(ValueError, match="A regimen needs a positive dose"):
        regimen.compute(0.0, 12, 3, 1.0, regimen.ORAL, 2)


# Which part tells


@pytest.mark.parametrize(("cl", "v", "ka"), [(0.5, 1, 1), (2, 0.5, 0.5), (1, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("route", [part.ORAL, part.IV])
def test_curve_and_what_is_read_off_it(cl, v, ka, route):
    found = part.compute(cl, v, ka, route)
    for now, (c, volume, a) in ((found.before, part.BASE), (found.after, part.BASE * [cl, v, ka])):

        def at(t, x):
            c, volume, a = np.exp(x)
            return oral(t, c, volume, a) if route == part.ORAL else 100 / volume * np.exp(-c / volume * t)

        def log_c(x, t=part.TIME):
            return np.log(at(t, x))

        x = np.log([c, volume, a])
        np.testing.assert_allclose(now.concentration, np.exp(log_c(x)), rtol=1e-10)
        h = 1e-5 * np.eye(3)
        slopes = np.stack([(log_c(x + d) - log_c(x - d)) / 2e-5 for d in h], 1)
        np.testing.assert_allclose(now.sensitivity, slopes, atol=2e-6)
        # the three add up to -1: with time in units of 1 / rate nothing but the size, dose / V, is left
        scaled = now.sensitivity[:, 0] + now.sensitivity[:, 2]
        rate = np.gradient(np.log(now.concentration), part.TIME, edge_order=2)[20:-1] * part.TIME[20:-1]
        np.testing.assert_allclose(scaled[20:-1], rate, atol=5e-3)
        assert now.auc == pytest.approx(quad(at, 0, np.inf, args=(x,))[0], rel=1e-6)
        if route == part.ORAL:
            best = minimize_scalar(
                lambda t, x=x: -at(t, x), bounds=(0.1, 30), method="bounded", options={"xatol": 1e-9}
            )
            assert (now.peak_time, now.peak) == pytest.approx((best.x, -best.fun), rel=1e-6)
        else:
            assert (now.peak_time, now.peak) == (0.0, pytest.approx(100 / volume))
        assert now.half_life == pytest.approx(np.log(2) / (log_c(x, 400.0) - log_c(x, 401.0)), rel=1e-6)
        signed = now.parts[0] - now.parts[1] if route == part.ORAL else now.parts[0]
        np.testing.assert_allclose(np.abs(signed), now.concentration, rtol=1e-6)


def test_flip_flop_and_its_edge():
    found = part.compute(2.0, 1.0, 0.5, part.ORAL)
    assert found.after.flip_flop and not found.before.flip_flop
    assert "Flip-flop: ka = 0.15 /h is below CL/V = 0.2 /h" in part.say(found)
    assert found.after.half_life == pytest.approx(np.log(2) / 0.15)
    assert not part.compute(2.0, 1.0, 0.5, part.IV).after.flip_flop
    # in flip-flop the tail moves with ka, and CL only shifts it
    late = found.after.sensitivity
    assert late[-1, 2] < -2 and abs(late[-1, 0] - late[-60, 0]) < abs(late[-1, 2] - late[-60, 2]) / 2
    same = part.compute(3.0, 1.0, 1.0, part.ORAL).after  # ka = CL / V: C = dose / V ke t exp(-ke t)
    np.testing.assert_allclose(same.concentration, 100 / 30 * 0.3 * part.TIME * np.exp(-0.3 * part.TIME), rtol=1e-9)
    assert (same.peak_time, same.peak) == pytest.approx((1 / 0.3, 100 / 30 / np.e))
    assert np.isnan(same.parts).all() and not same.flip_flop
    with pytest.raises(ValueError, match="must be positive, not 0, 1 and 1"):
        part.compute(0.0, 1.0, 1.0, part.ORAL)


def test_what_changed_is_said():
    assert part.say(part.compute(1.0, 2.0, 1.0, part.ORAL)).endswith("As before: AUC 33.3 mg·h/L.")
    assert part.say(part.compute(2.0, 2.0, 1.0, part.IV)).startswith("AUC 33.3 to 16.7 mg·h/L; Cmax 3.33 to 1.67 mg/L.")
    assert part.say(part.compute(1.0, 1.0, 1.0, part.ORAL)).startswith("Nothing has changed. As before: AUC")


# What can be known


DESIGNS = [(0.5, 2.0, 12.0, 24.0), (4.0, 8.0, 12.0, 20.0), (1.0, 6.0, 24.0)]


def gaussian(times, theta, logs, j=None):
    """Mean and covariance of log y to first order, from the formula, with finite differences for J unless given."""
    t = np.array(times)

    def mean(x):
        return np.log(oral(t, *np.exp(x)))

    if j is None:
        j = approx_fprime(theta, mean, 1e-6)
    return mean(theta), (j * np.exp(2 * logs[:3])) @ j.T + np.exp(2 * logs[3]) * np.eye(t.size)


@pytest.mark.parametrize("times", DESIGNS)
def test_information_is_the_expected_hessian_of_the_gaussian_likelihood(times):
    """E[-log p(y; b)] under a has the Hessian in b, at b = a, that is the information; by finite differences."""
    theta, logs = np.log(known.TYPICAL), np.log([*known.OMEGA, 0.2])
    j = approx_fprime(theta, lambda x: gaussian(times, x, logs, np.zeros((len(times), 3)))[0], 1e-7)
    np.testing.assert_allclose(known.sensitivity(times), j, atol=1e-5)
    j, (m0, s0) = known.sensitivity(times), gaussian(times, theta, logs, known.sensitivity(times))

    def cross_entropy(x):
        m, s = gaussian(times, theta + x[:3], logs + x[3:], j)
        gap = m - m0
        return 0.5 * (np.linalg.slogdet(s)[1] + np.trace(np.linalg.solve(s, s0)) + gap @ np.linalg.solve(s, gap))

    h, hessian = 1e-3, np.zeros((7, 7))
    for a, b in np.ndindex(7, 7):
        u, w = h * np.eye(7)[a], h * np.eye(7)[b]
        corners = cross_entropy(u + w) - cross_entropy(u - w) - cross_entropy(w - u) + cross_entropy(-u - w)
        hessian[a, b] = 50 * corners / (4 * h**2)
    fixed, variance = known.information(times, 50, 0.2)
    scale = np.abs(hessian).max()
    np.testing.assert_allclose(fixed, hessian[:3, :3], atol=1e-4 * scale)
    np.testing.assert_allclose(variance, hessian[3:, 3:], atol=1e-4 * scale)
    np.testing.assert_allclose(hessian[:3, 3:], 0.0, atol=1e-4 * scale)
    inverse = np.sqrt(np.diagonal(np.linalg.inv(hessian)))[:6]
    np.testing.assert_allclose(known.expected(times, 50, 0.2), inverse, rtol=5e-3)


def test_standard_errors_are_those_of_simulated_linear_studies():
    """Generalised least squares on 20,000 studies of the first-order model: the spread of its estimates."""
    times, subjects = DESIGNS[0], 10
    j = known.sensitivity(times)
    s = (j * known.OMEGA**2) @ j.T + 0.2**2 * np.eye(4)
    y = np.random.default_rng(1).multivariate_normal(np.zeros(4), s, (20_000, subjects)).mean(1)
    weights = np.linalg.solve(j.T @ np.linalg.solve(s, j), j.T) @ np.linalg.inv(s)
    found = known.compute(*times, subjects, 0.2)
    np.testing.assert_allclose((y @ weights.T).std(0), found.rse[:3], rtol=0.02)


def test_more_subjects_and_more_samples():
    few, many = known.compute(*DESIGNS[0], 10, 0.2), known.compute(*DESIGNS[0], 40, 0.2)
    np.testing.assert_allclose(few.rse, 2 * many.rse, rtol=1e-9)
    assert (many.rich < many.rse).all()
    # no sampling, however rich, does better than knowing every subject: omega / sqrt(N) and 1 / sqrt(2 N)
    exact = known.expected(tuple(np.linspace(0.1, 24, 400)), 40, 0.05)
    floor = np.append(known.OMEGA / np.sqrt(40), np.full(3, 1 / np.sqrt(80)))
    assert (exact > floor).all()
    np.testing.assert_allclose(exact, floor, rtol=0.02)
    assert known.compute(20.0, 8.0, 12.0, 4.0, 40, 0.2).times == DESIGNS[1]  # in whatever order


def test_what_cannot_be_known_is_said():
    default = explorers.what_can_be_known().result
    assert default.unknown == ["ω of ka"] and 0.5 < default.rse[2] < 1
    two = known.compute(0.0, 0.0, 1.0, 24.0, 400, 0.05)  # two numbers for three typical values
    assert two.unknown == list(known.NAMES) and np.isinf(two.rse).all()
    assert known.say(two) == f"400 subjects, sampled at 1, 24 h. Cannot be known: {', '.join(known.NAMES)}."
    same = known.compute(4.0, 4.0, 4.0, 24.0, 40, 0.2)  # repeats tell about sigma, not about a third parameter
    assert np.isinf(same.rse[:3]).all()
    assert known.say(known.compute(0, 0, 0, 0, 40, 0.2)) == "Nobody gives a sample, so nothing can be known."
    # singular, but not for all: the first is singled out, the others only together
    partly = np.array([[4.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    np.testing.assert_allclose(known.standard_errors(partly), [0.5, np.inf, np.inf])
    with pytest.raises(ValueError, match="A study needs a subject or more"):
        known.compute(1.0, 2.0, 3.0, -4.0, 40, 0.2)


class OralLog(mf.Model):
    """The model of the explorer with its typical values, to fit."""

    cl: Array = mf.positive()
    v: Array = mf.positive()
    ka: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("cl", "v", "ka"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        cl, v, ka = jnp.array([self.cl, self.v, self.ka]) * jnp.exp(eta)
        return dist.Normal(jnp.log(mf.pk.oral_one_compartment(subject, cl=cl, v=v, ka=ka)), self.sigma)


@pytest.mark.slow
def test_standard_errors_are_those_of_simulated_and_refitted_studies():
    """The whole nonlinear model, 200 times: what first order expects is what Laplace's estimates scatter by."""
    cl, v, ka = known.TYPICAL
    truth, studies = OralLog(cl=cl, v=v, ka=ka, omega=np.diag(known.OMEGA**2), sigma=0.2), 200
    times = np.array(DESIGNS[0])
    blank = mf.Subject(times, np.zeros(4), np.ones(4, bool), {}, mf.Doses.of(100.0))
    design = mf.Population.from_subjects([blank] * 60)
    logs = []
    for key in jax.random.split(jax.random.key(3), studies):
        fit = mf.fit(truth, mf.simulate(truth, design, key), mf.Laplace(), progress=False).model
        logs.append(np.log([fit.cl, fit.v, fit.ka, *np.sqrt(np.diagonal(fit.omega))]))
    expected = known.expected(DESIGNS[0], 60, 0.2)
    # an SD from 200 studies is within 10% in nineteen of twenty; the rest is what first order leaves out
    np.testing.assert_allclose(np.std(logs, 0), expected, rtol=0.2)


# All, as every explorer


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("check", test_widgets.OF_EVERY_EXPLORER)
def test_as_every_explorer(check, make):
    check(make)


@pytest.mark.parametrize("make", ALL)
def test_the_edges_of_every_control(make):
    test_widgets.assert_the_edges_hold(make)


REGIMENS = (
    {"loading": 2.5},
    {"route": regimen.BOLUS, "interval": 24, "doses": 20},
    {"dose": 400, "interval": 4, "loading": 5.0, "doses": 40},
    {"route": regimen.INFUSION, "hours": 24, "doses": 1},
    {"route": regimen.ORAL, "dose": 20, "interval": 48},
)
PARTS = ({"cl": 2.0}, {"ka": 0.5}, {"v": 0.5}, {"route": part.IV}, {"cl": 1.0, "v": 1.0, "ka": 1.0})
SAMPLES = ({"t1": 0.5}, {"t2": 0.0, "t3": 0.0}, {"t1": 0.0, "t4": 0.0}, {"t2": 1.0, "t3": 9.0, "error": 0.5})


@pytest.mark.parametrize(
    ("make", "module", "moves"), zip(ALL, (regimen, part, known), (REGIMENS, PARTS, SAMPLES), strict=True)
)
def test_painting_anew_and_moving_artists_give_the_same_picture(make, module, moves):
    test_widgets.assert_painting_anew_gives_the_same(make, module, moves)


def test_no_sentence_is_longer_than_two_lines():
    longest = known.Known((10.25, 11.75, 12.25, 23.75), 400, np.full(6, 0.099), np.full(6, 0.1))
    for rse in (longest.rse, np.full(6, np.inf), np.array([0.01, 0.02, 0.03, 0.04, np.inf, 2.0])):
        assert len(known.say(replace(longest, rse=rse))) < 245
