"""The check-list of lesson 13: what a step shows of known data, what is refused, and when a step counts as done."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from models import theophylline_model

import mefit as mf
from workshop.own_data import Journey, shown
from workshop.own_data.journey import STEPS


def people(**columns) -> mf.Population:
    """Three subjects: one with two observations, one of them 0, and a repeated time."""
    frame = pd.DataFrame(
        {
            "ID": [1] * 5 + [2] * 4 + [3] * 3,
            "TIME": [0, 1, 2, 3, 3, 0, 1, 2, 3, 0, 1, 2],
            "DV": [np.nan, 0.0, 5.0, 4.0, 4.2, np.nan, 6.0, 5.0, 4.0, np.nan, 7.0, 6.0],
            "AMT": [100.0, *[np.nan] * 4, 100.0, *[np.nan] * 3, 100.0, *[np.nan] * 2],
        }
    )
    return mf.Population.from_frame(frame.assign(**columns), covariates=list(columns))


@pytest.fixture(scope="module")
def fit():
    return mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.FO(), progress=False)


def test_one_subject_a_missing_row_and_other_units_are_read_as_they_are():
    one = people(wt=70.0)[:1]
    facts = shown.read(one)
    assert facts[0] == "1 subjects, 4 observations, 4 to 4 per subject; 1 doses"
    assert "one subject says nothing of how people differ" in facts[-1]
    assert not any("same in all" in fact for fact in facts)
    frame = people().to_frame()
    frame.loc[(frame.ID == 2) & (frame.TIME == 2), "DV"] = np.nan
    (first, *rest) = shown.read(mf.Population.from_frame(frame))
    assert first == "3 subjects, 8 observations, 2 to 4 per subject; 3 doses"
    scaled = people().to_frame()
    scaled[["TIME", "DV", "AMT"]] = scaled[["TIME", "DV", "AMT"]] * [1 / 24, 1000.0, 1e6]
    assert shown.read(mf.Population.from_frame(scaled)) == shown.read(people())


def test_what_is_read_is_counted_and_what_is_odd_is_told():
    wt = [70.0] * 5 + [60.0] * 4 + [80.0] * 3
    facts = shown.read(people(wt=wt, height=[value + 100 for value in wt], site=1.0))
    assert facts == [
        "3 subjects, 9 observations, 2 to 4 per subject; 3 doses",
        "1 subjects have fewer than 3 observations",
        "1 observations are exactly 0: measured, or below the limit of the assay?",
        "1 observations repeat a time",
        "site is the same in all: it explains nothing",
        "wt and height go together, r = 1.00",
    ]


def test_a_step_is_done_when_it_is_said():
    journey = Journey()
    assert journey.open == list(STEPS) and "0 of 9 steps are done. Next: read the file." in repr(journey)
    journey("read", people())
    assert journey.open == list(STEPS) and "Add a sentence" in repr(journey) and "\u25d0" in journey._repr_html_()
    taken = journey("read", people(), "Odd & few.")
    assert journey.open == list(STEPS)[1:]
    assert "Odd & few." in repr(taken) and "Look at the data" not in taken._repr_html_()
    assert "1 of 9 steps are done" in repr(taken)
    assert "Odd &amp; few." in journey._repr_html_() and "You: Odd & few." in repr(journey)


def test_a_picture_without_names_shows_nothing():
    figure, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="no labels"):
        shown.look(figure)
    axes[0].set(xlabel="time (h)", ylabel="drug (mg/L)")
    assert shown.look(figure) == shown.look(axes) == ["drug (mg/L) against time (h)"]
    plt.close(figure)
    with pytest.raises(ValueError, match="neither"):
        shown.look("a picture")


def test_a_fit_says_how_it_ended(fit, monkeypatch):
    (ended,) = shown.model(fit)  # everything is known well, and little shrunk
    assert "by FO: -2LL 348.55, converged" in ended  # -2 x -174.277, as the fit itself prints
    monkeypatch.setattr(shown, "_WIDE", 15.0)
    monkeypatch.setattr(shown, "_SHRUNK", 0.05)
    _, *more = shown.model(fit)
    wide = fit.table.index[100 * fit.table.se / fit.table.estimate > 15.0]
    assert [fact.split(" has ")[0] for fact in more if " has " in fact] == list(wide)
    assert sum("shrinkage" in fact for fact in more) == int((np.asarray(fit.shrinkage) > 0.05).sum()) > 0


def test_two_fits_of_the_same_data_are_compared(fit):
    held = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.FO(), fixed="sigma", progress=False)
    gain = held.minus_two_log_likelihood - fit.minus_two_log_likelihood
    (fact,) = shown.better([held, fit])
    assert f"falls by {gain:.1f}" in fact
    with pytest.raises(ValueError, match="two fits"):
        shown.better([fit])


def test_residuals_and_words_are_findings(fit):
    table = pd.DataFrame({"CWRES": [-1.0, 1.0, 0.0], "other": 3.0})
    assert shown.wrong(table) == ["CWRES: mean 0.00, SD 1.00 (0 and 1 hoped for)"]
    assert shown.wrong(("Too wide.",)) == ["Too wide."]
    with pytest.raises(ValueError, match="takes a VPC"):
        shown.wrong(fit)


def test_uncertainty_names_the_widest(fit):
    method, *widest = shown.sure(mf.observed_information(fit))
    assert len(widest) == 3 and "interval" in widest[0] and method


@pytest.mark.parametrize("step", STEPS)
def test_what_does_not_belong_to_a_step_is_refused(step):
    with pytest.raises(ValueError, match=r"takes|no file"):
        Journey()(step, 3.0)


def test_a_step_that_is_none():
    with pytest.raises(ValueError, match="choose from 'read'"):
        Journey()("readd", people())


def test_a_report_is_a_file(tmp_path):
    page = tmp_path / "page.html"
    with pytest.raises(ValueError, match="There is no file"):
        shown.report(page)
    page.write_text("x" * 200_000)
    assert shown.report(page) == ["page.html, 0.2 MB"]
