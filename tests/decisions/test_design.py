"""Expected information: against closed forms, an explorer's own formula, and studies that are simulated and fitted."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Means, OralLog

import mefit as mf

explorer = importlib.import_module("workshop.explorers.what_can_be_known")  # a function of its package hides it

ERROR = 0.2


TRUTH = OralLog(
    cl=jnp.asarray(3.0),
    v=jnp.asarray(30.0),
    ka=jnp.asarray(1.2),
    omega=jnp.diag(jnp.asarray(explorer.OMEGA**2)),
    sigma=jnp.asarray(ERROR),
)
SCHEDULES = {"rich": explorer.RICH, "four": (0.5, 2.0, 8.0, 24.0), "two": (2.0, 12.0)}


def people(count):
    frame = pd.DataFrame({"ID": np.repeat(np.arange(count), 2), "TIME": [0.0, 1.0] * count})
    return mf.Population.from_frame(frame.assign(AMT=[100.0, 0.0] * count, DV=[np.nan, 1.0] * count))


@pytest.fixture(scope="module")
def found():
    return mf.design(TRUTH, people(50), SCHEDULES)


@pytest.mark.slow
def test_relative_standard_errors_are_those_of_the_explorer(found):
    """Its formulas are written by hand, in NumPy, for the logarithms of the parameters."""
    for name, times in SCHEDULES.items():
        own = found.table[found.table.schedule == name].set_index("parameter").rse
        expected = 100.0 * explorer.expected(times, 50, ERROR)
        labels = ["cl", "v", "ka", "omega[cl]", "omega[v]", "omega[ka]"]
        finite = np.isfinite(expected)
        np.testing.assert_allclose(own[labels].to_numpy()[finite], expected[finite], rtol=1e-5)
        assert np.all(np.isinf(own[labels].to_numpy()[~finite]))


def test_two_times_leave_variances_unknown(found):
    own = found.table[found.table.schedule == "two"].set_index("parameter").rse
    assert np.isinf(own["omega[ka]"]) and found.efficiency["two"] < 1e-3
    assert found.efficiency["rich"] == 1.0 and 0.2 < found.efficiency["four"] < 1.0


MEAN = Means(mu=jnp.asarray(5.0), omega=jnp.asarray(0.7), sigma=jnp.asarray(0.4))


@pytest.mark.parametrize("method", [None, mf.FOCE()], ids=["first order", "by simulation"])
def test_one_way_analysis_of_variance(method):
    """n responses in each of N groups: Var(mu) = (omega^2 + sigma^2 / n) / N, Var(sigma^2) = 2 sigma^4 / (N (n - 1)),
    Var(omega^2) = 2 ((omega^2 + sigma^2 / n)^2 + sigma^4 / (n^2 (n - 1))) / N, all of the limit."""
    n, count = 4, 500
    found = mf.design(MEAN, people(count), {"four": np.arange(n)}, method=method, key=jax.random.key(2))
    se = found.table.set_index("parameter").se
    within = 0.16 / n
    expected = {
        "mu": np.sqrt((0.49 + within) / count),
        "omega": np.sqrt(2 * ((0.49 + within) ** 2 + within**2 / (n - 1)) / count) / (2 * 0.7),
        "sigma": np.sqrt(2 * 0.16**2 / (count * (n - 1))) / (2 * 0.4),
    }
    tolerance = 1e-9 if method is None else 0.06  # of 10,000 simulated subjects: three standard errors
    np.testing.assert_allclose(se[list(expected)], list(expected.values()), rtol=tolerance)


def test_what_is_held_fixed_makes_the_rest_better_known():
    free = mf.design(TRUTH, people(50), {"four": SCHEDULES["four"]}).table.set_index("parameter").rse
    held = mf.design(TRUTH, people(50), {"four": SCHEDULES["four"]}, fixed="ka").table.set_index("parameter").rse
    assert "ka" not in held.index
    assert held["v"] < free["v"]


def test_a_prior_adds_what_it_knows():
    class Sure(Means):
        mu: Array = mf.real(prior=dist.Normal(5.0, 0.01))

    sure = Sure(mu=jnp.asarray(5.0), omega=jnp.asarray(0.7), sigma=jnp.asarray(0.4))
    se = mf.design(sure, people(10), {"one": [0.0, 1.0]}).table.set_index("parameter").se
    assert se["mu"] == pytest.approx((1 / 0.01**2 + 10 / (0.49 + 0.08)) ** -0.5, rel=1e-9)


def test_designs_that_cannot_be():
    with pytest.raises(ValueError, match="schedules are times by name"):
        mf.design(MEAN, people(3), {})
    with pytest.raises(ValueError, match="key"):
        mf.design(MEAN, people(3), {"one": [1.0]}, method=mf.FOCE())


def test_a_design_that_estimates_nothing_is_a_sentence():
    with pytest.raises(ValueError, match="every parameter is in fixed"):
        mf.design(MEAN, people(3), {"one": [1.0]}, fixed=("mu", "omega", "sigma"))
