"""The estimates as tables to take along."""

import html.parser
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import Schools

import mefit as mf


def test_the_frame_has_intervals_that_keep_to_the_domain(fitted):
    fit = fitted(mf.Laplace())
    frame = fit.to_frame()
    log_se = fit.table.se / fit.table.estimate  # all numbers of this model are positive
    np.testing.assert_allclose(frame.low, fit.table.estimate * np.exp(-1.959963985 * log_se), rtol=1e-8)
    np.testing.assert_allclose(frame.high, fit.table.estimate * np.exp(1.959963985 * log_se), rtol=1e-8)
    by_wald = mf.observed_information(fit).table
    np.testing.assert_allclose(frame[["low", "high"]], by_wald[["low", "high"]], rtol=1e-6)
    assert frame.shrinkage[frame.kind == "sd"].to_numpy() == pytest.approx(fit.shrinkage)
    assert frame.shrinkage[frame.kind != "sd"].isna().all()
    narrow = fit.to_frame(level=0.5)
    assert (narrow.high - narrow.low < frame.high - frame.low).all()
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        fit.to_frame(level=95)


def test_csv_has_all_digits(fitted, tmp_path):
    fit = fitted(mf.Laplace())
    fit.to_csv(tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv", index_col=0)
    np.testing.assert_array_equal(read.estimate, fit.table.estimate)


def test_latex_is_a_table_of_booktabs_with_its_marks_escaped(fitted, tmp_path):
    fit = fitted(mf.Laplace())
    text = fit.to_latex(tmp_path / "table.tex")
    assert (tmp_path / "table.tex").read_text(encoding="utf-8") == text
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    columns = re.search(r"begin\{tabular\}\{([lr]+)\}", text)[1]
    assert len(body) == 1 + len(fit.table)
    assert all(line.count(" & ") == len(columns) - 1 for line in body)
    assert r"RSE (\%)" in text and "1/h" in text
    assert f"{float(fit.model.cl):.4g}" in text


class Cells(html.parser.HTMLParser):
    """The rows of a page's one table."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_html_is_one_table_with_a_cell_for_each_number(fitted):
    fit = fitted(mf.Laplace())
    page = Cells()
    page.feed(fit.to_html())
    assert len(page.rows) == 1 + len(fit.table) and len({len(row) for row in page.rows}) == 1
    names = [row[0] for row in page.rows[1:]]
    assert names == ["ka", "cl", "v", "SD of omega[ka]", "SD of omega[cl]", "SD of omega[v]", "sigma"]


def test_effects_without_a_row_of_their_own_have_their_shrinkage_below(linear_population):
    schools = mf.datasets.eight_schools()
    fit = mf.fit(Schools(mu=5.0, tau=5.0), schools, mf.FO(optimiser=mf.BFGS(max_iterations=3)), progress=False)
    shares = fit.to_frame().attrs["shrinkage"]
    assert list(shares) == ["eta1"] and shares["eta1"] == pytest.approx(fit.shrinkage[0])


def test_draws_go_to_arviz_by_either_of_its_forms(monkeypatch, linear_population, line_model):
    method = mf.NUTS(warmup=6, samples=8, block=8, likelihood_by=mf.FO())
    fit = mf.fit(line_model, linear_population, method, key=jax.random.key(5), fixed=("omega", "sigma"), progress=False)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match="pip install arviz"):
        fit.draws.to_arviz()
    for version in ("0.22.0", "1.2.0"):
        stand_in = types.ModuleType("arviz")
        stand_in.__version__ = version
        stand_in.from_dict = lambda *groups, **given: (groups, given)
        monkeypatch.setitem(sys.modules, "arviz", stand_in)
        groups, given = fit.draws.to_arviz(fit.population.ids)
        posterior = groups[0]["posterior"] if groups else given["posterior"]
        assert posterior["eta"].shape == (2, 8, 5, 2) and given["dims"] == {"eta": ["subject", "effect"]}
        np.testing.assert_array_equal(posterior["beta[slope]"].ravel(), fit.draws.frame["beta[slope]"])
        assert given["coords"]["effect"] == ["intercept", "slope"] and given["coords"]["subject"] == [1, 2, 3, 4, 5]
        stats = groups[0]["sample_stats"] if groups else given["sample_stats"]
        assert stats["diverging"].shape == (2, 8) and jnp.asarray(stats["diverging"]).dtype == bool
