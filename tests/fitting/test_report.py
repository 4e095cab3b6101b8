"""What a printed fit says where there are no standard errors."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Means

import mefit as mf
from mefit.fitting.about import climbs_a_likelihood, final_objective, pools_subjects, treats_subjects_alone
from mefit.fitting.report import _percent


class Twins(mf.Model):
    """y = a + b + eta: only the sum of a and b is told."""

    a: Array = mf.real()
    b: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(self.a + self.b + eta, subject.time.shape), self.sigma)


def design(rows, subjects):
    subject = mf.Subject(time=jnp.arange(float(rows)), y=jnp.zeros(rows), mask=jnp.ones(rows, bool))
    return mf.Population.from_subjects([subject] * subjects)


@pytest.mark.slow
@pytest.mark.parametrize("method", [mf.FO(), mf.Laplace()], ids=lambda method: method.label)
def test_a_pair_that_is_not_identified_is_said_in_print(method):
    truth = Twins(a=1.0, b=2.0, omega=0.5, sigma=1.0)
    population = mf.simulate(truth, design(4, 30), jax.random.key(1))
    fit = mf.fit(truth, population, method, progress=False)
    assert fit.converged
    words = "no standard errors: not identified: the likelihood hardly changes as a, b move together"
    assert f"Note: {words}" in str(fit) and words in fit._repr_html_()
    assert fit.table.se.isna().all() and fit.table.attrs["no_standard_errors"].startswith(words)
    held = mf.fit(truth, population, method, fixed="b", progress=False)
    assert "no standard errors" not in str(held) and held.table.se[["a", "omega", "sigma"]].notna().all()


def test_a_fit_that_stopped_early_is_no_maximum_and_not_called_unidentified():
    truth = Twins(a=1.0, b=2.0, omega=0.5, sigma=1.0)
    population = mf.simulate(truth, design(4, 30), jax.random.key(1))
    start = Twins(a=0.0, b=0.0, omega=0.5, sigma=1.0)
    fit = mf.fit(start, population, mf.FO(optimiser=mf.BFGS(max_iterations=1)), progress=False)
    assert not fit.converged and fit.table.se.isna().all()
    assert "Note: no standard errors: the fit has not converged, and this is not a maximum." in str(fit)


def test_a_network_has_no_standard_errors_and_says_why(theophylline):
    class Net(Means):
        net: mf.networks.MLP = mf.weights()

        def observations(self, eta, subject):
            mean = self.mu + eta + 0.0 * jnp.reshape(self.net(1.0), ())
            return dist.Normal(jnp.broadcast_to(mean, subject.time.shape), self.sigma)

    model = Net(mu=5.0, omega=1.0, sigma=3.0, net=mf.networks.MLP(1, (), 1))
    fit = mf.fit(model, theophylline, mf.FO(optimiser=mf.BFGS(max_iterations=2)), progress=False)
    assert "Note: no standard errors: many sets of weights of a network give the same curves." in str(fit)


def test_what_a_method_ends_with_and_climbs():
    by_saem = mf.SAEM(likelihood_by=mf.Laplace())
    thorough = mf.Laplace(newton=mf.Newton(thorough=True))  # evaluated once, it looks for every person's peaks
    table = {
        mf.FOCE(): (mf.FOCE(), True, False, False),
        mf.Adam(mf.FOCE()): (mf.FOCE(), True, False, False),
        by_saem: (thorough, False, False, False),
        mf.NUTS(): (mf.Laplace(), False, False, False),
        mf.TwoStage(): (None, False, True, False),
        mf.JointMLE(): (mf.JointMLE(), False, True, False),
        mf.JointMAP(): (mf.JointMAP(), False, False, False),
        mf.NaivePooled(): (mf.NaivePooled(), True, False, True),
    }
    for method, (objective, likelihood, alone, pooled) in table.items():
        assert final_objective(method) == objective, method.label
        assert climbs_a_likelihood(method) == likelihood, method.label
        assert treats_subjects_alone(method) == alone, method.label
        assert pools_subjects(method) == pooled, method.label


@pytest.mark.slow
def test_after_adam_uncertainty_is_that_of_its_objective():
    """y_ij ~ N(mu + eta_i, sigma^2), omega and sigma known: Var mu = (omega^2 + sigma^2 / n) / N, wherever mu is."""
    truth = Means(mu=1.0, omega=0.5, sigma=1.0)
    population = mf.simulate(truth, design(4, 30), jax.random.key(1))
    method = mf.Adam(mf.FOCE(), steps=20, block=10)
    fit = mf.fit(truth, population, method, fixed=("omega", "sigma"), progress=False)
    exact = np.sqrt((0.25 + 1.0 / 4.0) / 30.0)
    assert fit.table.se["mu"] == pytest.approx(exact, rel=1e-6)
    assert mf.observed_information(fit).table.se["mu"] == pytest.approx(exact, rel=1e-6)
    joint = mf.fit(truth, population, mf.Adam(mf.JointMAP(), steps=10), fixed=("omega", "sigma"), progress=False)
    with pytest.raises(ValueError, match="Joint MAP by Adam maximises no likelihood of theta"):
        mf.observed_information(joint)


def test_a_share_of_nothing_has_no_sign():
    assert [_percent(value) for value in (-0.3, 0.0, -0.7, 99.6, np.nan)] == ["0%", "0%", "-1%", "100%", ""]
