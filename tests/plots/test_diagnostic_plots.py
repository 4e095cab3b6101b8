"""Pictures for judging a fit draw the numbers of the library, say what they show, and stay on their axes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mefit as mf
from mefit import plots, style


@pytest.fixture(scope="module")
def fit(fitted):
    return fitted(mf.Laplace())


@pytest.fixture(scope="module")
def residuals(fit):
    return mf.residuals(fit, key=jax.random.key(1), samples=300)


def dots(ax):
    return next(line for line in ax.get_lines() if line.get_marker() == "o").get_xydata().T


def test_goodness_of_fit_draws_the_residuals(fit, residuals):
    panels = plots.goodness_of_fit(residuals)
    np.testing.assert_array_equal(dots(panels[0]), [residuals.PRED, residuals.DV])
    np.testing.assert_array_equal(dots(panels[1]), [residuals.IPRED, residuals.DV])
    np.testing.assert_array_equal(dots(panels[2]), [residuals.TIME, residuals.NPDE])
    np.testing.assert_array_equal(dots(panels[3]), [residuals.PRED, residuals.NPDE])
    np.testing.assert_allclose(dots(panels[4]), [norm.ppf((np.arange(132) + 0.5) / 132), np.sort(residuals.NPDE)])
    assert panels[2].get_xlabel() == "time (h)" and panels[1].get_xlabel() == "IPRED: theophylline (mg/L)"
    assert panels[0].get_ylabel() == panels[1].get_ylabel() == "measured (mg/L)"
    assert panels[0].get_xlabel() == "PRED: theophylline (mg/L)"
    mean = next(line for line in panels[2].get_lines() if line.get_label() == "running mean").get_xydata()
    assert len(mean) == 10 and np.average(mean[:, 1], weights=[14, 14] + [13] * 8) == pytest.approx(
        residuals.NPDE.mean()
    )
    assert sum(bar.get_height() * bar.get_width() for bar in panels[5].patches) == pytest.approx(1.0)
    assert f"SD {residuals.NPDE.std():.2f}" in panels[5].get_title("left")
    assert plots.goodness_of_fit(fit)[2].get_ylabel() == "CWRES"


@pytest.mark.parametrize(("draw", "place"), [(plots.goodness_of_fit, 2), (plots.discrepancies, 0)])
def test_the_legend_of_the_running_mean_is_above_the_points(residuals, draw, place):
    ax = draw(residuals)[place]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_vpc_draws_a_panel_a_stratum(fit):
    check = mf.vpc(fit, key=jax.random.key(2), samples=50, stratify="wt")
    panels = plots.vpc(check)
    assert [ax.get_title("left") for ax in panels] == ["wt ≤ 70.5", "wt > 70.5"]
    lines = [line for line in panels[0].get_lines() if line.get_marker() != "o"]
    for line, name in zip(lines, ("5%", "50%", "95%"), strict=True):
        rows = check.observed[(check.observed.stratum == "wt ≤ 70.5") & (check.observed.statistic == name)]
        np.testing.assert_array_equal(line.get_xydata(), rows[["time", "value"]])
    band = check.simulated[(check.simulated.stratum == "wt > 70.5") & (check.simulated.statistic == "95%")]
    drawn = panels[1].collections[2].get_paths()[0].vertices[:, 1]
    assert drawn.max() == band.high.max() and drawn.min() == band.low.min()
    corrected = mf.vpc(fit, key=jax.random.key(2), samples=50, prediction_corrected=True)
    assert plots.vpc(corrected)[0].get_ylabel() == "prediction-corrected theophylline (mg/L)"


def test_effects_against_numbers_and_categories(fit):
    panels = plots.effects_against_covariates(fit)
    weight = np.asarray(fit.population.subjects.covariates["wt"])
    for j, ax in enumerate(panels):
        np.testing.assert_array_equal(dots(ax), [weight, fit.eta[:, j]])
        assert ax.get_title("left") == f"r = {np.corrcoef(weight, fit.eta[:, j])[0, 1]:.2f}"
    sex = {"wt": weight, "sex": jnp.arange(12) % 2}
    subjects = dataclasses.replace(fit.population.subjects, covariates=sex)
    coded = dataclasses.replace(fit, population=dataclasses.replace(fit.population, subjects=subjects))
    panels = plots.effects_against_covariates(coded)
    assert len(panels) == 6 and [label.get_text() for label in panels[1].get_xticklabels()] == ["0", "1"]
    means = [line.get_ydata()[0] for line in panels[1].get_lines() if line.get_color() == style.COLOUR["population"]]
    np.testing.assert_allclose(means, [fit.eta[::2, 0].mean(), fit.eta[1::2, 0].mean()])
    np.testing.assert_array_equal(np.round(dots(panels[1])[0]), np.arange(12) % 2)


@pytest.mark.slow
def test_correlations_are_those_of_the_estimates(fit):
    covariance = mf.observed_information(fit).covariance.to_numpy()
    ax = plots.correlation(fit)
    drawn = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(drawn * np.sqrt(np.outer(np.diag(covariance), np.diag(covariance))), covariance)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(fit.table.index)
    robust = plots.correlation(mf.sandwich(fit))
    assert not np.allclose(robust.images[0].get_array(), drawn)


@pytest.mark.slow
def test_convergence_shows_the_trajectory_and_why_it_ended(fitted, fit):
    saem = fitted(mf.SAEM(chains=2, exploration=100, smoothing=100, likelihood_by=mf.Laplace()))
    panels = plots.convergence(saem)
    table = saem.trajectory
    assert [ax.get_title("left") for ax in panels][:2] == ["ka (1/h)", "cl (L/h/kg)"] and len(panels) == table.shape[1]
    curve = max(panels[1].get_lines(), key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(curve.get_ydata(), table["cl"])
    assert curve.get_color() == style.COLOUR["SAEM"]
    assert panels[0].patches[0].get_width() == saem.saem.explored
    shown = panels[0].figure.get_suptitle().replace("\n", " ")
    assert shown == f"SAEM {saem.message}."
    with pytest.raises(ValueError, match="Laplace keeps no trajectory .* plots.history"):
        plots.convergence(fit)


def test_profile_shows_the_interval(fit):
    profile = mf.profile(fit, "cl", points=5, progress=False)
    ax = plots.profile(profile)
    curve = next(line for line in ax.get_lines() if line.get_label() == "profile likelihood")
    np.testing.assert_array_equal(curve.get_xydata(), profile.curve)
    area = ax.collections[0].get_paths()[0].vertices
    assert (area[:, 0].min(), area[:, 0].max()) == pytest.approx((profile.low, profile.high))
    assert area[:, 1].max() == pytest.approx(3.8415, abs=1e-4)


def test_they_say_what_they_show_and_draw_where_they_are_told(fit, residuals, line_model, linear_population):
    import matplotlib.pyplot as plt

    check = mf.vpc(fit, key=jax.random.key(2), samples=50)
    made = [plots.goodness_of_fit(residuals)[0], plots.vpc(check)[0], plots.correlation(fit)]
    for ax in (*made, plots.effects_against_covariates(fit)[0]):
        data, metadata = ax.figure._repr_png_()
        assert data.startswith(b"\x89PNG") and len(metadata["alt"]) > 30
    axes = style.figure().subplots(2, 3)
    assert plots.goodness_of_fit(residuals, axes)[5] is axes[1, 2] and plots.vpc(check, axes[0, 0]) == [axes[0, 0]]
    assert plt.get_fignums() == []
    line = mf.fit(line_model, linear_population, mf.FO(), fixed=("beta", "omega", "sigma"), progress=False)
    with pytest.raises(ValueError, match="no covariates: name them"):
        plots.effects_against_covariates(line)
