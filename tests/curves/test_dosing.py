"""One meaning for every dose record: closed forms, differential equations and matrix exponentials agree."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm

import mefit as mf
from mefit import dynamics, pk

KA, CL, V1, Q, V2 = 0.9, 2.7, 30.0, 4.0, 45.0
TIMES = np.array([0.0, 1.0, 3.5, 7.0, 12.0, 12.5, 20.0, 26.0, 31.0, 40.0, 41.5, 60.0, 75.0])
MOST = 24  # records of each schedule, the last ones padding, so that one program serves all
FORMER = 150  # doses before one at steady state that the oracle writes out


class Record(NamedTuple):
    """One record, as it stands in a file, with its lag and bioavailability."""

    time: float
    amount: float = 0.0
    duration: float = 0.0
    compartment: int = 1
    interval: float = 0.0
    steady_state: int = 0
    rate: float = 0.0
    reset: bool = False
    lag: float = 0.0
    share: float = 1.0


MODEL_RATE, MODEL_DURATION = 21.0, 2.5  # of records with RATE -1 and -2


def matrix(depot, peripheral):
    """The system of a model, of the compartments that it has."""
    full = np.array(
        [
            [-KA, 0.0, 0.0],
            [KA, -(CL + Q * peripheral) / V1, Q / V2],
            [0.0, Q / V1, -Q / V2],
        ]
    )
    kept = [0] * depot + [1] + [2] * peripheral
    return full[np.ix_(kept, kept)]


def single(system, start, length, rate, amount, place, time):
    """The state after one dose: at once, or at a constant rate for a while."""
    size = len(system)
    if time < start:
        return np.zeros(size)
    unit = np.eye(size)[place]
    if length == 0.0:
        return expm(system * (time - start)) @ unit * amount
    wide = np.zeros((size + 1, size + 1))
    wide[:size, :size] = system
    wide[:size, size] = rate * unit
    after = expm(wide * min(time - start, length))[:size, size]
    return expm(system * max(time - start - length, 0.0)) @ after


def amount_by_hand(records, system, time):
    """The state at a time: every dose by itself, those before a record at steady state written out."""
    total = np.zeros(len(system))
    order = sorted(range(len(records)), key=lambda i: records[i].time)
    ends = [i for i in order if records[i].time <= time and (records[i].reset or records[i].steady_state == 1)]
    last = order.index(ends[-1]) if ends else 0
    for record in (records[i] for i in order[last:]):
        if record.time > time:
            continue
        amount = record.amount * record.share
        rate = {-1.0: MODEL_RATE}.get(record.rate, max(record.rate, 0.0))
        length = amount / rate if rate else record.duration
        if record.rate == -2.0:
            length = MODEL_DURATION
        place = record.compartment - 1
        if record.steady_state and not record.interval:  # an infusion without end, which ends here
            level = np.linalg.solve(-system, rate * np.eye(len(system))[place])
            total += expm(system * (time - record.time)) @ level
            continue
        former = FORMER if record.steady_state else 0
        for turn in range(-former, 1):
            start = record.time + record.lag + turn * record.interval
            total += single(system, start, length, amount / length if length else 0.0, amount, place, time)
    return total


def doses_of(records):
    """The records as the kit holds them, with padding between them."""
    rows = [*records, *(Record(records[0].time) for _ in range(MOST - len(records)))]
    fields = Record._fields[:-2]
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in fields}
    lag, share = (mf.PerDose(jnp.array([getattr(row, name) for row in rows])) for name in ("lag", "share"))
    return mf.Doses(**columns), lag, share


def person(doses):
    return mf.Subject(time=TIMES, y=np.zeros(TIMES.size), mask=np.ones(TIMES.size, bool), doses=doses)


def by_dose(lag, share):
    return {"lag": lag, "bioavailability": share, "rate": MODEL_RATE, "duration": MODEL_DURATION}


TWO = {"cl": CL, "v1": V1, "q": Q, "v2": V2}
# name: (closed form, has a depot, has a peripheral compartment)
CLOSED = {
    "bolus one": (lambda s, **k: V1 * pk.iv_bolus_one_compartment(s, cl=CL, v=V1, **k), 0, 0),
    "infusion one": (lambda s, **k: V1 * pk.infusion_one_compartment(s, cl=CL, v=V1, **k), 0, 0),
    "oral one": (lambda s, **k: V1 * pk.oral_one_compartment(s, ka=KA, cl=CL, v=V1, **k), 1, 0),
    "infusion two": (lambda s, **k: V1 * pk.infusion_two_compartment(s, **TWO, **k), 0, 1),
    "oral two": (lambda s, **k: V1 * pk.oral_two_compartment(s, ka=KA, **TWO, **k), 1, 1),
}


def by_ode(subject, **given):
    system = jnp.asarray(matrix(1, 1))
    return dynamics.solve(lambda t, y: system @ y, jnp.zeros(3), subject, **given)[:, 1]


# name: one schedule that shows one kind of record
SCHEDULES = {
    "bolus": [Record(0.0, 100.0), Record(12.0, 50.0)],
    "infusion": [Record(1.0, 100.0, duration=5.0)],
    "a rate keeps, and lasts a share": [Record(0.0, 100.0, rate=10.0, share=0.5)],
    "a duration keeps, at a share of the rate": [Record(0.0, 100.0, duration=10.0, share=0.5)],
    "rate of the model": [Record(0.0, 100.0, rate=-1.0, share=0.7)],
    "duration of the model": [Record(0.0, 100.0, rate=-2.0, share=0.7, lag=0.5)],
    "lag and share by dose": [Record(0.0, 100.0, lag=0.5, share=0.4), Record(12.0, 100.0, lag=1.5, share=0.9)],
    "steady state": [Record(0.0, 40.0), Record(20.0, 100.0, interval=8.0, steady_state=1)],
    "steady state with a lag": [Record(20.0, 100.0, interval=8.0, steady_state=1, lag=3.0)],
    "lag longer than the interval": [Record(7.0, 100.0, interval=8.0, steady_state=1, lag=19.0)],
    "steady infusion": [Record(7.0, 100.0, duration=3.0, interval=8.0, steady_state=1)],
    "infusions that overlap": [Record(7.0, 100.0, duration=21.0, interval=8.0, steady_state=1, lag=2.0)],
    "infusions as long as the interval": [Record(7.0, 100.0, rate=10.0, interval=10.0, steady_state=1)],
    "added to what is there": [
        Record(0.0, 100.0, interval=24.0, steady_state=1),
        Record(12.0, 50.0, interval=24.0, steady_state=2, duration=2.0),
    ],
    "pending doses are cancelled": [
        Record(0.0, 100.0, duration=30.0),
        Record(10.0, 70.0, lag=5.0),
        Record(12.0, 100.0, interval=12.0, steady_state=1),
    ],
    "before at one time": [Record(12.0, 70.0), Record(12.0, 100.0, interval=12.0, steady_state=1)],
    "after at one time": [Record(12.0, 100.0, interval=12.0, steady_state=1), Record(12.0, 70.0)],
    "the last of two counts": [
        Record(12.0, 50.0, interval=12.0, steady_state=1),
        Record(12.0, 100.0, interval=12.0, steady_state=1, duration=2.0),
    ],
    "constant infusion": [Record(7.0, 0.0, rate=10.0, steady_state=1), Record(12.0, 20.0)],
    "constant infusion at the model's rate": [Record(7.0, 0.0, rate=-1.0, steady_state=1)],
    "reset": [Record(0.0, 100.0, duration=20.0), Record(12.0, reset=True), Record(26.0, 30.0)],
    "reset and dose": [Record(0.0, 100.0), Record(10.0, 60.0, lag=4.0), Record(12.0, 30.0, reset=True)],
    "reset and steady dose": [Record(0.0, 100.0), Record(12.0, 30.0, reset=True, interval=6.0, steady_state=1)],
}


@pytest.fixture(scope="module")
def programs():
    """Of each closed form and of the differential equation, one program for every schedule."""

    def compiled(curve):
        return jax.jit(lambda doses, lag, share: curve(person(doses), **by_dose(lag, share)))

    return {name: compiled(curve) for name, (curve, *_) in CLOSED.items()} | {"ode": compiled(by_ode)}


def check(programs, records, direct=True):
    """All programs against the sums by hand, for doses into the first compartment that each has, or the central one."""
    for name, program in programs.items():
        _, depot, peripheral = CLOSED.get(name, (None, 1, 1))
        system = matrix(depot, peripheral)
        own = [r._replace(compartment=1 + depot) if direct else r for r in records]
        expected = [amount_by_hand(own, system, time)[depot] for time in TIMES]
        value = program(*doses_of(own))
        np.testing.assert_allclose(value, expected, rtol=2e-7, atol=1e-9 * max(expected), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_into_the_central_compartment(programs, schedule):
    check(programs, SCHEDULES[schedule], direct=True)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_into_the_first_compartment(programs, schedule):
    with_depot = {name: program for name, program in programs.items() if "oral" in name or name == "ode"}
    check(with_depot, SCHEDULES[schedule], direct=False)


@pytest.mark.slow
def test_into_the_peripheral_compartment(programs):
    for schedule in ("infusion", "steady infusion", "steady state with a lag", "constant infusion"):
        records = SCHEDULES[schedule]
        for name, depot in (("infusion two", 0), ("oral two", 1), ("ode", 1)):
            own = [record._replace(compartment=2 + depot) for record in records]
            expected = [amount_by_hand(own, matrix(depot, 1), time)[depot] for time in TIMES]
            value = programs[name](*doses_of(own))
            np.testing.assert_allclose(value, expected, rtol=2e-7, atol=1e-9 * max(expected), err_msg=name)


@pytest.mark.parametrize("seed", range(12))
def test_schedules_at_random(programs, seed):
    """Records of all kinds mixed, of several compartments, several at one time."""
    random = np.random.default_rng(seed)
    kinds = [record for schedule in SCHEDULES.values() for record in schedule]
    records = []
    for time in np.sort(random.choice(TIMES[:-2], size=5)):
        kind = kinds[random.integers(len(kinds))]
        records.append(kind._replace(time=float(time), compartment=int(random.integers(1, 4))))
    expected = [amount_by_hand(records, matrix(1, 1), time)[1] for time in TIMES]
    for name in ("oral two", "ode"):
        value = programs[name](*doses_of(records))
        np.testing.assert_allclose(value, expected, rtol=2e-7, atol=1e-9 * max(expected), err_msg=name)


@pytest.fixture(scope="module")
def released_into_the_depot():
    doses = mf.Doses.of(100.0, duration=5.0)
    return jax.jit(lambda ka: pk.oral_one_compartment(person(doses), ka=ka, cl=CL, v=V1))


@pytest.mark.parametrize("ka", [CL / V1, 1.0001 * CL / V1, 1.3 * CL / V1, 0.2 * CL / V1])
def test_release_into_the_depot_where_rates_are_close(released_into_the_depot, ka):
    """Against 30-point quadrature of the response to a unit, which has no quotient."""
    ke = CL / V1
    value = np.asarray(released_into_the_depot(ka))
    nodes, weights = np.polynomial.legendre.leggauss(30)

    def response(x):
        between = 0.5 * (nodes + 1.0)
        rates = ke + (ka - ke) * between[:, None]
        return ka * x * ((0.5 * weights) @ np.exp(-rates * x))

    for time, found in zip(TIMES, value, strict=True):
        passed = min(time, 5.0)
        starts = 0.5 * passed * (nodes + 1.0)
        expected = 20.0 / V1 * 0.5 * passed * weights @ response(time - starts)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


# ---------------------------------------------------------------- NONMEM's own predictions

NONMEM = pathlib.Path(__file__).parent / "nonmem_dosing.csv"


def test_nonmem_s_predictions():
    """One compartment with a depot; 1000 amount / v in the central one, to the five digits given. The lag and the
    bioavailability of a record act where it goes into compartment 2."""
    rows = pd.read_csv(NONMEM, comment="#")
    population = mf.Population.from_frame(rows.drop(columns=["LAG", "F", "R", "D"]))
    subjects = population.subjects
    size = subjects.doses.time.shape[-1]
    of_model = np.stack([of_doses(rows[rows["ID"] == i], population[k], size) for k, i in enumerate(population.ids)])
    ka, cl, v = 1.5, 1.1, 20.0

    def rhs(t, y):
        return [-ka * y[0], ka * y[0] - cl / v * y[1]]

    def curves(subject, of_model):
        given = dict(zip(("lag", "bioavailability", "rate", "duration"), map(mf.PerDose, of_model), strict=True))
        closed = pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v, **given)
        return closed, dynamics.solve(rhs, [0.0, 0.0], subject, **given)[:, 1] / v

    seen = np.asarray(subjects.mask)
    assert seen.sum() == (rows["EVID"] == 0).sum() > 700
    for values in jax.jit(jax.vmap(curves))(subjects, jnp.asarray(of_model)):
        np.testing.assert_allclose(1000.0 * values[seen], subjects.y[seen], rtol=5.1e-5, atol=1e-3)


def of_doses(rows, subject, size):
    """Lag, bioavailability, rate and duration of each dose of a person, zeros behind them."""
    records = rows[rows["EVID"] != 0]
    written = []
    for record in records.itertuples():
        central = record.CMT == 2
        numbers = (record.LAG if central else 0.0, record.F if central else 1.0, record.R, record.D)
        written += [(record.TIME + turn * record.II, numbers) for turn in range(int(record.ADDL) + 1)]
    table = np.zeros((4, size))
    for dose, time in enumerate(np.asarray(subject.doses.time)[np.asarray(subject.doses.real)]):
        match = next(pair for pair in written if abs(pair[0] - time) < 1e-9)
        written.remove(match)
        table[:, dose] = match[1]
    return table


# ---------------------------------------------------------------- what cannot be, and what units do


@pytest.mark.parametrize("name", CLOSED)
def test_a_compartment_that_a_function_does_not_have_is_refused(name):
    curve, depot, peripheral = CLOSED[name]
    last = 1 + depot + peripheral
    with pytest.raises(ValueError, match=r"mf\.pk\.\w+ does not have: its compartments are 1 .* or choose"):
        curve(person(mf.Doses.of(1.0, compartment=last + 1)))
    assert np.isnan(jax.jit(lambda doses: curve(person(doses)))(mf.Doses.of(1.0, compartment=last + 1))).all()


def test_rates_that_are_left_to_a_model_which_has_none():
    for code, word in ((-1.0, "rate"), (-2.0, "duration")):
        doses = mf.Doses.of(1.0, rate=code)
        with pytest.raises(ValueError, match=rf"leaves its {word} to the model .* give {word}= to mf\.pk\.oral_one"):
            pk.oral_one_compartment(person(doses), ka=1.0, cl=1.0, v=1.0)
        with pytest.raises(ValueError, match=rf"give {word}= to mf\.dynamics\.solve"):
            dynamics.solve(lambda t, y: -y, [0.0], person(doses))


@pytest.fixture(scope="module")
def equation_and_closed_form():
    def both(origin, amount, moments):
        zeros = jnp.zeros(2)
        doses = mf.Doses(origin + jnp.array([0.0, 30.0]), amount + zeros, duration=zeros, compartment=1 + zeros)
        one = mf.Subject(time=origin + moments, y=0 * moments, mask=moments > 0, doses=doses)
        return dynamics.solve(lambda t, y: [-KA * y[0], KA * y[0] - 0.1 * y[1]], [0.0, 0.0], one)[:, 1], (
            pk.oral_one_compartment(one, ka=KA, cl=0.1, v=1.0)
        )

    return jax.jit(both)


@pytest.mark.parametrize("origin", [0.0, -5.0, 16_777_217.0, 1.7e9])
@pytest.mark.parametrize("amount", [1e-12, 1e-6, 1.0, 1e9])
def test_origins_of_time_and_units_of_amount_change_nothing(equation_and_closed_form, origin, amount):
    moments = jnp.array([0.0, 1.0, 24.0, 30.0, 72.0, 150.0])
    by_equation, closed = equation_and_closed_form(origin, amount, moments)
    np.testing.assert_allclose(by_equation, closed, rtol=2e-6)


@pytest.mark.slow
def test_a_rhythm_at_steady_state_is_dosing_for_ever():
    """Time runs on where the right-hand side returns after an interval; covariates stand still at the record."""
    times = np.array([51.0, 60.0, 73.0])

    def curve(rhs, doses):
        one = mf.Subject(time=times, y=np.zeros(3), mask=np.ones(3, bool), doses=doses)
        return dynamics.solve(rhs, [0.0], one, solver=dynamics.RK4(60))[:, 0]

    def rhythm(t, y):
        return [-0.1 * (1.0 + 0.5 * jnp.cos(2 * jnp.pi * t / 24.0)) * y[0]]

    def weight_changes(t, y):
        return [-jnp.where(t < 50.0, 0.2, 0.4) * y[0]]

    steady = mf.Doses.of(100.0, time=50.0, interval=24.0, steady_state=1)
    given = 50.0 - 24.0 * np.arange(60)

    def lost(t):  # the integral of the rate up to t
        return 0.1 * (t + 0.5 * 24.0 / (2 * np.pi) * np.sin(2 * np.pi * t / 24.0))

    train = 100.0 * np.exp(lost(given) - lost(times[:, None])).sum(1)
    np.testing.assert_allclose(curve(rhythm, steady), train, rtol=1e-6)
    series = 100.0 * np.exp(-0.4 * (times - 50.0)) / -np.expm1(-0.4 * 24.0)
    np.testing.assert_allclose(curve(weight_changes, steady), series, rtol=1e-5)


@pytest.mark.slow
def test_a_steady_state_that_is_not_there_is_said_to_be_not():
    def saturated(t, y):
        return [-7.0 * y[0] / (1.0 + y[0])]

    for doses in (
        mf.Doses.of(100.0, interval=12.0, steady_state=1, rate=50.0),
        mf.Doses.of(0.0, interval=0.0, steady_state=1, rate=8.3),
    ):
        with pytest.raises(ValueError, match="there is no steady state for a dose .* more is given in an interval"):
            dynamics.solve(saturated, [0.0], person(doses), solver=dynamics.RK4(60))


def test_an_input_that_jumps_between_stops_is_found_or_named():
    one = mf.Subject(time=[0.0, 300.0], y=[0.0, 0.0], mask=[True, True])

    def pulse(t, y):
        return [jnp.where((t > 200.0) & (t < 201.0), 10.0, 0.0) - 0.01 * y[0]]

    with pytest.raises(ValueError, match=r"rhs jumps at time 200, 201, .*stops=\[200, 201\]"):
        dynamics.solve(pulse, [0.0], one)
    states = dynamics.solve(pulse, [0.0], one, stops=[200.0, 201.0])
    assert states[1, 0] == pytest.approx(1000.0 * -np.expm1(-0.01) * np.exp(-0.99), rel=1e-6)

    def steep(t, y):
        return [jnp.tanh(50.0 * (t - 100.0)) + jnp.cos(8.0 * t) - 0.01 * y[0]]

    assert np.isfinite(dynamics.solve(steep, [0.0], one, solver=dynamics.Tsit5(max_steps=20_000))).all()
