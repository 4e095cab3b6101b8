"""Learned responses to a unit dose: doses add up as in closed forms, and no unit matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mefit as mf

KA, CL, V = 1.2, 3.0, 30.0
TIME = np.concatenate([np.linspace(0.0, 40.0, 41), [7.3]])


def by_mouth(s):
    """The response of one compartment by mouth to a unit dose, in NumPy's words."""
    k = CL / V
    return KA / (V * (KA - k)) * (jnp.exp(-k * s) - jnp.exp(-KA * s))


def injected(s):
    return jnp.exp(-CL / V * s) / V


def person(doses):
    return mf.Subject(jnp.asarray(TIME), 0 * TIME, TIME >= 0, doses=doses)


@pytest.mark.slow
@pytest.mark.parametrize(
    "doses",
    [
        mf.Doses.of([100.0], time=[0.0]),
        mf.Doses.of([100.0, 50.0, 0.0, 25.0], time=[0.0, 7.3, 0.0, 12.0]),
        mf.Doses.of([100.0, 50.0], time=[0.0, 12.0], reset=[False, True]),
    ],
)
def test_doses_add_up_as_in_the_closed_form(doses):
    expected = mf.pk.oral_one_compartment(person(doses), ka=KA, cl=CL, v=V, lag=0.5, bioavailability=0.7)
    found = mf.pk.superposed(by_mouth, person(doses), lag=0.5, bioavailability=0.7)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("duration", [0.1, 2.0, 30.0])
def test_infusions_are_integrals(duration):
    doses = mf.Doses.of([100.0, 60.0, 20.0], time=[0.0, 5.0, 6.0], duration=[duration, 1.0, 0.0])
    expected = mf.pk.infusion_one_compartment(person(doses), cl=CL, v=V)
    np.testing.assert_allclose(mf.pk.superposed(injected, person(doses)), expected, rtol=1e-12)
    into_depot = mf.pk.oral_one_compartment(person(doses), ka=KA, cl=CL, v=V)
    np.testing.assert_allclose(mf.pk.superposed(by_mouth, person(doses)), into_depot, rtol=1e-7, atol=1e-9)


def test_rates_are_kept_and_may_be_the_models():
    known = mf.Doses.of([100.0], rate=[20.0])
    expected = mf.pk.infusion_one_compartment(person(known), cl=CL, v=V, bioavailability=0.5)
    np.testing.assert_allclose(mf.pk.superposed(injected, person(known), bioavailability=0.5), expected, rtol=1e-12)
    asked = mf.Doses.of([100.0], rate=[-2.0])
    expected = mf.pk.infusion_one_compartment(person(asked), cl=CL, v=V, duration=4.0)
    np.testing.assert_allclose(mf.pk.superposed(injected, person(asked), duration=4.0), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="give duration= to mf.pk.superposed"):
        mf.pk.superposed(injected, person(asked))


def test_what_one_response_cannot_say():
    with pytest.raises(ValueError, match="stands for endlessly many"):
        mf.pk.superposed(injected, person(mf.Doses.of([1.0], interval=[12.0], steady_state=[1])))
    with pytest.raises(ValueError, match="compartment that mf.pk.superposed does not have"):
        mf.pk.superposed(injected, person(mf.Doses.of([1.0], compartment=[2])))


def study(unit_of_time=1.0, unit_of_dose=1.0, unit_of_volume=1.0, doses=(100.0,), at=(0.0,)):
    """Six people with a curve each; a row before the first dose, and one response that is missing."""
    times = np.array([-1.0, 0.5, 2.0, 8.0, 30.0])
    frames = []
    for person_id, cl in enumerate((2.0, 2.5, 3.0, 3.0, 4.0, 5.0)):
        k = cl / V
        c = sum(d * np.where(times >= a, np.exp(-k * (times - a)), 0.0) for d, a in zip(doses, at, strict=True)) / V
        rows = pd.DataFrame({"TIME": times, "DV": c, "AMT": 0.0})
        rows = pd.concat([rows, pd.DataFrame({"TIME": at, "DV": np.nan, "AMT": doses})]).sort_values(
            "TIME", kind="stable"
        )
        frames.append(rows.assign(ID=person_id))
    frame = pd.concat(frames, ignore_index=True)
    frame.TIME *= unit_of_time
    frame.AMT *= unit_of_dose
    frame.DV *= unit_of_dose / unit_of_volume
    frame.loc[3, "DV"] = np.nan
    return mf.Population.from_frame(frame, negative_times=True)


def test_half_lives_are_those_of_the_data():
    once = mf.networks.LevellingOff.over(study())
    np.testing.assert_allclose(once.half_lives, [0.375, 0.75, 1.5, 3.0, 6.0])
    np.testing.assert_allclose(once(np.array([-1.0, 0.0, 6.0, 1e5]))[:, -1], [1.0, 1.0, 0.0, -1.0], atol=1e-12)
    # after the second dose the longest wait is 18 h; before it, 8 h
    twice = mf.networks.LevellingOff.over(study(doses=(100.0, 50.0), at=(0.0, 12.0)), count=2)
    np.testing.assert_allclose(twice.half_lives, [1.8, 3.6])
    undosed = study().with_doses(mf.Doses.none())
    np.testing.assert_allclose(mf.networks.LevellingOff.over(undosed, count=1).half_lives, [6.0])
    joined = mf.networks.NaturalSpline(3, 0.0, 30.0) + once
    assert joined.size == 4 + 5


def test_half_lives_that_cannot_be():
    with pytest.raises(ValueError, match="one half-life or more"):
        mf.networks.LevellingOff(())
    with pytest.raises(ValueError, match="positive, in units of time"):
        mf.networks.LevellingOff((1.0, 0.0))
    with pytest.raises(ValueError, match="nobody was seen after a dose"):
        mf.networks.LevellingOff.over(study().with_doses(mf.regimen(1.0, start=100.0)))


def test_a_response_is_the_same_in_other_units():
    people = study()
    other = study(unit_of_time=60.0, unit_of_dose=1e3, unit_of_volume=1e-3)
    eta = jnp.array([0.3, -1.0])
    s = np.linspace(0.0, 90.0, 31)
    ours = mf.networks.UnitResponse.of(people, effects=2)
    theirs = mf.networks.UnitResponse.of(other, effects=2)
    np.testing.assert_allclose(theirs(60.0 * s, eta) * 1e-3, ours(s, eta), rtol=1e-9)
    logs = people.with_responses(np.log(np.maximum(np.asarray(people.subjects.y), 1e-9)))
    again = mf.networks.UnitResponse.of(logs, effects=2, logarithms=True)
    assert np.isfinite(again.level)


def test_its_level_is_the_median_of_concentration_over_dose():
    level = mf.networks.UnitResponse.of(study(), effects=1).level
    subjects = study().subjects
    y, seen = np.asarray(subjects.y), np.asarray(subjects.mask) & (np.asarray(subjects.y) > 0)
    assert level == pytest.approx(np.median(np.log(y[seen] / 100.0)), abs=1e-12)
    with pytest.raises(ValueError, match="no response above 0 comes after a dose"):
        mf.networks.UnitResponse.of(study().with_doses(mf.regimen(1.0, start=20.0)).until(19.0), effects=1)
    with pytest.raises(ValueError, match="one or more, and a positive span"):
        mf.networks.UnitResponse(0, mf.networks.LevellingOff((1.0,)), 1.0)


def test_it_ends_in_an_exponential():
    """Far beyond the data the logarithm falls by the slope alone, so areas to infinity are finite."""
    response = mf.networks.UnitResponse.of(study(), effects=2, seed=3)
    eta = jnp.array([0.5, 2.0])
    far = np.array([900.0, 930.0, 960.0])
    fall = np.diff(np.asarray(response.log(far, eta)))
    np.testing.assert_allclose(fall, -float(response.slope(eta)), rtol=1e-6)
    assert np.all(fall < 0.0)


def test_derivatives_are_finite_where_doses_are_padding_or_to_come():
    response = mf.networks.UnitResponse.of(study(), effects=2)
    subject = person(mf.Doses.of([100.0, 0.0, 50.0], time=[0.0, 0.0, 100.0]))
    slope = jax.jacfwd(lambda eta: mf.pk.superposed(lambda s: response(s, eta), subject))(jnp.array([0.1, 0.2]))
    assert slope.shape == (TIME.size, 2) and bool(jnp.all(jnp.isfinite(slope)))


def test_an_encoder_may_read_functions_that_level_off():
    """Before training its loadings are networks of the functions: the same in hours and in minutes, and not those of a
    network of time."""
    hours = study().until(30.0)
    minutes = study(unit_of_time=60.0)
    encoders = {
        name: mf.networks.SetEncoder(people, 2, basis=mf.networks.LevellingOff.over(people))
        for name, people in (("hours", hours), ("minutes", minutes))
    }
    plain = mf.networks.SetEncoder(hours, 2)
    for i in range(len(hours)):
        of_hours = encoders["hours"](hours[i])
        of_minutes = encoders["minutes"](minutes[i])
        np.testing.assert_allclose(of_minutes.mean, of_hours.mean, rtol=1e-9)
        np.testing.assert_allclose(of_minutes.lower, of_hours.lower, rtol=1e-9, atol=1e-12)
        assert np.max(np.abs(np.asarray(plain(hours[i]).mean - of_hours.mean))) > 1e-3
    # two rows after everything has levelled off are read alike
    late = jnp.array([2e3, 3e3])
    read = encoders["hours"].basis(late)
    np.testing.assert_allclose(read[0], read[1], atol=1e-12)
