"""Closed forms against high-precision arithmetic, a numerical ODE, and the derivatives they promise."""

from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import mefit  # noqa: F401  (switches float64 on)
from mefit import pk
from mefit.population import Doses, Subject

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
    infused = (length > 0) & (route == "infusion")
    stops = np.unique(np.concatenate([GRID, start, (start + length)[infused]]))
    state, out, before = np.zeros(2), {}, 0.0
    for now in stops:
        if now > before:
            middle = (now + before) / 2
            on = infused & (start <= middle) & (middle <= start + length)
            rate = np.sum(amount[on] / length[on])

            def rhs(_, x, rate=rate):
                return [-ka * x[0], ka * x[0] - cl / v * x[1] + rate]

            state = solve_ivp(rhs, (before, now), state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        jump = amount[(start == now) & ~infused].sum()
        state = state + np.array([jump, 0.0] if route == "oral" else [0.0, jump])
        out[now], before = state[1] / v, now
    return np.array([out[t] for t in GRID])


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
    padded = subject(GRID, jax.tree.map(lambda x, y: jnp.append(x, y), REGIMEN, Doses.of(0.0)))

    @jax.jit
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
