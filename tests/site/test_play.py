"""Recorded explorers: what is recorded is what Python computes, and a page without a kernel plays it.

The browser's half needs Playwright and Chromium, and no Sphinx: the page is made here, and opened as a file.
"""

import base64
import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from test_browser import CHROMIUM, browser  # noqa: F401

from workshop import explorers
from workshop.explorers.controls import Choice, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Panel, Scene
from workshop.explorers.stage import Stage
from workshop.predictions import predict

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pages"))

import build_site  # noqa: E402
import recording  # noqa: E402

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")


def unpacked(script: Path) -> dict:
    packed = re.fullmatch(r'mefitPlay\.receive\("[\w-]+","(.*)"\);\n', script.read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def state_of(data: dict, **values) -> dict:
    """The state at these values, counted out as `play.js` does."""
    place = 0
    for name, places in data["frames"]["over"]:
        place = place * len(places) + places.index(values[name])
    return data["frames"]["states"][place]


@pytest.fixture(scope="module")
def schools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    stage = explorers.eight_schools()
    page = recording.shown(stage, folder)["text/html"]
    (script,) = folder.glob("*.js")
    return stage, page, script


def test_a_recorded_state_is_what_python_draws_and_says(schools):
    stage, _, script = schools
    data = unpacked(script)
    over = dict(data["frames"]["over"])
    assert len(over["tau"]) >= 9 and set(over["form"]) == set(stage.controls["form"].options)
    values = {"tau": over["tau"][3], "form": over["form"][1], "c": over["c"][-1]}
    state = state_of(data, **values)
    stage.set(**values)
    assert " ".join(filter(None, (state["say"], state["more"]))) == stage.text
    drawn = {(mark["panel"], mark["id"]): mark for mark in stage._drawn["marks"]}
    for place in state["marks"]:
        mark = data["frames"]["marks"][place]
        for name in ("x", "y", "at"):
            if name in mark:
                wanted = np.array(drawn[mark["panel"], mark["id"]][name], dtype=float)
                np.testing.assert_allclose(np.array(mark[name], dtype=float), wanted, rtol=6e-4)
    stage.reset()


def test_the_values_of_start_and_of_the_moves_to_try_are_recorded(schools):
    stage, _, script = schools
    data = unpacked(script)
    over = dict(data["frames"]["over"])
    assert all(stage.controls[name].value in places for name, places in over.items())
    for _, values in data["setup"]["tries"]:
        assert all(value in over[name] for name, value in values.items())


def toy(seconds: float = 0.0) -> Stage:
    def compute(a, b, kind):
        import time

        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return a, b, kind

    def scene(result):
        a, b, kind = result
        line = Line("p", "curve", "prior", [0, 10], [a, b] if kind == "up" else [b, a])
        return Scene({"p": Panel(Axis(0, 10), Axis(0, 10))}, [line, Dots("p", "a", "data", a, b, drag=Drag("a", "b"))])

    controls = {
        "a": Slider("A", 0, 10, 3, 1),
        "b": Slider("B", 0.0, 10.0, 4.0),
        "kind": Choice("K", ("up", "down"), "up"),
    }
    return Stage(compute, scene, lambda r: f"a {r[0]}, b {r[1]:g}, {r[2]}", controls, alt="A toy.", layout=["p"])


def test_a_slow_explorer_gets_fewer_states_and_one_that_is_too_slow_stays_at_rest(tmp_path, monkeypatch):
    fast = recording.grid_of(toy())
    monkeypatch.setattr(recording, "SECONDS", 1.0)
    slow = recording.grid_of(toy(0.01))
    count = [int(np.prod([len(values) for values in grid.values()])) for grid in (fast, slow)]
    assert 18 <= count[1] <= 100 < count[0] <= recording.STATES
    slower = recording.grid_of(toy(0.05))  # room for 20: the choice is held, so that the marks can move
    assert slower["kind"] == ["up"] and len(slower["a"]) >= 3 and len(slower["b"]) >= 3
    slowest = recording.grid_of(toy(0.2))  # room for 5: one slider moves
    assert sorted(map(len, slowest.values()))[:2] == [1, 1] and len(slowest["a"]) >= 3
    with pytest.raises(recording.TooLarge, match="takes .* s, too long"):
        recording.grid_of(toy(0.4))
    page = recording.shown(toy(0.4), tmp_path)["text/html"]
    assert 'data-recording=""' in page and "Open this lesson in JupyterLab to move it." in page
    assert list(tmp_path.iterdir()) == []


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Play</title>
<script>window.mefitRoot = "";</script><link rel="stylesheet" href="_static/stage.css">
<link rel="stylesheet" href="_static/site.css"><script src="_static/play.js" defer></script></head>
<body data-theme="{theme}"><h1>Play</h1>{body}</body></html>"""


@pytest.fixture(scope="module")
def page_of_schools(schools):
    _, body, script = schools
    folder = script.parent
    static = folder / "_static"
    (static / "play").mkdir(parents=True)
    (static / "play" / script.name).write_bytes(script.read_bytes())
    build_site.write_scripts(static)
    question = '<div class="mefit-asked" data-place="x"><p class="options"><button data-right="true">A</button>'
    question += '<button data-right="false">B</button></p><details><summary>open</summary>A</details></div>'
    question += '<details class="mefit-waits" data-place="x"><summary>waits</summary>result</details>'
    (folder / "page.html").write_text(PAGE.format(theme="dark", body=body + question), encoding="utf-8")
    return folder / "page.html"


def opened(browser, page, end=""):  # noqa: F811
    """A page that is opened as a file, with all that went wrong on it."""
    tab = browser.new_page(viewport={"width": 1100, "height": 900})
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    tab.on("request", lambda sent: None if sent.url.startswith(("file:", "data:", "blob:")) else wrong.append(sent.url))
    tab.goto(page.as_uri() + end)
    tab.wait_for_selector(".mefit-play[data-alive]", timeout=60_000)
    return tab, wrong


@pytest.mark.browser
@needs_browser
def test_it_is_moved_by_mouse_and_keyboard_without_a_kernel(browser, page_of_schools, schools):  # noqa: F811
    stage, _, script = schools
    data = unpacked(script)
    over = dict(data["frames"]["over"])
    tab, wrong = opened(browser, page_of_schools)
    handle = tab.locator(".handle").first
    now = lambda: float(handle.get_attribute("aria-valuenow"))  # noqa: E731
    assert now() == stage.controls["tau"].value
    box = handle.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2 + 80, box["y"], steps=8)
    tab.mouse.up()
    tab.wait_for_timeout(300)
    dragged = now()
    assert dragged > stage.controls["tau"].value and dragged in over["tau"]
    said = tab.locator(".says").inner_text()
    assert said == state_of(data, tau=dragged, form=stage.controls["form"].value, c=1.0)["say"]
    handle.focus()
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(300)
    assert now() == over["tau"][over["tau"].index(dragged) - 1]
    tab.keyboard.press("Home")
    tab.wait_for_timeout(300)
    assert now() == over["tau"][0]
    tab.get_by_role("button", name="non-centred").click()
    tab.wait_for_timeout(300)
    assert tab.locator(".says").inner_text() == state_of(data, tau=over["tau"][0], form="non-centred", c=1.0)["say"]
    tab.locator("input[type=number]").first.fill("26")
    tab.keyboard.press("Enter")
    tab.wait_for_timeout(300)
    away = [abs(np.log(tau / 26)) for tau in over["tau"]]
    assert now() == over["tau"][int(np.argmin(away))]
    assert wrong == []
    tab.close()


@pytest.mark.browser
@needs_browser
def test_an_address_leads_to_a_state_and_a_state_has_an_address(browser, page_of_schools, schools):  # noqa: F811
    over = dict(unpacked(schools[2])["frames"]["over"])
    goal = over["tau"][-2]
    tab, wrong = opened(browser, page_of_schools, f"#tau={goal}&form=non-centred")
    tab.wait_for_timeout(500)
    assert float(tab.locator(".handle").first.get_attribute("aria-valuenow")) == goal
    link = tab.locator(".mefit-link")
    link.focus()
    address = link.get_attribute("href")
    assert "explorer=eight_schools" in address and f"tau={goal}" in address and "form=non-centred" in address
    tab.close()
    again, more = opened(browser, page_of_schools, address)
    again.wait_for_timeout(500)
    assert float(again.locator(".handle").first.get_attribute("aria-valuenow")) == goal
    again.close()
    other, most = opened(browser, page_of_schools, "#explorer=another&tau=1")
    other.wait_for_timeout(300)
    assert float(other.locator(".handle").first.get_attribute("aria-valuenow")) == schools[0].controls["tau"].value
    other.close()
    assert wrong + more + most == []


@pytest.mark.browser
@needs_browser
def test_the_theme_is_followed_and_an_answer_opens_what_waits(browser, page_of_schools):  # noqa: F811
    tab, wrong = opened(browser, page_of_schools)
    colour = "getComputedStyle(document.querySelector('.mefit-stage')).getPropertyValue('--data')"
    assert tab.evaluate(colour) == "#f4f4f4"
    tab.evaluate("document.body.dataset.theme = 'light'")
    tab.wait_for_timeout(100)
    assert tab.evaluate(colour) != "#f4f4f4"
    assert not tab.locator(".mefit-waits").evaluate("one => one.open")
    tab.get_by_role("button", name="B", exact=True).click()
    tab.wait_for_timeout(100)
    assert tab.locator(".mefit-waits").evaluate("one => one.open")
    marks = "[...document.querySelectorAll('.options button')].map(b => getComputedStyle(b, '::after').content)"
    assert tab.evaluate(marks) == ['" \u2713"', '" \u2717"']
    assert wrong == []
    tab.close()


def test_what_is_drawn_or_ticked_in_a_lesson_has_its_axes_and_boxes_on_the_page():
    drawn = recording.asked_page(predict("04", "iterations"))
    assert drawn.count("<img") == 2 and drawn.index("<img") < drawn.index("<details>")
    question = predict("05", "alarms").question
    ticked = recording.asked_page(predict("05", "alarms"))
    assert ticked.count('type="checkbox"') == len(question.rows) * len(question.columns)
    assert "✕" not in ticked[: ticked.index("<details>")] and "✕" in ticked
