"""Pictures of doses and of the next sample draw the numbers of the library, and say which is best."""

import dataclasses

import numpy as np
import pytest
from test_doses_for_one import IN_LOGS, PEOPLE

import mefit as mf
from mefit import plots

REGIMENS = {f"{dose}": mf.regimen(dose) for dose in (70, 90, 130)}


def test_doses_draws_shares_losses_and_the_choice():
    choice = mf.dosing.choose(PEOPLE, REGIMENS, IN_LOGS)
    panels = plots.doses(choice)
    assert len(panels) == 4
    own = choice.table[choice.table.ID == 1]
    heights = np.reshape([bar.get_height() for bar in panels[0].patches], (3, 3))
    np.testing.assert_allclose(heights, own[["below", "inside", "above"]].T)
    np.testing.assert_allclose(panels[2].get_lines()[0].get_ydata(), own.loss)
    assert [label.get_text() for label in panels[2].get_xticklabels()] == ["70", "90", "130"]
    assert f"1 gets {choice.chosen[1]}" in panels[0].figure.alt


@pytest.mark.parametrize("ahead", [1, 2])
def test_next_sample_marks_the_best(ahead):
    result = mf.dosing.next_time(PEOPLE, [1.0, 2.0, 3.0], IN_LOGS, ahead=ahead, outcomes=20)
    panels = plots.next_sample(result)
    best = result.best[1]
    marked = panels[0].get_lines()[-1].get_xydata()[0]
    expected = best if ahead == 2 else (best[0], result.table[result.table.ID == 1].sd.min())
    np.testing.assert_allclose(marked, expected)
    assert " and ".join(f"{t:g}" for t in best) in panels[0].figure.alt


@pytest.mark.parametrize(("ahead", "label"), [(1, "next sample: time (h)"), (2, "first sample: time (h)")])
def test_times_of_the_next_sample_have_their_unit(ahead, label):
    population = dataclasses.replace(PEOPLE.population, time_label="time (h)")
    people = dataclasses.replace(PEOPLE, population=population)
    panels = plots.next_sample(mf.dosing.next_time(people, [1.0, 2.0, 3.0], IN_LOGS, ahead=ahead, outcomes=20))
    assert panels[0].get_xlabel() == label
    assert ahead == 1 or panels[0].get_ylabel() == "second sample: time (h)"
