"""Differential equations against the closed forms, their derivatives, their doses, and fits through them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Additive, theophylline_model
from test_pk import GRID, MIXED, TWO, regimen, subject

import mefit as mf
from mefit import dynamics, pk

FINE = dynamics.Tsit5(rtol=1e-10, atol=1e-12)
P = jnp.array([1.5, *TWO.values(), 0.7, 0.8])  # ka, cl, v1, q, v2, lag, bioavailability


def by_ode(p, one, solver=FINE):
    ka, cl, v1, q, v2, lag, share = p

    def rhs(t, y):
        depot, central, peripheral = y
        there, back = q / v1 * central, q / v2 * peripheral
        return [-ka * depot, ka * depot - cl / v1 * central - there + back, there - back]

    nobody = jnp.zeros(2)
    lags, shares = jnp.append(lag, nobody), jnp.append(share, nobody + 1.0)
    return dynamics.solve(rhs, jnp.zeros(3), one, lag=lags, bioavailability=shares, solver=solver)[:, 1] / v1


def closed(p, one):
    names = ("ka", *TWO, "lag", "bioavailability")
    return pk.oral_two_compartment(one, **dict(zip(names, p, strict=True)))


@pytest.fixture(scope="module")
def with_gradients():
    """Value and gradient, forward and in reverse, of the ODE and of the closed form: each compiled once."""

    def three(curve):
        return jax.jit(lambda p, one: (curve(p, one), jax.jacfwd(curve)(p, one), jax.jacrev(curve)(p, one)))

    return three(by_ode), three(closed)


@pytest.mark.slow
def test_closed_form_and_ode_agree_with_their_gradients(with_gradients):
    backwards = subject(GRID[::-1], MIXED)  # times in any order
    for p in (P, P.at[0].set(0.2), P.at[5].set(0.0)):
        if p[5] == 0.0:  # a lag of zero: where doses coincide with times its derivative is one-sided
            columns = np.array([0, 1, 2, 3, 4, 6])
        else:
            columns = np.arange(7)
        (value, forward, reverse), (exact, slope, _) = (f(p, backwards) for f in with_gradients)
        np.testing.assert_allclose(value, exact, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(forward[:, columns], slope[:, columns], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(reverse[:, columns], slope[:, columns], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_second_derivatives_agree():
    one = subject(GRID, MIXED)

    def of(curve):
        return jax.jit(jax.jacfwd(jax.jacfwd(lambda x: jnp.sum(curve(P.at[:2].set(x), one)))))(P[:2])

    np.testing.assert_allclose(of(by_ode), of(closed), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [dynamics.Kvaerno5(1e-9, 1e-10), dynamics.RK4(60)], ids=["Kvaerno5", "RK4"])
def test_the_other_solvers(solver):
    one = subject(GRID, MIXED)
    value, slope = jax.jit(lambda p: (by_ode(p, one, solver), jax.jacfwd(by_ode)(p, one, solver)))(P)
    np.testing.assert_allclose(value, closed(P, one), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slope, jax.jacfwd(closed)(P, one), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_stiff_system_needs_the_stiff_solver():
    one = subject([1.0, 10.0, 40.0], mf.Doses.none())

    def rhs(t, y):  # Robertson's problem
        a, b, c = y
        fast, slow, back = 3e7 * b**2, 0.04 * a, 1e4 * b * c
        return [back - slow, slow - back - fast, fast]

    states = dynamics.solve(rhs, [1.0, 0.0, 0.0], one, start=0.0, solver=dynamics.Kvaerno5(1e-8, 1e-12))
    # Hairer and Wanner, Solving Ordinary Differential Equations II, IV.10
    np.testing.assert_allclose(states[-1], [0.7158270688, 9.185534765e-6, 0.2841637457], rtol=1e-6)
    with pytest.raises(ValueError, match=r"needed more than 1000 steps and stopped at time .*Kvaerno5"):
        dynamics.solve(rhs, [1.0, 0.0, 0.0], one)


@pytest.mark.slow
def test_steady_state_agrees_with_the_closed_form():
    doses = (
        regimen(
            [70.0, 50.0, 30.0], [0.0, 20.0, 24.0], [0.0, 0.0, 3.0], [1, 1, 2], [0.0, 8.0, 0.0], [False, True, False]
        ),
        regimen(
            [20.0, 50.0, 30.0], [20.0, 20.0, 24.0], [0.0, 6.0, 0.0], [1, 2, 1], [0.0, 8.0, 0.0], [False, True, False]
        ),
    )
    both = jax.jit(
        lambda p, one: (by_ode(p, one), closed(p, one), jax.jacfwd(by_ode)(p, one), jax.jacfwd(closed)(p, one))
    )
    for given in doses:
        ode, exact, slope, expected = both(P, subject([5.0, 19.9, 20.0, 20.2, 22.0, 26.0, 40.0], given))
        np.testing.assert_allclose(ode, exact, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_steady_state_of_a_nonlinear_system_is_dosing_for_ever():
    def curve(doses, times):
        def rhs(t, y):
            return [-1.1 * y[0] / (0.8 + y[0])]

        return dynamics.solve(rhs, [0.0], subject(times, doses), solver=dynamics.Tsit5(1e-10, 1e-12, 10_000))[:, 0]

    steady = curve(regimen([2.0], [0.0], [0.0], [1], [6.0], [True]), [0.0, 1.0, 5.0])
    train = curve(mf.Doses.of(np.full(41, 2.0), 6.0 * np.arange(41)), [240.0, 241.0, 245.0])
    np.testing.assert_allclose(steady, train, rtol=1e-8)


@pytest.mark.slow
def test_padding_changes_nothing():
    wide = jax.tree.map(lambda x: jnp.append(x, jnp.zeros(1, x.dtype)), MIXED)
    wide = dataclasses.replace(wide, time=wide.time.at[-1].set(0.5))
    plain, padded = subject(GRID, MIXED), subject(np.append(GRID, GRID[-1]), wide)
    both = jax.jit(lambda p, one: (by_ode(p, one), jax.jacrev(by_ode)(p, one)))
    for x, y in zip(both(P, plain), both(P, padded), strict=True):
        np.testing.assert_allclose(x, y[:-1], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_where_it_begins_and_what_is_asked():
    one = subject([2.0, 3.0], mf.Doses.of(1.0, 2.5))

    def rhs(t, y):
        return [-y[0]]

    times = [4.0, 1.0, 2.0, 2.5]
    states = dynamics.solve(rhs, [3.0], one, time=times)[:, 0]
    at_dose = 3.0 * np.exp(-0.5) + 1.0
    np.testing.assert_allclose(states, [at_dose * np.exp(-1.5), 3.0, 3.0, at_dose], rtol=1e-6)
    early = dynamics.solve(rhs, [3.0], one, time=[2.0], start=0.0)
    np.testing.assert_allclose(early, [[3.0 * np.exp(-2.0)]], rtol=1e-6)


def test_mistakes_are_told():
    one = subject([1.0, 2.0], mf.Doses.of(1.0, compartment=2))
    with pytest.raises(ValueError, match=r"rhs returned \(2,\) for a state \(1,\)"):
        dynamics.solve(lambda t, y: [y[0], y[0]], [0.0], one)
    with pytest.raises(ValueError, match="a dose goes into a compartment beyond the 1 states"):
        dynamics.solve(lambda t, y: [-y[0]], [0.0], one)
    with pytest.raises(ValueError, match="not finite after time"):
        dynamics.solve(lambda t, y: [y[0] ** 2], [5.0], subject([1.0, 2.0], mf.Doses.none()), solver=dynamics.RK4(50))


class Ode(Additive):
    """Theophylline by its differential equations."""

    def observations(self, eta, subject):
        ka, cl, v = self.ka * jnp.exp(eta[0]), self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[2])

        def rhs(t, y):
            return [-ka * y[0], ka * y[0] - cl / v * y[1]]

        return dist.Normal(dynamics.solve(rhs, [0.0, 0.0], subject)[:, 1] / v, self.sigma)


class Few(Ode):
    def observations(self, eta, subject):
        def rhs(t, y):
            return [-1e4 * self.ka * y[0], y[0]]

        return dist.Normal(dynamics.solve(rhs, [1.0, 0.0], subject)[:, 1], self.sigma)


@pytest.mark.slow
def test_a_solver_that_fails_names_subject_and_parameters(theophylline):
    start = vars(theophylline_model())
    with pytest.raises(
        ValueError, match=r"^subject 1, at ka = 1\.5, .*: the ODE solver Tsit5 needed more than 1000 st"
    ):
        mf.fit(Few(**start), theophylline[:2], mf.NaivePooled(), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("method", [mf.FOCE(), mf.Laplace()], ids=["FOCE", "Laplace"])
def test_theophylline_as_an_ode_has_the_same_optimum(fitted, theophylline, method):
    fit = mf.fit(Ode(**vars(theophylline_model())), theophylline, method, progress=False)
    assert fit.converged
    assert -2 * fit.log_likelihood == pytest.approx(-2 * fitted(method).log_likelihood, abs=1e-4)


class IndirectResponse(mf.Model):
    """A drug that stimulates what comes in: R' = kin (1 + effect(C)) - kout R, R(0) = kin / kout; R alone is seen."""

    smax: Array = mf.positive()
    kout: Array = mf.positive(unit="1/h")
    baseline: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("smax", "kout"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        smax, kout = self.smax * jnp.exp(eta[0]), self.kout * jnp.exp(eta[1])

        def rhs(t, y):
            depot, central, response = y
            raised = jnp.maximum(central, 1e-12) ** 1.5  # the second derivative at 0 is infinite
            effect = smax * raised / (0.05**1.5 + raised)
            return [-0.5 * depot, 0.5 * depot - central, kout * (self.baseline * (1.0 + effect) - response)]

        solver = dynamics.RK4(8)  # equal steps: the likelihood is smooth, as with loose error control it is not
        states = dynamics.solve(rhs, jnp.stack([0.0, 0.0, self.baseline]), subject, solver=solver)
        return dist.Normal(states[:, 2], self.sigma * self.baseline)


@pytest.mark.slow
def test_an_indirect_response_is_recovered(key):
    true = IndirectResponse(smax=2.9, kout=2.2, baseline=0.36, omega=jnp.diag(jnp.array([0.04, 0.04])), sigma=0.05)
    times = np.arange(0.0, 15.1, 1.0)
    blank = mf.Population.from_subjects([subject(times, mf.Doses.of([1.0, 0.3], time=[0.0, 5.0]))] * 30)
    seen = mf.simulate(true, blank, key)
    start = IndirectResponse(smax=1.5, kout=1.0, baseline=0.5, omega=jnp.diag(jnp.array([0.1, 0.1])), sigma=0.2)
    fit = mf.fit(start, seen, mf.FOCE(), progress=False)
    assert fit.converged
    table = fit.table
    for name in ("smax", "kout", "baseline", "sigma"):
        error = float(table.loc[name, "se"])
        assert abs(float(getattr(fit.model, name)) - float(getattr(true, name))) < 3.5 * error
