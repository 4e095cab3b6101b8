"""The first guess of scales, against a closed form, for people that are looked at one by one or together."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf
from mefit.model.space import Space
from mefit.objectives import natural_scale as scales


class Shifted(mf.Model):
    """A mean that begins at zero beside a network of many weights."""

    mean: Array = mf.real()
    net: mf.networks.MLP = mf.weights()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.mean + 0.0 * self.net(0.0) + eta[0] + 0.0 * subject.time, self.sigma)


@pytest.mark.parametrize(("people", "at_once"), [(7, 1), (9, 5_000_000)])
def test_a_scale_is_one_over_the_slope_of_a_typical_log_density(monkeypatch, people, at_once):
    """Of `mean`, whose size is nothing at the start: slopes sum_j y_ij / sigma^2. All else has a size of one."""
    monkeypatch.setattr(scales, "_NUMBERS_AT_ONCE", at_once)
    y = np.random.default_rng(people).normal(3.0, 2.0, (people, 4))
    frame = pd.DataFrame({"ID": np.repeat(np.arange(people), 4), "TIME": np.tile(np.arange(4.0), people)})
    population = mf.Population.from_frame(frame.assign(DV=y.ravel()))
    model = Shifted(mean=jnp.asarray(0.0), net=mf.networks.MLP(1, (50,)), sigma=jnp.asarray(2.0))
    space = Space(model, ())
    labels = np.array(space.labels)
    slopes = y.sum(axis=1) / 2.0**2
    for found in (scales.natural_scale(space, population), scales.training_scale(space, population)):
        assert np.all(found[labels != "mean"] == 1.0)
    by_slope = scales.natural_scale(space, population)[labels == "mean"]
    assert by_slope == pytest.approx(1.0 / np.sqrt(np.mean(slopes**2)), rel=1e-10)
    # as far as a response's own SD, where that is further
    assert scales.training_scale(space, population)[labels == "mean"] == pytest.approx(max(by_slope[0], 2.0), rel=1e-10)
