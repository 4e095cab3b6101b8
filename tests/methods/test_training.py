"""Training by Adam: it gets where a quasi-Newton fit gets, stops early, goes on exactly, and says what went wrong."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import theophylline_model

import mefit as mf
from mefit.effects.gauss_newton import GaussNewton
from mefit.effects.modes import subject_mode


class Curve(mf.Model):
    """A saturating curve for everybody, stretched by one random effect inside a network."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.3))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.net.along(subject.time, eta), self.sigma)


def curves(subjects, seed, times=8):
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, times)
    y = (1.0 + 0.3 * rng.normal(size=(subjects, 1))) * t / (t + 0.2) + 0.05 * rng.normal(size=(subjects, times))
    rows = {"ID": np.repeat(np.arange(subjects) + 1, times), "TIME": np.tile(t, subjects), "DV": y.ravel()}
    return mf.Population.from_frame(pd.DataFrame(rows))


def start(**changes):
    return Curve(net=mf.networks.MLP(2, (4,), centre=(0.5, 0.0), spread=(0.3, 3.0), last=1.0), sigma=0.3, **changes)


@pytest.fixture(scope="module")
def train():
    return curves(20, 1)


@pytest.fixture(scope="module")
def method():
    return mf.Adam(mf.FOCE(), steps=300, block=50)


@pytest.fixture(scope="module")
def trained(train, method):
    return mf.fit(start(), train, method, progress=False)


@pytest.mark.slow
def test_a_small_menet_learns(trained):
    assert trained.converged and trained.message == "trained for 300 steps"
    assert 0.04 < float(trained.model.sigma) < 0.065
    assert list(trained.curve.index) == [50, 100, 150, 200, 250, 300]
    assert trained.curve.objective.iloc[-1] > trained.curve.objective.iloc[0] + 100
    assert "FOCE by Adam" in str(trained) and "weights" in str(trained)
    assert not trained.has_standard_errors  # many sets of weights give the same curves


def test_what_it_reports_is_the_objective_of_the_method_it_trains(trained, train):
    np.testing.assert_allclose(trained.log_likelihood, mf.log_likelihood(trained.model, train, mf.FOCE()), rtol=1e-12)
    # the last step's value, by few warm steps, against the tight search: the modes were followed well enough
    last = trained.curve.objective.iloc[-1]
    np.testing.assert_allclose(last, trained.log_likelihood + trained.log_prior, atol=0.5)


def test_adam_gets_where_quasi_newton_gets(theophylline, fitted):
    """On a model without a network both find the same maximum, and one can go on from the other."""
    method = mf.Adam(mf.FOCE(), steps=400, learning_rate=0.05)
    fit = mf.fit(theophylline_model(), theophylline, method, progress=False)
    exact = fitted(mf.FOCE())
    np.testing.assert_allclose(fit.log_likelihood, exact.log_likelihood, atol=0.05)
    assert fit.has_standard_errors
    chained = mf.fit(fit.model, theophylline, mf.FOCE(), progress=False)
    np.testing.assert_allclose(chained.log_likelihood, exact.log_likelihood, atol=1e-5)


def test_gauss_newton_finds_the_mode_and_its_derivative(train):
    model, subject = start(), train[0]

    @functools.partial(jax.jit, static_argnums=1)
    def mode_and_slope(sigma, newton):
        def mode(sigma):
            return subject_mode(dataclasses.replace(model, sigma=sigma), subject, newton).eta[0]

        return jax.value_and_grad(mode)(sigma)

    exact, quick = mf.Newton(looks=0), GaussNewton(max_steps=60, looks=0)
    eta, slope = mode_and_slope(0.3, quick)
    true_eta, true_slope = mode_and_slope(0.3, exact)
    moved = (mode_and_slope(0.301, exact)[0] - mode_and_slope(0.299, exact)[0]) / 0.002
    np.testing.assert_allclose(eta, true_eta, atol=1e-8)
    np.testing.assert_allclose(true_slope, moved, rtol=1e-3)
    np.testing.assert_allclose(slope, moved, rtol=0.2)  # its H is not the exact Hessian


def test_an_interrupted_training_goes_on_exactly(trained, train, method, monkeypatch):
    step, calls = mf.Adam.step, []

    def interrupted(self, problem, state):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, problem, state)

    monkeypatch.setattr(mf.Adam, "step", interrupted)
    half = mf.fit(start(), train, method, progress=False)
    monkeypatch.setattr(mf.Adam, "step", step)
    assert "interrupted after 100 iterations" in half.message and not half.converged
    whole = mf.fit(start(), train, dataclasses.replace(method, resume=half), progress=False)
    for a, b in zip(jax.tree.leaves(whole.model), jax.tree.leaves(trained.model), strict=True):
        np.testing.assert_array_equal(a, b)
    pd.testing.assert_frame_equal(whole.curve, trained.curve)
    with pytest.raises(ValueError, match="another model or population"):
        mf.fit(start(), curves(7, 2), dataclasses.replace(method, resume=half), progress=False)


def test_held_out_subjects_choose_the_model_that_is_kept(train):
    held_out = curves(20, 9)
    method = mf.Adam(mf.FOCE(), steps=2000, learning_rate=0.1, held_out=held_out, patience=3, block=20)
    fit = mf.fit(start(), train, method, progress=False)
    curve = fit.curve
    assert len(curve) < 100 and "held-out" in fit.message
    best = curve.held_out.max()
    ruler = mf.log_likelihood(fit.model, held_out, mf.FOCE()) / len(held_out)
    np.testing.assert_allclose(ruler, best, rtol=1e-9)
    assert curve.held_out.iloc[-3:].max() < best  # three blocks without a better one ended it


def test_batches_train_too_and_need_a_key(train):
    method = mf.Adam(mf.FOCE(), steps=300, batch=8, block=50)
    with pytest.raises(ValueError, match="give it a key"):
        mf.fit(start(), train, method, progress=False)
    fits = [mf.fit(start(), train, method, key=jax.random.key(k), progress=False) for k in (1, 1, 2)]
    assert all(0.04 < float(f.model.sigma) < 0.07 for f in fits)
    assert float(fits[0].model.sigma) == float(fits[1].model.sigma) != float(fits[2].model.sigma)


OTHERS = [mf.NaivePooled(), mf.AGQ(nodes=3), mf.Variational(3), mf.JointMAP()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective", [mf.Laplace(), *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)], ids=str
)
def test_any_objective_can_be_trained(train, objective):
    model = start()
    fit = mf.fit(model, train, mf.Adam(objective, steps=40, block=20), progress=False)
    before = mf.log_likelihood(model, train, objective)
    assert np.isfinite(fit.log_likelihood) and fit.log_likelihood > before + 10
    assert fit.method.likelihood == objective.likelihood


@pytest.mark.slow
def test_a_fixed_parameter_stays_and_an_unused_one_is_told(train):
    class Spare(Curve):
        spare: Array = mf.real()

    model = Spare(net=start().net, sigma=0.3, spare=1.0)
    fit = mf.fit(model, train, mf.Adam(mf.FOCE(), steps=20, block=20), fixed="sigma", progress=False)
    assert float(fit.model.sigma) == 0.3 and float(fit.model.spare) == 1.0
    assert "not estimated" in fit.status


@pytest.mark.slow
def test_what_is_wrong_is_said(train):
    wrong = [
        (mf.Adam(steps=0), "one or more steps"),
        (mf.Adam(learning_rate=0.0), "positive learning_rate"),
        (mf.Adam(batch=21), "between 1 and 20"),
    ]
    for method, words in wrong:
        with pytest.raises(ValueError, match=words):
            mf.fit(start(), train, method, key=jax.random.key(1), progress=False)

    class Broken(Curve):
        def observations(self, eta, subject):
            return dist.Normal(self.net.along(subject.time, eta) / subject.time, self.sigma)

    with pytest.raises(ValueError, match="subject 1 is not finite"):
        mf.fit(Broken(net=start().net, sigma=0.3), train, mf.Adam(steps=20, block=20), progress=False)


def test_a_step_too_far_is_taken_back(train):
    """A mean of exp(exp(network)) overflows where the rate is absurd; the model kept is one with a likelihood."""

    class Steep(Curve):
        def observations(self, eta, subject):
            return dist.Normal(jnp.exp(jnp.exp(self.net.along(subject.time, eta))), self.sigma)

    model = Steep(net=start().net, sigma=0.3)
    fit = mf.fit(model, train, mf.Adam(mf.NaivePooled(), steps=40, learning_rate=30.0, block=20), progress=False)
    assert np.isfinite(fit.log_likelihood)
    assert "were taken back" in fit.remarks[0]
    gone = mf.fit(model, train, mf.Adam(mf.NaivePooled(), steps=60, learning_rate=1e200, block=20), progress=False)
    assert not gone.converged and "lower learning_rate" in gone.message
    assert np.isfinite(gone.log_likelihood)


def test_a_folded_family_is_searched_in_all_its_sheets():
    """With two peaks in eta, the higher far from zero, the modes of a model with a network are the right ones."""

    class Folded(mf.Model):
        net: mf.networks.MLP = mf.weights()
        sigma: Array = mf.positive()

        def random_effects(self):
            return dist.Normal(jnp.zeros(1), 1.0)

        def observations(self, eta, subject):
            level = jnp.where(eta[0] < 1.0, 0.2 * jnp.tanh(4.0 * (eta[0] + 0.6)), 2.0 + jnp.tanh(4.0 * (eta[0] - 1.5)))
            return dist.Normal(level + 0.0 * self.net.along(subject.time), self.sigma)

    frame = pd.DataFrame({"ID": 1, "TIME": [0.0, 1.0, 2.0], "DV": [2.4, 2.5, 2.6]})
    model = Folded(net=mf.networks.MLP(1), sigma=0.2)
    eta, _ = mf.empirical_bayes(model, mf.Population.from_frame(frame))
    alone, _ = mf.empirical_bayes(model, mf.Population.from_frame(frame), mf.Newton(looks=0))
    assert abs(float(eta[0, 0]) - 1.6) < 0.1
    assert float(alone[0, 0]) < 1.0


@pytest.mark.slow
def test_fifteen_thousand_weights_and_sixteen_random_effects_run():
    """Reverse derivatives cost as much for many weights as for few, and nothing is as large as weights squared."""

    class Wide(Curve):
        def random_effects(self):
            return dist.Normal(jnp.zeros(16), 1.0)

    net = mf.networks.MLP(17, (114, 114), centre=(0.5,) + (0.0,) * 16, spread=(0.3,) + (3.0,) * 16, last=1.0)
    assert net.size > 15_000
    population = curves(20, 1)
    model = Wide(net=net, sigma=0.3)
    fit = mf.fit(model, population, mf.Adam(mf.FOCE(), steps=60, learning_rate=0.003, block=20), progress=False)
    assert fit.curve.objective.iloc[-1] > fit.curve.objective.iloc[0]
    assert fit.eta.shape == (20, 16) and np.isfinite(fit.log_likelihood)
