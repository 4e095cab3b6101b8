"""Moves on a stage in a browser, Python behind it, without JupyterLab: what plays by itself, and what stays as a ghost.

Needs Playwright and an installed Chromium; skipped without.
"""

import json

import numpy as np
import pytest
from test_browser import CHROMIUM, browser, playwright  # noqa: F401
from test_stage_browser import SCRIPT, drag

from workshop.explorers.controls import Choice, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Panel, Scene
from workshop.explorers.stage import Stage, look

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

PAGE = "<!doctype html><style>{style}</style><body><div id='here' style='width: 900px'></div>"
VIEW = """async ([script, setup, shown]) => {
    const listeners = {};
    const state = { setup, shown };
    const tell = (name, message) => (listeners[name] ?? []).forEach((hear) => hear(message));
    const model = {
        get: (name) => state[name],
        on: (name, hear) => (listeners[name] ??= []).push(hear),
        off: () => {},
        send: (message) => setTimeout(async () => {
            if (message.kind === "hello") return tell("msg:custom", { kind: "here" });
            state.shown = await window.python(JSON.stringify(message));
            tell("change:shown");
        }),
    };
    const stage = await import("data:text/javascript," + encodeURIComponent(script));
    stage.default.render({ model, el: document.getElementById("here") });
}"""
GRID = np.linspace(0.0, 10.0, 11)


class OnAPage:
    """A stage on a bare page: every move that reaches Python is kept."""

    def __init__(self, browser, explorer: Stage, **window):  # noqa: F811
        self.explorer = explorer
        self.moves: list[dict] = []
        self.page = browser.new_page(**window)
        self.page.set_content(PAGE.format(style=look()))
        self.page.expose_function("python", self.answer)
        self.page.evaluate(VIEW, [SCRIPT.read_text(encoding="utf-8"), explorer.view.setup, explorer.view.shown])
        self.page.wait_for_selector(".mefit-stage[data-awake]")

    def answer(self, text: str) -> str:
        message = json.loads(text)
        self.moves.append(message["values"])
        self.explorer.view._answer(self.explorer.view, message, [])
        return self.explorer.view.shown

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def until(self, question) -> None:
        """Playwright answers the page only while it is asked something, so this waits in the page."""
        for _ in range(200):
            if question():
                return
            self.page.wait_for_timeout(50)
        pytest.fail("Waited 10 s.")

    def settle(self) -> None:
        """Longer than a picture must rest to be the one to look back at."""
        self.page.wait_for_timeout(1000)


def slope(**options) -> Stage:
    """A line from the corner whose slope is under a handle, with a ghost."""

    def scene(result):
        x, how = result
        line = Line("p", "line", "population", GRID, x * GRID, ghost=True)
        here = Dots("p", "here", "data" if how == "plain" else "truth", x, x**2, drag=Drag(x="x"))
        return Scene({"p": Panel(Axis(0, 10), Axis(0, 100))}, [line, here])

    controls = {"x": Slider("Slope", 0.0, 10.0, 2.0, 0.1), "how": Choice("How", ("plain", "fancy"), "plain")}
    return Stage(
        lambda x, how: (x, how),
        scene,
        lambda result: f"It is {result[0]:g}.",
        controls,
        alt="A line.",
        layout=["p"],
        tries=[("steep", {"x": 9.0, "how": "fancy"}), ("flat", {"x": 1.0})],
        **options,
    )


@pytest.fixture
def page(browser):  # noqa: F811
    opened = OnAPage(browser, slope())
    yield opened
    opened.page.close()


def test_a_move_to_try_is_played_through_what_lies_between(page):
    page.press("steep")
    page.until(lambda: page.explorer.values["x"] == 9)
    way = [values["x"] for values in page.moves]
    assert len(way) >= 6 and way == sorted(way) and 2 < way[len(way) // 2] < 9
    assert {values["how"] for values in page.moves} == {"fancy"}
    button = page.page.get_by_role("button", name="steep")
    page.until(lambda: button.get_attribute("aria-pressed") == "false")


@pytest.mark.parametrize("by", ["button", "key", "other"])
def test_what_plays_is_stopped_by_its_button_and_by_any_hand(page, by):
    page.press("steep")
    page.until(lambda: len(page.moves) >= 3)
    if by == "button":
        page.press("steep")
    elif by == "key":
        page.page.locator(".handle").press("ArrowLeft")
    else:
        page.press("flat")
    page.page.wait_for_timeout(1500)
    assert page.explorer.values["x"] == 1 if by == "other" else 2 < page.explorer.values["x"] < 9


def test_where_motion_is_not_wanted_a_move_is_one_step(browser):  # noqa: F811
    opened = OnAPage(browser, slope(), reduced_motion="reduce")
    opened.press("steep")
    opened.until(lambda: opened.explorer.values["x"] == 9)
    assert [values["x"] for values in opened.moves] == [9]
    opened.page.close()


def test_a_slow_explorer_is_asked_for_the_end_only(browser):  # noqa: F811
    opened = OnAPage(browser, slope(live=False))
    opened.press("steep")
    opened.until(lambda: opened.explorer.values["x"] == 9)
    assert [values["x"] for values in opened.moves] == [9]
    opened.page.close()


def test_the_state_before_a_move_stays_as_a_ghost(page):
    def drawn(line):
        page.page.wait_for_timeout(200)  # the glide
        return line.get_attribute("d")

    panel = page.page.locator(".panel")
    assert "before the last move" in page.page.locator(".legend").text_content()
    assert panel.locator(".mark.line").count() == 1
    now, ghost = panel.locator(".mark.line:not(.was) path"), panel.locator(".mark.line.was path")
    first = drawn(now)
    page.settle()
    drag(page.page, page.page.locator(".handle"), 100, 0)
    second = drawn(now)
    assert drawn(ghost) == first != second  # of all that the hand went through, where it began

    page.settle()
    handle = page.page.locator(".handle")
    for _ in range(4):  # keys in quick succession are one move
        handle.press("ArrowRight")
    assert drawn(ghost) == second != drawn(now)

    page.settle()
    third = drawn(now)
    page.press("steep")
    page.until(lambda: page.explorer.values["x"] == 9)
    assert drawn(ghost) == third != drawn(now)
    assert panel.locator(".mark.dots.was").count() == 0, "a mark has a ghost only if it asks for one"
