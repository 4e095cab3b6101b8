"""Doses for real people, each left out of the fit, judged by the samples that were not shown."""

import numpy as np
import pytest

from workshop.studies import leave_one_out as study


def test_the_area_without_a_model():
    """Of an exponential from 0 to 24 h: C0 (1 - e^(-24 k)) / k, whatever lies beyond 24 h."""
    time = np.array([0.0, 0.3, 0.6, 1.0, 2.0, 4.0, 5.0, 7.0, 9.0, 12.0, 24.4])
    person = study.mf.Subject(time, 10 * np.exp(-0.1 * time), np.ones(11, bool), {}, study.mf.Doses.of(4.0))
    area, given = study._area_of_the_others(person)
    assert area == pytest.approx(100 * (1 - np.exp(-2.4)), rel=1e-6) and given == 4.0


@pytest.mark.slow
def test_theophylline():
    table = study.theophylline()
    print(study.summary(table).round(3).to_string())
    print(table.round(2).to_string())


@pytest.mark.slow
def test_phenobarbital():
    table = study.phenobarbital()
    print(study.summary(table).round(3).to_string())
    print(table.round(2).to_string())
