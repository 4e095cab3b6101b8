"""Pictures of fits: what they draw is what the library computes, and they draw only where they are told to."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from models import theophylline_model

import mefit as mf
from mefit import plots, style


@pytest.fixture(scope="module")
def fit(fitted):
    return fitted(mf.FOCE())


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}


def test_population_curves_show_every_observation_and_no_missing_one(linear_population):
    ax = plots.population_curves(linear_population)
    dots = np.concatenate([line.get_xydata() for line in ax.get_lines() if line.get_marker() == "o"])
    mask = np.asarray(linear_population.subjects.mask)
    expected = np.stack([np.asarray(x)[mask] for x in (linear_population.subjects.time, linear_population.subjects.y)])
    np.testing.assert_array_equal(dots.T, expected)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (linear_population.time_label, linear_population.y_label)
    assert len(plots.population_curves(linear_population, subjects=[1]).get_lines()) == 2


def test_individual_fits_draw_predictions(fit):
    panels = plots.individual_fits(fit, subjects=[8, 3])
    assert [ax.get_title() or ax.get_title("left") for ax in panels] == ["subject 9", "subject 4"]
    grid = plots.time_grid(fit.population)
    for eta, label in ((fit.eta, "this subject"), (None, "typical subject")):
        expected = mf.predict(fit.model, fit.population, eta, grid)[8]
        np.testing.assert_allclose(lines(panels[0])[label].get_ydata(), expected)
    np.testing.assert_array_equal(lines(panels[0])["measured"].get_ydata(), fit.population[8].y)


def test_a_censored_response_is_no_measured_dot(fit):
    frame = fit.population.to_frame()
    low = (frame.EVID == 0) & (frame.DV < 3.0) & (frame.TIME > 0)
    frame["CENS"] = low.astype(int)
    frame.loc[low, "DV"] = 3.0
    censored = mf.Population.from_frame(frame, covariates=["wt"])
    drawn = plots.individual_fits(dataclasses.replace(fit, population=censored), subjects=[1, 8])
    for ax, i in zip(drawn, (1, 8), strict=True):
        own = low[frame.ID == censored.ids[i]].to_numpy()[(frame.EVID[frame.ID == censored.ids[i]] == 0).to_numpy()]
        measured, known = lines(ax)["measured"], lines(ax).get("below the limit")
        np.testing.assert_array_equal(measured.get_ydata(), fit.population[i].y[~own])
        np.testing.assert_array_equal([] if known is None else known.get_ydata(), np.full(own.sum(), 3.0))
        assert known is None or (known.get_marker(), known.get_markerfacecolor()) == ("v", "white")
    assert any("below the limit" in lines(ax) for ax in drawn)
    curve = plots.population_curves(censored)
    assert lines(curve)["below the limit"].get_marker() == "v"


def test_fits_side_by_side(fit, fitted):
    fits = {"pooled": fitted(mf.NaivePooled()), "separate": fitted(mf.TwoStage()), "mixed": fit}
    panels = plots.compare_fits(fits, subjects=[0, 11])
    grid = plots.time_grid(fit.population)
    for name, one in fits.items():
        expected = mf.predict(one.model, one.population, one.eta, grid)[11]
        np.testing.assert_allclose(lines(panels[1])[name].get_ydata(), expected)
    colours = [lines(panels[0])[name].get_color() for name in fits]
    assert colours == [style.COLOUR[meaning] for meaning in ("population", "joint", "individual")]


def test_covariates_that_vary_are_drawn_at_the_subjects_own_times(line_model):
    frame = pd.DataFrame({"ID": [1, 1, 2], "TIME": [0, 2, 1], "DV": [250.0, 260, 251], "WT": [60, 61, 70]})
    population = mf.Population.from_frame(frame, covariates="WT")
    fit = mf.fit(line_model, population, mf.FO(), fixed=("beta", "omega", "sigma"), progress=False)
    panels = plots.individual_fits(fit)
    np.testing.assert_array_equal(lines(panels[0])["this subject"].get_xdata(), [0, 2])


def test_random_effects_are_drawn_with_their_intervals_and_shrinkage(fit):
    panels = plots.random_effects(fit)
    assert len(panels) == 3
    for j, ax in enumerate(panels):
        ((dots, _, (bars,)),) = ax.containers
        np.testing.assert_allclose(dots.get_xdata(), fit.eta[:, j])
        half = np.array([np.ptp(segment[:, 0]) / 2 for segment in bars.get_segments()])
        np.testing.assert_allclose(half**2, fit.eta_covariance[:, j, j])
        assert f"{100 * fit.shrinkage[j]:.0f}%" in ax.get_title("left")
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [str(i) for i in fit.population.ids]


def test_history_ends_at_the_fit(fit):
    ax = plots.history(fit)
    last = ax.get_lines()[0].get_ydata()[-1]
    assert last == pytest.approx(fit.minus_two_log_likelihood, abs=1e-8) and f"{last:.4f}" in ax.get_title("left")
    assert ax.get_lines()[0].get_color() == style.COLOUR[type(fit.method).__name__]


def test_every_picture_says_what_it_is_of(fit):
    axes = [plots.population_curves(fit.population), plots.individual_fits(fit)[0], plots.random_effects(fit)[0]]
    for ax in (*axes, plots.history(fit), plots.compare_fits({"FOCE": fit})[0]):
        data, metadata = ax.figure._repr_png_()
        assert data.startswith(b"\x89PNG") and len(metadata["alt"]) > 30


def test_they_draw_on_the_axes_they_are_given_and_nowhere_else(fit):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    axes = style.figure().subplots(2, 2)
    assert plots.population_curves(fit.population, axes[0, 0]) is axes[0, 0]
    assert plots.history(fit, axes[0, 1]) is axes[0, 1]
    assert plots.individual_fits(fit, axes, subjects=[0, 1])[1] is axes[0, 1]
    assert plt.get_fignums() == before
    with pytest.raises(ValueError, match="3 panels and was given 2 axes"):
        plots.random_effects(fit, axes[0])
    with pytest.raises(ValueError, match="positions from 0 to 11, and 12 is not one"):
        plots.individual_fits(fit, subjects=[12])


def test_a_model_without_random_effects_has_none_to_draw(theophylline):
    class Fixed(type(theophylline_model())):
        def random_effects(self):
            return None

        def observations(self, eta, subject):
            return super().observations(np.zeros(3), subject)

    start = theophylline_model()
    model = Fixed(ka=start.ka, cl=start.cl, v=start.v, omega=start.omega, sigma=start.sigma)
    fit = mf.fit(model, theophylline, mf.NaivePooled(), fixed="omega", progress=False)
    with pytest.raises(ValueError, match="no random effects to draw"):
        plots.random_effects(fit)
