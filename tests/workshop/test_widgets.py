"""Explorers: the numbers they compute, and the panel that carries them."""

import ast
import sys
from io import BytesIO
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from PIL import Image
from scipy.integrate import quad

from workshop import explorers
from workshop.explorers.panel import Choice, Explorer, Refused, Slider, Switch

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
patients, crowd = (sys.modules[f"workshop.explorers.{name}"] for name in ("three_patients", "welcome"))


def painted() -> Explorer:
    """One that is painted by matplotlib, in which every control moves the picture."""
    controls = {
        "x": Slider("Width", 0.1, 10.0, 1.0, unit="m", log=True),
        "n": Slider("Count", 1, 9, 2, 1, play=True),
        "how": Choice("How", ("plain", "fancy"), "plain"),
        "on": Switch("On", True),
    }
    return Explorer(
        lambda x, n, how, on: [x, n, 5 * (how == "plain"), on],
        lambda picture, result: picture.subplots().barh(range(4), result) and None,
        lambda result: f"x = {result[0]:g}",
        controls,
        alt="Four bars.",
    )


ALL = [painted]


# The numbers


def test_three_patients_at_the_prior_of_the_lecture():
    found = patients.compute(1.1)
    np.testing.assert_allclose(found.mode, [0.279, -1.488, 0.599], atol=5e-4)
    np.testing.assert_allclose(found.peak, [0.245, 0.130, 0.113], atol=5e-4)
    np.testing.assert_allclose(found.area, [0.178, 0.032, 0.198], atol=5e-4)
    np.testing.assert_allclose(found.shrinkage, [0.07, 0.01, 0.40], atol=5e-3)
    assert patients.rank(found.peak) == ["1st", "2nd", "3rd"]
    assert patients.rank(found.area) == ["2nd", "3rd", "1st"]


@pytest.mark.parametrize("omega", [0.2, 1.1, 4.0])
def test_three_patients_closed_forms_against_quadrature(omega):
    found = patients.compute(omega)
    for i in range(3):

        def product(eta, i=i):
            likelihood = patients.HEIGHT[i] * np.exp(-0.5 * ((eta - patients.BEST[i]) / patients.WIDTH[i]) ** 2)
            return likelihood * np.exp(-0.5 * (eta / omega) ** 2) / np.sqrt(2 * np.pi) / omega

        assert found.peak[i] == pytest.approx(product(found.mode[i]), rel=1e-12)
        assert product(found.mode[i]) > max(product(found.mode[i] + 1e-3), product(found.mode[i] - 1e-3))
        # A range around the mode: quad alone would step over a spike.
        near = (found.mode[i] - 12 * min(omega, patients.WIDTH[i]), found.mode[i] + 12 * min(omega, patients.WIDTH[i]))
        assert found.area[i] == pytest.approx(quad(product, *near, epsabs=0, epsrel=1e-11)[0], rel=1e-9)
        np.testing.assert_allclose(found.product[i], [product(eta) for eta in found.eta], rtol=1e-9, atol=1e-300)


def test_three_patients_says_who_ranks_first():
    text = patients.say(patients.compute(1.1))
    assert (
        "Patient 1 ranks first by the peak (joint: 1, 2, 3), patient 3 by the area (marginal: 3, 1, 2): an area" in text
    )
    assert "patient 1 by the area (marginal: 1, 3, 2): here the two agree" in patients.say(patients.compute(0.2))


def test_three_patients_refuse_a_flat_prior():
    with pytest.raises(explorers.Refused, match="must be positive, not 0"):
        patients.compute(0.0)


def test_the_crowd_is_a_one_compartment_model():
    time = np.linspace(0.1, 24, 300)
    curve = crowd.concentration(time, np.zeros(3))
    rate = crowd.CLEARANCE / crowd.VOLUME
    slope = np.gradient(curve, time, edge_order=2)
    absorbed = crowd.DOSE * crowd.ABSORPTION * np.exp(-crowd.ABSORPTION * time) / crowd.VOLUME
    np.testing.assert_allclose(slope[5:-5], (absorbed - rate * curve)[5:-5], atol=0.02)
    area = quad(lambda t: crowd.concentration(np.array([t]), np.zeros(3))[0], 0, np.inf)[0]
    assert area == pytest.approx(crowd.DOSE / crowd.CLEARANCE, rel=1e-6)


def test_the_crowd_shares_its_variance():
    found = crowd.compute(0.3, 0.4, 8)
    assert found.individual.shape == (8, 97) and found.data.shape == (8, 10)
    assert 0.5 < found.between < 1
    assert crowd.compute(0.3, 0.0, 8).between == 1
    assert crowd.compute(0.0, 0.4, 8).between == 0
    assert np.isnan(crowd.compute(0.0, 0.0, 8).between)
    assert crowd.compute(0.3, 1.0, 8).between < found.between < crowd.compute(0.5, 0.4, 8).between
    # With little noise the share is what the drawn people show: the crowd behind the picture is the same.
    many = crowd.compute(0.3, 0.0, crowd.MOST).data.var(axis=0).mean()
    whole = found.between * 0.4**2 / (1 - found.between)
    assert many == pytest.approx(whole, rel=0.5)


def test_the_crowd_stays_the_same_people_when_more_come():
    few, more = crowd.compute(0.3, 0.4, 3), crowd.compute(0.3, 0.4, 9)
    np.testing.assert_array_equal(few.data, more.data[:3])


# Every explorer, every control


def elsewhere(control):
    """A value the control is not at."""
    if isinstance(control, Slider):
        return [end for end in (control.low, control.high) if end != control.value]
    if isinstance(control, Switch):
        return [not control.value]
    return [option for option in control.options if option != control.value]


@pytest.mark.parametrize("make", ALL)
def test_every_control_moves_the_picture_in_place(make):
    explorer = make()
    start, size, image = explorer.png, Image.open(BytesIO(explorer.png)).size, explorer._image
    assert explorer.text and start
    for name, control in explorer.controls.items():
        for value in elsewhere(control):
            explorer.set(**{name: value})
            assert explorer.values[name] == value
            assert explorer.png != start, f"{name} = {value} left the picture as it was"
            assert Image.open(BytesIO(explorer.png)).size == size
            assert explorer._image is image and image.value == explorer.png
        explorer.reset()
        assert explorer.png == start, f"the way back from {name} ends at another picture"


@pytest.mark.parametrize("make", ALL)
def test_every_control_has_a_name_and_says_its_unit(make):
    explorer = make()

    def words(widget):
        yield getattr(widget, "description", "")
        yield widget.value if isinstance(widget, ipywidgets.Label) else ""
        for child in getattr(widget, "children", ()):
            yield from words(child)

    shown = list(words(explorer.view))
    for control in explorer.controls.values():
        label = f"{control.label} ({control.unit})" if getattr(control, "unit", "") else control.label
        assert label in shown
        assert len(label) <= 33, "the browser would cut this label short"


@pytest.mark.parametrize("make", ALL)
def test_a_picture_at_rest_for_pages_without_a_kernel(make):
    explorer = make()
    data, metadata = explorer._repr_mimebundle_(include=None, exclude=None)
    assert {"image/png", "text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(data)
    assert (data["text/plain"], metadata["image/png"]["alt"]) == (explorer.text, explorer.alt)
    size = Image.open(BytesIO(explorer.png)).size
    assert (metadata["image/png"]["width"], metadata["image/png"]["height"]) == size


# The panel


def small(compute=None, paint=None, controls=None, **options):
    def default(x=1.0, n=2, **_):
        if x > 5:
            raise Refused(f"x is {x:g}: give 5 or less.")
        if n > 8:
            raise KeyError("a slip of the pen")
        return x * n

    def bar(picture, result):
        picture.subplots().barh([0], [result])

    chosen = controls or {
        "x": Slider("Width", 0.1, 10.0, 1.0, unit="m", log=True),
        "n": Slider("Count", 1, 9, 2, 1, play=True),
        "how": Choice("How", ("plain", "fancy"), "plain"),
        "on": Switch("On", True),
    }
    return Explorer(
        compute or default, paint or bar, lambda result: f"x n = {result:g}", chosen, alt="A bar.", **options
    )


def parts(explorer, name):
    return {type(part).__name__: part for part, _ in explorer._parts[name]}


def test_slider_box_and_play_button_follow_each_other():
    explorer = small()
    x, n = parts(explorer, "x"), parts(explorer, "n")
    x["IntSlider"].value = 65  # 65 hundredths of two decades up from 0.1, in as many digits as are shown
    assert x["BoundedFloatText"].value == explorer.values["x"] == 2.0
    x["BoundedFloatText"].value = 3.14159  # what is typed is taken as it is ...
    assert x["IntSlider"].value == 75  # ... and the slider goes to the nearest step
    assert explorer.values["x"] == 3.14159 and explorer.result == 2 * 3.14159
    n["Play"].value = 4
    assert (n["IntSlider"].value, n["BoundedIntText"].value, explorer.values["n"]) == (4, 5, 5)
    n["IntSlider"].value = 2
    assert (n["Play"].value, explorer.values["n"]) == (2, 3)
    assert isinstance(explorer.values["n"], int)


def test_a_refusal_is_a_sentence_and_leaves_the_picture():
    explorer = small()
    before, said = explorer.png, explorer.text
    parts(explorer, "x")["BoundedFloatText"].value = 7.0  # by hand: no exception, the line says it
    assert "x is 7: give 5 or less." in explorer._error.value and 'role="alert"' in explorer._error.value
    assert (explorer.png, explorer._image.value, explorer.text) == (before, before, said)
    parts(explorer, "x")["BoundedFloatText"].value = 2.0
    assert explorer._error.value == "" and explorer.png != before
    with pytest.raises(Refused, match="give 5 or less"):  # from code: raised as well as said
        explorer.set(x=6.0)
    assert "x is 6" in explorer._error.value


def test_a_fault_is_raised_even_from_a_hand():
    explorer = small()
    with pytest.raises(KeyError, match="slip"):
        parts(explorer, "n")["IntSlider"].value = 8
    assert "This explorer has a fault (KeyError)" in explorer._error.value


def test_a_slip_in_the_code_is_a_fault_and_no_refusal():
    def compute(x, n, **_):
        return (np.ones(2) * np.ones(n + 1)).sum()  # NumPy's ValueError unless n is 1

    explorer = small(compute, controls={"x": Slider("Width", 0.1, 10.0, 1.0), "n": Slider("Count", 1, 9, 1, 1)})
    before = explorer.png
    with pytest.raises(ValueError, match="could not be broadcast") as raised:
        parts(explorer, "n")["IntSlider"].value = 1
    assert not isinstance(raised.value, Refused)
    assert "This explorer has a fault (ValueError): operands could not be" in explorer._error.value
    assert explorer.png == before
    explorer.set(n=1)
    assert explorer._error.value == ""


def test_explorers_refuse_by_the_name_of_it():
    for file in Path(explorers.__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name == "compute":
                raised = [ast.unparse(node.exc) for node in ast.walk(function) if isinstance(node, ast.Raise)]
                assert all(text.startswith("Refused(") for text in raised), file.name


def test_a_painter_that_fails_is_a_fault_and_starts_afresh():
    def paint(picture, result):
        (line,) = picture.subplots().plot([0, 1], [0, result])

        def update(result):
            line.set_ydata([0, result, result] if result == 6 else [0, result])
            if result == 6:
                raise ValueError("three is not two")

        return update

    explorer = small(paint=paint)
    with pytest.raises(ValueError, match="three is not two"):
        parts(explorer, "n")["IntSlider"].value = 5
    assert "has a fault (ValueError)" in explorer._error.value
    explorer.set(n=3)
    assert explorer._error.value == ""


OF_EVERY_EXPLORER = (  # what each lesson's tests ask of its own explorers
    test_every_control_moves_the_picture_in_place,
    test_every_control_has_a_name_and_says_its_unit,
    test_a_picture_at_rest_for_pages_without_a_kernel,
)


def assert_the_edges_hold(make):
    """Every control at its lowest, then at its highest value, together: there is a sentence, about numbers."""
    explorer = make()
    for end in ("low", "high"):
        explorer.set(**{name: getattr(c, end) for name, c in explorer.controls.items() if hasattr(c, end)})
        assert explorer.text and "nan" not in explorer.text and "inf" not in explorer.text


def assert_painting_anew_gives_the_same(make, module, moves):
    """After each move, artists that were moved and a picture painted anew are the same to the byte."""
    kept = make()
    size = {"width": round(kept._picture.bbox.width), "height": round(kept._picture.bbox.height)}
    anew = Explorer(module.compute, lambda p, r: module.paint(p, r) and None, module.say, kept.controls, alt="", **size)
    for values in moves:
        assert kept.set(**values).png == anew.set(**values).png
        assert len(kept.text) < 245, "the sentence would need a third line"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"x": 11.0}, "'Width' takes a number from 0.1 to 10, not 11.0."),
        ({"x": "1"}, "takes a number"),
        ({"n": 2.5}, "whole number"),
        ({"n": True}, "takes a number"),
        ({"how": "odd"}, "is one of 'plain', 'fancy', not 'odd'"),
        ({"on": 1}, "True or False"),
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
    def compute(low, high):
        if low >= high:
            raise Refused("low must be below high.")
        return high - low

    explorer = small(compute, controls={"low": Slider("Low", 0.0, 9.0, 1.0), "high": Slider("High", 0.0, 9.0, 2.0)})
    assert explorer.set(low=5.0, high=7.5).result == 2.5


def test_a_slow_model_answers_when_the_slider_is_let_go():
    assert parts(small(), "x")["IntSlider"].continuous_update
    assert not parts(small(live=False), "x")["IntSlider"].continuous_update


def test_what_is_said_is_text_and_never_markup():
    controls = {"x": Slider("x", 0.0, 1.0, 0.5)}
    explorer = Explorer(lambda x: x, lambda p, r: None, lambda r: "a < b & <b>c</b>", controls, alt="")
    assert "a &lt; b &amp; &lt;b&gt;c&lt;/b&gt;" in explorer._says.value


def test_a_page_without_a_kernel_shows_the_picture():
    nbconvert, nbformat = pytest.importorskip("nbconvert"), pytest.importorskip("nbformat")
    explorer = painted()
    data, metadata = explorer._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell("explorer")
    cell.outputs = [nbformat.v4.new_output("execute_result", data=data, metadata=metadata, execution_count=1)]
    page, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert f'<img alt="{explorer.alt}"' in page and f"<p>{explorer.text}</p>" in page
    assert f'src="data:image/png;base64,{data["image/png"]}"' in page
