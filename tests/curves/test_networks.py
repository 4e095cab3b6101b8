"""Networks: what they compute, where they start, and what their priors say."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import mefit as mf
from mefit.curves.networks import L1, L2, MLP, time_features


def test_a_network_is_its_formula():
    net = MLP(3, (5, 4), 2, centre=(1.0, 0.0, 2.0), spread=(2.0, 1.0, 0.5), shift=0.3, scale=(2.0, 4.0), link=jnp.exp)
    x = np.array([0.4, -1.0, 2.2])
    h = (x - [1.0, 0.0, 2.0]) / [2.0, 1.0, 0.5]
    for w, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        h = np.tanh(np.asarray(w) @ h + b)
    expected = np.exp(0.3 + np.array([2.0, 4.0]) * (np.asarray(net.weights[-1]) @ h + net.biases[-1]))
    np.testing.assert_allclose(net(x[0], x[1:]), expected, rtol=1e-14)
    np.testing.assert_allclose(net(x), expected, rtol=1e-14)
    assert net.size == 3 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2


def test_one_output_is_a_number_and_along_a_vector_a_curve():
    net, t, eta = MLP(3), jnp.linspace(0, 1, 7), jnp.array([0.2, -1.0])
    assert net(0.5, eta).shape == ()
    np.testing.assert_allclose(net.along(t, eta), [net(x, eta) for x in t], rtol=1e-14)
    assert MLP(1, (4,), 3).along(t).shape == (7, 3)


def test_the_start_is_the_same_for_a_seed_and_claims_nothing():
    one, same, other = MLP(2, seed=3), MLP(2, seed=3), MLP(2, seed=4)
    assert eqx.tree_equal(one, same) and not eqx.tree_equal(one, other)
    points = np.random.default_rng(1).normal(size=(200, 2))
    curve = jax.vmap(MLP(2, (20, 20), shift=5.0, scale=2.0))(points)
    assert np.max(np.abs(curve - 5.0)) < 0.5
    assert np.all(jax.vmap(MLP(2, link=jax.nn.sigmoid))(points) > 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLP(0), "every layer needs one or more"),
        (lambda: MLP(2, (4, 0)), "every layer needs one or more"),
        (lambda: MLP(2, centre=(1.0, 2.0, 3.0)), "centre has 3 numbers for 2"),
        (lambda: MLP(2, spread=0.0), "give positive numbers"),
        (lambda: MLP(2)(jnp.zeros(3)), "takes 2 numbers, and was given 3"),
        (lambda: time_features(1.0), "one or more half-lives"),
        (lambda: time_features(1.0, 2.0, -1.0), "all positive"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_l2_and_l1_are_densities_of_the_weights():
    net = MLP(2, (3,))
    leaves = np.concatenate([np.ravel(x) for x in (*net.weights, *net.biases)])
    normal, laplace = dist.Normal(0.0, np.sqrt(1 / (2 * 0.7))), dist.Laplace(0.0, 1 / 0.7)
    np.testing.assert_allclose(L2(0.7).log_density(net), normal.log_prob(leaves).sum(), rtol=1e-12)
    np.testing.assert_allclose(L1(0.7).log_density(net), laplace.log_prob(leaves).sum(), rtol=1e-12)


def test_a_penalty_leaves_free_what_it_is_told_to():
    net = MLP(2, (3,))
    free = L2(0.7, biases=False, first=False).log_density(net)
    np.testing.assert_allclose(free, dist.Normal(0.0, np.sqrt(1 / 1.4)).log_prob(net.weights[1]).sum(), rtol=1e-12)
    others = (net.weights[0] + 9.0, net.weights[1]), tuple(b - 9.0 for b in net.biases)
    moved = eqx.tree_at(lambda n: (n.weights, n.biases), net, others)
    np.testing.assert_allclose(L2(0.7, biases=False, first=False).log_density(moved), free, rtol=1e-12)


def test_a_penalty_takes_any_network_and_a_density_every_weight():
    linear = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    expected = dist.Normal(0.0, 1.0).log_prob(linear.weight).sum()
    np.testing.assert_allclose(L2(0.5, biases=False).log_density(linear), expected, rtol=1e-12)

    def model_with(prior):
        class Curve(mf.Model):
            net: MLP = mf.weights(prior=prior)
            sigma: Array = mf.positive()

            def observations(self, eta, subject):
                return dist.Normal(self.net.along(subject.time), self.sigma)

        return Curve(net=MLP(1, (3,)), sigma=1.0)

    np.testing.assert_allclose(
        mf.log_prior(model_with(L2(0.5))), mf.log_prior(model_with(dist.Normal(0.0, 1.0))), rtol=1e-12
    )


def test_time_features_halve():
    np.testing.assert_allclose(time_features(jnp.array([0.0, 2.0, 4.0]), 2.0, 4.0)[:, 0], [1.0, 0.5, 0.25])
    np.testing.assert_allclose(time_features(4.0, 2.0, 4.0), [0.25, 0.5])
