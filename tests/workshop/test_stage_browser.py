"""The stage in a real browser: marks are taken hold of by mouse, finger and key, and Python answers.

Needs Playwright and an installed Chromium; skipped without. What `test_browser.py` says of them holds here too: with
MEFIT_SCREENSHOTS set to a folder, each look is kept there as a PNG.
"""

import json
import math
import os
import re
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from test_browser import (  # noqa: F401
    CHROMIUM,
    FIT,
    GIVEN,
    HOME,
    TOKEN,
    Opened,
    browser,
    lab,
    notebook_of,
    playwright,
    until,
)

from workshop import explorers
from workshop.explorers.controls import Slider
from workshop.explorers.stage import control_data, look

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

CELLS = [
    "from workshop import explorers",
    "schools = explorers.eight_schools()\nschools",
    "crowd = explorers.welcome()\ncrowd",
]
SCRIPT = Path(explorers.__file__).with_name("stage.js")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A notebook with two stages."""
    return notebook_of(tmp_path_factory.mktemp("notebooks") / "stages.ipynb", CELLS)


def test_a_slider_counts_alike_in_python_and_in_the_browser(browser):  # noqa: F811
    sliders = [
        Slider("tau", 0.01, 100.0, 5.0, log=True),
        Slider("factor", 1e-3, 1e3, 1.0, 0.1, log=True),
        Slider("omega", 0.0, 0.8, 0.3, 0.02),
        Slider("c", 1.0, 6.0, 1.0, 0.05),
        Slider("plain", -3.0, 4.0, 0.0),
        Slider("eta", -3.0, 3.0, 0.0, 0.1),
        Slider("subjects", 1, 40, 8, 1),
        Slider("even", 0, 400, 8, 8),
    ]
    counts = [slider.index(slider.high) for slider in sliders]
    within = [[slider.low + (slider.high - slider.low) * k / 37 for k in range(38)] for slider in sliders]
    mine = [
        [[slider.at(k) for k in range(count + 1)], [slider.index(value) for value in values], slider.stride]
        for slider, count, values in zip(sliders, counts, within, strict=True)
    ]
    page = browser.new_page()
    theirs = page.evaluate(
        """async ([script, sliders, counts, within]) => {
            const { at, index, stride } = await import("data:text/javascript," + encodeURIComponent(script));
            return sliders.map((slider, i) => [
                Array.from({ length: counts[i] + 1 }, (_, k) => at(slider, k)),
                within[i].map((value) => index(slider, value)),
                stride(slider),
            ]);
        }""",
        [SCRIPT.read_text(encoding="utf-8"), [control_data(slider) for slider in sliders], counts, within],
    )
    page.close()
    for slider, (values, indices, step), (their_values, their_indices, their_step) in zip(
        sliders, mine, theirs, strict=True
    ):
        assert their_values == values, slider.label
        assert their_indices == indices, slider.label
        assert math.isclose(step, their_step, rel_tol=1e-14)


def centre(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, handle, across: float, up: float, steps: int = 12) -> None:
    """Take hold of it with the mouse, and let it go elsewhere."""
    x, y = centre(handle)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y - up, steps=steps)
    page.mouse.up()


def value(handle) -> float:
    return float(handle.get_attribute("aria-valuenow"))


ALONE = """async ([script, setup, shown]) => {
    const { default: view } = await import("data:text/javascript," + encodeURIComponent(script));
    window.sent = [];
    const hear = {};
    const state = { setup, shown };
    const model = { get: (name) => state[name], on: (what, f) => { hear[what] = f; }, off: () => null };
    model.send = (message) => window.sent.push(message);
    window.answer = (told) => { state.shown = told; hear["change:shown"](); };
    view.render({ model, el: document.getElementById("here") });
}"""


def test_a_handle_moves_a_multiple_of_its_slider(browser):  # noqa: F811
    """The second dose of a regimen, hours on an axis of days; without a notebook, Python's answers given by hand."""
    explorer = explorers.regimen_builder()
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_content(f"<style>{look()}</style><div id='here' style='width: 1000px'></div>")
    page.evaluate(ALONE, [SCRIPT.read_text(encoding="utf-8"), explorer.view.setup, explorer.view.shown])

    def last() -> dict:
        return page.evaluate("() => window.sent.filter((one) => one.kind === 'move').pop()")

    def answered() -> dict:
        """Two moves are on their way at most; the newest of the others comes after an answer."""
        while True:
            message = last()
            explorer.view._answer(explorer.view, message, [])
            page.evaluate("(told) => window.answer(told)", explorer.view.shown)
            page.wait_for_timeout(150)
            if last()["turn"] == message["turn"]:
                return explorer.values

    handles = {handle.get_attribute("aria-label"): handle for handle in page.locator(".handle").all()}
    second, end = handles["One every and Dose"], handles["How many"]
    day = (centre(end)[0] - centre(second)[0]) / 4.5  # from hour 12 to day 5
    x, y = centre(second)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + day / 2, y - 20, steps=4)
    assert answered()["interval"] == 24 and explorer.values["dose"] > 100
    page.mouse.move(x + day, y - 20, steps=4)  # the same handle is still in the hand after the answer
    assert answered()["interval"] == 36
    page.mouse.up()
    assert answered()["interval"] == 36
    assert centre(second)[0] == pytest.approx(x + day, abs=2)
    second.press("ArrowLeft")
    assert answered()["interval"] == 34
    page.close()


def test_marks_are_taken_hold_of(two, lab, browser):  # noqa: F811
    opened = Opened(browser, lab, two)
    try:
        opened.run()
        schools, crowd = opened.explorers()
        page = opened.page

        # By mouse, along a curve: the handle, the box, the slider and the sentence agree
        schools.image.scroll_into_view_if_needed()
        joint, marginal = schools.panel.locator(".handle").all()
        assert value(marginal) == 5
        schools.changes(lambda: drag(page, marginal, 60, 0))
        tau = value(marginal)
        box = schools.panel.get_by_label("SD between schools τ (points)").and_(page.locator("[type=number]"))
        assert 8 < tau < 60 and float(box.input_value()) == tau == value(joint)
        until(lambda: f"At τ = {tau:.3g}" in schools.panel.locator("details p").text_content(), "the sentence", 10)
        shape = schools.panel.locator(".mark.dots.marginal path").first
        until(lambda: math.dist(centre(shape), centre(marginal)) < 2, "the mark to be where its handle is", 5)

        # By keys: a step, ten steps, the ends; and JupyterLab takes none of them for its own
        slider = explorers.eight_schools().controls["tau"]
        marginal.focus()
        active = page.locator(".jp-Notebook .jp-mod-active").first.inner_text()
        for key, step in (("ArrowRight", 1), ("ArrowLeft", -1), ("Shift+ArrowLeft", -10), ("PageUp", 10)):
            before = slider.index(value(marginal))
            schools.changes(lambda key=key: page.keyboard.press(key))
            assert slider.index(value(marginal)) == before + step, key
        schools.changes(lambda: page.keyboard.press("Home"))
        assert (
            value(marginal) == 0.01 and marginal.get_attribute("aria-valuetext") == "SD between schools τ 0.01 points"
        )
        schools.changes(lambda: page.keyboard.press("End"))
        assert value(marginal) == 100
        assert page.locator(".jp-Notebook .jp-mod-active").first.inner_text() == active

        # From code, from a button, and by hand again
        schools.changes(lambda: schools.panel.get_by_role("button", name="Reset").click())
        assert value(marginal) == 5
        schools.changes(lambda: schools.panel.get_by_role("button", name="pool the schools").click())
        until(lambda: value(marginal) == 0.01, "the walk to end", 10)

        # On a plane, both ways at once
        crowd.image.scroll_into_view_if_needed()
        (point,) = crowd.panel.locator(".handle").all()
        crowd.changes(lambda: drag(page, point, 50, 40))
        omega, sigma = crowd.panel.locator("[type=number]").all()[:2]
        until(lambda: float(omega.input_value()) > 0.36 and float(sigma.input_value()) > 0.6, "both to move", 10)
        for key, number, step in (("ArrowUp", sigma, 0.05), ("ArrowLeft", omega, -0.02)):
            before = float(number.input_value())
            crowd.changes(lambda key=key: page.keyboard.press(key))
            assert float(number.input_value()) == pytest.approx(before + step)
    finally:
        opened.close()
    assert opened.left == []
    assert opened.complaints == []


def test_a_finger_moves_it_too(two, lab, browser):  # noqa: F811
    opened = Opened(browser, lab, two, has_touch=True, viewport={"width": 1024, "height": 900})
    try:
        opened.run()
        schools = opened.explorers()[0]
        schools.image.scroll_into_view_if_needed()
        handle = schools.handle()
        x, y = centre(handle)
        finger = opened.page.context.new_cdp_session(opened.page)

        def touch(kind, *points):
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [dict(x=a, y=b) for a, b in points]})

        def wipe():
            touch("touchStart", (x, y))
            for k in range(1, 8):
                touch("touchMove", (x - 12 * k, y))
            touch("touchEnd")

        schools.changes(wipe)
        until(lambda: value(handle) < 2, "the last of the way", 10)
    finally:
        opened.close()
    assert opened.left == [] and opened.complaints == []


def set_theme(address: str, theme: str) -> None:
    body = json.dumps({"raw": json.dumps({"theme": theme})}).encode()
    path = f"{address}/lab/api/settings/{quote('@jupyterlab/apputils-extension:themes')}"
    request = urllib.request.Request(path, data=body, headers={"Authorization": f"token {TOKEN}"}, method="PUT")
    urllib.request.urlopen(request, timeout=60).read()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theme", "scale", "width"),
    [("JupyterLab Dark", 2, 1366), ("JupyterLab Light", 2, 1366), ("JupyterLab Light", 1, 760)],
)
def test_a_stage_follows_theme_and_width(theme, scale, width, two, lab, browser):  # noqa: F811
    address, _ = lab
    set_theme(address, theme)
    opened = Opened(browser, lab, two, device_scale_factor=scale, viewport={"width": 1366, "height": 768})
    try:
        opened.run()
        # Only now: in a narrow window JupyterLab hides its sign of a kernel at rest, which `run` waits for.
        opened.page.set_viewport_size({"width": width, "height": 768})
        light = theme.endswith("Light")
        for name, explorer in zip(("eight_schools", "welcome"), opened.explorers(), strict=True):
            explorer.image.scroll_into_view_if_needed()
            ink, paper = explorer.panel.evaluate(
                """e => [getComputedStyle(e).color, getComputedStyle(e).getPropertyValue("--paper")]"""
            )
            brightness = sum(int(part) for part in re.findall(r"\d+", ink)[:3])
            assert (brightness < 380) == light, (ink, paper)
            page_width, shown_width = explorer.panel.evaluate("e => [e.parentElement.clientWidth, e.scrollWidth]")
            assert shown_width <= page_width + 1, "one would have to scroll sideways"
            if folder := os.environ.get("MEFIT_SCREENSHOTS"):
                Path(folder).mkdir(parents=True, exist_ok=True)
                look = f"{name}_{'light' if light else 'dark'}_{scale}x_{width}"
                explorer.panel.screenshot(path=str(Path(folder, f"stage_{look}.png")))
    finally:
        opened.close()
        set_theme(address, "JupyterLab Light")
    assert opened.left == [] and opened.complaints == []


def take_hold_of_every_mark(names, lesson, tmp_path, lab, browser):  # noqa: F811
    """Every handle of these explorers is dragged, then moved by a key: both must move it."""
    cells = [FIT.format(tests=str(HOME / "tests"))]
    cells += [f"explorers.{name}({GIVEN.get(name, '')})" for name in names]
    opened = Opened(
        browser, lab, notebook_of(tmp_path / f"lesson_{lesson}.ipynb", cells), viewport={"width": 1366, "height": 900}
    )
    moved = []
    try:
        opened.run()
        for name, explorer in zip(names, opened.explorers(), strict=True):
            explorer.image.scroll_into_view_if_needed()
            handles = explorer.panel.locator(".handle")
            assert handles.count() >= 1, f"{name} has nothing to take hold of"
            for k in range(handles.count()):
                handle = handles.nth(k)
                begin, low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("now", "min", "max"))
                way = 1 if begin - low < high - begin else -1
                across, up = 60 * way, 30 * way
                explorer.changes(lambda h=handle, a=across, u=up: drag(opened.page, h, a, u))
                by_mouse = handle.get_attribute("aria-valuetext")
                explorer.nudge(handle)
                assert handle.get_attribute("aria-valuetext") != by_mouse, f"{name}: {by_mouse} stood still"
                moved.append((name, begin, value(handle)))
            explorer.keep(name)
    finally:
        opened.close()
    print(moved)
    assert {name for name, *_ in moved} == set(names)
    assert opened.left == [] and opened.complaints == []
