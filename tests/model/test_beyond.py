"""Places that an array of a model has not: JAX takes the nearest, and the kit refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf

TIMES = [0.5, 1.0, 2.0, 4.0]


class Line(mf.Model):
    """Two random effects, of level and slope; how they are looked up is what subclasses differ in."""

    beta: Array = mf.real()
    omega: Array = mf.diagonal_covariance(names=("level", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def line(self, eta, subject):
        return self.beta[0] + eta[0] + (self.beta[1] + eta[1]) * subject.time

    def observations(self, eta, subject):
        return dist.Normal(self.line(eta, subject), self.sigma)


class FromOne(Line):
    def line(self, eta, subject):
        return self.beta[0] + eta[1] + (self.beta[1] + eta[2]) * subject.time


class BeforeTheFirst(Line):
    def line(self, eta, subject):
        return eta[-3] + subject.time


class OfAParameter(Line):
    def line(self, eta, subject):
        return self.beta[2] + eta[0] * subject.time


class OfAList(Line):
    def line(self, eta, subject):
        return eta[np.array([0, 2])].sum() + subject.time


class OfAMatrix(Line):
    def line(self, eta, subject):
        return self.omega[1, 2] + eta[0] * subject.time


class Set(Line):
    def line(self, eta, subject):
        level = jnp.zeros(2).at[2].set(eta[0])
        return level[0] + subject.time


class InEquations(Line):
    def line(self, eta, subject):
        def rhs(t, y):
            return [-y[0], y[2] * jnp.exp(eta[0])]

        return mf.dynamics.solve(rhs, jnp.ones(2), subject)[:, 1]


class OfOccasions(Line):
    def line(self, eta, subject):
        return self.beta[0] + eta[subject.covariates["occasion"].astype(int)] + self.beta[1] * subject.time


class Searched(Line):
    """Where is found by what is fitted, and beyond the last time on purpose."""

    def line(self, eta, subject):
        return self.beta[0] + subject.time[jnp.searchsorted(subject.time, 10.0 + eta[0])] + 0.0 * subject.time


class Clipped(Line):
    def line(self, eta, subject):
        return jnp.take(eta, 5, mode="clip") + subject.time


def start(kind):
    return kind(beta=jnp.array([1.0, 0.5]), omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)


def people(occasions=2, of_the_fourth=None):
    """Six of four rows, on as many occasions; the fourth of them on others."""
    rows = []
    for i in range(1, 7):
        count = of_the_fourth if i == 4 and of_the_fourth else occasions
        rows += [(i, t, 1.0 + 0.3 * i + t, 1 + row % count) for row, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "OCC"]), amount=None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FromOne, r"FromOne asks for place 2 of an array of 2, at `return self.beta\[0\] \+ eta\[1\] .*eta\[2\]"),
        (BeforeTheFirst, r"asks for a place before the first of an array of 2, at `return eta\[-3\]"),
        (OfAParameter, r"asks for place 2 of an array of 2, at `return self.beta\[2\]"),
        (OfAList, "asks for place 2 of an array of 2"),
        (OfAMatrix, "asks for place 2 of an array of 2"),
        (Set, r"asks for place 2 of an array of 2, at `level = jnp.zeros\(2\).at\[2\]"),
        (InEquations, r"asks for place 2 of an array of 2, at `return \[-y\[0\], y\[2\]"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_place_that_an_array_has_not_is_refused(kind, words):
    with pytest.raises(ValueError, match=words):
        mf.fit(start(kind), people(), mf.Laplace(), progress=False)


def test_an_occasion_that_the_model_has_no_effect_for_is_refused():
    """JAX would give the third occasion the effect of the second."""
    words = "OfOccasions asks for subject 1 for place 2 of an array of 2, .* as many places as they need"
    with pytest.raises(ValueError, match=words):
        mf.fit(start(OfOccasions), people(3), mf.Laplace(), progress=False)


def test_whoever_has_too_many_occasions_is_named():
    with pytest.raises(ValueError, match="for subject 4 for place 2"):
        mf.predict(start(OfOccasions), people(2, of_the_fourth=3))


@pytest.mark.parametrize("kind", [Line, OfOccasions, Searched, Clipped])
def test_places_that_are_there_or_are_meant_are_left_alone(kind):
    assert np.all(np.isfinite(mf.predict(start(kind), people())))


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, data, key: mf.fit(model, data, mf.SAEM(), key=key, progress=False),
        lambda model, data, key: mf.log_likelihood(model, data, mf.FO()),
        lambda model, data, key: mf.simulate(model, data, key),
        lambda model, data, key: mf.predict(model, data),
        lambda model, data, key: mf.empirical_bayes(model, data),
        lambda model, data, key: mf.individual(model, data, key=key),
        lambda model, data, key: next(mf.iterate(model, data, mf.FO())),
    ],
    ids=["fit", "log_likelihood", "simulate", "predict", "empirical_bayes", "individual", "iterate"],
)
def test_every_door_refuses(ask):
    with pytest.raises(ValueError, match="places are counted from 0, so that the last is 1"):
        ask(start(FromOne), people(), jax.random.key(0))


def test_new_people_of_a_fit_are_looked_at_too():
    fit = mf.fit(start(OfOccasions), people(2), mf.FO(), progress=False)
    for ask in (mf.predictions, mf.residuals):
        with pytest.raises(ValueError, match="for subject 1 for place 2"):
            ask(fit, population=people(3))


def test_the_experts_of_a_mixture_are_looked_at():
    mixed = mf.MixtureOfExperts((start(Line), start(FromOne)), gate=mf.ConstantGate(2))
    with pytest.raises(ValueError, match="asks for place 2 of an array of 2"):
        mf.fit(mixed, people(), mf.EM(), key=jax.random.key(0), progress=False)


def test_it_may_stand_inside_a_program():
    data = people()

    def value(beta):
        model = OfOccasions(beta=beta, omega=jnp.diag(jnp.array([0.3, 0.1])), sigma=0.2)
        return mf.log_density(model, data, mf.FO())

    assert np.all(np.isfinite(jax.jit(jax.grad(value))(jnp.array([1.0, 0.5]))))
