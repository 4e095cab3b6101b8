"""Data augmentation with an encoder, against the likelihood of what was seen in a linear Gaussian model."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from models import Line

import mefit as mf

TIMES = np.arange(5.0)


def growth_with_dropout(count, seed=1, unit=1.0):
    """Random intercepts and slopes; a person leaves after a visit with a chance that hangs on the value there."""
    rng = np.random.default_rng(seed)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.3]], count)
    y = b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((count, 5))
    goes = rng.random((count, 4)) < 1.0 / (1.0 + np.exp(4.5 - y[:, :-1]))
    gone = np.column_stack([np.zeros(count, bool), np.logical_or.accumulate(goes, axis=1)])
    rows = [(i, t, np.nan if gone[i, j] else unit * y[i, j]) for i in range(count) for j, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


def start(unit=1.0):
    return Line(beta=jnp.array([1.0, 0.5]) * unit, omega=jnp.eye(2) * unit**2, sigma=unit)


@pytest.fixture(scope="module")
def people():
    return growth_with_dropout(400)


@pytest.fixture(scope="module")
def fitted(people):
    encoder = mf.networks.Encoder(people, effects=2, hidden=(8,))
    method = mf.Augmented(encoder, rounds=400, learning_rate=0.02)
    return mf.fit(start(), people, method, key=jax.random.key(3), progress=False)


@pytest.mark.slow
def test_it_ends_where_the_likelihood_of_what_was_seen_is_highest(fitted, people):
    best = mf.fit(start(), people, mf.Laplace(), progress=False)  # exact: everything is Gaussian
    assert fitted.converged and "400 times" in fitted.message
    exact = mf.log_likelihood(fitted.model, people, mf.Laplace())
    assert exact > best.log_likelihood - 0.5
    assert fitted.log_likelihood == pytest.approx(exact, abs=0.5)
    assert np.all(np.abs(fitted.table.estimate - best.table.estimate) < 0.4 * best.table.se)
    np.testing.assert_allclose(fitted.table.se, best.table.se, rtol=0.1)
    np.testing.assert_allclose(fitted.eta, best.eta, atol=0.05)


@pytest.mark.slow
def test_what_it_leaves(fitted, people):
    left = fitted.augmentation
    assert len(left.trajectory) == 401 and len(left.acceptance) == 400
    assert left.trajectory["sigma"].iloc[-1] == pytest.approx(float(fitted.model.sigma))
    late = left.acceptance.iloc[-50:].mean()
    assert late["encoder"] > 0.7 and late["walk"] > 0.3
    assert np.all(np.asarray(left.completed.subjects.mask))
    seen = np.asarray(people.subjects.mask)
    np.testing.assert_array_equal(np.asarray(left.completed.subjects.y)[seen], np.asarray(people.subjects.y)[seen])
    # the mean at the end is that of everybody, and not of those who stayed
    stayed = np.asarray(people.subjects.y)[seen[:, -1], -1].mean()
    whole = float(fitted.model.beta[0] + 4.0 * fitted.model.beta[1])
    assert stayed < whole - 0.3
    assert np.asarray(left.completed.subjects.y)[:, -1].mean() == pytest.approx(whole, abs=0.1)
    assert left.eta_draws.shape == (400, 2)


def test_interrupted_it_keeps_what_it_has(people, monkeypatch):
    encoder = mf.networks.Encoder(people, effects=2, hidden=(8,))
    method = mf.Augmented(encoder, rounds=400, learning_rate=0.02)
    step, calls = mf.Augmented.step, []

    def interrupted(self, problem, state):
        calls.append(state)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, problem, state)

    monkeypatch.setattr(mf.Augmented, "step", interrupted)
    half = mf.fit(start(), people, method, key=jax.random.key(3), progress=False)
    assert half.ending is mf.Ending.INTERRUPTED and "after 3 iterations" in half.message
    assert np.isfinite(half.log_likelihood) and len(half.augmentation.trajectory) == 4


def test_units_do_not_matter(people):
    """The same draws in another unit: so the same numbers but for rounding, while no acceptance hangs on that."""
    trajectories = []
    for unit in (1.0, 1e6):
        there = growth_with_dropout(400, unit=unit)
        method = mf.Augmented(mf.networks.Encoder(there, effects=2, hidden=(8,)), rounds=5, learning_rate=0.02)
        fit = mf.fit(start(unit), there, method, key=jax.random.key(3), progress=False)
        scale = np.array([unit, unit, unit, unit, 1.0, unit])  # the fifth is a correlation
        trajectories.append(fit.augmentation.trajectory.to_numpy() / scale)
    np.testing.assert_allclose(trajectories[1], trajectories[0], rtol=1e-3, atol=1e-3)


class Autoregressive(Line):
    def observations(self, eta, subject):
        apart = jnp.abs(subject.time[:, None] - subject.time)
        mean = Line.observations(self, eta, subject).loc
        return dist.MultivariateNormal(mean, self.sigma**2 * jnp.exp(-apart))


def test_what_it_refuses(people):
    key = jax.random.key(0)
    whole = people[np.flatnonzero(np.asarray(people.subjects.mask).all(axis=1))]
    with pytest.raises(ValueError, match="nothing to augment"):
        mf.fit(start(), whole, mf.Augmented(), key=key, progress=False)
    with pytest.raises(ValueError, match="depend on each other"):
        mf.fit(Autoregressive(**vars(start())), people, mf.Augmented(), key=key, progress=False)
    with pytest.raises(ValueError, match="one or more rounds"):
        mf.fit(start(), people, mf.Augmented(rounds=0), key=key, progress=False)
    with pytest.raises(ValueError, match="must be a likelihood"):
        mf.fit(start(), people, mf.Augmented(likelihood_by=mf.JointMAP()), key=key, progress=False)
    with pytest.raises(ValueError, match="answers for 3 random effects"):
        mf.fit(start(), people, mf.Augmented(mf.networks.Encoder(people, 3)), key=key, progress=False)
    with pytest.raises(ValueError, match="give it a key"):
        mf.fit(start(), people, mf.Augmented(), progress=False)
