"""Predictions in a real browser: given by keys, mouse and finger, locked by Reveal, laid over the result, and still
there on the second day.

Needs what `test_browser.py` needs. With MEFIT_SCREENSHOTS set to a folder, each look is kept there as a PNG.
"""

import os
from pathlib import Path

import pytest
from test_browser import CHROMIUM, Opened, notebook_of, until
from test_browser import browser as browser
from test_browser import lab as lab

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

CELLS = [
    "from workshop.predictions import my_predictions, predict, waiting",
    'predict("02", "pairs")',
    'with waiting("02", "pairs"):\n    print("it is one half")',
    'predict("02", "sizes")',
    'predict("02", "tall")',
    'predict("05", "alarms")',
    'my_predictions("02")',
]


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    return notebook_of(tmp_path_factory.mktemp("notebooks") / "predictions.ipynb", CELLS)


def keep(page, name: str) -> None:
    if folder := os.environ.get("MEFIT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        for number, prediction in enumerate(page.locator(".mefit-prediction").all()):
            prediction.screenshot(path=str(Path(folder, f"prediction_{name}_{number}.png")))


def becomes(prediction, state: str) -> None:
    until(lambda: prediction.get_attribute("data-state") == state, f"the prediction to be {state}", 30)


def at_rest(page, place) -> dict[str, float]:
    """Where it is, once a page that was made wider has come to rest."""
    seen = place.bounding_box()
    for _ in range(60):
        page.wait_for_timeout(500)
        before, seen = seen, place.bounding_box()
        if before == seen:
            break
    return seen


def test_predictions_are_given_by_hand_and_kept(asking, lab, browser):
    opened = Opened(browser, lab, asking)
    page = opened.page
    try:
        opened.run()
        page.wait_for_selector(".mefit-prediction")
        number, curve, choice, crosses = page.locator(".mefit-prediction").all()

        # Run All reveals nothing, and results wait
        assert [each.get_attribute("data-state") for each in (number, curve, choice, crosses)] == ["open"] * 4
        fold = page.locator("details.mefit-waits")
        assert fold.get_attribute("open") is None
        assert "all still open" in page.locator(".jp-NotebookPanel").inner_text()
        keep(page, "open")

        # A number, by keys alone
        assert number.locator(".reveal").is_disabled()
        number.locator("input").focus()
        page.keyboard.type("0.9")
        page.keyboard.press("Enter")
        becomes(number, "wrong")
        assert "0.9" in number.locator(".says").inner_text() and "0.5" in number.locator(".says").inner_text()
        assert number.locator("input").is_disabled() and number.locator(".reveal").is_hidden()
        until(lambda: fold.get_attribute("open") is not None, "the result to unfold", 10)

        # A curve: half of it by mouse, the rest by keys
        curve.scroll_into_view_if_needed()
        box = curve.locator(".ground").bounding_box()
        page.mouse.move(box["x"] + 2, box["y"] + box["height"] * 0.98)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.12, box["y"] + box["height"] * 0.75, steps=6)
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.58, steps=8)
        page.mouse.up()
        assert curve.locator(".reveal").is_disabled()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        until(lambda: curve.locator(".reveal").is_enabled(), "the curve to be whole", 10)
        curve.locator(".reveal").click()
        becomes(curve, "right")
        assert curve.locator(".panels .mark.line.truth path").count() == 1
        assert "L" in curve.locator(".panels .mark.line.prior path").get_attribute("d"), "the drawing is gone"

        # A choice, by its label
        choice.get_by_text("an area is height times width").click()
        choice.locator(".reveal").click()
        becomes(choice, "right")
        assert choice.locator("label.true").count() == 1

        # Boxes, by keys
        crosses.locator("input").first.focus()
        page.keyboard.press("Space")
        crosses.locator(".reveal").click()
        becomes(crosses, "wrong")
        assert crosses.locator("td.false").count() == 1 and crosses.locator("td.missed").count() > 3
        keep(page, "revealed")

        assert not opened.complaints and not opened.left
        file = opened.save()
    finally:
        opened.close()
    second_day(file, lab, browser)


def second_day(file: Path, lab, browser) -> None:
    """With a new kernel all four are there, locked; and run again they are counted."""
    opened = Opened(browser, lab, file)
    page = opened.page
    try:
        opened.has_started()
        page.wait_for_function("document.querySelectorAll('.mefit-prediction').length == 4")
        states = [each.get_attribute("data-state") for each in page.locator(".mefit-prediction").all()]
        assert states == ["wrong", "right", "right", "wrong"]
        assert "model not found" not in page.locator(".jp-NotebookPanel").inner_text().lower()
        opened.run()
        until(lambda: "right in 2 of 3" in page.locator(".jp-NotebookPanel").inner_text(), "the count", 30)
        assert "it is one half" in page.locator(".jp-NotebookPanel").inner_text()
    finally:
        opened.close()


def test_a_narrow_page_and_a_finger(asking, lab, browser):
    """480 pixels, and 1280 by 720 at a zoom of 200%: nothing sticks out, and a finger draws."""
    cells = asking.with_name("fingers.ipynb")
    notebook_of(cells, [CELLS[0], 'predict("04", "iterations")', *CELLS[4:6]])
    opened = Opened(browser, lab, cells, has_touch=True)
    page = opened.page
    try:
        opened.run()
        page.keyboard.press("Control+b")  # the list of files would leave no room
        # Only now: in a narrow window JupyterLab hides its sign of a kernel at rest, which `run` waits for.
        for look, width, height in (("narrow", 480, 900), ("zoomed", 640, 360)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_selector(".mefit-prediction")
            for prediction in page.locator(".mefit-prediction").all():
                assert prediction.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
            keep(page, look)
        page.set_viewport_size({"width": 1000, "height": 900})
        curve = page.locator(".mefit-prediction").first
        curve.scroll_into_view_if_needed()
        box = at_rest(page, curve.locator(".ground"))
        for k in range(9):
            page.touchscreen.tap(box["x"] + box["width"] * (0.1 + 0.1 * k), box["y"] + box["height"] * (0.3 + 0.07 * k))
        until(lambda: curve.locator(".reveal").is_enabled(), "the curve to be whole", 10)
        keep(page, "drawn")
        assert not opened.complaints
    finally:
        opened.close()
