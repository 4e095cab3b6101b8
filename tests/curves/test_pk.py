"""Closed forms against high-precision arithmetic, a numerical ODE, and the derivatives they promise."""

import dataclasses
import functools
from decimal import Decimal, getcontext

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import mefit  # noqa: F401  (switches float64 on)
from mefit import pk
from mefit.base import compiling
from mefit.data.doses import Doses
from mefit.data.subject import Subject

getcontext().prec = 80
TIMES = (0.0, 1e-3, 0.25, 1.0, 4.0, 12.0, 30.0, 100.0)


def subject(time, doses) -> Subject:
    time = np.asarray(time, dtype=float)
    return Subject(time, np.zeros(time.shape), np.ones(time.shape), {}, doses)


def exact_oral(ka: Decimal, cl: Decimal, v: Decimal, t: Decimal) -> Decimal:
    """One dose of amount 1 at time 0, in 80 digits, by the textbook formula."""
    ke = cl / v
    if ka == ke:
        ka = ke * (1 + Decimal(10) ** -40)  # the limit, to about 40 digits
    return ka / v * ((-ke * t).exp() - (-ka * t).exp()) / (ka - ke)


def exact_derivatives(ka: float, cl: float, v: float, t: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian by central differences in 80 digits: right to far more digits than a float holds."""
    at, h = [Decimal(ka), Decimal(cl), Decimal(v)], Decimal(10) ** -10

    def f(*steps: int) -> Decimal:
        return exact_oral(*(x + s * h for x, s in zip(at, steps, strict=True)), Decimal(t))

    unit = np.eye(3, dtype=int)
    gradient = [(f(*e) - f(*-e)) / (2 * h) for e in unit]
    hessian = [[(f(*(a + b)) - f(*(a - b)) - f(*(b - a)) + f(*(-a - b))) / (4 * h * h) for b in unit] for a in unit]
    return float(f(0, 0, 0)), np.array(gradient, dtype=float), np.array(hessian, dtype=float)


@jax.jit
def oral_and_derivatives(p):
    """Value, gradient forward and backward, and Hessian forward-forward and backward-backward, at TIMES."""

    def curve(p):
        return pk.oral_one_compartment(subject(TIMES, Doses.of(1.0)), ka=p[0], cl=p[1], v=p[2])

    forward, backward = jax.jacfwd(curve), jax.jacrev(curve)
    return curve(p), forward(p), backward(p), jax.jacfwd(forward)(p), jax.jacrev(backward)(p)


@pytest.mark.slow
@pytest.mark.parametrize(
    "gap", [0.0, 1e-14, 1e-9, -1e-5, 1e-3, 0.0099, 0.0102, -0.0099, -0.0102, 0.3, -0.5, 9.0, -0.999], ids=str
)
def test_oral_value_gradient_and_hessian_are_accurate_where_rates_nearly_coincide(gap):
    cl, v = 2.75, 31.0
    ka = cl / v * (1 + gap)
    results = oral_and_derivatives(jnp.array([ka, cl, v]))
    value, gradient, hessian = (
        np.array(x) for x in zip(*(exact_derivatives(ka, cl, v, t) for t in TIMES), strict=True)
    )
    exact, tolerances = (value, gradient, gradient, hessian, hessian), (1e-13, 1e-11, 1e-11, 5e-9, 5e-9)
    for got, expected, tolerance in zip(results, exact, tolerances, strict=True):
        assert np.max(np.abs(got - expected)) < tolerance * np.max(np.abs(expected))


REGIMEN = Doses.of([100.0, 60.0, 80.0], time=[0.5, 8.0, 12.0], duration=[2.0, 0.0, 7.0])
GRID = np.array([0.0, 0.5, 0.7, 1.5, 2.5, 4.0, 8.0, 9.0, 12.5, 15.0, 19.0, 25.0, 60.0])


def by_ode(route: str, ka: float, cl: float, v: float) -> np.ndarray:
    """Concentrations on GRID by integrating from one event to the next; doses are jumps or constant rates."""
    start, amount, length = (np.asarray(x) for x in (REGIMEN.time, REGIMEN.amount, REGIMEN.duration))
    infused = length > 0
    into = np.array([1.0, 0.0]) if route == "oral" else np.array([0.0, 1.0])
    stops = np.unique(np.concatenate([GRID, start, (start + length)[infused]]))
    state, out, before = np.zeros(2), {}, 0.0
    for now in stops:
        if now > before:
            middle = (now + before) / 2
            on = infused & (start <= middle) & (middle <= start + length)
            rate = np.sum(amount[on] / length[on])

            def rhs(_, x, rate=rate):
                return np.array([-ka * x[0], ka * x[0] - cl / v * x[1]]) + rate * into

            state = solve_ivp(rhs, (before, now), state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        state = state + amount[(start == now) & ~infused].sum() * into
        out[now], before = state[1] / v, now
    return np.array([out[t] for t in GRID])


@pytest.mark.slow
@pytest.mark.parametrize("route", ["oral", "bolus", "infusion"])
@pytest.mark.parametrize("ka", [1.5, 0.09, 0.02], ids=["usual", "coincident", "flip-flop"])
def test_superposition_agrees_with_an_ode(route, ka):
    cl, v = 2.7, 30.0
    one = subject(GRID, REGIMEN)
    got = {
        "oral": lambda: pk.oral_one_compartment(one, ka=ka, cl=cl, v=v),
        "bolus": lambda: pk.iv_bolus_one_compartment(one, cl=cl, v=v),
        "infusion": lambda: pk.infusion_one_compartment(one, cl=cl, v=v),
    }[route]()
    np.testing.assert_allclose(got, by_ode(route, ka, cl, v), rtol=1e-9, atol=1e-11)


CURVES = {
    "oral": lambda s, p, **kw: pk.oral_one_compartment(s, ka=p[0], cl=p[1], v=p[2], **kw),
    "bolus": lambda s, p, **kw: pk.iv_bolus_one_compartment(s, cl=p[1], v=p[2], **kw),
    "infusion": lambda s, p, **kw: pk.infusion_one_compartment(s, cl=p[1], v=p[2], **kw),
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_laws_of_every_curve(curve):
    p = jnp.array([1.5, 2.7, 30.0])
    one = subject(GRID, REGIMEN)
    value = curve(one, p)
    # the sum over doses, one at a time; padding changes nothing, and reaches no derivative
    parts = [curve(subject(GRID, jax.tree.map(lambda x, i=i: x[i : i + 1], REGIMEN)), p) for i in range(3)]
    np.testing.assert_allclose(value, sum(parts), rtol=1e-14)
    padded = subject(GRID, jax.tree.map(lambda x: jnp.append(x, jnp.zeros(1, x.dtype)), REGIMEN))

    @functools.partial(jax.jit, compiler_options=compiling.known_options())
    def derivatives(p, doses):
        f = lambda q: curve(subject(GRID, doses), q)  # noqa: E731
        return f(p), jax.jacfwd(f)(p), jax.jacrev(f)(p), jax.jacfwd(jax.jacfwd(f))(p), jax.jacrev(jax.jacrev(f))(p)

    plain, wide = derivatives(p, REGIMEN), derivatives(p, padded.doses)
    for x, y in zip(plain, wide, strict=True):
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(plain[1], plain[2], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(plain[3], plain[4], rtol=1e-8, atol=1e-12)
    # nothing before the first dose, nothing at all without doses, and no parameter moves either
    assert float(value[0]) == 0.0
    nobody = subject(GRID, Doses.none())
    assert not np.any(curve(nobody, p)) and not np.any(jax.jit(jax.jacrev(lambda q: curve(nobody, q)))(p))
    assert not np.any(plain[2][0])
    # elsewhere than at the subject's own times, and for many subjects in one compiled call
    np.testing.assert_array_equal(curve(one, p, time=GRID[3:5]), value[3:5])
    both = jax.jit(jax.vmap(curve, in_axes=(0, None)))(jax.tree.map(lambda x: jnp.stack([x, x]), one), p)
    np.testing.assert_allclose(both, jnp.stack([value, value]), rtol=1e-14)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_gradient_against_central_differences(curve):
    p, one, h = np.array([0.8, 2.7, 30.0]), subject(GRID, REGIMEN), 1e-5
    numeric = np.stack(
        [(curve(one, p + h * p * e) - curve(one, p - h * p * e)) / (2 * h * p[i]) for i, e in enumerate(np.eye(3))],
        axis=1,
    )
    np.testing.assert_allclose(jax.jit(jax.jacfwd(lambda q: curve(one, q)))(p), numeric, rtol=1e-6, atol=1e-9)


def test_extreme_rates_stay_finite():
    one = subject([0.0, 1.0, 1e3, 1e6], Doses.of(100.0))

    def f(p):
        return pk.oral_one_compartment(one, ka=p[0], cl=p[1], v=1.0)

    everything = jax.jit(lambda p: (f(p), jax.jacrev(f)(p), jax.hessian(f)(p)))
    for p in [(1e4, 1e-3), (1e-4, 1e4), (1e3, 1e3)]:
        results = everything(jnp.array(p))
        assert all(np.isfinite(x).all() for x in results)
        assert (results[0] >= 0).all()


def test_conventions_at_the_time_of_a_dose():
    one = subject([0.5], Doses.of(100.0, time=0.5))
    assert float(pk.iv_bolus_one_compartment(one, cl=2.0, v=20.0)[0]) == 5.0
    assert float(pk.infusion_one_compartment(one, cl=2.0, v=20.0)[0]) == 5.0
    assert float(pk.oral_one_compartment(one, ka=1.0, cl=2.0, v=20.0)[0]) == 0.0
    slow = subject([0.5], Doses.of(100.0, time=0.5, duration=1.0))
    assert float(pk.infusion_one_compartment(slow, cl=2.0, v=20.0)[0]) == 0.0


@pytest.mark.parametrize("ke_t", [1e-9, 1e-3, 0.299, 0.301, 3.0])
def test_short_infusions_are_accurate(ke_t):
    """At the end of an infusion C = amount / v (1 - exp(-x)) / x with x = ke T, whose derivative in cl is known too."""
    cl, v = 2.0, 20.0
    duration = ke_t * v / cl
    one = subject([duration], Doses.of(100.0, duration=duration))
    value, slope = jax.value_and_grad(lambda c: pk.infusion_one_compartment(one, cl=c, v=v)[0])(cl)
    x = Decimal(duration) * Decimal(cl) / Decimal(v)
    mean = (1 - (-x).exp()) / x
    assert float(value) == pytest.approx(100.0 / v * float(mean), rel=1e-14)
    assert float(slope) == pytest.approx(100.0 / v * float(((-x).exp() - mean) / x) * duration / v, rel=1e-12)


def test_parameters_that_change_in_time_are_refused():
    one = subject(GRID, REGIMEN)
    with pytest.raises(ValueError, match=r"Parameter cl has shape \(13,\).*superposition"):
        pk.iv_bolus_one_compartment(one, cl=jnp.ones(13), v=1.0)


# ---------------------------------------------------------------- two compartments, lag, mixed routes, steady state


def regimen(amount, time, duration, compartment, interval, steady_state) -> Doses:
    """Doses of which some are at steady state."""
    return Doses.of(amount, time, duration, compartment, interval=interval, steady_state=steady_state)


MIXED = Doses.of(
    [100.0, 60.0, 80.0, 40.0], time=[0.5, 8.0, 12.0, 12.0], duration=[0, 0.0, 7.0, 0], compartment=[1, 2, 2, 1]
)
TWO = {"cl": 2.7, "v1": 20.0, "q": 1.4, "v2": 35.0}
MODELS = {
    "oral one": (pk.oral_one_compartment, {"ka": 1.5, "cl": 2.7, "v": 30.0}),
    "bolus one": (pk.iv_bolus_one_compartment, {"cl": 2.7, "v": 30.0}),
    "infusion one": (pk.infusion_one_compartment, {"cl": 2.7, "v": 30.0}),
    "oral two": (pk.oral_two_compartment, {"ka": 1.5, **TWO}),
    "infusion two": (pk.infusion_two_compartment, TWO),
}


NAMES = ("ka", "cl", "v1", "q", "v2", "bioavailability")


def exponential(matrix):
    """exp of a small matrix by Taylor's series of its 1024th part, squared ten times."""
    small, term, total = matrix / 1024, jnp.eye(4), jnp.eye(4)
    for k in range(1, 15):
        term = term @ small / k
        total = total + term
    for _ in range(10):
        total = total @ total
    return total


@jax.jit
def by_matrices(logs, steps, rates, jumps):
    """Concentrations at every event with their first and second derivatives: exact whatever the rates."""

    def curve(logs):
        ka, cl, v1, q, v2, share = jnp.exp(logs)
        zero = jnp.zeros(())
        matrix = jnp.array([[-ka, zero, zero], [ka, -(cl + q) / v1, q / v2], [zero, q / v1, -q / v2]])

        def event(state, inputs):
            step, rate, jump = inputs
            wide = jnp.zeros((4, 4)).at[:3, :3].set(matrix).at[1, 3].set(rate[0] + share * rate[1])
            state = (exponential(wide * step) @ jnp.append(state, 1.0))[:3]
            state = state + jnp.array([share * jump[0], jump[1] + share * jump[2], 0.0])
            return state, state[1] / v1

        return jax.lax.scan(event, jnp.zeros(3), (steps, rates, jumps))[1]

    return curve(logs), jax.jacfwd(curve)(logs), jax.jacfwd(jax.jacfwd(curve))(logs)


def reference(name: str, p: dict):
    """Value, gradient and Hessian in log parameters on GRID, after MIXED, event by event."""
    start, amount, length, where = (
        np.asarray(x) for x in (MIXED.time, MIXED.amount, MIXED.duration, MIXED.compartment)
    )
    oral = name.startswith("oral")
    depot = oral & (where != 2)
    shared = depot | (not oral)  # lag and bioavailability act on these
    infused = length > 0
    start = start + np.where(shared, p["lag"], 0.0)
    stops = np.unique(np.concatenate([GRID, start, (start + length)[infused]]))
    middle = (stops - np.diff(stops, prepend=0.0) / 2)[:, None]
    on = infused & (start <= middle) & (middle <= start + length)
    rate = np.where(on, amount / np.where(length > 0, length, 1.0), 0.0)
    given = np.where((start == stops[:, None]) & ~infused, amount, 0.0)
    rates = np.stack([(rate * ~shared).sum(1), (rate * shared).sum(1)], 1)
    jumps = np.stack([given @ depot, given @ ~shared, given @ (shared & ~depot)], 1)
    full = {"ka": 1.0, "v1": p.get("v"), "q": 1e-300, "v2": 1.0} | p
    logs = np.log([full[k] for k in NAMES])
    wanted = [i for i, k in enumerate(NAMES) if k in p or (k == "v1" and "v" in p)]
    value, gradient, hessian = by_matrices(logs, np.diff(stops, prepend=0.0), rates, jumps)
    at = np.searchsorted(stops, GRID)
    return value[at], gradient[at][:, wanted], hessian[at][:, wanted][:, :, wanted]


def of_mixed(name: str):
    """Someone with the doses of MIXED; all of them into the central compartment where there is no depot."""
    everywhere = MIXED.compartment if name.startswith("oral") else jnp.ones_like(MIXED.compartment)
    return subject(GRID, dataclasses.replace(MIXED, compartment=everywhere))


@functools.cache
def closed_form(name: str, names: tuple):
    """Value, gradient and Hessian in the logarithms of the named parameters, compiled once for each model."""

    @jax.jit
    def everything(logs, lag):
        def f(logs):
            return MODELS[name][0](of_mixed(name), lag=lag, **dict(zip(names, jnp.exp(logs), strict=True)))

        return f(logs), jax.jacfwd(f)(logs), jax.jacfwd(jax.jacfwd(f))(logs)

    return everything


def agrees_with_matrices(name: str, p: dict, of_hessian: float = 1e-8):
    names = tuple(k for k in ("ka", "cl", "v", "v1", "q", "v2", "bioavailability") if k in p)
    got = closed_form(name, names)(jnp.log(jnp.array([p[k] for k in names])), p["lag"])
    expected = reference(name, p)
    for x, y, tolerance in zip(got, expected, (1e-11, 1e-10, of_hessian), strict=True):
        assert np.max(np.abs(x - y)) < tolerance * float(jnp.max(expected[0]))


@pytest.mark.parametrize("name", MODELS)
def test_values_and_two_derivatives_against_matrix_exponentials(name):
    agrees_with_matrices(name, {**MODELS[name][1], "lag": 0.7, "bioavailability": 0.8})


def test_random_parameters_against_matrix_exponentials():
    rng = np.random.default_rng(5)
    for _ in range(40):
        p = {k: float(np.exp(rng.normal(np.log(x), 0.8))) for k, x in {"ka": 1.5, **TWO}.items()}
        agrees_with_matrices("oral two", p | {"lag": rng.uniform(0, 2), "bioavailability": rng.uniform(0.1, 1)})


def rates(cl, v1, q, v2):
    total, product = cl / v1 + q / v1 + q / v2, cl / v1 * q / v2
    root = np.sqrt(total**2 / 4 - product)
    return total / 2 + root, total / 2 - root


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 1e-12, -1e-6, 1e-3])
@pytest.mark.parametrize("which", [0, 1], ids=["alpha", "beta"])
def test_absorption_as_fast_as_distribution_or_elimination(which, gap):
    p = {"ka": rates(**TWO)[which] * (1 + gap), **TWO, "lag": 0.0, "bioavailability": 1.0}
    agrees_with_matrices("oral two", p)


@pytest.mark.parametrize("share", [1e-3, 1e-6, 1e-9])
def test_distribution_and_elimination_that_coincide(share):
    """alpha - beta goes to zero where the compartments hardly exchange and k21 = k10 + k12."""
    v1, cl = 20.0, 2.7
    q = share * cl
    p = {"ka": 1.5, "cl": cl, "v1": v1, "q": q, "v2": q * v1 / (cl + q), "lag": 0.0, "bioavailability": 1.0}
    agrees_with_matrices("oral two", p, 1e-8 if share > 1e-8 else 1e-6)
    agrees_with_matrices("infusion two", {k: x for k, x in p.items() if k != "ka"}, 1e-8 if share > 1e-8 else 1e-6)


@pytest.mark.slow
def test_two_compartments_without_exchange_are_one():
    one = subject(GRID, MIXED)
    two = pk.oral_two_compartment(one, ka=1.5, cl=2.7, v1=30.0, q=1e-300, v2=1.0, lag=0.5, bioavailability=0.7)
    np.testing.assert_allclose(
        two, pk.oral_one_compartment(one, ka=1.5, cl=2.7, v=30.0, lag=0.5, bioavailability=0.7), rtol=1e-13
    )


def by_diffrax(p: dict, doses: Doses, grid):
    """Oral two-compartment concentrations: Diffrax from one event to the next."""
    k10, k12, k21 = p["cl"] / p["v1"], p["q"] / p["v1"], p["q"] / p["v2"]

    def rhs(t, x, rate):
        return jnp.array(
            [-p["ka"] * x[0], p["ka"] * x[0] - (k10 + k12) * x[1] + k21 * x[2] + rate, k12 * x[1] - k21 * x[2]]
        )

    control = diffrax.PIDController(rtol=1e-12, atol=1e-13)

    @jax.jit
    def integrate(before, now, state, rate):
        term, end = diffrax.ODETerm(rhs), diffrax.SaveAt(t1=True)
        return diffrax.diffeqsolve(
            term, diffrax.Dopri8(), before, now, None, state, rate, saveat=end, stepsize_controller=control
        ).ys[0]

    start, amount, length, where = (
        np.asarray(x) for x in (doses.time, doses.amount, doses.duration, doses.compartment)
    )
    start = start + np.where(where == 1, p["lag"], 0.0)
    amount = amount * np.where(where == 1, p["bioavailability"], 1.0)
    state, out, before = jnp.zeros(3), {}, 0.0
    for now in np.unique(np.concatenate([grid, start, start + length])):
        on = (length > 0) & (start < now) & (now <= start + length)
        if now > before:
            state = integrate(before, now, state, float(np.sum(amount[on] / length[on])))
        given = np.where((start == now) & (length == 0), amount, 0.0)
        state = state + jnp.array([given[where == 1].sum(), given[where == 2].sum(), 0.0])
        out[now], before = float(state[1]) / p["v1"], now
    return np.array([out[t] for t in grid])


def test_two_compartments_agree_with_diffrax():
    p = {"ka": 0.9, **TWO, "lag": 0.35, "bioavailability": 0.6}
    got = pk.oral_two_compartment(subject(GRID, MIXED), **p)
    np.testing.assert_allclose(got, by_diffrax(p, MIXED, GRID), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_the_derivative_in_lag_against_central_differences():
    def curve(lag):
        return pk.oral_two_compartment(subject(GRID, MIXED), ka=0.9, **TWO, lag=lag)

    numeric = (curve(0.35 + 1e-6) - curve(0.35 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jacfwd(curve)(0.35), numeric, rtol=1e-6, atol=1e-8)


@functools.cache
def curve_and_slope(name: str):
    curve, p = MODELS[name]

    @jax.jit
    def both(values, lag, one):
        def f(x):
            return curve(one, **dict(zip(p, x, strict=True)), lag=lag)

        return f(values), jax.jacfwd(f)(values)

    return both


@pytest.mark.slow
@pytest.mark.parametrize("duration", [0.0, 3.0, 8.0, 19.0], ids="T={}".format)
@pytest.mark.parametrize("name", MODELS)
def test_steady_state_is_dosing_for_ever(name, duration):
    values, grid = jnp.array(list(MODELS[name][1].values())), np.linspace(20.0, 60.0, 37)
    compartment = 2 if duration and name.startswith("oral") else 1
    alone, at = np.zeros(401, bool), 20.0 - 8.0 * np.arange(401)
    alone[0] = True
    steady = regimen(np.where(alone, 50.0, 0.0), at, duration, compartment, 8.0, alone)
    train = regimen(50.0, at, duration, compartment, 8.0, ~alone & alone)
    for lag in (0.0, 1.3, 9.5) if compartment == 1 else (0.0,):
        got, expected = (curve_and_slope(name)(values, lag, subject(grid, d)) for d in (steady, train))
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-10)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_a_steady_dose_wipes_out_what_came_before():
    p = MODELS["oral two"][1] | {"lag": 0.4}
    doses = regimen(
        [70.0, 50.0, 30.0, 0.0], [0.0, 20.0, 24.0, 0.0], 0.0, 1, [0.0, 8.0, 0.0, 8.0], [False, True, False, True]
    )
    grid = np.array([5.0, 19.9, 20.0, 20.2, 26.0, 40.0])
    got = pk.oral_two_compartment(subject(grid, doses), **p)
    first = pk.oral_two_compartment(subject(grid, Doses.of(70.0)), **p)
    train = Doses.of(np.full(301, 50.0), 20.0 - 8.0 * np.arange(301))
    later = pk.oral_two_compartment(subject(grid, train), **p) + pk.oral_two_compartment(
        subject(grid, Doses.of(30.0, 24.0)), **p
    )
    np.testing.assert_allclose(got, np.where(grid < 20.0, first, later), rtol=1e-11)
