"""Places among others and sums by place, against NumPy, by comparing and by searching."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mefit as mf
from mefit.base.places import place_among, sums_by_place

LOOPS = ("while", "scan", "scatter")


@pytest.mark.parametrize("count", [1, 20, 200, 201, 500])
@pytest.mark.parametrize("side", ["left", "right"])
def test_places_are_those_of_numpy(count, side):
    rng = np.random.default_rng(count)
    edges = np.sort(rng.standard_normal(count))
    values = np.concatenate([edges, rng.standard_normal(50), [-np.inf, np.inf, np.nan]])
    placed = place_among(jnp.asarray(edges), jnp.asarray(values), side)
    np.testing.assert_array_equal(placed, np.searchsorted(edges, values, side))


@pytest.mark.parametrize("count", [1, 20, 200, 201])
def test_sums_are_those_of_numpy(count):
    rng = np.random.default_rng(count)
    places = rng.integers(0, count, 300)
    columns = rng.standard_normal((300, 2))
    expected = np.zeros((count, 2))
    np.add.at(expected, places, columns)
    np.testing.assert_allclose(sums_by_place(jnp.asarray(places), jnp.asarray(columns), count), expected, rtol=1e-12)


def test_an_encoder_and_a_spline_follow_no_loop_where_places_are_few():
    theophylline = mf.datasets.theophylline()
    encoder = mf.networks.Encoder(theophylline, effects=3)
    spline = mf.networks.NaturalSpline(8, 0.0, 25.0)
    subject = theophylline[0]

    def bound(weights):
        mean, lower = encoder.with_weights(weights)(subject)
        return jnp.sum(mean) + jnp.sum(lower) + jnp.sum(spline(subject.time))

    followed = str(jax.make_jaxpr(jax.value_and_grad(bound))(encoder.weights))
    assert [name for name in LOOPS if name in followed] == []
