"""The stage: scenes as data, what is refused, the messages between browser and Python, and the picture at rest."""

import ast
import json
import re
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mefit import style
from workshop import explorers
from workshop.explorers.controls import ANSWER, Choice, Refused, Slider, Switch
from workshop.explorers.scene import (
    MEANINGS,
    Axis,
    Band,
    Dots,
    Drag,
    Heat,
    Line,
    Panel,
    Rule,
    Scene,
    Span,
    Text,
    numbers,
)
from workshop.explorers.stage import Stage, control_data, look
from workshop.explorers.still import still

GRID = np.linspace(0.0, 1.0, 5)


def panel(**options):
    return {"p": Panel(Axis(0.0, 1.0, "x"), Axis(0.0, 10.0, "y"), **options)}


def small(compute=None, scene=None, say=None, **options):
    def default(x=1.0, n=2, **_):
        if x > 5:
            raise Refused(f"x is {x:g}: give 5 or less.")
        if n > 8:
            raise KeyError("a slip of the pen")
        return x * n

    def drawn(result):
        marks = [Line("p", "line", "population", GRID, GRID * result), Dots("p", "dot", "data", 0.5, 0.5 * result)]
        return Scene({"p": Panel(Axis(0, 1), Axis(0, 90))}, marks)

    controls = {
        "x": Slider("Width", 0.1, 10.0, 1.0, unit="m", log=True),
        "n": Slider("Count", 1, 9, 2, 1, play=True),
        "how": Choice("How", ("plain", "fancy"), "plain"),
        "on": Switch("On", True),
    }
    told = say or (lambda result: f"x n = {result:g}\nIts half is {result / 2:g}.")
    return Stage(compute or default, scene or drawn, told, controls, alt="A line.", layout=["p"], **options)


def shown(explorer):
    return json.loads(explorer.view.shown)


def by_hand(explorer, turn=1, **values):
    """What the browser sends when a hand moves controls."""
    message = {"kind": "move", "who": "a view", "turn": turn, "values": explorer.values | values}
    explorer.view._answer(explorer.view, message, [])


# What every explorer keeps to


def elsewhere(control):
    """A value the control is not at."""
    if isinstance(control, Slider):
        return [end for end in (control.low, control.high) if end != control.value]
    if isinstance(control, Switch):
        return [not control.value]
    return [option for option in control.options if option != control.value]


def test_every_explorer_has_its_three_functions():
    folder = Path(explorers.__file__).parent
    for name in set(explorers.__all__) - {"Refused"}:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {"compute", "scene", "say"} <= functions, name


def test_explorers_refuse_by_the_name_of_it():
    for file in Path(explorers.__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name == "compute":
                raised = [ast.unparse(node.exc) for node in ast.walk(function) if isinstance(node, ast.Raise)]
                assert all(text.startswith("Refused(") for text in raised), file.name


def test_the_switch_that_shows_the_answer_is_one_for_all():
    folder = Path(explorers.__file__).parent
    say_so = [file.name for file in folder.glob("*.py") if "show the answer" in file.read_text(encoding="utf-8")]
    assert say_so == ["controls.py"] and ANSWER.value is False


def check_every_control_moves_the_picture(make):
    explorer = make()
    start, begin = shown(explorer)["scene"], explorer.values
    for name, control in explorer.controls.items():
        for other in elsewhere(control):
            value = other if other != begin[name] else control.value
            explorer.set(**{name: value})
            assert explorer.values[name] == shown(explorer)["values"][name] == value
            assert shown(explorer)["scene"] != start, f"{name} = {value} left the picture as it was"
            assert len(explorer.text) < 360 and "nan" not in explorer.text and "inf" not in explorer.text
        explorer.set(**begin)
        assert shown(explorer)["scene"] == start, f"the way back from {name} ends at another picture"


def check_every_move_is_small_and_every_drag_moves_something(make):
    """A move goes to the browser twenty-five times in a second; marks are there to be taken hold of."""
    explorer = make()
    assert len(explorer.view.shown) < 40_000
    drags = [drag for mark in shown(explorer)["scene"]["marks"] for drag in mark["drag"]]
    assert drags, "there is nothing to take hold of"
    for drag in drags:
        for name in filter(None, (drag["x"], drag["y"])):
            assert isinstance(explorer.controls[name], Slider)


def check_a_picture_at_rest(make):
    explorer = make()
    data, metadata = explorer._repr_mimebundle_()
    assert {"image/png", "text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(data)
    assert data["text/plain"] == explorer.text
    assert metadata["image/png"]["alt"] == f"{explorer.alt} {explorer.text}"
    size = Image.open(BytesIO(explorer.png)).size
    assert size == (2 * metadata["image/png"]["width"], 2 * metadata["image/png"]["height"])


def check_a_sentence_has_three_numbers_at_most(make):
    """The others wait behind *Numbers*. Who a subject is counts for none."""
    explorer = make()
    begin = explorer.values
    for name, control in explorer.controls.items():
        for value in elsewhere(control):
            told = re.sub(r"[Ss]ubject \w+", "", shown(explorer.set(**{name: value}))["say"])
            assert len(re.findall(r"(?<![\w.])\d[\d.,/]*", told)) <= 3, told
        explorer.set(**begin)


def assert_the_edges_hold(make):
    """Every control at its lowest, then at its highest value, together: there is a sentence, about numbers."""
    explorer = make()
    for end in ("low", "high"):
        explorer.set(**{name: getattr(c, end) for name, c in explorer.controls.items() if hasattr(c, end)})
        assert explorer.text and "nan" not in explorer.text and "inf" not in explorer.text


OF_EVERY_STAGE = (  # what each lesson's tests ask of its own explorers
    check_every_control_moves_the_picture,
    check_every_move_is_small_and_every_drag_moves_something,
    check_a_picture_at_rest,
)


@pytest.mark.parametrize("check", (*OF_EVERY_STAGE, check_a_sentence_has_three_numbers_at_most))
def test_welcome_as_every_stage(check):
    check(explorers.welcome)


def test_the_axes_of_welcome_stand_still():
    explorer = explorers.welcome()
    start = shown(explorer)["scene"]["panels"]
    for values in ({"omega": 0.0}, {"omega": 0.8}, {"sigma": 2.0}, {"omega": 0.3, "subjects": 40}):
        assert shown(explorer.set(**values))["scene"]["panels"] == start


# Scenes


def test_a_scene_is_plain_data():
    marks = [
        Line("p", "line", "population", GRID, [[1, 2, np.nan, 4, 5], GRID], label="both", ghost=True),
        Band("p", "band", "posterior", GRID, GRID, 2 * GRID, weight="strong"),
        Dots("p", "dots", "data", [0.1, 0.2], [1, 2], drag=[Drag(x="t", index=1), Drag(x="t", y="u")]),
        Span("p", "span", "guide", GRID, 0 * GRID, GRID, GRID, weight="thin"),
        Rule("p", "rule", "prior", "x", 0.5, drag=Drag(x="t")),
        Text("p", "text", "joint", 0.5, 5, "words", "end"),
        Heat("p", "heat", "marginal", (0, 1), (0, 10), [[0.0, 0.5], [1.0, 0.0], [0.2, 0.4]]),
    ]
    told = Scene(panel(title="All", meaning="joint"), marks).data(["t", "u"])
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert [mark["kind"] for mark in told["marks"]] == ["line", "band", "dots", "span", "rule", "text", "heat"]
    line, _, dots, *_, heat = told["marks"]
    assert [mark["ghost"] for mark in told["marks"]] == [True] + 6 * [False]
    assert line["y"] == [1, 2, None, 4, 5, 0, 0.25, 0.5, 0.75, 1]
    assert [drag["index"] for drag in dots["drag"]] == [1, 0] and dots["shape"] == "o"
    assert (heat["shape"], len(heat["z"])) == ([3, 2], 8)
    picture = still(told, ["p"], [1], [1], (400, 300), "All of them.")
    assert Image.open(BytesIO(style.png(picture))).size == (800, 600)
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["both"]


@pytest.mark.parametrize(
    ("marks", "sentence"),
    [
        ([Line("q", "a", "data", GRID, GRID)], "'a' is on the panel 'q', which is none of 'p'"),
        ([Line("p", "a", "date", GRID, GRID)], "has the meaning 'date', which is none of 'data', 'truth'"),
        ([Line("p", "a", "data", GRID, GRID)] * 2, "Two marks of panel 'p' have the name 'a'"),
        ([Line("p", "a", "data", GRID, GRID[1:])], r"x of shape \(5,\) and y of shape \(4,\)"),
        ([Line("p", "a", "data", GRID, GRID, weight="fat")], "has the weight 'fat'"),
        ([Band("p", "a", "data", GRID, GRID, GRID[1:])], "different lengths: x 5, low 5, high 4"),
        ([Dots("p", "a", "data", GRID, GRID, shape="x")], "has the shape 'x'"),
        ([Dots("p", "a", "data", 0, 0, drag=Drag(x="tau"))], "'a' moves 'tau', which is none of 't'"),
        ([Dots("p", "a", "data", 0, 0, drag=Drag())], "moves nothing"),
        ([Dots("p", "a", "data", 0, 0, drag=Drag(x="t", index=1))], "is for dot 1 of 1"),
        ([Dots("p", "a", "data", 0, 0, drag=Drag(x="t", along="b"))], "rides along 'b'"),
        ([Dots("p", "a", "data", 0, 0, drag=Drag(x="t", scale_x=0.0))], "'a' has a scale that is not positive"),
        ([Rule("p", "a", "data", "z", 0)], "has the axis 'z'"),
        ([Text("p", "a", "data", [1, 2], [1, 2], "one")], "1 texts for 2 places"),
        ([Text("p", "a", "data", 1, 2, "one", "left")], "has the anchor 'left'"),
        ([Heat("p", "a", "data", (0, 1), (0, 1), [[2.0]])], "a table z of numbers from 0 to 1"),
    ],
)
def test_a_slip_in_a_scene_is_told_in_a_sentence(marks, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scene(panel(), marks).data(["t"])


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        (Axis(1, 1), "The axis x of panel 'p' runs from 1 to 1"),
        (Axis(np.nan, 1), "runs from nan to 1"),
        (Axis(0, 1, log=True), "is logarithmic and runs from 0 to 1: both must be positive"),
    ],
)
def test_an_axis_has_two_ends(axis, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scene({"p": Panel(axis, Axis(0, 1))}, []).data()


def test_numbers_have_five_digits():
    values = [0.0, -0.1, 1 / 3, 123456.7, 1.5e-9, -2.000049, 1e20, 7, np.nan, np.inf]
    assert numbers(values) == [0, -0.1, 0.33333, 123460, 1.5e-9, -2, 1e20, 7, None, None]
    many = np.random.default_rng(1).lognormal(0, 8, 2000)
    assert numbers(many) == [float(f"{value:.4e}") for value in many]


def test_colours_and_dashes_are_those_of_the_style():
    sheet = look()
    for meaning in MEANINGS:
        assert f".mefit-stage .{meaning}{{--colour:" in sheet
    for meaning, colour in style.COLOUR.items():
        assert f"--{meaning}:{colour};" in sheet
    dark = re.search(r'\[data-jp-theme-light="false"\] \.mefit-stage \{(.*?)\}', sheet, re.DOTALL)[1]
    assert set(re.findall(r"--(\w+):", dark)) >= set(style.COLOUR)
    assert "://" not in sheet.replace("http://www.w3.org", "")


# Moves


def test_what_the_browser_gets():
    explorer = small(tries=[("twice as wide", {"x": 2.0})], live=False)
    setup = explorer.view.setup
    assert [name for name, _ in setup["controls"]] == ["x", "n", "how", "on"]
    assert setup["tries"] == [["twice as wide", {"x": 2.0}]] and setup["live"] is False
    assert setup["aspect"] == pytest.approx(400 / 860)
    assert control_data(explorer.controls["n"])["whole"] and not control_data(explorer.controls["x"])["whole"]
    told = shown(explorer)
    assert (told["say"], told["more"], told["error"]) == ("x n = 2", "Its half is 1.", "")
    assert explorer.text == "x n = 2 Its half is 1."


def test_a_hand_is_answered_by_its_turn():
    explorer = small()
    before = shown(explorer)
    by_hand(explorer, turn=7, x=2.0)
    told = shown(explorer)
    assert (told["who"], told["turn"], told["seq"]) == ("a view", 7, before["seq"] + 1)
    assert explorer.result == 4 and explorer.values["x"] == told["values"]["x"] == 2.0
    by_hand(explorer, turn=8, n=3)
    assert explorer.result == 6 and isinstance(explorer.values["n"], int)
    explorer.reset()
    assert explorer.result == 2 and shown(explorer)["scene"] == before["scene"]


def test_a_view_that_asks_is_told_that_there_is_a_kernel(monkeypatch):
    explorer, sent = small(), []
    monkeypatch.setattr(explorer.view, "send", sent.append)
    explorer.view._handle_custom_msg({"kind": "hello"}, [])
    assert sent == [{"kind": "here"}]


def test_a_refusal_is_a_sentence_and_leaves_the_picture():
    explorer = small()
    before = shown(explorer)
    by_hand(explorer, turn=1, x=7.0)  # by hand: no exception, the line says it
    told = shown(explorer)
    assert told["error"] == "x is 7: give 5 or less. The picture has not moved."
    assert told["scene"] == before["scene"] and told["say"] == before["say"] and told["seq"] > before["seq"]
    by_hand(explorer, turn=2, x=2.0)
    assert shown(explorer)["error"] == "" and shown(explorer)["scene"] != before["scene"]
    with pytest.raises(Refused, match="give 5 or less"):  # from code: raised as well as said
        explorer.set(x=6.0)
    assert "x is 6" in shown(explorer)["error"]


@pytest.mark.parametrize("part", ["compute", "scene", "say"])
def test_a_fault_is_raised_even_from_a_hand_and_leaves_the_picture(part):
    def slip(result=None, n=2, **_):
        value = n if result is None else result
        if value > 8:
            raise KeyError("a slip of the pen")
        return {"compute": n, "say": f"{value}"}.get(part) or Scene(panel(), [Dots("p", "a", "data", 0.5, value)])

    given = {"compute": lambda n, **_: n, "scene": None, "say": None} | {part: slip}
    explorer = small(**given)
    before = shown(explorer)
    with pytest.raises(KeyError, match="slip"):
        by_hand(explorer, n=9)
    told = shown(explorer)
    assert "This explorer has a fault (KeyError)" in told["error"]
    assert (told["scene"], told["say"]) == (before["scene"], before["say"])
    explorer.set(n=3)
    assert shown(explorer)["error"] == ""


def test_states_for_a_grid_are_those_that_a_hand_would_see():
    explorer = explorers.eight_schools()
    start, over = shown(explorer), {"tau": [1.0, 5.0, 25.0], "form": ["centred", "non-centred"]}
    told = json.loads(json.dumps(explorer.frames(**over), allow_nan=False))
    assert shown(explorer) == start
    assert told["over"] == [[name, values] for name, values in over.items()]
    for state, (tau, form) in zip(told["states"], product(*over.values()), strict=True):
        now = shown(explorer.set(tau=tau, form=form))
        assert told["panels"][state["panels"]] == now["scene"]["panels"]
        assert [told["marks"][place] for place in state["marks"]] == now["scene"]["marks"]
        assert (state["say"], state["more"]) == (now["say"], now["more"])
    in_all = sum(len(state["marks"]) for state in told["states"])
    assert len(told["marks"]) < 0.7 * in_all and len(told["panels"]) == 2  # each distinct one once


def test_a_grid_says_where_it_is_refused():
    explorer = small()
    told = explorer.frames(x=[1.0, 6.0])
    assert told["states"][1] == {"error": "x is 6: give 5 or less."} and told["states"][0]["say"] == "x n = 2"
    with pytest.raises(ValueError, match="no control 'z'"):
        explorer.frames(z=[1])
    with pytest.raises(ValueError, match="takes a number from 0.1 to 10"):
        explorer.frames(x=[100.0])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"x": 11.0}, "'Width' takes a number from 0.1 to 10, not 11.0."),
        ({"x": "1"}, "takes a number"),
        ({"n": 2.5}, "whole number"),
        ({"n": True}, "takes a number"),
        ({"on": 1}, "True or False"),
        ({"how": "odd"}, "is one of 'plain', 'fancy', not 'odd'"),
        ({"y": 1.0}, "no control 'y'; there are 'x', 'n', 'how', 'on'"),
    ],
)
def test_set_refuses_what_a_hand_could_not_do(values, sentence):
    explorer = small()
    before = explorer.values
    with pytest.raises(ValueError, match=sentence):
        explorer.set(**values)
    assert explorer.values == before


def test_set_moves_together_so_that_no_forbidden_state_lies_between():
    def compute(x, n, **_):
        if x >= n:
            raise Refused("x must be below n.")
        return n - x

    assert small(compute).set(x=5.0, n=7).result == 2.0


def test_a_slip_in_the_code_is_a_fault_and_no_refusal():
    def compute(n, **_):
        return (np.ones(2) * np.ones(n)).sum()  # NumPy's ValueError unless n is 1 or 2

    explorer = small(compute)
    with pytest.raises(ValueError, match="could not be broadcast") as raised:
        by_hand(explorer, n=3)
    assert not isinstance(raised.value, Refused)
    assert "This explorer has a fault (ValueError): operands could not be" in shown(explorer)["error"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widths": [1, 2]}, "does not go with 2 widths and 1 heights"),
        ({"tries": [("up", {"z": 1})]}, "'up' is of 'z', which is no control"),
        ({"tries": [("up", {"x": 100})]}, "takes a number from 0.1 to 10"),
    ],
)
def test_a_slip_in_the_frame_is_told_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**options)


def test_a_page_without_a_kernel_shows_the_picture():
    nbconvert, nbformat = pytest.importorskip("nbconvert"), pytest.importorskip("nbformat")
    explorer = small(say=lambda result: "a < b & <b>c</b>")
    data, metadata = explorer._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell("explorer")
    cell.outputs = [nbformat.v4.new_output("execute_result", data=data, metadata=metadata, execution_count=1)]
    page, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert f'<img alt="{explorer.alt}"' in page and "<p>a &lt; b &amp; &lt;b&gt;c&lt;/b&gt;</p>" in page
