"""Populations: padding and masks, choosing subjects and rows, and data frames in and out, good and malformed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mefit  # noqa: F401  (switches float64 on)
from mefit.data.doses import Doses
from mefit.data.population import Population
from mefit.data.subject import Subject

nan, inf = np.nan, np.inf


def events(**changes) -> pd.DataFrame:
    """Two subjects: b with a dose and two observations, a with two doses (one infused), a gap and two observations."""
    columns = {
        "ID": ["b", "b", "b", "a", "a", "a", "a", "a"],
        "TIME": [0, 0, 2, 0, 1, 3, 3, 5],
        "DV": [nan, 0.5, 4.0, nan, 3.0, nan, nan, 2.0],
        "AMT": [100, 0, 0, 50, 0, 60, 0, 0],
        "EVID": [1, 0, 0, 1, 0, 1, 0, 0],
        "DUR": [0, 0, 0, 0.5, 0, 0, 0, 0],
        "WT": [70, 70, 70, 55, 55, 55, 55, 55],
        "TEMP": [37.0, 37.0, 38.0, 36.5, 36.5, 36.7, 36.7, 36.9],
    }
    return pd.DataFrame(columns | changes)


def read(df=None, **options) -> Population:
    return Population.from_frame(events() if df is None else df, **({"covariates": ["WT", "TEMP"]} | options))


def equal(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_arrays_are_padded_and_masked():
    p = read()
    s = p.subjects
    assert len(p) == 2 and p.ids == ("b", "a") and p.rows.tolist() == [2, 3]
    assert s.time.tolist() == [[0, 2, 2], [1, 3, 5]]  # padding repeats the last time
    assert s.y.tolist() == [[0.5, 4, 0], [3, 0, 2]]  # padding and missing responses hold 0
    assert s.mask.tolist() == [[True, True, False], [True, False, True]]
    assert s.doses.time.tolist() == [[0, 0], [0, 3]] and s.doses.amount.tolist() == [[100, 0], [50, 60]]
    assert s.doses.duration.tolist() == [[0, 0], [0.5, 0]] and s.doses.compartment.tolist() == [[1, 1], [1, 1]]
    assert s.covariates["WT"].tolist() == [70, 55]
    assert s.covariates["TEMP"].tolist() == [[37, 38, 38], [36.5, 36.7, 36.9]]
    assert all(x.dtype == jnp.float64 for x in (s.time, s.y, s.doses.amount, *s.covariates.values()))
    assert p.n_observations == 4 and p.n_doses == 3
    assert repr(p) == "Population of 2 subjects, 4 observations (1 missing), 3 doses, covariates: WT, TEMP"
    assert "<td style='text-align:left'>4 (1 missing)</td>" in p._repr_html_()


def test_one_subject_has_only_its_own_rows_and_doses():
    b, a = read()
    assert b.time.tolist() == [0, 2] and b.y.tolist() == [0.5, 4] and b.mask.all() and b.doses.amount.tolist() == [100]
    assert b.covariates["WT"].shape == () and b.covariates["TEMP"].tolist() == [37, 38]
    assert a.mask.tolist() == [True, False, True] and a.doses.time.tolist() == [0, 3]
    assert equal(read()[-1], a)
    late = Population.from_subjects(
        [Subject([5.0], [1.0], [True], {}, Doses.of([1, 2], time=[4, 5])), b.__class__([1.0], [1.0], [True])]
    )
    assert late.subjects.doses.time.tolist() == [[4, 5], [0, 0]]


def test_padding_sits_at_the_first_dose():
    p = read(events(TIME=[1, 1, 2, 1, 1.5, 3, 3, 5]))
    assert p.subjects.doses.time.tolist() == [[1, 1], [1, 3]]


def test_choosing_subjects():
    p = read()
    assert p[[1, 0]].ids == ("a", "b") and p[1:].ids == ("a",) and p[np.array([False, True])].ids == ("a",)
    assert equal(p[1:][0], p[1]) and p[:1].subjects.y.shape == (1, 3)
    for key in (2, -3, [0, 5]):
        with pytest.raises(IndexError, match="not in this population of 2; count from 0 to 1"):
            p[key]
    with pytest.raises(IndexError, match="leaves no subject"):
        p[2:]


def test_from_subjects_is_the_inverse_of_iterating():
    p = read()
    assert equal(Population.from_subjects(list(p), p.ids, time_label="TIME", y_label="DV"), p)
    with pytest.raises(ValueError, match="at least one subject"):
        Population.from_subjects([])
    with pytest.raises(ValueError, match="2 subjects and 1 different ids"):
        Population.from_subjects(list(p), [7, 7])
    with pytest.raises(ValueError, match="Subject 2 has the covariates .* give every subject the same"):
        Population.from_subjects([p[0], Subject([1.0], [1.0], [True])])
    with pytest.raises(ValueError, match="Subject 1 has no rows"):
        Population.from_subjects([Subject([], [], [])])


def test_keep_rows():
    p = read().keep_rows([-1, 0])
    assert p.subjects.time.tolist() == [[0, 2], [1, 5]] and p.subjects.y.tolist() == [[0.5, 4], [3, 2]]
    assert p.subjects.covariates["TEMP"].tolist() == [[37, 38], [36.5, 36.9]] and p.rows.tolist() == [2, 2]
    assert p.n_doses == 3 and p.ids == ("b", "a")
    for rows, words in [
        ([0, 2], "Subject b has 2 rows and does not"),
        ([1, -1], "Subject b .* row twice"),
        ([1], "Subject a has no obs"),
    ]:
        with pytest.raises(ValueError, match=words):
            read().keep_rows(rows)


def test_with_responses():
    p = read()
    new = p.with_responses(np.arange(6).reshape(2, 3))
    assert new.subjects.y.tolist() == [[0, 1, 0], [3, 0, 5]] and equal(new.subjects.mask, p.subjects.mask)
    assert new.subjects.y.dtype == jnp.float64 and p.subjects.y[0, 0] == 0.5
    drawn = jax.jit(jax.vmap(lambda y: p.with_responses(y).subjects.y))(jnp.ones((4, 2, 3)))
    assert drawn.sum() == 16
    with pytest.raises(ValueError, match=r"shape \(2, 2\); this population needs \(2, 3\)"):
        p.with_responses(np.zeros((2, 2)))


def test_a_population_passes_through_jax():
    p = read()
    total = jax.vmap(lambda s: jnp.sum(s.y * s.mask) + jnp.sum(s.doses.amount) + s.covariates["WT"])(p.subjects)
    assert total.tolist() == [4.5 + 100 + 70, 5 + 110 + 55]
    assert equal(jax.tree.unflatten(jax.tree.structure(p), jax.tree.leaves(p)), p)


# ---------------------------------------------------------------- frames, in and out


def test_round_trip():
    p = read()
    frame = p.to_frame()
    assert list(frame) == ["ID", "TIME", "DV", "AMT", "EVID", "MDV", "DUR", "WT", "TEMP"]
    assert frame["EVID"].tolist() == [1, 0, 0, 1, 0, 1, 0, 0] and frame["MDV"].tolist() == [1, 0, 0, 1, 0, 1, 1, 0]
    original = events()
    for name in set(frame) - {"MDV"}:
        pd.testing.assert_series_equal(frame[name], original[name], check_dtype=False)
    assert equal(read(frame), p)
    pd.testing.assert_frame_equal(read(frame).to_frame(), frame)


def test_round_trip_with_compartments_and_without_doses():
    p = read(events(CMT=[2, 3, 3, 1, 0, 2, 9, 3]))
    assert p.subjects.doses.compartment.tolist() == [[2, 1], [1, 2]]
    assert p.to_frame()["CMT"].tolist() == [2, 0, 0, 1, 0, 2, 0, 0] and equal(read(p.to_frame()), p)
    plain = pd.DataFrame({"ID": [3, 3, 7], "TIME": [0, 1, 0], "DV": [1.0, 2.0, 3.0]})
    p = Population.from_frame(plain)
    assert p.subjects.doses.amount.shape == (2, 0) and p.ids == (3, 7) and isinstance(p.ids[0], int)
    assert equal(Population.from_frame(p.to_frame()), p) and repr(p).endswith("0 doses")


SAME = {
    "text that is a number": lambda d: d.assign(DV=["", "0.5", " 4 ", None, "3", " ", None, "2.0"]),
    "nullable numbers": lambda d: d.convert_dtypes(),
    "object columns": lambda d: d.astype(object).where(d.notna(), None),
    "categories": lambda d: d.assign(ID=pd.Categorical(d["ID"]), WT=pd.Categorical(d["WT"])),
    "an index of its own": lambda d: d.set_index(pd.Index(list("hgfedcba"))),
    "other case": lambda d: d.rename(columns={"ID": "Id", "TIME": "time", "DV": "dv", "AMT": " amt", "EVID": "evid"}),
    "no EVID": lambda d: d.drop(columns="EVID"),
    "MDV in place of empty": lambda d: d.fillna({"DV": 9.0}).assign(MDV=d["DV"].isna() * 1),
    "empty amounts": lambda d: d.assign(AMT=d["AMT"].replace(0, nan)),
    "conventions not used": lambda d: d.assign(ADDL=0, SS=nan, CENS=0),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_same_data_written_otherwise_reads_the_same(change):
    assert equal(read(change(events())).subjects, read().subjects)


@pytest.mark.parametrize("dropped", [[], ["DUR"]], ids=["beside DUR", "in place of DUR"])
def test_a_rate_says_how_long_and_is_kept(dropped):
    doses = read(events(RATE=[0, 0, 0, 100, 0, 0, 0, 0]).drop(columns=dropped)).subjects.doses
    assert doses.rate.tolist() == [[0, 0], [100, 0]]
    assert equal(dataclasses.replace(doses, rate=None), read().subjects.doses)


def test_columns_are_found_by_name():
    df = events().rename(
        columns={"ID": "who", "TIME": "hours", "DV": "conc", "AMT": "dose", "DUR": "len", "WT": "Weight"}
    )
    named = dict(id="who", time="hours", y="conc", amount="dose", duration="len")
    p = Population.from_frame(df, **named, covariates={"WT": "Weight", "TEMP": "TEMP"})
    assert equal(p.subjects, read().subjects) and (p.time_label, p.y_label) == ("hours", "conc")
    by_rate = df.drop(columns="len").assign(RATE=[0, 0, 0, 100, 0, 0, 0, 0])
    p = Population.from_frame(by_rate, **named | {"duration": "RATE"}, covariates={"WT": "Weight", "TEMP": "TEMP"})
    assert p.subjects.doses.rate.tolist() == [[0, 0], [100, 0]]
    exact = events().assign(dv=1.0)  # the exact name wins over another case
    assert equal(read(exact).subjects, read().subjects)
    ids = events(ID=[1.0, 1.0, 1.0, 2.5, 2.5, 2.5, 2.5, 2.5])
    assert read(ids).ids == (1, 2.5)
    two = events(DVID=[0, 1, 2, 0, 1, 0, 0, 1])  # allowed where the model sees it
    assert read(two, covariates=["DVID"]).subjects.covariates["DVID"].tolist() == [[1, 2, 2], [1, 0, 1]]
    assert read(covariates="WT").subjects.covariates["WT"].tolist() == [70, 55]


def test_without_times_rows_are_numbered():
    p = Population.from_frame(pd.DataFrame({"ID": [1, 1, 2], "DV": [1.0, 2.0, 3.0]}), time=None, y_label="score")
    assert p.subjects.time.tolist() == [[0, 1], [0, 0]] and (p.time_label, p.y_label) == ("row", "score")


def with_cell(column: str, row: int, value) -> pd.DataFrame:
    """The good frame with one cell changed; rows count from 1, as in the messages."""
    df = events().astype({column: object})
    df.loc[row - 1, column] = value
    return df


def without(df: pd.DataFrame, *rows: int) -> pd.DataFrame:
    return df.drop(index=[r - 1 for r in rows])


def again(row: int) -> pd.DataFrame:
    df = events()
    return pd.concat([df.iloc[:row], df.iloc[row - 1 :]], ignore_index=True)


MALFORMED = {
    "empty": (events().iloc[:0], "data frame is empty"),
    "another id column": (
        events().rename(columns={"ID": "SUBJ"}),
        "Column 'ID' is missing; .*id=.* there are SUBJ, TIME",
    ),
    "no response column": (events().rename(columns={"DV": "DVV"}), "Column 'DV' is missing.*did you mean 'DVV'"),
    "no id column": (events().drop(columns="ID"), "Column 'ID' is missing"),
    "no time column": (events().rename(columns={"TIME": "Tme"}), "Column 'TIME' is missing.*mean 'Tme'"),
    "no covariate column": (events().rename(columns={"WT": "WGT"}), "Column 'WT' is missing.*did you mean 'WGT'"),
    "two columns of one name": (events().assign(X=1).rename(columns={"X": "DV"}), "'DV' could be any of 'DV' and 'DV'"),
    "two columns by case": (
        events().assign(dv=1.0).rename(columns={"DV": "Dv"}),
        "Column 'DV' could be any of 'Dv' and 'dv'; rename or drop",
    ),
    "missing id": (with_cell("ID", 2, None), "Row 2: the id in column 'ID' is missing; fill"),
    "blank id": (with_cell("ID", 5, " "), "Row 5: the id in column 'ID' is missing"),
    "subject in two places": (
        pd.concat([events(), events().iloc[[2]].assign(TIME=9)]),
        "Subject b, row 9: this id came before.*sort the frame by 'ID'",
    ),
    "unsorted times": (events().iloc[[0, 2, 1, 3, 4, 5, 6, 7]], "Subject b, row 3: the time is earlier.*sort"),
    "negative time": (with_cell("TIME", 1, -1), "Subject b, row 1: the time in column 'TIME' is negative; count"),
    "missing time": (with_cell("TIME", 3, nan), "Subject b, row 3: the time in column 'TIME' is missing; fill"),
    "infinite time": (with_cell("TIME", 8, inf), "Subject a, row 8: column 'TIME' is infinite; correct"),
    "dates of one day": (events(TIME=pd.to_datetime(["2024-01-01"] * 8)), "Subject a, row 6: this dose comes after an"),
    "durations as times": (
        events(TIME=pd.to_timedelta([0, 0, 2, 0, 1, 3, 3, 5], "h")),
        "'TIME' holds timedelta64.*plain numbers, such as hours",
    ),
    "clock": (with_cell("TIME", 3, "08:30"), "Subject b, row 3: column 'TIME' holds '08:30', not a number; correct"),
    "text response": (with_cell("DV", 3, "<0.1"), "Subject b, row 3: column 'DV' holds '<0.1', not a number"),
    "underscored number": (with_cell("DV", 3, "1_0"), "Subject b, row 3: column 'DV' holds '1_0'"),
    "infinite response": (with_cell("DV", 5, inf), "Subject a, row 5: column 'DV' is infinite"),
    "infinite in words": (with_cell("DV", 5, "inf"), "Subject a, row 5: column 'DV' is infinite"),
    "text amount": (with_cell("AMT", 4, "50 mg"), "Subject a, row 4: column 'AMT' holds '50 mg'"),
    "negative dose": (with_cell("AMT", 4, -50), "Subject a, row 4: the dose in column 'AMT' is negative; correct"),
    "infinite dose": (with_cell("AMT", 4, inf), "Subject a, row 4: column 'AMT' is infinite"),
    "dose of no amount": (with_cell("AMT", 4, nan), "Subject a, row 4: it is a dose but its amount is missing"),
    "amount of an observation": (
        with_cell("AMT", 5, 3.0),
        "Subject a, row 5: EVID says observation, but there is an a",
    ),
    "amounts left out": (
        events().drop(columns="AMT"),
        "Subject b, row 1: EVID says dose, but there is no column of am",
    ),
    "dose and response in one": (
        with_cell("DV", 4, 3.3).drop(columns="EVID"),
        "Subject a, row 4: it has an amount and a response; write the dose and the observation as two rows",
    ),
    "reset with an amount": (with_cell("EVID", 4, 3), "Subject a, row 4: EVID 3 is a reset alone.*use EVID 4"),
    "other event": (with_cell("EVID", 7, 5), "Subject a, row 7: EVID is neither 0 .* nor 1 .* nor 2 .*correct it"),
    "missing EVID": (with_cell("EVID", 6, nan), "Subject a, row 6: EVID is missing; use 0"),
    "MDV out of range": (events(MDV=[1, 0, 0, 1, 0, 1, 2, 0]), "Subject a, row 7: MDV is neither 0"),
    "negative duration": (with_cell("DUR", 4, -1), "Subject a, row 4: the duration of the dose is negative"),
    "coded rate": (events(RATE=[-3, 0, 0, 0, 0, 0, 0, 0]), "Subject b, row 1: RATE is negative, and neither -1"),
    "rate left to the model": (
        events(RATE=[0, 0, 0, -2, 0, 0, 0, 0]),
        "Subject a, row 4: RATE leaves the infusion to the model, and there is a duration",
    ),
    "compartment turned off": (
        events(CMT=[1, 1, 1, 1, 1, 1, -1, 1]),
        "Subject a, row 7: CMT is negative, which turns a compartment off.*EVID 3",
    ),
    "endless infusion with an interval": (
        events(AMT=[0, 0, 0, 50, 0, 60, 0, 0], SS=[1, 0, 0, 0, 0, 0, 0, 0], II=12, RATE=[5, 0, 0, 0, 0, 0, 0, 0]),
        "Subject b, row 1: an amount of 0 with RATE and SS is an infusion that has run for ever",
    ),
    "rate against duration": (
        events(RATE=[0, 0, 0, 10, 0, 0, 0, 0]),
        "Subject a, row 4: the duration is not amount / RATE; correct",
    ),
    "compartment zero and a half": (
        events(CMT=[0.5, 1, 1, 1, 1, 1, 1, 1]),
        "Subject b, row 1: the compartment is not 1",
    ),
    "same dose twice": (again(1), "Subject b, row 2: the same dose is written twice; keep one, or add"),
    "sample before the dose": (
        events().iloc[[1, 0, 2, 3, 4, 5, 6, 7]],
        "Subject b, row 2: this dose comes after an observation of the same time.*write the dose first",
    ),
    "only doses": (without(events(), 5, 7, 8), "Subject a has no observation in column 'DV'; add one or leave"),
    "only missing": (events(DV=[nan, 0.5, 4.0] + [nan] * 5), "Subject a has no observation in column 'DV'"),
    "missing covariate": (
        events(WT=[70, 70, 70, nan, 55, 55, 55, 55]),
        "Subject a, row 4: covariate 'WT' is missing with no value before it; fill in the subject's first",
    ),
    "one word in a covariate": (with_cell("WT", 7, "heavy"), "Subject a, row 7: column 'WT' holds 'heavy'"),
    "covariate in words": (
        events(WT=list("MMMFFFFF")),
        r"Covariate 'WT' holds words \('M', 'F'\); say the number of each, .* codes={'WT': {'M': 0, 'F': 1}}",
    ),
    "more doses at no interval": (
        events(ADDL=[3, 0, 0, 0, 0, 0, 0, 0]),
        "Subject b, row 1: ADDL or SS needs the interval between doses; give it in a column II",
    ),
    "half a dose more": (events(ADDL=[1.5, 0, 0, 0, 0, 0, 0, 0], II=12), "Subject b, row 1: ADDL is not a whole num"),
    "steady state at no interval": (events(SS=[0, 0, 0, 1, 0, 0, 0, 0]), "Subject a, row 4: ADDL or SS needs the int"),
    "steady state, other code": (
        events(SS=[3, 0, 0, 0, 0, 0, 0, 0], II=12),
        "Subject b, row 1: SS is neither 0 nor 1 nor 2",
    ),
    "additional dose written too": (
        events(ADDL=[0, 0, 0, 1, 0, 0, 0, 0], II=3, AMT=[100, 0, 0, 60, 0, 60, 0, 0], DUR=0),
        "Subject a, row 6: this dose is also one of the additional doses .ADDL. of another; lower ADDL or drop",
    ),
    "an outcome that is not told": (events(DVID=[0, 1, 2, 0, 0, 0, 0, 1]), "Subject a, row 5: DVID is missing.*fill"),
    "two compartments observed": (events(CMT=[1, 2, 2, 1, 3, 1, 0, 2]), "Subject a, row 5: CMT marks a second kind"),
    "censored, other code": (events(CENS=[0, 2, 0, 0, 0, 0, 0, 0]), "Subject b, row 2: CENS is neither 1 .*nor -1"),
    "censored at nothing": (
        events(CENS=[0, 0, 0, 0, 0, 0, 1, 0]),
        "Subject a, row 7: it is censored, but at an unknown limit; write the limit in DV",
    ),
    "limit on the wrong side": (
        events(CENS=[0, 0, 1, 0, 0, 0, 0, 0], LIMIT=[nan, nan, 5, nan, nan, nan, nan, nan]),
        "Subject b, row 3: LIMIT is on the wrong side of DV",
    ),
    "below the limit, with a response": (
        events(BLQ=[0, 0, 1, 0, 0, 0, 0, 0], LLOQ=0.1),
        "Subject b, row 3: it is below the limit .CENS or BLQ., but DV is neither empty, nor 0, nor the limit",
    ),
    "below and above": (events(BLQ=1, CENS=1, LLOQ=0.1), "Subject b, row 1: CENS and BLQ are both set; keep one"),
}


@pytest.mark.parametrize("df, words", MALFORMED.values(), ids=MALFORMED)
def test_malformed_frames_are_refused_in_one_sentence(df, words):
    with pytest.raises(ValueError, match=words) as caught:
        read(df)
    text = str(caught.value)
    assert text.endswith((".", "?")) and "\n" not in text and "  " not in text


@pytest.mark.parametrize("option", ["id", "time", "y", "amount", "duration"])
def test_a_column_that_was_named_must_be_there(option):
    with pytest.raises(ValueError, match="Column 'dose_mg' is missing; name the right one .id=, time="):
        read(**{option: "dose_mg"})


def test_many_subjects():
    n, rows = 20_000, 10
    df = pd.DataFrame({"ID": np.repeat(np.arange(n), rows), "TIME": np.tile(np.arange(rows), n), "DV": 1.0})
    p = Population.from_frame(df)
    assert p.subjects.y.shape == (n, rows) and p.n_observations == n * rows
    assert len(p.to_frame()) == n * rows
