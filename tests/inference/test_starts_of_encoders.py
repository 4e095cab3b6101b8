"""Several trainings from random starts: each begins with an encoder of its own, and the best is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf


class Level(mf.Model):
    """A level for everybody, and noise."""

    mean: Array = mf.real()
    spread: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(self.mean, self.spread)

    def observations(self, eta, subject):
        return dist.Normal(eta[0] * jnp.ones(subject.time.shape), self.sigma)


@pytest.fixture(scope="module")
def people():
    """Thirty people at times of their own."""
    rng = np.random.default_rng(5)
    y = 3.0 + rng.standard_normal((30, 1)) + 0.5 * rng.standard_normal((30, 4))
    frame = pd.DataFrame({"ID": np.repeat(np.arange(30), 4), "TIME": rng.random((30, 4)).cumsum(axis=1).ravel()})
    return mf.Population.from_frame(frame.assign(DV=y.ravel()))


@pytest.mark.parametrize("kind", [mf.networks.Encoder, mf.networks.SetEncoder])
def test_an_encoder_begins_anew_at_weights_of_the_same_size(people, kind):
    encoder = kind(people, 2, hidden=(200,))
    other = encoder.begun_anew(7)
    for before, after in zip(jax.tree.leaves(encoder.weights), jax.tree.leaves(other.weights), strict=True):
        size = np.sqrt(np.mean(np.square(before)))
        assert np.sqrt(np.mean(np.square(after))) == pytest.approx(size, rel=0.5)
        assert size == 0.0 or not np.allclose(before, after)
    again = encoder.begun_anew(7)
    jax.tree.map(np.testing.assert_array_equal, other.weights, again.weights)
    assert jax.tree.structure(other) == jax.tree.structure(encoder)


@pytest.mark.slow
def test_the_best_of_three_trainings(people):
    """Each training has another encoder; none is given, and the method makes one."""
    model = Level(mean=jnp.array([2.0]), spread=jnp.array([1.0]), sigma=1.0)
    method = mf.Adam(mf.Amortised(samples=20), steps=40, block=20)
    found = mf.starts(model, people, method, 3, key=jax.random.key(0), spread=1e-9, progress=False)
    values = -0.5 * found.table["-2LL"]
    assert found.fit.log_likelihood == pytest.approx(values.max(), abs=1e-9)
    assert np.unique(values.round(6)).size == 3  # from one and the same theta: the encoders alone differ
    # the first is the fit as it would have been without others
    alone = mf.fit(model, people, method, key=jax.random.key(0), progress=False)
    assert values[0] == pytest.approx(alone.log_likelihood, abs=1e-9)
