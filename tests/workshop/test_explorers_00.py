"""The explorer of lesson 00: a crowd that takes one dose each, against its equation and its variances."""

import sys

import numpy as np
import pytest
from scipy.integrate import quad

from workshop import explorers

crowd = sys.modules[f"{explorers.__name__}.welcome"]  # the function has its module's name


def test_the_crowd_is_a_one_compartment_model():
    time = np.linspace(0.1, 24, 300)
    curve = crowd.concentration(time, np.zeros(3))
    rate = crowd.CLEARANCE / crowd.VOLUME
    slope = np.gradient(curve, time, edge_order=2)
    absorbed = crowd.DOSE * crowd.ABSORPTION * np.exp(-crowd.ABSORPTION * time) / crowd.VOLUME
    np.testing.assert_allclose(slope[5:-5], (absorbed - rate * curve)[5:-5], atol=0.02)
    area = quad(lambda t: crowd.concentration(np.array([t]), np.zeros(3))[0], 0, np.inf)[0]
    assert area == pytest.approx(crowd.DOSE / crowd.CLEARANCE, rel=1e-6)


def test_the_crowd_shares_its_variance():
    found = crowd.compute(0.3, 0.4, 8)
    assert found.individual.shape == (8, 97) and found.data.shape == (8, 10)
    assert 0.5 < found.between < 1
    assert crowd.compute(0.3, 0.0, 8).between == 1
    assert crowd.compute(0.0, 0.4, 8).between == 0
    assert np.isnan(crowd.compute(0.0, 0.0, 8).between)
    assert crowd.compute(0.3, 1.0, 8).between < found.between < crowd.compute(0.5, 0.4, 8).between
    # With little noise the share is what the drawn people show: the crowd behind the picture is the same.
    many = crowd.compute(0.3, 0.0, crowd.MOST).data.var(axis=0).mean()
    whole = found.between * 0.4**2 / (1 - found.between)
    assert many == pytest.approx(whole, rel=0.5)


def test_what_is_not_quite_all_is_not_rounded_to_it():
    def begins(omega, sigma, words):
        return crowd.say(crowd.compute(omega, sigma, 8)).startswith(
            f"Of the variance of a measurement at a given time, {words}"
        )

    assert begins(0.8, 0.05, "more than 99% is between subjects; the rest is residual.")
    assert begins(0.02, 2.0, "less than 1% is between subjects; the rest is residual.")
    assert begins(0.3, 0.0, "all is between subjects, and none residual.")
    assert begins(0.0, 0.4, "none is between subjects, and all residual.")


def test_the_crowd_stays_the_same_people_when_more_come():
    few, more = crowd.compute(0.3, 0.4, 3), crowd.compute(0.3, 0.4, 9)
    np.testing.assert_array_equal(few.data, more.data[:3])
