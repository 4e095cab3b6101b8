"""The engine of the checks: kinds of exercises, kinds of wrong answers, progress, and stubs made from solutions."""

import itertools
import json
import math
import re
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import nbformat
import numpy as np
import pytest

import mefit as mf
from workshop.checks.engine import Checker, Function, Judged, Mistake, Parts, StillOpen, Value, Verdict, Wrong

sys.path.insert(0, str(__import__("pathlib").Path(__file__).resolve().parents[2] / "tools"))

import make_exercises

SHARE = Value("The share", truth=0.8, mistakes=[Mistake(0.2, "This is the shrinkage.", hint=2)], praise="Well done.")
LINE = Function(
    "A line",
    truth=lambda a, b, x: a + b * x,
    inputs=lambda rng: (rng.normal(), rng.normal(), rng.normal(size=3)),
    mistakes=[Mistake(lambda a, b, x: b + a * x, "Intercept and slope are exchanged.", hint=3)],
)
LAZY = Value("Computed when asked", truth=lambda: np.array([1.0, 2.0, 5.0]))


def judge_text(answer):
    if answer == "dots":
        raise StillOpen
    if answer != "yes":
        raise Wrong("Say yes.", hint=3)


EXERCISES = {"07.1": SHARE, "07.2": LINE, "07.3": LAZY, "07.4": Judged("A word", judge_text)}


@pytest.fixture
def check(tmp_path):
    return Checker(lambda lesson: {"07": EXERCISES}[lesson], tmp_path / "progress.json")


@pytest.mark.parametrize(
    "number, answer",
    [
        ("07.1", 0.8),
        ("07.1", np.float64(0.8003)),
        ("07.1", np.array(0.8)),
        ("07.2", lambda a, b, x: b * x + a),
        ("07.3", [1, 2, 5]),
        ("07.4", "yes"),
    ],
)
def test_right(check, number, answer):
    verdict = check(number, answer)
    assert verdict and verdict.state == "done" and verdict.hint is None


@pytest.mark.parametrize(
    "number, answer, part, hint",
    [
        ("07.1", 0.2, "the shrinkage", 2),
        ("07.1", -0.8, "sign", 1),
        ("07.1", 0.64, "square of", 1),
        ("07.1", np.sqrt(0.8), "square root", 1),
        ("07.1", 80, "per cent", 1),
        ("07.1", 1.25, "one over", 1),
        ("07.1", np.log(0.8), "the logarithm of what", 1),
        ("07.1", 1.6, "twice", 1),
        ("07.1", 0.9, "too large", 1),
        ("07.1", 0.1, "too small", 1),
        ("07.1", [0.8, 0.8], "an array of 2 numbers", None),
        ("07.1", "0.8 or so", "cannot be read as numbers", None),
        ("07.1", float("nan"), "not finite", 1),
        ("07.1", None, "None", None),
        ("07.1", lambda: 0.8, "call it", None),
        ("07.2", lambda a, b, x: b + a * x, "exchanged", 3),
        ("07.2", lambda a, b, x: a + b * x + 1, "same amount", 2),
        ("07.2", lambda a, b, x: 3 * (a + b * x), "same factor", 2),
        ("07.2", lambda a, b, x: -(a + b * x), "sign", 1),
        ("07.2", lambda a, b, x: np.ones(3), "whatever goes in", 1),
        ("07.2", lambda a, b, x: a + b * x**2, "not give the right", 1),
        ("07.2", lambda a, b, x: None, "returns nothing", None),
        ("07.2", lambda a, b, x: 1.0, "an array of 3 numbers", 1),
        ("07.2", lambda a, b: a + b, "called with 3 arguments, stopped with TypeError", None),
        ("07.2", lambda a, b, x: a + b * x + missing, "NameError", None),  # noqa: F821
        ("07.2", lambda a, b, x: a + b * x + x[:2], ": arrays of shapes (3,) and (2,) do not go together", None),
        ("07.2", lambda a, b, x: a + b * x if x > 0 else a, ": `if`, `and` or `max` is given a whole array", None),
        ("07.2", lambda a, b, x: a + b * math.exp(x), "functions of math take numbers, those of np arrays.", None),
        ("07.2", lambda a, b, x: np.round(a + b * x, 2), "right, but rounded", None),
        ("07.2", lambda a, b, x: [float(f"{y:.3g}") for y in a + b * x], "right, but rounded", None),
        ("07.2", lambda a, b, x: (a + b * x) * (1 + 0.01 * np.sin(x)), "an approximation", 3),
        ("07.2", 5.0, "this is a number", None),
        ("07.2", np.float64(5.0), "this is a number", None),
        ("07.2", jnp.ones(3), "this is an array", None),
        ("07.3", [1, 2, 4], "1 of its 3 entries", 1),
        ("07.4", "no", "Say yes", 3),
    ],
)
def test_wrong_and_why(check, number, answer, part, hint):
    verdict = check(number, answer)
    assert not verdict and verdict.state == "wrong"
    assert part in verdict.reason and verdict.hint == hint
    assert (f"Hint {hint} below may help" in verdict.text) if hint else ("Hint" not in verdict.text)
    assert "\u2717" in verdict.text


@pytest.mark.parametrize("number, answer", [("07.1", ...), ("07.2", lambda a, b, x: ...), ("07.4", "dots")])
def test_open(check, number, answer):
    verdict = check(number, answer)
    assert not verdict and verdict.state == "open" and "still open" in verdict.text


def test_a_wide_tolerance_makes_no_factor_of_a_wrong_answer():
    counts = Function("A count", truth=lambda n: 10 * n, inputs=lambda rng: (rng.integers(1, 9),), atol=1.0, rtol=0.0)
    for wrong in (lambda n: 10 * n**2 + 3, lambda n: 0 * n):
        with pytest.raises(Wrong) as raised:
            counts.judge(wrong)
        assert "factor" not in raised.value.reason


@pytest.mark.parametrize("kind", [list, tuple, np.array, jnp.array])
def test_several_answers_may_come_as_an_array(kind):
    Parts("Two", [Value("one", truth=1.0), Value("two", truth=2.0)]).judge(kind([1.0, 2.0]))


def test_a_function_that_is_right_in_one_case_only(check):
    positive = Function("The size", truth=abs, inputs=lambda rng: (rng.normal() + 0.1,), trials=40)
    with pytest.raises(Wrong, match="of 40 random arguments only"):
        positive.judge(lambda x: x)


def test_the_line_that_failed_is_quoted(check):
    def line(a, b, x):
        scale = 1 / 0
        return scale * a

    assert "`scale = 1 / 0` with ZeroDivisionError" in check("07.2", line).reason


def test_no_verdict_tells_the_answer(check):
    for answer in (0.2, 0.1, 3.0, -0.8, ..., None):
        assert "0.8" not in check("07.1", answer).text


def test_a_worked_case_where_nobody_knows_the_slip(check):
    """The case can be worked out by hand from what is printed, and from the third time on says what comes out."""

    def squared(start, slope, x):
        return start + slope * x**2

    seen = [check("07.2", squared).case for _ in range(3)]
    for case in seen:
        start, slope = (float(re.search(rf"{name} = (\S+),", case)[1]) for name in ("start", "slope"))
        x = np.array([float(number) for number in re.search(r"x = \[(.*?)\]", case)[1].split(",")])
        gives, place, way = re.search(r"it gives (\S+) at index (\d), which is too (high|low)", case).groups()
        mine, right = squared(start, slope, x)[int(place)], (start + slope * x)[int(place)]
        assert float(gives) == pytest.approx(mine, rel=1e-3)
        assert way == ("high" if mine > right else "low")
    assert "should be" not in seen[0] + seen[1]
    assert float(re.search(r"It should be (\S+)\.$", seen[2])[1]) == pytest.approx(right, rel=1e-3)
    assert seen[2] in check("07.2", squared).text or "It should be" in check("07.2", squared).text


def test_no_worked_case_of_what_cannot_be_typed_or_of_a_slip_that_is_known(check):
    assert check("07.2", lambda a, b, x: b + a * x).case == ""
    long = Function("A sum", truth=np.sum, inputs=lambda rng: (rng.normal(size=40),))
    whole = Function("A name", truth=lambda word: len(word.name), inputs=lambda rng: (SimpleNamespace(name="ab"),))
    for exercise, answer in ((long, lambda x: np.sum(x**3)), (whole, lambda word: 3.7)):
        with pytest.raises(Wrong) as raised:
            exercise.judge(answer)
        assert raised.value.case is None


def test_none_where_there_is_no_number_is_told_from_a_forgotten_return():
    root = Function("A root", truth=lambda x: np.sqrt(x) if x > 0 else np.nan, inputs=lambda rng: (next(signs),))
    signs = itertools.cycle([2.0, -1.0, 5.0])
    with pytest.raises(Wrong, match=r"returns None where there is no such number: np\.nan"):
        root.judge(lambda x: np.sqrt(x) if x > 0 else None)


def test_a_rounded_number_is_told_from_a_wrong_one():
    third = Value("A third of two", truth=2 / 3, rtol=1e-4)
    for answer, part in ((0.67, "rounded"), (0.667, "rounded"), (0.66, "too small"), (0.7, "too large")):
        with pytest.raises(Wrong, match=part):
            third.judge(answer)


def test_what_is_asked_for_by_hand_does_not_come_from_the_library():
    by_hand = Function("f", truth=mf.log_joint, inputs=lambda rng: (1,), by_hand=["log_joint"])

    def inner(model, eta, subject):
        return [mf.log_joint(model, one, subject) for one in eta]

    def log_joint(model):
        return model

    for answer in (mf.log_joint, lambda m, e, x: mf.log_joint(m, e, x), inner):
        with pytest.raises(Wrong, match=r"mf\.log_joint of the library"):
            by_hand.judge(answer)
    Function("f", truth=lambda m: m, inputs=lambda rng: (1,), by_hand=["log_joint"]).judge(lambda m: log_joint(m))


def test_progress_stays_on_this_computer_in_one_file(check, tmp_path):
    assert repr(check.progress("07")) == "Lesson 07: 0 of 4 done   \u25cb 07.1  \u25cb 07.2  \u25cb 07.3  \u25cb 07.4"
    check("07.1", 0.8)
    assert "(1 of 4 done)" in check("07.2", lambda a, b, x: a).text
    assert repr(check.progress("07")).endswith("\u2713 07.1  \u2717 07.2  \u25cb 07.3  \u25cb 07.4")
    check("07.1", ...)  # an untouched notebook run again takes nothing away
    assert json.loads((tmp_path / "progress.json").read_text()) == {"07": {"07.1": "done", "07.2": "wrong"}}
    assert not check("07.1", 0.1)  # done stays done, whatever is tried afterwards
    assert "1 of 4" in repr(check.progress("07"))
    check.forget("07")
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    assert check.progress("07").states == dict.fromkeys(EXERCISES, "open")


def test_a_damaged_or_forbidden_file_of_progress_does_not_matter(tmp_path):
    (tmp_path / "progress.json").write_text("not JSON")
    assert Checker(lambda _: EXERCISES, tmp_path / "progress.json")("07.1", 0.8)
    assert Checker(lambda _: EXERCISES, tmp_path / "no such folder" / "progress.json")("07.1", 0.8)
    unkept = Checker(lambda _: EXERCISES, None)
    for number, answer in (("07.1", 0.8), ("07.2", lambda a, b, x: a + b * x), ("07.3", [1, 2, 5])):
        assert unkept(number, answer) and not unkept.progress("07").finished
    assert unkept("07.4", "yes") and unkept.progress("07").finished


def test_progress_over_all_lessons(check):
    every = Checker(check._exercises, check._done.file, ["07"])
    every("07.1", 0.8)
    overview = every.progress()
    assert repr(overview) == repr(every.progress("07"))
    assert not overview.finished
    assert "Lesson 07: 1 of 4 done" in overview._repr_html_()


@pytest.mark.parametrize(("success", "said"), [(True, False), (False, True)])
def test_there_is_no_verdict_after_a_cell_that_failed(success, said, check, monkeypatch):
    shell = SimpleNamespace(last_execution_result=SimpleNamespace(success=success))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    right = check("07.1", 0.8)
    wrong = check("07.1", 0.2)
    assert (right.state == "open", "stopped with an error" in right.reason) == (said, said)
    assert (wrong.state == "open", "stopped with an error" in wrong.reason) == (said, said)
    assert "stopped with an error" not in check("07.1", ...).reason
    assert (check.progress("07").done == 0) == said


def test_a_title_that_asks_has_one_mark_at_its_end():
    text = Verdict("02.6", "When is there a joint mode at all?", "done", "").text
    assert "at all? Right." in text and "?:" not in text


def test_unknown_numbers_are_refused(check):
    with pytest.raises(ValueError, match=r"no exercise '07.9'; lesson 07 has 07.1, 07.2"):
        check("07.9", 1)
    from workshop.checks import check as real

    with pytest.raises(ValueError, match=r"no exercises of lesson '99': choose from 01"):
        real("99.1", 1)


def test_a_verdict_in_a_notebook():
    page = Verdict("07.1", "a < b", "wrong", "x > y", 2, "(0 of 4 done)")._repr_html_()
    assert 'role="status"' in page and "a &lt; b" in page and "Hint 2" in page
    assert "<b " in page and page.index("not yet") < page.index("</b>") < page.index("x &gt; y")


def test_a_right_answer_says_where_to_go_on(check):
    assert check("07.1", 0.8).text.endswith("(1 of 4 done) \u2192 07.2")
    assert "\u2192" not in check("07.2", 5.0).text


# ------------------------------------------------------------------------------------ stubs from solutions


def test_stubs():
    code = """\
def f(x):
    \"\"\"Doc.\"\"\"
    y = 2
    ### BEGIN SOLUTION
    z = x * y
    return z
    ### END SOLUTION

### BEGIN SOLUTION
a, b = 1, 2
c = a + b
### END SOLUTION
### BEGIN SOLUTION
# stub: answer = ...  # the SD
answer = 3
### END SOLUTION
print(answer)"""
    assert make_exercises.without_solution(code, "here").splitlines() == [
        "def f(x):",
        '    """Doc."""',
        "    y = 2",
        "    return ...  # your answer",
        "",
        "a = ...  # your answer",
        "b = ...  # your answer",
        "c = ...  # your answer",
        "answer = ...  # the SD",
        "print(answer)",
    ]


@pytest.mark.parametrize(
    "code", ["### END SOLUTION", "### BEGIN SOLUTION\nx = 1", "### BEGIN SOLUTION\n### BEGIN SOLUTION"]
)
def test_marks_that_do_not_pair_are_refused(code):
    with pytest.raises(ValueError, match=r"cell 3: "):
        make_exercises.without_solution(code, "cell 3")


def test_an_exercise_keeps_ids_and_drops_solution_cells_and_outputs():
    new = nbformat.v4
    kept = new.new_code_cell("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", id="one")
    kept.outputs, kept.execution_count = [new.new_output("stream", text="1")], 7
    solution = new.new_notebook(cells=[kept, new.new_markdown_cell("why", id="two", metadata={"tags": ["solution"]})])
    made = make_exercises.exercise(solution, "here")
    assert [(cell.id, cell.source) for cell in made.cells] == [("one", "x = ...  # your answer")]
    assert made.cells[0].outputs == [] and made.cells[0].execution_count is None
    assert solution.cells[0].execution_count == 7  # the source is not touched
    assert make_exercises.text_of(made) == make_exercises.text_of(make_exercises.exercise(solution, "here"))
