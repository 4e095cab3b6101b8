"""A person with one more sample: nothing is compiled for it, and the room that this needs changes no number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
from models import theophylline_model

import mefit as mf
from mefit.data.changing import room_for, with_room

KEY = jax.random.key(2)
GOAL = mf.dosing.Goal(time=np.linspace(0, 24, 25), target=(80, 125))


def patient(samples, doses=1, **options):
    """One person with so many samples and doses."""
    rows = [(1, 2.5 * i, 4.0, np.nan, 1) for i in range(doses)]
    rows += [(1, 1.0 + 0.7 * i, 0.0, 6.0 - 0.3 * i, 0) for i in range(samples)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "AMT", "DV", "EVID"]).sort_values("TIME", kind="stable")
    return mf.Population.from_frame(frame, **options)


def asked(people):
    """All that is asked of a person, later and later."""
    found = mf.individual(theophylline_model(), people, draws=200, proposed=400, key=KEY)
    choice = mf.dosing.choose(found, {"4": mf.regimen(4.0), "8": mf.regimen(8.0)}, GOAL)
    mf.dosing.next_time(found, [9.0, 12.0, 24.0][: people.n_observations], GOAL, outcomes=20)
    own = found.curves()
    assert own.shape == (1, 200, people.subjects.time.shape[1])
    return found, choice


@pytest.mark.slow
def test_one_more_sample_or_dose_compiles_nothing(compiled_meanwhile):
    asked(patient(1))
    compiled_meanwhile.clear()
    for samples, doses in ((2, 1), (3, 2), (7, 4), (8, 8)):
        asked(patient(samples, doses))
    assert compiled_meanwhile == []
    asked(patient(9))  # beyond 8 there is more room, and what counts here does count
    assert compiled_meanwhile


def test_sizes():
    assert [room_for(n) for n in (1, 8, 9, 12, 13, 17, 25, 33)] == [8, 8, 12, 12, 16, 24, 32, 48]


@pytest.mark.slow
@pytest.mark.parametrize("samples", [3, 9])
def test_more_room_changes_no_number(samples):
    """The log density of each draw, and curves, to rounding; against the person as it is."""
    people = patient(samples, doses=3)
    roomy = dataclasses.replace(people, subjects=with_room(people.subjects))
    assert roomy.subjects.time.shape == (1, room_for(samples)) and roomy.subjects.doses.time.shape == (1, 8)
    assert roomy.n_observations == samples and roomy.n_doses == 3
    found, _ = asked(people)
    model = theophylline_model()
    for eta in jnp.asarray(found.eta[0, :3]):
        plain = mf.log_joint(model, eta, people[0])
        npt.assert_allclose(mf.log_joint(model, eta, jax.tree.map(lambda x: x[0], roomy.subjects)), plain, rtol=1e-12)
        own = mf.predict(model, people, eta[None])
        npt.assert_allclose(mf.predict(model, roomy, eta[None])[:, :samples], own, rtol=1e-12)
        npt.assert_allclose(own[0], found.curves()[0, np.argmax(np.all(found.eta[0] == eta, axis=1))], rtol=1e-12)


def test_room_keeps_what_a_subject_has():
    """Censored rows, several outcomes, covariates that change, and steady state, read back as they were written."""
    frame = pd.DataFrame(
        {
            "ID": [1] * 4 + [2] * 3,
            "TIME": [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0],
            "AMT": [5.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0],
            "DV": [np.nan, 3.0, 2.0, 1.0, np.nan, 4.0, 1.0],
            "DVID": ["a", "a", "b", "a", "a", "a", "b"],
            "CENS": [0, 0, 0, 1, 0, 0, 0],
            "SS": [1, 0, 0, 0, 0, 0, 0],
            "II": [12.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "WT": [3.0, 3.1, 3.2, 3.3, 4.0, 4.0, 4.0],
        }
    )
    people = mf.Population.from_frame(frame, covariates=["WT"])
    roomy = dataclasses.replace(people, subjects=with_room(people.subjects))
    assert roomy.subjects.time.shape == (2, 8) and roomy.subjects.covariates["WT"].shape == (2, 8)
    pd.testing.assert_frame_equal(roomy.to_frame(), people.to_frame())
