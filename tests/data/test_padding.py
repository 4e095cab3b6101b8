"""Missing is not padding: `real` says which rows exist, `mask` which were seen, whatever is done to them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mefit as mf
from mefit.data.by_outcome import UNNAMED, as_dict, as_given
from mefit.data.doses import Doses
from mefit.data.population import Population
from mefit.data.subject import Subject

nan = np.nan
YES, NO = True, False


def equal(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.fixture
def people():
    """Three rows the second of which is missing, and two; the covariate WT changes in time."""
    frame = pd.DataFrame(
        {
            "ID": [1, 1, 1, 1, 2, 2],
            "TIME": [0, 1, 2, 4, 0, 3],
            "DV": [nan, 5.0, nan, 7.0, 8.0, 9.0],
            "AMT": [10, 0, 0, 0, 0, 0],
            "WT": [50, 50, 51, 52, 60, 61],
            "CENS": [0, 0, 0, 1, 0, 0],
        }
    )
    return Population.from_frame(frame, covariates="WT")


REAL = [[YES, YES, YES], [YES, YES, NO]]
SEEN = [[YES, NO, YES], [YES, YES, NO]]


def test_a_missing_row_is_real_and_padding_is_not(people):
    assert people.subjects.real.tolist() == REAL and people.subjects.mask.tolist() == SEEN
    assert people.rows.tolist() == [3, 2] and people.n_observations == 4
    assert "4 (1 missing" in people._facts["observations"] and people._facts["rows per subject"] == "2 to 3"


OPERATIONS = {
    "chosen": (lambda p: p[[0, 1]], REAL, SEEN),
    "turned round": (lambda p: p[::-1], REAL[::-1], SEEN[::-1]),
    "the second, as wide as before": (lambda p: p[1:], REAL[1:], SEEN[1:]),
    "until 2": (lambda p: p.until(2.0), REAL, [[YES, NO, NO], [YES, NO, NO]]),
    "uncensored": (lambda p: p.uncensored, REAL, [[YES, NO, NO], [YES, YES, NO]]),
    "new responses": (lambda p: p.with_responses(np.ones((2, 3))), REAL, SEEN),
    "other doses": (lambda p: p.with_doses(Doses.of(3.0)), REAL, SEEN),
    "ends": (lambda p: p.keep_rows([0, -1]), [[YES, YES]] * 2, [[YES, YES]] * 2),
    "in and out": (lambda p: Population.from_subjects(list(p)), REAL, SEEN),
    "written and read": (lambda p: Population.from_frame(p.to_frame(), covariates="WT"), REAL, SEEN),
}


@pytest.mark.parametrize("change, real, seen", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_keeps_the_two_apart(people, change, real, seen):
    changed = change(people)
    assert changed.subjects.real.tolist() == real and changed.subjects.mask.tolist() == seen
    assert changed.rows.tolist() == np.sum(real, axis=1).tolist()
    for i, subject in enumerate(changed):
        assert subject.real.tolist() == [YES] * sum(real[i])
        assert subject.mask.tolist() == [is_seen for is_seen, exists in zip(seen[i], real[i], strict=True) if exists]
    # nothing that is missing or padding holds a number
    assert np.all(np.where(changed.subjects.mask, 0.0, changed.subjects.y) == 0.0)


def test_several_outcomes_share_what_is_real():
    frame = pd.DataFrame({"ID": [1, 1, 1, 2], "TIME": [0, 1, 1, 1], "DV": [4.0, 5, 70, 6], "DVID": [1, 1, 2, 1]})
    both = Population.from_frame(frame, y={"pk": 1, "pd": 2})
    assert both.subjects.real.tolist() == [[YES, YES], [YES, NO]]
    assert both.subjects.mask["pd"].tolist() == [[NO, YES], [NO, NO]]
    assert both.outcome("pd").subjects.real.tolist() == both.subjects.real.tolist()
    # pk missing at time 1 too: a row that is real, though no outcome was seen
    none = both.with_responses({name: np.ones((2, 2)) for name in ("pk", "pd")}).until(0.5)
    assert none.rows.tolist() == [2, 1] and none.n_observations == 1
    again = none.to_frame()
    assert again["EVID"].tolist() == [0, 2, 2] and again["MDV"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("more", [1, 4])
def test_padding_changes_nothing(people, more):
    """More columns of padding, in the middle of the rows even: the same subjects come out."""

    def widened(x):
        fill = jnp.repeat(x[:, :1], more, axis=1)
        return jnp.concatenate([x[:, :1], fill, x[:, 1:]], axis=1) if x.ndim == 2 else x

    padding = jnp.zeros((2, more), bool)
    subjects = people.subjects.with_rows(widened)
    real, mask = (
        jnp.concatenate([x[:, :1], padding, x[:, 1:]], axis=1) for x in (people.subjects.real, people.subjects.mask)
    )
    y = jnp.where(mask, subjects.y, 0.0)
    padded = dataclasses.replace(people, subjects=dataclasses.replace(subjects, y=y, mask=mask, real=real))
    assert padded.rows.tolist() == [3, 2] and str(padded.report) == str(people.report)
    assert all(equal(ours, theirs) for ours, theirs in zip(padded, people, strict=True))
    assert padded.to_frame().equals(people.to_frame())
    assert equal(padded.keep_rows([0, -1]).subjects, people.keep_rows([0, -1]).subjects)
    whole = [jax.tree.map(lambda x, i=i: x[i], padded.subjects) for i in range(2)]  # subjects with their padding
    assert equal(Population.from_subjects(whole).subjects, people.subjects)


def test_rows_left_out_of_a_subject_mean_that_all_are_real():
    subject = Subject([0, 1, 2], [1, 2, 3], [YES, NO, YES])
    assert subject.real.tolist() == [YES, YES, YES] and subject.real.dtype == bool
    given = Subject([0, 1, 2], [1, 2, 0], [YES, NO, NO], real=[YES, YES, NO])
    assert given.real.tolist() == [YES, YES, NO]
    assert dataclasses.replace(given, mask=jnp.array([NO, YES, NO])).real.tolist() == [YES, YES, NO]
    # other times have other rows
    grid = jnp.linspace(0.0, 2.0, 7)
    assert dataclasses.replace(given, time=grid, y=0 * grid, mask=grid >= 0).real.tolist() == [YES] * 7
    blank = Subject(jnp.zeros((4, 5)), jnp.zeros((4, 5)), jnp.zeros((4, 5)))
    assert blank.real.shape == (4, 5) and blank.real.all()
    with pytest.raises(ValueError, match="Subject 2 has no rows"):
        Population.from_subjects([subject, dataclasses.replace(subject, real=jnp.zeros(3, bool))])


def test_real_passes_through_compiled_programs(people):
    count = jax.jit(jax.vmap(lambda s: jnp.sum(s.real)))(people.subjects)
    assert count.tolist() == [3, 2]
    chunked = jax.tree.map(lambda x: x.reshape(1, 2, *x.shape[1:]), people.subjects)
    assert chunked.real.shape == (1, 2, 3)
    inside = jax.jit(jax.vmap(lambda s: dataclasses.replace(s, mask=s.real).real))(people.subjects)
    assert inside.tolist() == REAL
    made = jax.jit(lambda time: Subject(time, time, time > 0).real)(jnp.arange(3.0))
    assert made.tolist() == [YES, YES, YES]


def test_made_by_hand_a_population_counts_what_is_real():
    y = jnp.ones((2, 3))
    none = Doses(*(jnp.zeros((2, 0)) for _ in range(4)))
    rows = jnp.array(REAL)
    hand = mf.Population(Subject(y, y, rows, {}, none, real=rows), ("a", "b"), time_label="h")
    assert hand.rows.tolist() == [3, 2] and [s.time.size for s in hand] == [3, 2]
    with pytest.raises(TypeError):  # labels by name only: what was third once was the number of rows
        mf.Population(hand.subjects, ("a", "b"), np.array([3, 2]))


def test_the_outcome_without_a_name_is_taken_back():
    x = jnp.ones(2)
    assert as_dict(x) == {UNNAMED: x} and as_given(as_dict(x)) is x and as_dict(None) == {}
    both = {"pk": x, "pd": x}
    assert as_dict(both) is both and as_given(both) is both
