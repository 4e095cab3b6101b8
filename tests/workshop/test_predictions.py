"""Predictions: what is right and what is not, that they are locked and kept, and that each is asked once, in its
lesson."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, display
from IPython.utils.capture import capture_output

from mefit import style
from workshop.explorers.scene import Axis, Panel
from workshop.predictions import questions
from workshop.predictions.asked import Asked
from workshop.predictions.kept import Kept, store
from workshop.predictions.questions import Choice, Crosses, Curve, Number
from workshop.predictions.review import Review
from workshop.predictions.waiting import folded

ROOT = Path(__file__).resolve().parents[2]
LESSONS = {path.stem.split("_")[0]: path for path in sorted((ROOT / "workshop").glob("*.ipynb"))}
ALL = [(lesson, name) for lesson in LESSONS for name in questions(lesson)]

HALF = Number("A half?", 0.5, 0.05, 0, 2, "mg")
FACTOR = Number("Ten?", 10.0, 1.5, 1, 1000, log=True)
COLOUR = Choice("Which?", ("red", "green"), "green")
LINE = Curve("Draw.", Panel(Axis(0, 1), Axis(0, 10)), [0.0, 0.5, 1.0], {"line": [0.0, 5.0, 10.0]}, within=0.1)
BOXES = Crosses("Tick.", ("a", "b"), ("1", "2", "3", "4", "5"), ("x....", "..x.."))


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "predictions.json")


# ------------------------------------------------------------------------------------ right, and not


@pytest.mark.parametrize(
    ("question", "given", "right", "said"),
    [
        (HALF, 0.55, True, "0.55 mg"),
        (HALF, 0.44, False, "0.44 mg"),
        (FACTOR, 15.0, True, "15"),
        (FACTOR, 6.0, False, "6"),
        (COLOUR, "green", True, "green"),
        (COLOUR, "red", False, "red"),
        (LINE, [[1.0, 5.0, 9.0]], True, "7% of the height away"),
        (LINE, [[2.0, 5.0, 8.0]], False, "13% of the height away"),
        (BOXES, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], True, "9 of 10 boxes right"),
        (BOXES, [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], False, "8 of 10 boxes right"),
    ],
)
def test_a_verdict(question, given, right, said):
    verdict = question.judge(question.read(given))
    assert verdict.right is right and said in verdict.said


@pytest.mark.parametrize(
    ("question", "given", "sentence"),
    [
        (HALF, 3.0, "from 0 to 2"),
        (HALF, None, "from 0 to 2"),
        (HALF, True, "from 0 to 2"),
        (COLOUR, "blue", "red, green"),
        (LINE, [[1.0, None, 2.0]], "left end to the right end"),
        (LINE, [[1.0, 2.0]], "left end to the right end"),
        (BOXES, [[1, 0]], "each box"),
    ],
)
def test_what_is_no_answer_is_refused(question, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        question.read(given)


def test_a_hand_that_leaves_the_axes_is_put_back_onto_them():
    assert LINE.read([[-3.0, 5.0, 12.0]]) == [[0.0, 5.0, 10.0]]


# ------------------------------------------------------------------------------------ locked, and kept


def test_nothing_is_revealed_or_counted_without_a_hand(kept):
    asked = Asked("99", "half", HALF, kept)
    asked.give(0.5)
    assert asked.verdict is None and asked.text == "" and kept.of("99") == {}
    assert Review({"half": HALF}, kept.of("99")).text.startswith("Your 1 predictions are all still open")


def test_reveal_locks_and_keeps(kept, tmp_path):
    asked = Asked("99", "half", HALF, kept)
    asked.give(1.0)
    asked.reveal()
    assert not asked.verdict.right and "0.5 mg" in asked.text
    asked.give(0.5)
    asked.reveal()
    assert asked.given == 1.0
    another_day = Asked("99", "half", HALF, Kept(tmp_path / "predictions.json"))
    assert another_day.revealed and another_day.given == 1.0 and another_day.text == asked.text


def test_what_was_revealed_is_never_overwritten(kept):
    kept.keep("99", "half", 1.0)
    kept.keep("99", "half", 0.5)
    assert kept.of("99") == {"half": 1.0}
    kept.forget("99")
    assert kept.of("99") == {}


def test_a_damaged_file_and_a_folder_that_cannot_be_written_do_no_harm(tmp_path):
    (tmp_path / "damaged.json").write_text("not JSON")
    for file in (tmp_path / "damaged.json", tmp_path / "no such folder" / "kept.json", None):
        kept = Kept(file)
        kept.keep("99", "half", 1.0)
        assert kept.of("99") == {"half": 1.0}


def test_where_predictions_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("MEFIT_PROGRESS", raising=False)
    assert store() == ROOT / ".predictions.json"
    monkeypatch.setenv("MEFIT_PROGRESS", str(tmp_path / "progress.json"))
    assert store() == tmp_path / ".predictions.json"
    monkeypatch.setenv("MEFIT_PROGRESS", "")
    assert store() is None


def test_a_hand_on_the_page_is_answered(kept):
    asked = Asked("99", "half", HALF, kept)
    asked.view._answer(None, {"kind": "reveal", "value": 7.0}, None)
    told = json.loads(asked.view.shown)
    assert not told["revealed"] and "from 0 to 2" in told["error"]
    asked.view._answer(None, {"kind": "reveal", "value": 0.52}, None)
    told = json.loads(asked.view.shown)
    assert told["revealed"] and told["right"] and not told["error"]
    assert {mark["id"] for mark in told["scene"]["marks"]} == {"you", "truth"}


@pytest.mark.parametrize("question", [HALF, LINE, BOXES, COLOUR])
def test_the_truth_is_nowhere_in_an_open_page(kept, question):
    asked = Asked("99", "one", question, kept)
    page = json.loads(asked.view.shown) | asked.view.setup
    assert page["truth"] is None and page["right"] is None and page["say"] == ""
    marks = (page["scene"] or {"marks": []})["marks"]
    assert not any(mark["cls"] == "truth" for mark in marks)
    assert "within" not in asked.view.setup


def test_the_page_at_rest_says_what_came_of_it(kept):
    asked = Asked("99", "line", LINE, kept)
    assert "Still open" in asked._repr_mimebundle_()[0]["text/html"]
    asked.give([[0.0, 5.0, 10.0]])
    asked.reveal()
    page = asked._repr_mimebundle_()[0]["text/html"]
    assert "✓ Right." in page and "<img" in page and "data:image/png" in page


def test_the_list_at_the_end(kept):
    asked = {"half": HALF, "colour": COLOUR, "line": LINE}
    kept.keep("99", "half", 0.5)
    kept.keep("99", "colour", "red")
    review = Review(asked, kept.of("99"))
    assert review.text == "You were right in 1 of 2. Still open: 1."
    assert [row[0] for row in review.rows] == [True, False, None]
    page = review._repr_html_()
    assert page.count("<tr>") == 4 and "still open" in page and "green" in page


@pytest.fixture
def shell(tmp_path):
    """What catches displays in a notebook."""
    yield InteractiveShell.instance(ipython_dir=str(tmp_path))
    InteractiveShell.clear_instance()


@pytest.mark.usefixtures("shell")
def test_results_wait_until_their_question_is_revealed():
    with capture_output() as shown, folded("99-half", is_open=False):
        print("sigma < 1")
        display(HTML("<b>table</b>"))
        picture = style.figure(100, 60)
        picture.alt = "A line < 1."
        display(picture)
    (output,) = shown.outputs
    page = output.data["text/html"]
    assert page.startswith('<details class="mefit-waits" data-place="99-half">')
    assert "sigma &lt; 1" in page and "<b>table</b>" in page and shown.stdout == ""
    assert '<img alt="A line &lt; 1."' in page
    with capture_output() as shown, folded("99-half", is_open=True):
        print("sigma < 1")
        display(HTML("<b>table</b>"))
    assert shown.stdout == "sigma < 1\n" and shown.outputs[0].data["text/html"] == "<b>table</b>"


# ------------------------------------------------------------------------------------ the lessons' own


@pytest.mark.parametrize(("lesson", "name"), ALL)
def test_a_question_of_a_lesson_has_one_right_answer(lesson, name):
    question = questions(lesson)[name]
    assert question.asks[-1] in ".?" and question.asks[0].isupper()
    if isinstance(question, Number):
        assert question.low < question.truth < question.high and question.judge(question.truth).right
        assert not question.judge(question.low).right and not question.judge(question.high).right
    elif isinstance(question, Choice):
        right = [option for option in question.options if question.judge(option).right]
        assert right == [question.truth] and len(set(question.options)) > 1
    elif isinstance(question, Curve):
        rows = [list(values) for values in question.truth.values()]
        low, high = question.panel.y.low, question.panel.y.high
        assert question.judge(question.read(rows)).right
        assert all(low <= value <= high for row in rows for value in row), "the truth leaves the axes"
        for level in (low, high, (low + high) / 2):
            assert not question.judge(np.full(np.shape(rows), level).tolist()).right
    else:
        assert question.judge(question.details()).right and not question.judge(question.nothing()).right
        assert [len(row) for row in question.truth] == [len(question.columns)] * len(question.rows)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_asks_each_of_its_questions_once_and_counts_them_at_its_end(lesson):
    cells = [cell.source for cell in nbformat.read(LESSONS[lesson], as_version=4).cells if cell.cell_type == "code"]
    found = re.findall(r'^predict\("(\w+)", "(.+)"\)$', "\n".join(cells), re.MULTILINE)
    assert found == [(lesson, name) for name in questions(lesson)]
    for place, name in re.findall(r'waiting\("(\w+)", "(.+)"\)', "\n".join(cells)):
        assert place == lesson and name in questions(lesson)
    if lesson != "00":
        assert [cell for cell in cells if "my_predictions(" in cell] == [f'my_predictions("{lesson}")']
