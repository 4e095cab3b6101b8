"""The teacher's page and cards keep their word: minutes add up, what they name exists, links lead somewhere, and the
explorers show what is said of them."""

import importlib
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest
from models import theophylline_model
from test_explorers_12 import patients as mixture_near_the_fit

import mefit as mf
from workshop import explorers
from workshop.studies import liver

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "workshop" / "INSTRUCTOR.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "workshop").glob("*.ipynb"))
CARDS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "workshop" / "cards").glob("*.md"))}
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def number_of(path: Path) -> str:
    return path.stem.split("_")[0]


def section(head: str) -> str:
    return re.search(rf"^## {head}.*?\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]


def without_links(text: str) -> str:
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)


def card(number: str) -> str:
    """A card, its links as plain words."""
    return without_links(CARDS[number])


def markdown(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def code(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")


@cache
def exercise_minutes() -> dict[str, int]:
    heads = [
        re.findall(r"^## (\d\d\.\d) .*\((\d+) min", markdown(p), re.M) for p in (ROOT / "solutions").glob("*.ipynb")
    ]
    return {number: int(minutes) for found in heads for number, minutes in found}


def named_exercises(text: str) -> list[str]:
    """The numbers in a text, `01.1 to 01.7` spelled out."""
    found = re.findall(r"\b(?:0\d|1[0-2])\.\d\b", text)
    for first, last in re.findall(r"(\d\d\.\d) to (\d\d\.\d)", text):
        found += [number for number in exercise_minutes() if first < number < last]
    return found


def timetables() -> list[tuple[int, list[tuple[int, int, str]]]]:
    """(minutes promised, rows of (start in minutes after midnight, minutes, what)) for every table."""
    promised = [
        int(text)
        for head in re.findall(r"^### .*\((.*) minutes\)$", section("Timetables"), re.M)
        for text in head.split(" and ")
    ]
    rows = [
        [
            (60 * int(hour) + int(minute), int(length), what)
            for hour, minute, length, what in re.findall(r"^\| (\d+):(\d\d) \| (\d+) \| (.*) \|$", table, re.M)
        ]
        for table in section("Timetables").split("| from | min | what |")[1:]
    ]
    return list(zip(promised, rows, strict=True))


@pytest.mark.parametrize(("promised", "rows"), timetables())
def test_a_timetable_adds_up(promised, rows):
    assert sum(length for _, length, _ in rows) == promised
    for (start, length, what), (following, _, _) in zip(rows, rows[1:], strict=False):
        assert start + length == following, f"after '{what}'"
    assert sum(length for _, length, what in rows if what in ("Break", "Lunch")) >= 25
    longest = 0
    for _, length, what in rows:
        longest = 0 if what in ("Break", "Lunch") else longest + length
        assert longest <= 135, f"no break before '{what}' ends"


def test_the_rows_of_a_timetable_have_the_time_they_need():
    for _, rows in timetables():
        for _, length, what in rows:
            if what.startswith("Exercise"):
                asked = named_exercises(what)
                assert asked and sum(exercise_minutes()[number] for number in asked) <= length, what
            if whole := re.fullmatch(r"Lesson (\d\d\w?)(?:, sections (\d) to (\d))?", what):
                parts = minutes_by_part(whole[1])
                if whole[2]:
                    parts = [(m, name) for m, name in parts if int(whole[2]) <= int(name[0]) <= int(whole[3])]
                assert sum(m for m, _ in parts) == length, what


def minutes_by_part(number: str) -> list[tuple[int, str]]:
    rows = card(number).split("| min | part | say |")[1].split("\n\n")[0]
    return [(int(m), name) for m, name in re.findall(r"^\| (\d+) \| (.*?) \|", rows, re.M)]


@lessons
def test_the_minutes_of_a_lesson_are_those_of_its_notebook(path):
    text, parts = markdown(path), minutes_by_part(number_of(path))
    assert sum(m for m, _ in parts) == int(re.search(r"\*\*(\d+) minutes\.\*\*", text)[1])
    heads = {name: int(m) for name, m in re.findall(r"^## (.+?) \*\((\d+) minutes\)\*$", text, re.M)}
    told = {name: m for m, name in parts if name in heads}
    assert told == heads
    assert all(re.search(rf"^## {re.escape(name)}", text, re.M) for _, name in parts)


@lessons
def test_every_explorer_of_a_lesson_is_moved_and_no_other(path):
    used = set(re.findall(r"explorers\.(\w+)\(", code(path)))
    assert set(re.findall(r"^\| `(\w+)`", card(number_of(path)), re.M)) == used
    picture = re.search(r"\*\*One picture only\?\*\* `(\w+)`", card(number_of(path)))
    assert picture[1] in used if picture else not used


def test_there_is_a_card_for_every_lesson_and_for_nothing_else():
    assert list(CARDS) == [number_of(path) for path in LESSONS]
    parts = ("The point.", "One picture only?", "On the board.", "Wrong answers.", "Late?", "To grade.")
    for number in CARDS:
        assert [part for part in parts if f"**{part}**" not in CARDS[number]] == []


def test_the_table_of_cards_has_the_minutes_of_lessons_and_exercises():
    rows = re.findall(r"^\| \[(\d\db?) (.*?)\]\(cards/(\d\db?)\.md\) \| (\d+) \|(.*)\|$", section("Cards"), re.M)
    assert [number for number, *_ in rows] == list(CARDS)
    for number, title, linked, minutes, exercises in rows:
        assert linked == number and CARDS[number].startswith(f"# {number} · {title}\n")
        assert int(minutes) == sum(length for length, _ in minutes_by_part(number))
        assert f", {minutes} minutes" in CARDS[number]
        asked = [length for name, length in exercise_minutes().items() if name.startswith(number)]
        assert int(exercises.strip() or 0) == sum(asked)


def places(path: Path) -> set[str]:
    """The names under which JupyterLab finds the headings of a notebook."""
    heads = re.findall(r"^#+ (.+)$", markdown(path), re.M)
    return {re.sub(r"[*`]", "", head).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("number", CARDS)
def test_the_links_of_a_card_lead_to_headings_that_exist(number):
    found = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", CARDS[number])
    assert len(found) >= 4
    for file, place in found:
        path = (ROOT / "workshop" / "cards" / file).resolve()
        assert path.is_file(), file
        assert not place or unquote(place) in places(path), place


@pytest.mark.parametrize("minutes", [5, 20, 45])
def test_a_guest_lecture_adds_up_and_shows_what_the_cards_say(minutes):
    part = re.search(rf"^### In {minutes} minutes\n(.*?)(?=^### |\Z)", section("A guest lecture"), re.M | re.S)[1]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", part, re.M)
    assert sum(int(length) for length, _ in rows) == minutes
    quoted = {name: [quote for _, one, _, quote in SHOWN if one == name] for _, name, _, _ in SHOWN}
    for _, what in rows:
        for name in re.findall(r"`(\w+)`", what):
            assert name in explorers.__all__
            read = re.sub(r"[τωc](?: =| from) [\d.]+(?: to [\d.]+)?", "", what)  # where to move is no number to be seen
            numbers = re.findall(r"-?\d+\.\d\d|\d+(?:\.\d)?%", read)
            assert all(any(number in quote for quote in quoted[name]) for number in numbers), what


def test_every_exercise_that_is_named_exists():
    for text in (PAGE, *CARDS.values()):
        assert set(named_exercises(text)) <= set(exercise_minutes())


CASE = "subject 5, one at 2 h"
SHOWN = [  # an explorer, its controls, what it then says and what the page quotes
    ("00", "welcome", {"omega": 0.3, "sigma": 0.0, "subjects": 8}, "all is between subjects"),
    ("00", "welcome", {"omega": 0.0, "sigma": 1.0, "subjects": 8}, "none is between subjects"),
    ("00", "welcome", {"omega": 0.3, "sigma": 2.0, "subjects": 8}, "40% is between subjects"),
    ("01", "pooling", {"factor": 1.0}, "ka 13%, cl 10%, v 13%"),
    ("01", "pooling", {"factor": 0.1}, "ka 83%, cl 91%, v 90%"),
    ("01", "pooling", {"factor": 3.0}, "ka 3%, cl 1%, v 2%"),
    ("02", "three_patients", {"omega": 1.1}, "Patient 1 ranks first by the peak"),
    ("02", "three_patients", {"omega": 1.1}, "patient 3 by the area (marginal: 3, 1, 2)"),
    ("02", "three_patients", {"omega": 0.2}, "prior pulls the modes 69%, 20%, 95% of the way to 0"),
    ("02", "three_patients", {"omega": 5.0}, "0%, 0%, 3%"),
    ("02", "eight_schools", {"tau": 5.0}, "-29.99"),
    ("02", "eight_schools", {"tau": 5.0}, "chools keep 7.2 to 24% of their distance"),
    ("02", "eight_schools", {"tau": 10.0}, "-30.89"),
    ("02", "eight_schools", {"tau": 10.0}, "24 to 55%"),
    ("02", "eight_schools", {"tau": 0.01}, "entred joint log density"),
    ("02", "eight_schools", {"tau": 0.01}, "-0.18"),
    ("02", "eight_schools", {"tau": 0.01}, "-29.67"),
    ("02", "eight_schools", {"tau": 0.1, "form": "non-centred"}, "climbing towards τ = ∞, no pooling"),
    ("02", "eight_schools", {"tau": 5.0, "c": 1.3}, "the boundary"),
    ("02", "eight_schools", {"tau": 5.0, "c": 1.4}, "τ = 4.14"),
    ("02", "eight_schools", {"tau": 5.0, "c": 2.7}, "τ = 14.15"),
    ("02", "eight_schools", {"tau": 5.0, "c": 2.7}, "22.09"),
    ("02", "sparse_theophylline", {"s": 0.1}, "26.94"),
    ("02", "sparse_theophylline", {"s": 10.0}, "-50.61"),
    ("02", "sparse_theophylline", {"s": 10.0}, "at s = 1.01"),
    ("02", "sparse_theophylline", {"s": 10.0, "form": "non-centred"}, "climbing towards s = ∞, everyone fitted alone"),
    ("03", "one_subject", {"method": "FO"}, "475%"),
    ("03", "one_subject", {"method": "FOCE"}, "161%"),
    ("03", "one_subject", {"method": "Laplace"}, "97.1%"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 1}, "-0.029"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 3}, "-0.021"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 9}, "-0.000"),
    ("03", "one_subject", {"method": "Monte Carlo"}, "±47.4%"),
    ("03", "one_subject", {"method": "importance sampling"}, "±3.8%"),
    ("03", "one_subject", {"method": "Laplace", "case": CASE}, "71.7%"),
    ("03", "one_subject", {"method": "Laplace", "case": CASE, "omega": 2.0}, "37%"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 3, "case": CASE, "omega": 2.0}, "41.1%"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 9, "case": CASE, "omega": 2.0}, "55.4%"),
    ("03", "one_subject", {"method": "AGQ", "nodes": 15, "case": CASE, "omega": 2.0}, "65.7%"),
    ("03", "draws_needed", {"d": 3, "s": 0.3, "draws": 1000}, "1,487 draws at best"),
    ("03", "draws_needed", {"d": 10, "s": 0.3, "draws": 1000}, "1.0e+06"),
    ("03", "draws_needed", {"d": 20, "s": 0.3, "draws": 1000}, "misses by -12.63 on average"),
    ("03", "sparse_binary", {"n": 5, "k": 0, "omega": 2.0}, "0.0755"),
    ("03", "sparse_binary", {"n": 50, "k": 0, "omega": 2.0}, "0.0913"),
    ("03", "sparse_binary", {"n": 20, "k": 0, "omega": 2.0}, "0.0892"),
    ("03", "sparse_binary", {"n": 20, "k": 10, "omega": 2.0}, "0.0078"),
    ("04", "em_by_hand", {}, "B = 0.667"),
    ("04", "em_by_hand", {}, "3.92 iterations per digit"),
    ("04", "em_by_hand", {"n": 30}, "0.835 iterations per digit"),
    ("04", "em_by_hand", {"n": 1, "ratio": 0.3}, "337 iterations per digit"),
    ("04", "em_by_hand", {"iterations": 60, "m_step": "its mode only"}, "goes to 0, because B is below 0.75"),
    ("04", "em_by_hand", {"n": 10, "iterations": 60, "m_step": "its mode only"}, "it stops at 88.9%"),
    ("04", "saem_step_by_step", {"iterations": 60}, "exploring, γ = 1"),
    ("04", "saem_step_by_step", {"iterations": 400}, "smoothing, γ = 1/200"),
    ("04", "saem_step_by_step", {"iterations": 400}, "88% of the proposals so far were accepted"),
    ("04", "saem_step_by_step", {"iterations": 400, "kernel": "prior"}, "5%"),
    ("05", "shrinkage", {"n": 2, "omega": 1.0, "sigma": 1.0}, "B = 0.6667"),
    ("05", "shrinkage", {"n": 2, "omega": 1.0, "sigma": 1.0}, "1 − B = 0.3333"),
    ("05", "shrinkage", {"n": 4, "omega": 0.5, "sigma": 1.0}, "1 − √B = 0.2929"),
    ("05", "shrinkage", {"n": 1, "omega": 0.5, "sigma": 1.0}, "0.5528"),
    ("05", "sampling_times", {"design": "one sample", "hour": 4.0}, "ka 95%, CL 64%, V 48%"),
    ("05", "sampling_times", {"design": "one sample", "hour": 24.0}, "CL 12%, V 67%"),
    ("05", "sampling_times", {"design": "6 samples", "hour": 4.0}, "ka 23%, CL 6%, V 17%"),
    ("05", "sampling_times", {"design": "one sample", "hour": 4.0, "show": "a posterior draw each"}, "CL 2%"),
    ("05", "vpc_by_hand", {}, "1 of the 24 percentiles of the data lies outside its band"),
    ("05", "vpc_by_hand", {"model": "absorption in one step"}, "10 of the 24"),
    ("05", "vpc_by_hand", {"model": "absorption in one step", "corrected": True}, "15 of the 24"),
    ("05", "vpc_by_hand", {"model": "kidneys ignored"}, "0 of the 24"),
    ("05", "vpc_by_hand", {"model": "kidneys ignored", "high": 55}, "11 of the 24"),
    ("05", "vpc_by_hand", {"model": "kidneys ignored", "low": 55}, "13 of the 24"),
    ("06", "regimen_builder", {}, "peak 5.04, trough 3.38, average 4.17 mg/L"),
    ("06", "regimen_builder", {}, "accumulation 2.6-fold"),
    ("06", "regimen_builder", {}, "62% stay within 3–8 mg/L"),
    ("06", "regimen_builder", {"dose": 200.0, "interval": 24}, "peak 6.23, trough 2.58, average 4.17 mg/L"),
    ("06", "regimen_builder", {"dose": 200.0, "interval": 24}, "23% stay within"),
    ("06", "regimen_builder", {"dose": 50.0, "interval": 6, "doses": 28}, "76% stay within"),
    ("06", "regimen_builder", {"loading": 2.6}, "90% of it at once"),
    ("06", "which_part_tells", {"cl": 0.5}, "AUC 33.3 to 66.7 mg·h/L"),
    ("06", "which_part_tells", {"v": 0.5}, "As before: AUC 33.3 mg·h/L"),
    ("06", "which_part_tells", {"cl": 2.0, "ka": 0.5}, "Flip-flop: ka = 0.15 /h is below CL/V = 0.2 /h"),
    ("06", "what_can_be_known", {}, "ka 86%"),
    ("06", "what_can_be_known", {}, "Cannot be known: ω of ka"),
    ("06", "what_can_be_known", {"t1": 0.5}, "ka 9.5%, ω of CL 12%, ω of V 27%, ω of ka 20%"),
    ("06", "what_can_be_known", {"t1": 0.5, "t4": 12.0}, "ω of V 47%"),
    ("06", "what_can_be_known", {"subjects": 400}, "ka 27%"),
    ("07", "prior_of_curves", {}, "a prior SD of 22 for every weight"),
    ("07", "prior_of_curves", {}, "0.265 at the 30 held out"),
    ("07", "prior_of_curves", {"strength": 0.1}, "0.114 from the truth"),
    ("07", "prior_of_curves", {"strength": 100.0}, "0.322 from the truth"),
    ("07", "prior_of_curves", {"strength": 0.001, "points": 40}, "0.127 from the truth"),
    ("10", "bound_and_gap", {}, "The bound lies 4.8 below log L"),
    ("10", "bound_and_gap", {"slope": 0.8341, "sd": 16.2911}, "there is no gap"),
    ("10", "bound_and_gap", {"slope": 0.8341, "sd": 16.2911, "omega": 27.88}, "The bound lies 0.6 below log L"),
    ("10", "bound_and_gap", {"slope": 0.0, "sd": 40.0}, "The bound lies 46.4 below log L"),
    ("10", "diagonal_or_full", {}, "the best of them still lacks 0.39, with SDs 32% too small"),
    ("10", "diagonal_or_full", {"zero": 2.0}, "the best of them is the posterior itself"),
    ("10", "dropout", {"strength": 0.0}, "last value carried on is off by -0.34"),
    ("10", "dropout", {"strength": 2.0}, "mean filled in is off by -0.83"),
    ("10", "dropout", {"strength": 2.0, "reason": "what nobody saw"}, "even the likelihood of observed cells is off"),
    ("10", "collapse", {"noise": 1.0}, "ith a diagonal q the intercepts sleep"),
    (
        "10",
        "collapse",
        {"noise": 1.0, "zero": "the middle"},
        "Both random effects are awake, and the diagonal q loses nothing",
    ),
    ("11", "one_more_sample", {}, "One more sample at 4 h narrows the clearance by 8%"),
    ("11", "one_more_sample", {}, "and at its best time it would by 55%"),
    ("11", "one_more_sample", {"hour": 24.0}, "at 24 h is worth as much as any"),
    ("11", "dose_and_loss", {}, "too little with a chance of 23%, too much with 23%"),
    ("11", "dose_and_loss", {}, "it is least, 0.80, at 72 mg"),
    ("11", "dose_and_loss", {"over": 1.0}, "The plug-in dose is 100 mg"),
    ("11", "batch_size", {"batch": 15}, "everything sleeps from 15 people on"),
    ("11", "batch_size", {"batch": 15}, "all patients get the same curve"),
    ("11", "batch_size", {"batch": 32, "kind": "averaged over the batch"}, "2 dimensions are awake"),
    ("12", "gate_by_hand", {}, "No better than one share for all"),
    ("12", "gate_by_hand", {"left": 0.96, "right": 0.15}, "Close to the best gate"),
    ("12", "gate_by_hand", {"left": 0.98, "right": 0.02}, "Worse than one share for all: too sure of itself"),
    ("12", "gate_by_hand", {"left": 0.1, "right": 0.9}, "A gate that says the opposite of the data"),
    ("12", "class_by_class", {}, "stays steady, with a chance of 83%"),
    ("12", "class_by_class", {"today": 0.1}, "rises, with a chance of 96%"),
    ("12", "class_by_class", {"today": 3.0}, "rises, with a chance of 87%"),
    ("12", "class_by_class", {"person": 32, "today": 3.0}, "this is a patient who stays steady"),
    ("12", "class_by_class", {"person": 32, "today": 3.2}, "rises, with near certainty"),
    ("12", "split_set", {"distance": 3.0}, "The smallest 95% set is one interval"),
    ("12", "split_set", {"distance": 5.0}, "has split in two, 15% shorter"),
    ("12", "calibrated", {}, "hold 68% of new people, less than they promise; calibrated they hold 92%"),
    ("12", "calibrated", {"sd": 1.6}, "hold 99% of new people, more than they promise"),
    ("12", "calibrated", {"people": 20}, "end between 78% and 98%"),
]
START = {
    "gate_by_hand": {"left": 0.5, "right": 0.5},
    "class_by_class": {"today": 0.0, "person": 15},
    "split_set": {"distance": 2.0, "share": 0.56, "level": 0.95},
    "calibrated": {"truth": "one normal", "sd": 0.6, "people": 50, "level": 0.9},
    "one_more_sample": {"hour": 4.0},
    "dose_and_loss": {"dose": 100.0},
    "batch_size": {"batch": 4},
    "one_subject": {"case": "subject 9, two samples", "omega": 0.66, "draws": 50, "nodes": 3},
    "em_by_hand": {"n": 2, "ratio": 1.0, "iterations": 8},
    "vpc_by_hand": {"model": "right", "low": 25, "high": 130, "corrected": False, "studies": 200},
    "regimen_builder": {"dose": 100.0, "interval": 12, "doses": 10, "loading": 1.0, "route": "infusion", "hours": 2},
    "which_part_tells": {"cl": 1.0, "v": 1.0, "ka": 1.0, "route": "oral"},
    "prior_of_curves": {"strength": 0.001, "units": 24, "points": 16, "activation": "tanh"},
    "bound_and_gap": {"omega": 40.0, "slope": 0.5, "sd": 22.0},
    "diagonal_or_full": {"sd1": 0.7, "sd2": 0.5, "rho": 0.0, "zero": 0.0, "sigma": 1.0},
    "what_can_be_known": {"t1": 4.0, "t2": 8.0, "t3": 12.0, "t4": 20.0, "subjects": 40, "error": 0.2},
}


@cache
def fitted_pooling():
    pooling = importlib.import_module("workshop.explorers.pooling")
    fit = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.Laplace(), progress=False)
    return pooling.prepare(fit)


@cache
def fitted_saem():
    """The fit of the lesson, and SAEM's start: every SD at 1."""
    saem = importlib.import_module("workshop.explorers.saem_step_by_step")
    near = theophylline_model()
    values = {"ka": 1.0, "cl": np.exp(-3.0), "v": np.exp(-1.0), "omega": np.eye(3), "sigma": 1.0}
    fit = mf.fit(near, mf.datasets.theophylline(), mf.AGQ(nodes=9), progress=False)
    return saem.prepare(fit, type(near)(**values))


@cache
def prepared_batches():
    """The theory alone, without trained networks."""
    return importlib.import_module("workshop.explorers.batch_size").prepare({})


def of_two_kinds(name, group):
    """The lesson's fit, to three digits, and its people: those fitted, or the new ones."""
    model, new = mixture_near_the_fit()
    people = new if group == "new" else liver.split()[0]
    return importlib.import_module(f"workshop.explorers.{name}").prepare(model, people)


@cache
def turned_gate():
    return of_two_kinds("gate_by_hand", "fitted")


@cache
def newcomers():
    return of_two_kinds("class_by_class", "new")


PREPARED = {"pooling": fitted_pooling, "saem_step_by_step": fitted_saem, "batch_size": prepared_batches}
PREPARED |= {"gate_by_hand": turned_gate, "class_by_class": newcomers}


@pytest.mark.parametrize(("lesson", "name", "move", "quote"), SHOWN)
def test_an_explorer_shows_what_the_page_says(lesson, name, move, quote):
    explorer = importlib.import_module(f"workshop.explorers.{name}")
    first = (PREPARED[name](),) if name in PREPARED else ()
    assert quote in explorer.say(explorer.compute(*first, **START.get(name, {}) | move))
    rows = [row for row in card(lesson).splitlines() if row.startswith(f"| `{name}`")]
    assert any(quote in row for row in rows)
