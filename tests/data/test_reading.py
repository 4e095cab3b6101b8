"""What a file means to the people who wrote it: ids, remarks, days, decimals, limits, replicates, and options.

Each case is a file and what it says, worked out by hand; a case from a public report names it in its title.
"""

import datetime
import gzip

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import stats

import mefit as mf

nan = np.nan


def read(tmp_path, text: str | bytes, name: str = "data.csv", **options) -> mf.Population:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return mf.Population.read_csv(path, **options)


def rows(population: mf.Population) -> list[list[tuple]]:
    """Time and response of every row, by subject; None where it is missing."""
    return [
        [(float(t), float(y) if seen else None) for t, y, seen in zip(s.time, s.y, s.mask, strict=True)]
        for s in population
    ]


def equal(a: mf.Population, b: mf.Population) -> bool:
    same = jax.tree.structure(a) == jax.tree.structure(b)
    return same and all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# ---------------------------------------------------------------- ids

IDS = {
    "whole numbers": (["1", "2", "10"], (1, 2, 10), None),
    "site and subject (twixtools 24)": (["1.1", "1.10"], ("1.1", "1.10"), "Ids 1.1 and 1.10 were read as 2 subjects"),
    "a code like a number": (["1E2", "100"], ("1E2", "100"), "Ids 1E2 and 100 were read as 2"),
    "codes like numbers": (["1E2", "1E3"], ("1E2", "1E3"), None),
    "as NONMEM writes a table": (["1.0000E+00", "1.2000E+01"], (1, 12), "1.0000E+00 as 1"),
    "seventeen digits": (["12345678901234567", "12345678901234568"], (12345678901234567, 12345678901234568), None),
    "written by R (RxODE 213)": (["99999", "1e+05", "100001"], (99999, 100000, 100001), "1e+05 as 100000"),
    "leading zeros": (["007", "07"], ("007", "07"), "Ids 007 and 07 were read as 2 subjects"),
    "one without zeros (REDCapR 241)": (["1017", "001017"], ("1017", "001017"), "Ids 1017 and 001017 were read as 2"),
    "zeros for all": (["001", "002"], ("001", "002"), None),
    "written by pandas (limix-backup 18)": (["1.0", "2.0"], (1, 2), "1.0 as 1, 2.0 as 2"),
    "halves": (["1.5", "2.5"], (1.5, 2.5), None),
    "a zero at the end": (["1.5", "2.50"], ("1.5", "2.50"), None),
    "capitals": (["A1", "a1"], ("A1", "a1"), "Ids A1 and a1 were read as 2 subjects"),
    "zeros in words": (["S01", "S1"], ("S01", "S1"), "Ids S01 and S1 were read as 2 subjects"),
    "kept by a spreadsheet": (['="007"', '="008"'], ("007", "008"), None),
}


@pytest.mark.parametrize("written, ids, note", IDS.values(), ids=IDS)
def test_ids_stay_what_they_were_written_as(tmp_path, written, ids, note):
    text = "ID,TIME,DV\n" + "".join(f"{id},{t},{t + 1}\n" for id in written for t in (0, 1))
    p = read(tmp_path, text)
    assert p.ids == ids and [type(a) for a in p.ids] == [type(b) for b in ids]
    assert rows(p) == [[(0, 1), (1, 2)]] * len(ids)
    assert not p.report.notes if note is None else note in str(p.report)
    p.to_csv(tmp_path / "again.csv")
    assert equal(mf.Population.read_csv(tmp_path / "again.csv"), p)


def test_ids_that_may_be_one_subject_or_several_are_refused(tmp_path):
    for first, second, message in (
        ("1", "1.0", "Ids '1' and '1.0' in column 'ID' may be one subject"),
        ("a", "a.00", "Ids 'a' and 'a.00'"),
        ("101", "101.", "Ids '101' and '101.'"),
        ("101", "+101", r"Ids '101' and '\+101'"),
        ("1.23457E+16", "2", r"Id '1.23457E\+16' looks rounded by a spreadsheet"),
        ("1.23457e15", "A", "looks rounded"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, f"ID,TIME,DV\n{first},0,1\n{second},1,2\n")
    frame = pd.DataFrame({"ID": [1, "1"], "TIME": 0.0, "DV": 1.0})
    with pytest.raises(ValueError, match="Ids 1 and '1' in column 'ID' may be one subject"):
        mf.Population.from_frame(frame)
    with pytest.raises(ValueError, match="Ids 'a' and ' a'"):
        mf.Population.from_frame(frame.assign(ID=["a", " a"]))
    with pytest.raises(ValueError, match="Row 1: the id in column 'ID' has more digits than a floating-point"):
        mf.Population.from_frame(frame.assign(ID=[2.0**53, 2.0**53 + 2]))
    assert mf.Population.from_frame(frame.assign(ID=[2**53, 2**53 + 1])).ids == (2**53, 2**53 + 1)


def test_ids_that_a_file_cannot_keep_are_not_written(tmp_path):
    frame = pd.DataFrame({"ID": [1, 1, "C"], "TIME": 0.0, "DV": 1.0})
    for id in ("C", "#7", "@home", " b"):
        p = mf.Population.from_frame(frame.assign(ID=[1, 1, id], TIME=[0, 1, 0]))
        with pytest.raises(ValueError, match=f"Id '{id}' would not be read back"):
            p.to_csv(tmp_path / "data.csv")
    p = mf.Population.from_frame(frame.assign(ID=["A", "B", "C"]))
    p.to_csv(tmp_path / "data.csv")
    assert equal(mf.Population.read_csv(tmp_path / "data.csv"), p)


# ---------------------------------------------------------------- lines that are no data

REMARKS = {
    "column C, blank elsewhere (ferx-core 536)": ("C,ID,TIME,DV\n,1,0,5\nC,1,2,99\n,1,3,4\n", {}),
    "column C, points": ("C,ID,TIME,DV\n.,1,0,5\nC,1,2,99\n.,1,3,4\n", {}),
    "column C, zeros": ("C,ID,TIME,DV\n0,1,0,5\nC,1,2,99\n0,1,3,4\n", {}),
    "C in place of the id (bbr 730)": ("ID,TIME,DV\n1,0,5\nC,2,99\n1,3,4\n", {}),
    "a comment of any length": ("ID,TIME,DV\n1,0,5\nC checked, 12 May, by me\n1,3,4\n", {}),
    "a header after @ (pharmpy 2423)": ("@ID,TIME,DV\n1,0,5\n@1,2,99\n1,3,4\n", {}),
    "a header after #C": ("#C,ID,TIME,DV\n,1,0,5\nC,1,2,99\n,1,3,4\n", {}),
    "a letter, by ignore": ("ID,TIME,DV\n1,0,5\nX,2,99\nMean,,7\n1,3,4\n", {"ignore": "@"}),
    "another mark, by ignore": ("ID,TIME,DV\n1,0,5\n*1,2,99\n1,3,4\n", {"ignore": "*"}),
    "a quoted comment": ('ID,TIME,DV\n"# seen, and left",,\n1,0,5\n1,3,4\n', {}),
}


@pytest.mark.parametrize("text, options", REMARKS.values(), ids=REMARKS)
def test_remarks_are_left_out_and_told(tmp_path, text, options):
    p = read(tmp_path, text, **options)
    assert p.ids == (1,) and rows(p) == [[(0, 5), (3, 4)]]
    assert "left out (line " in str(p.report) and "not read" not in str(p.report)


def test_a_row_that_begins_with_a_letter_is_told_from_an_id(tmp_path):
    text = "ID,TIME,DV\n1,0,5\nX,1,2\n{},2,3\n"
    with pytest.raises(ValueError, match="Line 3 begins with 'X', where other ids are numbers; .*ignore='@'"):
        read(tmp_path, text.format(1))
    p = read(tmp_path, text.format(2), ignore="#")
    assert p.ids == ("1", "X", "2") and "Ids are numbers and words: X" in str(p.report)
    assert read(tmp_path, "ID,TIME,DV\nC,0,2\nC,1,3\n").ids == ("C",)  # where ids are words, so is C
    with pytest.raises(ValueError, match="ignore='' is no text"):
        read(tmp_path, text, ignore="")
    with pytest.raises(ValueError, match="Line 2 begins with #N/A, an error of a spreadsheet"):
        read(tmp_path, "ID,TIME,DV\n#N/A,0,5\n")
    frame = pd.DataFrame({"ID": ["1", "X", "1"], "TIME": [0, 1, 2], "DV": 1.0})
    with pytest.raises(ValueError, match="row 3: this id came before, and the row between has the id 'X'"):
        mf.Population.from_frame(frame)
    marked = pd.DataFrame({"C": [nan, "C", nan], "ID": 1, "TIME": [0, 1, 2], "DV": [1, 99, 3.0]})
    p = mf.Population.from_frame(marked)
    assert rows(p) == [[(0, 1), (2, 3)]] and tuple(p.report.notes) == (
        "Rows with a C in the column C were left out (row 2).",
    )


# ---------------------------------------------------------------- the day beside clock times

# By column, its cells at three rows: what the clock 8:00, 10:30 and 7:00 then is, in hours since the first.
DAYS = {
    "DATE, year first": ("DATE", ["2024-02-28", "2024-02-28", "2024-03-01"], {}, [0, 2.5, 47]),
    "DATE, with a day past 12": ("DATE", ["02/28/2024", "02/28/2024", "03/01/2024"], {}, [0, 2.5, 47]),
    "DATE, the other way round": ("DATE", ["28.02.2024", "28.02.2024", "1.3.2024"], {}, [0, 2.5, 47]),
    "DATE, all one day": ("DATE", ["3-4-24", "3-4-24", "3-4-24"], {}, None),
    "DATE, by option": ("DATE", ["3/4/24", "3/4/24", "3/5/24"], {"date_order": "mdy"}, [0, 2.5, 23]),
    "DATE, by the other option": ("DATE", ["3/4/24", "3/4/24", "3/5/24"], {"date_order": "dmy"}, [0, 2.5, 719]),
    "DATE, a number of days": ("DATE", ["-1", "-1", "1"], {}, [0, 2.5, 47]),
    "DATE, a month's name": ("DATE", ["28-Feb-23", "28-Feb-23", "01-Mar-23"], {}, [0, 2.5, 23]),
    "DAT1, day first": ("DAT1", ["1/2/2024", "1/2/2024", "1/3/2024"], {}, [0, 2.5, 695]),
    "DAT2, year first": ("DAT2", ["2024-03-01", "2024-03-01", "2024-03-03"], {}, [0, 2.5, 47]),
    "DAT3, year, then day": ("DAT3", ["2024-03-01", "2024-03-01", "2024-04-01"], {}, [0, 2.5, 23]),
    "two digits, at the turn of the century": ("DAT2", ["99-12-31", "99-12-31", "00-01-02"], {}, [0, 2.5, 47]),
    "no leap year of 1900": ("DAT2", ["00-02-28", "00-02-28", "00-03-01"], {}, [0, 2.5, 47]),
    "DAY": ("DAY", ["1", "1", "3"], {}, [0, 2.5, 47]),
    "a column of any name": (
        "VISIT_DT",
        ["2024-03-01", "2024-03-01", "2024-03-02"],
        {"date": "VISIT_DT"},
        [0, 2.5, 23],
    ),
}


@pytest.mark.parametrize("column, days, options, hours", DAYS.values(), ids=DAYS)
def test_clock_times_count_from_the_first_by_their_day(column, days, options, hours):
    clock = ["8:00", "10:30", "7:00"] if hours else ["8:00", "10:30", "12:00"]
    frame = pd.DataFrame({"ID": 1, column: days, "TIME": clock, "DV": [1.0, 2, 3]})
    p = mf.Population.from_frame(frame, **options)
    assert p[0].time.tolist() == (hours or [0, 2.5, 4])
    assert f"by the day in {column}" in str(p.report) and "not read" not in str(p.report)
    numeric = frame.assign(**{column: pd.to_numeric(frame[column])}) if column == "DAY" else frame
    assert equal(mf.Population.from_frame(numeric, **options), p)


FORMS = {"DAT1": "%d{0}%m{0}{1}", "DAT2": "{1}{0}%m{0}%d", "DAT3": "{1}{0}%d{0}%m", "mdy": "%m{0}%d{0}{1}"}


@pytest.mark.slow
@pytest.mark.parametrize("label", FORMS)
def test_dates_of_a_hundred_years_count_as_the_calendar_does(label):
    rng = np.random.default_rng(7)
    refused = 0
    for turn in range(40):
        first = datetime.datetime(1951, 1, 1) + datetime.timedelta(minutes=int(rng.integers(52_000_000)))
        gaps = np.sort(rng.integers(0, 90_000 if turn % 2 else 3000, 4))
        moments = [first + datetime.timedelta(minutes=int(gap)) for gap in gaps]
        hours = [(moment - moments[0]).total_seconds() / 3600 for moment in moments]
        form = FORMS[label].format("-/. "[turn % 4], "%Y" if turn % 3 else "%y")
        clock = [moment.strftime("%H:%M" if turn % 5 else "%I:%M %p") for moment in moments]
        frame = pd.DataFrame({"ID": 1, "TIME": clock, "DV": 1.0, "day": [moment.strftime(form) for moment in moments]})
        told = {"date_order": label} if label == "mdy" else {}
        named = frame.rename(columns={"day": "DATE" if label == "mdy" else label})
        np.testing.assert_allclose(mf.Population.from_frame(named, **told)[0].time, hours, rtol=1e-14, atol=1e-9)
        if label == "DAT3":  # a year first is taken for year-month-day, unless a label says otherwise
            continue
        try:  # without a word on the order it is either right or refused
            read_alone = mf.Population.from_frame(frame, date="day")
        except ValueError as error:
            assert "which may be" in str(error) or "earlier" in str(error) or "not a date" in str(error), error
            refused += 1
        else:
            np.testing.assert_allclose(read_alone[0].time, hours, rtol=1e-14, atol=1e-9)
    assert label == "DAT3" or 0 < refused < 40


def test_days_that_could_be_others_are_refused():
    frame = pd.DataFrame({"ID": 1, "TIME": ["8:00", "10:30"], "DV": [1.0, 2]})
    for column, days, message in (
        ("DATE", ["3/4/24", "3/5/24"], "row 2: column 'DATE' holds '3/5/24', which may be .*date_order='mdy' or"),
        ("DATE", ["20240301", "20240302"], "row 1: column 'DATE' holds 20240301, neither"),
        ("DATE", ["1.5", "2"], "row 1: column 'DATE' holds 1.5, neither"),
        ("DATE", ["2024-02-30", "2024-03-01"], "row 1: column 'DATE' holds '2024-02-30', which is not a date"),
        ("DATE", ["28/02/2024", "03/01/2024"], "row 2: the time is earlier than in the row before"),
        ("DATE", [None, "2024-03-01"], "row 1: the date in column 'DATE' is missing"),
        (
            "DAT1",
            ["2024-03-01", "2024-03-02"],
            "column 'DAT1' holds .*not a date of the form day-.*date_order",
        ),
        ("DAT2", ["3/28/2024", "3/29/2024"], "column 'DAT2' holds '3/28/2024', which is not a date of the form year-m"),
        (
            "visitdate",
            ["x", "y"],
            "'TIME' holds clock times, and column 'visitdate' may tell the day; name it",
        ),
        ("STUDYDAY", [1, 2], "column 'STUDYDAY' may tell the day"),
        ("V", ["2024-03-01", "2024-03-02"], "column 'V' may tell the day"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.Population.from_frame(frame.assign(**{column: days}))
    with pytest.raises(ValueError, match="Columns DATE and DAY all tell the day"):
        mf.Population.from_frame(frame.assign(DATE="2024-03-01", DAY=1))
    with pytest.raises(ValueError, match="Column 'DAT2' is missing"):
        mf.Population.from_frame(frame, date="DAT2")
    with pytest.raises(ValueError, match="date_order='ddmm' is none of 'ymd', 'mdy'"):
        mf.Population.from_frame(frame, date_order="ddmm")
    with pytest.raises(ValueError, match="'TIME' holds numbers beside a column DAT1; name it by date='DAT1'"):
        mf.Population.from_frame(frame.assign(TIME=[0, 1], DAT1="1-3-2024"))
    one_day = mf.Population.from_frame(frame.assign(BIRTHDATE="1980-01-01"))  # the same for all of a subject
    assert one_day[0].time.tolist() == [0, 2.5] and "all of one day" in str(one_day.report)


def test_times_as_public_reports_write_them():
    def times(**columns):
        options = {name: columns.pop(name) for name in ("date", "date_order") if name in columns}
        return mf.Population.from_frame(pd.DataFrame({"ID": 1, "DV": 1.0} | columns), **options)[0].time

    # NONMEM's help for DATE, its example
    nonmem = times(DATE=["10-1-86", "10-1-86", "10-2-86"], TIME=["9:15", "14:40", "8:30"], date_order="mdy")
    np.testing.assert_allclose(nonmem, [0, 5 + 25 / 60, 23.25], rtol=1e-15)
    assert times(TIME=["08:00:00", "08:00:36"]).tolist() == [0, 0.01]  # pharmpy 3304
    assert times(TIME=["11:30 AM", "12:15 PM", "1:00 pm"]).tolist() == [0, 0.75, 1.5]  # pharmpy 1083
    assert times(TIME=["12:30 a.m.", "1:00 a.m."]).tolist() == [0, 0.5]
    # pandas 26304: one order for all, which the last of them tells
    stamps = ["12.01.2017 17:18", "01.02.2017 11:12", "15.04.2017 02:40"]
    np.testing.assert_allclose(times(TIME=stamps), [0, 20 * 24 - 6.1, 93 * 24 - 14 - 38 / 60], rtol=1e-15)
    dated = pd.DataFrame({"ID": 1, "DAT1": ["1/3/2024", "1/4/2024"], "DV": 1.0})  # the label says how, here too
    assert mf.Population.from_frame(dated, time="DAT1")[0].time.tolist() == [0, 31 * 24]
    # pknca 49: a day and the hour of that day
    assert times(DAY=[1, 1, 2], TIME=[0.0, 4, 1], date="DAY").tolist() == [0, 4, 25]
    with pytest.raises(ValueError, match="row 3: the time in column 'TIME' is not an hour of the day"):
        times(DAY=[1, 1, 2], TIME=[0.0, 4, 25], date="DAY")
    with pytest.raises(ValueError, match="row 3: the time is earlier .* name the column that tells the day by date="):
        times(DAY=[1, 1, 2], TIME=[0.0, 4, 1])
    with pytest.raises(ValueError, match="'TIME' holds dates, and so does date='DAY'"):
        times(DAY=[1, 1], TIME=["2024-03-01", "2024-03-02"], date="DAY")


# ---------------------------------------------------------------- decimals, and habits of spreadsheets


def test_commas_are_decimal_only_where_they_cannot_be_anything_else(tmp_path):
    text = "ID\tTIME\tDV\tAMT\n1\t0\t.\t{}\n1\t1\t{}\t.\n"

    def dose(amount, response, **options):
        return float(read(tmp_path, text.format(amount, response), **options)[0].doses.amount[0])

    for amount, response, options in (
        ("1,000", "0,5", {}),  # a thousand beside a half would be two countries' numbers in one file
        ("1,000", "70,25", {}),
        ("1,000", "0,125", {}),
        ("1,000", "5", {"decimal": ","}),
    ):
        assert dose(amount, response, **options) == 1.0, (amount, response)
    assert dose("0,125", "5") == 0.125 and dose("1000", "0,5") == 1000 and dose("1234,567", "5") == 1234.567
    for amount, response, message in (
        ("1,000", "5", "Line 2: the comma in '1,000' may be decimal or set thousands apart"),  # readr 799
        ("1,000", "250,000", "Line 2: the comma in '1,000' may"),
        ("1,000", "0.5", "Line 3: '0.5' has a decimal point, other lines a decimal comma"),
        (
            "1.234,56",
            "1,20",
            "line 2: column 'AMT' holds '1.234,56', not a number",
        ),  # pandas 59299: the right cell
        ("1,234,567", "0,5", "line 2: column 'AMT' holds '1,234,567', not a number"),
        ("1,234.5", "5", "line 2: column 'AMT' holds '1,234.5', not a number"),
        ("1'000", "5", "line 2: column 'AMT' holds"),
        ("50%", "5", "line 2: column 'AMT' holds '50%', not a number"),
    ):
        with pytest.raises(ValueError, match=message):
            dose(amount, response)
    with pytest.raises(ValueError, match="holds '1,000', not a number"):
        dose("1,000", "5", decimal=".")
    semicolons = "ID;TIME;DV;AMT\n1;0;.;1.000\n1;1;{};.\n"  # where a comma would be decimal, a point may set apart
    with pytest.raises(ValueError, match="Line 2: the point in '1.000' may be decimal or set thousands apart"):
        read(tmp_path, semicolons.format("250.000"))
    assert read(tmp_path, semicolons.format("0.5"))[0].doses.amount.tolist() == [1]
    assert read(tmp_path, semicolons.format("5"), decimal=".")[0].doses.amount.tolist() == [1]
    with pytest.raises(ValueError, match="decimal=';' is neither"):
        dose("1,000", "5", decimal=";")
    assert read(tmp_path, "ID;TIME;DV\n1.1;0;0,5\n1.2;0;1\n").ids == (1.1, 1.2)  # ids are no decimals
    assert rows(read(tmp_path, 'ID,TIME,DV\n1,0,"0,5"\n', decimal=",")) == [[(0, 0.5)]]


PLAIN = "ID,TIME,DV\n1,0,1.5\n1,1,2.5\n"
SPREADSHEETS = {
    "compressed (.csv.gz)": (gzip.compress(PLAIN.encode()), 0),
    "sep=; in the first line (mr-data-converter 52)": ("sep=;\n" + PLAIN.replace(",", ";"), 0),
    "sep=, after a mark of its coding": (b"\xef\xbb\xbfsep=,\r\n" + PLAIN.replace("\n", "\r\n").encode(), 0),
    'sep in quotes, "sep=|"': ('"sep=|"\n' + PLAIN.replace(",", "|"), 0),
    "lines as a Macintosh ended them": (PLAIN.replace("\n", "\r"), 0),
    "empty columns": (PLAIN.replace("\n", ",,\n"), 0),
    "empty columns without a header": ("ID,TIME,DV\n1,0,1.5,,\n1,1,2.5,,\n", 1),
    "empty rows": (PLAIN + ",,\n , ,\n", 0),
    "everything in quotes": (PLAIN.replace(",", '","').replace("\n", '"\n"').rstrip('"'), 0),
}
SPREADSHEETS["everything in quotes"] = ('"' + SPREADSHEETS["everything in quotes"][0], 0)


@pytest.mark.parametrize("text, notes", SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_habits_of_spreadsheets(tmp_path, text, notes):
    p = read(tmp_path, text)
    assert p.ids == (1,) and rows(p) == [[(0, 1.5), (1, 2.5)]] and len(p.report.notes) == notes, p.report


def test_a_mark_within_a_cell_ends_no_line(tmp_path):
    p = read(tmp_path, "ID,TIME,DV,NOTE\n1,0,1.5,seen…\n1,1,2.5,\n".encode("cp1252"))  # \x85 in that coding
    assert rows(p) == [[(0, 1.5), (1, 2.5)]] and "guessed" in str(p.report)


def test_what_is_no_text_is_refused(tmp_path):
    for raw, message in (
        (gzip.compress(PLAIN.encode())[:-6], "is compressed, but damaged or cut short"),
        (PLAIN.encode("utf-16-le"), "in a coding that it does not tell"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, raw)


# ---------------------------------------------------------------- limits


class Level(mf.Model):
    """A constant with a normal error."""

    level: Array = mf.real()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal((self.level + eta) * jnp.ones_like(subject.time), self.sigma)


LEVEL = Level(level=0.5, omega=0.4, sigma=0.3)


def test_a_flag_without_a_limit_is_refused_and_lloq_gives_one(tmp_path):
    text = "ID,TIME,DV,{0}\n1,0,2,0\n1,1,{1},1\n"
    for flag, response, message in (
        ("BLQ", "0", "line 3: it is below the limit of quantification .BLQ., which nothing tells; .*lloq="),
        ("BLQ", ".", "which nothing tells"),
        ("BLQ", "0.05", "which nothing tells"),  # pharmpy 1946: this may be the limit, half of it, or what was measured
        ("CENS", "0", "line 3: it is censored .CENS., and 0 as its limit .DV. is more likely a gap"),
        ("CENS", ".", "line 3: it is censored, but at an unknown limit; .*lloq="),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, text.format(flag, response))
    for flag, response, lloq, limit in (
        ("BLQ", "0", 0.1, 0.1),
        ("BLQ", ".", 0.1, 0.1),
        ("BLQ", "0.1", 0.1, 0.1),
        ("BLQ", "0", 0, 0.0),
        ("CENS", "0", 0.1, 0.1),
        ("CENS", ".", 0.1, 0.1),
        ("CENS", "0.3", 0.1, 0.3),  # the file says so itself
        ("CENS", "0", 0, 0.0),  # log 1
    ):
        p = read(tmp_path, text.format(flag, response), lloq=lloq)
        assert p.subjects.y[0, 1] == limit and p.subjects.censored[0].tolist() == [0, 1]
        exact = stats.norm(0.5, 0.3).logpdf(2) + stats.norm(0.5, 0.3).logcdf(limit)
        assert mf.log_conditional(LEVEL, jnp.zeros(1), p[0]) == pytest.approx(exact, rel=1e-12)
        assert equal(mf.Population.from_frame(p.to_frame(), lloq=0), p)
    with pytest.raises(ValueError, match="line 3: it is below the limit .CENS or BLQ., but DV is neither"):
        read(tmp_path, text.format("BLQ", "0.05"), lloq=0.1)
    with pytest.raises(ValueError, match="lloq=nan is not a number"):
        mf.Population.from_frame(pd.DataFrame({"ID": [1], "TIME": [0], "DV": [1]}), lloq=nan)


def test_columns_that_tell_a_limit():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1, 2], "DV": [2.0, 0.0, nan], "CENS": [0, 1, 1], "LLOQ": 0.2})
    assert mf.Population.from_frame(frame)[0].y.tolist() == [2, 0.2, 0.2]
    with pytest.raises(ValueError, match="row 2: it is below the limit .CENS or BLQ., but DV is neither"):
        mf.Population.from_frame(frame.assign(DV=[2.0, 0.1, nan]))
    for flag, limit in (("BQL", "LOQ"), ("BLOQ", "LLOQ")):  # other names of the field
        named = pd.DataFrame({"ID": 1, "TIME": [0, 1], "DV": [2.0, 0.0], flag: [0, 1], limit: 0.2})
        assert mf.Population.from_frame(named)[0].censored.tolist() == [0, 1]
    interval = pd.DataFrame({"ID": 1, "TIME": [0, 1], "DV": [500, 400], "CENS": [0, 1], "LIMIT": 0})  # nlmixr 499
    assert mf.Population.from_frame(interval)[0].limit.tolist() == [0, 0]
    between = frame.drop(columns="LLOQ").assign(DV=[2.0, 0.0, 0.5], LIMIT=[nan, -1.0, nan])  # below 0, above -1
    assert mf.Population.from_frame(between)[0].limit.tolist() == [0, -1, -np.inf]
    above = frame.assign(DV=[2.0, 0.0, 9], CENS=[0, -1, -1])
    with pytest.raises(ValueError, match="row 2: it is censored .CENS., and 0 as its limit"):
        mf.Population.from_frame(above)
    assert mf.Population.from_frame(above, lloq=0)[0].censored.tolist() == [0, -1, -1]


# ---------------------------------------------------------------- replicates

ASSAYS = (
    "ID,TIME,DV,AMT,DVID\n9,0,.,100,.\n9,3,12.7,.,cp\n9,3,8,.,cp\n9,3,50,.,pca\n9,4,8,.,cp\n9,4,8,.,cp\n9,5,40,.,pca\n"
)


def test_two_observations_at_one_time_are_two_rows(tmp_path):
    text = ASSAYS.replace(",.,cp", ",.,1").replace(",.,pca", ",.,1")
    p = read(tmp_path, text)
    assert rows(p) == [[(3, 12.7), (3, 8), (3, 50), (4, 8), (4, 8), (5, 40)]]
    assert "A further observation at the same time is read as a replicate (line 4, 5)." in p.report.notes
    assert any("the same time as in the row before" in note and "(line 7)" in note for note in p.report.notes)
    p.to_csv(tmp_path / "again.csv")
    assert equal(mf.Population.read_csv(tmp_path / "again.csv"), p)
    gap = read(tmp_path, "ID,TIME,DV\n1,0,1\n1,1,.\n1,1,3\n")  # one lost, one seen
    assert rows(gap) == [[(0, 1), (1, None), (1, 3)]] and equal(mf.Population.from_frame(gap.to_frame()), gap)


def test_replicates_of_one_of_two_outcomes(tmp_path):
    p = read(tmp_path, ASSAYS)  # as in the warfarin data (nlmixr2 385)
    s = p[0]
    assert s.time.tolist() == [3, 3, 4, 4, 5] and p.n_observations == 6
    assert s.y["cp"].tolist() == [12.7, 8, 8, 8, 0] and s.mask["cp"].tolist() == [True] * 4 + [False]
    assert s.y["pca"].tolist() == [50, 0, 0, 0, 40] and s.mask["pca"].tolist() == [True, False, False, False, True]
    assert equal(mf.Population.from_frame(p.to_frame()), p)
    wide = pd.DataFrame({"ID": 9, "TIME": [0, 3, 3, 4, 4, 5], "AMT": [100, 0, 0, 0, 0, 0]})
    wide = wide.assign(cp=[nan, 12.7, 8, 8, 8, nan], pca=[nan, nan, 50, nan, nan, 40])
    assert equal(mf.Population.from_frame(wide, y={"cp": "cp", "pca": "pca"}), p)


def test_outcomes_numbered_from_0_are_not_one():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 0, 1, 1], "DV": [1.0, 50, 2, 40], "DVID": [0, 1, 0, 1]})
    with pytest.raises(ValueError, match="row 1: DVID is missing or 0, and does not say which outcome .* by y="):
        mf.Population.from_frame(frame)
    p = mf.Population.from_frame(frame, y={"pk": 0, "pd": 1})
    assert p[0].y["pk"].tolist() == [1, 2] and p[0].y["pd"].tolist() == [50, 40]
    assert not mf.Population.from_frame(frame.assign(DVID=0, TIME=range(4))).report.notes  # of one kind


def test_each_replicate_has_its_own_limit():
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [1, 1, 1], "DV": [0.5, 0.7, 0.2], "CENS": [1, 0, 1], "LIMIT": [nan, nan, 0.1]}
    )
    p = mf.Population.from_frame(frame)
    assert p[0].y.tolist() == [0.5, 0.7, 0.2] and p[0].censored.tolist() == [1, 0, 1]
    assert p[0].limit.tolist() == [-np.inf, 0, 0.1] and equal(mf.Population.from_frame(p.to_frame()), p)


def test_covariates_of_replicates():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1, 1], "DV": [1.0, 2, 3], "ASSAY": [0, 0, 1]})
    s = mf.Population.from_frame(frame, covariates="ASSAY")[0]
    assert s.time.tolist() == [0, 1, 1] and s.covariates["ASSAY"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="row 3: covariate 'ASSAY' differs from the row of the same time"):
        mf.Population.from_frame(frame.assign(EVID=[0, 0, 2]), covariates="ASSAY")


@pytest.mark.slow
def test_replicates_count_twice_everywhere():
    times = np.array([0.0, 1, 1, 2])
    frame = pd.DataFrame({"ID": np.repeat([1, 2, 3], 4), "TIME": np.tile(times, 3), "DV": np.arange(12) / 10})
    p = mf.Population.from_frame(frame)
    for subject, y in zip(p, frame.DV.to_numpy().reshape(3, 4), strict=True):
        normal = stats.multivariate_normal(0.5 * np.ones(4), 0.4**2 + 0.3**2 * np.eye(4))
        alone = mf.Population.from_subjects([subject])
        assert mf.log_likelihood(LEVEL, alone, mf.FO()) == pytest.approx(normal.logpdf(y), rel=1e-10)
    fit = mf.fit(LEVEL, p, mf.FO(), progress=False)
    table = mf.residuals(fit)
    assert table.TIME.tolist() == np.tile(times, 3).tolist() and table.DV.tolist() == frame.DV.tolist()
    check = mf.vpc(fit, key=jax.random.key(1), samples=20, bins=3)
    assert len(check.points) == 12 and check.observed.groupby("statistic")["count"].sum().unique().tolist() == [12]
    drawn = mf.simulate(fit.model, p, jax.random.key(2))
    assert drawn.subjects.y.shape == (3, 4) and not np.any(
        np.asarray(drawn.subjects.y)[:, 1:2] == drawn.subjects.y[:, 2:3]
    )
    decay = mf.dynamics.solve(lambda t, y: [-y[0]], [1.0], p[0])[:, 0]
    np.testing.assert_allclose(decay, np.exp(-times), rtol=1e-6)


# ---------------------------------------------------------------- what an option allows


def test_words_and_other_codes(tmp_path):
    text = "ID,TIME,DV,AMT,CMT,EVID,SEX\n1,0,.,10,depot,101,F\n1,13,BLQ,.,cp,0,F\n1,14,5,.,cp,0,F\n2,1,2,.,cp,0,M\n"
    codes = {
        "CMT": {"depot": 3, "cp": 2},  # nlmixr2est 522
        "EVID": {101: 1},
        "SEX": {"F": 1, "M": 0},
        "DV": {"BLQ": None},
    }
    p = read(tmp_path, text, codes=codes, covariates="SEX")
    assert rows(p) == [[(13, None), (14, 5)], [(1, 2)]] and p.subjects.covariates["SEX"].tolist() == [1, 0]
    assert p[0].doses.compartment.tolist() == [3]
    for note in (
        "CMT: depot was read as 3 (line 2)",
        "EVID: 101 was read as 1",
        "DV: BLQ was read as missing (line 3)",
    ):
        assert note in str(p.report)
    for missing, message in (
        ("EVID", "line 2: EVID is a code of RxODE's, .* codes={'EVID': {101: 1}}"),
        ("CMT", "line 2: column 'CMT' holds 'depot', not a number; .* codes={'CMT': {'depot': ...}}"),
        ("SEX", r"Covariate 'SEX' holds words .'F', 'M'.; .* codes={'SEX': {'F': 0, 'M': 1}}"),
        ("DV", "line 3: column 'DV' holds 'BLQ', not a number; .* codes={'DV'"),
    ):
        fewer = {column: meaning for column, meaning in codes.items() if column != missing}
        with pytest.raises(ValueError, match=message):
            read(tmp_path, text, codes=fewer, covariates="SEX")
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1], "DV": [nan, 1], "AMT": [5, 0], "EVID": [101, 0]})
    assert mf.Population.from_frame(frame, codes={"EVID": {"101": 1}}).n_doses == 1  # a text or a number
    for codes, message in (
        ({"EVIT": {101: 1}}, "Column 'EVIT' is missing.*did you mean 'EVID'"),
        ({"EVID": {101: "dose"}}, "gives 'dose' for 101; give a number"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.Population.from_frame(frame, codes=codes)


def test_a_number_that_often_stands_for_missing_is_asked_about():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1, 2], "DV": [1.0, 2, 3], "WT": [70, -99, -99]})
    with pytest.raises(ValueError, match="row 2: column 'WT' holds -99, .* codes={'WT': {-99: None}}"):
        mf.Population.from_frame(frame, covariates="WT")
    missing = mf.Population.from_frame(frame, covariates="WT", codes={"WT": {-99: None}})
    assert missing.subjects.covariates["WT"].tolist() == [70]
    meant = mf.Population.from_frame(frame, covariates="WT", codes={"WT": {-99: -99}})
    assert meant.subjects.covariates["WT"].tolist() == [[70, -99, -99]]
    with pytest.raises(ValueError, match="row 3: column 'DV' holds -999"):
        mf.Population.from_frame(frame.assign(DV=[1, 2, -999]))
    assert mf.Population.from_frame(frame.assign(DV=[1, 2, -999], MDV=[0, 0, 1])).n_observations == 2  # it is told
    cold = frame.assign(DV=[-98.0, -99, -97])  # where others are negative, it is a number
    assert mf.Population.from_frame(cold)[0].y.tolist() == [-98, -99, -97]


def test_times_before_the_first_dose(tmp_path):
    text = "ID,TIME,DV,AMT\n1,-1,0.5,.\n1,0,.,10\n1,2,5,.\n"  # nlmixr2 340: a sample before the dose
    with pytest.raises(ValueError, match="line 2: the time in column 'TIME' is negative; .*negative_times=True"):
        read(tmp_path, text)
    p = read(tmp_path, text, negative_times=True)
    assert rows(p) == [[(-1, 0.5), (2, 5)]] and "Times below 0 were kept (line 2)." in p.report.notes
    later = read(tmp_path, "ID,TIME,DV,AMT\n1,0,0.5,.\n1,1,.,10\n1,3,5,.\n")
    curves = [
        [
            mf.pk.iv_bolus_one_compartment(s, cl=0.2, v=2.0),
            mf.dynamics.solve(lambda t, y: [-0.1 * y[0]], [0.0], s)[:, 0] / 2.0,
        ]
        for s in (p[0], later[0])
    ]
    np.testing.assert_allclose(curves, np.broadcast_to([0, 5 * np.exp(-0.2)], (2, 2, 2)), rtol=1e-6, atol=1e-12)
    assert equal(mf.Population.from_frame(p.to_frame(), negative_times=True), p)


def test_subjects_without_an_observation(tmp_path):
    text = "ID,TIME,DV,AMT\n1,0,.,10\n1,2,5,.\n2,0,.,10\n3,0,.,10\n3,1,.,.\n4,1,4,.\n"  # nlmixr2est 688
    with pytest.raises(ValueError, match="Subject 2 has no observation .* by drop_unobserved=True"):
        read(tmp_path, text)
    p = read(tmp_path, text, drop_unobserved=True)
    assert p.ids == (1, 4) and rows(p) == [[(2, 5)], [(1, 4)]] and p.n_doses == 1
    assert tuple(p.report.notes) == ("Subjects without an observation were left out (line 4, 5, 6).",)
    with pytest.raises(
        ValueError, match="Subject 1 has no observation in column 'DV'; add one or leave the subject out"
    ):
        read(tmp_path, "ID,TIME,DV\n1,0,.\n", drop_unobserved=True)


def test_a_covariate_that_is_missing_at_first(tmp_path):
    text = "ID,TIME,DV,WT\n1,0,1,.\n1,1,2,70\n1,2,3,.\n1,3,3,71\n2,0,1,{}\n2,1,2,.\n"
    with pytest.raises(ValueError, match="line 2: covariate 'WT' is missing with no value .* backfill=True"):
        read(tmp_path, text.format(50), covariates="WT")
    p = read(tmp_path, text.format(50), covariates="WT", backfill=True)
    assert p.subjects.covariates["WT"].tolist() == [[70, 70, 70, 71], [50, 50, 50, 50]]
    assert "Covariate WT was missing and has the first value after it, carried back (line 2)." in p.report.notes
    assert "Covariate WT was missing and has the last value before it, carried forward (line 4, 7)." in p.report.notes
    with pytest.raises(ValueError, match="Subject 2, line 6: covariate 'WT' is missing in every row of the subject"):
        read(tmp_path, text.format("."), covariates="WT", backfill=True)
    # the number that stands for a missing one is nobody's
    for others, code in ((70, -1), (-1, -3)):
        lines = f"ID,TIME,DV,W\n1,0,1,{others}\n1,1,1,-1.5\n2,0,1,.\n"
        with pytest.raises(ValueError, match=f"missing={{'W': {code}}}") as told:
            read(tmp_path, lines if others < 0 else lines.replace("-1.5", "70"), covariates="W")
        assert "a number that nobody has" in str(told.value)


def test_what_was_not_read_is_told():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 1, 2], "DV": [7.0, 5, 4], "AMT": [9, 0, 0], "EVID": [1, 0, 0]})
    p = mf.Population.from_frame(frame.assign(MDV=[1, 1, 0], OCC=[3, 3, 5]))
    assert tuple(p.report.notes) == (
        "A response on a row that is no observation was not read (row 1).",
        "A response that MDV calls missing was not read (row 2).",
        "Occasions 3, 5 in column OCC became 0 to 1.",
    )
    assert len(mf.Population.from_frame(frame.assign(DV=[0, 5, 4], OCC=[1, 1, 2])).report.notes) == 0


def test_an_option_that_there_is_not_is_refused_by_the_name_of_what_takes_it(tmp_path):
    with pytest.raises(TypeError, match="^(?!Reader).*unexpected keyword argument 'columns'"):
        read(tmp_path, "ID,TIME,DV\n1,0,1\n", columns={"ID": "person"})


def test_what_is_no_frame_is_refused():
    with pytest.raises((TypeError, ValueError), match="frame"):
        mf.Population.from_frame([1, 2, 3])
