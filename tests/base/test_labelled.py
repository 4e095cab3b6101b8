"""Grids for xarray: their axes have names, and without xarray one sentence says what to install."""

import sys
import types

import numpy as np
import pandas as pd
import pytest

import mefit as mf
from mefit.decisions.regimens import Regimens


class Dataset:
    """What is asked of `xarray.Dataset`, which the tests do not take for granted."""

    def __init__(self, variables, coords, attrs):
        self.variables, self.coords, self.attrs = variables, coords, attrs
        for axes, values in variables.values():
            assert values.shape == tuple(len(coords[name]) for name in axes)


def regimens():
    """Two regimens, three times, two percentiles; each number says where it belongs."""
    rows = [
        {"regimen": name, "TIME": time, "5%": 100 * k + 10 * time, "50%": 100 * k + 10 * time + 1}
        for k, name in enumerate(["twice", "once"])
        for time in (0.0, 1.0, 2.0)
    ]
    return Regimens(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), "time (h)", "mg/L", "what it is")


def vpc():
    """Two strata; the second has nothing in the second bin."""
    cells = [("a", 0, 1.0), ("a", 1, 5.0), ("b", 0, 2.0)]
    named = [{"stratum": s, "bin": b, "time": t, "statistic": p} for s, b, t in cells for p in ("5%", "50%")]
    observed = pd.DataFrame(named).assign(value=np.arange(6.0), count=10)
    simulated = pd.DataFrame(named).assign(low=np.arange(6.0) - 1, median=0.0, high=np.arange(6.0) + 1)
    return mf.VPC(observed, simulated, pd.DataFrame(), np.array([0.0, 3.0, 6.0]), 0.9, False)


def test_without_xarray_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"^to_xarray needs xarray, which is not installed: pip install xarray\.$"):
        regimens().to_xarray()


def test_curves_of_regimens_are_a_grid(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", types.SimpleNamespace(Dataset=Dataset))
    grid = regimens().to_xarray()
    assert grid.coords["regimen"] == ["twice", "once"] and grid.coords["percentile"] == ["5%", "50%"]
    axes, values = grid.variables["response"]
    assert axes == ("regimen", "time", "percentile") and values[1, 2, 1] == 121.0
    assert grid.attrs["response"] == "mg/L"


def test_a_vpc_is_a_grid_with_gaps(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", types.SimpleNamespace(Dataset=Dataset))
    grid = vpc().to_xarray()
    axes, values = grid.variables["value"]
    assert axes == ("stratum", "bin", "statistic") and values.shape == (2, 2, 2)
    np.testing.assert_array_equal(values, [[[0, 1], [2, 3]], [[4, 5], [np.nan, np.nan]]])
    assert grid.variables["time"][1][1, 0, 0] == 2.0 and grid.variables["inside"][1][0, 0, 0] == 1.0


def test_draws_of_random_effects_are_a_grid(monkeypatch, line_model, linear_population):
    monkeypatch.setitem(sys.modules, "xarray", types.SimpleNamespace(Dataset=Dataset))
    eta = np.arange(5 * 4 * 2.0).reshape(5, 4, 2)
    people = mf.Individuals(line_model, linear_population, eta, np.full(5, 4.0), np.zeros(5))
    grid = people.to_xarray()
    assert grid.coords["subject"] == [1, 2, 3, 4, 5] and grid.coords["effect"] == ["intercept", "slope"]
    axes, values = grid.variables["eta"]
    assert axes == ("subject", "draw", "effect") and values[4, 3, 1] == 39.0
