"""The teacher's papers and the overview of a class: what is asked is all there, no answer stands where none belongs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from workshop.checks import handed_in
from workshop.predictions.questions import Choice, Crosses, Number
from workshop.room import overview, questions

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import class_pack  # noqa: E402
import class_slides  # noqa: E402

ASKED = {
    "01": {
        "most": Choice("Which one?", ("red & green", "blue"), "blue", then="It is the sky."),
        "how many": Number("How many?", 37.0, 1.0, 0, 100, "mg/L"),
    },
    "02": {"where": Crosses("Where?", ("a", "b"), ("p", "q", "r"), ("x..", "..x"))},
    "03": {},
}
TITLES = {"01": "01 · One", "02": "02 · Two", "03": "03 · Three"}
EXERCISES = {"01": ["01.1", "01.2"], "02": ["02.1"]}


def learner(folder: Path, name: str, exercises: dict, predictions: dict) -> Path:
    """A copy of the kit that somebody has worked in."""
    copy = folder / name
    copy.mkdir(parents=True)
    (copy / ".progress.json").write_text(json.dumps(exercises))
    (copy / ".predictions.json").write_text(json.dumps(predictions))
    return copy


@pytest.fixture
def class_(tmp_path):
    learner(tmp_path, "anna", {"01": {"01.1": "done", "01.2": "wrong"}}, {"01": {"most": "blue", "how many": 36.5}})
    learner(tmp_path, "ben", {"01": {"01.1": "done"}}, {"01": {"most": "red & green", "gone": 3}})
    return tmp_path


def test_a_sheet_has_every_question_and_no_answer():
    page = questions.sheet(ASKED, TITLES)
    for asked in ("Which one?", "How many?", "Where?", "red &amp; green", "mg/L", "01 · One", "02 · Two"):
        assert asked in page
    for answer in ("37", "sky", "×", "03 · Three", 'class="answer"'):
        assert answer not in page


def test_the_answers_are_on_a_page_of_their_own():
    page = questions.answers(ASKED, TITLES)
    assert '<p class="answer">blue</p><p>It is the sky.</p>' in page
    assert "37 mg/L" in page
    rows = re.findall(r"<tr><th>([ab])</th>(.*?)</tr>", page)
    assert [(row, re.findall("<td>(.?)</td>", boxes)) for row, boxes in rows] == [
        ("a", ["×", "", ""]),
        ("b", ["", "", "×"]),
    ]


def test_a_poll_has_the_letter_of_the_right_option():
    (row,) = questions.polls(ASKED).to_dict("records")
    assert row == {"lesson": "01", "question": "Which one?", "A": "red & green", "B": "blue", "right": "B"}


def test_a_class_in_numbers(class_):
    people = overview.learners([class_])
    table = overview.by_learner(people, EXERCISES, ASKED)
    assert table.to_dict("index") == {
        "anna": {"01 done": "1/2", "01 right": "2/2"},
        "ben": {"01 done": "1/2", "01 right": "0/1"},
    }
    tasks = overview.by_task(people, EXERCISES, ASKED)
    assert tasks.to_dict("index") == {
        "exercise 01.2": {"right": 0, "wrong": 1},
        "01: Which one?": {"right": 1, "wrong": 1},
        "exercise 01.1": {"right": 2, "wrong": 0},
        "01: How many?": {"right": 1, "wrong": 0},
    }
    assert tasks.index[0] == "exercise 01.2" and tasks.index[1] == "01: Which one?"
    assert "01: Which one?" in overview.page({"Tasks": tasks})


def test_a_file_that_is_handed_in_says_the_same_as_the_copy(class_, tmp_path_factory):
    inbox = tmp_path_factory.mktemp("inbox")
    file = handed_in.write("Änne B.", class_ / "anna", inbox)
    assert file.name == "Änne_B.mefit.json"
    (told,) = overview.learners([file])
    assert (told.name, told.exercises) == ("Änne B.", {"01": {"01.1": "done", "01.2": "wrong"}})
    assert overview.learners([inbox]) == [told]


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ValueError, match="Nobody is found"):
        overview.learners([tmp_path])
    with pytest.raises(ValueError, match="no file and no folder"):
        overview.learners([tmp_path / "nowhere"])
    (tmp_path / "x.mefit.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"x.mefit.json is not what check.hand_in writes"):
        overview.learners([tmp_path])
    with pytest.raises(ValueError, match="letters or digits"):
        handed_in.write(" . ", tmp_path, tmp_path)


def test_a_prediction_that_was_asked_otherwise_is_passed_over(tmp_path):
    learner(tmp_path, "old", {}, {"01": {"most": "yellow", "how many": 37}})
    (row,) = overview.by_learner(overview.learners([tmp_path]), EXERCISES, ASKED).to_dict("records")
    assert row == {"01 right": "1/1"}


@pytest.mark.slow
def test_the_papers_of_the_kit_are_made():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "class_pack.py"), "--html"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = ROOT / "build" / "class"
    sheet = (made / "predictions.html").read_text(encoding="utf-8")
    lessons = sorted((ROOT / "workshop" / "predictions").glob("lesson_*.py"))
    assert sheet.count("<section>") == len(lessons) >= 13
    assert "http" not in sheet
    polls = (made / "polls.csv").read_text(encoding="utf-8").splitlines()
    assert len(polls) > 30


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_slides_have_every_picture_below_its_heading():
    new = nbformat.v4
    drawn = {"text/html": f'<img alt="a &lt; b" src="data:image/png;base64,{PIXEL}">', "image/png": PIXEL}
    shown = [new.new_output("display_data", data=drawn), new.new_output("stream", text="x")]
    lesson = new.new_notebook(
        cells=[
            new.new_markdown_cell("# 07 · Title\n\n## First *(6 minutes)*"),
            new.new_code_cell("a", outputs=shown),
            new.new_markdown_cell("## Second"),
            new.new_code_cell("b", outputs=[new.new_output("display_data", data={"image/png": PIXEL})]),
        ]
    )
    slides = class_slides.slides_of(lesson)
    assert [(slide.heading, slide.alt) for slide in slides] == [("First", "a < b"), ("Second", "")]
    assert all(slide.picture == f"data:image/png;base64,{PIXEL}" for slide in slides)
    page = class_slides.deck("07 · Title", slides)
    assert page.count("<section>") == 3 and page.count("<img") == 2 and 'alt="a &lt; b"' in page


def test_answers_of_exercises_are_open_on_their_page(tmp_path):
    site = tmp_path / "site" / "exercises"
    site.mkdir(parents=True)
    (site / "02_exercises.html").write_text(
        "<head></head><details><summary>A</summary></details><details open></details>"
    )
    (page,) = class_pack.exercises(tmp_path, site.parent)
    text = page.read_text(encoding="utf-8")
    assert text.count("<details open>") == 2 and f'<base href="{site.as_uri()}/">' in text


@pytest.mark.browser
@pytest.mark.skipif(not class_slides.chromium(), reason="There is no Chromium on this computer.")
def test_a_page_is_printed_and_a_failure_is_told(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(class_slides.deck("A title", [class_slides.Slide("One", f"data:image/png;base64,{PIXEL}", "dot")]))
    content = class_slides.printed(page, class_slides.chromium()).read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) == 2
    with pytest.raises(RuntimeError, match="did not print page.html"):
        class_slides.printed(page, sys.executable)
