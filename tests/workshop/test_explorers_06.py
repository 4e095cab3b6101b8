"""The explorers of lesson 06, against closed forms, SciPy's integrators and simulated studies."""

import sys

import numpy as np
import pytest
import test_stage
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize_scalar

from workshop import explorers

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
regimen, part = (sys.modules[f"workshop.explorers.{name}"] for name in ("regimen_builder", "which_part_tells"))
ALL = [explorers.regimen_builder, explorers.which_part_tells]


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
    assert found.within + found.below + found.above >= 1  # some do both
    assert regimen.say(found).startswith(
        "After the last dose 62% stay within 3–8 mg/L; of the others most fall below it."
    )
    none = regimen.say(regimen.compute(400.0, 12, 10, 1.0, regimen.INFUSION, 2))
    assert none.startswith("After the last dose nobody stays within 3–8 mg/L; most rise above it.")
    high = regimen.compute(200.0, 12, 10, 1.0, regimen.INFUSION, 2)
    assert high.above > high.below and "of the others most rise above it" in regimen.say(high)
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


def test_the_log_panel_names_the_rates_of_its_lines():
    def names(*moves):
        explorer = explorers.which_part_tells().set(**dict(zip(("cl", "v", "ka", "route"), moves, strict=True)))
        (mark,) = [m for m in test_stage.shown(explorer)["scene"]["marks"] if m["id"] == "rates"]
        return mark["text"]

    assert names(1.0, 1.0, 1.0, part.ORAL) == ["falls at CL/V", "falls at ka"]
    assert names(2.0, 1.0, 0.5, part.ORAL) == ["falls at ka", "falls at CL/V"]  # flip-flop
    assert names(1.0, 1.0, 1.0, part.IV) == names(2.0, 1.0, 0.5, part.IV) == ["falls at CL/V"]


def test_what_changed_is_said():
    def numbers(*moves):
        return part.say(part.compute(*moves)).partition("\n")[2]

    assert numbers(1.0, 2.0, 1.0, part.ORAL).endswith("As before: AUC 33.3 mg·h/L.")
    assert numbers(2.0, 2.0, 1.0, part.IV).startswith("AUC 33.3 to 16.7 mg·h/L; Cmax 3.33 to 1.67 mg/L.")
    assert numbers(1.0, 1.0, 1.0, part.ORAL).startswith("Nothing has changed. As before: AUC")


def test_a_sample_tells_what_moves_it_most():
    """Against the curve with each parameter 1% larger."""
    for moves in ((1.0, 1.0, 1.0, part.ORAL, 24.0), (1.0, 1.0, 1.0, part.IV, 2.0), (2.0, 1.0, 0.5, part.ORAL, 30.0)):
        found = part.compute(*moves)
        height, slopes = found.sampled
        rises = []
        for j in range(3):
            factors = np.array(moves[:3])
            factors[j] *= 1.01
            rises.append(100 * (part.compute(*factors, *moves[3:]).sampled[0] / height - 1))
        np.testing.assert_allclose(slopes, rises, atol=0.02 * np.abs(rises).max())
        most = part.NAMES[int(np.argmax(np.abs(rises)))]
        assert part.say(found).startswith(f"A sample at {moves[4]:g} h tells most about {most}: 1% more of it makes")


def test_the_axes_of_a_curve_change_with_the_route_alone():
    explorer = explorers.which_part_tells()
    start = test_stage.shown(explorer)["scene"]["panels"]
    for values in ({"cl": 2.0}, {"v": 0.5, "cl": 0.5}, {"ka": 2.0}, {"time": 36.0}):
        assert test_stage.shown(explorer.set(**values))["scene"]["panels"] == start
        assert explorer.result.after.peak < part.HIGHEST[part.ORAL]
    assert explorer.set(route=part.IV).result.after.peak < part.HIGHEST[part.IV]


# All, as every explorer


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, make):
    check(make)


@pytest.mark.parametrize("make", ALL)
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)


def test_the_doses_of_a_regimen_are_taken_hold_of():
    """Second dose: interval and dose; first: how much larger; line: the end. Each where its controls say."""
    explorer = explorers.regimen_builder().set(interval=8, dose=150, loading=2.0, doses=5)
    marks = {(m["panel"], m["id"]): m for m in test_stage.shown(explorer)["scene"]["marks"]}
    pins, end = marks["doses", "dose"], marks["doses", "end"]
    second, first = pins["drag"]
    assert (pins["x"][1], pins["y"][1]) == pytest.approx((8 * second["scale_x"], 150), abs=1e-4)
    assert pins["y"][0] == pytest.approx(2.0 * first["scale_y"]) and first["y"] == "loading"
    assert end["at"][0] == pytest.approx(5 * end["drag"][0]["scale_x"], abs=1e-4)
    one = explorer.set(doses=1)
    assert (
        len({(m["panel"], m["id"]): m for m in test_stage.shown(one)["scene"]["marks"]}["doses", "dose"]["drag"]) == 1
    )


def test_the_axes_of_a_regimen_stand_still_while_they_can():
    explorer = explorers.regimen_builder()
    start = test_stage.shown(explorer)["scene"]["panels"][:3]
    for values in ({"interval": 24}, {"doses": 3}, {"loading": 2.6}, {"dose": 120, "route": regimen.ORAL}):
        assert test_stage.shown(explorer.set(**values))["scene"]["panels"][:3] == start
        explorer.reset()
