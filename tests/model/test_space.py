"""Space: everything that moves in a fit as one vector."""

import jax.numpy as jnp
import numpy as np
import pytest
from models import Decay, FullOmega

import mefit as mf
from mefit.model.space import Space


def model():
    return Decay(base=20.0, slope=-0.3, rate=0.4, omega=jnp.array([[36.0, 0.9], [0.9, 0.09]]), sigma=1.5)


def test_packing_and_unpacking_are_inverse():
    space = Space(model(), ("rate",))
    x = space.vector()
    assert space.size == x.size == len(space.coordinates) == 6
    for name in ("base", "slope", "omega", "sigma", "rate"):
        np.testing.assert_allclose(getattr(space.at(x), name), getattr(model(), name), rtol=1e-12)
    moved = space.at(x + 1.0)
    assert float(moved.rate) == 0.4 and float(moved.base) == 21.0 and float(moved.sigma) == pytest.approx(1.5 * np.e)


def test_what_moves_beside_the_model_comes_after_it():
    guide = mf.networks.MLP(2, (3,), 1)
    space = Space(model(), (), guide)
    x = space.vector()
    assert x.size == 7 + guide.size and space.labels[:2] == ["base", "Cholesky factor 1"]
    assert set(space.labels[7:]) == {"a weight of the guide"}
    other = space.guide_at(jnp.asarray(x).at[7:].add(1.0))
    for before, after in zip(guide.weights, other.weights, strict=True):
        np.testing.assert_allclose(after, before + 1.0)
    np.testing.assert_allclose(space.at(x).omega, model().omega, rtol=1e-12)


def test_sizes_carry_the_units():
    """A number with a unit has its own size, a Cholesky factor that of its row's SD, a logarithm one, a weight none."""
    sizes = Space(model(), (), mf.networks.MLP(2, (), 1)).sizes
    np.testing.assert_allclose(sizes.guess[:7], [20.0, 0.3, 1.0, 1.0, 1.0, 1.0, 0.3])
    assert list(sizes.measured) == [True] * 7 + [False] * 3
    assert list(np.isinf(sizes.most)) == [True, True, False, False, False, False, True] + [False] * 3


def test_prior_and_jacobian_are_those_of_the_model():
    plain = FullOmega(ka=1.5, cl=3.0, v=30.0, omega=0.1 * jnp.eye(3), sigma=0.7)
    space = Space(plain)
    assert float(space.log_prior(space.vector())) == 0.0
    fixed = Space(plain, ("omega",))
    expected = np.log(1.5) + np.log(3.0) + np.log(30.0) + np.log(0.7)
    assert float(fixed.log_jacobian(fixed.vector())) == pytest.approx(expected)


def test_a_covariance_may_be_singular_with_no_sd_of_zero():
    """The free coordinate of the second effect is the SD that the first leaves of it: 0 at a correlation of 1."""
    told = [c.told for c in Space(model()).coordinates if c.label.startswith("SD of omega")]
    assert told == ["SD of omega[0]", "what the random effects before it leave of SD of omega[1]"]
    alone = [c.told for c in Space(model(), ("omega",)).coordinates]
    assert not any("leave" in words for words in alone)
