"""Scales that end at zero: told from those that end beside it, though modes are found to a tolerance only."""

import numpy as np
import pytest

from mefit.base.bfgs import BFGS
from mefit.base.scales import Sizes
from mefit.methods.limits import Limits
from mefit.model.space import Coordinate

SIZES = Sizes(guess=np.ones(1), most=np.full(1, 3.0), measured=np.ones(1, bool))
COORDINATE = Coordinate("sigma", "sigma", log_scale=True)


@pytest.mark.parametrize(("slope", "at_zero"), [(0.0, True), (-10.0, False)])
def test_a_scale_that_only_rounding_holds_up_is_at_zero(slope, at_zero):
    """The loss is sigma^2 + slope sigma and, as of modes that are found to 1e-9, a little noise."""

    def loss(x):
        sigma = np.exp(x[0])
        noise = -1e-8 * np.cos(3e3 * x[0])
        return sigma**2 + slope * sigma + noise, np.array([2.0 * sigma**2 + slope * sigma])

    optimiser = BFGS()
    start = np.array([np.log(1e-5)])
    point = optimiser.init(loss, start, SIZES)
    smaller = loss(start - np.log(1e3))[0]
    assert smaller > point.value or slope < 0.0, "it is by rounding alone that zero looks worse"
    limits = Limits([COORDINATE], start=np.zeros(1), factor=1e6, subjects=12)
    _, limits = limits.look_at_zero(optimiser, point, loss)
    assert (0 in limits.boundary) == at_zero
