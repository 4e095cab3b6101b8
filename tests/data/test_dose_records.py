"""What dose records of a file come to: codes, additional doses, resets."""

import numpy as np
import pandas as pd
import pytest

import mefit as mf
from mefit.data.doses import repeated_times

DOT = np.nan


def read(columns, *rows, **options):
    return mf.Population.from_frame(pd.DataFrame(list(rows), columns=columns.split()), **options)


def again(population):
    return mf.Population.from_frame(population.to_frame())


@pytest.mark.parametrize("step, last", [(0.1, 0.3), (0.2, 0.6), (1.1, 3.3), (1e-7, 3e-7)])
def test_additional_doses_come_when_a_person_reckons_them(step, last):
    times = repeated_times(np.zeros(4), np.full(4, step), np.arange(4))
    assert times[3] == last
    assert mf.regimen(1.0, every=step, count=4).time[3] == last
    p = read("ID TIME DV AMT ADDL II", (1, 0, DOT, 100, 3, step), (1, last, 5.0, DOT, 0, 0))
    assert p[0].doses.time.tolist() == times.tolist()


def test_a_rate_is_kept_and_written_again():
    p = read("ID TIME DV AMT RATE", (1, 0, DOT, 100, 20), (1, 4, DOT, 50, -2), (1, 5, DOT, 50, 0), (1, 6, 2.0, DOT, 0))
    doses = p[0].doses
    assert doses.rate.tolist() == [20, -2, 0] and doses.duration.tolist() == [5, 0, 0]
    assert again(p).subjects.doses.rate.tolist() == [[20, -2, 0]]
    assert "2 infusions" in str(p.report)


def test_resets_are_read_and_written_again():
    columns = "ID TIME DV AMT EVID"
    p = read(columns, (1, 0, DOT, 100, 1), (1, 5, 3, 0, 0), (1, 8, DOT, 0, 3), (1, 9, DOT, 50, 4), (1, 12, 1, DOT, 0))
    for population in (p, again(p)):
        doses = population[0].doses
        assert doses.reset.tolist() == [False, True, True] and doses.amount.tolist() == [100, 0, 50]
        assert population.n_doses == 2
    curve = mf.pk.iv_bolus_one_compartment(p[0], cl=2.0, v=20.0)
    np.testing.assert_allclose(curve, [5 * np.exp(-0.5), 2.5 * np.exp(-0.3)], rtol=1e-12)


def test_a_clock_that_starts_again_at_a_reset_is_counted_on():
    columns = "ID TIME DV AMT EVID"
    p = read(
        columns, (7, 0, DOT, 100, 1), (7, 5, 3.0, DOT, 0), (7, 0, DOT, 50, 4), (7, 2, 2.0, DOT, 0), (7, 5, 1.0, DOT, 0)
    )
    assert p[0].time.tolist() == [5, 9, 12] and p[0].doses.time.tolist() == [0, 7]
    assert any("clock starts again" in note for note in p.report.notes)
    curve = mf.pk.iv_bolus_one_compartment(p[0], cl=2.0, v=20.0)
    np.testing.assert_allclose(curve, [5 * np.exp(-0.5), 2.5 * np.exp(-0.2), 2.5 * np.exp(-0.5)], rtol=1e-12)
    with pytest.raises(ValueError, match="the time is earlier than in the row before"):
        read(columns, (7, 0, DOT, 100, 1), (7, 5, 3.0, DOT, 0), (7, 0, DOT, 50, 1), (7, 2, 2.0, DOT, 0))


def test_a_dose_at_steady_state_cancels_additional_doses_that_are_pending():
    columns = "ID TIME DV AMT ADDL II SS"
    p = read(columns, (1, 0, DOT, 50, 5, 12, 0), (1, 30, DOT, 100, 0, 12, 1), (1, 31, 9.0, DOT, 0, 0, 0))
    assert p[0].doses.time.tolist() == [0, 12, 24, 30]
    assert any(note.startswith("3 additional doses were left out") for note in p.report.notes)
    added = read(columns, (1, 0, DOT, 50, 5, 12, 0), (1, 30, DOT, 100, 0, 12, 2), (1, 31, 9.0, DOT, 0, 0, 0))
    assert added[0].doses.time.tolist() == [0, 12, 24, 30, 36, 48, 60]


def test_an_infusion_without_end_at_steady_state():
    columns = "ID TIME DV AMT RATE II SS"
    p = read(columns, (1, 0, DOT, 0, 10, 0, 1), (1, 1, 4.5, DOT, 0, 0, 0), (1, 4, 3.4, DOT, 0, 0, 0))
    for population in (p, again(p)):
        assert population.subjects.doses.steady_state.tolist() == [[1]]
        curve = mf.pk.infusion_one_compartment(population[0], cl=2.0, v=20.0)
        np.testing.assert_allclose(curve, 5 * np.exp(-0.1 * np.array([1, 4])), rtol=1e-12)


def test_values_of_rows_as_they_hold_at_doses():
    columns = "ID TIME DV AMT OCC"
    p = read(columns, (1, 0, DOT, 100, 1), (1, 2, 4.0, DOT, 1), (1, 12, DOT, 100, 2), (1, 14, 5.0, DOT, 2))
    subject = p[0]
    share = np.array([0.8, 1.3])[np.asarray(subject.covariates["occasion"], int)]
    expected = [4.0 * np.exp(-0.2), 4.0 * np.exp(-1.4) + 6.5 * np.exp(-0.2)]
    given = subject.at_doses(share)
    assert given.values.tolist() == [0.8, 1.3]
    by_closed_form = mf.pk.iv_bolus_one_compartment(subject, cl=2.0, v=20.0, bioavailability=given)
    by_equation = mf.dynamics.solve(lambda t, y: [-0.1 * y[0]], [0.0], subject, bioavailability=given)[:, 0] / 20.0
    seen = np.asarray(subject.mask)
    np.testing.assert_allclose(by_closed_form[seen], expected, rtol=1e-12)
    np.testing.assert_allclose(by_equation[seen], expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"bioavailability has shape \(3,\); give one number, or .*subject\.at_doses"):
        mf.pk.iv_bolus_one_compartment(subject, cl=2.0, v=20.0, bioavailability=np.ones(3))
    with pytest.raises(ValueError, match=r"PerDose of shape \(5,\), and the subject has 2 doses"):
        mf.pk.iv_bolus_one_compartment(subject, cl=2.0, v=20.0, lag=mf.PerDose(np.ones(5)))
    with pytest.raises(ValueError, match="a value for each of the 3 rows"):
        subject.at_doses(np.ones(7))


def test_a_covariate_that_differs_between_a_dose_and_a_sample_of_its_time_is_refused():
    columns = "ID TIME DV AMT FORM"
    rows = [(1, 0, DOT, 100, 2), (1, 0, 0.0, DOT, 1), (1, 2, 4.0, DOT, 1)]
    with pytest.raises(ValueError, match="Subject 1, row 2: covariate 'FORM' differs from the row of the same time"):
        read(columns, *rows, covariates=["FORM"])
    two = [(1, 0, DOT, 100, 1), (1, 0, DOT, 50, 2), (1, 2, 4.0, DOT, 2)]
    with pytest.raises(ValueError, match="Subject 1, row 2: covariate 'FORM' differs"):
        read(columns, *two, covariates=["FORM"])


def test_doses_and_no_other_row_are_refused_and_a_row_without_a_response_is_not():
    frame = pd.DataFrame({"ID": [1, 1, 2], "TIME": [0.0, 12.0, 0.0], "AMT": 100.0, "EVID": 1, "DV": np.nan})
    with pytest.raises(ValueError, match="doses and no other row. .* give each a row after the doses"):
        mf.Population.from_frame(frame, drop_unobserved=None)
    asked = frame[1:].assign(TIME=24.0, AMT=0.0, EVID=0)
    both = pd.concat([frame, asked]).sort_values(["ID", "TIME"])
    population = mf.Population.from_frame(both, drop_unobserved=None)
    assert population.ids == (1, 2) and not np.any(np.asarray(population.subjects.mask))
