"""The field's conventions, by examples, and several hundred damaged files: read rightly or refused, never read wrongly.

The judge of the damaged files is a reader of its own below, record by record in plain Python: it shares no line with
the library's. Whatever the library reads, the judge must read the same way.
"""

import itertools
import re

import jax
import numpy as np
import pandas as pd
import pytest

from mefit.data.doses import DOSE, Doses, dose_field
from mefit.data.population import Population
from mefit.data.subject import Subject

nan, inf = np.nan, np.inf


def equal(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def file(tmp_path, text: str | bytes, name: str = "data.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---------------------------------------------------------------- conventions, by examples


def test_doses_are_written_out_and_steady_state_is_kept():
    df = pd.DataFrame({"ID": 1, "TIME": [0, 1, 4, 30], "DV": [nan, 2, nan, 1], "AMT": [100, 0, 50, 0]})
    p = Population.from_frame(df.assign(ADDL=[2, 0, 0, 0], II=[12, 0, 24, 0], SS=[1, 0, 0, 0]))
    d = p[0].doses
    assert d.time.tolist() == [0, 4, 12, 24] and d.amount.tolist() == [100, 50, 100, 100]
    assert d.interval.tolist() == [12, 0, 0, 0] and d.steady_state.tolist() == [True, False, False, False]
    assert "2 doses were added from ADDL and II (row 1)." in p.report.notes
    assert equal(Population.from_frame(p.to_frame()), p)
    assert Doses.of(5.0, time=[0, 8], interval=12, steady_state=[True, False]).interval.tolist() == [12, 12]


def test_covariates_are_carried_forward_and_said_so():
    df = pd.DataFrame(
        {"ID": [1, 1, 1, 1, 2], "TIME": [0, 2, 5, 6, 1], "DV": [nan, 3, nan, 4, 5], "AMT": [9, 0, 9, 0, 0]}
    )
    p = Population.from_frame(df.assign(WT=[70, nan, 72, nan, 50], OCC=[1, 1, 3, 3, 1]), covariates="WT")
    first = p[0]
    assert first.time.tolist() == [2, 5, 6] and first.mask.tolist() == [True, False, True]  # 5: the dose that changes
    assert first.covariates["WT"].tolist() == [70, 72, 72] and first.covariates["occasion"].tolist() == [0, 1, 1]
    text = str(p.report)
    assert "Covariate WT was missing and has the last value before it, carried forward (row 2, 4)." in text
    assert "A covariate changes at a dose: its time is kept as a row without a response (row 3)." in text
    assert equal(Population.from_frame(p.to_frame(), covariates="WT"), p)


def test_clock_times_and_dates_become_hours():
    df = pd.DataFrame({"ID": [1, 1, 2, 2], "DV": [1.0, 2.0, 3.0, 4.0]})
    clock = df.assign(
        DATE=["2024-02-28", "2024-03-01", "2024-01-01", "2024-01-01"], TIME=["23:30", "1:00", "8:00", "8:15"]
    )
    whole = df.assign(
        TIME=pd.to_datetime(["2024-02-28 23:30", "2024-03-01 01:00", "2024-01-01 08:00", "2024-01-01 08:15"])
    )
    words = whole.assign(TIME=whole["TIME"].astype(str))
    for frame in (clock, whole, words):
        p = Population.from_frame(frame)
        assert p.subjects.time.tolist() == [[0, 25.5], [0, 0.25]], frame
        assert "hours since each subject's first record" in str(p.report)
    for bad, message in (
        (clock.drop(columns="DATE"), "Subject 1, row 2: the time is earlier"),
        (
            clock.assign(DATE="28/02"),
            "Subject 1, row 1: column 'DATE' holds '28/02', which is not a date with its year",
        ),
        (clock.assign(TIME=[0, 1, 2, 3]), "holds numbers beside a column DATE"),
        (
            words.assign(TIME=["2024-02-30", "2024-03-01", "2024-01-01", "2024-01-02"]),
            "row 1: column 'TIME' holds '2024-02-30'",
        ),
        (clock.assign(TIME=["23:30", "1:00", "8:00", "8:75"]), "Subject 2, row 4: column 'TIME' holds '8:75'"),
    ):
        with pytest.raises(ValueError, match=message):
            Population.from_frame(bad)


def test_censoring_is_kept_as_a_side_and_a_limit():
    df = pd.DataFrame({"ID": 1, "TIME": range(5), "DV": [3.0, 0.5, 0.5, 9.0, 2.0], "CENS": [0, 1, 1, -1, 0]})
    p = Population.from_frame(df.assign(LIMIT=[nan, nan, 0.1, nan, nan]))
    s = p[0]
    assert s.censored.tolist() == [0, 1, 1, -1, 0] and s.limit.tolist() == [0, -inf, 0.1, inf, 0]
    assert equal(Population.from_frame(p.to_frame()), p) and "(3 censored)" in str(p.report)
    blq = pd.DataFrame({"ID": 1, "TIME": range(4), "DV": [3.0, nan, 0.0, 0.2], "BLQ": [0, 1, 1, 1], "LLOQ": 0.2})
    s = Population.from_frame(blq)[0]
    assert s.y.tolist() == [3, 0.2, 0.2, 0.2] and s.censored.tolist() == [0, 1, 1, 1] and s.mask.all()
    left_out = Population.from_frame(blq.assign(MDV=[0, 1, 1, 1]))  # the file says so: a missing response
    assert left_out.subjects.censored is None and left_out.n_observations == 1


def test_several_outcomes_share_rows_by_time():
    long = pd.DataFrame(
        {"ID": [1, 1, 1, 1, 2, 2], "TIME": [0, 1, 1, 2, 1, 3], "DV": [nan, 4, 70, 60, 5, 2], "AMT": [9, 0, 0, 0, 0, 0]}
    ).assign(DVID=[nan, 1, 2, 2, 1, 1])
    wide = pd.DataFrame({"ID": [1, 1, 1, 2, 2], "TIME": [0, 1, 2, 1, 3], "AMT": [9, 0, 0, 0, 0]}).assign(
        CONC=[nan, 4, nan, 5, 2], EFFECT=[nan, 70, 60, nan, nan]
    )
    p = Population.from_frame(long, y={"pk": 1, "pd": 2})
    assert p.outcomes == ("pd", "pk") and p.n_observations == 5
    assert p.subjects.time.tolist() == [[1, 2], [1, 3]]
    assert p.subjects.y["pk"].tolist() == [[4, 0], [5, 2]] and p.subjects.y["pd"].tolist() == [[70, 60], [0, 0]]
    assert p.subjects.mask["pd"].tolist() == [[True, True], [False, False]]
    assert equal(Population.from_frame(wide, y={"pk": "CONC", "pd": "EFFECT"}), p)
    assert equal(Population.from_frame(p.to_frame()), p)
    assert equal(Population.from_subjects(list(p), p.ids, time_label="TIME", y_label="pd, pk"), p)
    assert Population.from_frame(long).outcomes == ("1", "2") and "3 of pk" in repr(p)
    assert p.outcome("pk").subjects.y.tolist() == [[4, 0], [5, 2]] and p.keep_rows([0]).n_observations == 3
    with pytest.raises(ValueError, match="no outcome 'PK'; this population has pd, pk"):
        p.outcome("PK")
    with pytest.raises(ValueError, match="dict by outcome: pd, pk"):
        p.with_responses(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="Subject 2 has the outcomes"):
        Population.from_subjects([p[0], Subject([1.0], [1.0], [True])])


TEXT = "ID;TIME;DV;WT\n1;0;1,5;70\n1;1;2,5;70\n2;0;3;NA\n"


def test_files_of_many_kinds(tmp_path):
    def read(text, **options):
        return Population.read_csv(file(tmp_path, text), **options)

    plain = read("ID,TIME,DV\n1,0,1.5\n1,1,2.5\n2,0,3\n")
    assert plain.ids == (1, 2) and plain.subjects.y.tolist() == [[1.5, 2.5], [3, 0]]
    for text in (
        b"\xef\xbb\xbfID,TIME,DV\r\n1,0,1.5\r\n1,1,2.5\r\n2,0,3\r\n",
        "ID,TIME,DV\n1,0,1.5\n1,1,2.5\n2,0,3\n".encode("utf-16"),
        "ID\tTIME\tDV\n1\t0\t1,5\n1\t1\t2,5\n\n2\t0\t3\n",
        "ID TIME  DV\n 1  0 1.5\n1 1 2.5\n2 0 3",
        "#ID,TIME,DV\n1,0,1.5\n# a remark, with commas\n1,1,2.5\n2,0,3\n,,\n",
        "ID,TIME,DV\nC 12 May, checked\n1,0,1.5\nC,0,9\n1,1,2.5\nID,TIME,DV\n2,0,3\n",
        'TABLE NO. 1\n"ID","TIME","DV"\n"1","0","1.5"\n1,1,2.5\n2,0,3\n',
    ):
        assert equal(read(text), plain), text
    assert read("ID,TIME,DV\nA,0,1\nC,0,2\nC,1,3\n").ids == ("A", "C") and read("ID,TIME,DV\n007,0,1\n").ids == ("007",)
    assert "Columns not read: WT" in str(read(TEXT).report) and "Commas were read as decimal" in str(read(TEXT).report)
    assert "<li>" in read(TEXT).report._repr_html_()
    for text, message in (
        (TEXT, "Subject 2, line 4: covariate 'WT' is missing in every row of the subject; fill it in"),
        (TEXT.replace("2,5", "2.5"), "Line 3: '2.5' has a decimal point, other lines a decimal comma; use one"),
        ("ID,TIME,DV\n1,0,1,5\n", "Line 2 .beginning with '1'. has 4 cells and the header has 3"),
        ('ID,TIME,DV\n"1,0,1\n', "Line 2 has a quotation mark"),
        ("ID,TIME,\n1,0,4\n", "Column 3 has no name in the header"),
        ("# nothing\n", "data.csv has no line of data"),
        ("ID,TIME,DV\n", "data frame is empty"),
        (b"PK\x03\x04", "workbook or an archive, not text; save it as a CSV"),
    ):
        with pytest.raises(ValueError, match=message):
            read(text, covariates=["WT"] if "WT" in str(text) else [])


def test_a_coding_that_was_guessed_is_told(tmp_path):
    text = "ID,TIME,DV,Größe\n1,0,1.5,170\n"
    known = [text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")]
    for raw in known:
        report = str(Population.read_csv(file(tmp_path, raw), covariates=["Größe"]).report)
        assert "guessed" not in report
    guessed = Population.read_csv(file(tmp_path, text.encode("latin-1")), covariates=["Größe"])
    assert "its coding was guessed: it was read as Latin-1" in str(guessed.report)
    # of a Mac file the guess is wrong; the report then shows the name that came of it, and why
    report = str(Population.read_csv(file(tmp_path, text.encode("mac_roman"))).report)
    assert "Columns not read: Gr\x9a\xa7e" in report and "save it as UTF-8" in report


def test_a_cell_is_parsed_once():
    class Cell:
        """A cell that counts how often it is turned into a number."""

        def __init__(self, value):
            self.value, self.count = value, 0

        def __float__(self):
            self.count += 1
            return self.value

    columns = {name: [Cell(0.0), Cell(1.0)] for name in ("TIME", "DV", "AMT", "EVID", "MDV", "CMT", "WT")}
    columns["EVID"] = [Cell(0.0), Cell(0.0)]
    columns["AMT"] = [Cell(0.0), Cell(0.0)]
    columns["CMT"] = [Cell(0.0), Cell(0.0)]
    frame = pd.DataFrame({"ID": [1, 1]} | columns, dtype=object)
    assert Population.from_frame(frame, covariates="WT").n_observations == 1
    assert {cell.count for cells in columns.values() for cell in cells} == {1}


# ---------------------------------------------------------------- damaged files

HEADER = ["ID", "TIME", "DV", "AMT", "EVID", "MDV", "CMT", "RATE", "ADDL", "II", "SS", "CENS", "WT", "AGE"]
GOOD = """
101 0     .    100  1 1 1 .   2 12 . . 70.5 33
101 0.5   4.25 .    0 0 2 .   . .  . 0 .    33
101 2     8.5  .    0 0 2 .   . .  . 0 70.5 33
101 30.25 2.75 .    0 0 2 .   . .  . 0 71.5 33
102 0     .    80   1 1 1 .   . 24 1 . 55   41
102 1     3.5  .    0 0 2 .   . .  . 0 55   41
102 1.5   .    .    0 1 2 .   . .  . 0 55   41
102 4     .    60.5 1 1 2 121 . .  . . 56.5 41
102 4.5   6.75 .    0 0 2 .   . .  . 0 56.5 41
102 20    0.5  .    0 0 2 .   . .  . 1 56.5 41
205 1     5.5  .    0 0 2 .   . .  . 0 48   29
205 2     .    .    2 1 . .   . .  . . 49   29
205 3     6.5  .    0 0 2 .   . .  . 0 49   29
205 3     .    40   1 1 1 .   . .  . . 49   29
"""
# the dose of 205 is written after its last sample: at 3.5
GOOD_CELLS = [HEADER, *(line.split() for line in GOOD.strip().splitlines())]
GOOD_CELLS[-1][1] = "3.5"


class Refused(Exception):
    """The judge's verdict that a file has no clear meaning."""


class NotJudged(Exception):
    """A clock that starts again, of which the judge knows no more than that it may."""


def judge(table: list[list[str]]) -> dict:
    """What a table of cells means: by id its rows (time, response, censoring, WT), doses and age; or Refused."""
    header, people, last = [h.lower() for h in table[0]], {}, None
    names = [name for name in header if name]
    if len(set(names)) < len(names):
        raise Refused

    def value(record: dict, name: str) -> float | None:
        cell = record.get(name, "").strip()
        if cell.lower() in ("", ".", "na", "nan"):
            return None
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell):
            raise Refused
        return float(cell)

    for cells in table[1:]:
        if cells[0] == "C" or cells[0].startswith("@"):
            continue
        if len(cells) != len(header):
            raise Refused
        record = dict(zip(header, cells, strict=True))
        for needed in ("id", "time", "dv", "amt", "wt", "age"):
            if needed not in record:
                raise Refused
        who = record["id"].strip()
        if who.lower() in ("", ".", "na", "nan"):
            raise Refused
        if who != last and who in people:
            raise Refused
        person = people.setdefault(who, {"rows": [], "doses": [], "wt": None, "age": None, "clock": None, "moment": []})
        last, new = who, person["clock"] is None
        time, dv, amt, evid = (value(record, k) for k in ("time", "dv", "amt", "evid"))
        if time is None or time < 0:
            raise Refused
        if not new and time < person["clock"]:
            raise NotJudged if evid in (3, 4) else Refused
        if not new and time > person["clock"]:
            person["moment"] = []
        person["clock"] = time
        mdv, cmt, rate, addl, ii, ss, cens = (
            value(record, k) or 0 for k in ("mdv", "cmt", "rate", "addl", "ii", "ss", "cens")
        )
        endless = ss > 0 and not amt and rate != 0
        evid = (1 if (amt or 0) > 0 or endless else 0) if evid is None and "evid" not in record else evid
        if evid not in (0, 1, 2, 3, 4) or mdv not in (0, 1) or ss not in (0, 1, 2) or cens not in (-1, 0, 1):
            raise Refused
        if (amt or 0) < 0 or cmt < 0 or (rate < 0 and rate not in (-1, -2)):
            raise Refused
        if evid in (1, 4) and (addl < 0 or addl != int(addl) or addl > 1000):
            raise Refused
        if "evid" not in record and (amt or 0) > 0 and dv and mdv == 0:
            raise Refused
        for k in ("wt", "age"):
            now = value(record, k)
            if now is None and person[k] is None:
                raise Refused
            person[k] = person[k] if now is None else now
        state = (person["wt"], person["age"])
        if evid in (1, 3, 4):
            if evid == 3:
                addl, ss, endless = 0, 0, False
            if "sample" in person["moment"] or cmt != int(cmt) or (evid == 3 and amt):
                raise Refused
            if evid != 3 and not endless and (amt is None or (amt and (addl or ss) and ii <= 0)):
                raise Refused
            if endless and (ii or addl):
                raise Refused
            amt = amt or 0.0
            if evid in (3, 4) or ss == 1 and (amt or endless):  # it does away with what is still to come
                person["doses"] = [d for d in person["doses"] if d[-1] == 0 or d[0] < time]
            given = amt > 0 or endless
            for turn in range(int(addl) + 1 if amt else 1):
                first = turn == 0
                steady = (ii if amt else 0.0, int(ss)) if given and ss and first else (0.0, 0)
                rest = (*steady, rate if given else 0.0, evid in (3, 4) and first)
                one = (amt, amt / rate if rate > 0 else 0.0, int(cmt) or 1)
                person["doses"].append((time + turn * ii, *one, *rest, turn))
            person["rows"].append((time, None, 0, state, "dose"))
        else:
            if amt:
                raise Refused
            seen = dv if evid == 0 and mdv == 0 else None
            if evid == 0:
                person["moment"].append("sample")
                if cens and mdv == 0 and dv is None:
                    raise Refused
            person["rows"].append((time, seen, cens if seen is not None else 0, state, "row"))
    if not people:
        raise Refused
    out = {}
    for who, person in people.items():
        doses = [d[:-1] for d in person["doses"] if d[1] or d[7] or (d[5] and d[6])]
        doses = sorted(doses, key=lambda d: d[0])
        keys = doses
        if len(set(keys)) < len(keys) or all(r[1] is None for r in person["rows"]):
            raise Refused
        seen = [(t, y, c) for t, y, c, _, kind in person["rows"] if y is not None]
        # the covariates at an observation are those of its own row
        states = [s for _, y, _, s, _ in person["rows"] if y is not None]
        out[float(who) if re.fullmatch(r"[\d.]+", who) else who] = {"seen": seen, "states": states, "doses": doses}
    return out


def contents(population: Population) -> dict:
    """The same structure from a population."""
    out = {}
    for who, s in zip(population.ids, population, strict=True):
        at = np.flatnonzero(s.mask)
        cens = np.zeros(s.time.shape) if s.censored is None else s.censored
        weight, age = (np.broadcast_to(s.covariates[k], s.time.shape) for k in ("WT", "AGE"))
        out[float(who) if re.fullmatch(r"[\d.]+", str(who)) else who] = {
            "seen": [(float(s.time[i]), float(s.y[i]), float(cens[i])) for i in at],
            "states": [(float(weight[i]), float(age[i])) for i in at],
            "doses": list(zip(*(dose_field(s.doses, k).tolist() for k in DOSE), strict=True)),
        }
    return out


def cell_of(rng, table, column=None, where=lambda cell: True):
    """A random cell of the data (row, column) for which `where` holds."""
    places = [
        (i, j)
        for i, j in itertools.product(range(1, len(table)), range(len(HEADER)))
        if (column is None or HEADER[j] == column) and where(table[i][j])
    ]
    return places[rng.integers(len(places))]


def put(column, *values, where=lambda cell: True):
    """A mutation: one cell of a column gets one of these values."""

    def mutate(rng, table):
        i, j = cell_of(rng, table, column, where)
        table[i][j] = str(values[rng.integers(len(values))])

    return mutate


def swap_columns(rng, table):
    a, b = rng.choice(len(HEADER), 2, replace=False)
    for row in table:
        row[a], row[b] = row[b], row[a]


def swap_names(rng, table):
    a, b = rng.choice(len(HEADER), 2, replace=False)
    table[0][a], table[0][b] = table[0][b], table[0][a]


def swap_rows(rng, table):
    a, b = rng.choice(np.arange(1, len(table)), 2, replace=False)
    table[a], table[b] = table[b], table[a]


def shuffle_rows(rng, table):
    table[1:] = [table[i] for i in 1 + rng.permutation(len(table) - 1)]


def move_subject(rng, table):
    table[1:] = table[11:] + table[1:11]


def drop_column(rng, table):
    j = rng.integers(len(HEADER))
    for row in table:
        del row[j]


def noise(rng, table):
    """One character of one cell is lost, doubled or changed."""
    i, j = cell_of(rng, table, where=lambda c: c != ".")
    cell, at = table[i][j], rng.integers(len(table[i][j]))
    new = ["", cell[at] * 2, "0123456789.-eE xµ"[rng.integers(17)]][rng.integers(3)]
    table[i][j] = cell[:at] + new + cell[at + 1 :]


def shift(rng, table):
    """From some cell on, a row moved one to the right."""
    i, j = cell_of(rng, table)
    table[i][j:] = [".", *table[i][j:-1]]


def copy_cell(rng, table):
    (i, j), (k, m) = cell_of(rng, table), cell_of(rng, table)
    table[i][j] = table[k][m]


def pad(rng, table):
    i, j = cell_of(rng, table)
    table[i][j] = f" {table[i][j]}  "


def insert(*cells):
    """A mutation: a line of these cells comes somewhere in between, and then a row's own cells from there on."""

    def mutate(rng, table):
        i = int(rng.integers(2, len(table)))
        table.insert(i, [*cells, *table[i][len(cells) :]])

    return mutate


def replicate(rng, table):
    """A sample is assayed again, or written twice."""
    i, j = cell_of(rng, table, "DV", is_number)
    table.insert(i + 1, list(table[i]))
    table[i + 1][j] = str(table[i][j] if rng.random() < 0.3 else 1 + rng.integers(8))


def widen(rng, table):
    for row in table:
        row += ["", ""]


def is_number(cell):
    return cell != "."


SAME, REFUSED, EITHER = "same", "refused", "either"
MUTATIONS = {
    "columns swapped": (swap_columns, SAME),
    "a repeated header": (lambda rng, t: t.insert(int(rng.integers(2, len(t))), list(t[0])), SAME),
    "NA in place of a point": (put(None, "NA", "", " ", "nan", where=lambda c: c == "."), SAME),
    "spaces": (pad, SAME),
    "names in small letters": (lambda rng, t: t.__setitem__(0, [h.lower() for h in t[0]]), EITHER),
    "names swapped": (swap_names, EITHER),
    "text in a number": (put(None, "abc", "4.2 mg", "12h", "<0.1", "1_0", "4..2", "--3", "#", "NA?"), EITHER),
    "text in a response": (put("DV", "abc", "4.2 mg", "BLQ", "<0.1", "1_0", "4..2", where=is_number), REFUSED),
    "infinite": (put("DV", "inf", "-inf", "1e999", "Infinity", where=is_number), REFUSED),
    "a missing id": (put("ID", "", ".", "NA"), REFUSED),
    "another id": (put("ID", 101, 102, 205, 999, "x1", "007"), EITHER),
    "an id spelled otherwise": (put("ID", "101.0", "1.01e2", "0101", "101.", "+102", "2E2"), EITHER),
    "a remark after C": (insert("C"), SAME),
    "a remark after @": (insert("@ checked"), SAME),
    "a row of words": (insert("Mean"), REFUSED),
    "a replicate": (replicate, "changed"),
    "empty columns": (widen, SAME),
    "a thousand": (put("AMT", "1,000", where=is_number), EITHER),
    "a time before the first": (put("TIME", "-0.5", "-1e-9"), REFUSED),
    "below a limit that is 0": (put("CENS", 1, where=lambda cell: cell == "0"), EITHER),
    "a decimal comma": (put("DV", "4,25", where=is_number), EITHER),
    "rows shuffled": (shuffle_rows, EITHER),
    "two rows swapped": (swap_rows, EITHER),
    "a subject moved": (move_subject, "moved"),
    "a row doubled": (lambda rng, t: t.insert(i := int(rng.integers(1, len(t))), list(t[i])), EITHER),
    "a row lost": (lambda rng, t: t.pop(int(rng.integers(1, len(t)))), EITHER),
    "a negative dose": (put("AMT", -100, "-0.5", where=is_number), REFUSED),
    "a changed dose": (put("AMT", 50, "1e2", "0.5", 0, where=is_number), EITHER),
    "a wrong event": (put("EVID", 5, -1, 1.5, "dose", ""), REFUSED),
    "an event changed": (put("EVID", 0, 1, 2, 3, 4), EITHER),
    "a coded rate": (put("RATE", -1, -2, where=is_number), EITHER),
    "a rate of no meaning": (put("RATE", -3, "-0.5"), REFUSED),
    "a rate changed": (put("RATE", 10, "50.5", 0, -1), EITHER),
    "a time changed": (put("TIME", 0, 1, 2.5, -1, 400, ""), EITHER),
    "a clock among hours": (put("TIME", "08:30", "2024-03-01", "2024-03-01 08:30"), REFUSED),
    "doses to come": (put("ADDL", 1, 2, 3, -1, 1.5), EITHER),
    "an interval": (put("II", 0, 12, 6.5, ""), EITHER),
    "steady state": (put("SS", 0, 1, 2), EITHER),
    "missing or not": (put("MDV", 0, 1, 2, "."), EITHER),
    "censored": (put("CENS", -1, 0, 1, 2), EITHER),
    "a compartment": (put("CMT", 0, 1, 2, 3, 1.5, -1), EITHER),
    "a covariate": (put("WT", "", "71", "heavy", "NA", -5), EITHER),
    "an age": (put("AGE", "", 34, "young"), EITHER),
    "a truncated row": (lambda rng, t: t[int(rng.integers(1, len(t)))].pop(), REFUSED),
    "a shorter row": (lambda rng, t: t[int(rng.integers(1, len(t)))].__delitem__(slice(5, None)), REFUSED),
    "one separator more": (lambda rng, t: t[int(rng.integers(1, len(t)))].insert(3, ""), REFUSED),
    "a separator at the end": (lambda rng, t: t[int(rng.integers(1, len(t)))].append(""), REFUSED),
    "a shifted row": (shift, EITHER),
    "a column lost": (drop_column, EITHER),
    "a character": (noise, EITHER),
    "a cell copied": (copy_cell, EITHER),
}


SEEDS = range(10)
LAYOUTS = [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")]


def rendered(table, separator: str, decimal: str) -> str:
    """A file of these cells, with comments; every number of the file gets the decimal mark."""

    def cell(c: str) -> str:
        return c.replace(".", decimal) if re.fullmatch(r"\s*[+-]?(\d+\.\d*|\.\d+)([eE]\S+)?\s*", c) else c

    lines = [separator.join(cell(c) for c in row) for row in table]
    return "\n".join(["# written for a test", lines[0], *lines[1:6], "#" + lines[3], "", *lines[6:]]) + "\n"


@pytest.mark.parametrize("name", MUTATIONS)
def test_damaged_files_are_read_rightly_or_refused(name, tmp_path):
    mutate, verdict = MUTATIONS[name]
    read_at_all = 0
    for seed in SEEDS:
        rng = np.random.default_rng([seed, sum(map(ord, name))])
        table = [list(row) for row in GOOD_CELLS]
        mutate(rng, table)
        separator, decimal = LAYOUTS[seed % len(LAYOUTS)]
        text = rendered(table, separator, decimal)
        meant = [row for i, row in enumerate(table) if i == 0 or row != table[0]]
        if decimal == ",":
            meant = [[c.replace(",", ".") for c in row] for row in meant]
        try:
            expected = judge(meant)
        except Refused:
            expected = None
        except NotJudged:
            continue
        try:
            found = Population.read_csv(file(tmp_path, text), covariates=["WT", "AGE"])
        except ValueError as error:
            message = str(error)
            assert "\n" not in message and message.endswith((".", "?")), message
            assert re.search(r"[Ll]ine \d+|[Cc]olumn|Subject|Covariate|outcome", message), message
            assert verdict not in (SAME, "moved", "changed"), f"{message}\n{text}"
            continue
        assert verdict != REFUSED, text
        assert expected is not None, f"read, but the judge refuses:\n{text}"
        assert contents(found) == expected, text
        if verdict == SAME:
            assert contents(found) == judge(GOOD_CELLS)
        assert equal(Population.read_csv(written(tmp_path, found), covariates=["WT", "AGE"]), found)
        read_at_all += 1
    if verdict in (SAME, "moved", "changed"):
        assert read_at_all == len(SEEDS)


def written(tmp_path, population):
    path = tmp_path / "again.csv"
    population.to_csv(path)
    return path


def test_the_judge_and_the_reader_agree_on_the_good_file_and_there_are_hundreds_of_bad_ones(tmp_path):
    found = Population.read_csv(file(tmp_path, rendered(GOOD_CELLS, ",", ".")), covariates=["WT", "AGE"])
    assert contents(found) == judge(GOOD_CELLS)
    assert found.ids == (101, 102, 205) and found.n_doses == 6 and found.n_observations == 8
    assert len(MUTATIONS) * len(SEEDS) >= 400
