"""Levels that are no shares, and counts that count nothing, are refused before anything is computed."""

import jax
import numpy as np
import pandas as pd
import pytest
from models import Means
from scipy.stats import norm

import mefit as mf
from mefit.base.asked import require_count

KEY = jax.random.key(1)
NO_SHARE = (95, 1.0, 0.0, -1, float("nan"))


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(4)
    y = np.repeat(rng.normal(2.0, 1.0, 20), 3) + rng.normal(0.0, 0.5, 60)
    frame = pd.DataFrame({"ID": np.repeat(range(20), 3), "TIME": np.tile([0.0, 1.0, 2.0], 20), "DV": y})
    start = Means(mu=2.0, omega=1.0, sigma=0.5)
    return mf.fit(start, mf.Population.from_frame(frame), mf.Laplace(), progress=False)


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit, level: fit.to_frame(level),
        lambda fit, level: mf.sandwich(fit, level=level),
        lambda fit, level: mf.observed_information(fit, level=level),
        lambda fit, level: mf.cross_products(fit, level=level),
        lambda fit, level: mf.profile(fit, "mu", level=level, progress=False),
        lambda fit, level: mf.bootstrap(fit, 20, level=level, key=KEY, progress=False),
        lambda fit, level: mf.sir(fit, 200, 50, level=level, key=KEY, progress=False),
        lambda fit, level: mf.covariate_search(fit, level=level, progress=False),
        lambda fit, level: mf.scores.coverage([0.5, 0.02], level),
    ],
    ids=["table", "sandwich", "information", "products", "profile", "bootstrap", "sir", "search", "coverage"],
)
def test_a_level_is_a_share(fit, ask):
    for level in NO_SHARE:
        with pytest.raises(ValueError, match=r"holds a share between 0 and 1, such as level=0\.95?; it got"):
            ask(fit, level)


def test_a_level_that_is_one_counts(fit):
    table = mf.observed_information(fit, level=0.5).table
    half = norm.ppf(0.75) * table.se["mu"]
    assert table.high["mu"] - table.estimate["mu"] == pytest.approx(half, rel=1e-9)


def test_counts_are_whole_and_enough(fit):
    for replicates in (0, 1):
        with pytest.raises(ValueError, match="bootstrap's replicates is a whole number, 2 or more"):
            mf.bootstrap(fit, replicates, key=KEY, progress=False)
    with pytest.raises(ValueError, match="sir's samples is a whole number, 2 or more; it is 0"):
        mf.sir(fit, 0, key=KEY, progress=False)
    for inflation in (-1.0, 0.0, float("inf")):
        with pytest.raises(ValueError, match="sir's inflation widens the proposal"):
            mf.sir(fit, 200, 50, inflation=inflation, key=KEY, progress=False)
    with pytest.raises(ValueError, match="completed's datasets is a whole number, 1 or more; it is 0"):
        mf.completed(fit, 0, key=KEY)
    with pytest.raises(ValueError, match="individual's draws is a whole number, 1 or more; it is 0"):
        mf.individual(fit, fit.population[[0]], draws=0, key=KEY)


def test_what_is_no_whole_number_counts_nothing():
    for count in (2.5, 2.0, "two", None):
        with pytest.raises(ValueError, match=f"completed's datasets is a whole number, 1 or more; it is {count!r}"):
            require_count(count, 1, "completed's datasets")
    require_count(np.int64(2), 2, "replicates")
