"""What the browser draws of a scene, told to it by a model of the test: no kernel, no JupyterLab."""

import json

import numpy as np
import pytest
from test_browser import CHROMIUM, browser, playwright  # noqa: F401
from test_stage_browser import SCRIPT

from workshop.explorers.controls import Slider
from workshop.explorers.scene import Axis, Line, Panel, Scene
from workshop.explorers.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")]

RENDER = """async ([script, setup, shown]) => {
    const { default: front } = await import("data:text/javascript;charset=utf-8," + encodeURIComponent(script));
    const [values, heard] = [{ setup, shown }, {}];
    const model = { get: (name) => values[name], on: (name, call) => (heard[name] = call), off() {}, send() {} };
    window.tell = (text) => ((values.shown = text), heard["change:shown"]());
    front.render({ model, el: document.body });
}"""


def stage(heights) -> Stage:
    """A line at three heights out of those given, by a slider."""
    grid = np.linspace(0.0, 1.0, 3)

    def scene(height):
        return Scene({"p": Panel(Axis(0, 1), Axis(0, 10))}, [Line("p", "line", "data", grid, heights[height])])

    controls = {"at": Slider("At", 0, len(heights) - 1, 0, 1)}
    return Stage(lambda at: at, scene, str, controls, alt="A line.", layout=["p"])


def test_a_line_that_is_nowhere_goes_and_comes_back(browser):  # noqa: F811
    explorer = stage([[1, 2, 3], [np.nan] * 3, [1, np.nan, np.nan], [1, 2, 3]])
    page = browser.new_page()
    page.set_content("<!doctype html><body></body>")
    page.evaluate(RENDER, [SCRIPT.read_text(encoding="utf-8"), explorer.view.setup, explorer.view.shown])
    line = page.locator(".mark.line path")
    page.wait_for_function("document.querySelector('.mark.line path')?.getAttribute('d')")
    first = line.get_attribute("d")
    for at, points in ((1, 0), (2, 1), (3, 3)):
        explorer.set(at=at)
        assert json.loads(explorer.view.shown)["values"] == {"at": at}
        page.evaluate("text => tell(text)", explorer.view.shown)
        page.wait_for_timeout(200)  # longer than a glide
        drawn = line.get_attribute("d") or ""
        assert drawn.count("M") + drawn.count("L") == points
    assert drawn == first
    page.close()
